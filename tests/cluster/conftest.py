"""One control plane for all tests of this folder; every test gets namespaces of its own."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.installation import Helm, Scripts, helm_for, install, scripts_for
from tests.cluster.stand_in_kubelet import StandInKubelet

_NUMBERS = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the control plane: `make test` deselects it, `make test-cluster` runs nothing else."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane."""
    with control_plane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def kubelet(plane: ControlPlane) -> Iterator[StandInKubelet]:
    """The one node."""
    made = StandInKubelet(plane)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def scripts(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    """The scripts of `hack`, talking to the control plane."""
    return scripts_for(plane, tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def helm(
    plane: ControlPlane, kubelet: StandInKubelet, scripts: Scripts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Helm]:
    """Both charts, installed once with the values for kind; tests leave nothing but another promoted version."""
    yield from install(helm_for(plane, tmp_path_factory.mktemp("helm")), scripts)


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """An empty namespace that enforces the restricted Pod Security standard."""
    name = f"test-{next(_NUMBERS)}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    plane.kubectl("delete", "namespace", name, "--wait=false")
