"""`bikeshare monitor`: judge live predictions and decide."""

from datetime import datetime
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Judge live predictions and decide: nothing, alert, hold, retrain.")

FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"]


@app.callback()
def monitor() -> None:
    """Judge live predictions and decide: nothing, alert, hold, retrain."""


@app.command()
def run(
    now: Annotated[datetime | None, typer.Option(formats=FORMATS, help="Naive local time; default: the clock.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as one JSON object.")] = False,
) -> None:
    """Look once: ground truth, evidence, decision, action, alert, record."""
    typer.echo(look(now, as_json=as_json))


def look(now: datetime | None, *, as_json: bool) -> str:
    """One look with wired collaborators; the decision as text. Raises BikeshareError with its exit code."""
    import json

    from bikeshare.bootstrap import wire
    from bikeshare.commands import room
    from bikeshare.settings import load_settings

    settings = load_settings()
    ports = wire(settings, job="monitor")
    decision = room("services.monitor.check").run_once(ports, settings, now or ports.clock.now())
    if as_json:
        return json.dumps({
            "state": decision.state.value, "action": decision.action, "reason": decision.reason,
            "trigger": decision.trigger, "suppressed": decision.suppressed, "run_key": decision.run_key,
            "run_id": decision.run_id,
        })
    return f"{decision.state.value}: {decision.action}. {decision.reason}"
