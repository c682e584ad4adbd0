"""`bikeshare serve`: the live API on this machine, with safe roll-outs."""

from typing import Annotated

import typer

from bikeshare.commands import checkout, room

app = typer.Typer(help="Serve the champion with safe roll-outs (front, canary, supervisor).")


@app.command()
def serve(
    port: Annotated[
        int | None, typer.Option(help="Public port; default BIKESHARE_PREDICTOR_PORT.", min=1, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
) -> None:
    """Serve until Ctrl-C; without a champion yet it answers 503 until the first roll-out."""
    import asyncio

    from bikeshare.errors import ConfigurationError
    from bikeshare.settings import load_settings

    if not host:
        raise ConfigurationError("--host is empty: 127.0.0.1 is this machine only, 0.0.0.0 lets other machines in")
    settings = load_settings()
    room("services.predictor.logs").configure()
    door = room("services.predictor.serve")
    asyncio.run(door.serve(settings, checkout(), host=host, port=port or settings.predictor_port, announce=_say))


def _say(text: str) -> None:
    typer.echo(f"bikeshare serve: {text}")
