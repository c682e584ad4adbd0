"""The rules that judge observations and served inputs; limits come from history, tolerances from the policy.

Completeness, month-wise range and frozen sensor are the three that found every injected sensor fault of a
24-start experiment on this record within 27 hours. Month-wise matters for temperature: 2 degrees C read as
Fahrenheit is 35.6, which is inside the annual Celsius range. Wind and humidity have no such season: their
range is taken over all months, which spares false alarms.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.core.limits import (
    FEELS_GAP,
    IMPOSSIBLE_HUMIDITY_PCT,
    RANGED,
    Range,
    ValidationLimits,
    ranged_values,
    runs_of,
)
from bikeshare.core.observations import OPTIONAL
from bikeshare.core.verdicts import Failure

SEASONAL = ("temp_c", "feels_like_c")
"""Columns whose range is learned per calendar month."""


@dataclass(frozen=True)
class ValidationPolicy:
    """How much deviation is still normal.

    Attributes:
        min_hours: Fewest hours a day (24-hour window) must hold; 21, because hours without a trip have no row:
            ordinary days of the UCI record miss at most two.
        range_slack: Share of a range by which values may leave it on either side; 0.25 as measured.
        young_range_slack: The same while less than `range_full_hours` of a month were seen; twice as much.
        range_hours: Hours outside the range that make a failure; 2, so that one bad reading does not.
        unit_hours: Hours outside the range that make it a wrong unit when °F explains them; 6, because one warm
            afternoon "fits" in Fahrenheit too.
        range_full_hours: Hours after which a month's own range counts; before, its neighbours are added.
        range_min_hours: Hours (neighbours included) below which only the physical range holds; two weeks.
        min_run_hours: A run of one value shorter than this is never called frozen; 26, because the record holds
            19-27 h runs of temperature and humidity in steady rain. A day of one single value is always frozen.
        min_calm_hours: The same for zero wind, which only means "below the sensor's threshold".
        min_clear_run_hours: The same for clear sky; the longest in the record is 139 h, so frozen clear sky is
            found after six days and not earlier: neither humidity nor entropy tells it apart before.
        min_weather_run_hours: The same for the other weather classes; the longest in the record is 32 h.
        run_slack: Factor on the longest run seen in history; it replaces the minimum when it is longer.
        max_null_share: Largest share of missing values per column; rows with a hole are dropped.
        max_future_hours: How far a timestamp may lie after `now`.
        max_past_days: How far a timestamp may lie before the newest accepted hour; older is a wrong clock.
        forecast_hours: How far ahead served inputs may lie after `now`.
    """

    min_hours: int = 21
    range_slack: float = 0.25
    young_range_slack: float = 0.5
    range_hours: int = 2
    unit_hours: int = 6
    range_full_hours: int = 600
    range_min_hours: int = 336
    min_run_hours: int = 26
    min_calm_hours: int = 24
    min_clear_run_hours: int = 144
    min_weather_run_hours: int = 36
    run_slack: float = 1.0
    max_null_share: float = 0.10
    max_future_hours: int = 1
    max_past_days: int = 3660
    forecast_hours: int = 72


def nulls(batch: pd.DataFrame, policy: ValidationPolicy) -> list[Failure]:
    """Too many missing values in a column."""
    found = []
    holes = batch.isna().to_numpy().sum(axis=0)
    for name, missing in zip(batch.columns, map(int, holes), strict=True):
        if name not in OPTIONAL and missing > policy.max_null_share * len(batch):
            found.append(Failure(
                "nulls", str(name), f"{name} is missing in {missing} of {len(batch)} hours (limit "
                f"{policy.max_null_share:.0%}); ask the source for the values and land the day again.",
                missing, f"{missing / len(batch):.0%}", f"{policy.max_null_share:.0%}",
            ))
    return found


def times(frame: pd.DataFrame, limits: ValidationLimits, latest: datetime, policy: ValidationPolicy,
          day: date | None) -> list[Failure]:
    """Hours after `latest`, far before the newest accepted data, or of another day than `day`."""
    found = []
    moments = frame["timestamp"]
    values = moments.to_numpy()
    future = moments[values > np.datetime64(latest)]
    if len(future):
        found.append(Failure(
            "future", "timestamp", f"{len(future)} hours lie in the future: {future.iloc[-1]}, latest possible "
            f"{latest}; check the clock and the time zone of the source.",
            len(future), str(future.iloc[-1]), str(latest),
        ))
    earliest = (limits.end or latest) - timedelta(days=policy.max_past_days)
    past = moments[values < np.datetime64(earliest)]
    if len(past):
        found.append(Failure(
            "past", "timestamp", f"{len(past)} hours lie far in the past: {past.iloc[0]}, more than "
            f"{policy.max_past_days} days before the newest data; check the year and the timestamp format.",
            len(past), str(past.iloc[0]), str(earliest),
        ))
    strangers = moments[values.astype("datetime64[D]") != np.datetime64(day)] if day is not None else future.iloc[:0]
    if len(strangers):
        found.append(Failure(
            "wrong_day", "timestamp", f"{len(strangers)} hours are not of {day}, first {strangers.iloc[0]}; "
            "land each day in its own object.", len(strangers), str(strangers.iloc[0]), str(day),
        ))
    return found


def completeness(frame: pd.DataFrame, policy: ValidationPolicy) -> list[Failure]:
    """Too few hours per day; the real shutdown days of a record fail too, and are released by a person."""
    hours = np.unique(frame["timestamp"].to_numpy().astype("datetime64[h]"))
    rows, span = len(hours), int((hours[-1] - hours[0]).astype(int)) + 1
    # A window that is not aligned with midnight touches two dates but still holds 24 hours.
    days = max(1, min(len(np.unique(hours.astype("datetime64[D]"))), -(-span // 24)))
    least = policy.min_hours * days
    if rows >= least:
        return []
    return [Failure(
        "completeness", "", f"Only {rows} of {24 * days} hours arrived, at least {least} expected: an outage of the "
        "feed, or the system was shut; release the day if it really was.", 24 * days - rows, str(rows), str(least),
    )]


def sums(frame: pd.DataFrame) -> list[Failure]:
    """Demand that is not casual + registered, where both are known."""
    parts = frame["casual"].to_numpy() + frame["registered"].to_numpy()
    wrong = frame[np.isfinite(parts) & (parts != frame["demand"].to_numpy())]
    if wrong.empty:
        return []
    row = wrong.iloc[0]
    return [Failure(
        "sum", "demand", f"demand is not casual + registered in {len(wrong)} hours, first {row['timestamp']}: "
        f"{row['demand']} against {row['casual']:g} + {row['registered']:g}; correct the counts.",
        len(wrong), str(row["demand"]), f"{row['casual'] + row['registered']:g}",
    )]


def physical(frame: pd.DataFrame) -> list[Failure]:
    """Values outside the contract, for inputs that did not pass the pandera schema."""
    found = []
    for name in WEATHER_NUMBERS:
        column = OBSERVATION[name]
        values = frame[name].to_numpy(dtype="float64")
        wrong = ~((values >= _low(column.minimum)) & (values <= _high(column.maximum)))
        if wrong.any():
            found.append(Failure(
                "schema", name, f"{name} is {values[wrong][0]:g} in {int(wrong.sum())} hours; possible are "
                f"{column.minimum:g} to {column.maximum:g} {column.unit}.", int(wrong.sum()),
                f"{values[wrong][0]:g}", f"{column.minimum:g}..{column.maximum:g}",
            ))
    unknown = frame["weather"][~frame["weather"].isin(WEATHER_CLASSES)]
    if len(unknown):
        found.append(Failure(
            "schema", "weather", f"weather is {unknown.iloc[0]!r} in {len(unknown)} hours; known are "
            f"{', '.join(WEATHER_CLASSES)}.", len(unknown), str(unknown.iloc[0]), ", ".join(WEATHER_CLASSES),
        ))
    return found


def inputs(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    """Unit, range and frozen-sensor failures; one cause is named once, by the rule that explains it best."""
    found = units(frame, limits, policy)
    explained = {failure.column for failure in found}
    if explained & set(SEASONAL):
        explained.add(FEELS_GAP)
    for failure in (*_ranges(frame, limits, policy), *_frozen(frame, limits, policy)):
        if failure.column not in explained:
            found.append(failure)
    return found


def units(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    """Degrees Fahrenheit, and humidity that is a fraction or dead."""
    return [*_fahrenheit(frame, limits, policy), *_dry(frame, policy)]


def allowed_range(limits: ValidationLimits, column: str, month: int, policy: ValidationPolicy) -> Range:
    """What a column may be in a calendar month: its history widened by the slack; `hours` says how much that is.

    A seasonal column uses its month; until that was seen in full, the neighbouring months too and more slack.
    The others use all months. With less than two weeks of history only the physical range holds.
    """
    physical_low, physical_high = -np.inf, np.inf
    if column in OBSERVATION:
        physical_low, physical_high = _low(OBSERVATION[column].minimum), _high(OBSERVATION[column].maximum)
    months = limits.ranges.get(column, {})
    slack = policy.range_slack
    if column in SEASONAL:
        chosen = [months[month]] if month in months else []
        if sum(part.hours for part in chosen) < policy.range_full_hours:
            chosen += [months[near] for near in ((month - 2) % 12 + 1, month % 12 + 1) if near in months]
            slack = policy.young_range_slack
    else:
        chosen = list(months.values())
        if len(chosen) < 12:
            slack = policy.young_range_slack
    hours = sum(part.hours for part in chosen)
    if hours < policy.range_min_hours:
        return Range(physical_low, physical_high, 0)
    low, high = min(part.low for part in chosen), max(part.high for part in chosen)
    room = slack * (high - low)
    return Range(max(physical_low, low - room), min(physical_high, high + room), hours)


def _fahrenheit(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    found = []
    month = int(frame["timestamp"].dt.month.iloc[0])
    for name in SEASONAL:
        allowed = allowed_range(limits, name, month, policy)
        values = frame[name].to_numpy(dtype="float64")
        outside = (values < allowed.low) | (values > allowed.high)
        celsius = (values - 32) * 5 / 9
        fits = (celsius >= allowed.low) & (celsius <= allowed.high)
        if outside.sum() >= policy.unit_hours and fits[outside].mean() >= 0.9:
            found.append(Failure(
                "unit", name, f"{name} looks like degrees Fahrenheit: {values[outside][0]:g} where {allowed.low:.0f} "
                f"to {allowed.high:.0f} °C is normal for the month ({int(outside.sum())} hours outside); as °F it "
                f"would be {celsius[outside][0]:.1f} °C; convert it and land the day again.",
                int(outside.sum()), f"{values[outside][0]:g}", f"{allowed.low:.1f}..{allowed.high:.1f}",
            ))
    return found


def _dry(frame: pd.DataFrame, policy: ValidationPolicy) -> list[Failure]:
    humidity = frame["humidity_pct"].to_numpy(dtype="float64")
    dry = humidity <= IMPOSSIBLE_HUMIDITY_PCT
    if dry.sum() < policy.range_hours:
        return []
    fraction = bool((humidity > 0).any() and dry.all())
    advice = "it looks like a fraction: multiply by 100" if fraction else "the sensor is dead: leave its hours out"
    return [Failure(
        "unit" if fraction else "range", "humidity_pct", f"humidity_pct is {humidity[dry][0]:g} in {int(dry.sum())} "
        f"hours, which outdoor air never is; {advice} and land the day again.",
        int(dry.sum()), f"{humidity[dry][0]:g}", f">{IMPOSSIBLE_HUMIDITY_PCT:g}",
    )]


def _ranges(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    found = []
    months = frame["timestamp"].dt.month.to_numpy()
    for column in RANGED:
        values = ranged_values(frame, column)
        outside = np.zeros(len(values), dtype=bool)
        allowed = Range(-np.inf, np.inf, 0)
        for month in np.unique(months):
            allowed = allowed_range(limits, column, int(month), policy)
            outside |= (months == month) & ((values < allowed.low) | (values > allowed.high))
        if outside.sum() >= policy.range_hours:
            worst = float(values[outside][0])
            season = " for the month" if column in SEASONAL else ""
            found.append(Failure(
                "range", column, f"{column} is {worst:g} in {int(outside.sum())} hours, where {allowed.low:.1f} to "
                f"{allowed.high:.1f} is normal{season}; check the sensor, or release the day if it is real.",
                int(outside.sum()), f"{worst:g}", f"{allowed.low:.1f}..{allowed.high:.1f}",
            ))
    return found


def _frozen(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    found = []
    hours = frame["timestamp"].to_numpy().astype("datetime64[h]")
    for column in (*WEATHER_NUMBERS, "weather"):
        values = frame[column].to_numpy()
        whole_day = column != "weather" and len(values) >= policy.min_hours and bool((values == values[0]).all())
        for value, length, start, end in runs_of(values, hours, limits.tails.get(column), limits.end):
            longest = _longest_run(column, value, limits, policy)
            if length <= longest and not (whole_day and not _saturated(column, value)):
                continue
            shown = value if isinstance(value, str) else f"{value:g}"
            limit = f"the longest plausible run is {longest:.0f}" if length > longest else "not one other value all day"
            found.append(Failure(
                "frozen_category" if column == "weather" else "frozen", column,
                f"{column} has been {shown} for {length} hours in a row, {limit}; check the sensor.",
                end - start + 1, str(length), f"{longest:.0f}",
            ))
            break
    return found


def _longest_run(column: str, value: Any, limits: ValidationLimits, policy: ValidationPolicy) -> float:
    if column == "weather":
        least = policy.min_clear_run_hours if value == WEATHER_CLASSES[0] else policy.min_weather_run_hours
        return max(float(least), policy.run_slack * limits.weather_runs.get(str(value), 0))
    if column == "windspeed_kmh" and value == 0.0:
        return max(float(policy.min_calm_hours), policy.run_slack * limits.calm_run)
    longest = max(float(policy.min_run_hours), policy.run_slack * limits.runs.get(column, 0))
    return 2.0 * longest if _saturated(column, value) else longest


def _saturated(column: str, value: Any) -> bool:
    """A value at which a healthy sensor rests: no wind, or fog."""
    return (column == "windspeed_kmh" and value == 0.0) or (column == "humidity_pct" and value >= 99.5)


def _low(bound: float | None) -> float:
    return -np.inf if bound is None else bound


def _high(bound: float | None) -> float:
    return np.inf if bound is None else bound
