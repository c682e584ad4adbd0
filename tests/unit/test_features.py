from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.tseries.holiday import USFederalHolidayCalendar

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.calendar import CALENDAR_FEATURES, calendar_block, federal_holidays, is_public_holiday, sun_sine
from bikeshare.core.contract import NEVER_FEATURES
from bikeshare.core.features import HISTORY, N_FEATURES, STATELESS, Feature, leakage_guard, weather_block
from bikeshare.core.grid import EMPTY, grid_of, hour_number, hour_numbers, moment_of, weather_codes
from bikeshare.core.training import grid_matrix
from bikeshare.errors import DataError
from tests.unit.model_world import history, observations


def hours(*texts: str) -> np.ndarray:
    return hour_numbers(np.array(texts, dtype="datetime64[h]"))


def column(name: str, *texts: str, declared: np.ndarray | None = None) -> list[float]:
    return calendar_block(hours(*texts), declared)[:, CALENDAR_FEATURES.index(name)].tolist()


def test_the_real_features_pass_the_guard_and_registered_does_not():
    leakage_guard(STATELESS + HISTORY)
    for name in ("registered", "casual"):
        with pytest.raises(DataError, match=name):
            leakage_guard((*STATELESS, Feature("members", (name,), 24)))


@pytest.mark.parametrize("lag", [None, 0, 23])
def test_demand_closer_than_a_day_is_refused(lag):
    with pytest.raises(DataError, match="lag"):
        leakage_guard((Feature("lately", ("demand",), lag),))
    leakage_guard((Feature("yesterday", ("demand",), 24),))


def test_unknown_source_is_refused():
    with pytest.raises(DataError, match="moon"):
        leakage_guard((Feature("tide", ("moon",)),))


def test_every_feature_declares_sources_and_none_is_the_answer_itself():
    assert len(STATELESS) == 25
    assert len(STATELESS + HISTORY) == N_FEATURES
    assert len({feature.name for feature in STATELESS + HISTORY}) == N_FEATURES
    assert not {source for feature in STATELESS for source in feature.sources} & set(NEVER_FEATURES)


def test_derived_holidays_equal_the_record():
    frame = history()
    derived = is_public_holiday(hour_numbers(frame["timestamp"].to_numpy()))
    assert (derived == frame["is_holiday"].to_numpy()).all()
    assert 400 < derived.sum() < 600


@pytest.mark.parametrize("year", range(1984, 2051))
def test_federal_holidays_equal_those_of_pandas(year):
    expected = USFederalHolidayCalendar().holidays(f"{year - 1}-12-31", f"{year}-12-30")
    assert sorted(federal_holidays(year).values()) == [day.date() for day in expected]


def test_calendar_rules():
    emancipation, thursday, friday, eve = "2012-04-16T08", "2012-11-22T08", "2012-11-23T08", "2012-12-24T08"
    assert column("works", emancipation, thursday, friday, eve, "2012-04-17T08") == [1, 0, 0, 0, 1]
    assert column("weekday", "2012-01-02T00", "2012-01-08T00") == [0, 6]
    assert column("day_type", "2012-04-17T08", "2012-04-15T08", thursday, "2012-04-14T08") == [0, 1, 2, 3]
    assert column("minor_holiday", "2012-10-08T00", "2012-07-04T00") == [1, 0]
    assert column("near_holiday", "2012-07-03T00", "2012-07-05T00", "2012-07-09T00") == [1, 1, 0]
    assert column("christmas", "2012-12-24T00", "2013-01-01T00", "2012-12-23T00") == [1, 1, 0]


def test_a_stated_holiday_overrides_the_calendar_except_emancipation_day():
    days = ("2012-05-08T08", "2012-07-04T08", "2012-04-16T08")
    assert column("works", *days) == [1, 0, 1]
    assert column("works", *days, declared=np.array([1.0, 0.0, 1.0])) == [0, 1, 1]
    assert column("works", *days, declared=np.full(3, np.nan)) == [1, 0, 1]


