"""What runs on the cluster, and for what does not: why (`make cluster-status`). Exit code 1 while something is wrong.

A predictor without a model is no fault: it waits for the first version, which the first pipeline run brings.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

NAMESPACES = ("bikeshare", "kubeflow", "monitoring")
VERSION = "bikeshare.dev/model-version"


def problems(pod: Mapping[str, Any]) -> Iterator[str]:
    """Why a pod that should serve does not; nothing for one that does or has finished."""
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded":
        return
    if status.get("phase") == "Failed":
        yield f"failed: {status.get('message') or status.get('reason') or 'see its log'}"
        return
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            yield f"not scheduled: {condition.get('message', condition.get('reason', ''))}"
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        state = container.get("state", {})
        if "waiting" in state and state["waiting"].get("reason") != "PodInitializing":
            waiting = state["waiting"]
            yield f"{container['name']}: {waiting.get('reason')}: {waiting.get('message', '')}".rstrip(": ")
        elif "running" in state and not container.get("ready"):
            yield f"{container['name']}: runs, not ready, {container.get('restartCount', 0)} restarts"


def is_waiting_for_a_model(pod: Mapping[str, Any]) -> bool:
    """A predictor that runs well and that no promotion has pinned to a version yet."""
    metadata = pod["metadata"]
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    containers = pod.get("status", {}).get("containerStatuses", [])
    runs = bool(containers) and all(
        "running" in container.get("state", {}) and not container.get("restartCount") for container in containers
    )
    return runs and labels.get("app.kubernetes.io/component") == "predictor" and VERSION not in annotations


def failures(workload: Mapping[str, Any]) -> Iterator[str]:
    """Why a workload cannot even make pods: Pod Security, quota, a missing account."""
    for condition in workload.get("status", {}).get("conditions", []):
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield f"makes no pods: {condition.get('message', condition.get('reason', ''))}"


def report(workloads: list[dict[str, Any]], pods: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """Lines for people, and whether all is well."""
    lines, well = [], True
    for item in sorted(workloads, key=lambda item: (item["metadata"]["namespace"], item["metadata"]["name"])):
        wanted, ready = item["spec"].get("replicas", 1), item.get("status", {}).get("readyReplicas", 0)
        version = item["spec"]["template"]["metadata"].get("annotations", {}).get(VERSION)
        name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
        lines.append(f"{'ok  ' if ready >= wanted else 'WAIT'} {name:<44} {ready}/{wanted}"
                     + (f"  model version {version}" if version else ""))
        for failure in failures(item):
            well = False
            lines.append(f"     {name}: {failure}")
    for pod in pods:
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for problem in problems(pod):
            waits = is_waiting_for_a_model(pod)
            well = well and waits
            lines.append(f"     {name}: {'no model yet: the first pipeline run brings it' if waits else problem}")
    return lines, well


def _items(*arguments: str) -> list[dict[str, Any]]:
    context = os.environ.get("SKAFFOLD_KUBE_CONTEXT")
    command = ["kubectl", *(["--context", context] if context else []), "get", *arguments, "-o", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cluster-status: `{' '.join(command)}` failed: is the cluster up? `make cluster-up`")
    items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return items


def main() -> int:
    """Ask, print, judge."""
    workloads = [item for name in NAMESPACES for item in _items("deployments,statefulsets", "-n", name)]
    pods = [item for name in NAMESPACES for item in _items("pods", "-n", name)]
    lines, well = report(workloads, pods)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
