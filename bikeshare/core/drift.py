"""What was served against what happened, day by day, and whether that is worse than the backtest promised.

Input drift is not judged here: on hourly bike demand it fires every week, healthy or not, and is blind to the
growth that really costs accuracy. Error and bias carry the information.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from bikeshare.core.monitor_facts import Finding

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DriftPolicy:
    """Limits of decay and step.

    Attributes:
        window_days: Days that bias and WAPE are averaged over; shorter windows follow the weather.
        bias_limit: Smallest limit of the centred absolute log-bias; 0.10 is ten per cent too many or too few bikes.
        wape_factor: Smallest limit of WAPE, as a factor on the backtest's WAPE.
        spread: The limits are at least mean + this many standard deviations of the backtest's own weeks, so that
            a recipe whose weeks differ a lot does not cry wolf: with the constants alone, every warm week of winter
            is decay that no retrain cures.
        bias_ceiling: The bias limit never exceeds this: a reference with wild weeks (a Christmas in ten of them) must
            not blind the monitor.
        wape_ceiling: The same for WAPE, as a factor on the backtest's WAPE.
        min_labelled_hours: Fewer labelled hours in the window are not judged.
        step_days: Length of the step window.
        step_limit: Limit of the 48-hour log-bias minus its median.
        baseline_days: Days before the step window whose median is the baseline.
        min_baseline_days: With fewer, the backtest's bias is the baseline.
    """

    window_days: int = 7
    bias_limit: float = 0.10
    wape_factor: float = 1.25
    spread: float = 3.0
    bias_ceiling: float = 0.25
    wape_ceiling: float = 1.6
    min_labelled_hours: int = 72
    step_days: int = 2
    step_limit: float = 0.35
    baseline_days: int = 14
    min_baseline_days: int = 5


@dataclass(frozen=True)
class DayScore:
    """Served against true demand of one day; sums, so that days add up."""

    day: date
    hours: int
    demand: float
    prediction: float
    abs_error: float
    inside_80: int
    inside_95: int
    degraded: int

    def to_list(self) -> list[Any]:
        """A compact JSON form."""
        return [self.day.isoformat(), *list(asdict(self).values())[1:]]

    @classmethod
    def from_list(cls, values: Sequence[Any]) -> DayScore:
        """The inverse of `to_list`."""
        return cls(date.fromisoformat(values[0]), *values[1:])


@dataclass(frozen=True)
class Performance:
    """Error of what was served over a window of days."""

    hours: int
    mae: float
    wape: float
    log_bias: float
    coverage_80: float
    coverage_95: float
    degraded_share: float


@dataclass(frozen=True)
class Limits:
    """What the backtest promises: centre of the bias and the limits of bias and WAPE.

    Attributes:
        bias_mu: Log-bias of the backtest; log(sum prediction / sum demand).
        bias: Largest distance of a live log-bias from it.
        wape: Largest live WAPE.
        backtest_wape: WAPE of the backtest.
    """

    bias_mu: float
    bias: float
    wape: float
    backtest_wape: float

    @property
    def bias_shares(self) -> tuple[float, float]:
        """Lowest and highest bias, sum(prediction - demand) / sum(demand), that is within the limit."""
        return float(np.expm1(self.bias_mu - self.bias)), float(np.expm1(self.bias_mu + self.bias))


def score_days(labelled: pd.DataFrame) -> tuple[DayScore, ...]:
    """Sums per day of `Records.labelled`, oldest first."""
    if labelled.empty:
        return ()
    demand = labelled["demand"].to_numpy(dtype="float64")
    prediction = labelled["prediction"].to_numpy(dtype="float64")
    flags_and_sums = {
        "hours": np.ones(len(demand)), "demand": demand, "prediction": prediction,
        "abs_error": np.abs(prediction - demand),
        "inside_80": (labelled["lower_80"].to_numpy() <= demand) & (demand <= labelled["upper_80"].to_numpy()),
        "inside_95": (labelled["lower_95"].to_numpy() <= demand) & (demand <= labelled["upper_95"].to_numpy()),
        "degraded": labelled["degraded"].to_numpy(dtype=bool),
    }
    numbers, places = np.unique(labelled["timestamp"].to_numpy().astype("datetime64[D]"), return_inverse=True)
    hours, true, served, error, in_80, in_95, degraded = (
        np.bincount(places, weights=values.astype("float64"), minlength=len(numbers)).tolist()
        for values in flags_and_sums.values()
    )
    return tuple(
        DayScore(day, int(hours[i]), true[i], served[i], error[i], int(in_80[i]), int(in_95[i]), int(degraded[i]))
        for i, day in enumerate(numbers.astype(date).tolist())
    )


def measure(days: Sequence[DayScore], last: date, length_days: int) -> Performance | None:
    """Error over the `length_days` days that end with `last`; None without a labelled hour."""
    chosen = [day for day in days if last - timedelta(days=length_days) < day.day <= last]
    hours = sum(day.hours for day in chosen)
    demand = sum(day.demand for day in chosen)
    if not hours:
        return None
    abs_error = sum(day.abs_error for day in chosen)
    return Performance(
        hours, abs_error / hours, abs_error / max(demand, 1.0),
        _log_ratio(sum(day.prediction for day in chosen), demand),
        sum(day.inside_80 for day in chosen) / hours, sum(day.inside_95 for day in chosen) / hours,
        sum(day.degraded for day in chosen) / hours,
    )


def limits_from(backtest: Mapping[str, Any], policy: DriftPolicy) -> Limits | None:
    """Limits learned from the champion's walk-forward backtest; None when it has no error series."""
    wape = backtest.get("wape")
    if not wape:
        return None
    weekly = np.array([week["wape"] for week in backtest.get("weeks", ())], dtype="float64")
    usual = float(weekly.mean() + policy.spread * weekly.std(ddof=1)) if len(weekly) >= 4 else 0.0
    return Limits(
        bias_mu=float(backtest.get("bias_mu") or 0.0),
        bias=_between(policy.bias_limit, policy.spread * float(backtest.get("bias_sd") or 0.0), policy.bias_ceiling),
        wape=_between(policy.wape_factor * float(wape), usual, policy.wape_ceiling * float(wape)),
        backtest_wape=float(wape),
    )


