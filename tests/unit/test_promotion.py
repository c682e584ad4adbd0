"""The gate: every check refuses alone, and lets pass what is just inside its limit."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.evaluation import Scores
from bikeshare.core.promotion import (
    Contender,
    GatePolicy,
    Promotion,
    decide_promotion,
    paired_bootstrap,
    plan_evaluation,
)

POLICY = GatePolicy()
START = datetime(2011, 1, 1)


def scores(mae: float, *, rows: int = 672, bias: float = 0.0, wape: float | None = None) -> Scores:
    return Scores(rows, mae, mae / 200 if wape is None else wape, mae * 1.5, 0.3, bias, 0.9)


def contender(mae: float, *, rows: int = 672, bias: float = 0.0, **slices: float) -> Contender:
    return Contender(
        scores(mae, rows=rows, bias=bias), {name: scores(value, rows=168) for name, value in slices.items()}
    )


def decide(challenger: Contender, champion: Contender | None = None, naive: Contender | None = None,
           **more: float | None) -> Promotion:
    return decide_promotion(challenger, champion, naive or contender(60), policy=POLICY, **more)  # type: ignore[arg-type]


def failed(promotion: Promotion) -> list[str]:
    return [check.name for check in promotion.checks if not check.passed]


def test_a_first_version_needs_only_to_beat_the_naive_rule() -> None:
    accepted = decide(contender(30))
    assert accepted.accepted
    assert "naive rule" in accepted.reason
    refused = decide(contender(61))
    assert not refused.accepted
    assert failed(refused) == ["naive"]
    assert "MAE 61.0 against 60.0" in refused.reason


@pytest.mark.parametrize(("mae", "accepted"), [(30.0, True), (30.6, True), (30.7, False), (28.0, True), (45.0, False)])
def test_two_percent_worse_than_the_champion_is_the_limit(mae: float, accepted: bool) -> None:
    decision = decide(contender(mae), contender(30))
    assert decision.accepted is accepted
    assert failed(decision) == ([] if accepted else ["champion"])


@pytest.mark.parametrize(("slice_name", "ratio", "accepted"), [
    ("rush_hour", 1.09, True), ("rush_hour", 1.11, False),
    ("weekend", 1.09, True), ("weekend", 1.11, False),
    ("rain", 1.19, True), ("rain", 1.21, False),
    ("holiday", 1.24, True), ("holiday", 1.26, False),
])
def test_a_slice_may_not_collapse_behind_a_good_average(slice_name: str, ratio: float, accepted: bool) -> None:
    decision = decide(contender(29, **{slice_name: 40 * ratio}), contender(30, **{slice_name: 40}))
    assert decision.accepted is accepted
    assert failed(decision) == ([] if accepted else [f"slice_{slice_name}"])


def test_a_slice_with_few_rows_is_reported_but_not_judged() -> None:
    def with_rows(mae: float, rows: int) -> Contender:
        return Contender(scores(29), {"holiday": scores(mae, rows=rows)})

    few = decide(with_rows(90, 47), with_rows(40, 47))
    assert few.accepted
    check = next(check for check in few.checks if check.name == "slice_holiday")
    assert check.informative
    assert "not judged" in check.detail
    assert failed(decide(with_rows(90, 48), with_rows(40, 48))) == ["slice_holiday"]


@pytest.mark.parametrize(("rows", "ratio", "accepted"), [
    (168, 1.11, False), (48, 1.18, True), (48, 1.20, False), (24, 1.25, True), (24, 1.28, False), (600, 1.11, False),
])
def test_a_thin_slice_is_allowed_to_scatter(rows: int, ratio: float, accepted: bool) -> None:
    challenger = Contender(scores(29), {"weekend": scores(40 * ratio, rows=rows)})
    champion = Contender(scores(30), {"weekend": scores(40, rows=rows)})
    assert decide(challenger, champion).accepted is accepted


@pytest.mark.parametrize(("mae", "champion", "accepted"), [(62, 70, True), (62, 61.9, False), (59, 70, True)])
def test_a_better_model_is_not_refused_because_the_naive_rule_beats_both(
    mae: float, champion: float, accepted: bool
) -> None:
    decision = decide(contender(mae), contender(champion), contender(60))
    assert decision.accepted is accepted
    assert failed(decision) == ([] if accepted else ["naive"])


def test_nights_and_working_days_are_reported_but_never_refuse() -> None:
    decision = decide(contender(29, night=20, working_day=90), contender(30, night=10, working_day=30))
    assert decision.accepted
    assert {check.name: check.informative for check in decision.checks if check.name.startswith("slice")} == {
        "slice_night": True, "slice_working_day": True
    }


def test_without_a_champion_slices_are_held_against_the_naive_rule() -> None:
    naive = contender(60, rush_hour=80)
    assert decide(contender(30, rush_hour=87), None, naive).accepted
    assert failed(decide(contender(30, rush_hour=89), None, naive)) == ["slice_rush_hour"]


@pytest.mark.parametrize(("bias", "rows", "champion_bias", "accepted"), [
    (0.11, 672, 0.0, True), (0.13, 672, 0.0, False), (-0.13, 672, 0.0, False),
    (0.20, 168, 0.0, True), (0.26, 168, 0.0, False),
    (0.26, 672, -0.30, True),
])
def test_bias_has_a_limit_that_widens_for_few_rows_and_for_a_worse_champion(
    bias: float, rows: int, champion_bias: float, accepted: bool
) -> None:
    decision = decide(contender(29, bias=bias, rows=rows), contender(30, bias=champion_bias, rows=rows))
    assert decision.accepted is accepted
    assert failed(decision) == ([] if accepted else ["bias"])


def test_size_and_latency_have_budgets() -> None:
    assert decide(contender(30), artifact_mb=14.9, row_ms=0.4).accepted
    assert failed(decide(contender(30), artifact_mb=15.1, row_ms=0.4)) == ["size"]
    assert decide(contender(30), artifact_mb=1, row_ms=1.9).accepted
    assert failed(decide(contender(30), artifact_mb=1, row_ms=2.1)) == ["latency"]


def test_a_busy_machine_is_not_a_slow_model() -> None:
    assert decide(contender(30), row_ms=2.4, champion_row_ms=2.0).accepted
    assert failed(decide(contender(30), row_ms=2.6, champion_row_ms=2.0)) == ["latency"]
    assert decide(contender(30), row_ms=0.4, champion_row_ms=0.1).accepted
    assert failed(decide(contender(30), row_ms=0.6, champion_row_ms=0.1)) == ["latency"]


def test_without_paired_rows_the_champions_backtest_stands_for_it() -> None:
    good = decide(contender(30), champion_backtest_wape=0.13)
    bad = decide(contender(30), champion_backtest_wape=0.11)
    assert good.accepted
    assert failed(bad) == ["champion_backtest"]


def test_no_demand_at_all_is_no_excuse() -> None:
    nothing = Contender(replace(scores(0.0), wape=float("nan")))
    assert decide(contender(1), nothing, nothing).accepted is False


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 100), st.floats(1, 100), st.floats(1, 100), st.floats(-0.5, 0.5))
def test_accepted_means_no_check_failed_and_better_everywhere_is_never_refused(
    mae: float, champion: float, naive: float, bias: float
) -> None:
    decision = decide(contender(mae, bias=bias), contender(champion), contender(naive))
    assert decision.accepted == (failed(decision) == [])
    assert decision.reason
    if mae <= champion and mae <= naive and abs(bias) <= POLICY.max_bias:
        assert decision.accepted


# Which rows judge


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def test_the_first_version_is_judged_on_the_newest_four_weeks() -> None:
    plan = plan_evaluation(day(0), day(365), None, None, POLICY)
    assert (plan.test_start, plan.test_end, plan.paired) == (day(337), day(365), False)
    short = plan_evaluation(day(0), day(365), None, None, replace(POLICY, holdout_days=14))
    assert short.test_start == day(351)


def test_little_data_keeps_three_quarters_for_learning() -> None:
    assert plan_evaluation(day(0), day(80), None, None, POLICY).test_start == day(60)


@pytest.mark.parametrize(("fresh_days", "judged_days"), [(5, 5), (9, 5), (30, 10), (60, 20), (120, 28)])
def test_the_newest_third_of_the_fresh_rows_judges_within_bounds(fresh_days: int, judged_days: int) -> None:
    plan = plan_evaluation(day(0), day(365), day(365 - fresh_days), None, POLICY)
    assert plan.paired
    assert plan.test_start == day(365 - judged_days)


def test_too_few_fresh_rows_fall_back_and_say_so() -> None:
    plan = plan_evaluation(day(0), day(365), day(361), None, POLICY)
    assert (plan.paired, plan.test_start) == (False, day(337))
    assert "only 96 fresh hours" in plan.reason


def test_after_a_change_only_the_new_world_is_divided() -> None:
    plan = plan_evaluation(day(0), day(365), day(300), day(347), POLICY)
    assert (plan.paired, plan.test_start) == (True, day(359))
    unchanged = plan_evaluation(day(0), day(365), day(300), None, POLICY)
    assert unchanged.test_start < plan.test_start


def test_a_change_too_recent_to_be_divided_uses_all_fresh_rows() -> None:
    plan = plan_evaluation(day(0), day(365), day(300), day(363), POLICY)
    assert plan.paired
    assert plan.test_start == plan_evaluation(day(0), day(365), day(300), None, POLICY).test_start


@settings(max_examples=100, deadline=None)
@given(st.integers(70, 800), st.integers(0, 400), st.one_of(st.none(), st.integers(0, 800)))
def test_paired_rows_were_never_seen_by_the_champion(days: int, champion_age: int, since: int | None) -> None:
    champion_end = day(max(0, days - champion_age))
    plan = plan_evaluation(day(0), day(days), champion_end, None if since is None else day(since), POLICY)
    assert day(0) < plan.test_start < plan.test_end == day(days)
    if plan.paired:
        assert plan.test_start >= champion_end
        assert plan.test_end - plan.test_start >= timedelta(hours=POLICY.min_adapted_rows)


# The paired bootstrap


def hours(count: int) -> np.ndarray:
    return np.datetime64("2012-01-01T00", "h") + np.arange(count)


def test_the_interval_holds_the_difference_and_tells_better_from_worse() -> None:
    noise = np.random.default_rng(3)
    champion = noise.gamma(2, 20, 480)
    better = paired_bootstrap(hours(480), champion - 10, champion, policy=POLICY, seed=1)
    worse = paired_bootstrap(hours(480), champion + noise.normal(10, 5, 480), champion, policy=POLICY, seed=1)
    assert better is not None
    assert worse is not None
    assert better.low <= better.difference <= better.high < 0 < worse.low <= worse.difference <= worse.high
    assert (better.blocks, better.block_days) == (20, 1)


def test_whole_weeks_are_resampled_when_there_are_eight() -> None:
    error = np.random.default_rng(3).gamma(2, 20, 60 * 24)
    found = paired_bootstrap(hours(60 * 24), error, error[::-1].copy(), policy=POLICY, seed=1)
    assert found is not None
    assert (found.blocks, found.block_days) == (9, 7)


def test_days_that_err_together_widen_the_interval() -> None:
    noise = np.random.default_rng(5)
    days = np.repeat(noise.normal(0, 10, 20), 24)
    together = paired_bootstrap(hours(480), days + 100, np.full(480, 100.0), policy=POLICY, seed=1)
    alone = paired_bootstrap(hours(480), noise.permutation(days) + 100, np.full(480, 100.0), policy=POLICY, seed=1)
    assert together is not None
    assert alone is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_the_same_seed_gives_the_same_interval_and_too_little_gives_none() -> None:
    error = np.random.default_rng(3).gamma(2, 20, 240)
    same = [paired_bootstrap(hours(240), error, error * 1.1, policy=POLICY, seed=7) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != paired_bootstrap(hours(240), error, error * 1.1, policy=POLICY, seed=8)
    assert paired_bootstrap(hours(48), error[:48], error[:48], policy=POLICY, seed=7) is None
    assert paired_bootstrap(hours(0), error[:0], error[:0], policy=POLICY, seed=7) is None
