"""Run one `bikeshare` command inside the cluster: `python3 hack/cluster_run.py data status`.

It runs in the pipeline image with the settings, secrets and rights of a pipeline task, in a Job of its own in namespace
kubeflow. Its output is shown, its exit code is ours. Finished Jobs are deleted by the cluster after an hour.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

NAMESPACE = "kubeflow"
PATIENCE_SECONDS = 600
"""A pod may take this long to start: a first pull of the image over a slow line."""
HOME = "/var/lib/bikeshare"


def job(name: str, image: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The Job: one try, restricted, with a writable home."""
    labels = {
        "app.kubernetes.io/name": "bikeshare", "app.kubernetes.io/component": "training",
        "app.kubernetes.io/part-of": "bikeshare",
    }
    container = {
        "name": "bikeshare", "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "bikeshare", *arguments],
        "envFrom": [{"configMapRef": {"name": "bikeshare"}}, {"secretRef": {"name": "bikeshare"}}],
        "env": [{"name": "BIKESHARE_HOME", "value": HOME}, {"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        },
        "volumeMounts": [{"name": "home", "mountPath": HOME}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        # the right to roll out: `registry promote` and `rollback` need it
        "serviceAccountName": "pipeline-runner", "restartPolicy": "Never", "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "backoffLimit": 0, "ttlSecondsAfterFinished": 3600,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def waiting_for(pods: Sequence[Mapping[str, Any]]) -> str:
    """Why the pod of a Job does not run yet."""
    found = []
    for status in (pod.get("status", {}) for pod in pods):
        found += [each.get("message", each["reason"]) for each in status.get("conditions", [])
                  if each["type"] == "PodScheduled" and each["status"] != "True"]
        waiting = [container.get("state", {}).get("waiting", {}) for container in status.get("containerStatuses", [])]
        found += [f"{each.get('reason')}: {each.get('message', '')}".rstrip(": ") for each in waiting if each]
    return "; ".join(found) or "its pod"


def _kubectl(*arguments: str, text: str | None = None, capture: bool = True) -> str:
    context = os.environ.get("SKAFFOLD_KUBE_CONTEXT")
    command = ["kubectl", *(["--context", context] if context else []), "-n", NAMESPACE, *arguments]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE if capture else None, text=True, check=False)
    if done.returncode and capture:
        raise SystemExit(done.returncode)
    return done.stdout or ""


def main() -> int:
    """Start it, follow it, end like it."""
    if not sys.argv[1:]:
        raise SystemExit(__doc__)
    image = _kubectl("get", "configmap", "bikeshare", "-o", "jsonpath={.data.BIKESHARE_IMAGE}")
    name = f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    _kubectl("apply", "--server-side", "-f", "-", text=json.dumps(job(name, image, sys.argv[1:])))
    began, told = time.monotonic(), ""
    while True:
        status = json.loads(_kubectl("get", "job", name, "-o", "json")).get("status", {})
        if status.get("ready") or status.get("succeeded") or status.get("failed"):
            break
        reason = waiting_for(json.loads(_kubectl("get", "pods", "-l", f"job-name={name}", "-o", "json"))["items"])
        if time.monotonic() - began > PATIENCE_SECONDS:
            _kubectl("delete", "job", name)
            raise SystemExit(f"cluster_run: not started after {PATIENCE_SECONDS} s: {reason}")
        if reason != told and time.monotonic() - began > 10:
            sys.stderr.write(f"waiting: {reason}\n")
            told = reason
        time.sleep(1)
    _kubectl("logs", f"job/{name}", "--follow=true", capture=False)
    while not status.get("succeeded") and not status.get("failed"):
        status = json.loads(_kubectl("get", "job", name, "-o", "json")).get("status", {})
        time.sleep(0.5)
    return 0 if status.get("succeeded") else 1


if __name__ == "__main__":
    sys.exit(main())
