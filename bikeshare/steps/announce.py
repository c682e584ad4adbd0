"""Tell people what was decided, and leave a trace: report, record, metrics."""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bikeshare.core.alerts import Alert
from bikeshare.core.messages import SURE
from bikeshare.core.retraining import ACTIONS, GUARDS, TRIGGERS, Decision, History, Notice, State
from bikeshare.core.sketches import raw_drift_share, season_drift
from bikeshare.core.tally import RESULTS
from bikeshare.errors import BikeshareError, Unavailable
from bikeshare.ports import DecisionRecord, Ports
from bikeshare.steps.evidence import Look, sketch_window, training_frame
from bikeshare.steps.reference import Reference
from bikeshare.steps.tally import note_end, take_news

logger = logging.getLogger("bikeshare.monitor")

REPORTED = frozenset({"held", "step", "drift", "age", "escalated"})
"""Notices that deserve a report."""

DQ_RULES = (
    "completeness", "empty", "frozen", "frozen_category", "future", "nulls", "past", "range", "refused_day", "schema",
    "unit",
)
"""Rules shown as zero when they hold, so that an alert rule can see them return to zero."""

COMMANDS = {
    "drift": "bikeshare pipeline status", "age": "bikeshare pipeline status",
    "escalated": "bikeshare registry rollback", "step": "bikeshare pipeline run", "held": "bikeshare data status",
    "labels_late": "bikeshare data status",
}
"""What a person may run after reading, by kind of alert."""

SAID = {
    "none": "Nothing was changed.",
    "alert": "Nothing was changed; a person should look.",
    "hold": "Retraining is on hold; the champion keeps serving.",
    "retrain": "A training run was requested; the champion serves until a better version has passed the gate.",
}


def write_report(
    ports: Ports, reference: Reference | None, look: Look, decision: Decision, reported: Mapping[str, datetime],
    now: datetime,
) -> str | None:
    """Evidently's report beside our verdict, when something happened that was not reported within 24 h; its URL.

    A report explains; that it cannot be made changes no decision.
    """
    due = [notice.kind for notice in reportable(decision) if notice.key not in reported]
    if not due or reference is None or not reference.profile:
        return None
    title = f"{due[0]}, version {reference.version}, {now:%Y-%m-%d %H:%M}"
    folder = f"reports/date={now:%Y-%m-%d}/{now:%H%M}-{due[0]}"
    try:
        sketch = look.sketch or sketch_window(ports.records, reference, now)
        current = sketch.sample()
        with tempfile.TemporaryDirectory() as scratch:
            raw = ports.reporter.write(
                current, training_frame(ports.records, reference, len(current) or 1), Path(scratch),
                title=title, verdict={**verdict_of(look, decision), "scores": [asdict(s) for s in look.scores]},
            )
            ports.store.upload_directory(Path(scratch), folder)
        if "share" in raw:
            ports.telemetry.set("bikeshare_evidently_drift_share", float(raw["share"]))
    except BikeshareError as error:
        ports.store.put(f"{folder}/failed.txt", str(error).encode())
        return None
    return ports.store.url(f"{folder}/report.html")


def reportable(decision: Decision) -> tuple[Notice, ...]:
    """Notices that deserve a report."""
    return tuple(notice for notice in decision.notices if notice.kind in REPORTED)


def verdict_of(look: Look, decision: Decision) -> dict[str, Any]:
    """Our calibrated verdict, for the report and the record."""
    evidence = look.evidence
    findings = [*evidence.decay, *((evidence.step,) if evidence.step else ()), *evidence.data_problems]
    return {
        "state": decision.state.value, "action": decision.action, "reason": decision.reason,
        "findings": [asdict(finding) for finding in findings],
        "wape": evidence.wape, "log_bias": evidence.log_bias,
        "labels_lag_hours": evidence.labels_lag_hours, "champion_age_days": evidence.champion_age_days,
        "check_day": evidence.check_day.isoformat() if evidence.check_day else None,
        "onset": evidence.onset.isoformat() if evidence.onset else None,
        "suppressed": decision.suppressed, "trigger": decision.trigger,
        "inputs_over_seasonal_limit": [asdict(score) for score in season_drift(look.scores)],
        "raw_drift_share": raw_drift_share(look.scores),
    }


def to_alert(
    notice: Notice, decision: Decision, now: datetime, *, report: str | None, dashboard: str, run_url: str = ""
) -> Alert:
    """A notice with everything a person may click or run."""
    links = [("report", report), ("run", run_url), ("dashboard", dashboard)]
    checks = decision.memory.checks[-3:]
    sure = f"{sum(c.exceeded for c in checks)} of the last {len(checks)} daily checks were over a limit"
    recovered = notice.kind == "recovered"
    return Alert(
        kind=notice.kind, key=notice.key, incident=notice.incident, title=notice.title[:120],
        reason=notice.title if recovered else decision.reason,
        action="Normal operation goes on." if recovered else SAID[decision.action], at=now,
        moved=notice.moved, before_after=notice.before_after,
        links=tuple((label, target) for label, target in links if target),
        command=COMMANDS.get(notice.kind, ""),
        tags={SURE: sure} if checks and notice.kind in ("drift", "escalated") else {},
    )


