"""Judging a canary: pure comparisons, each with answers that pass and answers that do not."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from bikeshare.core.contract import OBSERVATION
from bikeshare.core.rollout import ANSWERS, RolloutPolicy, golden_rows, judge_golden, judge_probes

NOW = datetime(2012, 7, 2, 8, 20)


def observations(days: int = 3) -> pd.DataFrame:
    hours = pd.date_range(NOW.replace(minute=0) - timedelta(days=days), periods=days * 24, freq="h")
    return pd.DataFrame({
        "timestamp": hours, "temp_c": 10.0 + hours.hour, "feels_like_c": 9.0, "humidity_pct": 50.0 + hours.day,
        "windspeed_kmh": 8.0, "weather": "mist",
    })


def test_golden_rows_surround_now_with_the_latest_weather_of_each_hour() -> None:
    rows = golden_rows(observations(), NOW)

    assert len(rows) == 48
    assert rows["timestamp"].is_unique
    assert (rows["timestamp"].min(), rows["timestamp"].max()) == (
        pd.Timestamp("2012-07-01 08:00"), pd.Timestamp("2012-07-03 07:00")
    )
    at_ten = rows[rows["timestamp"].dt.hour == 10]
    assert at_ten["temp_c"].tolist() == [20.0, 20.0]
    assert at_ten["humidity_pct"].unique().tolist() == [51.0]


def test_without_observations_golden_rows_are_still_valid_requests() -> None:
    rows = golden_rows(pd.DataFrame(), NOW, RolloutPolicy(golden_hours=6))

    assert len(rows) == 6
    for name in ("temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh"):
        column = OBSERVATION[name]
        assert column.minimum is not None
        assert column.maximum is not None
        assert rows[name].between(column.minimum, column.maximum).all()


def test_observations_without_weather_are_not_used() -> None:
    frame = observations()
    frame.loc[frame["timestamp"].dt.day == 2, "temp_c"] = float("nan")

    assert golden_rows(frame, NOW)["temp_c"].notna().all()


def answers(factor: float = 1.0, rows: int = 3) -> dict[str, list[float]]:
    return {name: [factor * (100.0 + place) for place in range(rows)] for name in ANSWERS}


def live(values: dict[str, list[float]]) -> list[dict[str, float]]:
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (1 + 5e-7, True), (1 + 5e-6, False), (0.9, False)])
def test_live_answers_must_equal_offline_ones(factor: float, passed: bool) -> None:
    assert judge_golden(answers(), live(answers(factor))).passed is passed


def test_one_different_number_is_named() -> None:
    seen = live(answers())
    seen[1]["upper_95"] = 50.0
    verdict = judge_golden(answers(), seen)

    assert not verdict.passed
    assert "upper_95: live 50, offline 101" in verdict.detail


def test_missing_or_unfinished_answers_fail() -> None:
    assert "2 answers to 3 rows" in judge_golden(answers(), live(answers(rows=2))).detail
    seen = live(answers())
    seen[0]["demand"] = float("nan")
    assert not judge_golden(answers(), seen).passed


def test_latency_is_judged_by_its_95th_percentile() -> None:
    quick, slow = [0.01] * 96 + [5.0] * 4, [0.01] * 94 + [5.0] * 6
    policy = RolloutPolicy(p95_seconds=0.25)

    assert judge_probes(quick, [], policy)[0].passed
    assert not judge_probes(slow, [], policy)[0].passed


def test_errors_are_judged_by_their_share() -> None:
    tolerant = RolloutPolicy(error_share=0.1)

    assert judge_probes([0.01] * 95, ["500"] * 5, tolerant)[1].passed
    assert not judge_probes([0.01] * 85, ["500"] * 15, tolerant)[1].passed
    assert not judge_probes([0.01] * 99, ["500: boom"])[1].passed
    assert "500: boom" in judge_probes([0.01] * 99, ["500: boom"])[1].detail


def test_no_probe_at_all_is_a_failure() -> None:
    latency, errors = judge_probes([], [])

    assert not latency.passed
    assert not errors.passed
