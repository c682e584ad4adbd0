"""Every model registry behaves the same: MLflow on SQLite, an MLflow server, and the fake."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.adapters.records import SqlRecords
from bikeshare.adapters.registry import MlflowRegistry
from bikeshare.errors import NotFound, Unavailable
from bikeshare.ports import ModelRegistry
from tests.fakes.registry import MemoryRegistry


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One migrated MLflow database: creating the schema costs seconds, so each test copies it."""
    path = tmp_path_factory.mktemp("mlflow") / "template.db"
    MlflowRegistry(f"sqlite:///{path}", "template").version_of("champion")
    return path


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "server.db").write_bytes(mlflow_database.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
             "--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination",
             str(folder / "artifacts"), "--serve-artifacts"],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2).read()
                break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((folder / "server.log").read_text())
                time.sleep(0.3)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=20)


@pytest.fixture(params=["memory", "sqlite", "server"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    name = f"bikes-{tmp_path.name}"
    if request.param == "memory":
        return MemoryRegistry(tmp_path / "fake")
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("mlflow_database")
        database = tmp_path / "mlflow.db"
        database.write_bytes(template.read_bytes())
        return MlflowRegistry(f"sqlite:///{database}", name, tmp_path / "artifacts")
    return MlflowRegistry(request.getfixturevalue("mlflow_server"), name)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    (folder / "nested").mkdir(parents=True)
    (folder / "contract.json").write_text('{"contract_version": "1"}')
    (folder / "nested" / "model.onnx").write_bytes(b"\x00forest")
    return folder


def start(registry: ModelRegistry) -> str:
    return registry.log_run(
        run_name="first", params={"trees": 5, "seed": 0}, metrics={"mae": 31.5}, tags={"data_hash": "abc"}
    )


def test_an_empty_registry_has_no_champion_and_no_versions(registry: ModelRegistry) -> None:
    assert registry.version_of("champion") is None
    assert list(registry.versions()) == []
    registry.delete_alias("champion")
    with pytest.raises(NotFound):
        registry.get("1")


def test_a_registered_artifact_comes_back_byte_for_byte(
    registry: ModelRegistry, artifact: Path, tmp_path: Path
) -> None:
    run_id = start(registry)
    version = registry.register(run_id, artifact, {"data_hash": "abc"})
    copy = registry.download(version, tmp_path / "copy")
    assert (copy / "contract.json").read_text() == '{"contract_version": "1"}'
    assert (copy / "nested" / "model.onnx").read_bytes() == b"\x00forest"
    found = registry.get(version)
    assert found.run_id == run_id
    assert found.tags["data_hash"] == "abc"


def test_aliases_move_between_versions_and_can_be_removed(registry: ModelRegistry, artifact: Path) -> None:
    run_id = start(registry)
    first = registry.register(run_id, artifact, {})
    second = registry.register(run_id, artifact, {})
    registry.set_alias("champion", first)
    assert registry.version_of("champion") == first
    registry.set_alias("champion", second)
    registry.set_alias("previous", first)
    assert registry.version_of("champion") == second
    assert registry.get(first).aliases == ("previous",)
    registry.delete_alias("previous")
    assert registry.version_of("previous") is None
    assert registry.version_of("champion") == second


def test_versions_are_listed_newest_first_with_their_tags(registry: ModelRegistry, artifact: Path) -> None:
    run_id = start(registry)
    made = [registry.register(run_id, artifact, {"number": str(number)}) for number in range(3)]
    registry.tag(made[1], {"gate": "rejected", "number": "changed"})
    listed = list(registry.versions())
    assert [item.version for item in listed] == made[::-1]
    assert listed[1].tags == {"gate": "rejected", "number": "changed"}
    assert listed[0].tags == {"number": "2"}


def test_what_is_no_version_is_not_found(registry: ModelRegistry, tmp_path: Path) -> None:
    for name in ("abc", "", "1.5", "-1"):
        with pytest.raises(NotFound):
            registry.get(name)
        with pytest.raises(NotFound):
            registry.download(name, tmp_path / "x")


def test_a_missing_version_cannot_get_an_alias_or_a_tag(registry: ModelRegistry, artifact: Path) -> None:
    registry.register(start(registry), artifact, {})
    for action in (
        lambda: registry.set_alias("champion", "99"),
        lambda: registry.tag("99", {"a": "b"}),
        lambda: registry.get("99"),
        lambda: registry.log_to_run("no-such-run", metrics={"mae": 1.0}),
    ):
        with pytest.raises(NotFound):
            action()
    assert registry.version_of("champion") is None


def test_a_run_accepts_more_metrics_files_and_tables(
    registry: ModelRegistry, artifact: Path, tmp_path: Path
) -> None:
    run_id = start(registry)
    registry.log_to_run(
        run_id, metrics={"gate_mae": 30.0}, tags={"gate": "accepted"}, artifacts=artifact, artifact_path="plots",
        table=("gate.json", pd.DataFrame({"check": ["naive"], "passed": ["yes"]})),
    )
    version = registry.register(run_id, artifact, {})
    assert registry.get(version).run_id == run_id


def test_what_was_logged_can_be_read_in_mlflow(mlflow_database: Path, artifact: Path, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(mlflow_database.read_bytes())
    registry = MlflowRegistry(f"sqlite:///{database}", "bikes", tmp_path / "artifacts")
    run_id = registry.log_run(
        run_name="r", params={"trees": 5}, metrics={"mae": 31.5}, tags={"data_hash": "abc"}, artifacts=artifact
    )
    registry.log_to_run(run_id, metrics={"gate_mae": 30.0}, table=("gate.json", pd.DataFrame({"check": ["naive"]})))
    from mlflow import MlflowClient

    run = MlflowClient(tracking_uri=f"sqlite:///{database}").get_run(run_id)
    assert run.data.params == {"trees": "5"}
    assert run.data.metrics == {"mae": 31.5, "gate_mae": 30.0}
    assert run.data.tags["data_hash"] == "abc"
    assert run.info.status == "FINISHED"
    stored = {path.name for path in (tmp_path / "artifacts" / run_id / "artifacts").iterdir()}
    assert {"contract.json", "gate.json"} <= stored


def test_a_first_day_may_begin_in_several_processes_and_threads_at_once(tmp_path: Path) -> None:
    """Dashboard, live API and pipeline open an empty home together; every one of them creates what is missing."""
    url = f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    other = subprocess.Popen(
        [sys.executable, "-c", "import sys; from bikeshare.adapters.registry import MlflowRegistry\n"
                               "MlflowRegistry(sys.argv[1], 'bikes').version_of('champion')", url],
        stderr=subprocess.PIPE, text=True,
    )
    opened = [
        lambda: MlflowRegistry(url, "bikes").version_of("champion"),
        lambda: MlflowRegistry(url, "bikes").version_of("champion"),
        SqlRecords(f"sqlite:///{tmp_path / 'records.db'}").migrate,
    ]
    with ThreadPoolExecutor(len(opened)) as threads:
        answers = list(threads.map(lambda open_one: open_one(), opened))
    assert answers == [None, None, None]
    _, problems = other.communicate(timeout=120)
    assert other.returncode == 0, problems


def test_an_orchestrators_run_is_adopted_and_left_open(
    mlflow_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow.db"
    database.write_bytes(mlflow_database.read_bytes())
    registry = MlflowRegistry(f"sqlite:///{database}", "bikes", tmp_path / "artifacts")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    theirs = client.create_run(client.create_experiment("KFP-Default")).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs)
    assert registry.log_run(run_name="r", params={}, metrics={"mae": 1.0}, tags={}) == theirs
    assert client.get_run(theirs).info.status == "RUNNING"
    assert client.get_run(theirs).data.metrics == {"mae": 1.0}


def test_a_registry_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    registry = MlflowRegistry(f"http://127.0.0.1:{port}", "bikes")
    with pytest.raises(Unavailable, match=str(port)):
        registry.version_of("champion")
