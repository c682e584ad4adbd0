"""What Deployments and pods say about a roll-out: pure readings of the `kubernetes` client's objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ANNOTATION = "bikeshare.dev/model-version"
"""On a pod template: the version its pods serve. Absent: none was rolled out yet, the pods wait."""

FIELD_MANAGER = "bikeshare-promoter"
"""Signs every write, so that the API server knows which fields belong to the roll-out."""


@dataclass(frozen=True)
class Trouble:
    """Why pods are not ready; `hopeless` when waiting longer cannot help."""

    hopeless: bool
    reason: str


def pinned(deployment: Any) -> str | None:
    """The version in the pod template."""
    return version_of(deployment.spec.template)


def version_of(item: Any) -> str | None:
    """The version a pod or a pod template is pinned to."""
    annotations: Mapping[str, str] = (item.metadata.annotations if item.metadata else None) or {}
    return annotations.get(ANNOTATION) or None


def is_complete(deployment: Any) -> bool:
    """Every wanted pod is of the newest template and available, and no other is left."""
    status, wanted = deployment.status, deployment.spec.replicas
    counts = (status.replicas or 0, status.updated_replicas or 0, status.available_replicas or 0)
    return (status.observed_generation or 0) >= deployment.metadata.generation and counts == (wanted, wanted, wanted)


def progress(deployment: Any) -> str:
    """How far the Deployment is, and what keeps it from making pods at all."""
    status = deployment.status
    counts = (
        f"{status.updated_replicas or 0} of {deployment.spec.replicas} pods are new, "
        f"{status.available_replicas or 0} of {status.replicas or 0} available"
    )
    failures = [found.message for found in status.conditions or () if found.type == "ReplicaFailure"]
    return "; ".join([counts, *failures])


def last_written(deployment: Any) -> datetime | None:
    """When the promoter last pinned the Deployment; None when it never did. The API server dates no change of scale."""
    entries = [entry for entry in deployment.metadata.managed_fields or () if entry.manager == FIELD_MANAGER]
    return max((entry.time for entry in entries if entry.time is not None), default=None)


def is_ready(pod: Any) -> bool:
    """The pod takes traffic."""
    return pod.metadata.deletion_timestamp is None and any(
        found.type == "Ready" and found.status == "True" for found in pod.status.conditions or ()
    )


def base_url(pod: Any) -> str | None:
    """Where the pod's port `http` can be reached inside the cluster; None before it has an address."""
    address = pod.status.pod_ip
    ports = [port for container in pod.spec.containers for port in container.ports or () if port.name == "http"]
    if not address or not ports:
        return None
    return f"http://{f'[{address}]' if ':' in address else address}:{ports[0].container_port}"


def trouble(pod: Any, state: Mapping[str, Any] | None) -> Trouble | None:
    """Why a pod is not ready, from its conditions, its containers, and what the predictor in it says.

    A crash loop is hopeless: the predictor itself waits for a store, a registry or a database that is away, so a
    process that ends has a bug or a broken environment. An image that cannot be pulled may be there a minute later.
    """
    for container in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = container.state.waiting if container.state else None
        if waiting is None or waiting.reason in (None, "ContainerCreating", "PodInitializing"):
            continue
        ended = container.last_state.terminated if container.last_state else None
        last = f"; it ended with exit code {ended.exit_code}: {_short(ended.message)}" if ended else ""
        text = f"{pod.metadata.name}: {container.name} is in {waiting.reason}: {_short(waiting.message)}{last}"
        return Trouble(waiting.reason in ("CrashLoopBackOff", "InvalidImageName"), text)
    if state is not None and state.get("problem"):
        return Trouble(bool(state.get("refused")), f"{pod.metadata.name}: {state['problem']}")
    for found in pod.status.conditions or ():
        if found.type in ("PodScheduled", "Ready") and found.status != "True":
            return Trouble(False, f"{pod.metadata.name}: {found.reason}: {_short(found.message)}")
    return None


def _short(message: str | None) -> str:
    """The end of a message: a traceback says what happened in its last line."""
    text = (message or "").strip()
    return text if len(text) <= 400 else f"...{text[-400:]}"
