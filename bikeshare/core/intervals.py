"""Calibrated 80 % and 95 % prediction intervals in the level-free square-root space.

z = (√actual - √predicted) / (√level · scale(hour, working day, wet)). Because the level is divided out, quantiles
of z learned from training (out-of-bag) hold next month; a rolling conformal factor, the width that would have
covered the last days, corrects what remains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bikeshare.core.grid import DAY, Floats

Numbers = npt.NDArray[np.floating[Any]]

COVERAGES = (0.80, 0.95)

INFLATION = 1.21
"""Out-of-bag residuals are optimistic (neighbouring hours of the same day are in the bag); found on 2011-H2."""

ROLLING_DAYS = 28
"""Reach of the rolling factor."""

HALF_LIFE_DAYS = 3.0
"""A day of this age counts half; 2011-H2 wants a quick correction (worst month 73 % -> 78 % of a nominal 80 %)."""

_PRIOR_HOURS = 12.0
"""Weight of "the factor is 1" against the weighted rolling hours."""


@dataclass(frozen=True)
class Intervals:
    """Scale table and quantiles of the standardised residual.

    Attributes:
        scale: Typical |residual| by hour, rest/working day and dry/wet, shape (24, 2, 2), > 0.
        lower: Quantiles of z at 10 % and 2.5 %, shape (2,), <= 0.
        upper: Quantiles of z at 90 % and 97.5 %, shape (2,), >= 0.
    """

    scale: Floats
    lower: Floats
    upper: Floats

    def bounds(
        self, root: Floats, root_level: Floats | float, bins: npt.NDArray[np.int64], widths: Floats
    ) -> tuple[Floats, Floats]:
        """Lower and upper bounds in bikes/h, each of shape (2, n): 80 % first, 95 % contains it.

        Args:
            root: √predicted, shape (n,).
            root_level: √level used, one or per row.
            bins: Flat bin of each row (`bins_of`), shape (n,).
            widths: Rolling conformal factors, shape (2, 1) or (2, n).
        """
        unit = root_level * self.scale.reshape(-1)[bins]
        lower = np.maximum(root + self.lower[:, None] * widths * unit, 0.0)
        upper = np.maximum(root + self.upper[:, None] * widths * unit, 0.0)
        lower[1] = np.minimum(lower[0], lower[1])
        upper[1] = np.maximum(upper[0], upper[1])
        return lower * lower, upper * upper

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"scale": self.scale.tolist(), "lower": self.lower.tolist(), "upper": self.upper.tolist()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Intervals":
        """Inverse of `to_dict`; KeyError or ValueError when something is missing."""
        scale = np.asarray(value["scale"], dtype=np.float64).reshape(DAY, 2, 2)
        return cls(scale, np.asarray(value["lower"], dtype=np.float64), np.asarray(value["upper"], dtype=np.float64))


def bins_of(hour: Numbers, works: Numbers, code: Numbers) -> npt.NDArray[np.int64]:
    """Flat bin of each row: hour of day, working day, wet (class light_precip or worse)."""
    return ((hour * 2 + (works > 0)) * 2 + (code >= 2)).astype(np.int64)


def fit_intervals(residual: Floats, bins: npt.NDArray[np.int64], *, inflation: float = INFLATION) -> Intervals:
    """Learn scale and quantiles from level-free square-root residuals.

    Args:
        residual: (√actual - √predicted) / √level, shape (n,).
        bins: Flat bins of the rows.
        inflation: Factor on the residuals when they are optimistic.
    """
    residual = residual * inflation
    size = np.abs(residual)
    total = _over_neighbours(np.bincount(bins, size, DAY * 4).reshape(DAY, 2, 2))
    count = _over_neighbours(np.bincount(bins, minlength=DAY * 4).reshape(DAY, 2, 2))
    overall = float(size.mean()) if size.size else 1.0
    prior = 10.0
    scale = np.maximum((total + prior * overall) / (count + prior), 1e-6)
    z = residual / scale.reshape(-1)[bins]
    tails = np.array([(1 - coverage) / 2 for coverage in COVERAGES])
    return Intervals(scale, np.minimum(np.quantile(z, tails), 0.0), np.maximum(np.quantile(z, 1 - tails), 0.0))


def _over_neighbours(table: npt.NDArray[Any]) -> Floats:
    """Half of an hour's own value and a quarter of each neighbour's, round the clock."""
    return np.asarray(0.5 * table + 0.25 * np.roll(table, -1, axis=0) + 0.25 * np.roll(table, 1, axis=0))


def needed_widths(intervals: Intervals, residual: Floats, bins: npt.NDArray[np.int64]) -> Floats:
    """Factor by which each interval would have had to be scaled to just contain the actual, shape (2, n)."""
    z = residual / intervals.scale.reshape(-1)[bins]
    limit = np.where(z < 0, intervals.lower[:, None], intervals.upper[:, None])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(z == 0, 0.0, z / limit))


def rolling_widths(needed: Floats, age_days: Floats) -> Floats:
    """Rolling conformal factors, shape (2,), shrunk towards 1: weighted quantiles of the needed widths.

    Args:
        needed: Result of `needed_widths` for recent hours, shape (2, n), NaN where unlabelled.
        age_days: Age of each hour, shape (n,); weight 0.5^(age / half-life).
    """
    known = ~np.isnan(needed).any(axis=0)
    if not known.any():
        return np.ones(2)
    weights = 0.5 ** (age_days[known] / HALF_LIFE_DAYS)
    total = float(weights.sum())
    share = total / (total + _PRIOR_HOURS)
    factors = np.empty(2)
    for number, coverage in enumerate(COVERAGES):
        order = np.argsort(needed[number, known])
        reached = np.cumsum(weights[order])
        place = min(int(np.searchsorted(reached, coverage * total)), order.size - 1)
        factors[number] = needed[number, known][order[place]]
    return np.clip(share * factors + (1 - share), 0.5, 3.0)
