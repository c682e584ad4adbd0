"""What Helm really installs: admission, scheduling, controllers, roll-outs, and that upgrades undo none of it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from bikeshare.adapters.kubernetes_api import Deployments
from bikeshare.adapters.kubernetes_rollouts import CANARY, STABLE, KubernetesRollouts, Patience
from bikeshare.adapters.kubernetes_state import ANNOTATION, FIELD_MANAGER, pinned
from bikeshare.errors import RolloutRefused
from tests.charts.helm import Case, matrix
from tests.cluster.installation import NAMESPACE, PIPELINES, PROMOTERS, Helm, documents
from tests.cluster.stand_in_kubelet import StandInKubelet
from tests.custom_resources import KINDS, schema

QUICK = Patience(ready_seconds=60.0, rollout_seconds=60.0, poll_seconds=0.1)

Read = Callable[[str], Any]


@pytest.fixture
def read(helm: Helm) -> Read:
    return Deployments(NAMESPACE, helm.plane.api).read


@pytest.fixture
def rollouts(helm: Helm, kubelet: StandInKubelet) -> KubernetesRollouts:
    """Roll-outs with the rights of a pipeline's pod, nothing more."""
    deployments = Deployments(NAMESPACE, lambda: helm.plane.api(impersonate=PROMOTERS[0]))
    return KubernetesRollouts(deployments, f"http://{CANARY}.{NAMESPACE}:3000", kubelet.inspect, patience=QUICK)


def promote(rollouts: KubernetesRollouts, version: str) -> None:
    rollouts.start_canary(version)
    rollouts.promote_canary(version)


def get(helm: Helm, *arguments: str, namespace: str = NAMESPACE) -> Any:
    return json.loads(helm.plane.kubectl("-n", namespace, "get", *arguments, "-o", "json").stdout)


def wait_until(done: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.2)
    return found


def test_everything_is_admitted_and_fits_on_the_node_the_documentation_asks_for(helm: Helm) -> None:
    for chart in ("platform", "bikeshare"):
        said = helm("get", "manifest", chart, "--namespace", NAMESPACE).stdout
        warned = helm.plane.kubectl("apply", "--dry-run=server", "--server-side", "--force-conflicts", "-f", "-",
                                    stdin=said).stderr
        assert "would violate PodSecurity" not in warned
    wait_until(lambda: all(pod["spec"].get("nodeName") for pod in get(helm, "pods")["items"]), "a node for every pod")
    names = {f"{item['kind']}/{item['metadata']['name']}" for item in get(helm, "deployments,statefulsets")["items"]}
    assert names == {
        "Deployment/predictor", "Deployment/predictor-canary", "Deployment/dashboard", "Deployment/mlflow",
        "StatefulSet/minio", "StatefulSet/postgresql",
    }


@matrix
def test_every_combination_of_values_is_admitted(helm: Helm, namespace: str, case: Case) -> None:
    """In a namespace of its own: what is installed differs in fields that nobody may change later."""
    folder = helm.charts / case.chart
    values = [word for file in case.files for word in ("--values", str(folder / file))]
    sets = [word for pair in case.sets for word in ("--set", pair)]
    rendered = documents(helm("template", case.chart, str(folder), "--namespace", namespace, *values, *sets).stdout)
    # the pod of `helm test` is refused before its ServiceAccount exists; its own test is below
    installed = [each for each in rendered if each["kind"] != "Pod"]
    answer = helm.plane.kubectl(
        "apply", "--dry-run=server", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-",
        stdin=yaml.safe_dump_all(installed),
    )

    assert answer.stdout.count("serverside-applied") == len(installed) > 3
    assert "would violate PodSecurity" not in answer.stderr


def test_before_the_first_roll_out_the_predictor_waits_and_there_is_no_canary(helm: Helm, read: Read) -> None:
    stable = read(STABLE)
    if pinned(stable) is not None:
        pytest.fail("this test needs the state after the installation: it must run before any that promotes")
    probe = stable.spec.template.spec.containers[0].startup_probe

    assert read(CANARY).spec.replicas == 0
    assert not stable.status.ready_replicas
    assert probe.http_get.path == "/livez"  # a probe of readiness would restart a pod that has no model yet


