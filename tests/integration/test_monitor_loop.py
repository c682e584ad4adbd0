"""The monitor's recipe from end to end: what it decides, tells, records and starts as days pass."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bikeshare.adapters.alerts import SlackNotifier
from bikeshare.adapters.telemetry import PrometheusTelemetry
from bikeshare.core.retraining import ACTIONS, GUARDS, TRIGGERS, State
from bikeshare.core.tally import RESULTS
from bikeshare.errors import Conflict, DataError, Unavailable
from bikeshare.steps.finish import finish as finish_run
from bikeshare.steps.monitor_state import LEASE, STATE
from bikeshare.steps.outcome import Outcome, write_outcome
from tests.fakes.slack_server import SlackInbox
from tests.integration.monitor_world import MonitorWorld


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def world(tmp_path: Path, history: pd.DataFrame) -> MonitorWorld:
    return MonitorWorld(tmp_path, history)


def fahrenheit(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(temp_c=frame["temp_c"] * 9 / 5 + 32, feels_like_c=frame["feels_like_c"] * 9 / 5 + 32)


def test_quiet_days_start_nothing_tell_nobody_and_write_no_report(world: MonitorWorld) -> None:
    decisions = world.days(12)

    assert {decision.action for decision in decisions} == {"none"}
    assert decisions[-1].state is State.HEALTHY
    assert "7-day WAPE" in decisions[-1].reason
    assert world.alerts.sent == []
    assert world.reporter.written == []
    assert world.submitted() == []
    assert len(world.records.decisions()) == 12
    assert len(world.store.list("decisions/")) == 12


def test_every_look_leaves_numbers(world: MonitorWorld) -> None:
    world.days(12, ratio=1.05)
    value = world.telemetry.value

    assert value("bikeshare_state", state="healthy") == 1
    assert value("bikeshare_state", state="drift") == 0
    assert value("bikeshare_model_bias_log") == pytest.approx(0.05, abs=0.03)
    assert 0.05 < (value("bikeshare_model_wape") or 0) < 0.12
    assert value("bikeshare_labels_lag_hours") == 31
    assert value("bikeshare_interval_coverage", level="80") == pytest.approx(1, abs=0.1)
    assert (value("bikeshare_naive_mae") or 0) > 20
    assert value("bikeshare_decisions_total", action="none") == 12
    assert (value("bikeshare_evidently_drift_share") or 0) > 0.3
    assert value("bikeshare_drift_score", column="temp_c", method="w1") is not None
    assert world.telemetry.flushed == 12


def test_runs_of_the_schedule_are_counted_although_the_monitor_did_not_start_them(world: MonitorWorld) -> None:
    world.days(2)
    for number in range(3):
        finish_run(world.ports, run_key=f"daily-{number}", reason="schedule", incident="", state="SUCCEEDED",
                   message="", now=world.clock.moment)
        write_outcome(world.store, Outcome(f"nightly-{number}", "refused", "worse", world.clock.moment))
        finish_run(world.ports, run_key=f"nightly-{number}", reason="schedule", incident="", state="SUCCEEDED",
                   message="", now=world.clock.moment)
        world.day()

    value = world.telemetry.value
    assert value("bikeshare_pipeline_runs_total", result="refused") == 3
    assert value("bikeshare_pipeline_runs_total", result="failed") == 3
    assert value("bikeshare_refused_in_a_row") == 3
    assert value("bikeshare_pipeline_last_success_timestamp_seconds") == (
        world.clock.moment - timedelta(days=1)).timestamp()


def test_counters_exist_before_anything_happened(world: MonitorWorld) -> None:
    world.day()
    value = world.telemetry.value

    assert {value("bikeshare_decisions_total", action=action) for action in ACTIONS} == {0, 1}
    assert {value("bikeshare_retrain_suppressed_total", reason=guard) for guard in GUARDS} == {0}
    assert {value("bikeshare_retrain_requested_total", reason=trigger) for trigger in TRIGGERS} == {0}
    assert {value("bikeshare_pipeline_runs_total", result=result) for result in RESULTS} == {0}
    assert value("bikeshare_refused_in_a_row") == value("bikeshare_unhelpful_retrains") == 0


def test_decay_is_confirmed_retrained_and_found_cured(world: MonitorWorld) -> None:
    world.days(12)
    changed = world.today
    seen = []
    while world.today - changed < timedelta(days=12):
        seen.append(world.day(ratio=1.35))
        if seen[-1].action == "retrain":
            break
    retrain = seen[-1]

    assert retrain.action == "retrain", [decision.reason for decision in seen]
    assert seen[-2].state is State.WATCH
    assert world.submitted() == [retrain.run_key]
    arguments = world.runs.submitted[0]
    onset = datetime.fromisoformat(arguments["adapt_since"]).date()
    assert abs(onset - changed) <= timedelta(days=1)
    assert arguments["incident"] == f"run:{retrain.run_key}"
    assert arguments["reason"] == retrain.reason
    assert world.alerts.kinds() == ["drift"]
    told = world.alerts.sent[0]
    assert dict(told.links)["report"].endswith("report.html")
    assert dict(told.links)["run"] == "memory://id-1"
    assert told.moved[0][0] == "bias"
    assert world.records.decisions()[0].run_id == "id-1"
    assert world.records.intents()[0].run_id == "id-1"

    running = world.day(ratio=1.35)
    assert (running.state, running.action) == (State.RETRAINING, "none")

    world.end_run(str(retrain.run_key), "promoted")
    after = world.days(6)
    assert after[0].state is State.COOLDOWN
    assert "recovered" not in world.alerts.kinds(), "fewer than seven full days of labels speak for nothing"
    world.days(4)
    assert "recovered" in world.alerts.kinds()
    recovered = next(alert for alert in world.alerts.sent if alert.kind == "recovered")
    assert recovered.incident == told.incident
    before, now = (float(text.rstrip("%")) for text in recovered.before_after[0][1:])
    assert before > 2 * now
    assert len(world.submitted()) == 1
    assert world.telemetry.value("bikeshare_pipeline_runs_total", result="promoted") == 1
    assert world.telemetry.value("bikeshare_pipeline_runs_total", result="refused") == 0
    assert world.telemetry.value("bikeshare_retrain_requested_total", reason="drift") == 1
    assert world.days(4)[-1].state is State.HEALTHY


def until_retrain(world: MonitorWorld, **options: Any) -> Any:
    """Days of decay until the monitor wants a run (or is killed on the way)."""
    for _ in range(12):
        decision = world.day(ratio=1.35, **options)
        if decision.action == "retrain":
            return decision
    raise AssertionError("no retrain in twelve days of decay")


def test_killed_before_the_call_the_next_look_completes_the_promise_once(
    world: MonitorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.days(12)
    with monkeypatch.context() as patch:
        patch.setattr(world.runs, "submit", _raise_killed)
        with pytest.raises(Killed):
            until_retrain(world)
    assert world.submitted() == []
    promised = world.records.intents()[0].run_key

    now = world.clock.moment + timedelta(hours=1)
    decision = world.look(now)
    again = world.look(now + timedelta(hours=1))

    assert decision.action == "retrain"
    assert world.submitted() == [promised]
    assert world.runs.submitted[0]["adapt_since"]
    assert again.action == "none"
    assert "drift" in world.alerts.kinds()


def test_killed_after_the_call_nothing_is_started_twice(world: MonitorWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.days(12)
    with monkeypatch.context() as patch:
        patch.setattr(world.records, "close_intent", _raise_killed)
        with pytest.raises(Killed):
            until_retrain(world)
    assert len(world.submitted()) == 1

    decision = world.look(world.clock.moment + timedelta(hours=1))

    assert decision.state is State.RETRAINING
    assert len(world.submitted()) == 1
    assert world.records.intents()[0].run_id == "id-1"


def _raise_killed(*_: Any, **__: Any) -> None:
    raise Killed


def test_an_engine_that_is_away_delays_the_run_and_loses_nothing(world: MonitorWorld) -> None:
    world.days(12)
    world.runs.failure = Unavailable("the KFP API is away")
    first = until_retrain(world)
    second = world.look(world.clock.moment + timedelta(hours=1))

    assert "does not answer" in first.reason
    assert "does not answer" in second.reason
    assert first.run_id is None
    assert world.submitted() == []
    assert world.telemetry.value("bikeshare_retrain_requested_total", reason="drift") == 0
    (told,) = [alert for alert in world.alerts.sent if alert.kind == "drift"]
    assert "requested" in told.title
    assert "was started" not in told.title + told.action

    world.runs.failure = None
    third = world.look(world.clock.moment + timedelta(hours=1))
    fourth = world.look(world.clock.moment + timedelta(hours=1))
    world.runs.failure = Unavailable("the KFP API is away")
    fifth = world.look(world.clock.moment + timedelta(hours=1))

    assert third.run_key == first.run_key
    assert world.telemetry.value("bikeshare_retrain_requested_total", reason="drift") == 1
    assert world.submitted() == [first.run_key]
    assert fourth.state is fifth.state is State.RETRAINING


def test_two_monitors_at_once_are_one(world: MonitorWorld) -> None:
    world.days(3)
    assert world.records.acquire_lock(LEASE, "the other", datetime.now(), 600)
    recorded = len(world.records.decisions())

    decision = world.look(world.morning())

    assert decision.action == "none"
    assert "Another monitor" in decision.reason
    assert len(world.records.decisions()) == recorded
    world.records.release_lock(LEASE, "the other")
    assert "Another monitor" not in world.look(world.morning()).reason


def test_a_monitor_that_lost_its_lease_does_not_overwrite_the_other(
    world: MonitorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.days(3)
    original = world.records.latest_observation

    def meanwhile() -> Any:
        document, revision = world.records.load_state(STATE)
        world.records.save_state(STATE, document, revision)
        return original()

    monkeypatch.setattr(world.records, "latest_observation", meanwhile)
    with pytest.raises(Conflict):
        world.look(world.morning())


def test_broken_inputs_hold_even_a_decayed_model(world: MonitorWorld) -> None:
    world.days(12)
    broken = world.day(ratio=1.5, inputs=fahrenheit)

    assert (broken.state, broken.action) == (State.BAD_DATA, "hold")
    assert "Fahrenheit" in broken.reason
    assert world.alerts.kinds() == ["held"]
    assert world.alerts.sent[0].links[0][0] == "report"
    assert world.telemetry.value("bikeshare_dq_failures", rule="unit") == 2
    assert world.submitted() == []

    clean = world.days(6)
    assert clean[0].state in (State.HEALTHY, State.WATCH)
    assert "recovered" in world.alerts.kinds()
    assert {decision.action for decision in clean} == {"none"}, "errors of broken inputs are not the model's"
    assert world.telemetry.value("bikeshare_dq_failures", rule="unit") == 0


def test_a_refused_day_holds_and_people_hear_of_both(world: MonitorWorld) -> None:
    world.days(5)
    refused = world.day(observed=fahrenheit)

    assert (refused.state, refused.action) == (State.BAD_DATA, "hold")
    assert world.alerts.kinds() == ["data_rejected", "held"]
    assert len(world.store.list("quarantine/")) == 2
    assert world.day().state is not State.BAD_DATA


def test_labels_that_stop_are_an_alert_of_their_own(world: MonitorWorld) -> None:
    world.days(5)
    late = world.day(labels=False)
    again = world.look(world.clock.moment + timedelta(hours=2))

    assert (late.state, late.action) == (State.WATCH, "alert")
    assert "55 h old" in late.reason
    assert again.state is State.WATCH
    assert world.alerts.kinds() == ["labels_late"]
    assert world.day().state is State.HEALTHY
    assert world.alerts.kinds() == ["labels_late", "recovered"]


def test_a_step_is_reported_to_people_and_not_trained_on(world: MonitorWorld) -> None:
    world.days(12)
    decisions = world.days(7, ratio=1.7)

    step = next(decision for decision in decisions if decision.action == "alert")
    assert "Sudden step" in step.reason
    assert world.alerts.kinds()[0] == "step"
    assert world.submitted() == []
    assert world.telemetry.value("bikeshare_retrain_suppressed_total", reason="step")


def test_an_old_champion_is_renewed(world: MonitorWorld) -> None:
    world.days(3)
    world.today = datetime(2012, 6, 27).date()
    decision = world.day()

    assert (decision.action, decision.trigger) == ("retrain", "age")
    assert world.runs.submitted[0]["adapt_since"] == ""


def test_a_champion_without_reference_is_an_alert(world: MonitorWorld) -> None:
    world.registry.set_alias("champion", world.register({"contract.json": {}}))
    decision = world.day()

    assert (decision.state, decision.action) == (State.WATCH, "alert")
    assert "profile or backtest" in decision.reason


def test_an_empty_registry_is_a_sentence_not_a_crash(world: MonitorWorld) -> None:
    world.registry.delete_alias("champion")
    decision = world.day()

    assert (decision.state, decision.action) == (State.WATCH, "none")
    assert "pipeline run" in decision.reason


def test_a_report_that_fails_changes_no_decision(world: MonitorWorld) -> None:
    world.days(12)
    world.reporter.failure = DataError("Evidently gave up")
    decision = until_retrain(world)

    assert world.submitted() == [decision.run_key]
    assert world.records.decisions()[0].report_url is None
    assert [item.key.rsplit("/", 1)[1] for item in world.store.list("reports/date=")] == ["failed.txt"]


def test_metrics_that_nobody_takes_undo_no_decision(
    world: MonitorWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.ports.telemetry = PrometheusTelemetry("monitor", "http://127.0.0.1:1", None, world.records)
    decision = world.days(1)[0]

    assert decision.action == "none"
    assert len(world.records.decisions()) == 1
    assert "did not arrive: the Pushgateway at http://127.0.0.1:1" in caplog.text
    kept, _ = world.records.load_state("telemetry/monitor")
    assert sum(value for line, value in kept["totals"].items() if "decisions_total" in line) == 1


def test_while_slack_is_away_the_monitor_decides_and_the_alert_follows(
    tmp_path: Path, history: pd.DataFrame
) -> None:
    with SlackInbox() as slack:
        world = MonitorWorld(tmp_path, history)
        world.ports.notifier = SlackNotifier(
            world.records, bot_token="xoxb-test", channel="C1", api_url=slack.api_url
        )
        world.days(5)
        slack.fail(503, times=20)
        held = world.day(inputs=fahrenheit)
        assert held.action == "hold"
        assert slack.messages == []

        slack._failures.clear()
        world.look(world.clock.moment + timedelta(hours=1))
        world.look(world.clock.moment + timedelta(hours=1))

        assert [message.text.splitlines()[0] for message in slack.messages] == [
            "Live data are broken: unit; retraining is on hold"
        ]
        assert slack.refused == []


def test_killed_before_telling_people_the_next_look_tells_them(
    world: MonitorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.days(5)
    with monkeypatch.context() as patch:
        patch.setattr(world.alerts, "send", _raise_killed)
        with pytest.raises(Killed):
            world.day(inputs=fahrenheit)
    assert world.alerts.sent == []

    world.look(world.clock.moment + timedelta(hours=30))

    assert "held" in world.alerts.kinds()


def test_what_is_remembered_stays_small(world: MonitorWorld) -> None:
    world.days(45)

    assert len(json.dumps(world.records.load_state(STATE)[0])) < 60_000


def test_a_quiet_look_imports_nothing_heavy(tmp_path: Path, root: Path) -> None:
    """A whole process on SQLite, MLflow and a folder: an hour after a look, with nothing new."""
    from benchmarks.monitor import QUIET
    from benchmarks.monitor_world import prepare

    prepare(tmp_path / "home")
    environment = {
        "PYTHONPATH": str(root), "BIKESHARE_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin",
        "BIKESHARE_CLOCK": f"file:{tmp_path / 'home' / 'clock.txt'}",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUIET], cwd=root, env=environment, capture_output=True, text=True,
        check=True,
    )
    answer = json.loads(done.stdout.strip().splitlines()[-1])

    assert answer["imported"] == []
    assert answer["state"] == "healthy"
    metrics = (tmp_path / "home" / "metrics" / "monitor.prom").read_text()
    assert 'bikeshare_decisions_total{action="none"} 2.0' in metrics
    assert "bikeshare_model_wape " in metrics
