"""`bikeshare registry`: which versions exist, why, which one serves, and how to change that."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bikeshare.ports import ModelVersion, RolloutResult

app = typer.Typer(no_args_is_help=True, help="List versions, promote one, roll back.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List all versions, newest first."""
    from bikeshare.bootstrap import wire_registry
    from bikeshare.settings import load_settings

    versions = wire_registry(load_settings()).versions()
    if as_json:
        typer.echo(json.dumps([_document(item) for item in versions], indent=2))
        return
    if not versions:
        typer.echo("no versions yet: `bikeshare pipeline run` makes one")
    for item in versions:
        tags = item.tags
        window = f"{tags.get('window_start', '')[:10]} to {tags.get('window_end', '')[:10]}"
        state = ", ".join(item.aliases) or tags.get("status", "")
        typer.echo(f"{item.version:>4}  {state:<22} {window}  {tags.get('reason', '')}")


@app.command()
def show(version: Annotated[str, typer.Argument(help="Version, or an alias.")], as_json: Json = False) -> None:
    """Show one version: its lineage and the gate's checklist."""
    from bikeshare.bootstrap import wire_registry
    from bikeshare.settings import load_settings

    registry = wire_registry(load_settings())
    found = registry.get(registry.version_of(version) or version)
    if as_json:
        typer.echo(json.dumps(_document(found), indent=2))
        return
    typer.echo(f"version {found.version} {' '.join(found.aliases)}".rstrip())
    checks = {name: value for name, value in found.tags.items() if name.startswith("gate_") and name != "gate_reason"}
    for name, value in sorted(found.tags.items()):
        if name not in checks:
            typer.echo(f"  {name:<18} {value}")
    if checks:
        typer.echo("checklist")
    for name, value in sorted(checks.items()):
        typer.echo(f"  {name.removeprefix('gate_'):<18} {value}")


@app.command()
def promote(version: Annotated[str, typer.Argument(help="Registered version.")], as_json: Json = False) -> None:
    """Bring a version to live traffic through the canary checks and make it the champion."""
    from functools import partial

    from bikeshare.adapters.artifacts import load_artifact
    from bikeshare.adapters.bento import pack
    from bikeshare.adapters.live_api import HttpApi
    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import quiet
    from bikeshare.steps.promote import promote_version

    settings = load_settings()
    ports = wire(settings, job="registry")
    result = promote_version(
        ports, version, ports.clock.now(), load=load_artifact, pack=pack,
        connect=partial(HttpApi, api_key=settings.api_key.get_secret_value()), url=settings.predictor_url,
        policy=settings.rollout_checks, progress=quiet if as_json else typer.echo,
    )
    _say(result, as_json)


@app.command()
def rollback(
    to: Annotated[str, typer.Option(help="Version to return to. Default: the alias `previous`.")] = "",
    reason: Annotated[str, typer.Option(help="Why; goes to the alert and the version's tags.")] = "asked for by hand",
    as_json: Json = False,
) -> None:
    """Serve the previous version again and swap the aliases."""
    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.rollout import roll_back

    ports = wire(load_settings(), job="registry")
    _say(roll_back(ports, ports.clock.now(), reason, to=to or None), as_json)


def _say(result: "RolloutResult", as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(result), indent=2))
        return
    for check in result.checks:
        typer.echo(f"  {'passed' if check.passed else 'FAILED'}  {check.name}: {check.detail}")
    typer.echo(f"version {result.version} serves and is champion: {result.reason}")


def _document(found: "ModelVersion") -> dict[str, Any]:
    return {
        "version": found.version, "run_id": found.run_id, "aliases": list(found.aliases), "tags": dict(found.tags),
        "created_at": found.created_at.isoformat(),
    }
