"""`bikeshare doctor`: what is missing on this machine and how to fix it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from bikeshare.core.cluster_needs import Finding

app = typer.Typer(help="Say what is missing on this machine and how to fix it.")


def examine() -> list[Finding]:
    """Look at Python, memory, disk, ports, packages and the configured services; starts nothing."""
    import os
    import shutil
    import socket
    import sys
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    from bikeshare.commands import checkout
    from bikeshare.errors import BikeshareError, ConfigurationError
    from bikeshare.settings import Settings, load_settings

    findings: list[Finding] = []
    python = ".".join(str(part) for part in sys.version_info[:3])
    findings.append(
        Finding(
            "python",
            (3, 11) <= sys.version_info[:2] < (3, 13),
            python,
            "install Python 3.11 or 3.12 and run `make setup` again",
        )
    )
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    memory_gib = pages * page_bytes / 2**30
    findings.append(
        Finding(
            "memory",
            memory_gib >= 3.5,
            f"{memory_gib:.1f} GiB",
            "the loop peaks near 2 GiB; 4 GiB leaves room for the rest",
        )
    )
    free_gib = shutil.disk_usage(Path.cwd()).free / 2**30
    findings.append(Finding("disk", free_gib >= 2, f"{free_gib:.0f} GiB free", "free 2 GiB for models and reports"))
    for package in ("kfp", "mlflow", "bentoml", "evidently", "scikit-learn", "onnxruntime", "slack-sdk"):
        try:
            findings.append(Finding(f"package {package}", True, version(package)))
        except PackageNotFoundError:
            findings.append(Finding(f"package {package}", False, "not installed", "run `make setup`"))
    try:
        folder = checkout()
        findings.append(Finding("checkout", True, str(folder)))
        data = folder / "data" / "hour.csv.gz"
        findings.append(Finding("history", data.is_file(), str(data), "restore data/hour.csv.gz from git"))
    except ConfigurationError as error:
        findings.append(Finding("checkout", False, str(error), "run from a clone of the repository"))
    try:
        settings: Settings | None = load_settings()
        findings.append(Finding("settings", True, "all known and well formed"))
    except BikeshareError as error:
        settings = None
        findings.append(Finding("settings", False, str(error), "correct or unset the variable"))
    if settings is None:
        return findings
    for name, port in (("predictor port", settings.predictor_port), ("supervisor port", settings.supervisor_port)):
        with socket.socket() as probe:
            busy = probe.connect_ex(("127.0.0.1", port)) == 0
        findings.append(Finding(name, True, f"{port} {'in use (a predictor is running?)' if busy else 'free'}"))
    findings.extend(_services(settings))
    return findings


def _services(settings: "object") -> list[Finding]:
    from bikeshare.bootstrap import wire_records, wire_store
    from bikeshare.errors import BikeshareError
    from bikeshare.settings import Settings

    if not isinstance(settings, Settings):
        raise TypeError(f"expected Settings, got {type(settings).__name__}")
    findings = []
    try:
        wire_store(settings).list("raw/")
        findings.append(Finding("object store", True, settings.store))
    except BikeshareError as error:
        findings.append(Finding("object store", False, str(error), "check BIKESHARE_STORE_URL and the credentials"))
    try:
        records = wire_records(settings)
        latest = records.latest_observation()
        findings.append(Finding("records", True, f"newest observation: {latest or 'none yet'}"))
    except BikeshareError as error:
        findings.append(Finding("records", False, str(error), "check BIKESHARE_DATABASE_URL; is the server up?"))
    return findings


def examine_for_cluster(*, lite: bool) -> Sequence[Finding]:
    """Look at Docker, the cluster tools, limits and ports; changes nothing."""
    from bikeshare.adapters.cluster_facts import cluster_facts
    from bikeshare.core.cluster_needs import LITE, ClusterNeeds, examine_cluster

    return examine_cluster(cluster_facts(), LITE if lite else ClusterNeeds())


@app.command()
def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="What a local Kubernetes cluster needs.")] = False,
    lite: Annotated[bool, typer.Option("--lite", help="With --cluster: without monitoring and autoscaling.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine this machine; exits 2 when something is missing."""
    findings = examine_for_cluster(lite=lite) if cluster else examine()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            typer.echo(f"{'ok     ' if finding.ok else 'MISSING'} {finding.name:<22} {finding.seen}")
            if not finding.ok:
                typer.echo(f"        {'':<22} fix: {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(2)
