"""`bikeshare demo`: the whole loop on real history, on this machine, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Play the whole loop on real history, on this machine, in minutes.")


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo keeps everything; emptied first.")] = Path("var/demo"),
    port: Annotated[
        int | None, typer.Option(help="Port of the live API; default BIKESHARE_PREDICTOR_PORT.", min=1, max=65535)
    ] = None,
    supervisor_port: Annotated[
        int | None, typer.Option(help="Loopback port; default BIKESHARE_SUPERVISOR_PORT.", min=1, max=65535)
    ] = None,
    dashboard_port: Annotated[
        int | None, typer.Option(help="Port of the dashboard; default BIKESHARE_DASHBOARD_PORT.", min=1, max=65535)
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Train on 2011, serve and monitor weeks of 2012 on a virtual clock, and show what the loop did and why."""
    from bikeshare.settings import load_settings
    from bikeshare.simulation import story
    from bikeshare.simulation.stage import Stage

    settings = load_settings()
    stage = Stage(
        home=home,
        port=port or settings.predictor_port,
        supervisor_port=supervisor_port or settings.supervisor_port,
        dashboard_port=dashboard_port or settings.dashboard_port,
    )
    with stage:
        ending = story.tell(stage)
        story.show(stage.console, ending)
        if keep:
            story.keep_running(stage)
