"""`bikeshare demo`: the whole loop on real history, on this machine, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Play the whole loop on real history, on this machine, in minutes.")


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Where the demo keeps everything; emptied first.")] = Path("var/demo"),
    port: Annotated[int, typer.Option(help="Port of the live API.", min=1, max=65535)] = 3000,
    supervisor_port: Annotated[int, typer.Option(help="Loopback port of the supervisor.", min=1, max=65535)] = 3010,
    dashboard_port: Annotated[int, typer.Option(help="Port of the dashboard.", min=1, max=65535)] = 8501,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Train on 2011, serve and monitor weeks of 2012 on a virtual clock, and show what the loop did and why."""
    from bikeshare.simulation import story
    from bikeshare.simulation.stage import Stage

    stage = Stage(home=home, port=port, supervisor_port=supervisor_port, dashboard_port=dashboard_port)
    with stage:
        ending = story.tell(stage)
        story.show(stage.console, ending)
        if keep:
            story.keep_running(stage)
