from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.evaluation import BAR, naive_forecasts, score
from bikeshare.core.level import Level
from bikeshare.errors import DataError
from tests.unit.model_world import CUT, END, forecaster, observations

NOW = datetime(2011, 9, 14, 9)
SNAPSHOT = forecaster().snapshot(observations(), NOW)


def rows(start: datetime, hours: int) -> pd.DataFrame:
    frame = observations()
    chosen = frame[(frame["timestamp"] >= start) & (frame["timestamp"] < start + timedelta(hours=hours))]
    return chosen.reset_index(drop=True)


def answer(frame: pd.DataFrame, snapshot=SNAPSHOT, now=NOW):
    return forecaster().predict(WeatherBatch.from_frame(frame), snapshot, now)


def test_a_live_answer_equals_the_replayed_one():
    replayed = forecaster().backtest_predict(observations(), CUT, END).set_index("timestamp")
    for hour in (0, 8, 23):
        now = datetime(2011, 9, 20, hour)
        live = answer(rows(now, 1), forecaster().snapshot(observations(), now), now)
        expected = replayed.loc[pd.Timestamp(now)]
        assert live.demand[0] == pytest.approx(expected["prediction"], rel=1e-6)
        assert live.lower_80[0] == pytest.approx(expected["lower_80"], rel=1e-6)
        assert live.source[0] == "mean"


def test_small_forests_beat_the_naive_rule_by_a_fifth():
    replayed = forecaster().backtest_predict(observations(), CUT, END)
    naive = naive_forecasts(observations(), replayed["timestamp"].to_numpy())[BAR]
    ours, bar = score(replayed["demand"], replayed["prediction"]), score(replayed["demand"], naive)
    assert ours.rmse < 0.8 * bar.rmse


def test_whole_days_landing_late_change_little():
    hourly = forecaster().backtest_predict(observations(), CUT, END)
    daily = forecaster().backtest_predict(observations(), CUT, END, landing="daily")
    assert not np.allclose(hourly["prediction"], daily["prediction"])
    assert score(daily["demand"], daily["prediction"]).wape < 1.15 * score(hourly["demand"], hourly["prediction"]).wape


def test_no_answer_reads_demand_later_than_t_minus_24():
    forged = observations().copy()
    forged.loc[forged["timestamp"] > NOW - timedelta(hours=24), "demand"] = 9_999.0
    again = forecaster().snapshot(forged, NOW)
    assert np.array_equal(answer(rows(NOW, 24)).demand, answer(rows(NOW, 24), again).demand)
    early = observations().copy()
    early.loc[early["timestamp"] <= NOW - timedelta(hours=24), "demand"] *= 2
    assert not np.array_equal(
        answer(rows(NOW, 24)).demand, answer(rows(NOW, 24), forecaster().snapshot(early, NOW)).demand
    )


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(20)))
def test_permuting_rows_permutes_answers(order):
    frame = rows(NOW, 18)
    frame = pd.concat([frame, frame.head(2).assign(weather="heavy_precip")], ignore_index=True)
    straight = answer(frame)
    shuffled = answer(frame.iloc[list(order)])
    assert np.allclose(straight.demand[list(order)], shuffled.demand)
    assert np.allclose(straight.upper_95[list(order)], shuffled.upper_95)


def test_a_batch_equals_its_rows_given_the_same_context():
    frame = rows(NOW, 12)
    together = answer(frame)
    singly = [answer(frame.iloc[[number]]).demand[0] for number in range(len(frame))]
    assert np.allclose(together.demand, singly)


def test_rain_lowers_the_evening_peak_and_a_holiday_the_morning_one():
    peak = rows(datetime(2011, 9, 14, 15), 5)
    wet, dry = (answer(peak.assign(weather=weather)).demand.sum() for weather in ("light_precip", "clear"))
    assert wet < 0.9 * dry
    morning = rows(datetime(2011, 9, 14, 8), 1)
    off = answer(morning.assign(is_holiday=True))
    assert off.demand[0] < 0.8 * answer(morning).demand[0]
    assert off.source[0] == "stateless_online"
    assert answer(morning.drop(columns="is_holiday")).demand[0] == answer(morning).demand[0]


def test_night_is_quieter_than_the_evening():
    night, evening = (answer(rows(datetime(2011, 9, 14, hour), 1)).demand[0] for hour in (3, 17))
    assert night < 0.1 * evening


def test_the_fallback_chain_says_what_answered():
    frame = rows(NOW, 2)
    assert answer(frame).source.tolist() == ["mean", "mean"]
    assert not answer(frame).degraded.any()
    assert answer(frame).level_age_hours[0] == 9.0
    nothing = forecaster().snapshot(observations().head(0), datetime(2012, 6, 1))
    far = frame.assign(timestamp=pd.Timestamp("2012-06-01 09:00"))
    frozen = answer(far.head(1), nothing, datetime(2012, 6, 1))
    assert frozen.source.tolist() == ["stateless_frozen"]
    assert np.isnan(frozen.level_age_hours[0])
    assert frozen.degraded.all()
    short = observations()[observations()["timestamp"] >= CUT - timedelta(days=5)]
    online = answer(frame, forecaster().snapshot(short[short["timestamp"] < CUT], NOW))
    assert online.source.tolist() == ["stateless_online", "stateless_online"]
    assert online.degraded.all()


def test_stored_levels_are_used_when_newer():
    stored = Level(3.0, NOW - timedelta(hours=1), 168, "stored")
    snapshot = forecaster().snapshot(observations(), NOW, {"stateless": stored, "history": stored})
    assert snapshot.levels["stateless"].level == 3.0
    old = replace(stored, as_of=datetime(2011, 1, 1))
    assert forecaster().snapshot(observations(), NOW, {"stateless": old}).levels["stateless"].level != 3.0


def test_hours_outside_the_horizon_are_answered_without_history():
    frame = pd.concat([rows(NOW, 2), rows(datetime(2011, 9, 25), 2)], ignore_index=True)
    assert answer(frame).source.tolist() == ["mean", "mean", "stateless_online", "stateless_online"]
    wide = frame.copy()
    wide.loc[2, "timestamp"] = pd.Timestamp("2031-01-01")
    with pytest.raises(DataError, match="spans"):
        answer(wide)


def test_levels_are_deterministic():
    levels = forecaster().snapshot(observations(), NOW).levels
    assert levels == SNAPSHOT.levels
    assert levels["stateless"].as_of == datetime(2011, 9, 14)


def test_growth_is_followed_by_the_level():
    grown = observations().copy()
    grown.loc[grown["timestamp"] >= CUT, "demand"] *= 1.5
    before, after = (forecaster().snapshot(rows, END).levels for rows in (observations(), grown))
    assert after["stateless"].level == pytest.approx(1.5 * before["stateless"].level, rel=0.05)


def test_training_hours_are_not_replayed():
    with pytest.raises(DataError, match="end of training"):
        forecaster().backtest_predict(observations(), CUT - timedelta(days=1), END)
