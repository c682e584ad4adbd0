"""What other people's tools say about the rendered objects and about our files."""

import itertools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.helm import CHARTS, MATRIX, ROOT, Case, matrix, objects, render, run, tool
from tests.custom_resources import KINDS, schema


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
        each for each in objects(charts, case) if each["kind"] not in KINDS
    )


def tracked(*patterns: str) -> list[Path]:
    """Files of the repository; patterns are those of `git ls-files`."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines()]


def plain() -> dict[str, str]:
    """What is applied beside the charts, by file name; `hack/publish-pipeline.sh` fills in the image."""
    files = tracked(":(glob)manifests/*.yaml", "manifests/kfp/stack/networkpolicies.yaml")
    assert len(files) == 3
    return {file.name: file.read_text(encoding="utf-8").replace("__IMAGE__", "bikeshare/pipeline:1") for file in files}


@pytest.mark.parametrize("age", ["newest", "second newest"])
def test_kubernetes_knows_every_field(charts: Path, age: str, versions: list[str], tmp_path: Path) -> None:
    expected = 0
    for name, text in ({f"{case}.yaml": core_objects(charts, case) for case in MATRIX} | plain()).items():
        expected += len(list(yaml.safe_load_all(text)))
        (tmp_path / name).write_text(text, encoding="utf-8")

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


@pytest.mark.parametrize("name", ["kind", "keda", "prod"])
def test_custom_resources_fit_their_schemas(charts: Path, name: str) -> None:
    case = next(case for case in MATRIX if str(case) == f"bikeshare-{name}")
    custom = [each for each in objects(charts, case) if each["kind"] in KINDS]

    assert custom
    for each in custom:
        fits(each)


def fits(each: dict[str, Any]) -> None:
    # Not jsonschema.validate: it also judges the schemas, whose patterns are Go's, e.g. `^(?i)(abort|warn)?$`.
    jsonschema.Draft202012Validator(closed(schema(each["kind"]))).validate(each)


def closed(node: Any) -> Any:
    """The schema with unknown fields refused, as a strict API server does."""
    if not isinstance(node, dict):
        return node
    result = {key: closed(value) if key != "properties" else {k: closed(v) for k, v in value.items()}
              for key, value in node.items()}
    if "properties" in node and "additionalProperties" not in node \
            and not node.get("x-kubernetes-preserve-unknown-fields") and "metadata" not in node.get("title", ""):
        result["additionalProperties"] = False
    return result


@pytest.mark.parametrize(("kind", "place"), [
    ("ServiceMonitor", ("endpoints", 0)),
    ("PrometheusRule", ("groups", 0, "rules", 0)),
    ("ScaledObject", ("triggers", 0)),
])
def test_a_custom_resource_with_a_misspelt_field_is_found(charts: Path, kind: str, place: tuple[Any, ...]) -> None:
    case = next(case for case in MATRIX if str(case) == "bikeshare-keda")
    chosen = next(each for each in objects(charts, case) if each["kind"] == kind)
    inner = chosen["spec"]
    for key in place:
        inner = inner[key]
    inner["misspelt"] = "1m"

    with pytest.raises(jsonschema.ValidationError, match="'misspelt' was unexpected"):
        fits(chosen)


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
    for name, text in ({f"{case}.yaml": render(charts, case) for case in MATRIX} | plain()).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
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


def test_our_yaml_is_tidy(tmp_path: Path) -> None:
    """All that people write for the cluster; templates are no YAML, and rendered they are judged below."""
    folders = ("", "charts/**/", "manifests/**/", "tests/manifests/**/")
    files = [file for file in tracked(*(f":(glob){folder}*.yaml" for folder in folders))
             if "templates" not in file.parts]
    lint = ("yamllint", "--strict", "--config-file", ROOT / ".yamllint.yaml")
    assert {ROOT / name for name in ("skaffold.yaml", "kind-config.yaml", "manifests/namespaces.yaml")} <= set(files)
    run(*lint, *files)

    untidy = tmp_path / "untidy.yaml"
    untidy.write_text("a: [ 1 ]\n", encoding="utf-8")
    assert "too many spaces" in run(*lint, untidy, expect=1).stdout


@matrix
def test_rendered_yaml_has_no_duplicate_keys(charts: Path, case: Case, tmp_path: Path) -> None:
    """PyYAML keeps the last of two equal keys; so would a reader believe a value that is not there."""
    file = tmp_path / "rendered.yaml"
    file.write_text(render(charts, case), encoding="utf-8")
    run("yamllint", "--strict", "--config-data", "{rules: {key-duplicates: enable}}", file)

    file.write_text("a: 1\na: 2\n", encoding="utf-8")
    run("yamllint", "--strict", "--config-data", "{rules: {key-duplicates: enable}}", file, expect=1)


def test_shell_scripts_have_no_known_mistake(tmp_path: Path) -> None:
    scripts = tracked("*.sh", ".ci/run")
    sourced = CHARTS / "platform" / "files" / "create-databases.sh"  # by the entrypoint of PostgreSQL's image
    assert {sourced, ROOT / ".ci" / "run", ROOT / "hack" / "docker.sh"} <= set(scripts)
    run("shellcheck", *(script for script in scripts if script != sourced))
    run("shellcheck", "--shell", "bash", sourced)

    broken = tmp_path / "broken.sh"
    broken.write_text("#!/bin/sh\nrm -rf $1/*\n", encoding="utf-8")
    assert "SC2086" in run("shellcheck", broken, expect=1).stdout


def test_dockerfiles_have_no_known_mistake(tmp_path: Path) -> None:
    files = tracked("*Dockerfile")
    assert len(files) == 2
    run("hadolint", *files)

    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM debian\nRUN cd /tmp && sudo make\n", encoding="utf-8")
    said = run("hadolint", broken, expect=1).stdout
    assert {"DL3006", "DL3004"} <= set(said.split())


def test_every_skipped_check_says_why() -> None:
    text = (ROOT / ".checkov.yaml").read_text(encoding="utf-8")
    skipped = [line for line in text.splitlines() if line.strip().startswith("- CKV")]
    assert len(skipped) == len(yaml.safe_load(text)["skip-check"])
    assert [line for line in skipped if not re.search(r"  # \w+.{20}", line)] == []

    annotated = [
        line.strip() for file in tracked(":(glob)charts/*/templates/**") for line in file.read_text().splitlines()
        if "checkov.io/skip" in line
    ]
    assert annotated
    assert [line for line in annotated if not re.search(r": CKV_K8S_\d+=\w+.{10}", line)] == []
    inline = [
        (file, line) for file in tracked("*.sh", ".ci/run", "*Dockerfile", ":(glob)manifests/**")
        for before, line in itertools.pairwise(file.read_text().splitlines())
        if re.search(r"(shellcheck disable|hadolint ignore)=", line) and not before.lstrip().startswith("#")
    ]
    assert inline == []
