"""Metrics: one table of names that code, alert rules and dashboards share, and the batch job's way to publish them.

A batch job ends before anybody scrapes it, and each publication replaces the last one. Counters must go on from one
run to the next, and a quiet look measures only some gauges; so totals and last values live in the records
(`telemetry/<job>`) and the full set is published each time: pods of a CronJob on different nodes go on where the
other stopped, which a textfile would not give.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bikeshare.errors import Conflict, Unavailable
from bikeshare.ports import Records

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Metric:
    """One metric: what its number means and how it is told apart."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


_TABLE = (
    # predictor
    Metric("bikeshare_requests_total", "counter", "Answered requests.", ("route", "code")),
    Metric("bikeshare_request_seconds", "histogram", "Time to answer.", ("route",)),
    Metric("bikeshare_predictions_total", "counter", "Predicted hours by source.", ("source",)),
    Metric("bikeshare_degraded_predictions_total", "counter", "Predictions without full history.", ("reason",)),
    Metric("bikeshare_prediction_errors_total", "counter", "Requests that failed inside the service."),
    Metric("bikeshare_what_if_predictions_total", "counter", "Predicted hours that were not to be logged."),
    Metric("bikeshare_prediction_log_queue_rows", "gauge", "Predictions waiting in memory."),
    Metric("bikeshare_prediction_log_written_total", "counter", "Predictions stored in the database."),
    Metric("bikeshare_prediction_log_duplicates_total", "counter",
           "Predictions that were stored before (retries, replays)."),
    Metric("bikeshare_prediction_log_errors_total", "counter", "Failed attempts to write predictions."),
    Metric("bikeshare_prediction_log_spooled_bytes", "gauge", "Predictions waiting on disk."),
    Metric("bikeshare_prediction_log_dropped_total", "counter", "Predictions that were lost.", ("reason",)),
    Metric("bikeshare_snapshot_age_seconds", "gauge", "Age of the history snapshot."),
    Metric("bikeshare_snapshot_refresh_errors_total", "counter", "Failed snapshot refreshes."),
    Metric("bikeshare_level_age_hours", "gauge", "Age of the newest demand in the level."),
    Metric("bikeshare_level", "gauge", "Online level in use.", ("forest",)),
    Metric("bikeshare_model_info", "gauge", "1 for the version this process serves.", ("version",)),
    # pipeline, written down by each run's exit task and published by the monitor
    Metric("bikeshare_pipeline_runs_total", "counter", "Ended runs by result.", ("result",)),
    Metric("bikeshare_refused_in_a_row", "gauge", "Challengers the gate refused since the last promotion."),
    Metric("bikeshare_pipeline_last_success_timestamp_seconds", "gauge", "When a run last ended with a judged model, "
           "on the loop's clock."),
    # monitor
    Metric("bikeshare_monitor_last_success_timestamp_seconds", "gauge", "When the monitor last decided (wall clock)."),
    Metric("bikeshare_monitor_seconds", "gauge", "Wall time of the newest look."),
    Metric("bikeshare_drift_score", "gauge", "Distance of 7 days of served inputs from the reference; "
           "methods w1, js, psi (all of training) and season (same weeks of training).", ("column", "method")),
    Metric("bikeshare_drift_limit", "gauge", "Limit of a drift score, learned from the reference.",
           ("column", "method")),
    Metric("bikeshare_drift_columns_over_limit", "gauge", "Columns over their season-matched limit."),
    Metric("bikeshare_evidently_drift_share", "gauge", "Share of columns that a plain comparison with training data "
           "calls drifted (default rule: distance >= 0.1). Nearly always high; shown, never acted upon."),
    Metric("bikeshare_model_bias_log", "gauge", "7-day log(predicted / actual), centred on the backtest."),
    Metric("bikeshare_model_bias_limit", "gauge", "Limit of its absolute value."),
    Metric("bikeshare_model_wape", "gauge", "7-day WAPE of what was served."),
    Metric("bikeshare_model_wape_limit", "gauge", "Limit of the 7-day WAPE."),
    Metric("bikeshare_model_mae", "gauge", "7-day MAE of what was served, bikes per hour."),
    Metric("bikeshare_model_step_log", "gauge", "48-hour log-bias minus its 14-day median."),
    Metric("bikeshare_backtest_wape", "gauge", "WAPE of the champion's own backtest."),
    Metric("bikeshare_naive_mae", "gauge", "7-day MAE of the same hour one week earlier, bikes per hour."),
    Metric("bikeshare_interval_coverage", "gauge", "Share of hours inside the interval, 7 days.", ("level",)),
    Metric("bikeshare_dq_failures", "gauge", "Broken rules of live inputs and refused days.", ("rule",)),
    Metric("bikeshare_labels_lag_hours", "gauge", "Age of the newest label."),
    Metric("bikeshare_decisions_total", "counter", "Decisions of the monitor.", ("action",)),
    Metric("bikeshare_retrain_requested_total", "counter", "Runs the monitor started.", ("reason",)),
    Metric("bikeshare_retrain_suppressed_total", "counter", "Retrains that a guard held back.", ("reason",)),
    Metric("bikeshare_unhelpful_retrains", "gauge", "Retrains in a row that did not bring the error back."),
    Metric("bikeshare_champion_age_seconds", "gauge", "Age of the champion's newest training hour."),
    Metric("bikeshare_state", "gauge", "1 for the state the loop is in, 0 for the others.", ("state",)),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _TABLE}