def test_a_version_that_refuses_leaves_the_installation_waiting(rollouts: KubernetesRollouts, read: Read) -> None:
    with pytest.raises(RolloutRefused, match="refuse-0 refuses to serve"):
        rollouts.start_canary("refuse-0")

    assert read(CANARY).spec.replicas == 0
    assert rollouts.serving_version() is None


def test_a_promoted_version_survives_an_upgrade_that_rolls_the_pods(
    helm: Helm, rollouts: KubernetesRollouts, read: Read
) -> None:
    promote(rollouts, "1")
    helm.upgrade("bikeshare", "--set", "predictor.image.tag=another", "--set", "settings.refreshSeconds=61")

    stable = wait_until(lambda: _rolled(read(STABLE)), "the upgraded predictor")
    assert stable.spec.template.spec.containers[0].image == "bikeshare/predictor:another"
    assert (pinned(stable), read(CANARY).spec.replicas, rollouts.serving_version()) == ("1", 0, "1")
    owners = {entry.manager for entry in stable.metadata.managed_fields if ANNOTATION in str(entry.fields_v1)}
    assert owners == {FIELD_MANAGER}

    promote(rollouts, "2")
    helm.upgrade("bikeshare")
    assert (pinned(read(STABLE)), read(CANARY).spec.replicas) == ("2", 0)


def test_an_upgrade_in_the_middle_of_a_roll_out_keeps_the_canary(
    helm: Helm, rollouts: KubernetesRollouts, read: Read
) -> None:
    promote(rollouts, "3")
    rollouts.start_canary("4")
    helm.upgrade("bikeshare", "--set", "settings.refreshSeconds=62")

    assert (pinned(read(CANARY)), read(CANARY).spec.replicas) == ("4", 1)
    rollouts.promote_canary("4")
    assert (pinned(read(STABLE)), read(CANARY).spec.replicas) == ("4", 0)
    helm.upgrade("bikeshare")
    assert (pinned(read(STABLE)), read(CANARY).spec.replicas) == ("4", 0)


def test_helm_rollback_returns_the_chart_and_not_the_model(
    helm: Helm, rollouts: KubernetesRollouts, read: Read
) -> None:
    promote(rollouts, "5")
    helm("rollback", "bikeshare", "1", "--namespace", NAMESPACE)

    assert (pinned(read(STABLE)), read(CANARY).spec.replicas) == ("5", 0)
    helm.upgrade("bikeshare")


def test_upgrades_keep_the_number_of_pods_that_the_autoscaler_chose(helm: Helm, read: Read) -> None:
    helm.plane.kubectl("-n", NAMESPACE, "scale", "deployment", STABLE, "--replicas=2")
    helm.upgrade("bikeshare", "--set", "settings.refreshSeconds=63")

    assert read(STABLE).spec.replicas == 2
    helm.upgrade("bikeshare")


def test_a_monitor_that_somebody_paused_stays_paused_in_an_upgrade(helm: Helm) -> None:
    def paused(*values: str) -> bool:
        helm.upgrade("bikeshare", *values)
        return bool(get(helm, "cronjob", "monitor")["spec"]["suspend"])

    def patch(suspend: str) -> None:
        document = f'{{"spec": {{"suspend": {suspend}}}}}'
        helm.plane.kubectl("-n", NAMESPACE, "patch", "cronjob", "monitor", "--patch", document)

    assert paused("--set", "monitor.suspend=true")
    assert not paused()
    patch("true")
    assert paused("--set", "settings.refreshSeconds=64")
    patch("false")
    assert not paused()


def test_the_autoscaler_finds_its_deployment(helm: Helm) -> None:
    def scalable() -> Any:
        conditions = get(helm, "hpa", "predictor")["status"].get("conditions", [])
        return [found for found in conditions if found["type"] == "AbleToScale" and found["status"] == "True"]

    wait_until(scalable, "AbleToScale")
    selector = get(helm, "hpa", "predictor")["spec"]["scaleTargetRef"]
    assert selector == {"apiVersion": "apps/v1", "kind": "Deployment", "name": STABLE}


