"""`bikeshare data`: land, import, ingest, inspect and release observations; expire predictions."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datetime import date

    from bikeshare.ports import Clock, ObjectStore, Records
    from bikeshare.settings import Settings
    from bikeshare.steps.ingest import IngestResult

app = typer.Typer(no_args_is_help=True, help="Land, import, inspect and release observations; expire predictions.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Days that validation refused.")
app.add_typer(quarantine_app, name="quarantine")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Day = Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Day, e.g. 2012-10-29.")]


@app.command()
def land(
    start: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = None,
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day after the last one.")] = None,
    until: Annotated[str, typer.Option(help="Move the history to end the day before: `today` or 2026-11-25.")] = "",
    source: Annotated[Path | None, typer.Option(help="UCI hour.csv(.gz); default: the one in the repository.")] = None,
    as_json: Json = False,
) -> None:
    """Write the UCI history as one object per day, where ingest finds it."""
    from bikeshare.commands import checkout
    from bikeshare.core.moving import moved
    from bikeshare.core.observations import load_uci
    from bikeshare.errors import DataError
    from bikeshare.steps.landing import land as land_days

    frame = load_uci(_read(source or checkout() / "data" / "hour.csv.gz"))
    if until:
        frame = moved(frame, _world()[2].now().date() if until == "today" else _day(until))
    if start is not None:
        frame = frame[frame["timestamp"] >= start]
    if end is not None:
        frame = frame[frame["timestamp"] < end]
    store, _, clock, settings = _world()
    past = clock.now() - timedelta(days=settings.validation.max_past_days)
    if len(frame) and frame["timestamp"].iloc[-1] < past:
        raise DataError(
            f"these days end {frame['timestamp'].iloc[-1]:%Y-%m-%d}, too long before {clock.now():%Y-%m-%d} to be "
            "accepted: `--until today` moves the history by whole weeks"
        )
    keys = land_days(store, frame) if len(frame) else []
    days = int(frame["timestamp"].dt.date.nunique())
    _say(as_json, {"days": days, "written": list(keys)}, f"{days} days, {len(keys)} written, the others unchanged")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="Hourly CSV (plain or .gz) or Parquet.")],
    mapping: Annotated[Path, typer.Option(help="YAML that names columns and units; see data/example-mapping.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Land your own hourly history."""
    from bikeshare.core.mapping import apply_mapping, parse_mapping
    from bikeshare.core.observations import gaps, read_csv, read_parquet
    from bikeshare.steps.landing import land as land_days

    layout = parse_mapping(_yaml(mapping))
    data = _read(file)
    raw = read_parquet(data) if data[:4] == b"PAR1" or file.suffix == ".parquet" else read_csv(data, layout.separator)
    frame = apply_mapping(raw, layout)
    holes = gaps(frame["timestamp"])
    written: list[str] = []
    if not dry_run:
        store, _, _, _ = _world()
        written = list(land_days(store, frame))
    first, last = frame["timestamp"].iloc[0], frame["timestamp"].iloc[-1]
    missing = sum(gap.hours for gap in holes)
    summary = {
        "rows": len(frame), "first": str(first), "last": str(last), "missing_hours": missing, "gaps": len(holes),
        "longest_gap_hours": max((gap.hours for gap in holes), default=0), "written": written,
    }
    _say(as_json, summary, (
        f"{len(frame)} hours from {first} to {last}, {missing} hours absent in {len(holes)} gaps; "
        + ("nothing written (dry run)" if dry_run else f"{len(written)} days landed; next: bikeshare data ingest")
    ))


@app.command()
def ingest(as_json: Json = False) -> None:
    """Judge landed days: accept them into the records, or quarantine them with the reason and an alert."""
    from bikeshare.bootstrap import wire_notifier
    from bikeshare.steps.ingest import process_new

    store, records, clock, settings = _world()
    notifier = wire_notifier(settings, records)
    result = process_new(store, records, notifier, clock.now(), settings.validation, _progress)
    _say(as_json, _summary(result), result.reason)


@app.command()
def release(
    day: Day,
    force: Annotated[bool, typer.Option("--force", help="Accept a real anomaly (storm, shutdown) as it is.")] = False,
    as_json: Json = False,
) -> None:
    """Judge a repaired day of the quarantine again and ingest it."""
    from bikeshare.steps.ingest import release as release_day

    store, records, clock, settings = _world()
    result = release_day(store, records, day.date(), clock.now(), settings.validation, force=force)
    _say(as_json, _summary(result), result.reason)


