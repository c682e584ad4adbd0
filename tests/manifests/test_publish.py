"""`hack/publish-pipeline.sh`: the Job it applies really compiles, uploads and schedules, on a fake KFP server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bikeshare.adapters.git import revision
from tests.fakes.kfp_server import KfpServer, serve_kfp
from tests.manifests.conftest import ROOT, Cluster

JOB = "job/kubeflow/publish-pipeline"


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with serve_kfp() as server:
        yield server


@pytest.fixture
def ready(cluster: Cluster, kfp: KfpServer) -> Cluster:
    """A cluster with KFP and the chart's ConfigMaps, image-1 deployed."""
    cluster.put(
        {"kind": "Namespace", "metadata": {"name": "kubeflow"}},
        {"kind": "Deployment", "metadata": {"namespace": "kubeflow", "name": "ml-pipeline"}},
    )
    deploy(cluster, kfp, "bikeshare/pipeline:image-1")
    return cluster


def deploy(cluster: Cluster, kfp: KfpServer, image: str) -> None:
    data = {"BIKESHARE_IMAGE": image, "BIKESHARE_PIPELINES_URL": kfp.url}
    for namespace in ("bikeshare", "kubeflow"):
        cluster.put({"kind": "ConfigMap", "metadata": {"namespace": namespace, "name": "bikeshare"}, "data": data})


def publish(cluster: Cluster, **variables: str) -> str:
    done = cluster.run("publish-pipeline.sh", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def scheduled(kfp: KfpServer) -> tuple[str, str]:
    """Version and times of the one recurring run."""
    [run] = kfp.recurring.values()
    version = kfp.versions[run["pipeline_version_reference"]["pipeline_version_id"]]
    return version["display_name"], run["trigger"]["cron_schedule"]["cron"]


def test_a_version_is_named_after_the_tag_and_scheduled_daily_without_overlap(ready: Cluster, kfp: KfpServer) -> None:
    """And the second time nothing happens: not even a request."""
    output = publish(ready)

    assert "version image-1: published" in output
    assert scheduled(kfp) == ("image-1", "0 30 3 * * *")
    [run] = kfp.recurring.values()
    assert (run["max_concurrency"], run["no_catchup"], run["mode"]) == ("1", True, "ENABLE")
    compiled = ready.folder / "volumes" / "tmp" / "bikeshare" / "training.yaml"
    assert "image: bikeshare/pipeline:image-1" in compiled.read_text()

    before, requests, calls = ready.objects, len(kfp.requests), len(ready.calls)
    output = publish(ready)

    assert "version image-1: unchanged" in output
    assert (ready.objects, len(kfp.requests)) == (before, requests)
    assert {call.split()[2] for call in ready.calls[calls:]} == {"get"}


def test_another_image_or_time_of_day_replaces_the_schedule_and_keeps_old_versions(
    ready: Cluster, kfp: KfpServer
) -> None:
    publish(ready)
    publish(ready, CRON="0 0 5 * * *")
    assert scheduled(kfp) == ("image-1", "0 0 5 * * *")

    deploy(ready, kfp, f"registry.example:5000/bikes/pipeline@sha256:{'ab12' * 16}")
    publish(ready)
    assert scheduled(kfp) == ("ab12" * 16, "0 30 3 * * *")
    assert {"image-1", "ab12" * 16} <= {version["display_name"] for version in kfp.versions.values()}


@pytest.mark.parametrize(("baked", "recorded"), [
    ("", None), ("unknown", None), ("0123abcd", "0123abcd"),
], ids=["none", "unknown", "its own"])
def test_models_are_traced_to_the_images_commit_or_else_to_the_checkouts(
    ready: Cluster, baked: str, recorded: str | None
) -> None:
    """Images that skaffold builds are tagged by their sources and know no commit."""
    (ready.folder / "image.json").write_text(json.dumps({"GIT_REVISION": baked}))
    publish(ready)

    compiled = (ready.folder / "volumes" / "tmp" / "bikeshare" / "training.yaml").read_text()
    executors = next(yaml.safe_load_all(compiled))["deploymentSpec"]["executors"]
    variables = {name: item["container"].get("env", []) for name, item in executors.items()}
    assert variables == dict.fromkeys(executors, [{"name": "GIT_REVISION", "value": recorded or revision()}])


def test_a_refusal_by_the_api_fails_the_script_and_is_tried_again_next_time(ready: Cluster, kfp: KfpServer) -> None:
    kfp.trouble = [("*", "401")]
    done = ready.run("publish-pipeline.sh")

    assert done.returncode == 1
    assert "BackoffLimitExceeded" in done.stderr
    assert "answered 401" in done.stderr
    publish(ready)
    assert scheduled(kfp)[0] == "image-1"


@pytest.mark.parametrize(("image", "problem"), [
    ("bikeshare/pipeline", "needs a tag or a digest"),
    ("bikeshare/pipeline:latest", "moves under its tag"),
    ("bikeshare/pipeline:a&b", "characters"),
    ("", "needs a tag or a digest"),
])
def test_an_image_that_names_no_fixed_version_is_refused(
    ready: Cluster, kfp: KfpServer, image: str, problem: str
) -> None:
    deploy(ready, kfp, image)
    done = ready.run("publish-pipeline.sh")

    assert done.returncode == 2
    assert problem in done.stderr
    assert JOB not in ready.objects


def test_before_the_chart_is_installed_the_script_fails(cluster: Cluster) -> None:
    assert cluster.run("publish-pipeline.sh").returncode != 0


def test_the_job_passes_pod_security_restricted() -> None:
    spec: dict[str, Any] = yaml.safe_load((ROOT / "manifests" / "publish-pipeline.yaml").read_text())["spec"]
    pod = spec["template"]["spec"]
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }
    assert pod["automountServiceAccountToken"] is False
    assert set(container["resources"]) == {"requests", "limits"}
