"""Measure a challenger's recipe, the Champion and the naive rule on the same rows, and the artifact's cost."""

import json
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.core.evaluation import score, score_slices
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.grid import Floats, hour_number
from bikeshare.core.promotion import Contender, GatePolicy, PairedDifference, paired_bootstrap
from bikeshare.core.single_hour import SingleHour, SingleHours
from bikeshare.steps.doorstep import Progress, quiet
from bikeshare.steps.train import CHAMPION, FORECAST, PLAN

LoadArtifact = Callable[[Path], Any]
"""`bikeshare.adapters.artifacts.load_artifact`; the answer has `.forecaster` and `.backtest`."""


@dataclass(frozen=True)
class Evaluation:
    """Everything the gate decides on; see `bikeshare.core.promotion.decide_promotion`."""

    challenger: Contender
    champion: Contender | None
    naive: Contender
    champion_version: str | None
    champion_backtest_wape: float | None
    artifact_mb: float
    row_ms: float | None
    champion_row_ms: float | None
    paired: PairedDifference | None
    plan_reason: str


def evaluate_challenger(
    observations: pd.DataFrame,
    artifact: Path,
    trial: Path,
    load: LoadArtifact,
    *,
    policy: GatePolicy,
    seed: int,
    progress: Progress = quiet,
) -> Evaluation:
    """Score the rows of the trial's plan.

    Args:
        observations: The rows of this run, contract columns.
        artifact: The challenger's artifact directory.
        trial: What `train_challenger` wrote beside it.
        load: Loads an artifact directory and checks its hash.
        policy: Limits of the gate.
        seed: Of the bootstrap.
        progress: Called with one line per stage.

    Raises:
        ArtifactError: an artifact is corrupt.
    """
    plan = json.loads((trial / PLAN).read_text())
    judged = pd.read_parquet(trial / FORECAST)
    challenger, naive = contender(judged, "prediction"), contender(judged, "naive")
    loaded = load(artifact)
    champion, backtest_wape, paired = None, None, None
    timed = [loaded.forecaster]
    if plan["champion"] is not None:
        incumbent = load(next((trial / CHAMPION).glob("**/contract.json")).parent)
        timed.append(incumbent.forecaster)
        if plan["paired"]:
            progress(f"champion {plan['champion']} answers the same {len(judged)} rows")
            rows = incumbent.forecaster.backtest_predict(
                observations, pd.Timestamp(plan["test_start"]).to_pydatetime(),
                pd.Timestamp(plan["test_end"]).to_pydatetime(),
            )
            judged = judged.merge(rows[["timestamp", "prediction"]].rename(columns={"prediction": "champion"}),
                                  on="timestamp", how="left")
            champion = contender(judged, "champion")
            paired = paired_bootstrap(
                judged["timestamp"].to_numpy(), _absolute_error(judged, "prediction"),
                _absolute_error(judged, "champion"), policy=policy, seed=seed,
            )
        else:
            backtest_wape = incumbent.backtest.get("wape")
    progress("timing one row in the serving path")
    row_ms = row_milliseconds(timed, observations)
    return Evaluation(
        challenger, champion, naive, plan["champion"], backtest_wape, _size_mb(artifact), row_ms[0],
        row_ms[1] if len(row_ms) > 1 else None, paired, plan["reason"],
    )


def contender(judged: pd.DataFrame, column: str) -> Contender:
    """Scores of one column of predictions, overall and per slice."""
    frame = judged.assign(prediction=judged[column])
    return Contender(score(frame["demand"], frame["prediction"]), score_slices(frame))


def row_milliseconds(
    forecasters: Sequence[Forecaster], observations: pd.DataFrame, *, repeats: int = 200
) -> list[float]:
    """CPU milliseconds of answering one hour the way a live request is answered, one figure for each forecaster.

    They answer in turns, so that whatever else the machine does slows all of them. The lower decile is taken: other
    work on the same core can only add to a measurement.
    """
    newest = observations.iloc[-1]
    now = newest["timestamp"].to_pydatetime()
    recent = observations.tail(24 * 7 * 12)
    temp, feels, humidity, wind = (float(newest[name]) for name in WEATHER_NUMBERS)
    question = SingleHour(
        hour_number(now), temp, feels, humidity, wind, WEATHER_CLASSES.index(newest["weather"])
    )
    ready = [SingleHours(forecaster, forecaster.snapshot(recent, now)) for forecaster in forecasters]
    spent = np.empty((repeats, len(forecasters)))
    for turn in range(repeats):
        for index, hours in enumerate(ready):
            started = time.thread_time_ns()
            hours.predict([question], now)
            spent[turn, index] = time.thread_time_ns() - started
    return [float(lowest) / 1e6 for lowest in np.quantile(spent, 0.1, axis=0)]


def _absolute_error(frame: pd.DataFrame, column: str) -> Floats:
    error: Floats = np.abs(frame[column].to_numpy(dtype=np.float64) - frame["demand"].to_numpy(dtype=np.float64))
    return error


def _size_mb(artifact: Path) -> float:
    """Compressed size; the fastest setting is an upper bound of what the package will weigh."""
    files = sorted(path for path in artifact.rglob("*") if path.is_file())
    return sum(len(zlib.compress(path.read_bytes(), 1)) for path in files) / 1e6
