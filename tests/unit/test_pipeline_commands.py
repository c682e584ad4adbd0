"""`bikeshare pipeline` and `bikeshare registry`: what people and scripts get to see."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bikeshare import bootstrap
from bikeshare.commands import pipeline, registry
from bikeshare.errors import ConfigurationError, NotFound
from bikeshare.steps.outcome import Outcome, write_outcome
from tests.fakes.registry import MemoryRegistry
from tests.fakes.runs import MemoryRuns
from tests.fakes.store import MemoryStore


@pytest.fixture
def versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    folder = tmp_path / "artifact"
    folder.mkdir()
    fake = MemoryRegistry(tmp_path / "registry")
    run_id = fake.log_run(run_name="r", params={}, metrics={}, tags={})
    lineage = {"window_start": "2011-01-01T00:00:00", "window_end": "2012-01-01T00:00:00", "reason": "manual"}
    fake.register(run_id, folder, {**lineage, "gate": "accepted", "gate_naive": "passed: MAE 30 against 43"})
    fake.register(run_id, folder, {**lineage, "status": "rejected", "reason": "drift"})
    fake.set_alias("champion", "1")
    monkeypatch.setattr(bootstrap, "wire_registry", lambda settings: fake)
    return fake


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> MemoryRuns:
    fake, store = MemoryRuns(), MemoryStore()
    monkeypatch.setattr(bootstrap, "wire_runs", lambda settings: fake)
    monkeypatch.setattr(bootstrap, "wire_store", lambda settings: store)
    write_outcome(store, Outcome("done", "refused", "worse by 7 %", datetime(2012, 1, 1), "4", "3", 0.12, 0.13))
    return fake


def invoke(app, *arguments: str) -> str:  # type: ignore[no-untyped-def]
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_versions_are_listed_for_people_and_scripts(versions: MemoryRegistry) -> None:
    newest, oldest = invoke(registry.app, "list").splitlines()
    assert newest.split() == ["2", "rejected", "2011-01-01", "to", "2012-01-01", "drift"]
    assert oldest.split()[:2] == ["1", "champion"]
    listed = json.loads(invoke(registry.app, "list", "--json"))
    assert [(item["version"], item["aliases"]) for item in listed] == [("2", []), ("1", ["champion"])]


@pytest.mark.parametrize("name", ["1", "champion"])
def test_a_version_is_shown_by_number_or_alias_with_its_checklist(versions: MemoryRegistry, name: str) -> None:
    text = invoke(registry.app, "show", name)
    lineage, checks = text.split("checklist")
    assert lineage.startswith("version 1 champion")
    assert "gate_naive" not in lineage
    assert checks.split(maxsplit=1) == ["naive", "passed: MAE 30 against 43\n"]


def test_an_unknown_version_is_not_found(versions: MemoryRegistry) -> None:
    with pytest.raises(NotFound):
        invoke(registry.app, "show", "99")


def test_status_tells_what_runs_and_what_became_of_a_run(runs: MemoryRuns) -> None:
    assert invoke(pipeline.app, "status") == "nothing runs\n"
    runs.submit({}, run_key="busy", reason="manual")
    runs.submit({}, run_key="done", reason="drift")
    runs.end("done", succeeded=True)
    assert invoke(pipeline.app, "status").split()[:2] == ["busy", "running"]
    assert [item["run_key"] for item in json.loads(invoke(pipeline.app, "status", "--json"))] == ["busy"]
    assert "refused version 4: worse by 7 %" in invoke(pipeline.app, "status", "done")
    document = json.loads(invoke(pipeline.app, "status", "done", "--json"))
    assert (document["status"], document["outcome"]["wape_after"]) == ("succeeded", 0.13)
    with pytest.raises(NotFound):
        invoke(pipeline.app, "status", "never")


@pytest.mark.parametrize("command", ["publish", "schedule"])
def test_publishing_needs_a_kfp_api(runs: MemoryRuns, command: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a KFP API"):
        invoke(pipeline.app, command, "--version", "image-1")
