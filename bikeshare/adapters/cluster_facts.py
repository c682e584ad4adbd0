"""Ask this machine's Docker, kind, kubectl, skaffold and helm what they are and have."""

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from bikeshare.core.cluster_needs import FORWARDED_PORTS, ClusterFacts

CONTEXT = "kind-bikeshare"
_VERSION = {
    "kind": ("version",), "kubectl": ("version", "--client"), "skaffold": ("version",), "helm": ("version", "--short"),
}


def cluster_facts(inotify: Path = Path("/proc/sys/fs/inotify")) -> ClusterFacts:
    """Look, without changing or starting anything."""
    trouble, docker = _docker()
    memory = docker.get("MemTotal")
    return ClusterFacts(
        docker=trouble,
        cpus=docker.get("NCPU"),
        memory_gib=None if memory is None else memory / 2**30,
        disk_gib=None if trouble else _free_gib(Path(docker.get("DockerRootDir") or "/")),
        inotify_instances=_number(inotify / "max_user_instances"),
        inotify_watches=_number(inotify / "max_user_watches"),
        versions={name: _ask(name, *arguments) for name, arguments in _VERSION.items()},
        busy_ports=tuple(port for port in FORWARDED_PORTS if _busy(port)),
        machine=docker.get("Architecture", ""),
        kfp_replicas=_kfp_replicas(),
    )


def _docker() -> tuple[str, dict[str, Any]]:
    if shutil.which("docker") is None:
        return "not installed", {}
    answer = _ask("docker", "info", "--format", "{{json .}}")
    try:
        document: dict[str, Any] = json.loads(answer or "{}")
    except ValueError:
        document = {}
    if not document.get("MemTotal"):
        return "; ".join(document.get("ServerErrors") or ["does not answer"]), {}
    return "", document


def _kfp_replicas() -> int | None:
    contexts = _ask("kubectl", "config", "get-contexts", "-o", "name") or ""
    if CONTEXT not in contexts.split():
        return None
    answer = _ask(
        "kubectl", "--context", CONTEXT, "--request-timeout=5s", "-n", "kubeflow", "get", "deployment", "ml-pipeline",
        "-o", "jsonpath={.status.availableReplicas}",
    )
    return int(answer) if answer and answer.isdigit() else 0


def _ask(program: str, *arguments: str) -> str | None:
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or done.stderr.strip()


def _free_gib(folder: Path) -> float:
    while not folder.exists():  # Docker's machine is a virtual one: its disk is a file on ours
        folder = folder.parent
    return shutil.disk_usage(folder).free / 2**30


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _busy(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
