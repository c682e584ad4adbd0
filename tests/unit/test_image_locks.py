"""Every image holds what its own code imports, on whatever page or in whatever function the import stands."""

import ast
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

OURS = ("bikeshare", "components", "pipelines", "services")

DOORS = {
    "pipeline": (
        "bikeshare.commands.data", "bikeshare.commands.pipeline", "bikeshare.commands.registry", "pipelines.training",
        "pipelines.local",
    ),
    "predictor": ("services.predictor.__main__",),
    "monitor": ("services.monitor.__main__", "services.monitor.check"),
    "dashboard": ("services.dashboard.app",),
}
"""Modules an image is started with."""

_WIRED = "wired for other processes; this one never asks for it"
ELSEWHERE = {
    "pipeline": {"evidently": "only the monitor writes reports"},
    "predictor": {
        "evidently": _WIRED, "kfp_server_api": _WIRED, "kubernetes": _WIRED, "slack_sdk": _WIRED,
        "mlflow": "a pod is pinned to a version and asks no registry", "requests": "only the registry's client does",
        "sklearn": "forests are served by ONNX Runtime", "skops": "forests are served by ONNX Runtime",
    },
    "monitor": {},
    "dashboard": {
        "evidently": _WIRED, "kfp_server_api": _WIRED, "slack_sdk": _WIRED,
        "kubernetes": "the dashboard of a cluster has no right there and names the command instead",
    },
}
"""Packages that code in reach of a door imports, and why this image does without."""


def source(root: Path, module: str) -> Path | None:
    """File of one of our modules."""
    path = root.joinpath(*module.split("."))
    return next((found for found in (path.with_suffix(".py"), path / "__init__.py") if found.is_file()), None)


def imported(root: Path, doors: tuple[str, ...]) -> dict[str, str]:
    """Third-party top-level modules in reach of the doors -> one of our modules that imports each."""
    seen: set[str] = set()
    found: dict[str, str] = {}
    waiting = list(doors)
    while waiting:
        module = waiting.pop()
        path = source(root, module)
        if module in seen or path is None:
            continue
        seen.add(module)
        waiting += [module.rpartition(".")[0]]
        for name in named_by(path):
            top = name.partition(".")[0]
            if top in OURS:
                waiting.append(name)
            elif top not in sys.stdlib_module_names:
                found.setdefault(top, module)
    return found


@cache
def named_by(path: Path) -> tuple[str, ...]:
    """What the import statements of a file name, wherever they stand."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def locked(root: Path, image: str) -> set[str]:
    """Distributions in the lock of an image."""
    text = (root / "requirements" / f"{image}.txt").read_text(encoding="utf-8")
    return {normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", text, re.MULTILINE)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def distributions() -> Mapping[str, list[str]]:
    """Top-level module -> distributions; reading them all takes seconds."""
    return packages_distributions()


@pytest.mark.parametrize("image", list(DOORS))
def test_an_image_holds_what_its_code_imports(
    root: Path, distributions: Mapping[str, list[str]], image: str
) -> None:
    there = locked(root, image)
    missing = {
        top: module for top, module in imported(root, DOORS[image]).items()
        if not {normal(name) for name in distributions[top]} & there
    }

    assert set(missing) == set(ELSEWHERE[image]), missing


def test_an_import_inside_a_function_is_found(root: Path) -> None:
    assert imported(root, ("bikeshare.steps.look_back",)).get("onnxruntime") is None
    assert "onnxruntime" in imported(root, ("services.dashboard.world",))
