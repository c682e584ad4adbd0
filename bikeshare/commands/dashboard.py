"""`bikeshare dashboard`: the loop, the forecast and the models as pages in the browser."""

from typing import Annotated

import typer

app = typer.Typer(help="Show the loop, the forecast and the models in the browser.")


@app.command()
def dashboard(
    port: Annotated[
        int | None, typer.Option(help="Port; default BIKESHARE_DASHBOARD_PORT.", min=1, max=65535)
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
) -> None:
    """Serve the dashboard until Ctrl-C."""
    from bikeshare.commands import room
    from bikeshare.settings import load_settings

    settings = load_settings()
    room("services.dashboard.__main__").serve(settings, host, port or settings.dashboard_port)
