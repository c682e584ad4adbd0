"""What a machine needs before a local cluster is started: numbers compared with numbers, each with its reason."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was seen, and what to do when it is not right."""

    name: str
    ok: bool
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class ClusterNeeds:
    """Least that lets the whole stack start and one training run finish."""

    cpus: float = 4
    memory_gib: float = 10
    disk_gib: float = 25
    inotify_instances: int = 512
    inotify_watches: int = 524_288
    kind: str = "0.32"
    kubectl: str = "1.35"
    skaffold: str = "2.19"
    helm: str = "4.0"


LITE = ClusterNeeds(cpus=2, memory_gib=6, disk_gib=20)
"""Without Prometheus, Grafana and autoscaling."""

REASONS: Mapping[str, str] = {
    "kind": "older ones have no image of the node that Kubeflow Pipelines is tested on",
    "kubectl": "at most one minor version away from the cluster's 1.36",
    "skaffold": "older ones do not understand Helm 4",
    "helm": "the charts are tested with Helm 4",
}
"""Why the least version of each tool is what it is."""

FORWARDED_PORTS = (3000, 3001, 5050, 8080, 8501)
"""Local ports of skaffold.yaml: predictor, Grafana, MLflow, KFP, dashboard."""


@dataclass(frozen=True)
class ClusterFacts:
    """What was seen; None stands for what could not be asked.

    Attributes:
        docker: Why Docker cannot be used; empty when it can.
        cpus, memory_gib, disk_gib: What Docker may use, and what is free where it keeps its images.
        inotify_instances, inotify_watches: Limits of Linux; None elsewhere.
        versions: Tool -> what it said when asked for its version; None when it is not installed.
        busy_ports: Of FORWARDED_PORTS, those somebody listens on.
        machine: Architecture of Docker's machine, e.g. `x86_64`, `aarch64`.
        kfp_replicas: KFP API servers that answer; None without a cluster of ours.
    """

    docker: str = ""
    cpus: float | None = None
    memory_gib: float | None = None
    disk_gib: float | None = None
    inotify_instances: int | None = None
    inotify_watches: int | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    busy_ports: tuple[int, ...] = ()
    machine: str = ""
    kfp_replicas: int | None = None


def examine_cluster(facts: ClusterFacts, needs: ClusterNeeds) -> tuple[Finding, ...]:
    """Judge every fact; those that could not be asked because Docker is away are left out."""
    findings = [Finding("docker", not facts.docker, facts.docker or "answers", "start Docker, or install it")]
    findings += _amounts(facts, needs)
    for limit, seen, least in (
        ("max_user_instances", facts.inotify_instances, needs.inotify_instances),
        ("max_user_watches", facts.inotify_watches, needs.inotify_watches),
    ):
        if seen is not None:
            findings.append(Finding(
                f"inotify {limit}", seen >= least, str(seen),
                f"{least - seen} too few: sudo sysctl fs.inotify.{limit}={least}",
            ))
    findings += [_tool(name, facts.versions.get(name), getattr(needs, name)) for name in REASONS]
    busy = ", ".join(map(str, facts.busy_ports))
    findings.append(Finding("ports", not busy, f"{busy} in use" if busy else "free", "stop what listens there"))
    if facts.machine in ("aarch64", "arm64"):
        findings.append(Finding(
            "architecture", True, f"{facts.machine}: the ML Metadata server has no image for it, see docs/kubernetes.md"
        ))
    if facts.kfp_replicas is not None:
        findings.append(Finding(
            "Kubeflow Pipelines", facts.kfp_replicas >= 1, f"{facts.kfp_replicas} API servers ready",
            "wait, then `make cluster-status` names what is not ready and why",
        ))
    return tuple(findings)


def _amounts(facts: ClusterFacts, needs: ClusterNeeds) -> list[Finding]:
    findings = []
    for name, seen, least, unit, fix in (
        ("cpus for docker", facts.cpus, needs.cpus, "CPUs", "give Docker more"),
        ("memory for docker", facts.memory_gib, needs.memory_gib, "GiB", "give Docker more"),
        ("disk for docker", facts.disk_gib, needs.disk_gib, "GiB free", "free space, or `docker system prune`"),
    ):
        if seen is not None:
            missing = f"{least - seen:.1f} {unit.split()[0]} of {least:g} missing: {fix}"
            lite = "" if needs == LITE else "; or take the lite profile: `make cluster-up PROFILE=lite`"
            findings.append(Finding(name, seen >= least, f"{seen:.1f} {unit}", missing + lite))
    return findings


def _tool(name: str, said: str | None, least: str) -> Finding:
    fix = f"install {name} {least} or later: {REASONS[name]}"
    if said is None:
        return Finding(name, False, "not installed", fix)
    version = parse_version(said)
    if version is None:
        return Finding(name, False, f"its version cannot be read from {said[:60]!r}", fix)
    return Finding(name, version >= (parse_version(least) or ()), ".".join(map(str, version)), fix)


def parse_version(text: str) -> tuple[int, ...] | None:
    """Numbers of the first thing that looks like a version, e.g. `kind v0.32.0 go1.26` -> (0, 32, 0)."""
    found = re.search(r"(?<![\w.])v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part is not None) if found else None
