"""Rules about a batch as a whole: missing values, times, completeness, sums, physical bounds."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.core.limits import ValidationLimits
from bikeshare.core.observations import OPTIONAL
from bikeshare.core.sensors import bounds
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.core.verdicts import Failure


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
        low, high = bounds(column)
        wrong = ~((values >= low) & (values <= high))
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
