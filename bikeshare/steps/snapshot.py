"""The state that serving answers from: read the history, refresh the level, keep it in the records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bikeshare.core.forecasting import LOOKBACK_DAYS, Forecaster, Snapshot
from bikeshare.core.grid import EMPTY, grid_of
from bikeshare.core.level import Forest, Level
from bikeshare.ports import LevelRow, Records

if TYPE_CHECKING:
    import pandas as pd


def build_snapshot(
    forecaster: Forecaster, records: Records, version: str, now: datetime, *, keep_levels: bool = True,
    observations: pd.DataFrame | None = None,
) -> Snapshot:
    """Snapshot of a model version as of `now`, from the records.

    The level is refreshed from the observations on every call and is the same for everybody who asks on the same
    day with the same history; `keep_levels` stores it (idempotent) as the trail that the monitor and people read.

    Args:
        forecaster: The version's forecaster.
        records: Where observations and levels are kept.
        version: Model version the levels belong to.
        now: The moment the snapshot is for.
        keep_levels: Whether to store the refreshed levels.
        observations: Use these instead of reading the records.

    Raises:
        Unavailable: the database did not answer.
    """
    grid = records.observed(_start(forecaster, now), now) if observations is None else grid_of(observations)
    stored = newest_levels(records, version, now)
    snapshot = forecaster.snapshot_of(grid, now, stored)
    if keep_levels:
        rows = [
            LevelRow(
                model_version=version, forest=forest, day=now.date(), level=level.level, as_of=level.as_of,
                labelled_hours=level.labelled_hours, reason=level.reason,
            )
            for forest, level in snapshot.levels.items() if stored.get(forest) != level
        ]
        if rows:
            records.save_levels(rows)
    return snapshot


def empty_snapshot(forecaster: Forecaster, now: datetime) -> Snapshot:
    """Snapshot without any history: answers are degraded, by the level frozen in the artifact."""
    return forecaster.snapshot_of(EMPTY, now)


def recent_observations(forecaster: Forecaster, records: Records, now: datetime) -> pd.DataFrame:
    """What a snapshot reads: everything since the end of training, and the lookback before that or before now."""
    return records.observations(_start(forecaster, now), now)


def _start(forecaster: Forecaster, now: datetime) -> datetime:
    return min(forecaster.model.window[1], now) - timedelta(days=LOOKBACK_DAYS)


def newest_levels(records: Records, version: str, now: datetime) -> Mapping[Forest, Level]:
    """The stored level of each forest, none later than `now`."""
    found: dict[Forest, Level] = {}
    for row in records.levels(version):
        if row.day <= now.date():
            found[row.forest] = Level(row.level, row.as_of, row.labelled_hours, row.reason)
    return found
