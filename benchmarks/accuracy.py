"""Accuracy of the whole model on the production year, against naive rules, a beginner's forest and LightGBM.

`python -m benchmarks.accuracy` writes accuracy.md and accuracy.json beside this file; `--quick` uses few trees, two
folds and writes nothing. Most choices were made on July to December 2011; the report names those that were not.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import accuracy_extra as extra
from benchmarks.accuracy_report import MISSED, render
from bikeshare.adapters.artifacts import load_artifact
from bikeshare.adapters.artifacts.writing import save_artifact
from bikeshare.core.evaluation import coverage, naive_forecasts, score
from bikeshare.core.features import LABEL_DELAY_HOURS
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.observations import load_uci
from bikeshare.core.splits import Fold, p3_folds
from bikeshare.core.training import TrainedModel, TrainingConfig, train
from bikeshare.steps.evaluate import row_milliseconds

HERE = Path(__file__).parent
DATA = HERE.parent / "data" / "hour.csv.gz"
ANSWERS = ("frozen", "stateless", "history", "prediction")


def tell(line: str) -> None:
    """Progress on standard error."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()


def run_fold(observations: pd.DataFrame, fold: Fold, config: TrainingConfig, noisy: pd.DataFrame) -> dict[str, Any]:
    """Train on everything before the fold; answer it with every contender on the same rows."""
    trained = train(fold.train_rows(observations), config)
    forecaster = Forecaster.of(trained)
    frame = forecaster.backtest_predict(observations, fold.start, fold.end)
    with_noise = pd.concat([fold.train_rows(observations), noisy[noisy["timestamp"] >= fold.start]], ignore_index=True)
    frame["noisy"] = forecaster.backtest_predict(with_noise, fold.start, fold.end)["prediction"]
    frame["daily_landing"] = forecaster.backtest_predict(
        observations, fold.start, fold.end, landing="daily"
    )["prediction"]
    frame["fold"] = fold.name
    test = fold.test_rows(observations)
    naive = naive_forecasts(observations, frame["timestamp"].to_numpy())
    beginner = extra.beginner_forest(fold.train_rows(observations), test, config)
    boosted = extra.lightgbm(observations, trained, fold)
    pair = extra.lightgbm_pair(observations, trained, fold)
    parity = extra.onnx_parity(trained, observations, fold)
    return {
        "frame": frame.assign(**naive, beginner=beginner, lightgbm=boosted, lightgbm_pair=pair), "parity": parity,
        "trained": trained,
    }


def leakage_probe(trained: TrainedModel, observations: pd.DataFrame, hours: int) -> float:
    """Overwrite all demand later than t - 24 h, predict t again; the largest change over sampled hours."""
    forecaster = Forecaster.of(trained)
    start = trained.window[1]
    expected = forecaster.backtest_predict(observations, start, start + timedelta(days=28)).set_index("timestamp")
    worst = 0.0
    for moment in expected.index[:: max(1, len(expected) // hours)]:
        forged = observations.copy()
        late = forged["timestamp"] > moment - timedelta(hours=LABEL_DELAY_HOURS)
        forged.loc[late, "demand"] = 9_999.0
        then = moment.to_pydatetime()
        again = forecaster.backtest_predict(forged, then, then + timedelta(hours=1))
        worst = max(worst, abs(float(again["prediction"].iloc[0]) - float(expected.loc[moment, "prediction"])))
    return worst


def artifact_facts(trained: TrainedModel, observations: pd.DataFrame) -> dict[str, float]:
    """Compressed size of a full artifact and the time of one answered row."""
    with tempfile.TemporaryDirectory() as folder:
        save_artifact(trained, Path(folder), metadata={}, backtest={}, reference_profile={}, card="")
        size = extra.compressed_bytes(Path(folder))
        forecaster = load_artifact(Path(folder)).forecaster
        return {"compressed_mb": size / 1e6, "row_microseconds": 1000 * row_milliseconds([forecaster], observations)[0]}


def scores_of(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, dict[str, float]]:
    """Pooled scores by column."""
    return {name: score(frame["demand"], frame[name]).to_dict() for name in columns}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write; exit code 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few trees, two folds, nothing written")
    parser.add_argument("--skip-retraining", action="store_true", help="leave out the retraining policies")
    chosen = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    began = time.perf_counter()
    observations = load_uci(DATA)
    config = TrainingConfig(trees=8, first_pass_trees=8) if chosen.quick else TrainingConfig()
    folds = p3_folds()[:2] if chosen.quick else p3_folds()
    noisy = extra.noisy_weather(observations, seed=7)
    results = []
    for fold in folds:
        results.append(run_fold(observations, fold, config, noisy))
        done = results[-1]["frame"]
        tell(f"fold {fold.name}: RMSE {score(done['demand'], done['prediction']).rmse:.1f}")
    frame = pd.concat([result["frame"] for result in results], ignore_index=True)
    naive = [name for name in naive_forecasts(observations.iloc[:800], observations["timestamp"].iloc[790:792])]
    report: dict[str, Any] = {
        "rows": len(frame), "folds": [fold.name for fold in folds], "trees": config.trees,
        "scores": scores_of(
            frame, [*naive, "beginner", "lightgbm", "lightgbm_pair", *ANSWERS, "daily_landing", "noisy"]
        ),
        "naive": naive,
        "months": {
            str(name): {column: score(part["demand"], part[column]).to_dict()
                        for column in ("same_hour_day_type_28d", "beginner", "lightgbm", *ANSWERS)}
            | {f"cover_{level}": coverage(part["demand"], part[f"lower_{level}"], part[f"upper_{level}"])
               for level in (80, 95)}
            for name, part in frame.groupby("fold")
        },
        "intervals": {
            str(level): {
                "coverage": coverage(frame["demand"], frame[f"lower_{level}"], frame[f"upper_{level}"]),
                "width": float((frame[f"upper_{level}"] - frame[f"lower_{level}"]).mean()),
            } for level in (80, 95)
        },
        "onnx_parity": max(result["parity"] for result in results),
        "leakage": leakage_probe(results[0]["trained"], observations, 8 if chosen.quick else 24),
    }
    if not chosen.quick:
        tell("other seeds")
        report["seeds"] = extra.other_seeds(observations, config, folds, (1, 2, 3, 4))
    tell("Kaggle split")
    report["p2a_rmsle"] = extra.kaggle_rmsle(observations, replace(config, trees=min(100, 2 * config.trees)))
    tell("artifact")
    report["artifact"] = artifact_facts(train(observations, config), observations)
    if not chosen.quick:
        tell("adaptation experiment")
        report["adaptation"] = extra.adaptation(observations, config)
    if not (chosen.quick or chosen.skip_retraining):
        first = results[0]["trained"]
        monthly = frame.set_index("timestamp")
        report["retraining"] = extra.retraining_policies(observations, config, first, monthly, tell)
    report["seconds"] = time.perf_counter() - began
    text = render(report)
    sys.stdout.write(text)
    if not chosen.quick:
        (HERE / "accuracy.md").write_text(text)
        (HERE / "accuracy.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    return 1 if not chosen.quick and MISSED in text else 0


if __name__ == "__main__":
    sys.exit(main())
