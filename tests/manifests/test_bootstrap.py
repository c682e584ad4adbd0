"""`hack/bootstrap.sh` on a cluster that keeps state: complete after one run, unchanged by the next."""

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.manifests.conftest import ROOT, Cluster, script

SECRETS = {
    "bikeshare/bikeshare": {"BIKESHARE_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "bikeshare/postgresql": {"postgres-password", "bikeshare-password", "mlflow-password"},
    "bikeshare/minio": {
        "root-user", "root-password", "bikeshare-access-key", "bikeshare-secret-key", "mlflow-access-key",
        "mlflow-secret-key", "pipelines-access-key", "pipelines-secret-key",
    },
    "bikeshare/mlflow": {"database-uri", "access-key", "secret-key"},
    "kubeflow/bikeshare": {"BIKESHARE_DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    "kubeflow/mlpipeline-minio-artifact": {"accesskey", "secretkey"},
    "monitoring/grafana-admin": {"admin-user", "admin-password"},
}
"""What charts, KFP and Grafana refer to."""


@pytest.fixture(scope="module")
def make_secrets() -> ModuleType:
    return script("make_secrets")


def passwords() -> Iterator[str]:
    return (f"generated-{number}" for number in itertools.count())


def secrets_of(cluster: Cluster) -> dict[str, dict[str, str]]:
    return {
        key.removeprefix("secret/"): {
            name: base64.b64decode(value).decode() for name, value in item["data"].items()
        }
        for key, item in cluster.objects.items() if key.startswith("secret/")
    }


def bootstrap(cluster: Cluster, **variables: str) -> str:
    done = cluster.run("bootstrap.sh", **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_run_makes_namespaces_secrets_and_kfp(bootstrapped: Cluster) -> None:
    cluster = bootstrapped
    objects = cluster.objects
    assert {"namespace//bikeshare", "namespace//kubeflow", "namespace//monitoring"} <= set(objects)
    assert {name: set(data) for name, data in secrets_of(cluster).items()} == SECRETS
    assert objects["deployment/kubeflow/ml-pipeline"]["kind"] == "Deployment"
    assert "secret/kubeflow/mlpipeline-minio-artifact" in objects
    applied = [call for call in cluster.calls if call.startswith("apply")]
    assert "manifests/namespaces.yaml" in applied[0]


def test_a_namespace_that_is_somebody_elses_keeps_its_pod_security(cluster: Cluster) -> None:
    theirs = {"kind": "Namespace", "metadata": {"name": "monitoring", "labels": {
        "pod-security.kubernetes.io/enforce": "restricted",
    }}}
    cluster.put(theirs)
    output = bootstrap(cluster)

    assert "namespace monitoring exists and is not ours: left as it is" in output
    assert cluster.objects["namespace//monitoring"] == theirs
    assert {"namespace//bikeshare", "namespace//kubeflow"} <= set(cluster.objects)


def test_definitions_are_established_before_what_they_define(bootstrapped: Cluster) -> None:
    cluster = bootstrapped
    order = [call.split()[0] for call in cluster.calls if "crds-" in call or "stack-" in call or "wait" in call]
    assert order == ["apply", "wait", "apply"]


def test_a_second_run_changes_nothing_and_builds_nothing(bootstrapped: Cluster) -> None:
    cluster, first = bootstrapped, (bootstrapped.folder.parent / "output").read_text()
    before, calls = cluster.objects, len(cluster.calls)
    second = bootstrap(cluster)

    assert cluster.objects == before
    assert "wrote" in first
    assert "wrote" not in second
    assert [call for call in cluster.calls[calls:] if call.startswith(("kustomize", "wait"))] == []


def test_another_overlay_is_applied_without_new_passwords(bootstrapped: Cluster) -> None:
    cluster = bootstrapped
    known = secrets_of(cluster)
    metadata = {"namespace": "kubeflow", "name": "kfp-applied"}
    cluster.put({"kind": "ConfigMap", "metadata": metadata, "data": {"overlay": "another"}})
    output = bootstrap(cluster)

    assert "applied" in output
    assert secrets_of(cluster) == known
    assert len([call for call in cluster.calls if call.startswith("kustomize")]) == 2  # both parts, from the cache


def test_passwords_of_your_own_stay_and_are_what_the_rest_is_derived_from(cluster: Cluster) -> None:
    mine = {"postgres-password": "mine", "bikeshare-password": "also-mine"}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in mine.items()}
    cluster.put({"kind": "Secret", "metadata": {"namespace": "bikeshare", "name": "postgresql"}, "data": encoded})
    bootstrap(cluster)

    made = secrets_of(cluster)
    assert made["bikeshare/postgresql"] | mine == made["bikeshare/postgresql"]
    assert len(made["bikeshare/postgresql"]["mlflow-password"]) >= 32
    assert ":also-mine@postgresql.bikeshare:5432/bikeshare" in made["bikeshare/bikeshare"]["BIKESHARE_DATABASE_URL"]


def test_every_password_is_its_own(bootstrapped: Cluster) -> None:
    cluster = bootstrapped
    made = secrets_of(cluster)
    generated = [
        value for name in ("bikeshare/postgresql", "bikeshare/minio", "monitoring/grafana-admin")
        for key, value in made[name].items() if key.endswith(("password", "secret-key"))
    ]
    assert len(generated) == len(set(generated)) == 8


def test_nothing_secret_is_printed_or_passed_as_an_argument(bootstrapped: Cluster) -> None:
    said = (bootstrapped.folder.parent / "output").read_text() + "\n".join(bootstrapped.calls)
    for name, data in secrets_of(bootstrapped).items():
        for key, value in data.items():
            assert len(value) < 12 or value not in said, f"{name} {key}"


@pytest.mark.parametrize("times", [1, 2])
def test_a_fetch_that_fails_is_tried_again(cluster: Cluster, times: int) -> None:
    cluster.fail("kustomize", times)

    assert "Kubeflow Pipelines 2.17.0: applied" in bootstrap(cluster)


def test_a_fetch_that_keeps_failing_ends_the_script_and_leaves_no_marker(cluster: Cluster) -> None:
    cluster.fail("kustomize", 3)
    done = cluster.run("bootstrap.sh")

    assert done.returncode != 0
    assert "attempt 3 of 3 failed" in done.stderr
    assert "configmap/kubeflow/kfp-applied" not in cluster.objects
    assert bootstrap(cluster)


def test_a_base_that_no_longer_fits_is_not_applied(bootstrapped: Cluster, tmp_path: Path) -> None:
    cluster = bootstrapped
    stack = next((tmp_path / "cache").glob("stack-*.yaml"))
    stack.write_text(stack.read_text().replace("externalName: minio", "externalName: seaweedfs"))
    cluster.put({"kind": "ConfigMap", "metadata": {"namespace": "kubeflow", "name": "kfp-applied"}, "data": {}})
    done = cluster.run("bootstrap.sh")

    assert done.returncode != 0
    assert "lacks 'externalName: minio.bikeshare.svc.cluster.local'" in done.stderr


def test_kfp_of_your_own_is_left_alone(cluster: Cluster) -> None:
    bootstrap(cluster, KFP="external")

    assert "deployment/kubeflow/ml-pipeline" not in cluster.objects
    assert set(secrets_of(cluster)) == set(SECRETS)


def test_a_misspelt_choice_is_refused(cluster: Cluster) -> None:
    done = cluster.run("bootstrap.sh", KFP="extern")

    assert done.returncode == 2
    assert "'extern'" in done.stderr


def test_the_context_that_skaffold_deploys_to_is_used_for_every_call(cluster: Cluster) -> None:
    bootstrap(cluster, SKAFFOLD_KUBE_CONTEXT="kind-bikeshare")

    assert {call.split()[:2] == ["--context", "kind-bikeshare"] for call in cluster.calls} == {True}


def test_slack_and_api_key_come_from_the_environment_and_reach_both_namespaces(bootstrapped: Cluster) -> None:
    cluster = bootstrapped
    bootstrap(cluster, SLACK_WEBHOOK_URL="https://hooks.example.org/1", BIKESHARE_API_KEY="k")

    made = secrets_of(cluster)
    assert made["bikeshare/bikeshare"]["SLACK_WEBHOOK_URL"] == "https://hooks.example.org/1"
    assert made["bikeshare/bikeshare"] == made["kubeflow/bikeshare"]
    bootstrap(cluster)
    assert secrets_of(cluster) == made


def test_keys_are_completed_and_the_copy_follows(make_secrets: ModuleType) -> None:
    existing: dict[tuple[str, str], dict[str, str]] = {
        ("bikeshare", "bikeshare"): {"BIKESHARE_DATABASE_URL": "postgresql+psycopg://elsewhere/db"},
        ("kubeflow", "bikeshare"): {"BIKESHARE_DATABASE_URL": "old"},
        ("kubeflow", "mlpipeline-minio-artifact"): {"accesskey": "theirs", "secretkey": "theirs-too"},
    }
    made = make_secrets.wanted(existing, {"UNRELATED": "x", "SLACK_BOT_TOKEN": ""}, passwords().__next__)

    assert made["bikeshare", "bikeshare"]["BIKESHARE_DATABASE_URL"] == "postgresql+psycopg://elsewhere/db"
    assert made["kubeflow", "bikeshare"] == made["bikeshare", "bikeshare"]
    assert made["kubeflow", "mlpipeline-minio-artifact"] == existing["kubeflow", "mlpipeline-minio-artifact"]
    assert made["bikeshare", "mlflow"]["access-key"] == made["bikeshare", "minio"]["mlflow-access-key"]
    assert not {"UNRELATED", "SLACK_BOT_TOKEN"} & set(made["bikeshare", "bikeshare"])


def test_task_pods_find_their_secret_keys(make_secrets: ModuleType) -> None:
    from components._runtime import SECRET
    from components._runtime import SECRETS as READ

    possible = SECRETS["kubeflow/bikeshare"] | set(make_secrets.FROM_ENVIRONMENT)
    assert SECRET == "bikeshare"
    assert set(READ) == possible


def test_every_secret_of_our_manifests_is_made(built: Any) -> None:
    named = {
        reference["name"] for item in built["stack"]
        for reference in _find(item, "secretKeyRef")
    }
    text = (ROOT / "manifests" / "kfp" / "stack" / "kustomization.yaml").read_text()
    named |= set(re.findall(r"resources: \[secrets\], resourceNames: \[([a-z-]+)\]", text))
    assert named == {"mlpipeline-minio-artifact"}
    assert "kubeflow/mlpipeline-minio-artifact" in SECRETS


def test_no_secret_is_kept_in_the_repository() -> None:
    for path in (ROOT / "manifests").rglob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            assert document["kind"] != "Secret", path


def _find(item: Any, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(item, dict):
        for name, value in item.items():
            if name == key:
                yield value
            yield from _find(value, key)
    elif isinstance(item, list):
        for value in item:
            yield from _find(value, key)
