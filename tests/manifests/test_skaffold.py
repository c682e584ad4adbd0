"""skaffold.yaml and kind-config.yaml: every profile leads to the releases it promises, and every file exists."""

import copy
import itertools
import re
from typing import Any

import pytest
import yaml

from tests.manifests.conftest import ROOT

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
PROFILES = {profile["name"]: profile for profile in CONFIG["profiles"]}
OWN = {"platform", "bikeshare"}
MONITORING = {"kps", "metrics-server", "pushgateway"}
RELEASES = {
    (): OWN | MONITORING,
    ("dev",): OWN | MONITORING,
    ("lite",): OWN,
    ("keda",): OWN | MONITORING | {"keda"},
    ("ci",): OWN | MONITORING,
    ("prod",): OWN,
    ("dev", "lite"): OWN,
    ("dev", "keda"): OWN | MONITORING | {"keda"},
    ("ci", "lite"): OWN,
    ("ci", "keda"): OWN | MONITORING | {"keda"},
    ("ci", "prod"): OWN,
}
"""Profiles as skaffold applies them (self-activated ones first) -> releases."""


def patched(document: Any, patches: list[dict[str, Any]]) -> Any:
    """RFC 6902 `add`, `remove` and `replace`; a path that is not there is an error, as it is in skaffold."""
    document = copy.deepcopy(document)
    for patch in patches:
        *parents, last = patch["path"].removeprefix("/").split("/")
        target = document
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if isinstance(target, list):
            if patch["op"] == "add":
                target.insert(len(target) if last == "-" else int(last), copy.deepcopy(patch["value"]))
                continue
            last = int(last)
        if patch["op"] in ("remove", "replace"):
            target[last]  # must exist
        if patch["op"] == "remove":
            del target[last]
        else:
            target[last] = copy.deepcopy(patch["value"])
    return document


def configured(*names: str) -> dict[str, Any]:
    document = CONFIG
    for name in names:
        document = patched(document, PROFILES[name].get("patches", []))
    return document


def releases(*names: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in configured(*names)["deploy"]["helm"]["releases"]}


def test_the_profiles_are_those_of_the_documents() -> None:
    assert set(PROFILES) == {"dev", "lite", "keda", "ci", "prod"}
    assert {name for names in RELEASES for name in names} == set(PROFILES)


@pytest.mark.parametrize("names", RELEASES, ids=lambda names: "+".join(names) or "none")
def test_profiles_lead_to_their_releases(names: tuple[str, ...]) -> None:
    installed = releases(*names)

    assert set(installed) == RELEASES[names]
    for name, release in installed.items():
        assert set(release.get("dependsOn", [])) <= set(installed), name


def test_positions_mean_the_own_releases_in_every_profile() -> None:
    """Patches address `releases/0` and `releases/1`: whatever else a profile changes, these are ours."""
    for names in RELEASES:
        assert list(releases(*names))[:2] == ["platform", "bikeshare"], names


@pytest.mark.parametrize("names", RELEASES, ids=lambda names: "+".join(names) or "none")
def test_remote_charts_have_an_exact_version_and_the_others_a_folder(names: tuple[str, ...]) -> None:
    for name, release in releases(*names).items():
        if name in OWN:
            assert release["chartPath"] == f"charts/{name}"
            assert release["namespace"] == "bikeshare"
        else:
            assert re.fullmatch(r"\d+\.\d+\.\d+", release["version"]), name
            assert release["repo"].startswith("https://"), name


def test_values_files_fit_the_profile() -> None:
    for names in RELEASES:
        kind = "prod" if "prod" in names else "kind"
        for name in OWN:
            assert releases(*names)[name]["valuesFiles"] == [f"charts/{name}/values-{kind}.yaml"], names


