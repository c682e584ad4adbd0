"""Start a training run: the only place in the project that does. Promise first, call second, note the id third."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bikeshare.ports import Ports, Run


def request_run(ports: Ports, *, run_key: str, reason: str, arguments: Mapping[str, Any], now: datetime) -> Run:
    """Start the run of a key, or return the one it already has; safe to repeat after a kill at any point.

    The intent is written before the call and the run id after it. A process killed in between leaves an intent
    without an id: whoever comes next looks the key up and submits only if the engine does not know it.

    Args:
        ports: Records and runs are used.
        run_key: Identity of the run; two requests with one key are one run.
        reason: Why, for people; goes unchanged to the run.
        arguments: Pipeline parameters besides run_key, reason and now.
        now: Naive local time, passed on so that the run lives on the caller's clock.

    Raises:
        Unavailable: the engine or the records do not answer; the intent stays open and can be completed later.
    """
    ports.records.open_intent(run_key, reason, now)
    run = ports.runs.find(run_key)
    if run is None:
        run = ports.runs.submit({**arguments, "now": now.isoformat()}, run_key=run_key, reason=reason)
    ports.records.close_intent(run_key, run_id=run.run_id)
    return run
