"""The scripts that people and skaffold call around Helm, on the real API server, before any version is promoted."""

import json
from typing import Any

import pytest

from tests.cluster.installation import NAMESPACE, PIPELINES, Helm, Scripts
from tests.cluster.test_permissions import rights
from tests.manifests.test_bootstrap import SECRETS

RULES = {
    ("get", "configmaps", "*"): "driver and launcher read `kfp-launcher` and what tasks name",
    ("list", "configmaps", "*"): "as above",
    ("watch", "configmaps", "*"): "as above",
    ("get", "secrets", "mlpipeline-minio-artifact"): "keys of the artifact store",
    ("get", "pods", "*"): "the driver records which pod ran a task",
    ("list", "pods", "*"): "as above",
    ("watch", "pods", "*"): "as above",
    ("get", "pods/log", "*"): "Argo's sidecar reads logs",
    ("list", "pods/log", "*"): "as above",
    ("watch", "pods/log", "*"): "as above",
    ("get", "workflows", "*"): "the driver reads the run it belongs to",
    ("list", "workflows", "*"): "as above",
    ("watch", "workflows", "*"): "as above",
    ("create", "workflowtaskresults", "*"): "Argo's sidecar reports how a task ended",
    ("patch", "workflowtaskresults", "*"): "as above",
}
"""Every right of a pipeline task in its own namespace, and why."""


def data(helm: Helm) -> dict[str, Any]:
    """Data of all Secrets that bootstrap makes, by namespace and name."""
    listed = helm.plane.kubectl("get", "secrets", "-A", "-l", "app.kubernetes.io/part-of=bikeshare", "-o", "json")
    return {
        f"{item['metadata']['namespace']}/{item['metadata']['name']}": item["data"]
        for item in json.loads(listed.stdout)["items"]
    }


def test_bootstrap_made_the_namespaces_as_the_manifest_says(helm: Helm) -> None:
    found = helm.plane.kubectl("get", "namespaces", "-l", "app.kubernetes.io/part-of=bikeshare", "-o", "json").stdout
    enforced = {
        item["metadata"]["name"]: item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for item in json.loads(found)["items"]
    }

    assert enforced == {"bikeshare": "restricted", "kubeflow": "baseline", "monitoring": "privileged"}


def test_a_second_bootstrap_changes_nothing(helm: Helm, scripts: Scripts) -> None:
    before = data(helm)
    said = scripts("bootstrap.sh").stdout

    assert {name: set(keys) for name, keys in before.items()} == SECRETS
    assert data(helm) == before
    assert "wrote" not in said
    assert "Kubeflow Pipelines 2.17.0: unchanged" in said


def test_a_lost_key_is_made_again_and_the_others_stay(helm: Helm, scripts: Scripts) -> None:
    before = data(helm)
    helm.plane.kubectl("-n", "monitoring", "patch", "secret", "grafana-admin", "--type=json", "--patch",
                       json.dumps([{"op": "remove", "path": "/data/admin-password"}]))
    said = scripts("bootstrap.sh").stdout
    after = data(helm)

    assert "secret monitoring/grafana-admin: wrote admin-password\n" in said
    assert {name for name in before if before[name] != after[name]} == {"monitoring/grafana-admin"}
    assert after["monitoring/grafana-admin"].keys() == before["monitoring/grafana-admin"].keys()


def test_a_task_may_do_in_its_namespace_what_is_listed(helm: Helm) -> None:
    assert rights(helm, f"system:serviceaccount:{PIPELINES}:pipeline-runner", PIPELINES) == set(RULES)


@pytest.mark.parametrize("arguments", [
    ("get", "secret/bikeshare"), ("list", "secrets"), ("create", "pods"), ("delete", "pods"),
    ("create", "pods", "--subresource=exec"), ("create", "workflows"), ("patch", "deployments"), ("create", "jobs"),
])
def test_a_task_may_not(helm: Helm, arguments: tuple[str, ...]) -> None:
    user = f"system:serviceaccount:{PIPELINES}:pipeline-runner"
    answer = helm.plane.kubectl("-n", PIPELINES, "auth", "can-i", *arguments, "--as", user, check=False)
    assert answer.stdout.strip() == "no"


def test_the_pipeline_is_published_once_by_an_admitted_job(helm: Helm, scripts: Scripts) -> None:
    """Its pod only says that it succeeded: the command itself runs in tests/manifests."""
    first = scripts("publish-pipeline.sh", RETRY_PAUSE_SECONDS="1")
    image = helm.plane.kubectl(
        "-n", NAMESPACE, "get", "configmap", "bikeshare", "-o", "jsonpath={.data.BIKESHARE_IMAGE}"
    ).stdout
    version = image.rpartition(":")[2]
    job = json.loads(helm.plane.kubectl("-n", PIPELINES, "get", "job", "publish-pipeline", "-o", "json").stdout)

    assert f"version {version}: published, scheduled '0 30 3 * * *'" in first.stdout
    assert "would violate PodSecurity" not in first.stderr
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert f"version {version}: unchanged" in scripts("publish-pipeline.sh").stdout
    again = scripts("publish-pipeline.sh", CRON="0 0 5 * * *", RETRY_PAUSE_SECONDS="1")
    assert "scheduled '0 0 5 * * *'" in again.stdout


def test_a_command_runs_in_an_admitted_job_with_the_rights_of_a_task(helm: Helm, scripts: Scripts) -> None:
    """Logs would come from a kubelet; the exit code comes from the Job."""
    done = scripts("cluster_run.py", "data", "status")
    jobs = json.loads(helm.plane.kubectl(
        "-n", PIPELINES, "get", "jobs", "-l", "app.kubernetes.io/component=training", "-o", "json"
    ).stdout)["items"]

    assert done.returncode == 0
    assert "would violate PodSecurity" not in done.stderr
    [pod] = [job["spec"]["template"]["spec"] for job in jobs]
    assert pod["serviceAccountName"] == "pipeline-runner"
    assert pod["containers"][0]["command"] == ["python", "-m", "bikeshare", "data", "status"]


def test_status_names_what_runs_and_what_waits(helm: Helm, scripts: Scripts) -> None:
    helm.plane.kubectl("-n", PIPELINES, "wait", "--for=condition=available", "deployment", "--all", "--timeout=60s")
    helm.plane.kubectl("-n", NAMESPACE, "wait", "--for=condition=available", "deployment/mlflow", "--timeout=60s")
    lines = scripts("cluster_status.py").stdout.splitlines()
    status = {line.split()[1]: line.split()[0] for line in lines if not line.startswith("     ")}

    assert status["kubeflow/ml-pipeline"] == status["bikeshare/mlflow"] == status["bikeshare/postgresql"] == "ok"
    assert status["bikeshare/predictor"] == "WAIT"
    assert [line for line in lines if "no model yet: the first pipeline run brings it" in line]


def test_status_fails_where_nothing_is_installed(scripts: Scripts) -> None:
    done = scripts("cluster_status.py", check=False, SKAFFOLD_KUBE_CONTEXT="nowhere")

    assert done.returncode != 0
    assert "is the cluster up?" in done.stderr