def test_small_laptops_get_no_monitoring_and_no_autoscaling() -> None:
    assert releases("dev", "lite")["bikeshare"]["setValues"] == {
        "monitor.schedule": "*/5 * * * *", "monitor.deadlineSeconds": "280",
        "monitoring.enabled": "false", "autoscaling.mode": "none",
    }
    assert releases()["bikeshare"]["setValues"] == {}
    assert releases("keda")["bikeshare"]["setValues"] == {"autoscaling.mode": "keda"}


def test_every_image_of_the_charts_is_built_and_given_to_them() -> None:
    built = {artifact["image"] for artifact in CONFIG["build"]["artifacts"]}
    values: dict[str, str] = {}
    for name in OWN:
        templates = releases()[name]["setValueTemplates"]
        for key, template in templates.items():
            image = re.fullmatch(r"\{\{\.IMAGE_(REPO|TAG)_bikeshare_(\w+)\}\}", template)
            assert image is not None, template
            assert key.endswith({"REPO": ".repository", "TAG": ".tag"}[image[1]]), key
            values.setdefault(f"bikeshare/{image[2]}", key)
    assert set(values) == built


def test_production_is_pinned_by_digest_and_pushed() -> None:
    for name in OWN:
        templates = releases("prod")[name]["setValueTemplates"]
        images = {key.rsplit(".", 1)[0] for key in templates}
        for image in images:
            assert templates[f"{image}.digest"] == templates[f"{image}.tag"].replace("TAG", "DIGEST")
    assert PROFILES["prod"]["build"]["local"]["push"] is True
    assert "portForward" not in configured("prod")


def test_what_production_does_not_pin_is_said_where_people_install() -> None:
    """Images of others have no digest of ours: the chart refuses to render without one, the docs say what to do."""
    values = yaml.safe_load((ROOT / "charts" / "platform" / "values.yaml").read_text())
    pinned = {key.split(".")[0] for key in releases("prod")["platform"]["setValueTemplates"] if key.endswith("digest")}
    unpinned = {name for name, part in values.items() if isinstance(part, dict) and "image" in part} - pinned

    assert unpinned == {"objectStore", "postgresql"}
    for name in unpinned:
        assert f"{name}.image.digest" in (ROOT / "charts" / "platform" / "values-prod.yaml").read_text()
    assert "digests of their images" in (ROOT / "docs" / "kubernetes.md").read_text().replace("\n", " ")


def test_hooks_exist_and_a_missing_model_cannot_block_them() -> None:
    hooks = CONFIG["deploy"]["helm"]["hooks"]
    scripts = [hook["host"]["command"][1] for hook in itertools.chain(hooks["before"], hooks["after"])]

    assert scripts == ["hack/bootstrap.sh", "hack/publish-pipeline.sh"]
    assert all((ROOT / script).is_file() for script in scripts)
    # skaffold would wait for the predictor before it calls the hook that brings the first model
    assert CONFIG["deploy"]["statusCheck"] is False


def test_forwarded_services_are_of_releases_or_kfp_and_ports_do_not_collide() -> None:
    ports = [forward["localPort"] for forward in CONFIG["portForward"]]
    assert len(ports) == len(set(ports))
    assert 5000 not in ports
    grafana = {forward["resourceName"] for forward in CONFIG["portForward"]}
    assert grafana - {forward["resourceName"] for forward in configured("lite")["portForward"]} == {"kps-grafana"}


def test_a_patch_to_a_place_that_does_not_exist_is_an_error() -> None:
    with pytest.raises((IndexError, KeyError)):
        patched(CONFIG, [{"op": "remove", "path": "/deploy/helm/releases/9"}])


def test_the_cluster_is_one_pinned_node_without_mapped_ports() -> None:
    kind = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
    [node] = kind["nodes"]

    assert (kind["kind"], kind["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert set(kind) == {"kind", "apiVersion", "name", "nodes"}
    assert set(node) == {"role", "image", "kubeadmConfigPatches"}
    assert re.fullmatch(r"kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64}", node["image"])
    assert yaml.safe_load(node["kubeadmConfigPatches"][0])["kind"] == "KubeletConfiguration"
