"""Ways to break or change the world on purpose: the labelled faults of the demo, the drills and the tests.

Every function takes observations (contract columns) and returns a changed copy; rows outside the interval are
untouched. Truth (`demand`) changes only where the scenario says that the world itself changed.
"""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd

Scenario = Callable[[pd.DataFrame], pd.DataFrame]

PEAK_HOURS = (7, 8, 9, 17, 18, 19)
"""When commuters ride."""


def _inside(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.Series:
    return (frame["timestamp"] >= start) & (frame["timestamp"] < end)


def fahrenheit(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """The weather feed starts to report °F where °C is meant; demand is real."""
    changed, rows = frame.copy(), _inside(frame, start, end)
    for column in ("temp_c", "feels_like_c"):
        changed.loc[rows, column] = changed.loc[rows, column] * 9 / 5 + 32
    return changed


def clock_shift(frame: pd.DataFrame, start: datetime, end: datetime, hours: int = 4) -> pd.DataFrame:
    """Counts are booked `hours` too late (a time-zone bug upstream): demand moves against calendar and weather."""
    changed, rows = frame.copy(), _inside(frame, start, end)
    for column in ("casual", "registered", "demand"):
        shifted = frame.set_index("timestamp")[column].reindex(frame.loc[rows, "timestamp"] - pd.Timedelta(hours=hours))
        changed.loc[rows, column] = np.where(shifted.isna(), frame.loc[rows, column], shifted.to_numpy())
    return changed


def missing_hours(
    frame: pd.DataFrame, start: datetime, end: datetime, share: float = 0.3, seed: int = 7
) -> pd.DataFrame:
    """A share of the hours never arrives."""
    rows = _inside(frame, start, end).to_numpy()
    lost = rows & (np.random.default_rng(seed).random(len(frame)) < share)
    return frame.loc[~lost].reset_index(drop=True)


def demand_scaled(frame: pd.DataFrame, start: datetime, end: datetime, factor: float = 1.3) -> pd.DataFrame:
    """The level of demand changes (a new station area, a price change); its shape does not."""
    changed, rows = frame.copy(), _inside(frame, start, end)
    for column in ("casual", "registered"):
        changed.loc[rows, column] = (frame.loc[rows, column] * factor).round()
    changed["demand"] = changed["casual"] + changed["registered"]
    return changed.astype(frame.dtypes)


def home_office(
    frame: pd.DataFrame, start: datetime, end: datetime, share: float = 0.5, *, every_day: bool = False
) -> pd.DataFrame:
    """A share of commuters works from home, for good: weekday peaks shrink, the hours between them fill.

    This is a change of *shape*: the daily sum stays, so the online level cannot absorb it and a retrain is the right
    answer. What the peaks (07-09, 17-19) lose on a weekday is spread over 10:00-15:59 of the same day; with `every_day`
    on Saturdays and Sundays too, so that two days of any week show the change.
    """
    changed = frame.copy()
    clock = frame["timestamp"].dt.hour
    weekday = _inside(frame, start, end) & (every_day | (frame["timestamp"].dt.weekday < 5))
    peak, midday = weekday & clock.isin(PEAK_HOURS), weekday & clock.between(10, 15)
    day = frame["timestamp"].dt.normalize()
    for column in ("casual", "registered"):
        lost = (frame[column] * share).where(peak, 0.0)
        gained = day.map(lost.groupby(day).sum() / midday.groupby(day).sum().clip(lower=1))
        changed[column] = np.where(midday, (frame[column] + gained).round(), (frame[column] - lost).round())
    changed["demand"] = changed["casual"] + changed["registered"]
    return changed.astype(frame.dtypes)
