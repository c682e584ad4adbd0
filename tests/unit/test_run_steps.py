"""The steps around training, with fakes: lease, refusal, deployment, exit task, progress and parameters."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bikeshare.core.promotion import Check, Promotion
from bikeshare.core.rollout import RolloutPolicy
from bikeshare.errors import ConfigurationError, Conflict, DataError, RolloutRefused, Unavailable
from bikeshare.ports import Ports, RolloutResult
from bikeshare.steps.deploy import DeployRequest, deploy
from bikeshare.steps.doorstep import ThisRun, moment, this_run
from bikeshare.steps.finish import finish
from bikeshare.steps.gate import checklist_markdown, read_checklist, refuse
from bikeshare.steps.lease import give_back_lease, take_lease
from bikeshare.steps.outcome import Outcome, noting_failure, outcome_key, read_outcome, write_outcome
from bikeshare.steps.package import read_package
from bikeshare.steps.promote import promote_version
from bikeshare.steps.tally import take_news
from tests.fakes.clock import FixedClock
from tests.fakes.notifier import MemoryNotifier
from tests.fakes.records import MemoryRecords
from tests.fakes.registry import FlakyRegistry, MemoryRegistry
from tests.fakes.reporter import MemoryReporter
from tests.fakes.rollouts import MemoryRollouts
from tests.fakes.runs import MemoryRuns
from tests.fakes.store import MemoryStore
from tests.fakes.telemetry import MemoryTelemetry

NOW = datetime(2012, 1, 2, 3)
WALL = datetime(2026, 1, 1)


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    return Ports(
        clock=FixedClock(NOW), store=MemoryStore(), records=MemoryRecords(),
        registry=MemoryRegistry(tmp_path / "mlruns"), runs=MemoryRuns(), notifier=MemoryNotifier(),
        rollouts=MemoryRollouts(), reporter=MemoryReporter(), telemetry=MemoryTelemetry(),
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "contract.json").write_text("{}")
    return folder


def kinds(ports: Ports) -> list[str]:
    notifier = ports.notifier
    assert isinstance(notifier, MemoryNotifier)
    return [alert.kind for alert in notifier.sent]


# The lease


def test_a_second_training_is_refused_with_the_name_of_the_first(ports: Ports) -> None:
    ports.runs.submit({}, run_key="first", reason="manual")
    take_lease(ports.records, ports.runs, "first", WALL)
    take_lease(ports.records, ports.runs, "first", WALL)
    with pytest.raises(Conflict, match="run first is training"):
        take_lease(ports.records, ports.runs, "second", WALL)
    give_back_lease(ports.records, "first")
    take_lease(ports.records, ports.runs, "second", WALL)


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_holder_whose_run_has_ended_is_dispossessed(ports: Ports, succeeded: bool) -> None:
    ports.runs.submit({}, run_key="dead", reason="manual")
    take_lease(ports.records, ports.runs, "dead", WALL)
    assert isinstance(ports.runs, MemoryRuns)
    ports.runs.end("dead", succeeded=succeeded)
    take_lease(ports.records, ports.runs, "next", WALL)


def test_a_holder_nobody_can_ask_about_keeps_the_lease_until_it_runs_out(ports: Ports) -> None:
    take_lease(ports.records, ports.runs, "unknown", WALL)
    assert isinstance(ports.runs, MemoryRuns)
    ports.runs.failure = Unavailable("the engine is away")
    with pytest.raises(Conflict, match="unknown"):
        take_lease(ports.records, ports.runs, "next", WALL)
    take_lease(ports.records, ports.runs, "next", WALL + timedelta(hours=2, seconds=1))


# Outcomes and the exit task


def outcome(result: Any = "promoted", **more: Any) -> Outcome:
    return Outcome("k", result, "because", NOW, **more)


def test_an_outcome_comes_back_and_a_broken_one_is_told(ports: Ports) -> None:
    assert read_outcome(ports.store, "k") is None
    made = outcome(version="3", previous="2", wape_before=0.2, wape_after=0.1)
    write_outcome(ports.store, made)
    assert read_outcome(ports.store, "k") == made
    ports.store.put(outcome_key("k"), b"{}")
    with pytest.raises(DataError, match="outcome"):
        read_outcome(ports.store, "k")


def test_a_failing_task_writes_down_why_but_never_over_a_verdict(ports: Ports) -> None:
    with pytest.raises(ValueError, match="no rows"), noting_failure(ports.store, ThisRun("k", NOW)):
        raise ValueError("no rows")
    noted = read_outcome(ports.store, "k")
    assert noted is not None
    assert (noted.result, noted.reason, noted.error) == ("failed", "no rows", "ValueError")
    write_outcome(ports.store, outcome("rolled_back"))
    with pytest.raises(RolloutRefused), noting_failure(ports.store, ThisRun("k", NOW)):
        raise RolloutRefused("canary")
    assert read_outcome(ports.store, "k") == outcome("rolled_back")


def end(ports: Ports, state: str = "SUCCEEDED", message: str = "") -> Outcome:
    return finish(ports, run_key="k", reason="drift", incident="i", state=state, message=message, now=NOW)


@pytest.mark.parametrize("result", ["promoted", "refused", "rolled_back"])
def test_the_exit_task_closes_the_intent_and_adds_no_alert_to_a_known_end(ports: Ports, result: str) -> None:
    ports.records.open_intent("k", "drift", NOW)
    ports.records.acquire_lock("training", "k", WALL, 60)
    write_outcome(ports.store, outcome(result))
    assert end(ports).result == result
    (intent,) = ports.records.intents()
    assert (intent.outcome, intent.finished_at) == (result, NOW)
    assert take_news(ports.records).news == {result: 1}
    assert ports.records.acquire_lock("training", "other", WALL, 60)
    assert kinds(ports) == []


def test_success_without_an_outcome_is_a_failure(ports: Ports) -> None:
    ended = end(ports)
    assert ended.result == "failed"
    assert "branch was skipped" in ended.reason
    assert take_news(ports.records).news == {"failed": 1}
    assert kinds(ports) == ["pipeline_failed"]
    assert read_outcome(ports.store, "k") == ended


@pytest.mark.parametrize(("error", "alerts"), [("DataError", ["pipeline_failed"]), ("BatchRejected", [])])
def test_a_refused_batch_was_told_already_other_failures_are_told_now(
    ports: Ports, error: str, alerts: list[str]
) -> None:
    write_outcome(ports.store, outcome("failed", error=error))
    assert end(ports, "FAILED", "Task exit-handler-1 failed.").reason == "because"
    assert kinds(ports) == alerts


@pytest.mark.parametrize(("serving", "champion", "told"), [
    (None, None, "No version serves yet."), ("1", "1", "Champion 1 keeps serving."),
    ("2", "1", "Version 2 serves, but the champion alias names 1."),
    ("2", None, "Version 2 serves, but no version is champion."),
])
def test_the_alert_of_a_failed_run_names_what_serves(
    ports: Ports, artifact: Path, serving: str | None, champion: str | None, told: str
) -> None:
    two_versions(ports, artifact)
    ports.registry.delete_alias("champion")
    if champion is not None:
        ports.registry.set_alias("champion", champion)
    end(replace(ports, rollouts=MemoryRollouts(serving)), "FAILED", "out of memory")
    assert isinstance(ports.notifier, MemoryNotifier)
    assert [alert.action for alert in ports.notifier.sent] == [told]


def test_a_failed_run_is_told_although_nobody_knows_what_serves(ports: Ports, artifact: Path) -> None:
    class Away(MemoryRollouts):
        def serving_version(self) -> str | None:
            raise Unavailable("no predictor runs on this machine")

    two_versions(ports, artifact)
    end(replace(ports, rollouts=Away()), "FAILED", "out of memory")
    assert isinstance(ports.notifier, MemoryNotifier)
    assert [alert.action for alert in ports.notifier.sent] == [
        "Which version serves could not be asked; the champion alias names 1."
    ]


@pytest.mark.parametrize(("owner", "state", "left"), [
    ("k", "FAILED", None), ("another", "FAILED", "2"), ("k", "SUCCEEDED", "2"),
])
def test_a_run_killed_in_its_roll_out_leaves_no_canary(
    ports: Ports, artifact: Path, owner: str, state: str, left: str | None
) -> None:
    two_versions(ports, artifact)
    ports.registry.tag("2", {"run_key": owner})
    rollouts = MemoryRollouts("1")
    rollouts.start_canary("2")
    if state == "SUCCEEDED":
        write_outcome(ports.store, outcome("promoted"))

    end(replace(ports, rollouts=rollouts), state, "killed")

    assert rollouts.canary_version() == left
    assert isinstance(ports.notifier, MemoryNotifier)
    told = [alert.action for alert in ports.notifier.sent]
    gone = "Its canary, version 2, was removed. " if left is None else ""
    assert told == ([] if state == "SUCCEEDED" else [f"{gone}Champion 1 keeps serving."])


def test_a_run_nobody_promised_needs_no_intent(ports: Ports) -> None:
    assert end(ports, "FAILED", "out of memory").reason == "out of memory"
    assert list(ports.records.intents()) == []


# The gate's records


def checklist(folder: Path, *, accepted: bool) -> Path:
    path = folder / "checklist.json"
    checks = [
        Check("naive", True, 0.7, 1.0, "MAE 30 against 43"),
        Check("champion", accepted, 1.3, 1.02, "MAE 30 against 23"),
        Check("bootstrap", True, float("inf"), 0.0, "+7", informative=True),
    ]
    promotion = Promotion(accepted, "passes" if accepted else "refused by champion", tuple(checks))
    path.write_text(json.dumps({**asdict(promotion), "champion": "1", "wape_before": 0.12, "wape_after": 0.16}))
    return path


def two_versions(ports: Ports, artifact: Path) -> None:
    run_id = ports.registry.log_run(run_name="r", params={}, metrics={}, tags={})
    ports.registry.register(run_id, artifact, {})
    ports.registry.set_alias("champion", "1")
    ports.registry.register(run_id, artifact, {})
    ports.registry.set_alias("challenger", "2")


def test_a_refusal_is_written_on_the_version_in_its_run_and_told(ports: Ports, artifact: Path, tmp_path: Path) -> None:
    two_versions(ports, artifact)
    ended = refuse(
        ports.registry, ports.store, ports.notifier, version="2", checklist=checklist(tmp_path, accepted=False),
        run_key="k", incident="", now=NOW,
    )
    tags = ports.registry.get("2").tags
    assert (tags["gate"], tags["status"], tags["gate_champion"]) == ("refused", "rejected", "failed: MAE 30 against 23")
    assert tags["gate_naive"].startswith("passed")
    assert tags["gate_bootstrap"].startswith("info")
    assert ports.registry.version_of("champion") == "1"
    assert ports.registry.version_of("challenger") is None
    assert isinstance(ports.registry, MemoryRegistry)
    run = ports.registry.runs["run-1"]
    assert list(run["tables"]["gate.json"]["name"]) == ["naive", "champion", "bootstrap"]
    assert run["metrics"] == {"gate_naive": 0.7, "gate_champion": 1.3}
    assert (ended.result, ended.wape_before, ended.wape_after) == ("refused", 0.12, 0.16)
    assert isinstance(ports.notifier, MemoryNotifier)
    (alert,) = ports.notifier.sent
    assert alert.before_after == (("WAPE", "12.0%", "16.0%"),)
    assert alert.moved[0][0] == "champion"
    assert "Champion 1 keeps serving" in alert.action


def test_the_checklist_is_readable_by_people_and_broken_ones_are_told(tmp_path: Path) -> None:
    promotion, _, _ = read_checklist(checklist(tmp_path, accepted=False))
    text = checklist_markdown(promotion)
    assert "# Refused" in text
    assert "| champion | **failed** | MAE 30 against 23 (limit 1.02) |" in text
    assert "| bootstrap | info |" in text
    (tmp_path / "broken.json").write_text("[]")
    with pytest.raises(DataError, match="checklist"):
        read_checklist(tmp_path / "broken.json")


# Deployment


def plain_pack(artifact: Path, version: str, folder: Path) -> Path:
    target = folder / version
    target.write_bytes(b"packed")
    return target


def answer(
    accepted: bool, log: list[str], name: str, moves_alias: bool = False, policy: RolloutPolicy | None = None
) -> Callable[..., RolloutResult]:
    def act(ports: Ports, version: str, *arguments: Any, **more: Any) -> RolloutResult:
        assert policy is None or more["policy"] == policy
        log.append(name)
        if accepted and "before_switch" in more:
            more["before_switch"]()
        if accepted and moves_alias:
            ports.registry.set_alias("champion", version)
        return RolloutResult(version, "1", accepted, f"{name} {'passed' if accepted else 'failed'}")

    return act


def request(artifact: Path, tmp_path: Path, *, accepted: bool = True) -> DeployRequest:
    return DeployRequest(
        "2", artifact, checklist(tmp_path, accepted=accepted), "k", "drift-7", "drift", NOW, "http://live"
    )


def do_deploy(
    ports: Ports, asked: DeployRequest, log: list[str], *, rolls: bool = True, lives: bool = True
) -> Outcome:
    return deploy(
        ports, asked, load=lambda folder: SimpleNamespace(content_hash="abc", forecaster=None), pack=plain_pack,
        connect=lambda url: None, roll_out=answer(rolls, log, "canary", moves_alias=True),  # type: ignore[arg-type,return-value]
        verify_live=answer(lives, log, "live test"),
    )


def test_a_deployment_packages_rolls_out_tests_and_reports(ports: Ports, artifact: Path, tmp_path: Path) -> None:
    two_versions(ports, artifact)
    log: list[str] = []
    ended = do_deploy(ports, request(artifact, tmp_path), log)
    assert log == ["canary", "live test"]
    assert (ended.result, ended.version, ended.previous) == ("promoted", "2", "1")
    assert read_outcome(ports.store, "k") == ended
    assert read_package(ports.store, "2").content_hash == "abc"
    assert ports.registry.get("2").tags["gate"] == "accepted"
    assert isinstance(ports.notifier, MemoryNotifier)
    (alert,) = ports.notifier.sent
    assert (alert.kind, alert.incident, alert.command) == ("retrained", "drift-7", "bikeshare registry rollback")
    assert alert.before_after[0][1:] == ("12.0%", "16.0%")


@pytest.mark.parametrize(("rolls", "lives", "asked", "reason"), [
    (False, True, ["canary"], "canary failed"), (True, False, ["canary", "live test"], "live test failed"),
])
def test_a_failed_check_ends_the_run_as_rolled_back(
    ports: Ports, artifact: Path, tmp_path: Path, rolls: bool, lives: bool, asked: list[str], reason: str
) -> None:
    two_versions(ports, artifact)
    log: list[str] = []
    with pytest.raises(RolloutRefused, match=reason):
        do_deploy(ports, request(artifact, tmp_path), log, rolls=rolls, lives=lives)
    assert log == asked
    ended = read_outcome(ports.store, "k")
    assert ended is not None
    assert (ended.result, ended.previous) == ("rolled_back", "1")
    assert ports.registry.get("2").tags["status"] == "rejected"
    assert ports.registry.version_of("challenger") is None
    assert "retrained" not in kinds(ports)


@pytest.mark.parametrize("rolls", [True, False])
def test_a_gate_record_that_cannot_be_written_moves_no_traffic_and_hides_no_refusal(
    ports: Ports, artifact: Path, tmp_path: Path, rolls: bool
) -> None:
    registry = FlakyRegistry(tmp_path / "flaky")
    ports = replace(ports, registry=registry)
    two_versions(ports, artifact)
    registry.misses["log_to_run"] = [True]
    log: list[str] = []
    with pytest.raises(Unavailable if rolls else RolloutRefused) as caught:
        do_deploy(ports, request(artifact, tmp_path), log, rolls=rolls)
    assert log == ["canary"]
    assert registry.version_of("champion") == "1"
    ended = read_outcome(ports.store, "k")
    if rolls:
        assert "log_to_run" in str(caught.value)
        assert ended is None
    else:
        assert ended is not None
        assert ended.result == "rolled_back"
        assert "log_to_run" in str(caught.value.__cause__)


@pytest.mark.parametrize(("lives", "result"), [(True, "promoted"), (False, "rolled_back")])
def test_a_registry_away_at_the_end_does_not_change_what_is_told_of_a_deployment(
    ports: Ports, artifact: Path, tmp_path: Path, lives: bool, result: str
) -> None:
    registry = FlakyRegistry(tmp_path / "flaky")
    ports = replace(ports, registry=registry)
    two_versions(ports, artifact)
    registry.misses["tag"] = [False, False, True]  # the gate, the package, then the status
    with pytest.raises(Unavailable, match="503 to tag"):
        do_deploy(ports, request(artifact, tmp_path), [], lives=lives)
    ended = read_outcome(ports.store, "k")
    assert ended is not None
    assert ended.result == result
    assert kinds(ports) == (["retrained"] if lives else [])


def test_a_refused_challenger_cannot_be_deployed(ports: Ports, artifact: Path, tmp_path: Path) -> None:
    two_versions(ports, artifact)
    log: list[str] = []
    with pytest.raises(RolloutRefused, match="did not pass the gate"):
        do_deploy(ports, request(artifact, tmp_path, accepted=False), log)
    assert log == []
    assert ports.store.info("models/2/package.json") is None


@pytest.mark.parametrize(("rolls", "lives"), [(True, True), (False, True), (True, False)])
def test_promotion_by_hand_asks_the_same_questions(ports: Ports, artifact: Path, rolls: bool, lives: bool) -> None:
    two_versions(ports, artifact)
    log: list[str] = []
    asked: dict[str, Any] = {
        "load": lambda folder: SimpleNamespace(content_hash="abc", forecaster=None), "pack": plain_pack,
        "connect": lambda url: None, "url": "http://live", "policy": RolloutPolicy(watch_seconds=600),
        "roll_out": answer(rolls, log, "canary", policy=RolloutPolicy(watch_seconds=600)),
        "verify_live": answer(lives, log, "live test", policy=RolloutPolicy(watch_seconds=600)),
    }
    if rolls and lives:
        assert promote_version(ports, "2", NOW, **asked).accepted
        assert ports.registry.get("2").tags["status"] == "promoted"
    else:
        with pytest.raises(RolloutRefused, match="not promoted"):
            promote_version(ports, "2", NOW, **asked)
        assert "status" not in ports.registry.get("2").tags
    assert log == (["canary", "live test"] if rolls else ["canary"])


# Parameters


def test_a_scheduled_run_takes_its_name_from_the_engine_and_its_time_from_the_clock() -> None:
    clock = FixedClock(NOW)
    assert this_run("", "job-7", "", clock) == ThisRun("job-7", NOW)
    assert this_run("mine", "job-7", "2012-05-01T10:00:00", clock) == ThisRun("mine", datetime(2012, 5, 1, 10))


@pytest.mark.parametrize(("text", "problem"), [("soon", "ISO time"), ("2012-01-01T00:00:00Z", "time zone")])
def test_a_time_that_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        moment(text)
    assert moment("") is None
