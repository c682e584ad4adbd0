"""The daily rhythm of demand, and days whose counts are booked at the wrong hour.

A clock that is off by hours (a time zone, a daylight-saving bug upstream) breaks no range and no sum, and training on
such counts is the costliest mistake measured on this data: a model retrained on two weeks of them has four times the
error of a clean one. The whole curve of the day moves, nights included, which no change of habits does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bikeshare.core.grid import Floats
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.core.verdicts import Failure

RHYTHM_DAYS = 28
"""Days of accepted history that make a rhythm; four of every weekday."""

_WEIGHT = 0.2
_SHIFTS = tuple(range(-11, 13))


@dataclass(frozen=True)
class Rhythm:
    """Usual demand by hour, arrays of shape (24,), for working weekdays and for weekends."""

    by_type: Mapping[str, Floats]


def learn_rhythm(observations: pd.DataFrame) -> Rhythm | None:
    """Exponentially weighted mean day (weight 0.2 for the newest) of weekdays and weekends; None below two weeks."""
    if observations.empty:
        return None
    day = observations["timestamp"].dt.normalize()
    table = observations.assign(day=day, hour=observations["timestamp"].dt.hour).pivot(
        index="day", columns="hour", values="demand"
    )
    table = table.reindex(columns=range(24)).astype("float64")
    weekend = np.asarray(pd.DatetimeIndex(table.index).weekday >= 5)
    if weekend.sum() < 4 or (~weekend).sum() < 10:
        return None
    return Rhythm({name: _weighted(table[rows]) for name, rows in (("weekday", ~weekend), ("weekend", weekend))})


def check_clock(day: pd.DataFrame, rhythm: Rhythm | None, policy: ValidationPolicy) -> Failure | None:
    """Whether one day's counts look like the usual day, hours late or early.

    The square root of demand is correlated with the usual weekday and weekend (a holiday looks like one of them), at
    every shift. Measured over the 364 days of 2012: no day is refused; a shift of 4 h is found on 94 % of days, of 3 h
    on 83 %, of 2 h on 38 %, of 1 h never.

    Args:
        day: Observations of one day.
        rhythm: The usual day; None: nothing is judged.
        policy: `clock_gain` and `clock_match`.
    """
    hours = day["timestamp"].dt.hour.to_numpy()
    if rhythm is None or len(day) < policy.min_hours or np.ptp(day["demand"].to_numpy(dtype="float64")) == 0:
        return None
    curve = np.sqrt(np.maximum(day["demand"].to_numpy(dtype="float64"), 0.0))
    match = {
        shift: max(_correlation(curve, np.roll(usual, shift)[hours]) for usual in rhythm.by_type.values())
        for shift in _SHIFTS
    }
    best = max((shift for shift in _SHIFTS if shift), key=lambda shift: match[shift])
    if match[best] < policy.clock_match or match[best] - match[0] <= policy.clock_gain:
        return None
    side = "later" if best > 0 else "earlier"
    return Failure(
        "clock", "demand",
        f"Counts follow the usual day {abs(best)} hours {side} (correlation {match[best]:.2f}, {match[0]:.2f} without "
        "the shift), nights included: the clock upstream is off; correct the timestamps and land the day again.",
        len(day), str(best), "0",
    )


def _weighted(table: pd.DataFrame) -> Floats:
    usual = np.full(24, np.nan)
    for row in table.to_numpy():
        known = ~np.isnan(row)
        blended = np.where(np.isnan(usual), row, (1 - _WEIGHT) * usual + _WEIGHT * row)
        usual = np.where(known, blended, usual)
    # An hour that never had a trip (02:00-05:00) has no row: nobody rides then.
    filled: Floats = np.sqrt(np.nan_to_num(usual))
    return filled


def _correlation(left: Floats, right: Floats) -> float:
    if np.ptp(right) == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])
