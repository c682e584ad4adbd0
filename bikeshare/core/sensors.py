"""Rules about sensors: wrong units, values out of season, frozen readings.

Month-wise range and frozen sensor are two of the three rules that found every injected sensor fault of a
24-start experiment on this record within 27 hours (completeness is the third). Month-wise matters for
temperature: 2 degrees C read as Fahrenheit is 35.6, which is inside the annual Celsius range. Wind and humidity
have no such season: their range is taken over all months, which spares false alarms.
"""

from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES, WEATHER_NUMBERS, Column
from bikeshare.core.limits import (
    FEELS_GAP,
    IMPOSSIBLE_HUMIDITY_PCT,
    RANGED,
    Range,
    ValidationLimits,
    ranged_values,
    runs_of,
)
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.core.verdicts import Failure

SEASONAL = ("temp_c", "feels_like_c")
"""Columns whose range is learned per calendar month."""


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
        physical_low, physical_high = bounds(OBSERVATION[column])
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
                "unit", name, f"{name} looks like degrees Fahrenheit: {values[outside][0]:.1f} where {allowed.low:.0f} "
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
        for month in np.unique(months):
            allowed = allowed_range(limits, column, int(month), policy)
            outside |= (months == month) & ((values < allowed.low) | (values > allowed.high))
        if outside.sum() >= policy.range_hours:
            worst, month = float(values[outside][0]), int(months[outside][0])
            allowed = allowed_range(limits, column, month, policy)
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


def bounds(column: Column) -> tuple[float, float]:
    """The physical range of a column; infinite where the contract has no bound."""
    low = -np.inf if column.minimum is None else column.minimum
    return low, np.inf if column.maximum is None else column.maximum
