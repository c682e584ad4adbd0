"""Error of what was served, its limits, the step, and the onset of a change."""

from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from bikeshare.core.drift import (
    DayScore,
    DriftPolicy,
    Limits,
    estimate_onset,
    judge_decay,
    judge_step,
    limits_from,
    measure,
    score_days,
)

POLICY = DriftPolicy()
LAST = date(2012, 5, 20)
LIMITS = Limits(bias_mu=0.0, bias=0.10, wape=0.25, backtest_wape=0.20)


def day(offset: int, ratio: float = 1.0, wape: float = 0.15, hours: int = 24) -> DayScore:
    demand = 100.0 * hours
    return DayScore(LAST - timedelta(days=offset), hours, demand, ratio * demand, wape * demand, 20, 23, 0)


def days(count: int, **changes: float) -> list[DayScore]:
    return [day(offset, **changes) for offset in range(count)]  # type: ignore[arg-type]


def labelled(hours: int) -> pd.DataFrame:
    timestamps = pd.date_range("2012-05-01", periods=hours, freq="h")
    demand = np.arange(hours) + 10
    prediction = demand + np.where(np.arange(hours) % 2 == 0, 5.0, -3.0)
    return pd.DataFrame({
        "timestamp": timestamps, "demand": demand, "prediction": prediction, "lower_80": demand - 1.0,
        "upper_80": demand + 1.0, "lower_95": demand + 1.0, "upper_95": demand + 2.0, "degraded": False,
    })


def test_days_are_sums_of_their_hours() -> None:
    scores = score_days(labelled(30))

    assert [(score.day, score.hours) for score in scores] == [(date(2012, 5, 1), 24), (date(2012, 5, 2), 6)]
    assert scores[0].demand == sum(range(10, 34))
    assert scores[0].abs_error == 12 * 5 + 12 * 3
    assert scores[0].prediction - scores[0].demand == 12 * 5 - 12 * 3
    assert (scores[0].inside_80, scores[0].inside_95) == (24, 0)
    assert score_days(labelled(0)) == ()


def test_a_day_survives_json() -> None:
    assert DayScore.from_list(day(3).to_list()) == day(3)


def test_measure_takes_only_the_window() -> None:
    scores = [*days(7, wape=0.1), day(7, wape=9.0), day(-1, wape=9.0)]
    performance = measure(scores, LAST, 7)

    assert performance is not None
    assert performance.hours == 168
    assert performance.wape == pytest.approx(0.1)
    assert performance.mae == pytest.approx(10)
    assert measure(scores, LAST - timedelta(days=90), 7) is None


def test_bias_is_centred_on_the_backtest_and_two_sided() -> None:
    low, high = measure(days(7, ratio=0.85), LAST, 7), measure(days(7, ratio=1.15), LAST, 7)
    centred = Limits(bias_mu=float(np.log(0.85)), bias=0.10, wape=0.25, backtest_wape=0.2)

    assert [finding.exceeded for finding in judge_decay(low, LIMITS, POLICY)] == [True, False]
    assert [finding.exceeded for finding in judge_decay(high, LIMITS, POLICY)] == [True, False]
    assert judge_decay(low, centred, POLICY)[0].exceeded is False
    assert "bias -15.0% (backtest +0.0%, limits -9.5% and +10.5%)" in judge_decay(low, LIMITS, POLICY)[0].sentence
    assert "bias -15.0% (backtest -15.0%, limits -23.1% and -6.1%)" in judge_decay(low, centred, POLICY)[0].sentence


def test_wape_over_its_limit_is_decay() -> None:
    assert judge_decay(measure(days(7, wape=0.26), LAST, 7), LIMITS, POLICY)[1].exceeded is True
    assert judge_decay(measure(days(7, wape=0.25), LAST, 7), LIMITS, POLICY)[1].exceeded is False


def test_too_few_labels_are_not_judged() -> None:
    assert judge_decay(measure(days(2, wape=9.0), LAST, 7), LIMITS, POLICY) == ()
    assert len(judge_decay(measure(days(3, wape=9.0), LAST, 7), LIMITS, POLICY)) == 2
    assert judge_decay(None, LIMITS, POLICY) == ()
    assert judge_decay(measure(days(7), LAST, 7), None, POLICY) == ()


def test_limits_never_fall_below_the_constants_and_widen_with_the_backtests_spread() -> None:
    calm = limits_from({"wape": 0.2, "bias_mu": 0.01, "bias_sd": 0.01, "weeks": [{"wape": 0.2}] * 8}, POLICY)
    wild = limits_from({
        "wape": 0.2, "bias_mu": 0.0, "bias_sd": 0.09,
        "weeks": [{"wape": value} for value in (0.10, 0.30, 0.12, 0.28, 0.10, 0.30, 0.12, 0.28)],
    }, POLICY)

    assert calm == Limits(0.01, 0.10, pytest.approx(0.25), 0.2)  # type: ignore[arg-type]
    assert wild is not None
    assert wild.bias > 0.10
    assert wild.wape > 0.25
    assert limits_from({}, POLICY) is None
    absurd = limits_from({"wape": 0.2, "bias_sd": 1.0, "weeks": [{"wape": 0.1}, {"wape": 2.0}] * 4}, POLICY)
    assert absurd == Limits(0.0, 0.25, pytest.approx(0.32), 0.2)  # type: ignore[arg-type]
    assert limits_from({"weeks": [], "wape": None}, POLICY) is None


def test_a_step_is_measured_against_the_usual_ratio_not_against_one() -> None:
    biased_for_long = days(20, ratio=1.5)
    stepped = [*days(2, ratio=1.5), *[day(offset) for offset in range(2, 20)]]

    assert judge_step(biased_for_long, LAST, LIMITS, POLICY).exceeded is False  # type: ignore[union-attr]
    assert judge_step(stepped, LAST, LIMITS, POLICY).exceeded is True  # type: ignore[union-attr]
    assert "+50%" in judge_step(stepped, LAST, LIMITS, POLICY).sentence  # type: ignore[union-attr]


def test_without_a_baseline_the_backtest_is_the_baseline() -> None:
    assert judge_step(days(3, ratio=1.6), LAST, LIMITS, POLICY).exceeded is True  # type: ignore[union-attr]
    assert judge_step(days(3, ratio=1.2), LAST, LIMITS, POLICY).exceeded is False  # type: ignore[union-attr]
    assert judge_step(days(3), LAST, None, POLICY) is None
    assert judge_step(days(1), LAST, LIMITS, POLICY) is None


def test_a_step_names_its_window() -> None:
    for length in (2, 3):
        found = judge_step(days(4), LAST, LIMITS, replace(POLICY, step_days=length))
        assert found is not None
        assert found.sentence.startswith(f"In {24 * length} h ")


@pytest.mark.parametrize("age", [4, 9])
def test_the_onset_is_the_first_day_of_the_spell(age: int) -> None:
    scores = [day(offset, ratio=1.4 if offset <= age else 1.02) for offset in range(28)]
    onset = estimate_onset(scores, LAST, LIMITS)

    assert onset == datetime.combine(LAST - timedelta(days=age), datetime.min.time())


def test_an_earlier_excursion_does_not_move_the_onset() -> None:
    scores = [day(offset, ratio=1.3 if offset in (0, 1, 2, 20) else 1.0) for offset in range(28)]

    assert estimate_onset(scores, LAST, LIMITS).date() == LAST - timedelta(days=2)
