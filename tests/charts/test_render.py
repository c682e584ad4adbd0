"""What the charts render: scale, autoscaling, budgets, jobs, MLflow and PostgreSQL."""

from pathlib import Path

import pytest

from tests.charts import manifests as check
from tests.charts.helm import MATRIX, Case, find, matrix, objects, render

VERSION = "bikeshare.dev/model-version"


@pytest.mark.parametrize("case", [case for case in MATRIX if case.chart == "bikeshare"], ids=str)
def test_the_canary_is_installed_without_pods_and_no_version_is_rendered(charts: Path, case: Case) -> None:
    rendered = objects(charts, case)

    assert find(rendered, "Deployment", "predictor-canary")["spec"]["replicas"] == 0
    for name in ("predictor", "predictor-canary"):
        pod = find(rendered, "Deployment", name)["spec"]["template"]
        assert VERSION not in pod["metadata"]["annotations"]
        field = next(e for e in pod["spec"]["containers"][0]["env"] if e["name"] == "BIKESHARE_MODEL_VERSION")
        assert field["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.annotations['{VERSION}']"


@pytest.mark.parametrize(("name", "kinds", "replicas"), [
    ("default", {"HorizontalPodAutoscaler"}, None),
    ("keda", {"ScaledObject"}, None),
    ("lite", set(), 1),
])
def test_one_thing_scales_the_predictor(
    charts: Path, name: str, kinds: set[str], replicas: int | None
) -> None:
    """An autoscaler owns `replicas`; a chart that renders it too would fight it."""
    rendered = objects(charts, next(case for case in MATRIX if str(case) == f"bikeshare-{name}"))

    assert {each["kind"] for each in rendered} & {"HorizontalPodAutoscaler", "ScaledObject"} == kinds
    assert find(rendered, "Deployment", "predictor")["spec"].get("replicas") == replicas
    for each in rendered:
        if each["kind"] in kinds:
            target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "predictor"}
            assert each["spec"]["scaleTargetRef"] == target


