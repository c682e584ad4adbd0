"""The KFP overlay, built on a stub: nothing unneeded is left, our store and MLflow are connected, rights are few."""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.conftest import ROOT
from tests.manifests.overlay import REMOTE, STUB, on_stub

Built = Mapping[str, list[dict[str, Any]]]
GONE = re.compile("cache|metadata-writer|viewer|visualization|container-builder")
PARTS = ("crds", "stack")


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    [found] = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def kustomization(part: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "manifests" / "kfp" / part / "kustomization.yaml").read_text())


@pytest.mark.parametrize("part", PARTS)
def test_the_base_is_one_release_with_a_patient_fetch(part: str) -> None:
    [base] = [REMOTE.fullmatch(item) for item in kustomization(part)["resources"] if item.startswith("https")]
    assert base is not None
    assert base[2] == "2.17.0"
    assert int(base[3]) >= 300  # kustomize's own limit of 27 s is a classic failure


def test_the_release_is_the_one_of_the_script_and_the_client(root: Path) -> None:
    script = (root / "hack" / "bootstrap.sh").read_text()
    client = (root / "pyproject.toml").read_text()

    assert "\nversion=2.17.0\n" in script
    assert '"kfp==2.17.0"' in client


@pytest.mark.parametrize("part", PARTS)
def test_every_patch_hits_something(part: str, kustomize: list[str], tmp_path: Path) -> None:
    """Without its patch, each target of the stub is there: a patch that misses would change nothing, silently."""
    document = kustomization(part)
    whole = build(part, document, kustomize, tmp_path / "all")
    for number, patch in enumerate(document["patches"]):
        others = {**document, "patches": [item for index, item in enumerate(document["patches"]) if index != number]}
        assert build(part, others, kustomize, tmp_path / str(number)) != whole, patch["target"]
        target = patch["target"]
        stub = "platform-agnostic" if part == "stack" else "cluster-scoped"
        objects = yaml.safe_load_all((STUB / stub / "resources.yaml").read_text())
        names = [item["metadata"]["name"] for item in objects if item["kind"] == target["kind"]]
        for alternative in target.get("name", ".*").split("|"):
            assert [name for name in names if re.fullmatch(alternative, name)], f"{alternative} hits nothing"


