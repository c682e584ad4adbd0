"""What Deployments and pods say, from objects as the client makes them; the whole is tested on a real API server."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from kubernetes import client

from bikeshare.adapters.kubernetes_api import Deployments, Moved
from bikeshare.adapters.kubernetes_rollouts import KubernetesRollouts
from bikeshare.adapters.kubernetes_state import (
    ANNOTATION,
    FIELD_MANAGER,
    Trouble,
    base_url,
    is_complete,
    is_ready,
    last_written,
    pinned,
    progress,
    trouble,
)
from bikeshare.bootstrap import wire_rollouts
from bikeshare.errors import BikeshareError, ConfigurationError, Unavailable
from bikeshare.settings import Settings


def read(kind: str, document: dict[str, Any]) -> Any:
    """An object as the client reads it from the API server's answer."""
    return client.ApiClient().deserialize(SimpleNamespace(data=json.dumps(document)), kind)


def deployment(*, generation: int = 2, observed: int = 2, wanted: int = 2, **status: Any) -> Any:
    return read("V1Deployment", {
        "metadata": {"name": "predictor", "generation": generation},
        "spec": {
            "replicas": wanted, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"annotations": {ANNOTATION: "3"}}, "spec": {"containers": []}},
        },
        "status": {"observedGeneration": observed, **status},
    })


def pod(*, ip: str = "10.244.0.7", conditions: Any = (), containers: Any = (), **metadata: Any) -> Any:
    return read("V1Pod", {
        "metadata": {"name": "predictor-x", **metadata},
        "spec": {"containers": [
            {"name": "proxy", "ports": [{"name": "admin", "containerPort": 9901}]},
            {"name": "predictor", "ports": [{"name": "http", "containerPort": 3000}]},
        ]},
        "status": {"podIP": ip, "conditions": list(conditions), "containerStatuses": list(containers)},
    })


def container(**state: Any) -> dict[str, Any]:
    return {"name": "predictor", "image": "i", "imageID": "i", "ready": False, "restartCount": 1, **state}


@pytest.mark.parametrize(("changes", "complete"), [
    ({}, True),
    ({"observed": 1}, False),
    ({"replicas": 3}, False),
    ({"updatedReplicas": 1}, False),
    ({"availableReplicas": 1}, False),
    ({"wanted": 3}, False),
    ({"replicas": None, "updatedReplicas": None, "availableReplicas": None}, False),
])
def test_complete_means_that_every_wanted_pod_is_new_and_available(changes: dict[str, Any], complete: bool) -> None:
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    assert is_complete(deployment(**(counts | changes))) is complete


def test_progress_names_what_keeps_pods_from_being_made() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: full"}
    assert progress(deployment(conditions=[quota])) == "0 of 2 pods are new, 0 of 0 available; exceeded quota: full"
    assert progress(deployment(replicas=3, updatedReplicas=1, availableReplicas=2)) == (
        "1 of 2 pods are new, 2 of 3 available"
    )


@pytest.mark.parametrize(("annotations", "version"), [({ANNOTATION: "3"}, "3"), ({ANNOTATION: ""}, None), (None, None)])
def test_an_absent_or_empty_annotation_pins_nothing(annotations: dict[str, str] | None, version: str | None) -> None:
    found = deployment()
    found.spec.template.metadata.annotations = annotations
    assert pinned(found) == version


def test_only_the_promoters_own_writes_count() -> None:
    found = deployment()
    entries = [("helm", 12), (FIELD_MANAGER, 10), (FIELD_MANAGER, 11), ("kube-controller-manager", 13)]
    found.metadata.managed_fields = [
        client.V1ManagedFieldsEntry(manager=manager, time=datetime(2012, 1, 1, hour, tzinfo=UTC))
        for manager, hour in entries
    ]
    found.metadata.managed_fields.append(client.V1ManagedFieldsEntry(manager=FIELD_MANAGER, subresource="scale"))
    assert last_written(found) == datetime(2012, 1, 1, 11, tzinfo=UTC)
    found.metadata.managed_fields = None
    assert last_written(found) is None


