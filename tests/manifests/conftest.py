"""Tools for building manifests, and a cluster that is a folder."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.fakes import kubectl as fake
from tests.manifests.overlay import on_stub

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bikeshare" / "bin"


def tool(name: str) -> str:
    """Where a command-line tool is; `hack/tools.sh` installs it when it is nowhere."""
    path = f"{TOOLS}:{os.environ['PATH']}"
    if shutil.which(name, path=path) is None:
        subprocess.run([str(ROOT / "hack" / "tools.sh"), name], check=True)
    found = shutil.which(name, path=path)
    assert found, f"hack/tools.sh did not install {name}"
    return found


def script(name: str) -> ModuleType:
    """A Python script of hack/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "hack" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def kustomize() -> list[str]:
    """A command that builds a kustomization."""
    return [tool("kubectl"), "kustomize"]


@pytest.fixture(scope="session")
def built(kustomize: list[str], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[dict[str, Any]]]:
    """Objects of each part of the KFP overlay, built on the stub."""
    objects = {}
    for part in ("crds", "stack"):
        folder = tmp_path_factory.mktemp("overlay") / part
        shutil.copytree(ROOT / "manifests" / "kfp" / part, folder)
        done = subprocess.run([*kustomize, str(on_stub(folder))], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        objects[part] = list(yaml.safe_load_all(done.stdout))
    return objects


@dataclass
class Cluster:
    """A cluster that only our scripts see."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def objects(self) -> dict[str, Any]:
        """All objects by `kind/namespace/name`."""
        return fake.load(self.folder / "objects.json")

    @property
    def calls(self) -> list[str]:
        """Every kubectl call so far."""
        log = self.folder / "calls.log"
        return log.read_text().splitlines() if log.is_file() else []

    def put(self, *objects: dict[str, Any]) -> None:
        """Somebody else applies objects."""
        known = self.objects
        for item in objects:
            metadata = item["metadata"]
            known[fake.key_of(item["kind"], metadata.get("namespace", ""), metadata["name"])] = item
        (self.folder / "objects.json").write_text(json.dumps(known))

    def fail(self, verb: str, times: int) -> None:
        """Let the next calls of a verb fail."""
        (self.folder / "fail.json").write_text(json.dumps({verb: times}))

    def run(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one of our scripts against this cluster."""
        return subprocess.run(
            ["sh", str(ROOT / "hack" / script)], env=self.environment | variables, capture_output=True, text=True,
            check=False, timeout=120,
        )


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the scripts find first on their path: our kubectl, this Python."""
    programs = tmp_path_factory.mktemp("programs") / "bin"
    programs.mkdir()
    path = f"{ROOT}:{sysconfig.get_path('purelib')}"
    for name, options in (("kubectl", "-S -m tests.fakes.kubectl"), ("python", "")):  # -S: starts four times faster
        (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec {sys.executable} {options} "$@"\n')
        (programs / name).chmod(0o755)
    return programs


def _cluster(folder: Path, programs: Path, kustomize: list[str]) -> Cluster:
    (folder / "cluster").mkdir(exist_ok=True)
    return Cluster(folder / "cluster", {
        "PATH": f"{programs}:{os.environ['PATH']}", "FAKE_KUBECTL": str(folder / "cluster"), "HOME": str(folder),
        "REAL_KUSTOMIZE": " ".join(kustomize), "KFP_CACHE": str(folder / "cache"), "RETRY_PAUSE_SECONDS": "0",
    })


@pytest.fixture
def cluster(tmp_path: Path, programs: Path, kustomize: list[str]) -> Cluster:
    """An empty cluster."""
    return _cluster(tmp_path, programs, kustomize)


@pytest.fixture(scope="session")
def _once(tmp_path_factory: pytest.TempPathFactory, programs: Path, kustomize: list[str]) -> Path:
    folder = tmp_path_factory.mktemp("bootstrapped")
    done = _cluster(folder, programs, kustomize).run("bootstrap.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output").write_text(done.stdout)
    return folder


@pytest.fixture
def bootstrapped(_once: Path, tmp_path: Path, programs: Path, kustomize: list[str]) -> Cluster:
    """A cluster on which `hack/bootstrap.sh` ran once; what it said is in `output` beside it."""
    shutil.copytree(_once, tmp_path, dirs_exist_ok=True)
    return _cluster(tmp_path, programs, kustomize)
