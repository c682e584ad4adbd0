"""Fixed-bin profiles of inputs: bounded memory whatever the log's size, adding up across files and shards.

The reference profile is made once from the training window and travels in the artifact. Served rows are counted
into the same bins (`core/sketches.py`), so that a distance costs microseconds and reads no raw data. Bins never
move, so scores are comparable from run to run.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import TARGET, WEATHER_CLASSES, WEATHER_NUMBERS

BINS = 1024
"""Bins per numeric column; bounds the discretisation error of W1 near 0.01 standard deviations."""

MARGIN = 0.25
"""Share of the training range added on either side; what lies beyond is counted in the end bins."""

PREDICTION_MARGIN = 1.0
"""The same for predictions: weather repeats, demand grows."""

SEASON_BINS = 64
"""Coarser bins of the weekly histograms that season-matched references are added up from."""

SEASON_WEEKS = 3
"""A week is compared with training weeks up to this many weeks earlier or later in the year."""

MIN_WEEK_HOURS = 120
"""A training week with fewer hours does not take part in calibration."""

LIMIT_QUANTILE = 0.95
"""Limits are this quantile of the distances between training weeks and their neighbours."""

PREDICTION = "prediction"
NUMERIC = (*WEATHER_NUMBERS, PREDICTION)
CATEGORIES: Mapping[str, tuple[str, ...]] = {"weather": WEATHER_CLASSES}
OTHER = "__other__"


def build_profile(reference: pd.DataFrame, *, quantile: float = LIMIT_QUANTILE) -> dict[str, Any]:
    """A JSON-able profile of the training window.

    Calendar columns are left out: they "drift" by definition.

    Args:
        reference: timestamp, the weather columns, and `prediction` or else `demand` (what predictions should look
            like), one row per hour.
        quantile: Of the in-control distances, becomes the limit of a season-matched score.

    Returns:
        rows, start, end, `numeric` (low, high, counts, std, deciles per column), `categories` (counts per
        class), `season` (week of year -> 64-bin counts per column) and `limits` (learned per column; None for a
        training window too short to learn from).
    """
    frame = reference.rename(columns={TARGET: PREDICTION}) if PREDICTION not in reference else reference
    numeric, coarse = {}, {}
    for name in NUMERIC:
        values = frame[name].to_numpy(dtype="float64")
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        slack = (PREDICTION_MARGIN if name == PREDICTION else MARGIN) * (high - low) or 1.0
        low, high = low - slack, high + slack
        numeric[name] = {
            "low": low, "high": high, "counts": bin_counts(values, low, high, BINS).tolist(),
            "std": float(values.std()) if len(values) else 0.0,
            "deciles": np.quantile(values, np.linspace(0.1, 0.9, 9)).tolist() if len(values) else [],
        }
        coarse[name] = (low, high)
    weeks = _weekly(frame, coarse)
    return {
        "rows": len(frame),
        "start": frame["timestamp"].min().isoformat() if len(frame) else None,
        "end": frame["timestamp"].max().isoformat() if len(frame) else None,
        "numeric": numeric,
        "categories": {name: _category_counts(frame[name], classes) for name, classes in CATEGORIES.items()},
        "season": _by_week_of_year(weeks),
        "limits": _learn_limits(weeks, numeric, quantile),
    }


def bin_counts(values: np.ndarray, low: float, high: float, bins: int) -> np.ndarray:
    """Counts per equal-width bin; finite values outside [low, high] fall into the end bins."""
    places = ((values - low) * (bins / (high - low))).astype(np.int64)
    return np.bincount(np.clip(places, 0, bins - 1), minlength=bins)


def wasserstein(first: np.ndarray, second: np.ndarray, width: float, std: float) -> float:
    """W1 between two histograms on the same bins, in standard deviations of the reference.

    The same statistic as Evidently's `wasserstein`, whose floor on the deviation is 0.001 as well.
    """
    gap = np.cumsum(first / first.sum()) - np.cumsum(second / second.sum())
    return float(np.abs(gap).sum() * width / max(std, 0.001))


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon distance (square root of the divergence, natural logarithm)."""
    p, q = first / first.sum(), second / second.sum()
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(p > 0, p * np.log(p / m), 0.0).sum() + np.where(q > 0, q * np.log(q / m), 0.0).sum()
    return float(np.sqrt(max(divergence / 2, 0.0)))


def population_stability(reference: np.ndarray, current: np.ndarray) -> float:
    """PSI over fixed bins; empty bins count as 0.0001."""
    p = np.maximum(reference / reference.sum(), 0.0001)
    q = np.maximum(current / current.sum(), 0.0001)
    return float(((p - q) * np.log(p / q)).sum())


