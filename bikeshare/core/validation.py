"""Is this batch of observations, or of served inputs, fit to be used?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta

import pandas as pd

from bikeshare.core import rules, sensors
from bikeshare.core.contract import WEATHER_NUMBERS
from bikeshare.core.limits import ValidationLimits, extend_limits, learn_limits
from bikeshare.core.observations import usable
from bikeshare.core.schema import check_schema
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.core.verdicts import Failure, Verdict, verdict
from bikeshare.errors import DataError

INPUT_COLUMNS = ("timestamp", *WEATHER_NUMBERS, "weather")
"""Columns of served inputs that `validate_inputs` reads; others are ignored."""


def validate(
    batch: pd.DataFrame,
    history: pd.DataFrame | ValidationLimits | None,
    now: datetime,
    policy: ValidationPolicy | None = None,
    *,
    day: date | None = None,
) -> Verdict:
    """Judge a batch of observations (usually one day) against the contract and its history.

    Args:
        batch: Observation columns as they arrived; types are checked, not assumed.
        history: Accepted observations, or the limits learned from them (much cheaper); None knows nothing.
        now: Naive local time of the judgement.
        policy: Tolerances that are not learned.
        day: When given, every row must be of this day.
    """
    if batch.empty:
        return verdict(0, [Failure("empty", "", "The batch has no rows; land the day again.", 0)])
    failures = check_schema(batch)
    limits = history if isinstance(history, ValidationLimits) else learn_limits(
        pd.DataFrame() if history is None else history
    )
    if failures:
        return refuse_schema(batch, failures, limits, policy)
    return validate_values(batch, limits, now, policy, day=day)


def refuse_schema(
    batch: pd.DataFrame, failures: Sequence[Failure], limits: ValidationLimits, policy: ValidationPolicy | None = None
) -> Verdict:
    """The verdict of a batch that breaks the contract; a wrong unit is named as such where it explains values."""
    try:
        named = sensors.units(usable(batch), limits, policy or ValidationPolicy())
    except DataError:
        named = []  # not even the types are right
    explained = {failure.column for failure in named}
    return verdict(len(batch), [*named, *(failure for failure in failures if failure.column not in explained)])


def validate_values(
    batch: pd.DataFrame,
    limits: ValidationLimits,
    now: datetime,
    policy: ValidationPolicy | None = None,
    *,
    day: date | None = None,
) -> Verdict:
    """Judge a batch whose schema was checked already; arguments as in `validate`."""
    policy = policy or ValidationPolicy()
    frame = usable(batch)
    failures = rules.nulls(batch, policy)
    if not frame.empty:
        failures += [
            *rules.times(frame, limits, now + timedelta(hours=policy.max_future_hours), policy, day),
            *rules.completeness(frame, policy),
            *rules.sums(frame),
            *sensors.inputs(frame, limits, policy),
        ]
    return verdict(len(batch), failures, dropped=len(batch) - len(frame))


def validate_inputs(
    frame: pd.DataFrame,
    limits: ValidationLimits,
    now: datetime,
    policy: ValidationPolicy | None = None,
    *,
    complete: bool = True,
) -> Verdict:
    """Judge served inputs (no labels): the last 24 hours of `frame`, and runs over all of it.

    A fault stays a failure until 24 clean hours were served after it. Give a week of inputs so that slow faults
    (a frozen category) can show; nothing here imports pandera.

    Args:
        frame: `INPUT_COLUMNS`; several rows per hour are fine, the last counts.
        limits: Of the training window, from the artifact's profile.
        now: Naive local time of the judgement.
        policy: Tolerances that are not learned.
        complete: Whether clients are expected to ask for every hour, so that absent ones are a fault. Hours after
            `now` are not missed yet: forecasts reach ahead by different lengths.
    """
    policy = policy or ValidationPolicy()
    if frame.empty:
        return verdict(0, [Failure("empty", "", "No inputs were served in the window; does anybody ask?", 0)])
    hours = frame.loc[:, list(INPUT_COLUMNS)].drop_duplicates("timestamp", keep="last")
    hours = hours.sort_values("timestamp").reset_index(drop=True)
    recent = hours[hours["timestamp"] > hours["timestamp"].iloc[-1] - timedelta(hours=24)]
    failures: Sequence[Failure] = rules.nulls(recent, policy)
    whole = hours.dropna().reset_index(drop=True)
    window = recent.dropna().reset_index(drop=True)
    due = _due(whole, now)
    if not window.empty:
        seen = _going_on(limits, whole[whole["timestamp"] < window["timestamp"].iloc[0]])
        latest = now + timedelta(hours=policy.forecast_hours)
        judged = sensors.inputs(window, seen, policy)
        failures = [
            *failures,
            *rules.times(window, limits, latest, policy, None),
            *(rules.completeness(due, policy) if complete and not due.empty else ()),
            *judged,
            *(failure for failure in rules.physical(window) if failure.column not in {f.column for f in judged}),
        ]
    return verdict(len(frame), list(failures), dropped=len(hours) - len(whole))


def _due(hours: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The 24 hours that end with the newest one that is not in the future."""
    past = hours[hours["timestamp"] <= now]
    return past if past.empty else past[past["timestamp"] > past["timestamp"].iloc[-1] - timedelta(hours=24)]


def _going_on(limits: ValidationLimits, before: pd.DataFrame) -> ValidationLimits:
    """The limits with the runs that ended just before the window instead of those that ended the training."""
    if before.empty:
        return limits
    recent = extend_limits(ValidationLimits(), before.reset_index(drop=True))
    return replace(limits, tails=recent.tails, end=recent.end)


__all__ = [
    "INPUT_COLUMNS", "Failure", "ValidationLimits", "ValidationPolicy", "Verdict", "extend_limits", "learn_limits",
    "refuse_schema", "usable", "validate", "validate_inputs", "validate_values",
]
