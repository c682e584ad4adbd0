"""What other people's tools say about the rendered objects and about our files."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.helm import CHARTS, MATRIX, ROOT, Case, matrix, objects, render, run, tool

CRDS = {
    "ServiceMonitor": "monitoring.coreos.com_servicemonitor_v1.json",
    "PrometheusRule": "monitoring.coreos.com_prometheusrule_v1.json",
    "ScaledObject": "keda.sh_scaledobject_v1alpha1.json",
}


def newest_versions() -> list[str]:
    """The two newest Kubernetes versions whose schemas kubernetes-validate has."""
    python = Path(os.path.realpath(tool("kubernetes-validate"))).parent / "python"
    code = (
        "import kubernetes_validate as k, pathlib;"
        "print(*[p.name for p in (pathlib.Path(k.__file__).parent / 'kubernetes-json-schema').glob('v*-local-strict')])"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    numbers = (name.split("-")[0].removeprefix("v").split(".") for name in done.stdout.split())
    return [f"{major}.{minor}" for major, minor in sorted({(int(n[0]), int(n[1])) for n in numbers})[-2:]]


@pytest.fixture(scope="session")
def versions() -> list[str]:
    found = newest_versions()
    assert len(found) == 2
    return found


def core_objects(charts: Path, case: Case) -> str:
    """What Kubernetes itself knows; custom resources have schemas of their own."""
    return yaml.safe_dump_all(
        each for each in objects(charts, case) if each["kind"] not in CRDS
    )


@pytest.mark.parametrize("age", ["newest", "second newest"])
def test_kubernetes_knows_every_field(charts: Path, age: str, versions: list[str], tmp_path: Path) -> None:
    expected = 0
    for case in MATRIX:
        text = core_objects(charts, case)
        expected += len(list(yaml.safe_load_all(text)))
        (tmp_path / f"{case}.yaml").write_text(text, encoding="utf-8")

    version = versions[-1 if age == "newest" else -2]
    done = run("kubernetes-validate", "--kubernetes-version", version, "--strict", *sorted(tmp_path.iterdir()))

    assert done.stdout.count("INFO") == expected
    assert "WARN" not in done.stdout + done.stderr


def test_a_misspelt_field_is_found(charts: Path, versions: list[str], tmp_path: Path) -> None:
    file = tmp_path / "rendered.yaml"
    text = core_objects(charts, Case("bikeshare", "default"))
    assert "periodSeconds" in text
    file.write_text(text.replace("periodSeconds", "periodSecond"), encoding="utf-8")

    done = run("kubernetes-validate", "--kubernetes-version", versions[-1], "--strict", file, expect=1)
    assert "periodSecond" in done.stdout + done.stderr


@pytest.fixture(scope="session")
def crds() -> dict[str, Any]:
    """JSON schemas of the custom resources: other projects' files, not copied into this one."""
    folder = os.environ.get("CRD_SCHEMAS", "")
    if not folder:
        needed = ", ".join(CRDS.values())
        pytest.fail(
            f"CRD_SCHEMAS is not set: name a folder with {needed} (as in the CRDs-catalog of datreeio), e.g. "
            "CRD_SCHEMAS=~/schemas make test-charts"
        )
    return {kind: json.loads((Path(folder) / name).read_text(encoding="utf-8")) for kind, name in CRDS.items()}


@pytest.mark.parametrize("name", ["kind", "keda", "prod"])
def test_custom_resources_fit_their_schemas(charts: Path, crds: dict[str, Any], name: str) -> None:
    case = next(case for case in MATRIX if str(case) == f"bikeshare-{name}")
    custom = [each for each in objects(charts, case) if each["kind"] in CRDS]

    assert custom
    for each in custom:
        fits(each, crds)


