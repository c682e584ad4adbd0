"""`bikeshare drill NAME`: break something on purpose and check the reaction."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Break something on purpose and check the reaction.")


@app.command()
def drill(
    name: Annotated[str, typer.Argument(help="A drill, `all`, or `list`.")] = "list",
    home: Annotated[Path, typer.Option(help="Where drills keep everything; emptied first.")] = Path("var/drills"),
    port: Annotated[int, typer.Option(help="Port of the live API.", min=1, max=65000)] = 3100,
    supervisor_port: Annotated[int, typer.Option(help="Loopback port of the supervisor.", min=1, max=65000)] = 3110,
) -> None:
    """Each drill states what must happen, checks it, and exits 1 when it did not."""
    from rich.console import Console

    from bikeshare.errors import ConfigurationError
    from bikeshare.simulation.drills import DRILLS, Bench, Report

    console = Console(highlight=False, soft_wrap=True)
    if name == "list":
        for item in DRILLS.values():
            console.print(f"{item.name:<18} {item.breaks:<40} {item.expected}")
        return
    if name != "all" and name not in DRILLS:
        raise ConfigurationError(f"no drill {name!r}: use one of {', '.join(DRILLS)}, or all")
    bench = Bench(home, port, supervisor_port, console.print)
    failed = []
    try:
        for item in DRILLS.values() if name == "all" else [DRILLS[name]]:
            console.print(f"[bold]{item.name}[/bold]: {item.breaks}. Expected: {item.expected}.")
            report = Report()
            item.run(report, bench)
            for check in report.checks:
                mark = "[green]ok  [/green]" if check.passed else "[red]FAIL[/red]"
                console.print(f"  {mark} {check.expected}  [dim]{check.seen}[/dim]")
            if not report.passed:
                failed.append(item.name)
    finally:
        bench.close()
    if failed:
        console.print(f"[red]failed: {', '.join(failed)}[/red]")
        raise typer.Exit(1)
    console.print("[green]every reaction was as stated[/green]")
