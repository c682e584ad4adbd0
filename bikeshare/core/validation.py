"""Is this batch of observations (or of served inputs) fit to be used? Rules with limits from history.

The three learned rules (completeness, month-wise range, frozen sensor) detected every injected sensor fault of
a 24-start experiment on this data within 27 hours; month-wise matters: 2 degrees C read as Fahrenheit is 35.6,
which is inside the annual Celsius range.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_NUMBERS
from bikeshare.core.limits import (
    FEELS_GAP,
    IMPOSSIBLE_HUMIDITY_PCT,
    RANGED,
    Range,
    ValidationLimits,
    extend_limits,
    learn_limits,
    ranged_values,
    runs_of,
)
from bikeshare.core.observations import OPTIONAL, conform
from bikeshare.core.schema import check_schema
from bikeshare.core.verdicts import Failure, Verdict, verdict


@dataclass(frozen=True)
class ValidationPolicy:
    """How much deviation is still normal.

    Attributes:
        min_hours: Fewest hours a day (24-hour window) must hold; 21, because hours without a trip have no
            row: ordinary days of the UCI record miss at most two.
        range_slack: Share of a month's range by which values may leave it on either side; 0.25 as measured.
        range_hours: Hours outside the range that make a failure; 2, so that one bad reading does not.
        range_min_hours: A month's own range counts once it was seen for this many hours (about half a
            month); before, neighbouring months help, and before that only the physical range holds.
        min_run_hours: A run of one value shorter than this is never called frozen; the record holds 19-27 h
            runs of temperature and humidity in steady rain.
        min_calm_hours: The same for zero wind, which only means "below the sensor's threshold".
        run_slack: Factor on the longest run seen in history.
        weather_run_slack: Factor on the longest run of a weather class seen in history.
        min_weather_run_hours: A run of one weather class shorter than this is never called frozen.
        max_null_share: Largest share of missing values per column; rows with a hole are dropped.
        max_future_hours: How far a timestamp may lie after `now`.
        max_past_days: How far a timestamp may lie before the newest accepted hour; older is a wrong clock.
    """

    min_hours: int = 21
    range_slack: float = 0.25
    range_hours: int = 2
    range_min_hours: int = 336
    min_run_hours: int = 24
    min_calm_hours: int = 24
    run_slack: float = 1.0
    weather_run_slack: float = 1.0
    min_weather_run_hours: int = 144
    max_null_share: float = 0.10
    max_future_hours: int = 1
    max_past_days: int = 3660


def validate(batch: pd.DataFrame, history: pd.DataFrame | ValidationLimits | None, now: datetime,
             policy: ValidationPolicy | None = None) -> Verdict:
    """Judge a batch of observations (usually one day) against the contract and its history.

    Args:
        batch: Observation columns as they arrived; types are checked, not assumed.
        history: Accepted observations, or the limits learned from them (much cheaper); None knows nothing.
        now: Naive local time of the judgement.
        policy: Limits that are not learned.
    """
    policy = policy or ValidationPolicy()
    limits = history if isinstance(history, ValidationLimits) else learn_limits(
        history if history is not None else pd.DataFrame()
    )
    if batch.empty:
        return verdict(0, [Failure("empty", "", "The batch has no rows; land the day again.", 0)])
    failures = check_schema(batch)
    if failures:
        return verdict(len(batch), failures)
    frame = usable(batch)
    failures = [*_nulls(batch, policy), *_times(frame, limits, now, policy)]
    if not frame.empty:
        failures += [*_completeness(frame, policy), *_sums(frame), *_inputs(frame, limits, policy)]
    return verdict(len(batch), failures, dropped=len(batch) - len(frame))


def validate_inputs(frame: pd.DataFrame, limits: ValidationLimits, now: datetime,
                    policy: ValidationPolicy | None = None, *, complete: bool = True) -> Verdict:
    """Judge served inputs (no labels): the last 24 hours of `frame`, runs over all of it.

    Args:
        frame: timestamp, the numeric weather columns and `weather`; several rows per hour are fine, the last counts.
        limits: From `learn_limits` on the training window.
        now: Naive local time of the judgement.
        policy: Limits that are not learned.
        complete: Whether clients are expected to ask for every hour, so that absent ones are a fault.
    """
    policy = policy or ValidationPolicy()
    if frame.empty:
        return verdict(0, [Failure("empty", "", "No inputs were served in the window; is the predictor asked?", 0)])
    columns = ["timestamp", *WEATHER_NUMBERS, "weather"]
    hours = frame.loc[:, columns].drop_duplicates("timestamp", keep="last").sort_values("timestamp")
    hours = hours.reset_index(drop=True)
    nulls = _nulls(hours, policy)
    whole = hours.dropna(subset=columns).reset_index(drop=True)
    if whole.empty:
        return verdict(len(frame), nulls)
    window = whole[whole["timestamp"] > whole["timestamp"].iloc[-1] - timedelta(hours=24)].reset_index(drop=True)
    before = whole.iloc[: len(whole) - len(window)]
    seen = _with_tails(limits, before)
    failures = [*nulls, *_times(window, limits, now + timedelta(hours=48), policy), *_physical(window)]
    if complete:
        failures += _completeness(window, policy)
    return verdict(len(frame), [*failures, *_inputs(window, seen, policy)], dropped=len(hours) - len(whole))


def usable(batch: pd.DataFrame) -> pd.DataFrame:
    """The rows of a batch without holes, conformed: an hour with a missing value becomes a visible gap."""
    needed = [name for name in OBSERVATION if name not in OPTIONAL]
    return conform(batch.dropna(subset=needed))


def _with_tails(limits: ValidationLimits, before: pd.DataFrame) -> ValidationLimits:
    if before.empty:
        return limits
    tails = extend_limits(ValidationLimits(), before)
    return replace(limits, tails=tails.tails, end=tails.end)


def _nulls(batch: pd.DataFrame, policy: ValidationPolicy) -> list[Failure]:
    failures = []
    for name in batch.columns:
        missing = int(batch[name].isna().sum())
        if name not in OPTIONAL and missing > policy.max_null_share * len(batch):
            failures.append(Failure(
                "nulls", str(name), f"{name} is missing in {missing} of {len(batch)} hours (limit "
                f"{policy.max_null_share:.0%}); ask the source for the values and land the day again.",
                missing, f"{missing / len(batch):.0%}", f"{policy.max_null_share:.0%}",
            ))
    return failures


def _times(frame: pd.DataFrame, limits: ValidationLimits, now: datetime, policy: ValidationPolicy) -> list[Failure]:
    failures = []
    moments = frame["timestamp"]
    latest = now + timedelta(hours=policy.max_future_hours)
    future = moments[moments > latest]
    if len(future):
        failures.append(Failure(
            "future", "timestamp", f"{len(future)} hours lie in the future: {future.iloc[-1]} when it is {now}; "
            "check the clock and the time zone of the source.", len(future), str(future.iloc[-1]), str(latest),
        ))
    earliest = (limits.end or now) - timedelta(days=policy.max_past_days)
    past = moments[moments < earliest]
    if len(past):
        failures.append(Failure(
            "past", "timestamp", f"{len(past)} hours lie far in the past: {past.iloc[0]}, more than "
            f"{policy.max_past_days} days before the newest data; check the year and the timestamp format.",
            len(past), str(past.iloc[0]), str(earliest),
        ))
    return failures


def _completeness(frame: pd.DataFrame, policy: ValidationPolicy) -> list[Failure]:
    rows = frame["timestamp"].nunique()
    days = max(1, frame["timestamp"].dt.normalize().nunique())
    # A window that is not aligned with midnight touches two dates but still holds 24 hours.
    span = (frame["timestamp"].iloc[-1] - frame["timestamp"].iloc[0]) / timedelta(hours=1) + 1
    days = max(1, min(days, int(np.ceil(span / 24))))
    if rows >= policy.min_hours * days:
        return []
    missing = 24 * days - rows
    return [Failure(
        "completeness", "", f"Only {rows} of {24 * days} hours arrived (at least {policy.min_hours * days} expected): "
        "an outage of the feed, or the system was shut; release the day if it really was shut.",
        missing, str(rows), str(policy.min_hours * days),
    )]


def _sums(frame: pd.DataFrame) -> list[Failure]:
    parts = frame["casual"] + frame["registered"]
    wrong = frame[parts.notna() & (parts != frame["demand"])]
    if wrong.empty:
        return []
    row = wrong.iloc[0]
    return [Failure(
        "sum", "demand", f"demand is not casual + registered in {len(wrong)} hours, first {row['timestamp']}: "
        f"{row['demand']} against {row['casual']:g} + {row['registered']:g}; correct the counts.",
        len(wrong), str(row["demand"]), f"{row['casual'] + row['registered']:g}",
    )]


def _physical(frame: pd.DataFrame) -> list[Failure]:
    failures = []
    for name in WEATHER_NUMBERS:
        column = OBSERVATION[name]
        values = frame[name].to_numpy(dtype="float64")
        wrong = ~((values >= column.minimum) & (values <= column.maximum))
        if wrong.any():
            failures.append(Failure(
                "schema", name, f"{name} is {values[wrong][0]:g} in {int(wrong.sum())} hours; possible are "
                f"{column.minimum:g} to {column.maximum:g} {column.unit}.", int(wrong.sum()),
                f"{values[wrong][0]:g}", f"{column.minimum:g}..{column.maximum:g}",
            ))
    return failures


def _inputs(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    units = _units(frame, limits, policy)
    explained = {failure.column for failure in units}
    if explained & {"temp_c", "feels_like_c"}:
        explained.add(FEELS_GAP)
    ranges = [failure for failure in _ranges(frame, limits, policy) if failure.column not in explained]
    frozen = [failure for failure in _frozen(frame, limits, policy) if failure.column not in explained]
    return [*units, *ranges, *frozen]


def _units(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    failures = []
    month = int(frame["timestamp"].dt.month.iloc[0])
    for name in ("temp_c", "feels_like_c"):
        allowed = allowed_range(limits, name, month, policy)
        values = frame[name].to_numpy(dtype="float64")
        outside = (values < allowed.low) | (values > allowed.high)
        celsius = (values - 32) * 5 / 9
        plausible = (celsius >= allowed.low) & (celsius <= allowed.high)
        if limits.rows and outside.sum() >= policy.range_hours and plausible.mean() >= 0.9:
            failures.append(Failure(
                "unit", name, f"{name} looks like degrees Fahrenheit: {values[outside][0]:g} in "
                f"{int(outside.sum())} hours, where {allowed.low:.0f} to {allowed.high:.0f} °C is normal for the month "
                f"and {celsius[outside][0]:.1f} °C would fit; convert it and land the day again.",
                int(outside.sum()), f"{values[outside][0]:g}", f"{allowed.low:.1f}..{allowed.high:.1f}",
            ))
    humidity = frame["humidity_pct"].to_numpy(dtype="float64")
    dry = humidity <= IMPOSSIBLE_HUMIDITY_PCT
    if dry.sum() >= policy.range_hours:
        fraction = bool((humidity > 0).any() and dry.all())
        advice = "it looks like a fraction; multiply by 100" if fraction else "the sensor is dead; leave the hours out"
        failures.append(Failure(
            "unit" if fraction else "range", "humidity_pct", f"humidity_pct is {humidity[dry][0]:g} in "
            f"{int(dry.sum())} hours, which outdoor air never is: {advice} and land the day again.",
            int(dry.sum()), f"{humidity[dry][0]:g}", f">{IMPOSSIBLE_HUMIDITY_PCT:g}",
        ))
    return failures


def _ranges(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    failures = []
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
            failures.append(Failure(
                "range", column, f"{column} is {worst:g} in {int(outside.sum())} hours; {allowed.low:.1f} to "
                f"{allowed.high:.1f} is normal for the month (history ± {policy.range_slack:.0%}); check the sensor.",
                int(outside.sum()), f"{worst:g}", f"{allowed.low:.1f}..{allowed.high:.1f}",
            ))
    return failures


def _frozen(frame: pd.DataFrame, limits: ValidationLimits, policy: ValidationPolicy) -> list[Failure]:
    failures = []
    hours = frame["timestamp"].to_numpy().astype("datetime64[h]")
    for column in (*WEATHER_NUMBERS, "weather"):
        found = runs_of(frame[column].to_numpy(), hours, limits.tails.get(column), limits.end)
        for value, length, start, end in found:
            allowed = _allowed_run(column, value, limits, policy)
            if length > allowed:
                rule = "frozen_category" if column == "weather" else "frozen"
                failures.append(Failure(
                    rule, column, f"{column} has been {_show(value)} for {length} hours in a row; the longest such run "
                    f"allowed is {allowed:.0f}; check the sensor.", end - start + 1, str(length), f"{allowed:.0f}",
                ))
                break
    return failures


def _allowed_run(column: str, value: Any, limits: ValidationLimits, policy: ValidationPolicy) -> float:
    if column == "weather":
        longest = limits.weather_runs.get(str(value), 0)
        return max(float(policy.min_weather_run_hours), policy.weather_run_slack * longest)
    if column == "windspeed_kmh" and value == 0.0:
        return max(float(policy.min_calm_hours), policy.run_slack * limits.calm_run)
    if column == "humidity_pct" and value >= 99.5:
        return max(2.0 * policy.min_run_hours, policy.run_slack * limits.runs.get(column, 0))
    return max(float(policy.min_run_hours), policy.run_slack * limits.runs.get(column, 0))


def allowed_range(limits: ValidationLimits, column: str, month: int, policy: ValidationPolicy) -> Range:
    """What a column may be in a calendar month: its history widened by the slack, within physics.

    Until a month was seen for `range_min_hours`, its neighbours are added; until those were seen enough too,
    only the physical range holds.
    """
    physical = OBSERVATION.get(column)
    low, high = (physical.minimum, physical.maximum) if physical else (-np.inf, np.inf)
    months = limits.ranges.get(column, {})
    chosen = [months[month]] if month in months else []
    if sum(r.hours for r in chosen) < policy.range_min_hours:
        chosen += [months[m] for m in ((month - 2) % 12 + 1, month % 12 + 1) if m in months]
    seen = sum(r.hours for r in chosen)
    if seen < policy.range_min_hours:
        return Range(float(low or 0.0) if low is not None else -np.inf, float(high) if high is not None else np.inf, 0)
    smallest, largest = min(r.low for r in chosen), max(r.high for r in chosen)
    slack = policy.range_slack * (largest - smallest)
    return Range(smallest - slack, largest + slack, seen)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"


__all__ = [
    "Failure", "ValidationLimits", "ValidationPolicy", "Verdict", "extend_limits", "learn_limits",
    "usable", "validate", "validate_inputs",
]
