"""The whole loop on the cluster that KUBECONFIG points to: install, train, serve, drift, retrain, restore.

Run by hand on one real node with a stand-in for Kubeflow Pipelines (docs/kubernetes.md), never on kind. The same play
passes on one machine, in `tests/integration/test_play.py`. Use a fresh cluster: it lands data, trains and promotes.
"""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.e2e.door import APP, PIPELINES, ROOT, ClusterDoor, kubectl
from tests.e2e.play import Played, play

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """Everything installed with profile E2E_PROFILE (default: lite); the monitor looks only when the play says so."""
    assert os.environ.get("KUBECONFIG"), "set KUBECONFIG to the cluster that this test may change"
    profile = os.environ.get("E2E_PROFILE", "lite")
    subprocess.run(["skaffold", "run", "--profile", profile], cwd=ROOT, check=True)
    suspend = '{{"spec": {{"suspend": {}}}}}'
    kubectl("-n", APP, "patch", "cronjob", "monitor", "-p", suspend.format("true"))
    yield
    kubectl("-n", APP, "patch", "cronjob", "monitor", "-p", suspend.format("false"))


@pytest.fixture(scope="module")
def played(installed: None, history: pd.DataFrame) -> Played:
    return play(ClusterDoor(), history, datetime.now(UTC).replace(tzinfo=None))


def test_the_pipeline_is_published_and_scheduled(installed: None) -> None:
    status = kubectl("-n", PIPELINES, "get", "job", "publish-pipeline", "-o", "jsonpath={.status.succeeded}")
    assert status == "1"


def test_installing_again_changes_no_password(installed: None) -> None:
    before = kubectl("-n", APP, "get", "secrets", "-o", "jsonpath={.items[*].data}")
    subprocess.run(["sh", "hack/bootstrap.sh"], cwd=ROOT, check=True)
    assert kubectl("-n", APP, "get", "secrets", "-o", "jsonpath={.items[*].data}") == before


def test_a_first_model_serves(played: Played) -> None:
    assert played.first is not None


def test_drift_starts_a_run_that_brings_a_new_champion(played: Played) -> None:
    assert played.decisions[-1]["action"] == "retrain", played.decisions
    assert played.decisions[-1]["trigger"] == "drift"
    assert played.run["outcome"]["result"] == "promoted", played.run
    assert played.second == played.run["outcome"]["version"] != played.first


def test_the_canary_is_gone_and_the_stable_predictor_is_pinned(played: Played) -> None:
    replicas = kubectl("-n", APP, "get", "deployment", "predictor-canary", "-o", "jsonpath={.spec.replicas}")
    pinned = kubectl(
        "-n", APP, "get", "deployment", "predictor", "-o",
        r"jsonpath={.spec.template.metadata.annotations.bikeshare\.dev/model-version}",
    )
    assert replicas == "0"
    assert pinned == played.restored


def test_the_version_before_is_restored_with_one_command(played: Played) -> None:
    assert played.restored == played.first


def test_an_upgrade_keeps_the_promoted_version(played: Played) -> None:
    subprocess.run(["skaffold", "run", "--profile", os.environ.get("E2E_PROFILE", "lite")], cwd=ROOT, check=True)
    assert ClusterDoor().model_version() == played.restored