def fits(each: dict[str, Any], crds: dict[str, Any]) -> None:
    # Not jsonschema.validate: it also judges the schemas, whose patterns are Go's, e.g. `^(?i)(abort|warn)?$`.
    jsonschema.Draft202012Validator(closed(crds[each["kind"]])).validate(each)


def closed(schema: Any) -> Any:
    """The schema with unknown fields refused, as a strict API server does."""
    if not isinstance(schema, dict):
        return schema
    result = {key: closed(value) if key != "properties" else {k: closed(v) for k, v in value.items()}
              for key, value in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema \
            and not schema.get("x-kubernetes-preserve-unknown-fields") and "metadata" not in schema.get("title", ""):
        result["additionalProperties"] = False
    return result


def test_a_custom_resource_with_an_unknown_field_is_found(charts: Path, crds: dict[str, Any]) -> None:
    case = Case("bikeshare", "kind", ("values-kind.yaml",))
    monitor = next(each for each in objects(charts, case) if each["kind"] == "ServiceMonitor")
    monitor["spec"]["endpoint"] = monitor["spec"].pop("endpoints")

    with pytest.raises(jsonschema.ValidationError, match="endpoint"):
        fits(monitor, crds)


FAULTY = """\
apiVersion: v1
kind: Pod
metadata: {name: faulty, namespace: bikeshare}
spec:
  hostNetwork: true
  containers: [{name: c, image: "busybox:latest", securityContext: {privileged: true}}]
"""


@pytest.mark.slow
def test_checkov_objects_to_a_faulty_pod_and_to_nothing_of_ours(charts: Path, tmp_path: Path) -> None:
    for case in MATRIX:
        (tmp_path / f"{case}.yaml").write_text(render(charts, case), encoding="utf-8")
    (tmp_path / "faulty.yaml").write_text(FAULTY, encoding="utf-8")
    done = run(
        "checkov", "--config-file", ROOT / ".checkov.yaml", "--directory", tmp_path, "--output", "json", expect=None
    )
    report = json.loads(done.stdout)
    failed: dict[str, set[str]] = {}
    for each in report["results"]["failed_checks"]:
        file = Path(each["file_path"]).stem
        failed.setdefault(file, set()).add(f"{each['check_id']} {each['resource']}: {each['check_name']}")

    assert {line.split()[0] for line in failed.pop("faulty")} >= {"CKV_K8S_16", "CKV_K8S_19", "CKV_K8S_14"}
    assert failed == {}
    assert report["summary"]["passed"] > 1000


def test_our_yaml_is_tidy() -> None:
    files = [
        path for path in sorted(CHARTS.rglob("*.yaml"))
        if "templates" not in path.relative_to(CHARTS).parts
    ]
    assert len(files) > 10
    run("yamllint", "--strict", "--config-file", ROOT / ".yamllint.yaml", *files)


@matrix
def test_rendered_yaml_has_no_duplicate_keys(charts: Path, case: Case, tmp_path: Path) -> None:
    """PyYAML keeps the last of two equal keys; so would a reader believe a value that is not there."""
    file = tmp_path / "rendered.yaml"
    file.write_text(render(charts, case), encoding="utf-8")
    run("yamllint", "--strict", "--config-data", "{rules: {key-duplicates: enable}}", file)

    file.write_text("a: 1\na: 2\n", encoding="utf-8")
    run("yamllint", "--strict", "--config-data", "{rules: {key-duplicates: enable}}", file, expect=1)


def test_shell_scripts_have_no_known_mistake(tmp_path: Path) -> None:
    scripts = [ROOT / "hack" / "tools.sh", *sorted((CHARTS / "platform" / "files").glob("setup-*.sh"))]
    run("shellcheck", *scripts)
    run("shellcheck", "--shell", "bash", CHARTS / "platform" / "files" / "create-databases.sh")

    broken = tmp_path / "broken.sh"
    broken.write_text("#!/bin/sh\nrm -rf $1/*\n", encoding="utf-8")
    run("shellcheck", broken, expect=1)
