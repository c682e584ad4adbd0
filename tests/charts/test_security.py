"""Pods are restricted, rights are the listed ones, and no rendered object holds a secret."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import manifests as check
from tests.charts.helm import DIGEST, MATRIX, Case, find, matrix, objects, refusal, render

RULES: dict[tuple[str, str, str, tuple[str, ...], str], str] = {
    ("promoter", "apps", "deployments", ("predictor", "predictor-canary"), "get"):
        "which version runs, is the roll-out complete",
    ("promoter", "apps", "deployments", ("predictor", "predictor-canary"), "patch"):
        "set the version annotation; the admission policy refuses every other field",
    ("promoter", "apps", "deployments/scale", ("predictor-canary",), "get"): "is a canary running",
    ("promoter", "apps", "deployments/scale", ("predictor-canary",), "patch"): "start and remove the canary",
    ("promoter", "", "pods", (), "list"): "why is a version not ready, which one serves if a roll-out was cut off",
}
"""Every right that the charts give: (role, API group, resource, names, verb) and why."""


@matrix
@pytest.mark.parametrize("rule", [
    check.restricted, check.token, check.resources, check.images, check.writable, check.probes, check.labels,
], ids=lambda rule: rule.__name__)
def test_every_object_satisfies(charts: Path, case: Case, rule: Callable[[check.Manifest], list[str]]) -> None:
    assert [problem for each in objects(charts, case) for problem in rule(each)] == []


@matrix
@pytest.mark.parametrize("rule", [check.selectors, check.service_ports], ids=lambda rule: rule.__name__)
def test_what_belongs_together_finds_each_other(
    charts: Path, case: Case, rule: Callable[[list[check.Manifest]], list[str]]
) -> None:
    assert rule(objects(charts, case)) == []


@matrix
def test_rights_are_the_listed_ones(charts: Path, case: Case) -> None:
    rendered = objects(charts, case)
    given = {
        (role["metadata"]["name"], group, resource, tuple(rule.get("resourceNames", ())), verb)
        for role in rendered if role["kind"] == "Role"
        for rule in role["rules"] for group in rule["apiGroups"] for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert given == (set(RULES) if case.chart == "bikeshare" else set())
    assert not [each for each in rendered if each["kind"] in ("ClusterRole", "ClusterRoleBinding")]


def test_the_pipeline_and_people_are_bound_to_the_promoter(charts: Path) -> None:
    binding = find(objects(charts, Case("bikeshare", "default")), "RoleBinding", "promoter")

    assert binding["roleRef"]["name"] == "promoter"
    assert [(subject["namespace"], subject["name"]) for subject in binding["subjects"]] == [
        ("kubeflow", "pipeline-runner"), ("bikeshare", "promoter"),
    ]


def test_the_admission_policy_is_about_the_same_accounts_and_the_same_canary(charts: Path) -> None:
    rendered = objects(charts, Case("bikeshare", "two", sets=("promoter.maxCanaryReplicas=2",)))
    binding = find(rendered, "RoleBinding", "promoter")
    policy = find(rendered, "ValidatingAdmissionPolicy", "bikeshare-promoter")
    bound = find(rendered, "ValidatingAdmissionPolicyBinding", "bikeshare-promoter")

    accounts = [f"system:serviceaccount:{subject['namespace']}:{subject['name']}" for subject in binding["subjects"]]
    condition = policy["spec"]["matchConditions"][0]["expression"]
    assert yaml.safe_load(condition.removeprefix("request.userInfo.username in ")) == accounts
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert bound["spec"]["policyName"] == policy["metadata"]["name"]
    assert "Deny" in bound["spec"]["validationActions"]
    scale = [each["expression"] for each in policy["spec"]["validations"] if "scales" in each["message"]]
    assert len(scale) == 1
    assert "<= 2" in scale[0]


def test_without_a_promoter_nobody_has_rights(charts: Path) -> None:
    case = Case("bikeshare", "none", sets=("promoter.enabled=false", "promoter.admissionPolicy=false"))
    kinds = {each["kind"] for each in objects(charts, case)}

    assert kinds & {"Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} == set()


@matrix
def test_no_secret_and_no_known_password_is_rendered(charts: Path, case: Case) -> None:
    assert [each["metadata"]["name"] for each in objects(charts, case) if each["kind"] == "Secret"] == []
    known = r"(?i)minio123|minioadmin|changeme|hunter2|postgres:postgres|admin:admin|prom-operator"
    assert re.findall(known, render(charts, case)) == []


@matrix
def test_no_password_is_a_plain_variable(charts: Path, case: Case) -> None:
    """A value that looks like a credential comes from a Secret or not at all."""
    for each in objects(charts, case):
        for container in check.containers(check.pod_template(each) or {"spec": {}}):
            for variable in container.get("env", []):
                if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS|API_KEY|DATABASE_URL|STORE_URI", variable["name"]):
                    assert "valueFrom" in variable, f"{check.title(each)}: {variable['name']}"


def test_only_the_monitor_may_call_the_pipelines_api(charts: Path) -> None:
    marked = {
        each["metadata"]["name"] for each in objects(charts, Case("bikeshare", "default"))
        if "bikeshare.dev/kfp-client" in (check.pod_template(each) or {"metadata": {}})["metadata"].get("labels", {})
    }

    assert marked == {"monitor"}


@pytest.mark.parametrize(("chart", "path"), [
    ("bikeshare", "predictor.image.tag"), ("bikeshare", "pipelines.image.tag"), ("platform", "mlflow.image.tag"),
])
def test_latest_is_refused(charts: Path, chart: str, path: str) -> None:
    assert "latest" in refusal(charts, chart, f"{path}=latest") or "not" in refusal(charts, chart, f"{path}=latest")


def test_production_refuses_tags_and_names_the_digest_that_is_missing(charts: Path) -> None:
    assert "digest is empty and requireDigests is true" in refusal(charts, "bikeshare", "requireDigests=true")
    images = {
        container["image"] for case in MATRIX if case.name == "prod" for each in objects(charts, case)
        for container in check.containers(check.pod_template(each) or {"spec": {}})
    }
    assert images
    assert all(image.endswith(f"@{DIGEST}") for image in images)


GOOD: dict[str, Any] = {
    "kind": "Deployment", "metadata": {"name": "good", "labels": {}},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "serviceAccountName": "own", "automountServiceAccountToken": False, "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": "example.org:5000/a/b:1", "ports": [{"containerPort": 1, "name": "http"}],
                "securityContext": {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": 1, "memory": 1}, "limits": {"memory": 1}},
                "startupProbe": {}, "readinessProbe": {"httpGet": {"path": "/readyz"}},
                "livenessProbe": {"httpGet": {"path": "/livez"}},
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }},
    },
}


def spoiled(path: str, value: Any) -> dict[str, Any]:
    """The good Deployment with one field of its pod changed; None removes it."""
    bad = copy.deepcopy(GOOD)
    target: Any = bad["spec"]["template"]["spec"]
    *parents, last = path.split(".")
    for key in parents:
        target = target[int(key)] if key.isdigit() else target.setdefault(key, {})
    if value is None:
        del target[last]
    else:
        target[last] = value
    return bad


@pytest.mark.parametrize(("rule", "path", "value", "expected"), [
    (check.restricted, "hostNetwork", True, "hostNetwork is set"),
    (check.restricted, "volumes.0.hostPath", {"path": "/"}, "volume tmp is a hostPath"),
    (check.restricted, "securityContext.runAsNonRoot", None, "runAsNonRoot is not true"),
    (check.restricted, "securityContext.runAsUser", 0, "runs as root"),
    (check.restricted, "securityContext.runAsUser", None, "names no user"),
    (check.restricted, "securityContext.seccompProfile", None, "seccompProfile is not RuntimeDefault"),
    (check.restricted, "containers.0.securityContext.allowPrivilegeEscalation", None, "allowPrivilegeEscalation"),
    (check.restricted, "containers.0.securityContext.privileged", True, "is privileged"),
    (check.restricted, "containers.0.securityContext.capabilities.drop", ["NET_RAW"], "does not drop ALL"),
    (check.restricted, "containers.0.securityContext.capabilities.add", ["SYS_ADMIN"], "adds capabilities"),
    (check.restricted, "containers.0.securityContext.readOnlyRootFilesystem", False, "root filesystem is writable"),
    (check.restricted, "containers.0.ports.0.hostPort", 80, "has a host port"),
    (check.token, "automountServiceAccountToken", None, "automountServiceAccountToken is not false"),
    (check.token, "enableServiceLinks", True, "enableServiceLinks is not false"),
    (check.token, "serviceAccountName", None, "default ServiceAccount"),
    (check.resources, "containers.0.resources.limits", None, "no limits.memory"),
    (check.resources, "containers.0.resources.requests.cpu", None, "no requests.cpu"),
    (check.images, "containers.0.image", "example.org:5000/a/b", "can change"),
    (check.images, "containers.0.image", "a/b:latest", "can change"),
    (check.writable, "containers.0.volumeMounts", [], "nothing is mounted at /tmp"),
    (check.probes, "containers.0.startupProbe", None, "no startupProbe"),
    (check.probes, "containers.0.livenessProbe.httpGet.path", "/readyz", "restarts what only waits"),
])
def test_a_fault_is_found(rule: Any, path: str, value: Any, expected: str) -> None:
    assert rule(GOOD) == []
    found = rule(spoiled(path, value))
    assert len(found) == 1
    assert expected in found[0]


def test_an_init_container_is_judged_too() -> None:
    bad = spoiled("initContainers", [{"name": "i", "image": "a"}])

    assert any("good/i" in problem for problem in check.restricted(bad))
    assert check.images(bad) == ["Deployment/good/i: image a can change"]


def test_a_selector_that_selects_nothing_is_found() -> None:
    service = {
        "kind": "Service", "metadata": {"name": "s"},
        "spec": {"selector": {"a": "b"}, "ports": [{"targetPort": "http"}]},
    }
    assert check.selectors([GOOD, service]) == []
    assert check.service_ports([GOOD, service]) == []

    service["spec"] = {"selector": {"a": "c"}, "ports": [{"targetPort": "http"}]}
    assert check.selectors([GOOD, service]) == ["Service/s: selects nothing"]
    assert check.service_ports([GOOD, service]) == ["Service/s: no container has port http"]
    foreign = copy.deepcopy(GOOD)
    foreign["spec"]["selector"]["matchLabels"] = {"a": "c"}
    assert check.selectors([foreign]) == ["Deployment/good: does not select its own pods"]
