"""`bikeshare replay`: a year on the virtual clock, counted honestly."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Replay a year on the virtual clock and count what the monitor did.")


@app.command()
def replay(
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Train on everything before.")] = datetime(
        2012, 1, 1
    ),
    end: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day after the last one.")] = datetime(2013, 1, 1),
    trees: Annotated[int, typer.Option(help="Trees per forest of every training.", min=1)] = 50,
    changes: Annotated[bool, typer.Option(help="Also measure how soon labelled changes are noticed.")] = True,
    write: Annotated[Path | None, typer.Option(help="Write the report as Markdown.")] = None,
) -> None:
    """Play day by day: forecast, truth 24 h late, monitor, retrain when it asks for it."""
    from datetime import date, timedelta
    from typing import Any

    from rich.console import Console

    from bikeshare.commands import checkout
    from bikeshare.core.observations import load_uci
    from bikeshare.errors import ConfigurationError
    from bikeshare.simulation.replay import CHANGES, FIRST_RUN_DAYS, to_markdown
    from bikeshare.simulation.replay import replay as play

    console = Console(stderr=True, highlight=False)
    history = load_uci((checkout() / "data" / "hour.csv.gz").read_bytes())
    first, last = (history["timestamp"].iloc[place].date() for place in (0, -1))
    earliest = first + timedelta(days=FIRST_RUN_DAYS)
    if not earliest <= start.date() < end.date() <= last + timedelta(days=1):
        raise ConfigurationError(
            f"cannot play {start.date()} to {end.date()}: the record is {first} to {last}, the first champion needs "
            f"{FIRST_RUN_DAYS} days before the start, and the end comes after it"
        )
    with console.status("training the first champion …") as status:

        def show(day: date, decision: Any) -> None:
            status.update(f"{day:%Y-%m-%d}  {decision.state.value}")
            if decision.action != "none":
                console.print(f"{day:%Y-%m-%d}  {decision.state.value:<10} {decision.action:<8} {decision.reason}")

        year = play(history, start.date(), end.date(), trees=trees, progress=show)
        changed = start.date() + timedelta(days=36)
        measured = []
        for name, (scenario, sensors_only) in CHANGES.items() if changes else ():
            console.print(f"{name}, from {changed}")
            measured.append(
                play(
                    history,
                    start.date(),
                    changed + timedelta(days=28),
                    name=name,
                    scenario=scenario,
                    sensors_only=sensors_only,
                    changed_on=changed,
                    trees=trees,
                    progress=show,
                )
            )
    text = to_markdown(year, measured)
    if write is not None:
        write.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {write}")
    else:
        typer.echo(text)
