"""Every transition of the loop's state machine, and the promises that hold for every history."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.drift import DriftPolicy
from bikeshare.core.monitor_memory import Check, Memory, Recovery, Request
from bikeshare.core.retraining import (
    Decision,
    Evidence,
    Finding,
    History,
    RetrainingPolicy,
    RunFact,
    State,
    decide,
)

NOW = datetime(2012, 5, 14, 6)
POLICY = RetrainingPolicy()
OVER = Finding("wape", 0.40, 0.25, True, "7-day WAPE 40.0% (limit 25.0%, backtest 20.0%).")
WITHIN = Finding("wape", 0.15, 0.25, False, "7-day WAPE 15.0% (limit 25.0%, backtest 20.0%).")
STEP = Finding("step", 0.5, 0.35, True, "In 48 h the forecast moved +65% away.")
BROKEN = Finding("unit", 1.0, 0.0, True, "Served inputs: temp_c looks like degrees Fahrenheit.")


def evidence(*, over: bool = False, **changes: object) -> Evidence:
    base = Evidence(
        "3", champion_age_days=10, labels_lag_hours=30, check_day=(NOW - timedelta(days=2)).date(),
        decay=(OVER if over else WITHIN,), wape=0.40 if over else 0.15, log_bias=0.0,
    )
    return replace(base, **changes)


def memory(*exceeded: bool, **changes: object) -> Memory:
    newest = (NOW - timedelta(days=3)).date()
    checks = tuple(
        Check(newest - timedelta(days=len(exceeded) - 1 - place), flag) for place, flag in enumerate(exceeded)
    )
    return replace(Memory(since=NOW - timedelta(days=20), model_version="3", checks=checks), **changes)


def ended(state: str, days_ago: float, key: str = "v2-2012W18-drift") -> RunFact:
    started = NOW - timedelta(days=days_ago)
    return RunFact(key, "drift", started, state, started + timedelta(minutes=5))  # type: ignore[arg-type]


def request(key: str = "v2-2012W18-drift", version: str = "2", **changes: object) -> Request:
    return replace(Request(key, "drift", "why", NOW - timedelta(days=8), version, None, 0.40, -0.2), **changes)


def look(found: Evidence, remembered: Memory | None = None, *runs: RunFact, now: datetime = NOW) -> Decision:
    return decide(found, History(remembered if remembered is not None else memory(), runs), now, POLICY)


def test_quiet_is_healthy_and_says_the_numbers() -> None:
    decision = look(evidence())

    assert (decision.state, decision.action) == (State.HEALTHY, "none")
    assert "7-day WAPE 15.0%" in decision.reason
    assert decision.notices == ()


def test_without_a_champion_there_is_nothing_to_judge() -> None:
    assert look(evidence(model_version=None, over=True), memory(True, True)).state is State.WATCH
    training = look(evidence(model_version=None), memory(), ended("running", 0.1, "manual-1"))
    assert training.state is State.RETRAINING
    assert "manual-1" in training.reason


def test_one_check_over_the_limit_is_watched_two_of_three_retrain() -> None:
    first = look(evidence(over=True), memory(False, False))
    second = look(evidence(over=True), memory(False, True))

    assert (first.state, first.action) == (State.WATCH, "none")
    assert (second.state, second.action) == (State.RETRAINING, "retrain")
    assert second.run_key == "v3-2012W20-drift"
    assert second.trigger == "drift"
    assert [notice.kind for notice in second.notices] == ["drift"]
    assert second.memory.request is not None
    assert second.memory.request.wape == 0.40


def test_an_old_exceedance_does_not_confirm_when_the_newest_check_is_fine() -> None:
    assert look(evidence(), memory(True, True)).state is State.WATCH
    assert look(evidence(), memory(True, False, False)).state is State.HEALTHY


def test_a_day_is_counted_once_however_often_the_monitor_looks() -> None:
    first = look(evidence(over=True), memory(False, False))
    again = look(evidence(over=True), first.memory)
    quiet = look(evidence(over=True, check_day=None), again.memory)

    assert first.memory.checks == again.memory.checks == quiet.memory.checks
    assert again.action == quiet.action == "none"


def test_the_retrain_carries_the_onset_only_for_drift() -> None:
    onset = datetime(2012, 5, 7)
    drift = look(evidence(over=True, onset=onset), memory(False, True))
    age = look(evidence(champion_age_days=57, onset=onset))

    assert drift.adapt_since == onset
    assert (age.trigger, age.adapt_since, age.run_key) == ("age", None, "v3-2012W20-age")
    assert "57 days" in age.reason


def test_age_retrains_only_beyond_the_limit() -> None:
    assert look(evidence(champion_age_days=56)).action == "none"
    assert look(evidence(champion_age_days=56.1)).action == "retrain"


def test_broken_data_hold_retraining_until_a_clean_day_has_passed() -> None:
    broken = look(evidence(over=True, data_problems=(BROKEN,)), memory(True, True))
    soon = look(evidence(over=True), broken.memory, now=NOW + timedelta(hours=23))
    later = look(evidence(check_day=date(2012, 5, 14)), soon.memory, now=NOW + timedelta(hours=24))

    assert (broken.state, broken.action, broken.suppressed) == (State.BAD_DATA, "hold", "bad_data")
    assert [notice.kind for notice in broken.notices] == ["held"]
    assert (soon.state, soon.action) == (State.BAD_DATA, "hold")
    assert "2012-05-15 06:00" in soon.reason
    assert later.state is not State.BAD_DATA
    assert "recovered" in [notice.kind for notice in later.notices]
    assert later.notices[0].incident == broken.notices[0].incident


def test_what_is_measured_on_broken_data_does_not_count_as_a_check() -> None:
    broken = look(evidence(over=True, data_problems=(BROKEN,)), memory(False))

    assert len(broken.memory.checks) == 1


def test_a_step_is_for_people_and_blocks_retraining_for_a_week() -> None:
    step = look(evidence(over=True, step=STEP), memory(True, True))
    going_on = evidence(over=True, check_day=date(2012, 5, 15), step=STEP)
    during = look(going_on, step.memory, now=NOW + timedelta(days=3))
    after = look(replace(going_on, check_day=date(2012, 5, 20)), during.memory, now=NOW + timedelta(days=7))

    assert (step.state, step.action, step.suppressed) == (State.WATCH, "alert", "step")
    assert [notice.kind for notice in step.notices] == ["step"]
    assert (during.state, during.suppressed) == (State.DRIFT, "step")
    assert after.action == "retrain"


def test_a_step_that_passed_leaves_the_loop_watching_then_healthy() -> None:
    within = replace(STEP, exceeded=False)
    step = look(evidence(step=STEP))
    during = look(evidence(check_day=date(2012, 5, 15), step=within), step.memory, now=NOW + timedelta(days=3))
    after = look(evidence(check_day=date(2012, 5, 19), step=within), during.memory, now=NOW + timedelta(days=7))
    second = look(evidence(check_day=date(2012, 5, 20), step=STEP), after.memory, now=NOW + timedelta(days=8))

    assert (during.state, during.action) == (State.WATCH, "none")
    assert after.state is State.HEALTHY
    assert second.action == "alert"


def test_one_run_at_a_time() -> None:
    decision = look(evidence(over=True), memory(True, True), ended("running", 0.01, "scheduled-1"))

    assert (decision.state, decision.action, decision.suppressed) == (State.RETRAINING, "none", "active_run")
    assert "scheduled-1" in decision.reason


@pytest.mark.parametrize("state", ["promoted", "refused", "rolled_back"])
def test_cooldown_counts_from_the_start_of_a_run(state: str) -> None:
    held = look(evidence(over=True), memory(True, True), ended(state, 6.9))
    again = look(evidence(over=True), held.memory, ended(state, 6.9))
    free = look(evidence(over=True), memory(True, True), ended(state, 7.0))

    assert (held.state, held.suppressed) == (State.COOLDOWN, "cooldown")
    assert [notice.kind for notice in held.notices] == ["drift"]
    assert (again.action, again.suppressed, again.notices) == ("none", "cooldown", ())
    assert free.action == "retrain"


def test_a_scheduled_run_that_had_nothing_to_compare_is_no_rest_and_costs_no_budget() -> None:
    runs = [ended("skipped", days, f"nightly-{days}") for days in (0.1, 0.2, 1, 2, 3, 4)]

    assert look(evidence(over=True), memory(True, True), *runs).action == "retrain"
    assert look(evidence(), memory(), *runs).state is State.HEALTHY


def test_after_a_run_a_quiet_loop_cools_down() -> None:
    decision = look(evidence(), memory(settled=("v2-2012W18-drift",)), ended("promoted", 3))

    assert (decision.state, decision.action) == (State.COOLDOWN, "none")


@pytest.mark.parametrize(("over", "named"), [(True, "Run older was promoted"), (False, "Run older ended as promoted")])
@pytest.mark.parametrize("hours_ago", [10, 1])
def test_the_cooldown_names_the_run_that_asks_for_the_rest(over: bool, named: str, hours_ago: float) -> None:
    older, newer = ended("promoted", 5, "older"), ended("failed", hours_ago / 24, "newer")
    decision = look(evidence(over=over), memory(over, over, settled=("older", "newer")), older, newer)

    assert decision.state is State.COOLDOWN
    assert f"{named}; resting until 2012-05-16 06:00." in decision.reason


def test_the_cooldown_names_the_newest_run_when_that_one_rests_longest() -> None:
    older, newer = ended("promoted", 6.9, "older"), ended("failed", 1 / 24, "newer")
    decision = look(evidence(), memory(settled=("older", "newer")), older, newer)

    assert "Run newer ended as failed; resting until 2012-05-14 11:00." in decision.reason


def test_a_failed_run_is_repeated_once_and_people_hear_of_it() -> None:
    wanting = memory(True, True)
    failed = ended("failed", 0.1, "v3-2012W20-drift")
    soon = look(evidence(over=True), wanting, failed)
    later = look(evidence(over=True, check_day=None), soon.memory, failed, now=NOW + timedelta(hours=6))
    twice = look(
        evidence(over=True), wanting, ended("failed", 1, "v3-2012W20-drift"), ended("failed", 2, "v3-2012W19-drift")
    )

    assert soon.suppressed == "cooldown"
    assert "pipeline_failed" in [notice.kind for notice in soon.notices]
    assert (later.action, later.run_key) == ("retrain", "v3-2012W20-drift-2")
    assert "pipeline_failed" not in [notice.kind for notice in later.notices]
    assert (twice.action, twice.suppressed) == ("alert", "cooldown")


def test_the_weekly_budget_holds_even_when_every_run_was_abandoned() -> None:
    runs = [ended("abandoned", days, f"v3-{days}") for days in (1.5, 2, 3)]

    assert look(evidence(over=True), memory(True, True), *runs).suppressed == "weekly_budget"
    assert look(evidence(over=True), memory(True, True), *runs[:2]).action == "retrain"


def test_the_daily_budget_holds() -> None:
    runs = [ended("abandoned", days, f"v3-{days}") for days in (0.5, 0.6)]

    assert look(evidence(over=True), memory(True, True), *runs).suppressed == "daily_budget"


def test_a_promise_without_a_run_is_completed_with_the_same_key() -> None:
    asked = request("v3-2012W20-drift", "3", adapt_since=datetime(2012, 5, 7))
    promised = replace(ended("promised", 0.05, "v3-2012W20-drift"), finished_at=None)
    decision = look(evidence(check_day=None), memory(True, True, request=asked), promised)
    other = look(evidence(check_day=None), memory(request=None), promised)

    assert (decision.action, decision.run_key) == ("retrain", "v3-2012W20-drift")
    assert decision.adapt_since == datetime(2012, 5, 7)
    assert other.action == "none"


def test_a_promise_is_not_completed_while_data_are_broken() -> None:
    asked = request("v3-2012W20-drift", "3")
    promised = replace(ended("promised", 0.05, "v3-2012W20-drift"), finished_at=None)

    assert look(evidence(data_problems=(BROKEN,)), memory(request=asked), promised).action == "hold"


def promoted_memory(*exceeded: bool, unhelpful: int = 0, days_ago: int = 9) -> Memory:
    promoted = NOW - timedelta(days=days_ago)
    return memory(
        *exceeded, request=request(), recovery=Recovery("v2-2012W18-drift", promoted, 0.40, -0.2),
        unhelpful=unhelpful, settled=("v2-2012W18-drift",),
    )


def test_recovery_is_announced_with_the_error_before_and_after() -> None:
    decision = look(evidence(), promoted_memory(), ended("promoted", 8))

    recovered = [notice for notice in decision.notices if notice.kind == "recovered"]
    assert [notice.incident for notice in recovered] == ["run:v2-2012W18-drift"]
    assert recovered[0].before_after[0] == ("WAPE, 7 days", "40.0%", "15.0%")
    assert decision.memory.recovery is None
    assert decision.memory.unhelpful == 0


def test_a_retrain_has_helped_only_after_as_many_full_days_as_a_check_reads() -> None:
    soon = look(evidence(), promoted_memory(days_ago=8), ended("promoted", 8))

    assert soon.notices == ()
    assert soon.memory.recovery is not None
    assert POLICY.recovery_days == DriftPolicy().window_days


@pytest.mark.parametrize(("changes", "runs", "since"), [
    ({}, [("promoted", 8)], 12), ({"unhelpful": 1}, [("promoted", 8)], 1), ({}, [("failed", 8)], 1),
    ({}, [("failed", 14.1)], 12), ({"unhelpful": 1, "request": None}, [], 12),
])
def test_the_changed_world_begins_with_the_first_retrain_that_was_asked_for(
    changes: dict[str, object], runs: list[tuple[str, float]], since: int
) -> None:
    asked = request(adapt_since=datetime(2012, 5, 1), at=NOW - timedelta(days=runs[0][1] if runs else 8))
    known = memory(True, True, **{"request": asked, "settled": (asked.run_key,), **changes})
    decision = look(evidence(over=True, onset=datetime(2012, 5, 12)), known, *(ended(*run) for run in runs))

    assert decision.action == "retrain"
    assert decision.adapt_since == datetime(2012, 5, since)


def test_a_promoted_run_opens_a_recovery_check_and_forgets_the_old_checks() -> None:
    decision = look(evidence(check_day=None), memory(True, True, request=request()), ended("promoted", 0.2))

    assert decision.memory.recovery is not None
    assert decision.memory.recovery.wape_before == 0.40
    assert decision.memory.checks == ()


def test_two_retrains_that_did_not_help_open_the_circuit() -> None:
    once = look(evidence(over=True), promoted_memory(True), ended("promoted", 8))
    twice = look(evidence(over=True), promoted_memory(True, unhelpful=1), ended("promoted", 8))

    assert once.memory.unhelpful == 1
    assert once.action == "retrain"
    assert (twice.state, twice.action, twice.suppressed) == (State.ESCALATED, "alert", "circuit_breaker")
    assert [notice.kind for notice in twice.notices] == ["escalated"]


def test_a_refused_challenger_counts_as_one_that_did_not_help() -> None:
    first = look(evidence(over=True), memory(request=request()), ended("refused", 8))
    again = look(evidence(over=True), first.memory, ended("refused", 8))

    assert first.memory.unhelpful == 1
    assert again.memory.unhelpful == 1


def test_an_open_circuit_closes_when_the_error_returns_or_the_champion_changes() -> None:
    stuck = memory(False, False, unhelpful=2)
    better = look(evidence(), stuck)
    still = look(evidence(over=True), stuck)
    replaced = look(evidence(model_version="4"), stuck)

    assert better.memory.unhelpful == 0
    assert "recovered" in [notice.kind for notice in better.notices]
    assert still.state is State.ESCALATED
    assert replaced.memory.unhelpful == 0
    assert replaced.state is not State.ESCALATED


def test_errors_of_a_replaced_version_stay_with_it() -> None:
    blamed = look(evidence(model_version="4", over=True), memory(True, True))
    innocent = look(evidence(model_version="4"), memory(False, False))
    back = look(evidence(model_version="3"), replace(blamed.memory, retired="3"))

    assert (blamed.memory.retired, blamed.action) == ("3", "none")
    assert innocent.memory.retired is None
    assert back.memory.retired == "4"


def test_labels_that_were_late_without_a_word_come_back_without_a_word() -> None:
    held = look(evidence(labels_lag_hours=80, check_day=None, decay=(), data_problems=(BROKEN,)))
    later = NOW + timedelta(hours=POLICY.hold_hours)
    back = look(evidence(labels_lag_hours=30), held.memory, now=later)

    assert [notice.kind for notice in held.notices] == ["held"]
    assert [notice.title for notice in back.notices] == ["Data have been clean for 24 h; the hold is over"]


def test_missing_labels_are_not_mistaken_for_health() -> None:
    late = look(evidence(labels_lag_hours=80, check_day=None, decay=()))
    fine = look(evidence(labels_lag_hours=54, check_day=None, decay=()))
    back = look(evidence(labels_lag_hours=30), late.memory)

    assert (late.state, late.action) == (State.WATCH, "alert")
    assert [notice.kind for notice in late.notices] == ["labels_late"]
    assert fine.state is State.HEALTHY
    assert [notice.kind for notice in back.notices] == ["recovered"]


def test_a_missing_reference_is_an_alert_not_silence() -> None:
    decision = look(evidence(reference_known=False, decay=()))

    assert (decision.state, decision.action) == (State.WATCH, "alert")
    assert "profile or backtest" in decision.reason


def test_memory_survives_json() -> None:
    full = look(evidence(over=True, onset=datetime(2012, 5, 7), step=STEP), promoted_memory(True, unhelpful=1)).memory

    assert Memory.from_dict(full.to_dict()) == full
    assert Memory.from_dict({}) == Memory()


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([6, 24, 24, 24, 30]),
        st.booleans(),
        st.sampled_from(["clean", "clean", "clean", "clean", "broken"]),
        st.sampled_from(["none", "none", "none", "none", "step"]),
        st.sampled_from(["promoted", "promoted", "refused", "failed", "rolled_back"]),
        st.integers(0, 3),
    ),
    min_size=20, max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(LOOKS)
def test_no_history_breaks_the_promises(looks: list[tuple[int, bool, str, str, str, int]]) -> None:
    """Random worlds: cooldown, budgets, holds, one run at a time and the circuit breaker always hold."""
    now, remembered, version = datetime(2012, 1, 2, 6), Memory(), 1
    runs: list[RunFact] = []
    pending: tuple[int, str] | None = None
    last_broken: datetime | None = None
    for hours, over, data, step, outcome, runtime in looks:
        now += timedelta(hours=hours)
        if pending is not None:
            if pending[0] == 0:
                runs[0] = replace(runs[0], state=pending[1], finished_at=now)  # type: ignore[arg-type]
                version += pending[1] == "promoted"
                pending = None
            else:
                pending = (pending[0] - 1, pending[1])
        broken = data == "broken"
        last_broken = now if broken else last_broken
        found = evidence(
            over=over, model_version=str(version), check_day=(now - timedelta(days=2)).date(),
            data_problems=(BROKEN,) if broken else (), step=replace(STEP, exceeded=step == "step"),
        )
        decision = decide(found, History(remembered, tuple(runs)), now, POLICY)
        remembered = Memory.from_dict(decision.memory.to_dict())

        assert decision.reason
        if decision.action != "retrain":
            continue
        assert pending is None, "one run at a time"
        assert last_broken is None or now - last_broken >= timedelta(hours=24), "held"
        done = [run for run in runs if run.state not in ("failed",)]
        assert all(now - run.started_at >= timedelta(days=7) for run in done), "cooldown"
        assert sum(now - run.started_at < timedelta(days=1) for run in runs) < POLICY.daily_budget
        assert sum(now - run.started_at < timedelta(days=7) for run in runs) < POLICY.weekly_budget
        assert decision.memory.unhelpful < POLICY.unhelpful_limit, "circuit breaker"
        assert decision.run_key not in {run.run_key for run in runs}, "a key is one run"
        assert decision.memory.step_at is None, "nothing retrains on a step"
        runs.insert(0, RunFact(str(decision.run_key), str(decision.trigger), now, "running"))
        pending = (runtime, outcome)


@pytest.mark.parametrize("others", [10, 70])
def test_every_run_is_settled_once_however_many_there_are(others: int) -> None:
    runs = [ended("refused", 8), *(ended("failed", 9 + number / 2, f"manual-{number}") for number in range(others))]
    first = look(evidence(), memory(request=request()), *runs)
    second = look(evidence(), first.memory, *runs)

    assert len([notice for notice in first.notices if notice.kind == "pipeline_failed"]) == others
    assert second.notices == ()
    assert first.memory.unhelpful == second.memory.unhelpful == 1
    assert set(look(evidence(), second.memory, *runs[:5]).memory.settled) == {run.run_key for run in runs[:5]}
