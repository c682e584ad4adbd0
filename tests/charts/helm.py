"""Runs the tools of `hack/tools.sh`: renders the charts over a matrix of values, offline."""

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
DIGEST = "sha256:" + "a" * 64

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One chart with one combination of values."""

    chart: str
    name: str
    files: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.chart}-{self.name}"


def _digests(*parts: str) -> tuple[str, ...]:
    return tuple(f"{part}.image.digest={DIGEST}" for part in parts)


MATRIX = (
    Case("platform", "default"),
    Case("platform", "kind", ("values-kind.yaml",)),
    Case("platform", "prod", ("values-prod.yaml",), _digests("objectStore", "postgresql", "mlflow")),
    Case("platform", "external", ("ci/external-values.yaml",)),
    Case("bikeshare", "default"),
    Case("bikeshare", "kind", ("values-kind.yaml",)),
    Case("bikeshare", "lite", ("values-kind.yaml", "values-lite.yaml")),
    Case("bikeshare", "keda", ("values-kind.yaml", "values-keda.yaml")),
    Case("bikeshare", "prod", ("values-prod.yaml",), _digests("pipelines", "predictor", "monitor", "dashboard")),
    Case("bikeshare", "external", ("ci/external-values.yaml",)),
)

matrix = pytest.mark.parametrize("case", MATRIX, ids=str)


def tool(name: str) -> str:
    """Path of a tool; fails the test with what to do when it is not there."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache_home / "bikeshare" / "bin" / name
    if not path.exists():
        pytest.fail(f"{path} is missing: run `hack/tools.sh`")
    return str(path)


def run(*command: str | Path, expect: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a tool; asserts its exit code unless `expect` is None."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])], capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | environment,
    )
    if expect is not None:
        assert done.returncode == expect, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done


def template(charts: Path, case: Case, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """`helm template` in the namespace the charts are made for."""
    folder = charts / case.chart
    values = [word for file in case.files for word in ("--values", str(folder / file))]
    sets = [word for pair in case.sets for word in ("--set", pair)]
    return run(
        "helm", "template", case.chart, folder, "--namespace", "bikeshare", "--kube-version", "1.36", *values, *sets,
        *arguments, expect=expect,
    )


def refusal(charts: Path, chart: str, *sets: str) -> str:
    """What helm says when it refuses these values."""
    done = template(charts, Case(chart, "refused", sets=sets), expect=1)
    return done.stderr


@cache
def render(charts: Path, case: Case) -> str:
    """Everything that Helm would apply, as YAML."""
    return template(charts, case).stdout


def objects(charts: Path, case: Case) -> list[Manifest]:
    """The rendered objects, hooks included."""
    return [document for document in yaml.safe_load_all(render(charts, case)) if document]


def find(manifests: list[Manifest], kind: str, name: str, namespace: str = "bikeshare") -> Manifest:
    """The one object of that kind and name."""
    found = [
        each for each in manifests
        if each["kind"] == kind and each["metadata"]["name"] == name
        and each["metadata"].get("namespace", namespace) == namespace
    ]
    assert len(found) == 1, f"{len(found)} of {kind}/{name} in {namespace}"
    return found[0]
