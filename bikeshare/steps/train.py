"""Train a challenger: the judged recipe, the backtest, the shipped fit, its artifact, run and version.

The recipe is fitted on everything before the judging rows and answers them (`bikeshare.core.promotion` says why);
two earlier folds lengthen the honest error series to some weeks. The version that may serve is then fitted on
every row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from bikeshare import __version__
from bikeshare.core.backtest import walk_forward, weekly_series
from bikeshare.core.contract import CONTRACT_VERSION
from bikeshare.core.evaluation import BAR, Scores, coverage, naive_forecasts, score, score_slices
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.limits import learn_limits
from bikeshare.core.model_card import CardFacts, model_card
from bikeshare.core.observations import data_hash
from bikeshare.core.profiles import build_profile
from bikeshare.core.promotion import EvaluationPlan, GatePolicy, plan_evaluation
from bikeshare.core.training import TrainedModel, TrainingConfig, train
from bikeshare.ports import ModelRegistry
from bikeshare.steps.claims import points_of
from bikeshare.steps.doorstep import Progress, moment, quiet
from bikeshare.steps.due import champion_of, trained_until, window_of

FORECAST, PLAN, CHAMPION = "forecast.parquet", "plan.json", "champion"
"""Files of a trial: what the gate needs beside the challenger."""

SOURCE = Path(__file__).resolve().parents[2]
"""What holds this package; in a checkout its tests, too."""


class SaveArtifact(Protocol):
    """`bikeshare.adapters.artifacts.writing.save_artifact`."""

    def __call__(
        self, trained: TrainedModel, directory: Path, *, metadata: dict[str, Any], backtest: dict[str, Any],
        reference_profile: dict[str, Any], card: str,
    ) -> Any:
        """Write the artifact directory; the answer has `content_hash` and `bytes`."""
        ...


DrawPlots = Callable[[pd.DataFrame, pd.DataFrame, Path], Path]
"""`bikeshare.adapters.plots.draw_plots`."""


@dataclass(frozen=True)
class TrainingPolicy:
    """How much honesty a run may pay for.

    Attributes:
        backtest_weeks: Length of the weekly error series; limits of the monitor are quantiles of it.
        fold_days: Longest fold; each fold costs one fit.
        min_train_days: A fold needs this much data before it, nine weeks: six to train, three to spare.
    """

    backtest_weeks: int = 10
    fold_days: int = 42
    min_train_days: int = 63


@dataclass(frozen=True)
class TrainingRequest:
    """What was asked of this training, for the records.

    Attributes:
        run_key: Key of the run.
        reason: Why it was started.
        now: Naive local time on the run's clock.
        config: Sizes, seed, adaptation.
        git_revision: Source revision.
        gate: Which rows judge; `holdout_days` of them when there is no Champion.
    """

    run_key: str
    reason: str
    now: datetime
    config: TrainingConfig
    git_revision: str = "unknown"
    gate: GatePolicy = field(default_factory=GatePolicy)
    policy: TrainingPolicy = field(default_factory=TrainingPolicy)


def request_of(
    run_key: str, reason: str, now: datetime, adapt_since: str, holdout_days: int, trees: int, seed: int,
    git_revision: str, gate: GatePolicy,
) -> TrainingRequest:
    """A request from pipeline parameters (`adapt_since`: ISO time or empty; `holdout_days` 0: the gate's)."""
    since = moment(adapt_since)
    config = TrainingConfig(trees=int(trees), seed=int(seed), adapt_since=since)
    chosen = replace(gate, holdout_days=int(holdout_days) or gate.holdout_days)
    return TrainingRequest(run_key, reason, now, config, git_revision, chosen)


@dataclass(frozen=True)
class Challenger:
    """A registered challenger."""

    version: str
    run_id: str
    content_hash: str
    scores: Scores
    plan: EvaluationPlan


def train_challenger(
    observations: pd.DataFrame,
    registry: ModelRegistry,
    request: TrainingRequest,
    *,
    artifact: Path,
    trial: Path,
    save: SaveArtifact,
    draw: DrawPlots,
    progress: Progress = quiet,
) -> Challenger:
    """Fit, backtest, save, log and register; the alias `challenger` then points to the new version.

    Args:
        observations: Contract columns, labelled hours only.
        registry: Receives the run and the version; knows the Champion.
        request: What was asked.
        artifact: Directory to write the artifact into.
        trial: Directory to write the judging rows, the plan and the Champion's artifact into.
        save: Writes an artifact.
        draw: Draws the plots.
        progress: Called with one line per stage.

    Raises:
        DataError: too few rows to train and to judge.
    """
    window = window_of(observations)
    champion = champion_of(registry)
    champion_end = None if champion is None else trained_until(champion)
    plan = plan_evaluation(*window, champion_end, request.config.adapt_since, request.gate)
    since = request.config.adapt_since
    if since is not None and since >= plan.test_start:
        plan = replace(plan, reason=f"{plan.reason}; the change of {since:%Y-%m-%d} is younger than these, so the "
                                    "adaptation to it, which only the shipped fit has, is not judged")
    progress(plan.reason)
    forecasts, promises = _walk(observations, window, plan, request, progress)
    judged, backtest = forecasts[-1], weekly_series(promises)
    progress("fitting the version that may serve, on all rows")
    trained = train(observations, request.config, progress=None)
    scores, slices = score(judged["demand"], judged["prediction"]), score_slices(judged)
    naive = naive_forecasts(observations, judged["timestamp"])[BAR]
    digest = data_hash(observations)
    card = model_card(CardFacts(
        request.reason, request.run_key, trained.window, trained.rows, digest, request.git_revision, __version__,
        request.config.trees, request.config.adapt_since, plan.reason, scores, slices,
        score(judged["demand"], naive), backtest, trained.importance, _coverage(judged), points_of(SOURCE),
    ))
    progress("exporting the artifact and proving parity")
    saved = save(
        trained, artifact,
        metadata={
            "contract_version": CONTRACT_VERSION, "library_version": __version__, "git_revision": request.git_revision,
            "data_hash": digest, "window": [moment.isoformat() for moment in trained.window],
            "run_key": request.run_key, "reason": request.reason, "trained_at": request.now.isoformat(),
        },
        backtest=backtest, reference_profile=_profile(observations), card=card,
    )
    trial.mkdir(parents=True, exist_ok=True)
    judged.assign(naive=np.asarray(naive)).to_parquet(trial / FORECAST, index=False)
    (trial / PLAN).write_text(json.dumps({
        "test_start": plan.test_start.isoformat(), "test_end": plan.test_end.isoformat(), "paired": plan.paired,
        "reason": plan.reason, "champion": None if champion is None else champion.version,
    }))
    if champion is not None:
        progress(f"fetching champion {champion.version} to compare with")
        registry.download(champion.version, trial / CHAMPION)
    progress("recording the run")
    run_id, version = _record(
        registry, request, trained, scores, slices, backtest, digest, plan, saved.content_hash, artifact,
        draw(judged, trained.importance, trial / "plots"),
    )
    progress(f"version {version} is the challenger: WAPE {scores.wape:.1%} on rows its recipe never saw")
    return Challenger(version, run_id, saved.content_hash, scores, plan)


def _walk(
    observations: pd.DataFrame, window: tuple[datetime, datetime], plan: EvaluationPlan, request: TrainingRequest,
    progress: Progress,
) -> tuple[Sequence[pd.DataFrame], Sequence[pd.DataFrame]]:
    """Honest forecasts of consecutive spans, each by the recipe fitted on what came before it; oldest first.

    Returns:
        All of them, of which the gate judges the last, and the part that says what to expect of the version that may
        serve. Hours of a changed world that were answered by a recipe from before it are no promise: as such they
        would teach the monitor that the change is normal.
    """
    policy, since = request.policy, request.config.adapt_since
    folds = walk_forward(
        window[0], plan.test_start, window[1], weeks=policy.backtest_weeks, fold_days=policy.fold_days,
        min_train_days=policy.min_train_days,
    )
    forecasts, promises = [], []
    for number, fold in enumerate(folds, 1):
        progress(f"fold {number} of {len(folds)}: {fold.start:%Y-%m-%d} to {fold.end:%Y-%m-%d}")
        known = observations[observations["timestamp"] < fold.start]
        recipe = train(known, _for_fold(request.config, fold.start), progress=None)
        frame = _with_slices(Forecaster.of(recipe).backtest_predict(observations, fold.start, fold.end), observations)
        forecasts.append(frame)
        promises.append(frame if since is None or since < fold.start else frame[frame["timestamp"] < since])
    return forecasts, promises if any(len(frame) for frame in promises) else forecasts


def _for_fold(config: TrainingConfig, start: datetime) -> TrainingConfig:
    """A fold that ends before the world changed cannot be adapted to it."""
    if config.adapt_since is not None and config.adapt_since >= start:
        return replace(config, adapt_since=None)
    return config


def _with_slices(frame: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that slices are cut by; only rows with truth."""
    labels = observations[["timestamp", "weather", "is_holiday", "demand"]]
    joined = frame.drop(columns=["demand", "weather", "is_holiday"], errors="ignore").merge(labels, on="timestamp")
    return joined.dropna(subset=["demand", "prediction"]).reset_index(drop=True)


def _profile(observations: pd.DataFrame) -> dict[str, Any]:
    return {**build_profile(observations), "validation_limits": learn_limits(observations).to_dict()}


def _record(
    registry: ModelRegistry, request: TrainingRequest, trained: TrainedModel, scores: Scores,
    slices: Mapping[str, Scores], backtest: Mapping[str, Any], digest: str, plan: EvaluationPlan, content_hash: str,
    artifact: Path, plots: Path,
) -> tuple[str, str]:
    config = request.config
    lineage = {
        "run_key": request.run_key, "reason": request.reason, "data_hash": digest,
        "window_start": trained.window[0].isoformat(), "window_end": trained.window[1].isoformat(),
        "git_revision": request.git_revision, "library_version": __version__, "contract_version": CONTRACT_VERSION,
        "content_hash": content_hash, "trained_at": request.now.isoformat(),
    }
    metrics = {f"test_{name}": float(value) for name, value in asdict(scores).items()}
    for name, part in slices.items():
        if part.rows:
            metrics[f"test_{name}_mae"] = float(part.mae)
    for name in ("wape", "wape_p50", "wape_p90", "bias_mu", "bias_sd", "n_weeks"):
        if backtest.get(name) is not None:
            metrics[f"backtest_{name}"] = float(backtest[name])
    run_id = registry.log_run(
        run_name=request.run_key,
        params={
            "trees": config.trees, "seed": config.seed, "stateless_leaf": config.stateless_leaf,
            "history_leaf": config.history_leaf, "stateless_share": config.stateless_share,
            "history_share": config.history_share, "adapt_since": config.adapt_since or "",
            "holdout_days": request.gate.holdout_days, "test_start": plan.test_start, "test_end": plan.test_end,
            "rows": trained.rows,
        },
        metrics=metrics, tags=lineage,
    )
    registry.log_to_run(run_id, artifacts=plots, artifact_path="plots")
    version = registry.register(run_id, artifact, {**lineage, "status": "challenger"})
    registry.set_alias("challenger", version)
    return run_id, version


def _coverage(judged: pd.DataFrame) -> dict[float, float]:
    bounds = {width: (judged[f"lower_{width}"], judged[f"upper_{width}"]) for width in (80, 95)}
    return {width / 100: coverage(judged["demand"], low, high) for width, (low, high) in bounds.items()}
