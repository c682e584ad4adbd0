"""Whether a scheduled run trains today: not before there are hours on which Champion and challenger can be compared."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from bikeshare.core.promotion import GatePolicy, plan_evaluation
from bikeshare.errors import NotFound
from bikeshare.ports import ModelRegistry, ModelVersion, ObjectStore
from bikeshare.steps.outcome import Outcome, write_outcome


@dataclass(frozen=True)
class Due:
    """Whether to train, and why (not)."""

    due: bool
    reason: str


def due(observations: pd.DataFrame, registry: ModelRegistry, gate: GatePolicy) -> Due:
    """A training is due without a Champion, or with enough hours that the Champion never saw (`GatePolicy.min_rows`).

    With fewer only the Champion's own backtest could stand for it: a daily run would replace a model every day that
    nothing was compared with. A person and the monitor may still start such a run.

    Args:
        observations: Labelled rows of this run, contract columns, ordered.
        registry: Knows the Champion and where its training window ends.
        gate: Which rows judge.
    """
    window = window_of(observations)
    champion = champion_of(registry)
    plan = plan_evaluation(*window, None if champion is None else trained_until(champion), None, gate)
    if champion is None or plan.paired:
        return Due(True, plan.reason)
    fresh = max(0, int((window[1] - trained_until(champion)) / timedelta(hours=1)))
    return Due(False, (
        f"Nothing to train on yet: {fresh} hours that champion {champion.version} never saw, {gate.min_rows} are "
        "needed to compare a challenger with it. New days were judged and kept."
    ))


def skip(
    observations: pd.DataFrame, registry: ModelRegistry, store: ObjectStore, gate: GatePolicy, *, run_key: str,
    now: datetime,
) -> Outcome:
    """End a run that is not due; the Champion is untouched and nobody is disturbed."""
    outcome = Outcome(
        run_key, "skipped", due(observations, registry, gate).reason, now, previous=registry.version_of("champion")
    )
    write_outcome(store, outcome)
    return outcome


def champion_of(registry: ModelRegistry) -> ModelVersion | None:
    """The Champion, None before the first training.

    Raises:
        NotFound: it does not say where its training window ends, so no row is known to be fresh.
    """
    version = registry.version_of("champion")
    if version is None:
        return None
    found = registry.get(version)
    if "window_end" not in found.tags:
        raise NotFound(
            f"champion {version} has no tag window_end, so no row is known to be fresh: it was not made by this "
            "pipeline; remove the alias with MLflow or roll back"
        )
    return found


def trained_until(champion: ModelVersion) -> datetime:
    """End of a version's training window, exclusive."""
    return datetime.fromisoformat(champion.tags["window_end"])


def window_of(observations: pd.DataFrame) -> tuple[datetime, datetime]:
    """First hour, and the first hour after the last one."""
    stamps = observations["timestamp"]
    return stamps.iloc[0].to_pydatetime(), stamps.iloc[-1].to_pydatetime() + timedelta(hours=1)
