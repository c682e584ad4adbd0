"""Roll-out, live test and roll-back over the real API in this process: every failure leaves things as they were."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from bikeshare.core.alerts import Alert
from bikeshare.core.rollout import RolloutPolicy
from bikeshare.errors import RolloutRefused, Unavailable
from bikeshare.ports import Receipt
from bikeshare.steps.rollout import roll_back, roll_out
from bikeshare.steps.verify import verify_live
from tests.fakes.clock import FixedClock
from tests.fakes.live_api import AsgiPredictor, Distort, fail, scale_demand
from tests.fakes.records import MemoryRecords
from tests.fakes.registry import FlakyRegistry
from tests.fakes.rollouts import MemoryRollouts
from tests.integration.predictor.world import NOW, World

QUICK = RolloutPolicy(reach_seconds=0.3, probe_requests=10, log_seconds=2.0, p95_seconds=5.0)


class Inbox:
    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.away = False

    def send(self, alert: Alert) -> Receipt:
        if self.away:
            raise Unavailable("Slack is away")
        self.alerts.append(alert)
        return Receipt(True, "sent")


class Bench:
    """Ports over fakes, and predictors that start when a canary does."""

    def __init__(self, world: World, folder: Path, history: pd.DataFrame) -> None:
        self.world = world
        self.folder = folder
        self.clock = FixedClock(NOW)
        self.records = MemoryRecords()
        seen = (history["timestamp"] >= "2011-05-01") & (history["timestamp"] < NOW - timedelta(hours=10))
        self.records.upsert_observations(history[seen])
        self.registry = FlakyRegistry(folder / "registry")
        run = self.registry.log_run(run_name="r", params={}, metrics={}, tags={})
        for version in ("1", "2"):
            self.registry.register(run, world.artifacts[version], {})
        self.rollouts = MemoryRollouts()
        self.inbox = Inbox()
        self.distort: Distort | None = None
        self.predictors: list[AsgiPredictor] = []
        self.ports: Any = SimpleNamespace(
            clock=self.clock, records=self.records, registry=self.registry, rollouts=self.rollouts,
            notifier=self.inbox,
        )

    def connect(self, url: str) -> AsgiPredictor:
        version = self.rollouts.serving if url == "memory://live" else url.rsplit("/", 1)[1]
        made = AsgiPredictor(
            self.world.artifacts[str(version)], str(version), self.records, self.clock, self.folder, self.distort
        )
        self.predictors.append(made)
        return made

    def roll_out(self, version: str, **changes: Any) -> Any:
        return roll_out(
            self.ports, version, self.world.forecaster(version), NOW, connect=self.connect,
            **({"policy": QUICK} | changes),
        )

    def verify(self, version: str, policy: RolloutPolicy = QUICK) -> Any:
        return verify_live(
            self.ports, version, self.world.forecaster(version), NOW, url="memory://live", connect=self.connect,
            policy=policy, sleep=lambda _: None,
        )

    def unchanged(self) -> bool:
        return self.rollouts.serving == "1" and self.rollouts.canary is None and self.registry.aliases == {
            "champion": "1"
        }


def another_version(path: str, status: int, body: bytes) -> tuple[int, bytes]:
    """A Service that leads to a pod which is about to go."""
    return status, body.replace(b'"model_version":"2"', b'"model_version":"1"') if path == "/-/state" else body


def late(answers: int, error: bool) -> Distort:
    """A network that learns of the pod after some questions."""
    asked = 0

    def distort(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        if asked > answers:
            return status, body
        if error:
            raise Unavailable("connection refused")
        return 404, b""

    return distort


@pytest.fixture
def bench(world: World, tmp_path: Path, history: pd.DataFrame) -> Iterator[Bench]:
    made = Bench(world, tmp_path, history)
    yield made
    for predictor in made.predictors:
        predictor.close()


def test_the_first_version_rolls_out(bench: Bench) -> None:
    result = bench.roll_out("1")

    assert result.accepted
    assert [check.name for check in result.checks] == ["canary", "golden rows", "latency", "errors"]
    assert bench.unchanged()
    assert bench.registry.get("1").tags["rollout"] == "serving"
    assert bench.inbox.alerts == []


def test_the_next_version_takes_over_and_the_old_one_becomes_previous(bench: Bench) -> None:
    bench.roll_out("1")
    bench.registry.set_alias("challenger", "2")
    result = bench.roll_out("2")

    assert (result.accepted, result.previous) == (True, "1")
    assert bench.registry.aliases == {"champion": "2", "previous": "1"}
    assert bench.rollouts.serving == "2"


def test_probes_stay_out_of_the_prediction_log(bench: Bench) -> None:
    bench.roll_out("1")
    for predictor in bench.predictors:
        predictor.close()

    assert list(bench.records.iter_predictions(NOW - timedelta(days=9), NOW + timedelta(days=9))) == []


@pytest.mark.parametrize(("distort", "policy", "check"), [
    (scale_demand(1.001), QUICK, "golden rows"),
    (fail("/predict", 500), QUICK, "golden rows"),
    (fail("/-/state", 500), QUICK, "canary"),
    (another_version, QUICK, "canary"),
    (None, RolloutPolicy(probe_requests=5, p95_seconds=1e-9), "latency"),
])
def test_a_failed_check_leaves_everything_as_it_was(
    bench: Bench, distort: Distort | None, policy: RolloutPolicy, check: str
) -> None:
    bench.roll_out("1")
    bench.distort = distort
    result = bench.roll_out("2", policy=policy)

    assert not result.accepted
    assert [found.name for found in result.checks if not found.passed] == [check]
    assert bench.unchanged()
    tags = bench.registry.get("2").tags
    assert (tags["rejected"], tags["rollout"]) == ("true", "rejected")
    assert check in tags["rejected_reason"]
    assert [alert.kind for alert in bench.inbox.alerts] == ["rolled_back"]
    assert "version 1 keeps serving" in bench.inbox.alerts[0].action


@pytest.mark.parametrize("error", [True, False])
def test_a_network_that_learns_of_the_pod_a_little_later_rejects_nobody(bench: Bench, error: bool) -> None:
    bench.roll_out("1")
    bench.distort = late(2, error)
    assert bench.roll_out("2", policy=replace(QUICK, reach_seconds=20)).accepted

    bench.distort = late(2, error)
    assert bench.verify("2", replace(QUICK, reach_seconds=20)).accepted
    assert bench.registry.aliases == {"champion": "2", "previous": "1"}


def test_errors_after_good_golden_rows_are_noticed(bench: Bench) -> None:
    bench.roll_out("1")
    asked = 0

    def now_and_then(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        nonlocal asked
        asked += path == "/predict"
        return (503, b"") if path == "/predict" and asked == 4 else (status, body)

    bench.distort = now_and_then
    result = bench.roll_out("2")

    assert [found.name for found in result.checks if not found.passed] == ["errors"]
    assert bench.unchanged()


@pytest.mark.parametrize(("path", "answered"), [("/predict", 0), ("/-/state", 1), ("/predict", 61)])
def test_a_canary_that_dies_is_rejected_however_many_errors_are_allowed(
    bench: Bench, path: str, answered: int
) -> None:
    bench.roll_out("1")
    asked = 0

    def die(asked_path: str, status: int, body: bytes) -> tuple[int, bytes]:
        nonlocal asked
        asked += asked_path == path
        if asked > answered:
            raise Unavailable("connection refused")
        return status, body

    bench.distort = die
    result = bench.roll_out("2", policy=replace(QUICK, probe_requests=100, error_share=0.05))

    assert [found.name for found in result.checks if not found.passed] == ["answers"]
    assert "connection refused" in bench.registry.get("2").tags["rejected_reason"]
    assert [alert.kind for alert in bench.inbox.alerts] == ["rolled_back"]
    assert bench.unchanged()


def test_a_canary_that_refuses_to_start_is_rejected(bench: Bench) -> None:
    bench.roll_out("1")
    bench.rollouts.refuse.add("2")
    result = bench.roll_out("2")

    assert not result.accepted
    assert "refuses to serve" in result.reason
    assert bench.unchanged()


def test_a_version_that_fails_while_traffic_moves_is_rejected(bench: Bench) -> None:
    bench.roll_out("1")
    bench.rollouts.refuse_later.add("2")
    result = bench.roll_out("2")

    assert [check.name for check in result.checks if not check.passed] == ["promotion"]
    assert "not ready everywhere" in bench.registry.get("2").tags["rejected_reason"]
    assert "version 1 keeps serving" in bench.inbox.alerts[0].action
    assert bench.unchanged()


def test_a_version_behind_another_name_is_noticed(bench: Bench) -> None:
    bench.roll_out("1")
    wrong = AsgiPredictor(bench.world.artifacts["2"], "3", bench.records, bench.clock, bench.folder)
    bench.predictors.append(wrong)
    result = roll_out(
        bench.ports, "2", bench.world.forecaster("2"), NOW, connect=lambda _: wrong, policy=QUICK
    )

    assert not result.accepted
    assert "version 2 was not reached within 0.3 s: version 3 answers there" in result.reason


def test_records_away_during_the_checks_removes_the_canary_and_surfaces(bench: Bench) -> None:
    bench.roll_out("1")

    def connect(url: str) -> AsgiPredictor:
        made = bench.connect(url)
        bench.records.away = True
        return made

    with pytest.raises(Unavailable):
        roll_out(bench.ports, "2", bench.world.forecaster("2"), NOW, connect=connect, policy=QUICK)

    assert bench.unchanged()
    assert "rejected" not in bench.registry.get("2").tags


def test_what_must_be_done_before_traffic_moves_stops_the_switch_when_it_fails(bench: Bench) -> None:
    bench.roll_out("1")
    seen: list[tuple[str | None, str | None]] = []

    def record() -> None:
        seen.append((bench.rollouts.serving, bench.rollouts.canary))
        raise Unavailable("the registry is away")

    with pytest.raises(Unavailable, match="registry is away"):
        bench.roll_out("2", before_switch=record)

    assert seen == [("1", "2")]
    assert bench.unchanged()


@pytest.mark.parametrize("misses", [
    {"tag": [True]}, {"set_alias": [True]}, {"set_alias": [False, True]}, {"delete_alias": [True]},
])
def test_aliases_that_cannot_be_moved_return_the_traffic(bench: Bench, misses: dict[str, list[bool]]) -> None:
    bench.roll_out("1")
    bench.registry.set_alias("challenger", "2")
    bench.registry.misses = misses
    with pytest.raises(Unavailable, match=r"503 .*; version 1 serves again"):
        bench.roll_out("2")

    assert (bench.rollouts.serving, bench.rollouts.canary) == ("1", None)
    assert bench.registry.aliases == {"champion": "1", "challenger": "2"}


def test_traffic_that_cannot_be_returned_is_named(bench: Bench) -> None:
    bench.roll_out("1")
    bench.rollouts.refuse.add("1")
    bench.registry.misses = {"set_alias": [True]}
    with pytest.raises(Unavailable, match="; version 2 serves, since .* version 1 refuses to serve"):
        bench.roll_out("2")

    assert (bench.rollouts.serving, bench.rollouts.canary) == ("2", None)


def test_a_first_version_without_its_alias_is_named(bench: Bench) -> None:
    bench.registry.misses = {"set_alias": [True]}
    with pytest.raises(Unavailable, match="; version 1 serves, since nothing served before"):
        bench.roll_out("1")

    assert bench.rollouts.serving == "1"


def test_aliases_that_cannot_be_restored_are_named(bench: Bench) -> None:
    bench.roll_out("1")
    bench.registry.misses = {"set_alias": [False, True, True], "delete_alias": [True]}
    with pytest.raises(Unavailable, match="version 1 serves again, but the aliases may be wrong"):
        bench.roll_out("2")

    assert bench.rollouts.serving == "1"


def test_golden_rows_are_compared_again_when_the_history_moved(bench: Bench) -> None:
    bench.roll_out("1")
    moved: list[bool] = []
    made: list[AsgiPredictor] = []

    def move(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if path == "/-/state" and not moved:
            moved.append(True)
            bench.clock.advance(hours=1)
            made[0].engine.refresh()
        return status, body

    def connect(url: str) -> AsgiPredictor:
        bench.distort = move
        made.append(bench.connect(url))
        return made[0]

    result = roll_out(bench.ports, "2", bench.world.forecaster("2"), NOW, connect=connect, policy=QUICK)

    assert result.accepted, result.reason
    assert made[0].calls.count("/-/state") >= 3


def test_an_alert_that_cannot_be_sent_does_not_change_the_outcome(bench: Bench) -> None:
    bench.roll_out("1")
    bench.inbox.away = True
    bench.distort = scale_demand(2.0)
    result = bench.roll_out("2")

    assert not result.accepted
    assert bench.unchanged()
    assert "Slack is away" in bench.registry.get("2").tags["alert_not_sent"]


def test_rolling_back_swaps_traffic_and_aliases(bench: Bench) -> None:
    bench.roll_out("1")
    bench.roll_out("2")
    result = roll_back(bench.ports, NOW, "a person said so")

    assert (result.version, result.previous) == ("1", "2")
    assert bench.rollouts.serving == "1"
    assert bench.registry.aliases == {"champion": "1", "previous": "2"}
    assert bench.registry.get("2").tags["rollout"] == "rolled_back"
    assert bench.inbox.alerts[-1].reason == "a person said so"


@pytest.mark.parametrize("left", ["1", "2"], ids=["the target", "another"])
def test_a_canary_that_a_killed_roll_out_left_does_not_stand_in_the_way_back(bench: Bench, left: str) -> None:
    bench.roll_out("1")
    bench.roll_out("2")
    bench.rollouts.start_canary(left)
    result = roll_back(bench.ports, NOW, "a person said so")

    assert (result.version, bench.rollouts.serving, bench.rollouts.canary) == ("1", "1", None)


def test_the_first_version_cannot_be_rolled_back(bench: Bench) -> None:
    bench.roll_out("1")
    with pytest.raises(RolloutRefused, match="no previous version"):
        roll_back(bench.ports, NOW, "a person said so")

    assert bench.unchanged()


def test_the_live_api_passes_its_test(bench: Bench) -> None:
    bench.roll_out("1")
    result = bench.verify("1")

    assert result.accepted, result.reason
    assert [check.name for check in result.checks] == [
        "ready", "version", "golden rows", "bad input", "metrics", "prediction log"
    ]


@pytest.mark.parametrize(("distort", "check"), [
    (fail("/readyz", 503), "ready"),
    (fail("/model", 500), "version"),
    (scale_demand(0.99), "golden rows"),
    (fail("/metrics", 404), "metrics"),
])
def test_a_live_api_that_fails_is_rolled_back(bench: Bench, distort: Distort, check: str) -> None:
    bench.roll_out("1")
    bench.roll_out("2")
    bench.distort = distort
    result = bench.verify("2")

    assert not result.accepted
    assert [found.name for found in result.checks if not found.passed] == [check]
    assert "version 1 serves again" in result.reason
    assert bench.rollouts.serving == "1"
    assert bench.registry.aliases == {"champion": "1"}
    assert bench.registry.get("2").tags["rejected"] == "true"


def test_a_registry_that_takes_no_tag_keeps_no_traffic_on_a_live_api_that_failed(bench: Bench) -> None:
    bench.roll_out("1")
    bench.roll_out("2")
    bench.distort = fail("/metrics", 500)
    bench.registry.misses["tag"] = [True]
    with pytest.raises(Unavailable):
        bench.verify("2")

    assert bench.rollouts.serving == "1"
    assert bench.registry.aliases["champion"] == "1"


def test_a_prediction_that_is_not_logged_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.roll_out("1")
    bench.roll_out("2")
    monkeypatch.setattr(MemoryRecords, "insert_prediction_lines", lambda self, lines: len(lines))
    result = bench.verify("2", RolloutPolicy(log_seconds=0.3))

    assert [found.name for found in result.checks if not found.passed] == ["prediction log"]
    assert bench.rollouts.serving == "1"


def test_without_a_previous_version_a_failed_test_says_so(bench: Bench) -> None:
    bench.roll_out("1")
    bench.distort = fail("/metrics", 404)
    result = bench.verify("1")

    assert not result.accepted
    assert "no roll-back: there is no previous version" in result.reason
    assert bench.rollouts.serving == "1"
