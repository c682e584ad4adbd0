"""What charts, images, skaffold and the KFP overlay say about each other is the same thing."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from components._runtime import CONFIG, HOME, SECRETS
from tests.manifests.conftest import ROOT, script, tool
from tests.manifests.test_bootstrap import SECRETS as MADE
from tests.manifests.test_skaffold import CONFIG as SKAFFOLD
from tests.manifests.test_skaffold import OWN, RELEASES, configured, releases


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, list[dict[str, Any]]]:
    """Objects of our two releases with the values of skaffold's default profile."""
    helm = tool("helm")
    objects = {}
    for name, release in releases().items():
        if name in OWN:
            chart = ROOT / release["chartPath"]
            subprocess.run([helm, "dependency", "build", str(chart)], capture_output=True, check=True)
            values = [part for path in release["valuesFiles"] for part in ("--values", str(ROOT / path))]
            done = subprocess.run(
                [helm, "template", name, str(chart), "--namespace", release["namespace"], *values],
                capture_output=True, text=True, check=False,
            )
            assert done.returncode == 0, done.stderr
            objects[name] = [item for item in yaml.safe_load_all(done.stdout) if item]
    return objects


def walk(item: Any, key: str) -> Iterator[Any]:
    if isinstance(item, dict):
        for name, value in item.items():
            if name == key:
                yield value
            yield from walk(value, key)
    elif isinstance(item, list):
        for value in item:
            yield from walk(value, key)


@pytest.mark.parametrize("names", RELEASES, ids=lambda names: "+".join(names) or "none")
def test_every_values_file_of_a_profile_exists(names: tuple[str, ...]) -> None:
    for release in releases(*names).values():
        for path in release.get("valuesFiles", []):
            assert (ROOT / path).is_file(), path


def test_values_for_foreign_charts_are_used_and_written_for_the_version_that_is_installed() -> None:
    every = {item["name"]: item for names in RELEASES for item in releases(*names).values() if item["name"] not in OWN}
    used = {path for item in every.values() for path in item["valuesFiles"]}

    assert used == {str(path.relative_to(ROOT)) for path in (ROOT / "charts" / "values").glob("*.yaml")}
    for item in every.values():
        for path in item["valuesFiles"]:
            named = re.search(r"\d+\.\d+\.\d+", (ROOT / path).read_text().splitlines()[0])
            assert named is None or named[0] == item["version"], path


def test_dockerfiles_and_targets_exist_and_tasks_find_their_home() -> None:
    for artifact in SKAFFOLD["build"]["artifacts"]:
        docker = artifact["docker"]
        text = (ROOT / artifact["context"] / docker["dockerfile"]).read_text()
        if "target" in docker:
            assert re.search(rf"^FROM .+ AS {docker['target']}$", text, flags=re.MULTILINE), docker
    assert f"BIKESHARE_HOME={HOME}" in (ROOT / "Dockerfile").read_text()


def test_bootstrap_makes_every_secret_key_that_is_referred_to(
    rendered: Mapping[str, list[dict[str, Any]]], built: Mapping[str, list[dict[str, Any]]]
) -> None:
    optional = set(script("make_secrets").FROM_ENVIRONMENT)
    seen = set()
    for item in [*(item for objects in rendered.values() for item in objects), *built["stack"]]:
        namespace = item["metadata"].get("namespace", "bikeshare")
        for reference in walk(item, "secretKeyRef"):
            name = f"{namespace}/{reference['name']}"
            if reference["name"] == "mysql-secret":  # KFP's own
                continue
            keys = MADE[name] | (optional if reference.get("optional") else set())
            assert reference["key"] in keys, f"{name} {reference['key']}"
            seen.add(name)
        for reference in walk(item, "secretRef"):
            assert f"{namespace}/{reference['name']}" in MADE
    values = yaml.safe_load((ROOT / "charts" / "values" / "kube-prometheus-stack.yaml").read_text())
    grafana = values["grafana"]["admin"]
    assert {grafana["userKey"], grafana["passwordKey"]} == MADE[f"monitoring/{grafana['existingSecret']}"]
    assert seen >= {f"bikeshare/{name}" for name in ("bikeshare", "postgresql", "minio", "mlflow")}


