"""What a node would do, without containers: pods that were scheduled start, get ready, fail or finish.

No image runs. How a predictor pod fares follows from the version it is pinned to, in the words of the real one; pods
that are not to be restarted succeed; everything else gets ready. Pods being deleted end at once.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kubernetes import client

from bikeshare.adapters.kubernetes_state import ANNOTATION, base_url
from tests.cluster.control_plane import ControlPlane

NODE = "stand-in"
TRACK = "bikeshare.dev/track"
POLL_SECONDS = 0.15


class StandInKubelet:
    """One node of the size the documentation asks for: 4 CPUs, 10 GiB."""

    def __init__(self, plane: ControlPlane) -> None:
        self._core = client.CoreV1Api(plane.api())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="stand-in kubelet", daemon=True)
        self._addresses = 0
        self._states: dict[str, Mapping[str, Any]] = {}
        self.failure: Exception | None = None

    def start(self) -> None:
        """Register the node and begin."""
        room = {"cpu": "4", "memory": "10Gi", "pods": "110", "ephemeral-storage": "25Gi"}
        self._core.create_node({
            "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux"}},
        })
        self._core.patch_node(NODE, {"spec": {"taints": None}})
        self._core.patch_node_status(NODE, {"status": {
            "capacity": room, "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "StandIn", "message": "no containers run"}],
        }})
        self._thread.start()

    def stop(self) -> None:
        """End; raises what went wrong meanwhile."""
        self._stopping.set()
        self._thread.join(30)
        if self.failure is not None:
            raise self.failure

    def inspect(self, url: str) -> Mapping[str, Any] | None:
        """What the predictor of the pod at this URL would answer on `/-/state`."""
        return self._states.get(url)

    def _work(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            try:
                for pod in self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={NODE}").items:
                    self._care_for(pod)
            except client.ApiException as error:
                if error.status not in (404, 409):  # the pod went or moved meanwhile
                    self.failure = error
                    return

    def _care_for(self, pod: Any) -> None:
        name, namespace = pod.metadata.name, pod.metadata.namespace
        if pod.metadata.deletion_timestamp is not None:
            self._core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)
        elif pod.status.phase == "Pending":
            self._addresses += 1
            pod.status.pod_ip = f"10.244.{self._addresses // 250}.{self._addresses % 250 + 1}"
            status, state = outcome(pod)
            url = base_url(pod)
            if url is not None and state is not None:
                self._states[url] = state
            self._core.patch_namespaced_pod_status(name, namespace, {"status": status})


def outcome(pod: Any) -> tuple[dict[str, Any], Mapping[str, Any] | None]:
    """The status of a pod that started, and what its predictor says of itself."""
    if pod.spec.restart_policy == "Never":
        return status_of(pod, phase="Succeeded", state=terminated(0, "Completed")), None
    version = (pod.metadata.annotations or {}).get(ANNOTATION, "")
    track = pod.metadata.labels.get(TRACK)
    kind = version.partition("-")[0]
    if kind == "crash":
        status = status_of(pod, ready=False, state={
            "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"},
        })
        for container in status["containerStatuses"]:
            container["lastState"] = terminated(7, "Error", "Traceback\nImportError: no module named onnxruntime")
        return status, None
    if kind == "unpullable":
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": f"Back-off pulling image {version}"}}
        return status_of(pod, ready=False, state=waiting), None
    problem = PROBLEMS.get(kind, lambda *_: None)(version, track) if track else None
    if track and not version:
        problem = ("no version is pinned", False)
    if problem is not None:
        said, refused = problem
        return status_of(pod, ready=False), {"ready": False, "refused": refused, "problem": said}
    return status_of(pod), None


PROBLEMS: dict[str, Callable[[str, str | None], tuple[str, bool] | None]] = {
    "refuse": lambda version, _: (f"version {version} refuses to serve", True),
    "mute": lambda *_: ("still loading", False),
    "late": lambda version, track: (f"version {version} fails beside others", True) if track == "stable" else None,
}
"""Kind of a version -> what its predictor says instead of getting ready, and whether it gave up."""


def terminated(code: int, reason: str, message: str = "") -> dict[str, Any]:
    """State of a container that ended."""
    now = timestamp()
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "startedAt": now, "finishedAt": now}}


def status_of(
    pod: Any, *, phase: str = "Running", ready: bool = True, state: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A pod status as a kubelet writes it."""
    succeeded = phase == "Succeeded"
    containers = [
        {"name": container.name, "image": container.image, "imageID": container.image, "restartCount": 0,
         "ready": ready and not succeeded, "started": True, "state": state or {"running": {"startedAt": timestamp()}}}
        for container in pod.spec.containers
    ]
    initial = [
        {"name": container.name, "image": container.image, "imageID": container.image, "restartCount": 0,
         "ready": True, "state": terminated(0, "Completed")}
        for container in pod.spec.init_containers or ()
    ]
    takes_traffic = ready and not succeeded
    why = {} if takes_traffic else {"reason": "PodCompleted" if succeeded else "ContainersNotReady",
                                    "message": "containers with unready status"}
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": timestamp()} for kind in ("PodScheduled", "Initialized")
    ] + [
        {"type": kind, "status": str(takes_traffic), "lastTransitionTime": timestamp(), **why}
        for kind in ("ContainersReady", "Ready")
    ]
    return {
        "phase": phase, "podIP": pod.status.pod_ip, "podIPs": [{"ip": pod.status.pod_ip}], "hostIP": "10.0.0.1",
        "startTime": timestamp(), "conditions": conditions, "containerStatuses": containers,
        "initContainerStatuses": initial,
    }


def timestamp() -> str:
    """Now, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
