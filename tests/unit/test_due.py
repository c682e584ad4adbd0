"""A scheduled run trains only when Champion and challenger can be compared on hours neither recipe has seen."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.core.promotion import GatePolicy
from bikeshare.errors import NotFound
from bikeshare.steps.due import due, skip
from bikeshare.steps.outcome import read_outcome
from tests.fakes.registry import MemoryRegistry
from tests.fakes.store import MemoryStore

GATE = GatePolicy()


@pytest.fixture
def rows(history: pd.DataFrame) -> pd.DataFrame:
    return history[history["timestamp"].between("2012-03-01", "2012-05-31 23:00")].reset_index(drop=True)


def registry_with_champion(folder: Path, **tags: str) -> MemoryRegistry:
    registry = MemoryRegistry(folder)
    (folder / "artifact").mkdir(parents=True)
    run = registry.log_run(run_name="first", params={}, metrics={}, tags={})
    registry.set_alias("champion", registry.register(run, folder / "artifact", tags))
    return registry


def test_without_a_champion_a_training_is_due(rows: pd.DataFrame, tmp_path: Path) -> None:
    assert due(rows, MemoryRegistry(tmp_path), GATE).due


@pytest.mark.parametrize(("champion_end", "is_due"), [
    ("2012-05-27T00:00:00", True), ("2012-05-27T01:00:00", False), ("2012-06-01T00:00:00", False),
])
def test_as_many_fresh_hours_as_the_gate_needs_make_it_due(
    rows: pd.DataFrame, tmp_path: Path, champion_end: str, is_due: bool
) -> None:
    found = due(rows, registry_with_champion(tmp_path, window_end=champion_end), GATE)
    assert found.due is is_due
    assert ("that champion 1 never saw, 120 are needed" in found.reason) is not is_due


def test_skipping_leaves_an_outcome_and_nothing_else(rows: pd.DataFrame, tmp_path: Path) -> None:
    registry, store = registry_with_champion(tmp_path, window_end="2012-05-31T00:00:00"), MemoryStore()
    outcome = skip(rows, registry, store, GATE, run_key="nightly", now=datetime(2012, 6, 2))
    assert (outcome.result, outcome.version, outcome.previous) == ("skipped", "", "1")
    assert outcome.reason.startswith("Nothing to train on yet: 24 hours")
    assert read_outcome(store, "nightly") == outcome
    assert registry.version_of("champion") == "1"


def test_a_champion_of_unknown_window_is_an_error(rows: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="window_end"):
        due(rows, registry_with_champion(tmp_path), GATE)