def build(part: str, document: dict[str, Any], kustomize: list[str], folder: Path) -> str:
    folder = folder / part
    shutil.copytree(ROOT / "manifests" / "kfp" / part, folder)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
    on_stub(folder)
    done = subprocess.run([*kustomize, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_definitions_only_in_the_first_part(built: Built) -> None:
    assert {item["kind"] for item in built["crds"]} == {"CustomResourceDefinition"}


def test_what_v2_pipelines_do_not_need_is_gone(built: Built) -> None:
    left = [f"{item['kind']}/{item['metadata']['name']}" for item in built["stack"]]

    assert [name for name in left if GONE.search(name)] == []
    assert len([name for name in left if name.startswith("Deployment/")]) == 8


def test_no_secret_and_no_second_store_is_left(built: Built) -> None:
    kinds = {(item["kind"], item["metadata"]["name"]) for item in built["stack"]}

    assert not [kind for kind, _ in kinds if kind in ("Secret", "PersistentVolumeClaim", "Job", "Namespace")]
    assert {kind for kind, name in kinds if "seaweedfs" in name} == {"Service"}


def test_the_compiled_in_endpoint_leads_to_our_store(built: Built) -> None:
    service = find(built["stack"], "Service", "seaweedfs")
    api = find(built["stack"], "Deployment", "ml-pipeline")["spec"]["template"]["spec"]["containers"][0]
    environment = {item["name"]: item.get("value") for item in api["env"]}

    assert service["spec"] == {"type": "ExternalName", "externalName": "minio.bikeshare.svc.cluster.local"}
    assert environment["OBJECTSTORECONFIG_HOST"] == service["spec"]["externalName"]
    assert environment["OBJECTSTORECONFIG_PORT"] == "9000"
    assert environment["ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST"]


def test_mlflow_is_configured_and_the_configuration_is_mounted_where_the_server_reads_it(built: Built) -> None:
    pod = find(built["stack"], "Deployment", "ml-pipeline")["spec"]["template"]["spec"]
    [volume] = pod["volumes"]
    [mount] = pod["containers"][0]["volumeMounts"]
    config = json.loads(find(built["stack"], "ConfigMap", volume["configMap"]["name"])["data"]["config.json"])

    assert (mount["mountPath"], mount["subPath"]) == ("/config/config.json", "config.json")
    assert config["plugins"]["mlflow"]["endpoint"] == "http://mlflow.bikeshare.svc.cluster.local:5000"
    assert config["plugins"]["mlflow"]["settings"]["authType"] == "none"
    assert "AccessKey" not in json.dumps(config)


def test_runs_may_read_and_report_and_nothing_else(built: Built) -> None:
    rules = find(built["stack"], "Role", "pipeline-runner")["rules"]
    verbs = {verb for rule in rules for verb in rule["verbs"]}
    resources = {resource for rule in rules for resource in rule["resources"]}

    assert verbs <= {"get", "list", "watch", "create", "patch"}
    assert resources == {"configmaps", "secrets", "pods", "pods/log", "workflows", "workflowtaskresults"}
    for rule in rules:
        if "secrets" in rule["resources"]:
            assert rule["resourceNames"] == ["mlpipeline-minio-artifact"]
        if set(rule["verbs"]) & {"create", "patch"}:
            assert rule["resources"] == ["workflowtaskresults"]
        assert "*" not in rule["apiGroups"]


def test_every_task_runs_as_the_user_of_our_images(built: Built) -> None:
    data = find(built["stack"], "ConfigMap", "pipeline-install-config")["data"]

    assert data["defaultSecurityContextRunAsUser"] == data["defaultSecurityContextRunAsGroup"] == "10001"
    assert data["defaultSecurityContextRunAsNonRoot"] == "true"
    assert data["bucketName"] == "mlpipeline"


@pytest.mark.parametrize("name", [
    "ml-pipeline", "ml-pipeline-persistenceagent", "ml-pipeline-scheduledworkflow", "workflow-controller", "mysql",
])
def test_the_stack_fits_a_laptop(built: Built, name: str) -> None:
    [container] = find(built["stack"], "Deployment", name)["spec"]["template"]["spec"]["containers"]

    assert int(container["resources"]["requests"]["cpu"].removesuffix("m")) <= 50
    assert container["resources"]["limits"]["memory"]


def test_everything_is_in_the_namespace_and_every_policy_selects_pods_that_exist(built: Built) -> None:
    pods = [
        item["spec"]["template"]["metadata"]["labels"] for item in built["stack"] if item["kind"] == "Deployment"
    ]
    for policy in (item for item in built["stack"] if item["kind"] == "NetworkPolicy"):
        assert policy["metadata"]["namespace"] == "kubeflow"
        wanted = policy["spec"]["podSelector"].get("matchLabels", {})
        assert [labels for labels in pods if wanted.items() <= labels.items()], policy["metadata"]["name"]


def unreachable(objects: list[dict[str, Any]]) -> list[str]:
    """Ports of NetworkPolicies that no Service of the pods they select has."""
    services = [item["spec"] for item in objects if item["kind"] == "Service" and item["spec"].get("selector")]
    found = []
    for policy in (item for item in objects if item["kind"] == "NetworkPolicy"):
        chosen = policy["spec"]["podSelector"].get("matchLabels", {}).items()
        known = {
            port["port"] for service in services if chosen <= service["selector"].items() for port in service["ports"]
        }
        found += [
            f"{policy['metadata']['name']}: {port['port']}" for rule in policy["spec"].get("ingress", [])
            for port in rule.get("ports", []) if port["port"] not in known
        ]
    return found


def test_every_port_of_a_policy_exists_and_a_misspelt_one_is_found(built: Built) -> None:
    assert unreachable(built["stack"]) == []

    spoiled = copy.deepcopy(built["stack"])
    find(spoiled, "NetworkPolicy", "mysql")["spec"]["ingress"][0]["ports"][0]["port"] = 3307
    assert unreachable(spoiled) == ["mysql: 3307"]


def allowed(built: Built, app: str, *, namespace: str, labels: dict[str, str], port: int) -> bool:
    """Whether the NetworkPolicies let a pod in, by Kubernetes' rules: one that selects denies, any rule allows."""
    target = {"app": app, "application-crd-id": "kubeflow-pipelines"}
    for policy in (item["spec"] for item in built["stack"] if item["kind"] == "NetworkPolicy"):
        selector = policy["podSelector"]
        excluded = [item for item in selector.get("matchExpressions", []) if target.get(item["key"]) in item["values"]]
        if excluded or not selector.get("matchLabels", {}).items() <= target.items():
            continue
        for rule in policy.get("ingress", []):
            if rule.get("ports") and port not in {item["port"] for item in rule["ports"]}:
                continue
            for peer in rule["from"]:
                space = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
                if (space or "kubeflow") == namespace and (
                    peer.get("podSelector", {}).get("matchLabels", {}).items() <= labels.items()
                ):
                    return True
    return False


CLIENT = {"bikeshare.dev/kfp-client": "true"}
TASK = {"app.kubernetes.io/part-of": "bikeshare"}
PART = {"application-crd-id": "kubeflow-pipelines"}


@pytest.mark.parametrize(("app", "namespace", "labels", "port", "expected"), [
    ("ml-pipeline", "bikeshare", CLIENT, 8888, True),
    ("ml-pipeline", "bikeshare", {}, 8888, False),
    ("ml-pipeline", "bikeshare", CLIENT, 8887, False),
    ("ml-pipeline", "default", CLIENT, 8888, False),
    ("ml-pipeline", "kubeflow", TASK, 8888, True),
    ("metadata-grpc-deployment", "kubeflow", TASK, 8080, True),
    ("metadata-grpc-deployment", "bikeshare", CLIENT, 8080, False),
    ("ml-pipeline-ui", "monitoring", {}, 3000, False),
    ("mysql", "kubeflow", PART, 3306, True),
    ("mysql", "kubeflow", TASK, 3306, False),
    ("mysql", "bikeshare", PART, 3306, False),
])
def test_who_reaches_what(
    built: Built, app: str, namespace: str, labels: dict[str, str], port: int, *, expected: bool
) -> None:
    assert allowed(built, app, namespace=namespace, labels=labels, port=port) is expected


def test_namespaces_say_what_pod_security_enforces() -> None:
    documents = yaml.safe_load_all((ROOT / "manifests" / "namespaces.yaml").read_text())
    enforced = {
        item["metadata"]["name"]: item["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] for item in documents
    }

    assert enforced == {"bikeshare": "restricted", "kubeflow": "baseline", "monitoring": "privileged"}
