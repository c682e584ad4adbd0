"""A machine that lacks something is told how much; a machine that has just enough is let through."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bikeshare.adapters.cluster_facts import CONTEXT
from bikeshare.core.cluster_needs import (
    FORWARDED_PORTS,
    LITE,
    ClusterFacts,
    ClusterNeeds,
    Finding,
    examine_cluster,
    parse_version,
)

ENOUGH = ClusterFacts(
    cpus=4, memory_gib=10, disk_gib=25, inotify_instances=512, inotify_watches=524_288,
    versions={
        "kind": "kind v0.32.0 go1.26.1 linux/amd64", "kubectl": "Client Version: v1.35.0\nKustomize Version: v5.7.1",
        "skaffold": "v2.19.0", "helm": "v4.0.0+g1234567",
    },
    machine="x86_64",
)


def failing(facts: ClusterFacts, needs: ClusterNeeds | None = None) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_cluster(facts, needs or ClusterNeeds()) if not finding.ok}


def test_just_enough_is_enough() -> None:
    assert failing(ENOUGH) == {}


@pytest.mark.parametrize(("change", "name", "number"), [
    ({"cpus": 3.0}, "cpus for docker", "1.0 CPUs of 4 missing"),
    ({"memory_gib": 7.8}, "memory for docker", "2.2 GiB of 10 missing"),
    ({"disk_gib": 24.9}, "disk for docker", "0.1 GiB of 25 missing"),
    ({"inotify_instances": 128}, "inotify max_user_instances", "384 too few"),
    ({"inotify_watches": 524_287}, "inotify max_user_watches", "1 too few"),
    ({"busy_ports": (3000, 8080)}, "ports", "stop what listens there"),
    ({"kfp_replicas": 0}, "Kubeflow Pipelines", "cluster-status"),
    ({"docker": "not installed"}, "docker", "install"),
])
def test_what_is_missing_is_named_with_the_number(change: dict[str, Any], name: str, number: str) -> None:
    found = failing(dataclasses.replace(ENOUGH, **change))

    assert set(found) == {name}
    assert number in found[name].fix


@pytest.mark.parametrize(("tool", "said"), [
    ("kind", "kind v0.31.9 go1.26"), ("kubectl", "Client Version: v1.34.9"), ("skaffold", "v2.18.9"),
    ("helm", "v3.19.0+g3d8990f"), ("helm", None), ("kind", "command not understood"),
])
def test_an_old_absent_or_silent_tool_is_refused(tool: str, said: str | None) -> None:
    found = failing(dataclasses.replace(ENOUGH, versions={**ENOUGH.versions, tool: said}))

    assert set(found) == {tool}
    assert getattr(ClusterNeeds(), tool) in found[tool].fix


@pytest.mark.parametrize(("facts", "passes"), [
    (dataclasses.replace(ENOUGH, cpus=2, memory_gib=6, disk_gib=20), True),
    (dataclasses.replace(ENOUGH, cpus=2, memory_gib=5.9, disk_gib=20), False),
])
def test_lite_needs_less(facts: ClusterFacts, passes: bool) -> None:
    assert (failing(facts, LITE) == {}) is passes
    assert failing(facts)
    assert "PROFILE=lite" in failing(facts)["memory for docker"].fix
    assert all("lite" not in finding.fix for finding in failing(facts, LITE).values())


def test_limits_of_linux_are_not_asked_elsewhere_and_a_running_kfp_is_fine() -> None:
    facts = dataclasses.replace(ENOUGH, inotify_instances=None, inotify_watches=None, kfp_replicas=1)
    names = {finding.name: finding.ok for finding in examine_cluster(facts, ClusterNeeds())}

    assert not [name for name in names if name.startswith("inotify")]
    assert names["Kubeflow Pipelines"]


@pytest.mark.parametrize(("machine", "noted"), [("aarch64", True), ("x86_64", False)])
def test_an_arm_machine_is_told_what_is_missing(machine: str, noted: bool) -> None:
    findings = examine_cluster(dataclasses.replace(ENOUGH, machine=machine), ClusterNeeds())

    assert ("architecture" in {finding.name for finding in findings}) is noted


@pytest.mark.parametrize(("text", "version"), [
    ("v2.19.0", (2, 19, 0)), ("kind v0.32.0 go1.26.1", (0, 32, 0)), ("Client Version: v1.36", (1, 36)),
    ("no numbers", None), ("", None),
])
def test_versions_are_read_from_what_tools_say(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version


def test_ports_and_context_are_those_of_the_configuration(root: Path) -> None:
    skaffold = yaml.safe_load((root / "skaffold.yaml").read_text())
    kind = yaml.safe_load((root / "kind-config.yaml").read_text())

    assert {forward["localPort"] for forward in skaffold["portForward"]} == set(FORWARDED_PORTS)
    assert f"kind-{kind['name']}" == CONTEXT


def test_the_documents_ask_for_the_same_numbers(root: Path) -> None:
    page = (root / "docs" / "kubernetes.md").read_text()
    for name, needs in (("full", ClusterNeeds()), ("lite", LITE)):
        row = re.search(rf"^\| {name} .*$", page, flags=re.MULTILINE)
        assert row is not None
        for number in (f"{needs.cpus:g} CPU", f"{needs.memory_gib:g} GiB", f"{needs.disk_gib:g} GiB"):
            assert number in row[0], (name, number)
    for tool in ("kind", "kubectl", "skaffold", "helm"):
        assert f"{tool} {getattr(ClusterNeeds(), tool)}" in page
