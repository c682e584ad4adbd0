"""Roll-outs through a real API server: the contract of all `Rollouts`, and what only Kubernetes can do to them."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes import client

from bikeshare.adapters.kubernetes_api import Deployments, Moved
from bikeshare.adapters.kubernetes_rollouts import CANARY, STABLE, KubernetesRollouts, Patience
from bikeshare.adapters.kubernetes_state import ANNOTATION, FIELD_MANAGER, pinned
from bikeshare.errors import ConfigurationError, Conflict, RolloutRefused, Unavailable
from tests.cluster.control_plane import ControlPlane, free_ports
from tests.cluster.deployments import predictor
from tests.cluster.stand_in_kubelet import StandInKubelet
from tests.contract.rollouts import RolloutsContract

QUICK = Patience(ready_seconds=30.0, rollout_seconds=30.0, poll_seconds=0.1)
HASTY = replace(QUICK, ready_seconds=2.0, rollout_seconds=2.0)

Make = Callable[..., KubernetesRollouts]


@pytest.fixture
def make(plane: ControlPlane, kubelet: StandInKubelet, namespace: str) -> Make:
    """Roll-outs over two fresh Deployments; keyword arguments replace the defaults."""
    plane.apply(predictor(STABLE, namespace, "stable", 2), predictor(CANARY, namespace, "canary", 0))

    def made(*, connect: Callable[[], client.ApiClient] = plane.api, **more: Any) -> KubernetesRollouts:
        return KubernetesRollouts(
            Deployments(namespace, connect), f"http://{CANARY}.{namespace}:3000", kubelet.inspect,
            **({"patience": QUICK} | more),
        )

    return made


@pytest.fixture
def rollouts(make: Make) -> KubernetesRollouts:
    return make()


@pytest.fixture
def read(plane: ControlPlane, namespace: str) -> Callable[[str], Any]:
    """A Deployment as the API server has it."""
    return Deployments(namespace, plane.api).read


class TestRolloutsOnKubernetes(RolloutsContract):
    """The same contract as the fake's and the supervisor's."""


def test_only_the_annotation_and_the_scale_are_ours(rollouts: KubernetesRollouts, read: Callable[[str], Any]) -> None:
    before = {name: read(name) for name in (STABLE, CANARY)}
    url = rollouts.start_canary("1")
    started = ours(read(CANARY))
    rollouts.promote_canary("1")
    after = {name: read(name) for name in (STABLE, CANARY)}

    assert url.startswith(f"http://{CANARY}.")
    for name in (STABLE, CANARY):
        spec = after[name].spec
        assert pinned(after[name]) == "1"
        spec.template.metadata.annotations = before[name].spec.template.metadata.annotations
        assert spec == before[name].spec
    annotation = {"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
        ".": {}, f"f:{ANNOTATION}": {},
    }}}}}
    assert sorted(started, key=str) == [{"f:spec": {"f:replicas": {}}}, annotation]
    # a scale of zero is a field that is left out, and what is left out has no owner
    assert [ours(after[name]) for name in (STABLE, CANARY)] == [[annotation], [annotation]]


def ours(deployment: Any) -> list[dict[str, Any]]:
    """The fields that the promoter owns."""
    return [entry.fields_v1 for entry in deployment.metadata.managed_fields if entry.manager == FIELD_MANAGER]


def test_unpinned_pods_stay_alive_and_wait_for_the_first_version(
    rollouts: KubernetesRollouts, read: Callable[[str], Any]
) -> None:
    assert read(STABLE).spec.replicas == 2
    assert rollouts.serving_version() is None
    rollouts.start_canary("1")
    assert not read(STABLE).status.ready_replicas
    rollouts.promote_canary("1")

    assert read(STABLE).status.ready_replicas == 2
    assert read(CANARY).spec.replicas == 0


@pytest.mark.parametrize(("version", "reason"), [
    ("crash-1", "CrashLoopBackOff.*exit code 7: (?s:.*)no module named onnxruntime"),
    ("refuse-1", "version refuse-1 refuses to serve"),
])
def test_a_hopeless_canary_is_refused_at_once_and_scaled_to_zero(
    make: Make, read: Callable[[str], Any], version: str, reason: str
) -> None:
    patient = make(patience=replace(QUICK, ready_seconds=600.0))
    with pytest.raises(RolloutRefused, match=reason):
        patient.start_canary(version)

    assert read(CANARY).spec.replicas == 0


@pytest.mark.parametrize(("version", "reason"), [
    ("mute-1", "not ready within 2 s: 1 of 1 pods are new, 0 of 1 available; .*still loading"),
    ("unpullable-1", "not ready within 2 s: .*ImagePullBackOff"),
])
def test_a_canary_that_may_get_ready_is_given_its_time(make: Make, version: str, reason: str) -> None:
    with pytest.raises(RolloutRefused, match=reason):
        make(patience=HASTY).start_canary(version)


def test_pods_that_may_not_be_made_are_explained(make: Make, plane: ControlPlane, namespace: str) -> None:
    plane.apply({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full", "namespace": namespace},
        "spec": {"hard": {"pods": "0"}},
    })
    with pytest.raises(RolloutRefused, match="0 of 1 pods are new.*exceeded quota: full"):
        make(patience=HASTY).start_canary("1")


def test_pods_no_node_has_room_for_are_explained(
    make: Make, plane: ControlPlane, namespace: str
) -> None:
    large = predictor(CANARY, namespace, "canary", 0)
    large["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"memory": "64Gi"}}
    plane.apply(large)
    with pytest.raises(RolloutRefused, match="Unschedulable: .*Insufficient memory"):
        make(patience=HASTY).start_canary("1")


def test_when_stable_pods_fail_the_version_before_is_pinned_again(
    rollouts: KubernetesRollouts, read: Callable[[str], Any]
) -> None:
    rollouts.start_canary("1")
    rollouts.promote_canary("1")
    rollouts.start_canary("late-2")
    with pytest.raises(RolloutRefused, match="late-2 fails beside others"):
        rollouts.promote_canary("late-2")

    assert pinned(read(STABLE)) == "1"
    assert read(STABLE).status.available_replicas == 2
    assert rollouts.serving_version() == "1"


def test_when_the_first_version_fails_the_pods_wait_again(
    rollouts: KubernetesRollouts, read: Callable[[str], Any]
) -> None:
    rollouts.start_canary("late-1")
    with pytest.raises(RolloutRefused, match="late-1 fails beside others"):
        rollouts.promote_canary("late-1")

    assert ANNOTATION not in (read(STABLE).spec.template.metadata.annotations or {})
    assert rollouts.serving_version() is None


def test_a_promoter_that_died_while_traffic_moved_leaves_the_old_version_serving(
    rollouts: KubernetesRollouts, plane: ControlPlane, namespace: str
) -> None:
    rollouts.start_canary("1")
    rollouts.promote_canary("1")
    Deployments(namespace, plane.api).pin(STABLE, "mute-2")

    assert rollouts.serving_version() == "1"
    rollouts.start_canary("3")
    rollouts.promote_canary("3")
    assert rollouts.serving_version() == "3"


def test_an_abandoned_canary_is_taken_over_a_fresh_one_is_not(make: Make, read: Callable[[str], Any]) -> None:
    make().start_canary("1")
    with pytest.raises(Conflict, match="version 1 is already a canary"):
        make(now=lambda: datetime.now(UTC) + timedelta(seconds=3000)).start_canary("2")
    make(now=lambda: datetime.now(UTC) + timedelta(seconds=4000)).start_canary("2")

    assert pinned(read(CANARY)) == "2"


def test_whose_canary_was_taken_away_is_told(make: Make, plane: ControlPlane, namespace: str) -> None:
    deployments = Deployments(namespace, plane.api)

    def once_claimed(version: str, take: Callable[[Any], Any]) -> None:
        """Take the canary away as soon as the version has it, whatever controllers write meanwhile."""
        def work() -> None:
            while True:
                canary = deployments.read(CANARY)
                if pinned(canary) == version and canary.spec.replicas:
                    with suppress(Moved):
                        take(canary)
                        return
                time.sleep(0.1)

        threading.Thread(target=work, daemon=True).start()

    once_claimed("mute-1", lambda _: deployments.pin(CANARY, "2"))
    with pytest.raises(Conflict, match="version 2 was pinned to predictor-canary while mute-1 was awaited"):
        make().start_canary("mute-1")
    once_claimed("mute-3", lambda canary: deployments.scale(CANARY, 0, canary.metadata.resource_version))
    with pytest.raises(Conflict, match="scaled to zero"):
        make(now=lambda: datetime.now(UTC) + timedelta(hours=2)).start_canary("mute-3")


def test_a_write_that_lost_against_a_controller_is_decided_again(
    make: Make, plane: ControlPlane, namespace: str, read: Callable[[str], Any]
) -> None:
    class Contended(Deployments):
        left = 2

        def pin(self, name: str, version: str | None, revision: str | None = None) -> Any:
            if self.left:
                self.left -= 1
                plane.kubectl("-n", namespace, "annotate", "--overwrite", "deployment", name, f"touched={self.left}")
            return super().pin(name, version, revision)

    contended = Contended(namespace, plane.api)
    rollouts = make()
    rollouts._deployments = contended
    rollouts.start_canary("1")
    assert (contended.left, pinned(read(CANARY))) == (0, "1")

    rollouts.abort_canary("1")
    contended.left = 100
    with pytest.raises(Conflict, match="somebody else wrote first"):
        rollouts.start_canary("2")


def test_without_the_chart_the_message_says_what_to_install(plane: ControlPlane) -> None:
    nowhere = KubernetesRollouts(Deployments("nowhere", plane.api), "http://canary", lambda url: None)
    with pytest.raises(ConfigurationError, match="namespace nowhere.*install the chart"):
        nowhere.serving_version()


def test_a_caller_without_the_role_is_told_which_one(make: Make, plane: ControlPlane, namespace: str) -> None:
    somebody = make(connect=lambda: plane.api(impersonate=f"system:serviceaccount:{namespace}:default"))
    with pytest.raises(ConfigurationError, match="403 Forbidden.*cannot get resource.*Role and the policy `promoter`"):
        somebody.start_canary("1")


def test_without_an_api_server_it_is_unavailable(make: Make) -> None:
    def connect() -> client.ApiClient:
        configuration = client.Configuration()
        configuration.host = f"https://127.0.0.1:{free_ports(1)[0]}"
        configuration.retries = False
        return client.ApiClient(configuration)

    with pytest.raises(Unavailable, match="did not answer, to read Deployment predictor"):
        make(connect=connect).serving_version()
