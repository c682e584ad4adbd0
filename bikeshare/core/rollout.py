"""When may a new version take live traffic: the questions a canary is asked and how its answers are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from bikeshare.core.contract import WEATHER_NUMBERS

if TYPE_CHECKING:
    import pandas as pd

ANSWERS = ("demand", "lower_80", "upper_80", "lower_95", "upper_95")
"""Numbers of an answer that must equal the offline ones."""


@dataclass(frozen=True)
class RolloutPolicy:
    """What a canary must show before it serves, and the live API after it does.

    Attributes:
        reach_seconds: The address must lead to the version within this time. A cluster's network learns of a new pod
            after the API server does, usually within a second; until then it refuses, or leads to a pod that goes.
        golden_hours: Hours asked of the canary: half of them in the past, half ahead; 48 covers every hour of the
            day on both sides of now.
        golden_tolerance: Largest relative difference to the offline answer. Both sides run the same code on the
            same file; 1e-6 leaves room for another CPU's float32 order of summation only.
        golden_attempts: Comparisons before giving up; another one is made when the history moved in between.
        probe_requests: Single-row requests whose latency and errors are judged.
        watch_seconds: Keep probing at least this long. 0 in the embedded profile: nobody else uses the canary.
        p95_seconds: Largest 95th percentile of a probe. 0.25 s is far above the milliseconds seen; a canary
            beyond it is broken, not slow.
        error_share: Largest share of probes answered with an error. A probe without an answer fails the canary at once.
        log_seconds: A live prediction must be in the records within this time; it usually takes one, but a roll-back
            because a machine was busy would be worse than the wait.
    """

    reach_seconds: float = 30.0
    golden_hours: int = 48
    golden_tolerance: float = 1e-6
    golden_attempts: int = 3
    probe_requests: int = 100
    watch_seconds: float = 0.0
    p95_seconds: float = 0.25
    error_share: float = 0.0
    log_seconds: float = 60.0


DEFAULT_ROLLOUT = RolloutPolicy()
"""The policy when nobody chooses another."""


@dataclass(frozen=True)
class LiveAnswer:
    """One HTTP exchange with the predictor."""

    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Judgement:
    """One check and its evidence."""

    name: str
    passed: bool
    detail: str


_MILD = {"temp_c": 15.0, "feels_like_c": 15.0, "humidity_pct": 60.0, "windspeed_kmh": 12.0, "weather": "clear"}
"""Weather of the golden rows when no observation exists yet."""


def golden_rows(observations: pd.DataFrame, now: datetime, policy: RolloutPolicy = DEFAULT_ROLLOUT) -> pd.DataFrame:
    """Hours around now with the most recent weather of the same hour of the day.

    Args:
        observations: Recent observations, contract columns; may be empty.
        now: The service's time; a midnight is not required.
        policy: How many hours.

    Returns:
        Columns of an API instance without `is_holiday`, one row per hour, ordered.
    """
    import pandas as pd

    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=policy.golden_hours // 2)
    hours = pd.date_range(first, periods=policy.golden_hours, freq="h")
    usable = observations.dropna(subset=[*WEATHER_NUMBERS, "weather"]) if len(observations) else observations
    by_hour: dict[int, Mapping[Any, Any]] = {}
    if len(usable):
        recent = usable.sort_values("timestamp").tail(14 * 24)
        for row in recent.to_dict("records"):
            by_hour[row["timestamp"].hour] = row
    rows = [
        {"timestamp": hour, **{name: by_hour.get(hour.hour, _MILD)[name] for name in (*WEATHER_NUMBERS, "weather")}}
        for hour in hours
    ]
    return pd.DataFrame(rows)


def judge_golden(
    offline: Mapping[str, Sequence[float]], live: Sequence[Mapping[str, Any]], policy: RolloutPolicy = DEFAULT_ROLLOUT
) -> Judgement:
    """Compare live answers with offline ones, row by row.

    Args:
        offline: Column -> values, the columns of `ANSWERS`.
        live: One answer per row as the API gave it.
        policy: The tolerance.
    """
    expected = np.array([np.asarray(offline[name], dtype=np.float64) for name in ANSWERS])
    if len(live) != expected.shape[1]:
        return Judgement("golden rows", False, f"{len(live)} answers to {expected.shape[1]} rows")
    seen = np.array([[float(row[name]) for row in live] for name in ANSWERS])
    difference = np.abs(seen - expected) / np.maximum(np.abs(expected), 1e-3)
    if not np.isfinite(difference).all():
        return Judgement("golden rows", False, "an answer is not a finite number")
    column, row = np.unravel_index(int(difference.argmax()), difference.shape)
    worst = float(difference[column, row])
    detail = (
        f"{len(live)} rows, largest relative difference {worst:.1e} (limit {policy.golden_tolerance:.0e})"
        + (f", {ANSWERS[column]}: live {seen[column, row]:.6g}, offline {expected[column, row]:.6g}" if worst else "")
    )
    return Judgement("golden rows", worst <= policy.golden_tolerance, detail)


def judge_probes(
    seconds: Sequence[float], failures: Sequence[str], policy: RolloutPolicy = DEFAULT_ROLLOUT
) -> tuple[Judgement, Judgement]:
    """Judge latency and errors of single-row probes.

    Args:
        seconds: Time of each successful probe.
        failures: What went wrong in the others.
        policy: The limits.
    """
    total = len(seconds) + len(failures)
    share = len(failures) / total if total else 1.0
    errors = Judgement(
        "errors", total > 0 and share <= policy.error_share,
        f"{len(failures)} of {total} probes failed" + (f", first: {failures[0]}" if failures else ""),
    )
    if not seconds:
        return Judgement("latency", False, "no probe was answered"), errors
    p95 = float(np.quantile(np.asarray(seconds), 0.95))
    detail = f"p95 {p95 * 1000:.1f} ms over {len(seconds)} probes (limit {policy.p95_seconds * 1000:g} ms)"
    return Judgement("latency", p95 <= policy.p95_seconds, detail), errors
