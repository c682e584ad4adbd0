"""The compiled pipeline really run: kfp.local, real adapters, a real predictor; only the data is small.

One world lives through four runs, in this order: a first version, a challenger the gate refuses, a recent day that is
broken, and a run beside another one.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.adapters.clock import FileClock
from bikeshare.adapters.runs.local import read_run
from bikeshare.bootstrap import wire
from bikeshare.core.scenarios import fahrenheit
from bikeshare.ports import Ports, Run
from bikeshare.settings import Settings
from bikeshare.steps.landing import land
from bikeshare.steps.outcome import Outcome, read_outcome
from bikeshare.steps.package import read_package
from bikeshare.steps.request_run import request_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Ended:
    """A run after its end, and the world right then."""

    run: Run
    outcome: Outcome | None
    document: dict[str, object]
    champion: str | None
    serving: str | None
    alerts: list[dict[str, object]]


@dataclass
class World:
    """A home with a predictor."""

    settings: Settings
    ports: Ports
    history: pd.DataFrame
    ended: dict[str, Ended] = field(default_factory=dict)

    def land(self, start: str, end: str, change: bool = False) -> None:
        rows = self.history[(self.history["timestamp"] >= start) & (self.history["timestamp"] < end)]
        if change:
            rows = fahrenheit(rows, datetime.fromisoformat(start), datetime.fromisoformat(end))
        land(self.ports.store, rows.reset_index(drop=True))

    def run(self, key: str, now: str, **arguments: object) -> Ended:
        FileClock(Path(self.settings.clock.removeprefix("file:"))).set(datetime.fromisoformat(now))
        seen = len(self.alerts())
        started = request_run(
            self.ports, run_key=key, reason="test", arguments=arguments, now=datetime.fromisoformat(now)
        )
        deadline = time.monotonic() + 180
        while started.status not in ("succeeded", "failed"):
            assert time.monotonic() < deadline, f"{key} did not end"
            time.sleep(0.2)
            started = self.ports.runs.get(started.run_id)
        folder = Path(started.url.removeprefix("file://"))
        self.ended[key] = Ended(
            started, read_outcome(self.ports.store, key), read_run(folder),
            self.ports.registry.version_of("champion"), self.ports.rollouts.serving_version(), self.alerts()[seen:],
        )
        return self.ended[key]

    def alerts(self) -> list[dict[str, object]]:
        path = self.settings.home / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [int(item.getsockname()[1]) for item in sockets]
    finally:
        for item in sockets:
            item.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, history: pd.DataFrame) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    public, control = free_ports(2)
    settings = Settings(
        home=home, clock=f"file:{home / 'clock'}", predictor_port=public, supervisor_port=control,
        predictor_url=f"http://127.0.0.1:{public}", refresh_seconds=5,
    )
    FileClock(home / "clock").set(datetime(2012, 6, 2))
    variables = {**os.environ, **settings.to_environment()}
    with (home / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "bikeshare", "serve"], cwd=ROOT, env=variables, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )
    try:
        ports = wire(settings)
        deadline = time.monotonic() + 60
        while True:
            try:
                ports.rollouts.serving_version()
                break
            except Exception:
                assert time.monotonic() < deadline, (home / "serve.log").read_text()
                time.sleep(0.2)
        lived = World(settings, ports, history)
        live(lived)
        yield lived
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def live(world: World) -> None:
    """Six runs."""
    world.land("2012-03-01", "2012-06-01")
    world.run("first", "2012-06-02T00:00:00", trees=5)
    world.land("2012-06-01", "2012-06-03")
    world.run("nightly", "2012-06-03T00:00:00", if_due=True)
    world.land("2012-06-03", "2012-06-11")
    world.run("poor", "2012-06-12T00:00:00", trees=1, if_due=True)
    world.land("2012-06-11", "2012-06-12", change=True)
    world.run("broken-data", "2012-06-13T00:00:00", trees=5)
    world.run("started-again", "2012-06-13T12:00:00", trees=5)
    world.ports.records.acquire_lock("training", "somebody-else", datetime.now(), 600)
    world.ports.records.save_state(
        "lease/training", {"owner": "somebody-else", "since": "today"},
        world.ports.records.load_state("lease/training")[1],
    )
    world.run("second-at-once", "2012-06-13T00:00:00", trees=5)
    world.ports.records.release_lock("training", "somebody-else")


def test_the_first_version_becomes_champion_and_serves(world: World) -> None:
    first = world.ended["first"]
    assert first.run.status == "succeeded", first.document
    assert first.outcome is not None
    assert (first.outcome.result, first.outcome.version, first.outcome.previous) == ("promoted", "1", None)
    assert (first.champion, first.serving) == ("1", "1")
    assert [alert["kind"] for alert in first.alerts] == ["retrained"]
    described = read_package(world.ports.store, "1")
    stored = world.ports.store.info(described.key)
    assert stored is not None
    assert stored.size == described.size > 10_000
    assert world.ports.registry.get("1").tags["content_hash"] == described.content_hash


def test_the_live_api_answers_with_the_promoted_version(world: World) -> None:
    with urllib.request.urlopen(f"{world.settings.predictor_url}/model", timeout=10) as answer:
        assert json.load(answer)["model_version"] == "1"


def test_the_run_says_where_everything_came_from(world: World) -> None:
    version = world.ports.registry.get("1")
    assert version.tags["window_start"] == "2012-03-01T00:00:00"
    assert version.tags["window_end"] == "2012-06-01T00:00:00"
    assert version.tags["run_key"] == "first"
    assert len(version.tags["data_hash"]) == 64
    assert version.tags["git_revision"]
    assert version.tags["gate"] == "accepted"
    assert version.tags["gate_naive"].startswith("passed")
    files = {path.name for path in (world.settings.home / "mlartifacts" / version.run_id / "artifacts").rglob("*")}
    assert {
        "predicted_vs_actual.png", "residuals_by_hour.png", "importance.png", "gate.json", "model.onnx",
        "model_card.md", "backtest.json", "reference_profile.json",
    } <= files


def test_every_step_is_timed(world: World) -> None:
    assert list(world.ended["first"].document["seconds"]) == ["ingest", "train", "evaluate", "deploy", "finish"]  # type: ignore[call-overload]
    assert float(str(world.ended["first"].document["cpu_seconds"])) > 0


def test_a_scheduled_run_waits_until_there_is_something_to_compare_on(world: World) -> None:
    nightly = world.ended["nightly"]
    assert nightly.run.status == "succeeded", nightly.document
    assert list(nightly.document["seconds"]) == ["ingest", "skip", "finish"]  # type: ignore[call-overload]
    assert nightly.outcome is not None
    assert (nightly.outcome.result, nightly.outcome.version, nightly.outcome.previous) == ("skipped", "", "1")
    assert "25 hours that champion 1 never saw, 120 are needed" in nightly.outcome.reason
    assert (nightly.champion, nightly.serving, nightly.alerts) == ("1", "1", [])


def test_a_refused_challenger_leaves_the_champion_alone(world: World) -> None:
    poor = world.ended["poor"]
    assert poor.run.status == "succeeded", poor.document
    assert poor.outcome is not None
    assert (poor.outcome.result, poor.outcome.version) == ("refused", "2")
    assert poor.outcome.wape_before is not None
    assert poor.outcome.wape_after is not None
    assert poor.outcome.wape_after > poor.outcome.wape_before
    assert (poor.champion, poor.serving) == ("1", "1")
    assert [alert["kind"] for alert in poor.alerts] == ["refused"]
    tags = world.ports.registry.get("2").tags
    assert (tags["gate"], tags["status"]) == ("refused", "rejected")
    assert "champion" in tags["rejected_reason"]
    assert world.ports.registry.version_of("challenger") is None
    assert world.ports.store.info("models/2/package.json") is None


def test_a_broken_recent_day_stops_the_run_before_anything_is_trained(world: World) -> None:
    broken = world.ended["broken-data"]
    assert broken.run.status == "failed"
    assert broken.outcome is not None
    assert broken.outcome.error == "BatchRejected"
    assert "2012-06-11" in broken.outcome.reason
    assert [alert["kind"] for alert in broken.alerts] == ["data_rejected"]
    assert (broken.champion, broken.serving) == ("1", "1")
    assert len(world.ports.registry.versions()) == 2
    assert world.ports.store.info("quarantine/date=2012-06-11/reason.json") is not None


def test_starting_again_does_not_train_past_the_broken_day(world: World) -> None:
    again = world.ended["started-again"]
    assert again.outcome is not None
    assert (again.run.status, again.outcome.error) == ("failed", "BatchRejected")
    assert "before 2012-06-14 00:00" in again.outcome.reason
    assert again.alerts == [], "people were told once"
    assert again.champion == "1"


def test_a_second_training_fails_at_once_and_names_the_first(world: World) -> None:
    second = world.ended["second-at-once"]
    assert second.run.status == "failed"
    assert second.outcome is not None
    assert second.outcome.error == "Conflict"
    assert "somebody-else" in second.outcome.reason
    assert [alert["kind"] for alert in second.alerts] == ["pipeline_failed"]
    assert second.champion == "1"


def test_the_lease_is_free_again_and_the_intents_are_closed(world: World) -> None:
    assert world.ports.records.acquire_lock("training", "next", datetime.now(), 1)
    outcomes = {intent.run_key: intent.outcome for intent in world.ports.records.intents()}
    assert outcomes == {
        "first": "promoted", "nightly": "skipped", "poor": "refused", "broken-data": "failed",
        "started-again": "failed", "second-at-once": "failed",
    }


def test_nothing_temporary_is_left_behind(world: World) -> None:
    runs = world.settings.home / "runs"
    assert list(runs.glob("*/tmp")) == []
    kept = {path.parent.name for path in runs.glob("*/artifacts")}
    assert kept.isdisjoint({key for key, ended in world.ended.items() if ended.run.status == "succeeded"})