def decile_counts(counts: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both histograms summed into ten groups of bins with about equal reference mass."""
    edges = np.searchsorted(np.cumsum(reference) / reference.sum(), np.linspace(0.1, 0.9, 9))
    starts = np.unique(np.r_[0, edges + 1])
    starts = starts[starts < len(reference)]
    return np.add.reduceat(reference, starts), np.add.reduceat(counts, starts)


def coarsen(counts: np.ndarray) -> np.ndarray:
    """1,024 bins summed into 64."""
    return np.asarray(counts.reshape(SEASON_BINS, -1).sum(axis=1))


def week_of_year(timestamps: pd.Series) -> np.ndarray:
    """0..52, counted from the first of January."""
    return np.asarray((timestamps.dt.dayofyear.to_numpy() - 1) // 7, dtype=np.int64)


def season_counts(profile: Mapping[str, Any], column: str, week: int) -> np.ndarray | None:
    """Counts of the training weeks around a week of the year, None when training never saw that season."""
    season = profile["season"]
    found = [
        np.asarray(season[str(near)][column], dtype=np.float64)
        for near in {(week + offset) % 53 for offset in range(-SEASON_WEEKS, SEASON_WEEKS + 1)} if str(near) in season
    ]
    if not found:
        return None
    total = np.asarray(np.sum(found, axis=0))
    return total if total.sum() >= MIN_WEEK_HOURS else None


def _weekly(frame: pd.DataFrame, ranges: Mapping[str, tuple[float, float]]) -> list[tuple[int, dict[str, np.ndarray]]]:
    if frame.empty:
        return []
    weeks = []
    start = frame["timestamp"].min().normalize()
    number = ((frame["timestamp"] - start) // pd.Timedelta(days=7)).to_numpy()
    for value in np.unique(number):
        rows = frame[number == value]
        if len(rows) < MIN_WEEK_HOURS:
            continue
        counts = {
            name: bin_counts(_finite(rows[name]), low, high, SEASON_BINS) for name, (low, high) in ranges.items()
        }
        for name, classes in CATEGORIES.items():
            counted = _category_counts(rows[name], classes)
            counts[name] = np.array([counted[label] for label in (*classes, OTHER)])
        middle = rows["timestamp"].iloc[len(rows) // 2 : len(rows) // 2 + 1]
        weeks.append((int(week_of_year(middle)[0]), counts))
    return weeks


def _by_week_of_year(weeks: list[tuple[int, dict[str, np.ndarray]]]) -> dict[str, dict[str, list[int]]]:
    summed: dict[str, dict[str, np.ndarray]] = {}
    for week, counts in weeks:
        known = summed.setdefault(str(week), {})
        for name, values in counts.items():
            known[name] = known[name] + values if name in known else values
    return {week: {name: values.tolist() for name, values in counts.items()} for week, counts in summed.items()}


def _learn_limits(
    weeks: list[tuple[int, dict[str, np.ndarray]]], numeric: Mapping[str, Any], quantile: float
) -> dict[str, float | None]:
    """Each training week against its neighbours without itself: what a week in control looks like."""
    found: dict[str, list[float]] = {name: [] for name in (*numeric, *CATEGORIES)}
    for place, (week, counts) in enumerate(weeks):
        near = [
            other for index, (value, other) in enumerate(weeks)
            if index != place and min((value - week) % 53, (week - value) % 53) <= SEASON_WEEKS
        ]
        if len(near) < SEASON_WEEKS:
            continue
        for name in found:
            total = np.sum([other[name] for other in near], axis=0)
            if total.sum() and counts[name].sum():
                found[name].append(season_distance(counts[name], total, numeric.get(name)))
    return {
        name: float(np.quantile(values, quantile)) if len(values) >= 8 else None for name, values in found.items()
    }


def season_distance(counts: np.ndarray, reference: np.ndarray, column: Mapping[str, Any] | None) -> float:
    """W1 over 64 bins for a numeric column, Jensen-Shannon for a category (`column` is None)."""
    if column is None:
        return jensen_shannon(reference, counts)
    width = (column["high"] - column["low"]) / SEASON_BINS
    return wasserstein(reference, counts, width, column["std"])


def _category_counts(values: pd.Series, classes: tuple[str, ...]) -> dict[str, int]:
    counted = values.value_counts()
    known = {label: int(counted.get(label, 0)) for label in classes}
    return {**known, OTHER: int(values.notna().sum()) - sum(known.values())}


def _finite(values: pd.Series) -> np.ndarray:
    numbers = values.to_numpy(dtype="float64")
    return np.asarray(numbers[np.isfinite(numbers)])
