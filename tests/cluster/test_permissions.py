"""Who may do what: RBAC as each ServiceAccount, then the admission policy, asked of the real API server."""

import json
import re
from typing import Any

import pytest

from tests.cluster.installation import NAMESPACE, PIPELINES, PROMOTERS, Helm

VERSION = "bikeshare.dev/model-version"


def rights(helm: Helm, user: str, namespace: str) -> set[tuple[str, str, str]]:
    """(verb, resource, name) of everything the user may do in a namespace beyond what every user may."""
    def listed(who: str) -> set[tuple[str, str, str]]:
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace},
        }
        answer = helm.plane.kubectl(
            # who may do nothing may not read the schemas either that kubectl would check with
            "create", "--validate=ignore", "--as", who, "-f", "-", "-o", "json", stdin=json.dumps(review),
        )
        return {
            (verb, resource, name)
            for rule in json.loads(answer.stdout)["status"]["resourceRules"]
            for verb in rule["verbs"] for resource in rule["resources"] for name in rule.get("resourceNames") or ["*"]
        }

    return listed(user) - listed("system:serviceaccount:default:nobody-in-particular")


@pytest.mark.parametrize("account", ["predictor", "monitor", "dashboard", "mlflow", "minio", "postgresql"])
@pytest.mark.parametrize("namespace", [NAMESPACE, PIPELINES, "kube-system"])
def test_what_serves_and_watches_may_do_nothing(helm: Helm, account: str, namespace: str) -> None:
    helm.plane.kubectl("-n", NAMESPACE, "get", "serviceaccount", account)
    assert rights(helm, f"system:serviceaccount:{NAMESPACE}:{account}", namespace) == set()


@pytest.mark.parametrize("user", PROMOTERS)
def test_the_promoter_may_do_two_things_and_look(helm: Helm, user: str) -> None:
    assert rights(helm, user, NAMESPACE) == {
        ("get", "deployments", "predictor"), ("patch", "deployments", "predictor"),
        ("get", "deployments", "predictor-canary"), ("patch", "deployments", "predictor-canary"),
        ("get", "deployments/scale", "predictor-canary"), ("patch", "deployments/scale", "predictor-canary"),
        ("list", "pods", "*"),
    }
    assert rights(helm, user, "kube-system") == set()


@pytest.mark.parametrize("arguments", [
    ("create", "deployments"), ("delete", "deployment/predictor"), ("update", "deployment/predictor"),
    ("patch", "deployment/mlflow"), ("patch", "deployment/predictor", "--subresource=scale"), ("get", "secrets"),
    ("create", "pods"), ("create", "pods", "--subresource=exec"), ("get", "pods", "--subresource=log"),
    ("patch", "statefulset/postgresql"), ("create", "jobs"), ("impersonate", "serviceaccounts"),
    ("patch", "role/promoter"), ("delete", "validatingadmissionpolicy/bikeshare-promoter"),
])
@pytest.mark.parametrize("user", PROMOTERS)
def test_the_promoter_may_not(helm: Helm, user: str, arguments: tuple[str, ...]) -> None:
    answer = helm.plane.kubectl("-n", NAMESPACE, "auth", "can-i", *arguments, "--as", user, check=False)
    assert answer.stdout.strip() == "no"


def patched(helm: Helm, user: str, name: str, patch: dict[str, Any], *more: str) -> str:
    """What the API server said to a patch that changes nothing for good: empty when it was admitted."""
    answer = helm.plane.kubectl(
        "-n", NAMESPACE, "patch", "deployment", name, "--as", user, "--dry-run=server", "--type=strategic",
        "--patch", json.dumps(patch), *more, check=False,
    )
    return answer.stderr if answer.returncode else ""


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": spec}}


def container(**changes: Any) -> dict[str, Any]:
    return template(spec={"containers": [{"name": "predictor", **changes}]})


REFUSED = {
    "another image": container(image="evil:latest"),
    "another command": container(command=["sh", "-c", "env"]),
    "a variable": container(env=[{"name": "BIKESHARE_STORE_URL", "value": "s3://elsewhere"}]),
    "more rights": container(securityContext={"readOnlyRootFilesystem": False}),
    "another account": template(spec={"serviceAccountName": "promoter"}),
    "its token": template(spec={"automountServiceAccountToken": True}),
    "one more container": template(spec={"containers": [{"name": "spy", "image": "evil:latest"}]}),
    "a pod label": template(metadata={"labels": {"bikeshare.dev/kfp-client": "true"}}),
    "another annotation": template(metadata={"annotations": {"checksum/config": "0"}}),
    "one more annotation": template(metadata={"annotations": {"sidecar.example/inject": "true"}}),
    "a removed annotation": template(metadata={"annotations": {"checksum/config": None}}),
    "a path as version": template(metadata={"annotations": {VERSION: "../../other"}}),
    "replicas beside the scale": {"spec": {"replicas": 3}},
    "a pause": {"spec": {"paused": True}},
    "another strategy": {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}},
    "a history of none": {"spec": {"revisionHistoryLimit": 0}},
    "a shorter deadline": {"spec": {"progressDeadlineSeconds": 700}},
    "a label": {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}},
    "an annotation of the Deployment": {"metadata": {"annotations": {"note": "mine"}}},
    "a finalizer": {"metadata": {"finalizers": ["example.com/never"]}},
}


@pytest.mark.parametrize("change", list(REFUSED))
@pytest.mark.parametrize("name", ["predictor", "predictor-canary"])
@pytest.mark.parametrize("user", PROMOTERS)
def test_the_policy_refuses(helm: Helm, user: str, name: str, change: str) -> None:
    assert re.search("ValidatingAdmissionPolicy 'bikeshare-promoter'.* denied request", patched(
        helm, user, name, REFUSED[change]
    ))


@pytest.mark.parametrize("change", ["another image", "a label", "replicas beside the scale"])
def test_an_administrator_is_not_limited(helm: Helm, change: str) -> None:
    answer = helm.plane.kubectl(
        "-n", NAMESPACE, "patch", "deployment", "predictor", "--dry-run=server", "--type=strategic", "--patch",
        json.dumps(REFUSED[change]), check=False,
    )
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("value", ["12", "rollback_1.2-rc", None])
@pytest.mark.parametrize("name", ["predictor", "predictor-canary"])
@pytest.mark.parametrize("user", PROMOTERS)
def test_the_policy_admits_the_version(helm: Helm, user: str, name: str, value: str | None) -> None:
    assert patched(helm, user, name, template(metadata={"annotations": {VERSION: value}})) == ""


@pytest.mark.parametrize(("replicas", "said"), [(0, ""), (1, ""), (2, "predictor-canary only, from 0 to 1")])
@pytest.mark.parametrize("user", PROMOTERS)
def test_the_policy_bounds_the_scale_of_the_canary(helm: Helm, user: str, replicas: int, said: str) -> None:
    answer = patched(helm, user, "predictor-canary", {"spec": {"replicas": replicas}}, "--subresource=scale")
    assert said in answer if said else answer == ""


@pytest.mark.parametrize("user", PROMOTERS)
def test_the_scale_of_what_serves_is_not_the_promoters(helm: Helm, user: str) -> None:
    answer = patched(helm, user, "predictor", {"spec": {"replicas": 0}}, "--subresource=scale")
    assert "forbidden" in answer