def _between(low: float, value: float, high: float) -> float:
    return max(low, min(value, high))


def judge_decay(performance: Performance | None, limits: Limits | None, policy: DriftPolicy) -> tuple[Finding, ...]:
    """Bias and WAPE of a window against their limits; empty when there is too little to judge."""
    if performance is None or limits is None or performance.hours < policy.min_labelled_hours:
        return ()
    bias = performance.log_bias - limits.bias_mu
    lowest, highest = limits.bias_shares
    return (
        Finding(
            "bias", abs(bias), limits.bias, abs(bias) > limits.bias,
            f"{policy.window_days}-day bias {np.expm1(performance.log_bias):+.1%} (backtest "
            f"{np.expm1(limits.bias_mu):+.1%}, limits {lowest:+.1%} and {highest:+.1%}).",
        ),
        Finding(
            "wape", performance.wape, limits.wape, performance.wape > limits.wape,
            f"{policy.window_days}-day WAPE {performance.wape:.1%} (limit {limits.wape:.1%}, backtest "
            f"{limits.backtest_wape:.1%}).",
        ),
    )


def judge_step(days: Sequence[DayScore], last: date, limits: Limits | None, policy: DriftPolicy) -> Finding | None:
    """Log-bias of the newest `step_days` minus the median of such windows before; None when over 12 hours lack."""
    current = measure(days, last, policy.step_days)
    if current is None or current.hours < 24 * policy.step_days - 12:
        return None
    before = []
    for offset in range(policy.step_days, policy.step_days + policy.baseline_days):
        window = measure(days, last - timedelta(days=offset), policy.step_days)
        if window is not None and window.hours >= 24:
            before.append(window.log_bias)
    if len(before) >= policy.min_baseline_days:
        baseline = float(np.median(before))
    elif limits is not None:
        baseline = limits.bias_mu
    else:
        return None
    step = current.log_bias - baseline
    return Finding(
        "step", abs(step), policy.step_limit, abs(step) > policy.step_limit,
        f"In {24 * policy.step_days} h the forecast moved {np.expm1(step):+.0%} away from its usual ratio to demand "
        f"(limits {np.expm1(policy.step_limit):+.0%} and {np.expm1(-policy.step_limit):+.0%}).",
    )


def estimate_onset(days: Sequence[DayScore], last: date, limits: Limits) -> datetime:
    """First hour of the spell of days over the limits that ends at `last`: the last zero of a one-sided CUSUM."""
    total, onset = 0.0, last
    for day in sorted(days, key=lambda item: item.day):
        if day.day > last or day.hours < 12:
            continue
        bias = abs(_log_ratio(day.prediction, day.demand) - limits.bias_mu) / limits.bias
        wape = day.abs_error / max(day.demand, 1.0) / limits.wape
        if total == 0.0:
            onset = day.day
        total = max(0.0, total + max(bias, wape) - 1.0)
    return datetime.combine(onset, datetime.min.time())


def _log_ratio(prediction: float, demand: float) -> float:
    return float(np.log(max(prediction, 1.0) / max(demand, 1.0)))
