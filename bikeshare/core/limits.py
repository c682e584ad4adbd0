"""What normal data looks like, learned once from accepted history and extended day by day.

The limits are a small JSON document: the ingest step keeps them in the records, an artifact carries the ones
of its training window, the monitor judges served inputs with them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import WEATHER_CLASSES, WEATHER_NUMBERS

FEELS_GAP = "feels_like_minus_temp_c"
"""Pseudo column: apparent minus air temperature; a sensor in another unit breaks it in one hour."""

RANGED = (*WEATHER_NUMBERS, FEELS_GAP)
"""Columns with a learned range per month."""

IMPOSSIBLE_HUMIDITY_PCT = 1.0
"""Outdoor air is never this dry: such a value is a dead sensor or a fraction instead of per cent."""

TAIL_MAX_GAP_HOURS = 6
"""A run of equal values does not continue across a longer gap: a shutdown resets it."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest value seen in one calendar month, and in how many hours."""

    low: float
    high: float
    hours: int


@dataclass(frozen=True)
class Tail:
    """The run of equal values that ends the history: it may go on in the next batch."""

    value: float | str
    hours: int


@dataclass(frozen=True)
class ValidationLimits:
    """Statistics of accepted history; `to_dict` and `from_dict` keep them in JSON.

    Attributes:
        rows: Observed hours.
        start: First hour.
        end: Last hour.
        ranges: Column -> calendar month (1-12) -> range, over the columns of `RANGED`.
        runs: Longest run of one value per numeric weather column; `windspeed_kmh` without its zeros.
        calm_run: Longest run of zero wind (below the sensor's threshold).
        weather_runs: Longest run per weather class.
        tails: The unfinished runs at `end`, per column.
    """

    rows: int = 0
    start: datetime | None = None
    end: datetime | None = None
    ranges: Mapping[str, Mapping[int, Range]] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    calm_run: int = 0
    weather_runs: Mapping[str, int] = field(default_factory=dict)
    tails: Mapping[str, Tail] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """A JSON document."""
        document = asdict(self)
        document["start"] = self.start.isoformat() if self.start else None
        document["end"] = self.end.isoformat() if self.end else None
        document["ranges"] = {
            column: {str(month): [r.low, r.high, r.hours] for month, r in months.items()}
            for column, months in self.ranges.items()
        }
        document["tails"] = {column: [tail.value, tail.hours] for column, tail in self.tails.items()}
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "ValidationLimits":
        """The inverse of `to_dict`; an empty document gives limits that know nothing."""
        if not document:
            return cls()
        return cls(
            rows=int(document["rows"]),
            start=datetime.fromisoformat(document["start"]) if document["start"] else None,
            end=datetime.fromisoformat(document["end"]) if document["end"] else None,
            ranges={
                column: {int(month): Range(float(low), float(high), int(hours))
                         for month, (low, high, hours) in months.items()}
                for column, months in document["ranges"].items()
            },
            runs={column: int(hours) for column, hours in document["runs"].items()},
            calm_run=int(document["calm_run"]),
            weather_runs={name: int(hours) for name, hours in document["weather_runs"].items()},
            tails={column: Tail(value, int(hours)) for column, (value, hours) in document["tails"].items()},
        )


def learn_limits(history: pd.DataFrame) -> ValidationLimits:
    """Limits of a whole history (observation columns, sorted by timestamp)."""
    return extend_limits(ValidationLimits(), history)


def extend_limits(limits: ValidationLimits, frame: pd.DataFrame) -> ValidationLimits:
    """Limits after `frame` was accepted as well.

    Learning a history at once or day by day gives the same limits. A backfilled day (older than `end`)
    widens the ranges only: the runs around it were closed when it was absent.
    """
    if frame.empty:
        return limits
    hours = frame["timestamp"].to_numpy().astype("datetime64[h]")
    first, last = hours[0].astype(datetime), hours[-1].astype(datetime)
    ranges = {column: dict(limits.ranges.get(column, {})) for column in RANGED}
    months = frame["timestamp"].dt.month.to_numpy()
    dead = frame["humidity_pct"].to_numpy() <= IMPOSSIBLE_HUMIDITY_PCT
    for column in RANGED:
        values = ranged_values(frame, column)
        for month in np.unique(months):
            chosen = values[(months == month) & ~dead]
            if len(chosen):
                ranges[column][int(month)] = _merge(ranges[column].get(int(month)), chosen)
    backfill = limits.end is not None and first <= limits.end
    grown = replace(
        limits, rows=limits.rows + len(frame), ranges=ranges,
        start=first if limits.start is None else min(limits.start, first),
        end=last if limits.end is None else max(limits.end, last),
    )
    return grown if backfill else _extend_runs(grown, limits, frame, dead)


def ranged_values(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Values of a column of `RANGED`, the pseudo column included."""
    if column == FEELS_GAP:
        return np.asarray(frame["feels_like_c"].to_numpy() - frame["temp_c"].to_numpy(), dtype="float64")
    return frame[column].to_numpy(dtype="float64")


def runs_of(values: np.ndarray, hours: np.ndarray, tail: Tail | None, previous: datetime | None,
            ) -> list[tuple[Any, int, int, int]]:
    """Runs of equal values as (value, length, first row, last row), in order.

    Hours without a row do not break a run unless more than `TAIL_MAX_GAP_HOURS` are absent. A `tail` (the
    run that ended the history at `previous`) lengthens the first run when it goes on.
    """
    breaks = np.r_[True, (values[1:] != values[:-1]) | (np.diff(hours).astype(int) > TAIL_MAX_GAP_HOURS + 1)]
    starts = np.flatnonzero(breaks)
    ends = np.r_[starts[1:], len(values)]
    found = [(values[a], int(b - a), int(a), int(b) - 1) for a, b in zip(starts, ends, strict=True)]
    if tail is not None and previous is not None and found:
        value, length, a, b = found[0]
        gap = hours[0].astype(datetime) - previous
        if value == tail.value and timedelta(0) < gap <= timedelta(hours=TAIL_MAX_GAP_HOURS + 1):
            found[0] = (value, length + tail.hours, a, b)
    return found


def _extend_runs(grown: ValidationLimits, before: ValidationLimits, frame: pd.DataFrame, dead: np.ndarray,
                 ) -> ValidationLimits:
    hours = frame["timestamp"].to_numpy().astype("datetime64[h]")
    longest = {column: before.runs.get(column, 0) for column in WEATHER_NUMBERS}
    weather = {name: before.weather_runs.get(name, 0) for name in WEATHER_CLASSES}
    calm, tails = before.calm_run, {}
    for column in (*WEATHER_NUMBERS, "weather"):
        values = frame[column].to_numpy()
        found = runs_of(values, hours, before.tails.get(column), before.end)
        for value, length, start, _ in found:
            if column == "weather":
                weather[value] = max(weather.get(value, 0), length)
            elif column == "windspeed_kmh" and value == 0.0:
                calm = max(calm, length)
            elif not (column == "humidity_pct" and dead[start]):
                longest[column] = max(longest[column], length)
        value, length = found[-1][:2]
        tails[column] = Tail(value if column == "weather" else float(value), length)
    return replace(grown, runs=longest, calm_run=calm, weather_runs=weather, tails=tails)


def _merge(old: Range | None, values: np.ndarray) -> Range:
    low, high = float(values.min()), float(values.max())
    if old is None:
        return Range(low, high, len(values))
    return Range(min(old.low, low), max(old.high, high), old.hours + len(values))