@pytest.mark.parametrize(("ip", "url"), [
    ("10.244.0.7", "http://10.244.0.7:3000"), ("fd00::7", "http://[fd00::7]:3000"), ("", None),
])
def test_a_pod_is_asked_on_its_port_http(ip: str, url: str | None) -> None:
    assert base_url(pod(ip=ip)) == url


@pytest.mark.parametrize(("status", "deleted", "ready"), [
    ("True", None, True), ("False", None, False), ("True", "2012-01-01T00:00:00Z", False),
])
def test_a_pod_that_is_being_deleted_takes_no_traffic(status: str, deleted: str | None, ready: bool) -> None:
    assert is_ready(pod(conditions=[{"type": "Ready", "status": status}], deletionTimestamp=deleted)) is ready


CRASHED = container(
    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
    lastState={"terminated": {"exitCode": 7, "message": "x" * 500 + " ImportError: onnxruntime"}},
)


@pytest.mark.parametrize(("found", "state", "hopeless", "text"), [
    (pod(containers=[CRASHED]), None, True, "in CrashLoopBackOff: back-off 10s; it ended with exit code 7: ...x"),
    (pod(containers=[container(state={"waiting": {"reason": "ImagePullBackOff"}})]), None, False, "ImagePullBackOff"),
    (pod(containers=[container(state={"waiting": {"reason": "InvalidImageName"}})]), None, True, "InvalidImageName"),
    (pod(), {"problem": "SHA-256 differs", "refused": True}, True, "predictor-x: SHA-256 differs"),
    (pod(), {"problem": "the store is away", "refused": False}, False, "predictor-x: the store is away"),
    (pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]),
     None, False, "Unschedulable: 0/1 nodes"),
])
def test_trouble_says_why_and_whether_waiting_helps(found: Any, state: Any, hopeless: bool, text: str) -> None:
    told = trouble(found, state)
    assert told is not None
    assert told.hopeless is hopeless
    assert text in told.reason
    assert len(told.reason) < 600


def test_the_last_line_of_a_crash_is_kept() -> None:
    told = trouble(pod(containers=[CRASHED]), None)
    assert told is not None
    assert told.reason.endswith("ImportError: onnxruntime")


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_pod_that_starts_is_no_trouble(reason: str) -> None:
    starting = pod(containers=[container(state={"waiting": {"reason": reason}})])
    assert trouble(starting, None) is None
    assert trouble(starting, {"problem": "", "refused": False}) is None
    assert Trouble(False, "a") != Trouble(True, "a")


@pytest.mark.parametrize(("status", "kind", "text"), [
    (404, ConfigurationError, "install the chart"), (403, ConfigurationError, "the Role and the policy"),
    (422, ConfigurationError, "the Role and the policy"), (409, Moved, "somebody else wrote first"),
    (500, Unavailable, "cannot read Deployment predictor"), (429, Unavailable, "cannot read Deployment predictor"),
])
def test_the_api_servers_errors_in_our_words(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[BikeshareError], text: str
) -> None:
    def answer(self: Any, *arguments: Any, **more: Any) -> Any:
        error = client.ApiException(status=status, reason="Because")
        error.body = json.dumps({"message": "the server's own words"})
        raise error

    monkeypatch.setattr(client.AppsV1Api, "read_namespaced_deployment", answer)
    with pytest.raises(kind, match=text) as caught:
        Deployments("somewhere", client.ApiClient).read("predictor")
    assert "the server's own words" in str(caught.value)
    assert "namespace somewhere" in str(caught.value)


def test_no_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(self: Any, *arguments: Any, **more: Any) -> Any:
        raise urllib3.exceptions.ProtocolError("connection reset")

    monkeypatch.setattr(client.AppsV1Api, "read_namespaced_deployment", answer)
    with pytest.raises(Unavailable, match="did not answer, to read Deployment predictor: connection reset"):
        Deployments("somewhere", client.ApiClient).read("predictor")


def test_the_setting_chooses_kubernetes_and_asks_nothing_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    rollouts = wire_rollouts(Settings(rollout="kubernetes", namespace="elsewhere"))
    assert isinstance(rollouts, KubernetesRollouts)
    with pytest.raises(ConfigurationError, match="neither a ServiceAccount token nor a usable kubeconfig"):
        rollouts.serving_version()
