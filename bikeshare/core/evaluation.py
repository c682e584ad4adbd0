"""Scores, slices and the naive rules every model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bikeshare.core.calendar import WORKS, calendar_block, is_public_holiday
from bikeshare.core.contract import TARGET
from bikeshare.core.features import LABEL_DELAY_HOURS, cumulate, window_mean
from bikeshare.core.grid import DAY, WEEK, Floats, Hours, grid_of, hour_numbers, weather_codes

if TYPE_CHECKING:
    import pandas as pd

BAR = "same_hour_day_type_28d"
"""The best naive rule: mean of the same hour on days of the same type, last 28 days."""


@dataclass(frozen=True)
class Scores:
    """Errors in bikes per hour over a set of rows.

    Attributes:
        rows: Rows scored.
        mae: Mean absolute error.
        wape: Σ|error| / Σ actual.
        rmse: Root mean squared error.
        rmsle: √mean((log1p predicted - log1p actual)²).
        bias: Σ error / Σ actual; positive is too high.
        r2: 1 - Σ error² / Σ (actual - mean)².
    """

    rows: int
    mae: float
    wape: float
    rmse: float
    rmsle: float
    bias: float
    r2: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able form."""
        return asdict(self)


def score(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> Scores:
    """Score predictions (clipped at 0); rows without a label are left out, no rows give NaN."""
    truth, guess = np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    known = ~np.isnan(truth)
    truth, guess = truth[known], np.maximum(guess[known], 0.0)
    if truth.size == 0:
        nan = float("nan")
        return Scores(0, nan, nan, nan, nan, nan, nan)
    error = guess - truth
    total, spread = truth.sum(), np.square(truth - truth.mean()).sum()
    squared = np.square(error).sum()
    return Scores(
        rows=int(truth.size),
        mae=float(np.abs(error).mean()),
        wape=float(np.abs(error).sum() / total) if total > 0 else float("nan"),
        rmse=float(np.sqrt(squared / truth.size)),
        rmsle=float(np.sqrt(np.square(np.log1p(guess) - np.log1p(truth)).mean())),
        bias=float(error.sum() / total) if total > 0 else float("nan"),
        r2=float(1 - squared / spread) if spread > 0 else float("nan"),
    )


def slices(frame: pd.DataFrame) -> Mapping[str, npt.NDArray[np.bool_]]:
    """Row masks by slice name for a frame with timestamp, weather (names) and is_holiday.

    rush_hour: 7–9 and 16–19 on working days; night: 0–5; weekend: Saturday, Sunday; working_day: the calendar's
    effective one; holiday: flagged; clear, rain: weather class clear, or any precipitation.
    """
    hours = hour_numbers(frame["timestamp"].to_numpy())
    block = calendar_block(hours)
    hour, weekday, works = block[:, 0], block[:, 1], block[:, WORKS] > 0
    codes = weather_codes(frame["weather"])
    return {
        "rush_hour": works & (((hour >= 7) & (hour <= 9)) | ((hour >= 16) & (hour <= 19))),
        "night": hour <= 5,
        "weekend": weekday >= 5,
        "working_day": works,
        "holiday": frame["is_holiday"].to_numpy(dtype=bool),
        "clear": codes == 0,
        "rain": codes >= 2,
    }


def score_slices(frame: pd.DataFrame, *, prediction: str = "prediction") -> dict[str, Scores]:
    """Scores by slice; the frame has timestamp, weather, is_holiday, demand and a prediction column."""
    actual, predicted = frame[TARGET].to_numpy(dtype=np.float64), frame[prediction].to_numpy(dtype=np.float64)
    return {name: score(actual[mask], predicted[mask]) for name, mask in slices(frame).items()}


def coverage(actual: npt.ArrayLike, lower: npt.ArrayLike, upper: npt.ArrayLike) -> float:
    """Share of labelled rows with lower <= actual <= upper; NaN without rows."""
    truth = np.asarray(actual, dtype=np.float64)
    known = ~np.isnan(truth)
    if not known.any():
        return float("nan")
    return float(((truth >= np.asarray(lower)) & (truth <= np.asarray(upper)))[known].mean())


def naive_forecasts(observations: pd.DataFrame, timestamps: npt.ArrayLike) -> dict[str, Floats]:
    """Every naive rule at the given hours; each reads demand of hours <= t - 24 h only.

    global_mean: all history; hour_of_week_mean: same hour of the week, all history; yesterday: t - 24 h;
    last_week: t - 168 h; profile_x_level: hour-of-week profile of 8 weeks × 7-day level;
    same_hour_day_type_28d: the bar (working day or not, by the official calendar). A rule without data falls back
    to the bar, then to the global mean.
    """
    hours = hour_numbers(np.asarray(timestamps))
    grid = grid_of(observations)
    grid = grid.covering(min(grid.start, int(hours.min())), max(grid.end, int(hours.max()) + 1))
    demand, place = grid.demand, hours - grid.start
    flagged = np.where(np.isnan(grid.holiday), is_public_holiday(grid.hours), grid.holiday > 0)
    works = (((grid.hours // DAY + 3) % 7 < 5) & ~flagged).astype(np.float64)
    sums, counts = cumulate(demand)
    newest = place - LABEL_DELAY_HOURS + 1
    overall = window_mean(sums, counts, np.zeros_like(place), newest)
    daily = _back(demand, place, DAY, 28)
    same = _back(works, place, DAY, 28) == works[place][:, None]
    weekly = _back(demand, place, WEEK, max(1, len(grid) // WEEK))
    recent = weekly[:, :8]
    level = window_mean(sums, counts, newest - WEEK, newest)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = _mean(recent) * level / window_mean(sums, counts, newest - 8 * WEEK, newest)
    rules = {
        "global_mean": overall,
        "hour_of_week_mean": _mean(weekly),
        "yesterday": daily[:, 0],
        "last_week": weekly[:, 0],
        "profile_x_level": profile,
        BAR: _mean(np.where(same, daily, np.nan)),
    }
    bar = np.where(np.isnan(rules[BAR]), overall, rules[BAR])
    return {name: np.where(np.isnan(rule), bar, rule) for name, rule in rules.items()}


def _back(values: Floats, place: Hours, step: int, count: int) -> Floats:
    source = place[:, None] - step * np.arange(1, count + 1)
    return np.where(source >= 0, values[np.maximum(source, 0)], np.nan)


def _mean(values: Floats) -> Floats:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))
