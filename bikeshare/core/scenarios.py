"""Ways to break or change the world on purpose: the labelled faults of the demo, the drills and the tests.

Every function takes observations (contract columns) and returns a changed copy; rows outside the interval are
untouched. Truth (`demand`) changes only where the scenario says that the world itself changed.
"""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd

Scenario = Callable[[pd.DataFrame], pd.DataFrame]


def _inside(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.Series:
    return (frame["timestamp"] >= start) & (frame["timestamp"] < end)


def fahrenheit(frame: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """The weather feed starts to report °F where °C is meant; demand is real."""
    changed, rows = frame.copy(), _inside(frame, start, end)
    for column in ("temp_c", "feels_like_c"):
        changed.loc[rows, column] = changed.loc[rows, column] * 9 / 5 + 32
    return changed


def frozen_sensor(frame: pd.DataFrame, start: datetime, end: datetime, column: str = "temp_c") -> pd.DataFrame:
    """A sensor repeats its last value; demand is real."""
    changed, rows = frame.copy(), _inside(frame, start, end)
    if rows.any():
        changed.loc[rows, column] = float(frame.loc[rows, column].iloc[0])
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


def late_commute(frame: pd.DataFrame, start: datetime, end: datetime, hours: int = 2) -> pd.DataFrame:
    """Working life shifts: on weekdays everything between 05:00 and 22:00 happens `hours` later, for good.

    This is a change of *shape*: the daily sum stays about the same, so the online level cannot absorb it and a
    retrain is the right answer.
    """
    changed, rows = frame.copy(), _inside(frame, start, end)
    clock = frame["timestamp"].dt.hour
    rows &= (frame["timestamp"].dt.weekday < 5) & (clock >= 5 + hours) & (clock <= 22)
    source = frame.loc[rows, "timestamp"] - pd.Timedelta(hours=hours)
    early = _inside(frame, start, end) & (frame["timestamp"].dt.weekday < 5) & (clock >= 5) & (clock < 5 + hours)
    indexed = frame.set_index("timestamp")
    for column in ("casual", "registered"):
        moved = indexed[column].reindex(source).to_numpy()
        changed.loc[rows, column] = np.where(np.isnan(moved), frame.loc[rows, column], moved)
        # Before the new start of the day the city is as empty as at 04:00.
        quiet = indexed[column].reindex(frame.loc[early, "timestamp"].dt.normalize() + pd.Timedelta(hours=4))
        changed.loc[early, column] = quiet.fillna(1).to_numpy()
    changed["demand"] = changed["casual"] + changed["registered"]
    return changed.astype(frame.dtypes)