def test_keda_may_take_over_without_touching_what_serves(
    helm: Helm, rollouts: KubernetesRollouts, read: Read
) -> None:
    promote(rollouts, "6")
    replicas = read(STABLE).spec.replicas
    helm.upgrade("bikeshare", "--set", "autoscaling.mode=keda")

    assert [item["kind"] for item in get(helm, "hpa,scaledobjects")["items"]] == ["ScaledObject"]
    assert (pinned(read(STABLE)), read(STABLE).spec.replicas) == ("6", replicas)
    helm.upgrade("bikeshare")


@pytest.mark.parametrize("kind", list(KINDS))
def test_custom_resources_have_no_field_the_operator_does_not_know(helm: Helm, kind: str) -> None:
    assert schema(kind)
    manifest = documents(helm.template("bikeshare", "--set", "autoscaling.mode=keda").stdout)
    chosen = [item for item in manifest if item["kind"] == kind]
    assert chosen
    for item in chosen:
        arguments = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
        helm.plane.kubectl(*arguments, stdin=json.dumps(item))
        item["spec"]["misspelt"] = True
        refused = helm.plane.kubectl(*arguments, stdin=json.dumps(item), check=False)
        assert "misspelt" in refused.stderr


def test_pod_security_refuses_a_privileged_pod(helm: Helm) -> None:
    arguments = ("-n", NAMESPACE, "run", "intruder", "--image=busybox", "--restart=Never", "--privileged")
    refused = helm.plane.kubectl(*arguments, check=False)
    assert 'violates PodSecurity "restricted' in refused.stderr
    assert "privileged" in refused.stderr


@pytest.mark.parametrize(("name", "deadline"), [("monitor", 1800), ("retention", 3600)])
def test_a_cron_job_makes_a_job_that_makes_a_pod(helm: Helm, name: str, deadline: int) -> None:
    cron = get(helm, "cronjob", name)
    spec = cron["spec"]
    assert (spec["concurrencyPolicy"], spec["jobTemplate"]["spec"]["backoffLimit"]) == ("Forbid", 2)
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == deadline
    helm.plane.apply({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": f"{name}-now", "namespace": NAMESPACE},
        "spec": {**spec, "schedule": "* * * * *"},
    })
    try:
        job = wait_until(lambda: _owned(get(helm, "jobs")["items"], f"{name}-now"), "a Job", 100)
        pod = wait_until(lambda: _owned(get(helm, "pods")["items"], job["metadata"]["name"]), "its Pod")
        wait_until(lambda: get(helm, "job", job["metadata"]["name"])["status"].get("succeeded"), "its end")
    finally:
        helm.plane.kubectl("-n", NAMESPACE, "delete", "cronjob", f"{name}-now")

    assert pod["spec"]["serviceAccountName"] == "monitor"
    assert ("bikeshare.dev/kfp-client" in pod["metadata"]["labels"]) == (name == "monitor")


@pytest.mark.parametrize("component", ["predictor", "dashboard", "mlflow", "minio", "postgresql"])
def test_no_pod_holds_a_token_of_the_api_server(helm: Helm, component: str) -> None:
    pods = get(helm, "pods", "-l", f"app.kubernetes.io/component={component}")["items"]
    assert pods
    for pod in pods:
        assert [volume for volume in pod["spec"].get("volumes", []) if "projected" in volume] == []


def test_the_test_of_the_release_is_admitted(helm: Helm) -> None:
    assert "Succeeded" in helm("test", "bikeshare", "--namespace", NAMESPACE, "--timeout", "60s").stdout


def test_both_namespaces_get_the_same_settings(helm: Helm) -> None:
    ours = get(helm, "configmap", "bikeshare")["data"]
    theirs = get(helm, "configmap", "bikeshare", namespace=PIPELINES)["data"]

    assert ours["BIKESHARE_ROLLOUT"] == "kubernetes"
    assert ours == theirs


def _rolled(deployment: Any) -> Any:
    status = deployment.status
    done = status.observed_generation >= deployment.metadata.generation and status.replicas == status.available_replicas
    return deployment if done and status.updated_replicas == status.replicas else None


def _owned(items: list[dict[str, Any]], owner: str) -> Any:
    def owners(item: dict[str, Any]) -> list[str]:
        return [reference["name"] for reference in item["metadata"].get("ownerReferences", [])]

    return next((item for item in items if owner in owners(item)), None)