def record(ports: Ports, look: Look, decision: Decision, now: datetime, report: str | None) -> DecisionRecord:
    """One row in `decisions` and one JSON object in the store."""
    row = DecisionRecord(
        decision_id=now.isoformat(timespec="microseconds"), decided_at=now, state=decision.state.value,
        action=decision.action, reason=decision.reason, model_version=look.evidence.model_version,
        evidence=verdict_of(look, decision), run_key=decision.run_key, run_id=decision.run_id, report_url=report,
    )
    ports.records.save_decision(row)
    document = {**asdict(row), "decided_at": now.isoformat()}
    ports.store.put(
        f"decisions/date={now:%Y-%m-%d}/{now:%H%M%S}.json", json.dumps(document, indent=1, default=str).encode()
    )
    return row


def count_ended_runs(ports: Ports, history: History, decision: Decision) -> None:
    """Count every run once: those whose exit task wrote down the end, and ours that ended without one."""
    ended = set(decision.memory.settled) - set(history.memory.settled)
    for run in history.runs:
        if run.run_key in ended:
            note_end(ports.records, run.run_key, run.state, run.finished_at or run.started_at)
    tally = take_news(ports.records)
    for result in RESULTS:
        ports.telemetry.add("bikeshare_pipeline_runs_total", tally.news.get(result, 0), result=result)
    ports.telemetry.set("bikeshare_refused_in_a_row", tally.refused_in_a_row)
    if tally.last_success is not None:
        ports.telemetry.set("bikeshare_pipeline_last_success_timestamp_seconds", tally.last_success.timestamp())


def publish(ports: Ports, look: Look, decision: Decision, *, wall_seconds: float, wall_now: float) -> None:
    """Every number of the look, and what was decided, as metrics.

    Metrics that nobody takes now undo no decision: the log says so, the totals are kept for the next look, and the
    alert MonitorStale tells whoever watches the metrics.
    """
    put, evidence = ports.telemetry.set, look.evidence
    for state in State:
        put("bikeshare_state", float(state is decision.state), state=state.value)
    broken = [finding.name for finding in evidence.data_problems]
    for rule in sorted({*DQ_RULES, *broken}):
        put("bikeshare_dq_failures", float(broken.count(rule)), rule=rule)
    numbers = {
        "bikeshare_labels_lag_hours": evidence.labels_lag_hours,
        "bikeshare_model_bias_log": evidence.log_bias,
        "bikeshare_naive_mae": look.naive_mae,
        "bikeshare_model_step_log": evidence.step.value if evidence.step else None,
        "bikeshare_champion_age_seconds":
            None if evidence.champion_age_days is None else evidence.champion_age_days * 86_400,
        "bikeshare_evidently_drift_share": raw_drift_share(look.scores),
        "bikeshare_monitor_seconds": wall_seconds,
        "bikeshare_monitor_last_success_timestamp_seconds": wall_now,
    }
    if look.limits is not None:
        numbers["bikeshare_backtest_wape"] = look.limits.backtest_wape
        numbers["bikeshare_model_wape_limit"] = look.limits.wape
        numbers["bikeshare_model_bias_limit"] = look.limits.bias
    if look.performance is not None:
        numbers["bikeshare_model_wape"] = look.performance.wape
        numbers["bikeshare_model_mae"] = look.performance.mae
        put("bikeshare_interval_coverage", look.performance.coverage_80, level="80")
        put("bikeshare_interval_coverage", look.performance.coverage_95, level="95")
    for name, value in numbers.items():
        if value is not None:
            put(name, value)
    for score in look.scores:
        put("bikeshare_drift_score", score.value, column=score.column, method=score.method)
        if score.limit is not None:
            put("bikeshare_drift_limit", score.limit, column=score.column, method=score.method)
    if look.scores:
        put("bikeshare_drift_columns_over_limit", float(len(season_drift(look.scores))))
    add = ports.telemetry.add
    put("bikeshare_unhelpful_retrains", float(decision.memory.unhelpful))
    for action in ACTIONS:  # every counter starts at zero, or its first increase would be invisible to `increase()`
        add("bikeshare_decisions_total", float(decision.action == action), action=action)
    for trigger in TRIGGERS:
        started = decision.run_id is not None and decision.trigger == trigger
        add("bikeshare_retrain_requested_total", float(started), reason=trigger)
    for guard in GUARDS:
        add("bikeshare_retrain_suppressed_total", float(decision.suppressed == guard), reason=guard)
    try:
        ports.telemetry.flush()
    except Unavailable as error:
        logger.warning("decided, but the metrics of this look did not arrive: %s", error)
