from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.calendar import WORKS, calendar_block
from bikeshare.core.grid import grid_of
from bikeshare.core.history import demand_history, fill_unlanded
from tests.unit.model_world import observations

GRID = grid_of(observations())
WORKDAYS = calendar_block(GRID.hours, GRID.holiday)[:, WORKS]


def history_at(demand, *place):
    return demand_history(demand, GRID.weather, WORKDAYS, np.array(place))


def test_constant_demand_has_ratio_one_everywhere():
    found = history_at(np.full(len(GRID), 50.0), 1500, 1513)
    assert found.base == pytest.approx([51.0, 51.0])
    assert np.allclose(found.block[:, :8], 1.0)


def test_lags_count_hours_not_rows():
    demand = np.full(len(GRID), 50.0)
    demand[1500 - 24] = 100.0
    assert history_at(demand, 1500).block[0, 0] > 1.5
    assert history_at(demand, 1501).block[0, 0] == pytest.approx(1.0, abs=0.01)
    demand[1490] = np.nan
    assert history_at(demand, 1500).block[0, 0] > 1.5


def test_without_four_weeks_there_is_no_base():
    assert np.isnan(history_at(GRID.demand, 10).base).all()
    assert not np.isnan(history_at(GRID.demand, 30 * 24 + 12).base).any()


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(0.01, 1000), place=st.integers(30 * 24, len(GRID) - 1))
def test_history_does_not_depend_on_the_scale_of_demand(factor, place):
    one, many = history_at(GRID.demand, place), history_at(GRID.demand * factor, place)
    assert np.allclose(one.block, many.block, equal_nan=True)
    assert np.allclose(one.base * factor, many.base, equal_nan=True)


def test_rain_behind_the_base_is_told():
    weather = GRID.weather.copy()
    weather[:, 4] = 2.0
    wet = demand_history(GRID.demand, weather, WORKDAYS, np.array([1500])).block[0, 8]
    assert wet == pytest.approx(1.0)
    assert history_at(GRID.demand, 1500).block[0, 8] < 0.5


def test_unlanded_hours_are_guessed_from_landed_ones():
    landed = 80 * 24
    hidden = replace(GRID).hide_demand_from(GRID.start + landed).demand
    filled = fill_unlanded(hidden, GRID.weather, WORKDAYS, landed, landed + 48)
    assert np.array_equal(filled[:landed], hidden[:landed], equal_nan=True)
    assert not np.isnan(filled[landed:landed + 48]).any()
    assert np.isnan(filled[landed + 48:]).all()
    actual = GRID.demand[landed:landed + 48]
    assert np.nanmean(np.abs(filled[landed:landed + 48] - actual)) < 0.5 * np.nanmean(actual)
