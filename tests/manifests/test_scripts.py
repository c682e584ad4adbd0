"""Scripts around the cluster: shell that shellcheck accepts, jobs that are restricted, status that explains."""

import json
import os
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


DAEMON = """\
#!/bin/bash
ls -l /proc/$$/fd > "$STATE/descriptors.new" && mv "$STATE/descriptors.new" "$STATE/descriptors"
trap 'rm "$STATE/descriptors"; exit' TERM
while :; do sleep 0.05; done
"""
CLIENT = """\
#!/bin/sh
case $1 in
  info) test -e "$STATE/descriptors" ;;
  version) echo 20.10 ;;
  *) exit 1 ;;
esac
"""


def test_the_daemon_keeps_nothing_of_whoever_started_it_open(tmp_path: Path) -> None:
    """A lock that the caller holds while it starts the daemon must end with the caller."""
    (tmp_path / "bin").mkdir()
    for name, text in (("dockerd", DAEMON), ("docker", CLIENT), ("id", "#!/bin/sh\necho 0\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "STATE": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def docker(action: str, *descriptors: int) -> str:
        return subprocess.run(
            [str(ROOT / "hack" / "docker.sh"), action], env=environment, pass_fds=descriptors, capture_output=True,
            text=True, check=True, timeout=60,
        ).stdout

    try:
        with (tmp_path / "lock").open("w") as lock:
            assert "started dockerd" in docker("start", lock.fileno())
        opened = (tmp_path / "descriptors").read_text()
        assert "a Docker daemon runs already" in docker("start")
    finally:
        docker("stop")

    assert not (tmp_path / "descriptors").exists()
    assert f"1 -> {tmp_path}/bikeshare-dockerd/dockerd.log" in opened
    assert "/lock" not in opened
    assert "pipe:" not in opened


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
    ({}, "its pod"),
    ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, "its pod"),
    ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                      "message": "Insufficient memory"}]}, "Insufficient memory"),
    ({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}, "ImagePullBackOff"),
])
def test_a_command_that_does_not_start_says_what_it_waits_for(status: dict[str, Any], expected: str) -> None:
    assert script("cluster_run").waiting_for([{**POD, "status": status}]) == expected


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


@pytest.mark.parametrize("status", [
    {"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
    {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]},
    {"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 2, "state": {"running": {}}}]},
])
def test_a_predictor_that_cannot_start_is_a_fault_also_before_the_first_model(status: dict[str, Any]) -> None:
    metadata = {
        "namespace": "bikeshare", "name": "predictor-1", "labels": {"app.kubernetes.io/component": "predictor"},
    }
    lines, ok = script("cluster_status").report([], [{"metadata": metadata, "status": status}])

    assert not ok
    assert "no model yet" not in lines[0]


@pytest.mark.parametrize("failing", [True, False])
def test_a_workload_that_makes_no_pods_says_why(failing: bool) -> None:
    condition = {"type": "ReplicaFailure", "status": str(failing), "message": "violates PodSecurity restricted"}
    workload = {
        "metadata": {"namespace": "bikeshare", "name": "dashboard"}, "status": {"conditions": [condition]},
        "spec": {"replicas": 1, "template": {"metadata": {}}},
    }
    lines, ok = script("cluster_status").report([workload], [])

    assert ok is not failing
    assert any("makes no pods: violates PodSecurity" in line for line in lines) is failing


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
