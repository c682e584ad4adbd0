"""`bikeshare score`: the ML Test Score, each point tied to a test that exists."""

import json
from typing import Annotated

import typer

app = typer.Typer(help="Print the ML Test Score; a claim whose tests do not exist is worth nothing.")


@app.command()
def score(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    fail_under: Annotated[float, typer.Option(help="Exit with 1 when the weakest section has fewer points.")] = 0.0,
) -> None:
    """Judge the 28 items against the tests and files of this checkout."""
    from bikeshare.commands import checkout
    from bikeshare.core.score import judge
    from bikeshare.core.score_items import ITEMS
    from bikeshare.steps.claims import find_evidence

    wanted = {name for item in ITEMS for name in item.evidence}
    judged = judge(ITEMS, find_evidence(checkout(), wanted))
    if as_json:
        typer.echo(json.dumps(judged.to_dict()))
    else:
        for section, points in judged.sections.items():
            typer.echo(f"\n{section:68} {points:g} of 7")
            for one in judged.items:
                if one.item.section == section:
                    _say(one.item.question, one.points, one.reason, one.missing)
        typer.echo(f"\nML Test Score {judged.final:g}, the weakest section's: {judged.band}.")
    if judged.final < fail_under:
        raise typer.Exit(1)


def _say(question: str, points: float, reason: str, missing: tuple[str, ...]) -> None:
    typer.echo(f"  {points:>3g}  {question}")
    if points < 1:
        typer.echo(f"       {reason}")
    for name in missing:
        typer.echo(f"       missing: {name}")
