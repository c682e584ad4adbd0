"""One look of the monitor, read as a recipe. What to do is decided in `bikeshare/core/retraining.py:decide`."""

import time
from dataclasses import replace
from datetime import datetime

from bikeshare.core.digest import retired_version
from bikeshare.core.retraining import Decision, History, decide
from bikeshare.errors import TemporaryError
from bikeshare.ports import Ports
from bikeshare.settings import Settings
from bikeshare.steps.announce import count_ended_runs, publish, record, reportable, to_alert, write_report
from bikeshare.steps.evidence import Look, catch_up, gather, newest_check_day
from bikeshare.steps.ingest import process_new
from bikeshare.steps.monitor_state import Remembered, recall, remember, tell, turn
from bikeshare.steps.reference import Reference, load_reference
from bikeshare.steps.request_run import request_run
from bikeshare.steps.run_history import read_history, with_active_runs
from bikeshare.steps.weekly import write_weekly


def run_once(ports: Ports, settings: Settings, now: datetime) -> Decision:
    """Look once: bring in ground truth, gather evidence, decide, act, tell, record.

    Safe to repeat and to kill at any point: what was promised is completed once, what was decided is told.

    Args:
        ports: Every collaborator.
        settings: Policies and links.
        now: Naive local time, on whatever clock the loop lives.

    Raises:
        Unavailable: records, store or registry do not answer; nothing was decided, the next look does.
    """
    started = time.monotonic()
    with turn(ports.records, datetime.now()) as mine:
        past = recall(ports.records, now)
        if not mine:
            return _stand_aside(past)
        ports.notifier.deliver_pending()
        past = tell(ports.records, ports.notifier, past, past.due)
        process_new(ports.store, ports.records, ports.notifier, now, settings.validation)
        history = read_history(ports, past.memory, now, settings.retraining.promise_hours)
        look, reference = _look(ports, settings, past, history, now)
        decision = decide(look.evidence, history, now, settings.retraining)
        if decision.action == "retrain":
            decision = decide(look.evidence, with_active_runs(ports, history), now, settings.retraining)
        report = write_report(ports, reference, look, decision, past.reported, now)
        past = _remember(ports, settings, past, look, decision, report, now)
        decision, run_url = _act(ports, decision, now)
        record(ports, look, decision, now, report)
        tell(ports.records, ports.notifier, past, [
            to_alert(notice, decision, now, report=report, dashboard=settings.dashboard_url, run_url=run_url)
            for notice in decision.notices
        ])
        count_ended_runs(ports, history, decision)
        write_weekly(ports, look.ledger.judged, now)
        publish(ports, look, decision, wall_seconds=time.monotonic() - started, wall_now=time.time())
        return decision


def _look(
    ports: Ports, settings: Settings, past: Remembered, history: History, now: datetime
) -> tuple[Look, Reference | None]:
    """Gather the evidence; ask the registry for the champion only when it may have changed."""
    ledger, new_predictions = catch_up(ports.records, past.ledger, now)
    check_day, lag_hours = newest_check_day(ports.records, ledger, now)
    ended = any(
        run.state not in ("promised", "running") and run.run_key not in past.memory.settled for run in history.runs
    )
    version = past.memory.model_version
    if version is None or check_day is not None or ended or ledger.served not in (None, version):
        version = ports.registry.version_of("champion")
    reference = None if version is None else load_reference(ports.registry, ports.store, version)
    return gather(
        ports, reference, ledger, now, check_day=check_day, lag_hours=lag_hours,
        new_predictions=new_predictions, retired=retired_version(past.memory, version), drift=settings.drift,
        validation=settings.validation,
    ), reference


def _remember(
    ports: Ports, settings: Settings, past: Remembered, look: Look, decision: Decision, report: str | None,
    now: datetime,
) -> Remembered:
    """Write memory before anything is done: who comes after a kill knows what was promised and what is to be told."""
    alerts = tuple(
        to_alert(notice, decision, now, report=report, dashboard=settings.dashboard_url) for notice in decision.notices
    )
    reported = {**past.reported, **({notice.key: now for notice in reportable(decision)} if report else {})}
    return remember(ports.records, replace(
        past, memory=decision.memory, ledger=look.ledger, due=alerts, reported=reported
    ))


def _act(ports: Ports, decision: Decision, now: datetime) -> tuple[Decision, str]:
    """Start the run that was decided; an engine that does not answer leaves the promise for the next look."""
    if decision.action != "retrain" or decision.run_key is None:
        return decision, ""
    arguments = {
        "incident": f"run:{decision.run_key}",
        "adapt_since": decision.adapt_since.isoformat() if decision.adapt_since else "",
    }
    try:
        run = request_run(ports, run_key=decision.run_key, reason=decision.reason, arguments=arguments, now=now)
    except TemporaryError as error:
        reason = f"{decision.reason} The pipeline engine does not answer ({error}); the next look tries again."
        return replace(decision, reason=reason), ""
    return replace(decision, run_id=run.run_id), run.url


def _stand_aside(past: Remembered) -> Decision:
    return Decision(
        past.memory.state, "none", "Another monitor is looking right now; this one stands aside.", past.memory
    )