@quarantine_app.command("list")
def quarantine_list(as_json: Json = False) -> None:
    """Days in quarantine with the reason."""
    from bikeshare.steps.quarantine import quarantined

    store, _, _, _ = _world()
    notes = list(quarantined(store))
    text = "\n".join(f"{note['day']}  {note['reason'] or 'reason not written yet'}" for note in notes)
    _say(as_json, notes, text or "the quarantine is empty")


@quarantine_app.command("dismiss")
def quarantine_dismiss(day: Day, as_json: Json = False) -> None:
    """Train without a refused day before its hold is over; it stays in quarantine and can still be released."""
    from bikeshare.steps.quarantine import dismiss

    store, _, clock, _ = _world()
    dismiss(store, day.date(), clock.now())
    _say(as_json, {"dismissed": day.date().isoformat()}, f"{day.date()} dismissed: trainings go on without it")


@app.command()
def status(
    since: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Report gaps since this day.")] = None,
    as_json: Json = False,
) -> None:
    """How much history is accepted, where its gaps are, what waits and what was refused."""
    from bikeshare.core.observations import gaps
    from bikeshare.steps.ingest import pending
    from bikeshare.steps.quarantine import quarantined

    store, records, _, _ = _world()
    frame = records.observations(since)
    holes = gaps(frame["timestamp"])
    waiting = [batch.day.isoformat() for batch in pending(store, records)]
    refused = [note["day"] for note in quarantined(store)]
    first, last = (str(frame["timestamp"].iloc[0]), str(frame["timestamp"].iloc[-1])) if len(frame) else (None, None)
    longest = sorted(holes, key=lambda gap: -gap.hours)[:5]
    summary = {
        "rows": len(frame), "first": first, "last": last, "missing_hours": sum(gap.hours for gap in holes),
        "gaps": len(holes), "pending_days": waiting, "quarantined_days": refused,
        "longest_gaps": [{"start": str(g.start), "end": str(g.end), "hours": g.hours} for g in longest],
    }
    lines = [
        f"accepted     {len(frame)} hours" + (f" from {first} to {last}" if first else ""),
        f"gaps         {summary['missing_hours']} hours absent in {len(holes)} gaps",
        *(f"             {g.hours:3d} h from {g.start}" for g in longest),
        f"pending      {len(waiting)} days" + (f", oldest {waiting[0]}" if waiting else ""),
        f"quarantined  {len(refused)} days" + (f": {', '.join(refused[:10])}" if refused else ""),
    ]
    _say(as_json, summary, "\n".join(lines))


@app.command()
def expire(as_json: Json = False) -> None:
    """Delete predictions older than BIKESHARE_RETENTION_DAYS; observations and decisions stay."""
    from bikeshare.bootstrap import wire_clock, wire_records
    from bikeshare.settings import load_settings

    settings = load_settings()
    before = wire_clock(settings).now() - timedelta(days=settings.retention_days)
    deleted = wire_records(settings).delete_predictions_before(before)
    _say(as_json, {"deleted": deleted, "before": before}, f"{deleted} predictions made before {before} deleted")


def _world() -> "tuple[ObjectStore, Records, Clock, Settings]":
    from bikeshare.bootstrap import wire_clock, wire_records, wire_store
    from bikeshare.settings import load_settings

    settings = load_settings()
    return wire_store(settings), wire_records(settings), wire_clock(settings), settings


def _day(text: str) -> "date":
    from bikeshare.errors import ConfigurationError

    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a day: use `today` or e.g. 2026-11-25") from error


def _read(path: Path) -> bytes:
    from bikeshare.errors import DataError

    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _yaml(path: Path) -> Any:
    import yaml

    from bikeshare.errors import ConfigurationError

    try:
        return yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error


def _summary(result: "IngestResult") -> dict[str, Any]:
    return {
        "accepted_days": [day.isoformat() for day in result.accepted_days], "rows": result.rows,
        "quarantined_days": {day.isoformat(): result.verdicts[day].reason for day in result.quarantined_days},
    }


def _progress(done: int, total: int) -> None:
    if total > 30 and (done % 30 == 0 or done == total):
        typer.echo(f"\r{done}/{total} days", err=True, nl=done == total)


def _say(as_json: bool, document: Any, text: str) -> None:
    typer.echo(json.dumps(document, indent=1, default=str) if as_json else text)