"""Every metric of the project by name."""

_Sample = tuple[str, tuple[tuple[str, str], ...]]


class PrometheusTelemetry:
    """`bikeshare.ports.Telemetry` of a batch job.

    Args:
        job: Name of the job, also the grouping key at the Pushgateway.
        pushgateway_url: Where to push; empty: only the textfile.
        textfile: File for node_exporter's textfile collector, replaced atomically; None: none.
        records: Keeps counter totals between runs; None: counters start at zero.
    """

    def __init__(
        self, job: str, pushgateway_url: str = "", textfile: Path | None = None, records: Records | None = None
    ) -> None:
        self._job = job
        self._pushgateway_url = pushgateway_url
        self._textfile = textfile
        self._records = records
        self._gauges: dict[_Sample, float] = {}
        self._added: dict[_Sample, float] = {}
        self._totals: dict[_Sample, float] = {}

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge of the table; KeyError for a name or label that is not in it."""
        self._gauges[_sample(name, "gauge", labels)] = float(value)

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Increase a counter of the table."""
        sample = _sample(name, "counter", labels)
        self._added[sample] = self._added.get(sample, 0.0) + float(value)

    def flush(self) -> None:
        """Publish every gauge's last value and every counter's total.

        Raises:
            Unavailable: the Pushgateway does not answer; the textfile is written and the totals are kept.
        """
        if self._records is not None:
            self._keep(self._records)
        else:
            self._totals = _sum(self._totals, self._added)
        self._added = {}
        text = self._exposition()
        if self._textfile is not None:
            _replace(self._textfile, text)
        if self._pushgateway_url:
            self._push(text)

    def _keep(self, records: Records, attempts: int = 5) -> None:
        name = f"telemetry/{self._job}"
        for attempt in range(1, attempts + 1):
            document, revision = records.load_state(name)
            gauges = {**_known(document.get("gauges", {})), **self._gauges}
            totals = _sum(_known(document.get("totals", {})), self._added)
            try:
                records.save_state(name, {
                    "gauges": {_line(sample): value for sample, value in gauges.items()},
                    "totals": {_line(sample): value for sample, value in totals.items()},
                }, revision)
            except Conflict:
                if attempt == attempts:
                    raise
                continue
            self._gauges, self._totals = gauges, totals
            return

    def _exposition(self) -> bytes:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for sample, value in sorted({**self._gauges, **self._totals}.items()):
            metric = METRICS[sample[0]]
            family = families.get(metric.name)
            if family is None:
                make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                name = metric.name.removesuffix("_total")
                family = families[metric.name] = make(name, metric.help, labels=metric.labels)
            family.add_metric([value for _, value in sample[1]], value)

        class _Fixed:
            def collect(self) -> list[Any]:
                return list(families.values())

        registry = CollectorRegistry()
        registry.register(_Fixed())
        return generate_latest(registry)

    def _push(self, text: bytes, attempts: int = 3) -> None:
        import time
        import urllib.error
        import urllib.request

        url = f"{self._pushgateway_url.rstrip('/')}/metrics/job/{self._job}"
        for attempt in range(1, attempts + 1):
            request = urllib.request.Request(url, data=text, method="PUT", headers={"Content-Type": "text/plain"})
            try:
                with urllib.request.urlopen(request, timeout=5):
                    return
            except (urllib.error.URLError, OSError) as error:
                if attempt == attempts:
                    raise Unavailable(f"the Pushgateway at {url} does not answer ({error}): is it up?") from error
                time.sleep(0.2 * attempt)


def _sample(name: str, kind: Kind, labels: Mapping[str, str]) -> _Sample:
    metric = METRICS[name]
    if metric.kind != kind or set(labels) != set(metric.labels):
        raise KeyError(f"{name} is a {metric.kind} with labels {metric.labels}, got a {kind} with {tuple(labels)}")
    return name, tuple((label, str(labels[label])) for label in metric.labels)


def _line(sample: _Sample) -> str:
    """A sample as one JSON key; tab cannot occur in a metric name or in our label values."""
    return "\t".join([sample[0], *(value for _, value in sample[1])])


def _known(document: Mapping[str, float]) -> dict[_Sample, float]:
    """Stored samples that the table still has: a metric may be renamed between versions."""
    found = {}
    for key, value in document.items():
        name, *values = key.split("\t")
        metric = METRICS.get(name)
        if metric is not None and len(values) == len(metric.labels):
            found[(name, tuple(zip(metric.labels, values, strict=True)))] = float(value)
    return found


def _sum(totals: Mapping[_Sample, float], added: Mapping[_Sample, float]) -> dict[_Sample, float]:
    return {sample: totals.get(sample, 0.0) + added.get(sample, 0.0) for sample in (*totals, *added)}


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
    Path(scratch).chmod(0o644)
    Path(scratch).replace(path)