def test_the_sun_is_up_at_noon_and_follows_the_clock_change():
    noon, midnight = sun_sine(hours("2012-06-21T12", "2012-06-21T00"))
    assert noon > 0.9
    assert midnight < 0
    before, after = sun_sine(hours("2012-03-10T06", "2012-03-11T06"))
    assert after < before


def test_grid_keeps_gaps_and_refuses_duplicates():
    frame = observations().head(100)
    grid = grid_of(frame.drop(index=[5]))
    assert np.isnan(grid.demand[5])
    assert grid.demand[6] == frame["demand"][6]
    with pytest.raises(DataError, match="more than once"):
        grid_of(pd.concat([frame, frame.head(1)]))
    assert len(grid_of(frame.head(0))) == 0
    assert len(EMPTY.covering(48, 50)) == 24
    assert moment_of(hour_number(pd.Timestamp("2012-02-29 05:59"))).hour == 5


def test_hiding_labels_keeps_weather():
    grid = grid_of(observations().head(100))
    hidden = grid.hide_demand_from(grid.start + 30)
    assert np.isnan(hidden.demand[30:]).all()
    assert hidden.demand[29] == grid.demand[29]
    assert grid.hide_demand_from(grid.end) is grid
    assert np.array_equal(hidden.weather, grid.weather, equal_nan=True)


def test_unknown_weather_class_is_named():
    with pytest.raises(DataError, match="hail"):
        weather_codes(["clear", "hail"])
    assert weather_codes(["clear", "heavy_precip"]).tolist() == [0.0, 3.0]


def test_weather_context_sees_rain_around_and_not_itself():
    weather = np.tile([20.0, 20.0, 50.0, 10.0, 0.0], (72, 1))
    weather[30, 4] = 3.0
    names = [feature.name for feature in STATELESS[13:]]
    block, lagged = weather_block(weather, np.arange(72))
    before, after = block[:, names.index("weather_before")], block[:, names.index("weather_after")]
    assert np.flatnonzero(before).tolist() == [31, 32, 33]
    assert np.flatnonzero(after).tolist() == [27, 28, 29]
    assert block[30, names.index("weather")] == 2.0
    assert block[53, names.index("wet_share")] == pytest.approx(1 / 24)
    assert block[54, names.index("wet_share")] == 0.0
    assert lagged[54, 0] == 2.0
    assert np.isnan(lagged[5]).all()


def test_a_lonely_row_falls_back_to_its_own_weather():
    weather = np.full((24, 5), np.nan)
    weather[15] = [25.0, 26.0, 40.0, 12.0, 1.0]
    block, _ = weather_block(weather, np.array([15]))
    assert not np.isnan(block).any()
    names = [feature.name for feature in STATELESS[13:]]
    assert block[0, names.index("weather_before")] == 1.0
    assert block[0, names.index("temp_day")] == pytest.approx(22.0)


@settings(max_examples=20, deadline=None)
@given(place=st.integers(800, 2500), seed=st.integers(0, 1000))
def test_features_never_read_demand_after_t_minus_24(place, seed):
    grid = grid_of(observations())
    forged = grid.demand.copy()
    forged[place - 23:] = np.random.default_rng(seed).uniform(0, 1e6, forged.size - place + 23)
    at = np.array([place])
    expected, base = grid_matrix(grid, at)
    got, other = grid_matrix(replace(grid, demand=forged), at)
    assert np.array_equal(expected, got, equal_nan=True)
    assert np.array_equal(base, other, equal_nan=True)


def test_batch_refuses_unequal_or_empty_columns():
    frame = observations().head(3)
    batch = WeatherBatch.from_frame(frame)
    with pytest.raises(DataError, match="equal length"):
        replace(batch, temp_c=batch.temp_c[:2])
    with pytest.raises(DataError, match="equal length"):
        WeatherBatch.from_frame(frame.head(0))
    coded = WeatherBatch.from_frame(frame.assign(weather=[0, 1, 2]).drop(columns="is_holiday"))
    assert coded.weather.tolist() == [0.0, 1.0, 2.0]
    assert coded.is_holiday is None
