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
    ports = {
        "predictor_port": port or settings.predictor_port,
        "supervisor_port": supervisor_port or settings.supervisor_port,
        "dashboard_port": dashboard_port or settings.dashboard_port,
    }
    for name, number in ports.items():
        if keep or name != "dashboard_port":
            _refuse_taken(name, number)
    stage = Stage(home, ports["predictor_port"], ports["supervisor_port"], ports["dashboard_port"])
    with stage:
        ending = story.tell(stage)
        story.show(stage.console, ending)
        if keep:
            story.keep_running(stage)


def _refuse_taken(name: str, port: int) -> None:
    """Somebody else's answers on our port would be taken for ours, two minutes later."""
    import socket

    from bikeshare.errors import ConfigurationError
    from bikeshare.settings import PREFIX

    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ConfigurationError(
                f"port {port} is taken: end what listens there, or choose another, e.g. "
                f"{PREFIX}{name.upper()}={port + 10000 if port < 50000 else port - 10000}"
            )
