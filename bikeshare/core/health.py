"""Is the loop well? Vital signs against limits, each with what to do. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "bad", "unknown"]

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
"""Metric samples: (name, sorted labels) -> value."""

Form = Callable[[float], str]

ANSWERING = ("/predict", "/forecast")
"""Routes whose latency and errors users feel."""


@dataclass(frozen=True)
class HealthPolicy:
    """Limits of the Health page; alerts have their own, in rules.

    Attributes:
        p99_seconds: Slowest one per cent of answers.
        error_share: Share of answers that are 5xx.
        degraded_share: Share of predicted hours without full history.
        queue_rows: Predictions waiting in memory; the queue holds 200,000.
        snapshot_factor: Age of the history snapshot, in refresh intervals.
        level_age_hours: Age of the level. Truth is a day late and lands once a day.
        labels_lag_hours: Age of the newest label.
        monitor_hours: Time since the monitor last decided; it looks at least once a day.
        champion_days: Age of the champion's newest training hour.
    """

    p99_seconds: float = 0.1
    error_share: float = 0.01
    degraded_share: float = 0.05
    queue_rows: int = 20_000
    snapshot_factor: float = 5.0
    level_age_hours: float = 50.0
    labels_lag_hours: float = 54.0
    monitor_hours: float = 26.0
    champion_days: float = 56.0


@dataclass(frozen=True)
class Vitals:
    """What was measured; None is unknown. Latencies in seconds, since the process started."""

    ready: bool | None = None
    problem: str = ""
    requests: float | None = None
    errors: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    predicted_hours: float | None = None
    degraded_hours: float | None = None
    what_if_hours: float | None = None
    queue_rows: float | None = None
    spooled_bytes: float | None = None
    dropped_rows: float | None = None
    snapshot_age_seconds: float | None = None
    level_age_hours: float | None = None
    labels_lag_hours: float | None = None
    monitor_age_hours: float | None = None
    champion_age_days: float | None = None


@dataclass(frozen=True)
class Sign:
    """One line of the page; `advice` is empty while all is well."""

    group: str
    name: str
    value: str
    status: Status
    advice: str = ""


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """A quantile of a cumulative histogram, linear within a bucket as in Prometheus; None without observations.

    Args:
        buckets: (upper bound, cumulative count), ascending, the last bound infinite.
        share: 0 to 1.
    """
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for high, count in buckets:
        if count >= rank:
            if high == float("inf"):
                return low
            inside = count - below
            return low + (high - low) * ((rank - below) / inside if inside else 1.0)
        low, below = high, count
    return low


def read_vitals(
    samples: Samples, *, ready: bool | None, problem: str = "", labels_lag_hours: float | None = None,
    monitor_age_hours: float | None = None, champion_age_days: float | None = None,
) -> Vitals:
    """Vital signs from the predictor's metrics and from what the loop knows of itself."""
    answers = _named(samples, "bikeshare_requests_total")
    felt = [(labels, value) for labels, value in answers if labels.get("route") in ANSWERING]
    merged: dict[float, float] = {}
    for labels, value in _named(samples, "bikeshare_request_seconds_bucket"):
        if labels.get("route") in ANSWERING:
            bound = float(labels["le"])
            merged[bound] = merged.get(bound, 0.0) + value
    buckets = sorted(merged.items())
    return Vitals(
        ready=ready, problem=problem,
        requests=sum(value for _, value in felt) if samples else None,
        errors=sum(value for labels, value in felt if labels.get("code", "").startswith("5")) if samples else None,
        p50=quantile(buckets, 0.5), p95=quantile(buckets, 0.95), p99=quantile(buckets, 0.99),
        predicted_hours=_sum(samples, "bikeshare_predictions_total"),
        degraded_hours=_sum(samples, "bikeshare_degraded_predictions_total"),
        what_if_hours=_sum(samples, "bikeshare_what_if_predictions_total"),
        queue_rows=_sum(samples, "bikeshare_prediction_log_queue_rows"),
        spooled_bytes=_sum(samples, "bikeshare_prediction_log_spooled_bytes"),
        dropped_rows=_sum(samples, "bikeshare_prediction_log_dropped_total"),
        snapshot_age_seconds=_sum(samples, "bikeshare_snapshot_age_seconds"),
        level_age_hours=_sum(samples, "bikeshare_level_age_hours"),
        labels_lag_hours=labels_lag_hours, monitor_age_hours=monitor_age_hours, champion_age_days=champion_age_days,
    )


