"""Move a history to another year, so that a system on today's clock has a past to learn from."""

import math
from datetime import date, datetime, time, timedelta

import pandas as pd

_YEAR_DAYS = 365.2425


def moved(frame: pd.DataFrame, until: date) -> pd.DataFrame:
    """The history as if it ended with the day before `until`: whole weeks later, at the same time of the year.

    Weekdays stay weekdays and the season is right within three days; holidays keep the rows they were observed on.
    Hours that would lie at or after `until` are left out.

    Args:
        frame: Observations, at least one row.
        until: First day that is not in the result.
    """
    end = frame["timestamp"].iloc[-1].date() + timedelta(days=1)
    years = max(0, math.ceil((until - end).days / _YEAR_DAYS))
    shift = timedelta(weeks=round(years * _YEAR_DAYS / 7))
    later = frame.assign(timestamp=frame["timestamp"] + shift)
    return later[later["timestamp"] < datetime.combine(until, time())].reset_index(drop=True)
