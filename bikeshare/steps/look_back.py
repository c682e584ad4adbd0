"""Looking back for people: what was served beside the truth, beside the naive rule and the frozen first model."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bikeshare.core.diary import Diary, compare
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.timeline import Day
from bikeshare.ports import DecisionRecord, ModelRegistry, ModelVersion, Records

NAIVE_DAYS = 29
"""The naive rule reads 28 days before yesterday."""

SHOWN = ("lower_80", "upper_80", "lower_95", "upper_95", "degraded")


def hours_of_day(records: Records, day: date) -> pd.DataFrame:
    """Served beside truth on one day: `Records.labelled`, at most 24 rows."""
    start = datetime.combine(day, time())
    return records.labelled(start, start + timedelta(days=1))


def look_back(
    records: Records, days: Sequence[date], first: Forecaster | None,
    hours_of: Callable[[date], pd.DataFrame] | None = None,
) -> Diary:
    """Compare what was served with the alternatives on some consecutive days.

    Reads one day of predictions at a time, and observations of these days and the 29 before; never more.

    Args:
        records: Holds predictions and truth.
        days: Consecutive days, oldest first.
        first: The frozen model, None to leave it out.
        hours_of: Reads a day; a door may pass one that remembers.
    """
    if not days:
        return Diary(pd.DataFrame({"timestamp": [], "demand": [], "served": [], "frozen": [], "naive": []}))
    read = hours_of or (lambda day: hours_of_day(records, day))
    start, end = datetime.combine(days[0], time()), datetime.combine(days[-1], time()) + timedelta(days=1)
    known = records.observations(start - timedelta(days=NAIVE_DAYS), end)
    parts = [part for day in days if len(part := read(day))]
    if not parts:
        empty = known.iloc[:0].assign(served=[], model_version=[], **{name: [] for name in SHOWN})
        return compare(empty, known, None)
    served = pd.concat(parts, ignore_index=True).rename(columns={"prediction": "served"})
    hours = known.merge(served[["timestamp", "served", "model_version", *SHOWN]], on="timestamp", how="inner")
    return compare(hours.reset_index(drop=True), known, first)


def newest_days(records: Records, now: datetime, count: int) -> list[date]:
    """The newest `count` days that can have labels, oldest first; empty before anything landed."""
    latest = records.latest_observation()
    if latest is None:
        return []
    return days_until(min(latest.date(), now.date()), count)


def days_until(last: date, count: int) -> list[date]:
    """`count` days that end with the last, oldest first."""
    return [last - timedelta(days=back) for back in reversed(range(count))]


def chapters(days: Sequence[date], decisions: Sequence[DecisionRecord]) -> dict[date, str]:
    """What the loop said of each day: the state after its last look."""
    states: dict[date, str] = {}
    for record in sorted(decisions, key=lambda record: record.decided_at):
        states[record.decided_at.date()] = record.state.replace("_", " ")
    return {day: states.get(day, "") for day in days}


def without_silence(days: Sequence[Day]) -> list[Day]:
    """Days from the first look on; where nobody looked, from the first day on that was served."""
    known = [position for position, day in enumerate(days) if day.chapter]
    known = known or [position for position, day in enumerate(days) if day.wape is not None]
    return list(days[known[0]:]) if known else []


def first_version(versions: Sequence[ModelVersion]) -> str | None:
    """The oldest version that ever served: what would answer if nobody had retrained."""
    served = [item for item in versions if item.tags.get("rollout") in ("serving", "rolled_back") or item.aliases]
    return min((item.version for item in served), key=int, default=None)


def open_model(registry: ModelRegistry, version: str, folder: Path, load: Callable[[Path], Any]) -> Any:
    """The artifact of any version, also of one that was never packaged.

    Args:
        registry: Holds the artifact.
        version: Which one.
        folder: Where it is kept; a version that is there already is not fetched again.
        load: `bikeshare.adapters.artifacts.load_artifact`; checks the hash.
    """
    place = folder / version
    found = next(place.glob("**/contract.json"), None)
    if found is None:
        registry.download(version, place)
        found = next(place.glob("**/contract.json"))
    return load(found.parent)
