"""Pods are restricted, rights are the listed ones, and no rendered object holds a secret."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts import manifests as check
from tests.charts import secrecy
from tests.charts.helm import DIGEST, MATRIX, Case, find, matrix, objects, refusal, render, template

RULES: dict[tuple[str, str, str, tuple[str, ...], str], str] = {
    ("Role/promoter", "apps", "deployments", ("predictor", "predictor-canary"), "get"):
        "which version runs, is the roll-out complete",
    ("Role/promoter", "apps", "deployments", ("predictor", "predictor-canary"), "patch"):
        "set the version annotation; the admission policy refuses every other field",
    ("Role/promoter", "apps", "deployments/scale", ("predictor-canary",), "get"): "is a canary running",
    ("Role/promoter", "apps", "deployments/scale", ("predictor-canary",), "patch"): "start and remove the canary",
    ("Role/promoter", "", "pods", (), "list"): "why is a version not ready, which one serves if a roll-out was cut off",
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

    assert secrecy.rights(rendered) == (set(RULES) if case.chart == "bikeshare" else set())
    assert secrecy.bound(rendered) == ({
        ("RoleBinding", "Role/promoter", "ServiceAccount kubeflow/pipeline-runner"),
        ("RoleBinding", "Role/promoter", "ServiceAccount bikeshare/promoter"),
    } if case.chart == "bikeshare" else set())


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
def test_no_secret_no_known_password_and_no_plain_credential_is_rendered(charts: Path, case: Case) -> None:
    assert secrecy.revealed(objects(charts, case)) == []
    assert secrecy.KNOWN.findall(render(charts, case)) == []


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
    """By the schema, and by the template where somebody skips the schema."""
    assert f"at '/{path.replace('.', '/')}': 'not' failed" in refusal(charts, chart, f"{path}=latest")
    case = Case(chart, "latest", sets=(f"{path}=latest",))
    said = template(charts, case, "--skip-schema-validation", expect=1).stderr
    assert f'{path} is "latest", which is another image tomorrow' in said


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
    (check.restricted, "hostPID", True, "hostPID is set"),
    (check.restricted, "hostIPC", True, "hostIPC is set"),
    (check.restricted, "securityContext.sysctls", [{"name": "kernel.shm_rmid_forced"}], "sysctls are set"),
    (check.restricted, "containers.0.securityContext.procMount", "Unmasked", "/proc is unmasked"),
    (check.restricted, "containers.0.securityContext.seLinuxOptions", {"type": "spc_t"}, "chooses its SELinux label"),
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
    (check.resources, "containers.0.resources.requests.memory", None, "no requests.memory"),
    (check.images, "containers.0.image", "example.org:5000/a/b", "can change"),
    (check.images, "containers.0.image", "a/b:latest", "can change"),
    (check.writable, "containers.0.volumeMounts", [], "nothing is mounted at /tmp"),
    (check.probes, "containers.0.startupProbe", None, "no startupProbe"),
    (check.probes, "containers.0.readinessProbe", None, "no readinessProbe"),
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
    assert check.selectors([GOOD, labelled("PodDisruptionBudget", {"a": "b"})]) == []
    found = check.selectors([GOOD, labelled("PodDisruptionBudget", {"a": "c"})])
    assert found == ["PodDisruptionBudget/l: selects nothing"]
    service["metadata"]["labels"], service["spec"]["selector"] = {"a": "b"}, {"a": "b"}
    assert check.selectors([GOOD, service, labelled("ServiceMonitor", {"a": "b"})]) == []
    found = check.selectors([GOOD, service, labelled("ServiceMonitor", {"a": "c"})])
    assert found == ["ServiceMonitor/l: selects nothing"]


def labelled(kind: str, labels: dict[str, str]) -> dict[str, Any]:
    """An object that selects others by their labels."""
    return {"kind": kind, "metadata": {"name": "l"}, "spec": {"selector": {"matchLabels": labels}}}


def test_a_label_that_is_missing_is_found() -> None:
    assert len(check.labels(GOOD)) == 6


@pytest.mark.parametrize(("path", "value", "expected"), [
    ("containers.0.env", [{"name": "DB_PASSWORD", "value": "x"}], "Deployment/good/c: DB_PASSWORD is a plain value"),
    ("containers.0.args", ["--secret-key=minio123"], "Deployment/good: holds the password minio123"),
    ("initContainers", [{"name": "i", "env": [{"name": "API_TOKEN", "value": ""}]}],
     "Deployment/good/i: API_TOKEN is a plain value"),
])
def test_a_credential_in_a_pod_is_found(path: str, value: Any, expected: str) -> None:
    assert secrecy.revealed([GOOD]) == []
    assert secrecy.revealed([spoiled(path, value)]) == [expected]


def test_a_rendered_secret_is_found() -> None:
    assert secrecy.revealed([{"kind": "Secret", "metadata": {"name": "s"}}]) == ["Secret/s: is rendered"]


def test_a_reference_to_a_key_that_nobody_makes_is_found() -> None:
    def refers(name: str, key: str, *, optional: bool = False) -> list[dict[str, Any]]:
        source = {"secretKeyRef": {"name": name, "key": key, "optional": optional}}
        return [spoiled("containers.0.env", [{"name": "A", "valueFrom": source}])]

    made = {"known": {"key"}}
    assert secrecy.unmade(refers("known", "key"), made, set()) == []
    assert secrecy.unmade(refers("known", "other"), made, {"other"}) == ["Secret known: nobody makes the key other"]
    assert secrecy.unmade(refers("unknown", "key"), made, set()) == ["Secret unknown: nobody makes the key key"]
    assert secrecy.unmade(refers("known", "spare", optional=True), made, {"spare"}) == []
    assert secrecy.unmade(refers("known", "typo", optional=True), made, {"spare"}) != []


@pytest.mark.parametrize(("kind", "rule", "expected"), [
    ("Role", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}, ("Role/r", "", "secrets", (), "get")),
    ("ClusterRole", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, ("ClusterRole/r", "*", "*", (), "*")),
    ("ClusterRole", {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, ("ClusterRole/r", "", "/metrics", (), "get")),
])
def test_one_more_right_is_found(kind: str, rule: dict[str, Any], expected: secrecy.Right) -> None:
    assert secrecy.rights([{"kind": kind, "metadata": {"name": "r"}, "rules": [rule]}]) == {expected}


def test_a_binding_to_a_role_of_somebody_else_is_found() -> None:
    binding = {
        "kind": "ClusterRoleBinding", "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "bikeshare", "name": "predictor"}],
    }

    assert secrecy.bound([binding]) == {
        ("ClusterRoleBinding", "ClusterRole/cluster-admin", "ServiceAccount bikeshare/predictor"),
    }
