"""Scripts around the cluster: shell that shellcheck accepts, jobs that are restricted, status that explains."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.conftest import ROOT, Cluster, script, tool

POD: dict[str, Any] = {"metadata": {"namespace": "bikeshare", "name": "p", "labels": {}, "annotations": {}}}


@pytest.mark.parametrize("path", sorted((ROOT / "hack").glob("*.sh")), ids=lambda path: path.name)
def test_shell_scripts_are_clean(path: Path) -> None:
    done = subprocess.run([tool("shellcheck"), str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    assert path.stat().st_mode & 0o111, f"{path.name} is not executable"


def test_a_command_runs_inside_the_cluster_restricted_and_once() -> None:
    made = script("cluster_run").job("run-1", "bikeshare/pipeline:1", ["data", "status", "--json"])
    pod = made["spec"]["template"]["spec"]
    [container] = pod["containers"]

    assert container["command"] == ["python", "-m", "bikeshare", "data", "status", "--json"]
    assert made["spec"]["backoffLimit"] == 0
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/lib/bikeshare"}


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (["--version"], 0, "bikeshare "), (["pipeline", "nonsense"], 1, "No such command 'nonsense'"),
])
def test_its_output_and_its_exit_code_are_the_commands(
    cluster: Cluster, arguments: list[str], code: int, said: str
) -> None:
    cluster.put(
        {"kind": "Namespace", "metadata": {"name": "kubeflow"}},
        {
            "kind": "ConfigMap", "metadata": {"namespace": "kubeflow", "name": "bikeshare"},
            "data": {"BIKESHARE_IMAGE": "bikeshare/pipeline:1"},
        },
        {"kind": "Secret", "metadata": {"namespace": "kubeflow", "name": "bikeshare"}, "data": {}},
    )
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "cluster_run.py"), *arguments], env=cluster.environment,
        capture_output=True, text=True, check=False, timeout=120,
    )

    assert done.returncode == code, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(("status", "expected"), [
    ({"phase": "Running", "containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]}, []),
    ({"phase": "Succeeded"}, []),
    ({"phase": "Failed", "reason": "Evicted"}, ["failed: Evicted"]),
    (
        {"phase": "Pending", "containerStatuses": [{"name": "c", "ready": False, "state": {"waiting": {
            "reason": "ImagePullBackOff", "message": "no such image"}}}]},
        ["c: ImagePullBackOff: no such image"],
    ),
    (
        {"phase": "Running", "containerStatuses": [
            {"name": "c", "ready": False, "restartCount": 3, "state": {"running": {}}}]},
        ["c: runs, not ready, 3 restarts"],
    ),
    (
        {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}]},
        ["not scheduled: Insufficient memory"],
    ),
])
def test_a_pod_that_does_not_serve_says_why(status: dict[str, Any], expected: list[str]) -> None:
    assert list(script("cluster_status").problems({**POD, "status": status})) == expected


@pytest.mark.parametrize(("annotations", "well"), [({}, True), ({"bikeshare.dev/model-version": "3"}, False)])
def test_a_predictor_without_a_model_waits_and_is_no_fault(annotations: dict[str, str], well: bool) -> None:
    status = {"phase": "Running", "containerStatuses": [{"name": "c", "ready": False, "state": {"running": {}}}]}
    metadata = {
        "namespace": "bikeshare", "name": "predictor-1", "labels": {"app.kubernetes.io/component": "predictor"},
        "annotations": annotations,
    }
    workload = {
        "metadata": {"namespace": "bikeshare", "name": "predictor"}, "status": {},
        "spec": {"replicas": 1, "template": {"metadata": {"annotations": annotations}}},
    }
    lines, ok = script("cluster_status").report([workload], [{"metadata": metadata, "status": status}])

    assert ok is well
    assert lines[0].startswith("WAIT bikeshare/predictor")
    assert ("no model yet" in lines[1]) is well
    assert ("model version 3" in lines[0]) is not well


def test_status_reads_every_namespace_and_fails_while_something_is_wrong(cluster: Cluster) -> None:
    pod = {"kind": "Pod", **POD, "status": {"phase": "Failed", "reason": "Evicted"}}
    cluster.put({"kind": "Namespace", "metadata": {"name": "bikeshare"}}, pod)
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "cluster_status.py")], env=cluster.environment, capture_output=True,
        text=True, check=False,
    )

    assert done.returncode == 1
    assert "bikeshare/p: failed: Evicted" in done.stdout
    assert json.dumps(cluster.calls).count(" -n ") == 6
