"""`bikeshare pipeline`: run, compile, publish and schedule the training pipeline."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bikeshare.commands import room

if TYPE_CHECKING:
    from bikeshare.ports import Run
    from bikeshare.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Run, compile, publish and schedule the training pipeline.")

_POLL_SECONDS = 0.5
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def run(
    reason: Annotated[str, typer.Option(help="Why; goes to every record of the run.")] = "manual",
    run_key: Annotated[str, typer.Option(help="Name; a known name returns its run instead of starting one.")] = "",
    now: Annotated[str, typer.Option(help="ISO time of the run. Default: the clock's.")] = "",
    window_start: Annotated[str, typer.Option(help="First hour to train on. Default: 775 days before the end.")] = "",
    window_end: Annotated[str, typer.Option(help="First hour not to train on. Default: the newest label.")] = "",
    adapt_since: Annotated[str, typer.Option(help="When the world changed, if it did.")] = "",
    holdout_days: Annotated[int | None, typer.Option(help="Days that judge a first version.", min=1)] = None,
    trees: Annotated[int | None, typer.Option(help="Trees per forest.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the forests.", min=0)] = None,
    if_due: Annotated[bool, typer.Option("--if-due", help="Not without enough fresh hours to compare.")] = False,
    wait: Annotated[bool, typer.Option(help="Follow the run until it ends.")] = True,
    as_json: Json = False,
) -> None:
    """Start the training pipeline and follow it; exits 1 when the run fails."""
    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import moment
    from bikeshare.steps.request_run import request_run

    settings = load_settings()
    ports = wire(settings)
    for text in (window_start, window_end, adapt_since):
        moment(text)
    chosen = {
        "window_start": window_start, "window_end": window_end, "adapt_since": adapt_since,
        "holdout_days": holdout_days, "trees": trees, "seed": seed, "if_due": if_due or None,
    }
    arguments = {name: value for name, value in chosen.items() if value not in ("", None)}
    key = run_key or f"manual-{datetime.now():%Y%m%dT%H%M%S}"
    started = request_run(
        ports, run_key=key, reason=reason, arguments=arguments, now=moment(now) or ports.clock.now()
    )
    if not as_json:
        typer.echo(f"run {started.run_key}: {started.url}")
    if wait:
        started = _follow(ports.runs, started, quiet=as_json)
    _report(settings, started, as_json)
    if started.status == "failed":
        raise typer.Exit(1)


@app.command()
def status(
    run_key: Annotated[str, typer.Argument(help="A run; without it, the active ones.")] = "", as_json: Json = False
) -> None:
    """Show what runs, or what became of one run."""
    from bikeshare.bootstrap import wire_runs
    from bikeshare.errors import NotFound
    from bikeshare.settings import load_settings

    settings = load_settings()
    runs = wire_runs(settings)
    if run_key:
        found = runs.find(run_key)
        if found is None:
            raise NotFound(f"no run {run_key!r}: `bikeshare pipeline status` lists the active ones")
        _report(settings, found, as_json)
        return
    active = list(runs.active())
    if as_json:
        typer.echo(json.dumps([_document(item) for item in active], indent=2))
    elif not active:
        typer.echo("nothing runs")
    for item in [] if as_json else active:
        typer.echo(f"{item.run_key}  {item.status}  {item.url}")


@app.command("compile")
def compile_(
    output: Annotated[Path | None, typer.Option(help="Default: pipelines/compiled/training.yaml.")] = None,
    image: Annotated[str, typer.Option(help="Image of the tasks. Default: BIKESHARE_IMAGE.")] = "",
) -> None:
    """Compile the pipeline; the same sources and image give the same bytes."""
    import os

    if image:
        os.environ["BIKESHARE_IMAGE"] = image
    door = room("pipelines.__main__")
    typer.echo(str(door.compile_pipeline(output or door.COMPILED)))


@app.command()
def publish(
    version: Annotated[str, typer.Option(help="Name of the pipeline version, e.g. the image's tag.")],
    package: Annotated[Path | None, typer.Option(help="Compiled pipeline.")] = None,
) -> None:
    """Upload the compiled pipeline to KFP; an existing version is left as it is, and so is the schedule."""
    from bikeshare.settings import load_settings

    typer.echo(_kfp(load_settings()).publish(version, package))


@app.command()
def schedule(
    version: Annotated[str, typer.Option(help="Name of the pipeline version, e.g. the image's tag.")],
    cron: Annotated[str, typer.Option(help="Six fields, seconds first, in the server's time zone.")] = "0 30 3 * * *",
    package: Annotated[Path | None, typer.Option(help="Compiled pipeline.")] = None,
) -> None:
    """Publish, and let exactly one KFP recurring run start that version; missed times are not caught up."""
    from bikeshare.settings import load_settings

    typer.echo(_kfp(load_settings()).schedule(version, cron, {"reason": "schedule", "if_due": True}, package))


def _kfp(settings: "Settings") -> Any:
    from bikeshare.adapters.runs import KfpRuns
    from bikeshare.bootstrap import wire_runs
    from bikeshare.errors import ConfigurationError

    runs = wire_runs(settings)
    if not isinstance(runs, KfpRuns):
        raise ConfigurationError(
            f"BIKESHARE_PIPELINES_URL is {settings.pipelines_url!r}: publishing needs a KFP API, e.g. "
            "http://ml-pipeline.kubeflow:8888"
        )
    return runs


def _follow(runs: Any, started: "Run", *, quiet: bool) -> "Run":
    """Wait for the end; progress lines of a local run are shown as they appear in its log."""
    from bikeshare.adapters.runs.local import folder_of

    folder = folder_of(started.url)
    log = None if folder is None else folder / "run.log"
    began, read = time.monotonic(), 0
    while True:
        current: Run = runs.get(started.run_id)
        if log is not None and not quiet:
            read = _show(log, read, began)
        if current.status in ("succeeded", "failed"):
            return current
        time.sleep(_POLL_SECONDS)


def _show(log: Path, read: int, began: float) -> int:
    from bikeshare.steps.doorstep import MARK

    try:
        with log.open("rb") as file:
            file.seek(read)
            data = file.read()
    except OSError:
        return read
    whole = data[: data.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        _, mark, text = line.partition(MARK)
        if mark:
            typer.echo(f"{time.monotonic() - began:6.1f} s  {text.strip()}")
    return read + len(whole)


def _report(settings: "Settings", item: "Run", as_json: bool) -> None:
    from bikeshare.adapters.runs.local import folder_of, read_run
    from bikeshare.bootstrap import wire_store
    from bikeshare.steps.outcome import read_outcome

    outcome = read_outcome(wire_store(settings), item.run_key)
    document = _document(item)
    if outcome is not None:
        document["outcome"] = {
            "result": outcome.result, "reason": outcome.reason, "version": outcome.version,
            "previous": outcome.previous, "wape_before": outcome.wape_before, "wape_after": outcome.wape_after,
        }
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    folder = folder_of(item.url)
    if folder is not None:
        document = read_run(folder)
        if document.get("seconds"):
            steps = ", ".join(f"{name} {seconds:g} s" for name, seconds in document["seconds"].items())
            typer.echo(f"steps: {steps}; {document['cpu_seconds']:g} s of CPU")
    typer.echo(f"{item.run_key}: {item.status}")
    if outcome is not None:
        typer.echo(f"{outcome.result}{f' version {outcome.version}' if outcome.version else ''}: {outcome.reason}")
    if item.status == "failed" and folder is not None:
        typer.echo(f"log: {folder / 'run.log'}")


def _document(item: "Run") -> dict[str, Any]:
    created = None if item.created_at is None else item.created_at.isoformat()
    return {
        "run_key": item.run_key, "run_id": item.run_id, "status": item.status, "url": item.url, "created_at": created,
    }
