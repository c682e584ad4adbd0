"""The predictor's metrics; names, types and help come from the one table in `bikeshare.adapters.telemetry`."""

import os
from collections.abc import Sequence
from typing import Literal

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from bikeshare.adapters.telemetry import METRICS
from bikeshare.core.forecasting import SOURCES
from bikeshare.core.single_hour import SingleForecast

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUEST_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


REASONS = {"mean": "level_stale", "stateless_online": "history_missing", "stateless_frozen": "level_missing"}
"""Why a degraded answer is degraded, by what answered."""


class Metrics:
    """Every collector of one predictor process.

    Under `bentoml serve` the values live in files shared by the workers (`PROMETHEUS_MULTIPROC_DIR`); gauges
    then say how workers are combined.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry

        def counter(name: str) -> Counter:
            metric = METRICS[name]
            return Counter(name, metric.help, metric.labels, registry=registry)

        def gauge(name: str, mode: Literal["livemax", "livesum"] = "livemax") -> Gauge:
            metric = METRICS[name]
            return Gauge(name, metric.help, metric.labels, registry=registry, multiprocess_mode=mode)

        seconds = METRICS["bikeshare_request_seconds"]
        self.request_seconds = Histogram(
            seconds.name, seconds.help, seconds.labels, registry=registry, buckets=REQUEST_BUCKETS
        )
        self.requests = counter("bikeshare_requests_total")
        self.predictions = counter("bikeshare_predictions_total")
        self.degraded = counter("bikeshare_degraded_predictions_total")
        self.errors = counter("bikeshare_prediction_errors_total")
        self.what_if = counter("bikeshare_what_if_predictions_total")
        self.log_queue_rows = gauge("bikeshare_prediction_log_queue_rows", "livesum")
        self.log_written = counter("bikeshare_prediction_log_written_total")
        self.log_duplicates = counter("bikeshare_prediction_log_duplicates_total")
        self.log_errors = counter("bikeshare_prediction_log_errors_total")
        self.log_spooled_bytes = gauge("bikeshare_prediction_log_spooled_bytes")
        self.log_dropped = counter("bikeshare_prediction_log_dropped_total")
        self.snapshot_age_seconds = gauge("bikeshare_snapshot_age_seconds")
        self.refresh_errors = counter("bikeshare_snapshot_refresh_errors_total")
        self.level_age_hours = gauge("bikeshare_level_age_hours")
        self.level = gauge("bikeshare_level")
        self.model_info = gauge("bikeshare_model_info")
        self._answered: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._by_source = {source: self.predictions.labels(source=source) for source in SOURCES}
        self._by_reason = {source: self.degraded.labels(reason=reason) for source, reason in REASONS.items()}
        for reason in ("queue_full", "spool_full", "torn", "rejected"):
            self.log_dropped.labels(reason=reason)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes; of all workers when there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        merged = CollectorRegistry()
        MultiProcessCollector(merged)  # type: ignore[no-untyped-call]
        return generate_latest(merged)

    def observe(self, route: str, code: int, seconds: float) -> None:
        """Count one answered request."""
        requests, duration = self._ended(route, code)
        requests.inc()
        duration.observe(seconds)

    def _ended(self, route: str, code: int) -> tuple[Counter, Histogram]:
        key = (route, code)
        found = self._answered.get(key)
        if found is None:
            found = self.requests.labels(route=route, code=str(code)), self.request_seconds.labels(route=route)
            self._answered[key] = found
        return found

    def observe_all(self, route: str, code: int, seconds: Sequence[float]) -> None:
        """Count requests that ended alike."""
        requests, duration = self._ended(route, code)
        requests.inc(len(seconds))
        for each in seconds:
            duration.observe(each)

    def count_hours(self, answers: Sequence[SingleForecast]) -> None:
        """Count predicted hours by source, and degraded ones by what was missing."""
        for rank, source in enumerate(SOURCES):
            of_source = [answer.degraded for answer in answers if answer.rank == rank]
            if of_source:
                self._by_source[source].inc(len(of_source))
                worse = sum(of_source)
                if worse:
                    self._by_reason[source].inc(worse)

    def count(self, sources: list[str], degraded: list[bool]) -> None:
        """Count predicted hours by source, and degraded ones by what was missing."""
        for source in SOURCES if len(sources) > 1 else sources:
            hours = sources.count(source)
            if hours:
                self._by_source[source].inc(hours)
        worse = sum(degraded)
        if not worse:
            return
        for source, flag in zip(sources, degraded, strict=True):
            if flag:
                self._by_reason[source].inc()
