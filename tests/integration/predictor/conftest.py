"""Two tiny models trained once per session; a fresh home per test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.predictor.world import Started, World, make_world, predictor, train_artifacts


@pytest.fixture(scope="session")
def _first_world(history: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("predictor")
    return make_world(folder / "home", train_artifacts(history, folder / "artifacts"), history)


@pytest.fixture
def world(_first_world: World, tmp_path: Path) -> World:
    """A home of its own with the session's packages and observations."""
    shutil.copytree(_first_world.home, tmp_path / "home", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    return World(tmp_path / "home", _first_world.artifacts)


@pytest.fixture(scope="module")
def shared_world(_first_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A home shared by the tests of a module that only ask questions."""
    home = tmp_path_factory.mktemp("shared") / "home"
    shutil.copytree(_first_world.home, home, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    return World(home, _first_world.artifacts)


@pytest.fixture(scope="module")
def live(shared_world: World) -> Iterator[Started]:
    """A running predictor of version 1 that requires no API key."""
    assert "BIKESHARE_HOME" not in os.environ
    with predictor(shared_world) as running:
        yield running