def test_services_select_the_tracks_they_promise(charts: Path) -> None:
    rendered = objects(charts, Case("bikeshare", "default"))
    labels = {
        name: find(rendered, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        for name in ("predictor", "predictor-canary")
    }
    selected = {
        service: {
            name for name, each in labels.items()
            if check.selects(find(rendered, "Service", service)["spec"]["selector"], each)
        }
        for service in ("predictor", "predictor-stable", "predictor-canary")
    }

    assert selected == {
        "predictor": {"predictor", "predictor-canary"},
        "predictor-stable": {"predictor"},
        "predictor-canary": {"predictor-canary"},
    }


def test_selectors_do_not_name_what_changes(charts: Path) -> None:
    """They are immutable: a version or chart label in them would make the next upgrade fail."""
    for case in (Case("platform", "default"), Case("bikeshare", "default")):
        for each in objects(charts, case):
            wanted = each.get("spec", {}).get("selector", {})
            if isinstance(wanted, dict):
                keys = set(wanted.get("matchLabels", wanted))
                assert not keys & {"app.kubernetes.io/version", "helm.sh/chart"}, check.title(each)


@pytest.mark.parametrize(("minimum", "present"), [(1, False), (2, True)])
def test_a_budget_exists_only_when_it_can_act(charts: Path, minimum: int, present: bool) -> None:
    case = Case("bikeshare", "budget", sets=(f"autoscaling.minReplicas={minimum}",))

    assert ("PodDisruptionBudget" in {each["kind"] for each in objects(charts, case)}) == present


@pytest.mark.parametrize("name", ["monitor", "retention"])
def test_a_batch_job_cannot_pile_up(charts: Path, name: str) -> None:
    job = find(objects(charts, Case("bikeshare", "default")), "CronJob", name)["spec"]
    inner = job["jobTemplate"]["spec"]

    assert job["concurrencyPolicy"] == "Forbid"
    assert job["timeZone"] == "Etc/UTC"
    assert 0 < job["startingDeadlineSeconds"] < 3600
    assert 0 < inner["activeDeadlineSeconds"] <= 3600
    assert inner["backoffLimit"] <= 3
    assert inner["ttlSecondsAfterFinished"] > 0
    assert inner["template"]["spec"]["restartPolicy"] == "Never"
    fail_fast = inner["podFailurePolicy"]["rules"][0]
    assert (fail_fast["action"], fail_fast["onExitCodes"]["values"]) == ("FailJob", [2])
    assert fail_fast["onExitCodes"]["containerName"] == inner["template"]["spec"]["containers"][0]["name"]


def test_the_commands_are_doors_that_exist(charts: Path, root: Path) -> None:
    from typer.testing import CliRunner

    from bikeshare.cli import app

    rendered = objects(charts, Case("bikeshare", "default"))
    commands = {
        each["metadata"]["name"]: check.containers(pod)[0].get("command", [])
        for each in rendered if (pod := check.pod_template(each))
    }
    assert commands["monitor"] == ["python", "-m", "services.monitor"]
    assert commands["predictor"][:3] == ["python", "-m", "services.predictor"]
    for module in ("services/monitor", "services/predictor", "bikeshare"):
        assert (root / module / "__main__.py").exists()
    assert commands["retention"][:3] == ["python", "-m", "bikeshare"]
    assert CliRunner().invoke(app, [*commands["retention"][3:], "--help"]).exit_code == 0


def test_mlflow_accepts_every_name_of_its_service_with_its_port(charts: Path) -> None:
    rendered = objects(charts, Case("platform", "default"))
    pod = find(rendered, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in pod["env"]}
    hosts = variables["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    port = find(rendered, "Service", "mlflow")["spec"]["ports"][0]["port"]

    assert set(hosts) == {
        f"mlflow:{port}", f"mlflow.bikeshare:{port}", f"mlflow.bikeshare.svc:{port}",
        f"mlflow.bikeshare.svc.cluster.local:{port}", "localhost:*", "127.0.0.1:*",
    }
    tracking = find(objects(charts, Case("bikeshare", "default")), "ConfigMap", "bikeshare")["data"]
    assert tracking["MLFLOW_TRACKING_URI"].removeprefix("http://") in hosts
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"


def test_the_settings_name_services_of_the_platform(charts: Path) -> None:
    services = {
        (each["metadata"]["name"], port["port"])
        for case in (Case("platform", "default"), Case("bikeshare", "default")) for each in objects(charts, case)
        if each["kind"] == "Service" for port in each["spec"]["ports"]
    }
    data = find(objects(charts, Case("bikeshare", "default")), "ConfigMap", "bikeshare")["data"]
    for variable in ("BIKESHARE_S3_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "BIKESHARE_PREDICTOR_URL"):
        host, _, port = data[variable].removeprefix("http://").partition(":")
        assert (host.removesuffix(".bikeshare.svc"), int(port)) in services, variable


def test_external_parts_are_not_installed(charts: Path) -> None:
    rendered = objects(charts, next(case for case in MATRIX if str(case) == "platform-external"))

    assert {each["metadata"]["name"] for each in rendered} == {"mlflow"}
    pod = find(rendered, "Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "MLFLOW_S3_ENDPOINT_URL", "value": "https://s3.example.org"} in pod["env"]
    assert "mlflow.example.org:443" in str(pod["env"])


@matrix
def test_custom_resources_only_where_monitoring_or_keda_are_on(charts: Path, case: Case) -> None:
    found = {
        each["kind"] for each in objects(charts, case)
        if each["apiVersion"].startswith(("monitoring.coreos.com", "keda.sh"))
    }
    expected = {
        "bikeshare-kind": {"ServiceMonitor", "PrometheusRule"}, "bikeshare-prod": {"ServiceMonitor", "PrometheusRule"},
        "bikeshare-keda": {"ServiceMonitor", "PrometheusRule", "ScaledObject"},
    }.get(str(case), set())

    assert found | ({"PrometheusRule"} & expected) == expected


@matrix
def test_every_object_is_in_a_namespace_that_exists(charts: Path, case: Case) -> None:
    cluster_wide = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for each in objects(charts, case):
        expected = {None} if each["kind"] in cluster_wide else {"bikeshare", "kubeflow"}
        assert each["metadata"].get("namespace") in expected, check.title(each)
    assert "cluster.local" not in render(charts, case).replace("mlflow.bikeshare.svc.cluster.local", "")
