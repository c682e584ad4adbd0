"""Values are documented, schemas closed, overlays hold differences only, impossible combinations are refused."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.helm import CHARTS, MATRIX, Case, matrix, refusal, run, template

APPLICATIONS = ("platform", "bikeshare")


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all values that are no non-empty map."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in ("requests", "limits"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def documented(text: str) -> set[str]:
    """Dotted paths of the keys that stand directly under a `# --` comment."""
    found, path, pending = set(), [], False
    for line in text.splitlines():
        if line.strip().startswith("# --"):
            pending = True
        elif match := re.match(r"^( *)([A-Za-z][A-Za-z0-9]*):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if pending:
                found.add(".".join(path))
            pending = False
        elif not line.strip().startswith("#"):
            pending = False
    return found


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_every_value_is_documented(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text(encoding="utf-8")
    documentation = documented(text)

    undocumented = [
        path for path in leaves(yaml.safe_load(text))
        if not any(path == known or path.startswith(f"{known}.") for known in documentation)
    ]
    assert undocumented == []


def test_a_key_without_a_comment_is_found() -> None:
    text = "a:\n  # -- Says it.\n  b: 1\n  c: 2\n# -- All of it.\nd:\n  requests: {cpu: 1}\n"

    assert documented(text) == {"a.b", "d"}
    assert list(leaves(yaml.safe_load(text))) == ["a.b", "a.c", "d.requests"]


def schemas(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every sub-schema with properties, and where it is."""
    if isinstance(node, dict):
        if "properties" in node and node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from schemas(value, f"{path}/{key}")


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_the_schema_is_closed(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    found = dict(schemas(schema))

    assert len(found) > 10
    assert [path for path, node in found.items() if node.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_schema_and_values_have_the_same_keys(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))

    def compare(node: Mapping[str, Any], value: Any, path: str) -> None:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if "properties" not in node or not isinstance(value, dict):
            return
        allowed = set(node["properties"]) - ({"global", "common"} if not path else set())
        assert allowed - {"cpu"} == set(value) - {"cpu"}, path
        for key, inner in value.items():
            compare(node["properties"][key], inner, f"{path}.{key}")

    compare(schema, values, "")


@pytest.mark.parametrize(("chart", "setting", "named"), [
    ("bikeshare", "predictor.replicas=3", "replicas"),
    ("bikeshare", "autoscaling.mode=fast", "autoscaling/mode"),
    ("bikeshare", "autoscaling.minReplicas=0", "minReplicas"),
    ("bikeshare", "monitor.schedule=hourly", "schedule"),
    ("bikeshare", "predictor.image.digest=sha256:abc", "digest"),
    ("bikeshare", "connections.objectStore.url=minio", "objectStore/url"),
    ("bikeshare", "existingSecret=", "existingSecret"),
    ("bikeshare", "predictor.podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
    ("platform", "postgresql.password=x", "password"),
    ("platform", "mlflow.allowedHosts={mlflow.example.org}", "allowedHosts"),
    ("platform", "objectStore.storage.size=plenty", "size"),
])
def test_the_schema_refuses(charts: Path, chart: str, setting: str, named: str) -> None:
    assert named in refusal(charts, chart, setting)


REFUSALS = [
    ("platform", ("objectStore.mode=external", "postgresql.mode=external", "mlflow.mode=external"),
     "nothing is left to install"),
    ("platform", ("objectStore.endpointUrl=http://s3",), 'objectStore.mode is "internal"'),
    ("platform", ("postgresql.peers[0].podSelector.matchLabels.a=b",), 'postgresql.mode is "internal"'),
    ("platform", ("objectStore.mode=external",), "of mlflow would cut it off"),
    ("platform", ("postgresql.mode=external",), "of mlflow would cut it off"),
    ("platform", ("objectStore.setup.image.repository=quay.io/minio/mc",), "without tag or digest"),
    ("bikeshare", ("pipelines.namespace=bikeshare",), "use two namespaces"),
    ("bikeshare", ("connections.tracking.url=http://mlflow",), 'its mode is "internal"'),
    ("bikeshare", ("connections.objectStore.endpointUrl=http://s3",), 'its mode is "internal"'),
    ("bikeshare", ("connections.database.mode=external",), "its peers are empty"),
    ("bikeshare", ("connections.tracking.mode=external",), "its url is empty"),
    ("bikeshare", ("pipelines.url=https://kfp",), "pipelines.peers is empty"),
    ("bikeshare", ("pipelines.peers[0].ipBlock.cidr=192.0.2.1/32",), "pipelines.url is empty"),
    ("bikeshare", ("autoscaling.minReplicas=5",), "more than maxReplicas"),
    ("bikeshare", ("autoscaling.mode=keda",), "no request rate to scale by"),
    ("bikeshare", ("promoter.enabled=false",), "disable both"),
]
"""Chart, values that cannot work, words of the sentence that says so."""


@pytest.mark.parametrize(("chart", "settings", "sentence"), REFUSALS)
def test_what_cannot_work_is_refused_with_a_sentence(
    charts: Path, chart: str, settings: tuple[str, ...], sentence: str
) -> None:
    assert sentence in refusal(charts, chart, *settings)


def test_every_refusal_is_tested() -> None:
    for chart in APPLICATIONS:
        text = (CHARTS / chart / "templates" / "requirements.yaml").read_text(encoding="utf-8")
        sentences = [line.replace('\\"', '"') for line in text.splitlines() if "fail " in line]
        known = [sentence for each, _, sentence in REFUSALS if each == chart]

        assert len(sentences) > 3
        assert [line for line in sentences if not any(words in line for words in known)] == []


@pytest.mark.parametrize("overlay", sorted(
    str(path.relative_to(CHARTS)) for chart in APPLICATIONS for path in (CHARTS / chart).glob("values-*.yaml")
))
def test_an_overlay_holds_differences_only(overlay: str) -> None:
    chart = overlay.split("/")[0]
    base = yaml.safe_load((CHARTS / chart / "values.yaml").read_text(encoding="utf-8"))
    if overlay.endswith(("values-lite.yaml", "values-keda.yaml")):
        base = merged(base, yaml.safe_load((CHARTS / chart / "values-kind.yaml").read_text(encoding="utf-8")))

    assert same(base, yaml.safe_load((CHARTS / overlay).read_text(encoding="utf-8"))) == []


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Helm merges them."""
    return {**base, **{
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in over.items()
    }}


def same(base: Mapping[str, Any], over: Mapping[str, Any], path: str = "") -> list[str]:
    """Paths whose value the overlay repeats."""
    found = []
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            found += same(base[key], value, f"{path}{key}.")
        elif base.get(key) == value:
            found.append(path + key)
    return found


def test_a_repeated_value_is_found() -> None:
    assert same({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.b"]


@matrix
def test_lint_is_strict_and_clean(charts: Path, case: Case) -> None:
    folder = charts / case.chart
    values = [word for file in case.files for word in ("--values", str(folder / file))]
    sets = [word for pair in case.sets for word in ("--set", pair)]

    done = run("helm", "lint", "--strict", folder, "--namespace", "bikeshare", "--kube-version", "1.36", *values, *sets)
    assert "0 chart(s) failed" in done.stdout


def test_lint_finds_a_broken_template(charts: Path, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "bikeshare"
    shutil.copytree(charts / "bikeshare", broken)
    (broken / "templates" / "broken.yaml").write_text("a: {{ .Values.nothing.at.all }}\n", encoding="utf-8")

    run("helm", "lint", "--strict", broken, "--namespace", "bikeshare", expect=1)


@matrix
def test_rendering_twice_gives_the_same(charts: Path, case: Case) -> None:
    """No random value, no clock: GitOps tools compare renders."""
    assert template(charts, case).stdout == template(charts, case).stdout


def test_names_do_not_depend_on_the_release(charts: Path) -> None:
    """Pipeline, manifests and promoter refer to them; Helm refuses a second release in the namespace by ownership."""
    def names(release: str) -> set[tuple[str, str]]:
        done = run("helm", "template", release, charts / "bikeshare", "--namespace", "bikeshare")
        return {(e["kind"], e["metadata"]["name"]) for e in yaml.safe_load_all(done.stdout) if e}

    assert names("bikeshare") == names("other")


@pytest.mark.parametrize("chart", APPLICATIONS)
def test_dependencies_are_local_and_locked(chart: str) -> None:
    chart_file = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text(encoding="utf-8"))
    lock = yaml.safe_load((CHARTS / chart / "Chart.lock").read_text(encoding="utf-8"))
    common = yaml.safe_load((CHARTS / "common" / "Chart.yaml").read_text(encoding="utf-8"))

    assert [each["repository"] for each in chart_file["dependencies"]] == ["file://../common"]
    assert [each["version"] for each in lock["dependencies"]] == [common["version"]]
    assert chart_file["version"] == common["version"]


def test_the_charts_install_the_version_of_the_program() -> None:
    import tomllib

    project = tomllib.loads((CHARTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for chart in APPLICATIONS:
        assert yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["appVersion"] == project["version"]


def test_the_matrix_covers_every_overlay() -> None:
    used = {f"{case.chart}/{file}" for case in MATRIX for file in case.files}
    existing = {
        str(path.relative_to(CHARTS)) for chart in APPLICATIONS
        for pattern in ("values-*.yaml", "ci/*.yaml") for path in (CHARTS / chart).glob(pattern)
    }

    assert used == existing


@pytest.mark.parametrize(("case", "present", "absent"), [
    (Case("bikeshare", "notes"), "monitoring is off", "admissionPolicy=false"),
    (Case("bikeshare", "notes", ("values-prod.yaml",), ("requireDigests=false",)), "Slack only", "monitoring is off"),
    (Case("bikeshare", "notes", sets=("promoter.admissionPolicy=false",)), "can put any image", "one predictor is not"),
    (Case("bikeshare", "notes", sets=("networkPolicy.enabled=false",)), "networkPolicy.enabled=false", "suspended"),
    (Case("bikeshare", "notes", sets=("monitor.suspend=true",)), "nothing is retrained", "kept for ever"),
    (Case("platform", "notes"), "no replica, no backup", "external"),
    (Case("platform", "notes", ("ci/external-values.yaml",)), "no login", "no backup"),
])
def test_notes_name_what_is_off_and_risky(charts: Path, case: Case, present: str, absent: str) -> None:
    notes = run(
        "helm", "install", case.chart, charts / case.chart, "--namespace", "bikeshare", "--dry-run=client",
        "--kube-version", "1.36", *[w for f in case.files for w in ("--values", str(charts / case.chart / f))],
        *[w for pair in case.sets for w in ("--set", pair)], expect=None,
    ).stdout.partition("NOTES:")[2]

    assert present in notes
    assert absent not in notes
