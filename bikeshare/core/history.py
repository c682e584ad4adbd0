"""Demand history as of an availability time, as ratios that do not depend on the scale of demand.

Every value reads demand at a lag of at least 24 hours. Hours whose label has not landed yet are replaced by
their own base (the seasonal-naive guess) before lags are taken, so an answer two days ahead reads the same
columns as training did.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bikeshare.core.features import LABEL_DELAY_HOURS, WET, cumulate, window_mean
from bikeshare.core.grid import DAY, WEEK, Floats

HISTORY_DAYS = 28
"""Reach of the demand features."""

_WEIGHTS = 0.5 ** (np.arange(HISTORY_DAYS) / 7.0)
"""Weight of the same hour k days back: half-life 7 days."""

_SOFTENING = 0.02
"""Share of the 28-day mean added to both sides of a ratio: quiet hours do not explode, scale drops out."""

_MINIMUM_SAME = 2
"""Fewer hours of the same day type than this in 28 days: no base, the history forest does not answer."""

_LAGS = DAY * np.arange(1, HISTORY_DAYS + 1)
_SAME_WEEKDAY = np.array([6, 13, 20, 27])


@dataclass(frozen=True)
class DemandHistory:
    """History of a set of hours.

    Attributes:
        base: Expected demand of the hour at the recent level, bikes/h, shape (n,), NaN where unknown.
        block: Shape (n, 10), NaN where unknown: the 8 ratios, then share of wet hours and mean temperature of the
            hours behind the base, with the base's weights.
    """

    base: Floats
    block: Floats


def demand_history(
    demand: Floats, weather: Floats, works: Floats, place: npt.NDArray[np.int64]
) -> DemandHistory:
    """History features of positions on an hourly grid.

    base = Σ w_k x(t - 24k) / Σ w_k over k = 1…28 with the same day type, w_k = 0.5^((k - 1) / 7), plus 2 % of the
    28-day mean; a ratio is (x + 2 % of the mean) / base, clipped to [0, 5].

    Args:
        demand: Demand on the grid, shape (n,), NaN where missing.
        weather: Weather on the grid, shape (n, 5); its hours before t - 24 h tell what weather the base saw.
        works: 1 on working days, 0 on days off, shape (n,).
        place: Positions to describe, shape (m,); may lie up to 24 hours beyond the grid's labels.
    """
    lagged = place[:, None] - _LAGS
    inside = lagged >= 0
    lagged = np.where(inside, lagged, 0)
    values = np.where(inside, demand[lagged], np.nan)
    alike = inside & (works[lagged] == works[place][:, None])
    same = alike & (values == values)
    temp, code = weather[lagged, 0], weather[lagged, 4]
    seen = np.where(alike & (temp == temp), _WEIGHTS, 0.0)
    sums, counts = cumulate(demand)
    newest = place - LABEL_DELAY_HOURS + 1
    month = window_mean(sums, counts, newest - 4 * WEEK, newest)
    soft = _SOFTENING * month
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(same, _WEIGHTS, 0.0)
        filled = np.where(same, values, 0.0)
        count = same.sum(axis=1)
        base = (weights * filled).sum(axis=1) / weights.sum(axis=1) + soft
        base = np.where((count >= _MINIMUM_SAME) & (base > 0), base, np.nan)
        means = np.column_stack((
            values[:, 0], values[:, 1], values[:, 6], _mean(values[:, :7]), _mean(values),
            filled.sum(axis=1) / count, _mean(values[:, _SAME_WEEKDAY]),
        ))
        ratios = np.clip((means + soft[:, None]) / base[:, None], 0.0, 5.0)
        level = np.clip(window_mean(sums, counts, newest - WEEK, newest) / month, 0.0, 5.0)
        total = seen.sum(axis=1)
        wet = (seen * (code >= WET)).sum(axis=1) / total
        warmth = (seen * np.where(temp == temp, temp, 0.0)).sum(axis=1) / total
    return DemandHistory(base, np.column_stack((ratios, level, wet, warmth)))


def _mean(values: Floats) -> Floats:
    known = values == values
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))


def fill_unlanded(demand: Floats, weather: Floats, works: Floats, landed: int, until: int) -> Floats:
    """Replace demand on positions [landed, until) by its own base, day by day: a later day reads earlier guesses."""
    filled = demand.copy()
    for low in range(landed, until, DAY):
        place = np.arange(low, min(low + DAY, until))
        filled[place] = demand_history(filled, weather, works, place).base
    return filled
