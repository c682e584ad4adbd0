"""What became of the runs that were promised or started."""

from datetime import datetime, timedelta
from typing import cast

from bikeshare.core.monitor_facts import History, RunFact, RunState
from bikeshare.core.monitor_memory import Memory
from bikeshare.errors import NotFound, TemporaryError
from bikeshare.ports import Ports, RunIntent
from bikeshare.steps.outcome import read_outcome

LOOKED_BACK = timedelta(days=60)
_ENDED = ("promoted", "refused", "rolled_back", "failed", "abandoned", "skipped")


def read_history(ports: Ports, memory: Memory, now: datetime, promise_hours: int) -> History:
    """The memory and every run of the last weeks; intents that ended are closed on the way.

    The engine is asked only about intents that have not ended.

    Args:
        ports: Records, store and runs are used.
        memory: What the last look left.
        now: Naive local time.
        promise_hours: A promise without a run that is older than this is given up.
    """
    return History(memory, tuple(
        _fact(ports, memory, intent, now, promise_hours) for intent in ports.records.intents(now - LOOKED_BACK)
    ))


def with_active_runs(ports: Ports, history: History) -> History:
    """The history with runs of others (scheduled ones) that are going on: asked only before starting one.

    An engine that does not answer adds none; starting the run will say so, and leaves a promise.
    """
    known = {run.run_key for run in history.runs}
    try:
        active = ports.runs.active()
    except TemporaryError:
        return history
    others = tuple(
        RunFact(run.run_key, "schedule", datetime.min, "running") for run in active if run.run_key not in known
    )
    return History(history.memory, (*others, *history.runs))


def _fact(ports: Ports, memory: Memory, intent: RunIntent, now: datetime, promise_hours: int) -> RunFact:
    ours = memory.request is not None and memory.request.run_key == intent.run_key
    trigger = memory.request.trigger if ours and memory.request else "manual"

    def fact(state: str, finished_at: datetime | None = None, detail: str = "") -> RunFact:
        return RunFact(intent.run_key, trigger, intent.created_at, cast(RunState, state), finished_at, detail)

    if intent.outcome is not None:
        return fact(intent.outcome if intent.outcome in _ENDED else "failed", intent.finished_at)
    try:
        run = ports.runs.find(intent.run_key) if intent.run_id is None else ports.runs.get(intent.run_id)
    except TemporaryError:
        return fact("promised" if intent.run_id is None else "running", detail="the engine does not answer")
    except NotFound:
        return _close(ports, fact("failed", now, "the engine no longer knows the run"))
    if run is None:
        if now - intent.created_at < timedelta(hours=promise_hours):
            return fact("promised")
        return _close(ports, fact("abandoned", now, "it was promised and never started"))
    if intent.run_id is None:
        ports.records.close_intent(intent.run_key, run_id=run.run_id)
    if run.status not in ("succeeded", "failed"):
        return fact("running")
    outcome = read_outcome(ports.store, intent.run_key)
    if outcome is None:
        return _close(ports, fact("failed", now, f"the engine says {run.status}, but the run left no outcome"))
    return _close(ports, fact(outcome.result, outcome.finished_at, outcome.reason))


def _close(ports: Ports, fact: RunFact) -> RunFact:
    ports.records.close_intent(fact.run_key, outcome=fact.state, finished_at=fact.finished_at)
    return fact