def judge_health(v: Vitals, policy: HealthPolicy, refresh_seconds: float) -> list[Sign]:
    """Every sign with its status; what is over its limit says what to do."""
    error_share = None if not v.requests else (v.errors or 0.0) / v.requests
    degraded = _degraded_share(v)
    return [
        _answering(v),
        _sign("Service", "latency p50", v.p50, _time, None),
        _sign("Service", "latency p95", v.p95, _time, None),
        _sign("Service", "latency p99", v.p99, _time, policy.p99_seconds,
              "Answers are slow: look for a busy machine, or very large batches."),
        _sign("Service", "answers", v.requests, _count, None),
        _sign("Service", "failed answers (5xx)", error_share, _share, policy.error_share,
              "The log of the predictor names each failed request by its id.", "bad"),
        _sign("Service", "degraded hours", degraded, _share, policy.degraded_share,
              "Answers lack recent demand: check that observations land (`bikeshare data status`)."),
        _sign("Prediction log", "queue", v.queue_rows, lambda x: f"{_count(x)} rows", policy.queue_rows,
              "The records do not keep up or are away: check the database."),
        _sign("Prediction log", "spool on disk", v.spooled_bytes, lambda x: f"{x / 1e6:.1f} MB", 0.0,
              "The database is or was away; the spool is replayed by itself once it is back."),
        _sign("Prediction log", "lost predictions", v.dropped_rows, _count, 0.0,
              "Predictions were lost: the metric's label `reason` says where. Enlarge the spool or mend the database.",
              "bad"),
        _sign("Freshness", "history snapshot", v.snapshot_age_seconds, _time,
              policy.snapshot_factor * refresh_seconds,
              "The predictor cannot read the records: answers grow stale."),
        _sign("Freshness", "level", v.level_age_hours, _hours, policy.level_age_hours,
              "No new truth has reached the level: check that observations land."),
        _sign("Freshness", "newest label", v.labels_lag_hours, _hours, policy.labels_lag_hours,
              "Observations are late: `bikeshare data status` shows what landed and what was refused."),
        _sign("Loop", "monitor's last look", v.monitor_age_hours, lambda x: f"{_hours(x)} ago", policy.monitor_hours,
              "The monitor has not looked: check its schedule, or run `bikeshare monitor run`.", "bad"),
        _sign("Loop", "champion's newest training hour", v.champion_age_days, lambda x: f"{x:.0f} days old",
              policy.champion_days, "The champion is old: the monitor should have asked for a retrain; see Loop."),
    ]


def overall(signs: Sequence[Sign]) -> Status:
    """The worst status; unknown counts only when nothing is known."""
    order: tuple[Status, ...] = ("bad", "warn", "ok")
    return next((status for status in order if any(sign.status == status for sign in signs)), "unknown")


def _degraded_share(v: Vitals) -> float | None:
    """Least share of the served hours that were degraded; None before the first one.

    A what-if counts among predicted and degraded hours, and the golden rows of a roll-out, asked as what-ifs, are of
    weeks whose level is long gone. So as many degraded hours as there were what-ifs say nothing about what was served.
    """
    tried = v.what_if_hours or 0.0
    served = (v.predicted_hours or 0.0) - tried
    return None if served <= 0 else max(0.0, (v.degraded_hours or 0.0) - tried) / served


def _answering(v: Vitals) -> Sign:
    if v.ready is None:
        return Sign("Service", "live API", "–", "unknown")
    if v.ready:
        return Sign("Service", "live API", "ready", "ok")
    return Sign("Service", "live API", "not ready", "bad", v.problem or "Start it: `bikeshare serve`.")


def _sign(
    group: str, name: str, value: float | None, form: Form, limit: float | None, advice: str = "",
    over: Status = "warn",
) -> Sign:
    if value is None:
        return Sign(group, name, "–", "unknown")
    if limit is not None and value > limit:
        return Sign(group, name, form(value), over, advice)
    return Sign(group, name, form(value), "ok")


def _named(samples: Samples, name: str) -> list[tuple[dict[str, str], float]]:
    return [(dict(labels), value) for (found, labels), value in samples.items() if found == name]


def _sum(samples: Samples, name: str) -> float | None:
    found = [value for _, value in _named(samples, name)]
    return sum(found) if found else None


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.0f} s" if seconds < 120 else _hours(seconds / 3600)


def _hours(hours: float) -> str:
    return f"{hours:.0f} h" if hours >= 2 else f"{hours * 60:.0f} min"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(value: float) -> str:
    return f"{value:.2%}"