def test_charts_and_manifests_render_no_secret(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    assert not [item for objects in rendered.values() for item in objects if item["kind"] == "Secret"]


def test_task_pods_find_their_config_map_in_their_namespace(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    maps = {
        item["metadata"]["namespace"]: item["data"] for item in rendered["bikeshare"]
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == "bikeshare"
    }

    assert maps["kubeflow"] == maps["bikeshare"]
    assert set(CONFIG) - {"TZ"} <= set(maps["kubeflow"])
    assert not set(SECRETS) & set(maps["kubeflow"])
    assert maps["kubeflow"]["BIKESHARE_IMAGE"].startswith("bikeshare/pipeline:")
    assert maps["kubeflow"]["BIKESHARE_PIPELINES_URL"].startswith("http://ml-pipeline.kubeflow")


def test_the_store_and_mlflow_are_where_kfp_looks(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    services = {item["metadata"]["name"]: item for item in rendered["platform"] if item["kind"] == "Service"}
    config = json.loads((ROOT / "manifests" / "kfp" / "stack" / "api-config.json").read_text())
    endpoint = config["plugins"]["mlflow"]["endpoint"].removeprefix("http://")

    assert 9000 in {port["port"] for port in services["minio"]["spec"]["ports"]}
    assert endpoint == "mlflow.bikeshare.svc.cluster.local:5000"
    # MLflow refuses a Host header it does not know, and its health probe does not notice
    hosts = {
        host for item in rendered["platform"] for variables in walk(item, "env") for variable in variables
        if variable["name"] == "MLFLOW_SERVER_ALLOWED_HOSTS" for host in variable["value"].split(",")
    }
    assert endpoint in hosts


def test_forwarded_services_exist(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    services = {
        (item["metadata"]["name"], port["port"])
        for objects in rendered.values() for item in objects if item["kind"] == "Service"
        for port in item["spec"]["ports"]
    }
    for forward in configured()["portForward"]:
        if forward["namespace"] == "bikeshare":
            assert (forward["resourceName"], forward["port"]) in services


def test_whoever_requests_runs_is_let_in_by_kfp(rendered: Mapping[str, list[dict[str, Any]]]) -> None:
    [monitor] = [
        item for item in rendered["bikeshare"] if item["kind"] == "CronJob" and item["metadata"]["name"] == "monitor"
    ]
    labels = monitor["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]

    assert labels["bikeshare.dev/kfp-client"] == "true"


def requested(item: Any) -> tuple[float, float]:
    """CPUs and GiB that everything in an object requests; what is requested for a volume is neither."""
    units = {"m": 0.001, "Mi": 1 / 1024, "Gi": 1.0}

    def number(text: str) -> float:
        value, unit = re.fullmatch(r"([\d.]+)(\D*)", str(text)).groups()
        return float(value) * units.get(unit, 1.0)

    found = [each for each in walk(item, "requests") if "cpu" in each]
    return sum(number(each["cpu"]) for each in found), sum(number(each["memory"]) for each in found)


@pytest.mark.parametrize("profile", ["full", "lite"])
def test_the_documents_say_what_all_requests_add_up_to(
    rendered: Mapping[str, list[dict[str, Any]]], built: Mapping[str, list[dict[str, Any]]], profile: str
) -> None:
    ours = [
        item["spec"]["template"]["spec"]["containers"] for objects in rendered.values() for item in objects
        if item["kind"] in ("Deployment", "StatefulSet") and item["spec"].get("replicas", 1)
    ]
    kfp = [
        container for item in built["stack"] if item["kind"] == "Deployment"
        for container in item["spec"]["template"]["spec"]["containers"] if "limits" in container["resources"]
    ]
    foreign = [
        yaml.safe_load((ROOT / path).read_text()) for name, item in releases().items() if name not in OWN
        for path in item["valuesFiles"]
    ]
    cpus, memory = requested(ours + kfp + (foreign if profile == "full" else []))
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    [row] = re.findall(rf"^\| {profile} .*$", page, flags=re.MULTILINE)

    assert len(ours) == 5
    assert len(kfp) == 5
    assert f"requests of {cpus:.1f} CPU and {memory:.1f} GiB" in row
