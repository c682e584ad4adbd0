"""The play's door to a cluster: kubectl, port-forwards, and Jobs made from what is installed."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pandas as pd

from bikeshare.adapters.s3 import S3Store
from bikeshare.steps.landing import land

ROOT = Path(__file__).resolve().parents[2]
APP, PIPELINES = "bikeshare", "kubeflow"


def kubectl(*arguments: str, text: str | None = None) -> str:
    """Run kubectl; an error ends the test with what it said."""
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@contextmanager
def forwarded(service: str, port: int) -> Iterator[str]:
    """Address of a service of our namespace on this machine, made anew each time: pods come and go."""
    process = subprocess.Popen(
        ["kubectl", "-n", APP, "port-forward", f"service/{service}", f":{port}"], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        if found is None:
            raise ConnectionError(f"service/{service} has no pod to forward to")
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def secret(namespace: str, name: str) -> dict[str, str]:
    """Values of a Secret."""
    data = json.loads(kubectl("-n", namespace, "get", "secret", name, "-o", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


class ClusterDoor:
    """A cluster on which `skaffold run` has installed everything."""

    def land(self, frame: pd.DataFrame) -> None:
        """Put the days into the bucket, as whoever delivers data does."""
        keys = {name: value for name, value in secret(APP, "bikeshare").items() if name.startswith("AWS_")}
        with forwarded("minio", 9000) as url, patch.dict(os.environ, {**keys, "AWS_DEFAULT_REGION": "us-east-1"}):
            land(S3Store("bikeshare", endpoint_url=url), frame)

    def command(self, *arguments: str) -> str:
        """Run it in the pipeline image with the rights of a task."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "hack" / "cluster_run.py"), *arguments], capture_output=True, text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look(self) -> dict[str, Any]:
        """A Job from the monitor's CronJob; without the days of rest, which nobody wants to wait for here."""
        name = f"monitor-{int(time.time())}"
        made = json.loads(kubectl(
            "-n", APP, "create", "job", name, "--from=cronjob/monitor", "--dry-run=client", "-o", "json"
        ))
        container = made["spec"]["template"]["spec"]["containers"][0]
        container["env"].append({"name": "BIKESHARE_RETRAINING", "value": json.dumps({"cooldown_days": 0})})
        kubectl("-n", APP, "apply", "--server-side", "-f", "-", text=json.dumps(made))
        kubectl("-n", APP, "wait", "--for=condition=complete", "--timeout=600s", f"job/{name}")
        decision: dict[str, Any] = json.loads(kubectl("-n", APP, "logs", f"job/{name}").strip().splitlines()[-1])
        return decision

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Ask the Service."""
        with forwarded("predictor", 3000) as url:
            answer = httpx.post(f"{url}/predict", json={"instances": rows}, headers=self._key(), timeout=30)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def model_version(self) -> str | None:
        """Version that the Service answers with."""
        try:
            with forwarded("predictor", 3000) as url:
                answer = httpx.get(f"{url}/model", headers=self._key(), timeout=10)
        except (ConnectionError, httpx.TransportError):
            return None
        return answer.json()["model_version"] if answer.status_code == 200 else None

    def _key(self) -> dict[str, str]:
        key = secret(APP, "bikeshare").get("BIKESHARE_API_KEY")
        return {"X-API-Key": key} if key else {}
