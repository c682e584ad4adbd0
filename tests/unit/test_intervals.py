import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.intervals import Intervals, bins_of, fit_intervals, needed_widths, rolling_widths

RANDOM = np.random.default_rng(0)
HOURS = RANDOM.integers(0, 24, 20_000)
BINS = bins_of(HOURS.astype(float), np.ones(20_000), np.zeros(20_000))
RESIDUAL = RANDOM.standard_normal(20_000) * np.where(HOURS < 6, 0.5, 2.0)


def test_quantiles_cover_what_they_say_in_quiet_and_busy_hours():
    intervals = fit_intervals(RESIDUAL, BINS, inflation=1.0)
    root = np.full(20_000, 100.0)
    low, high = intervals.bounds(root, 1.0, BINS, np.ones((2, 1)))
    actual = (root + RESIDUAL) ** 2
    inside = (actual >= low) & (actual <= high)
    assert inside.mean(axis=1) == pytest.approx([0.80, 0.95], abs=0.01)
    quiet = (HOURS >= 2) & (HOURS <= 4)
    assert inside[0][quiet].mean() == pytest.approx(0.80, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(
    root=st.floats(0, 40), level=st.floats(0.1, 3), hour=st.integers(0, 23), first=st.floats(0.5, 3),
    second=st.floats(0.5, 3),
)
def test_intervals_are_nested_and_never_negative(root, level, hour, first, second):
    intervals = fit_intervals(RESIDUAL, BINS)
    place = bins_of(np.array([hour * 1.0]), np.ones(1), np.zeros(1))
    low, high = intervals.bounds(np.array([root]), level, place, np.array([[first], [second]]))
    assert 0 <= low[1, 0] <= low[0, 0] <= root**2 * (1 + 1e-9)
    assert root**2 * (1 - 1e-9) <= high[0, 0] <= high[1, 0]


def test_the_rolling_factor_widens_after_misses_and_forgets():
    intervals = fit_intervals(RESIDUAL, BINS, inflation=1.0)
    calm = needed_widths(intervals, RESIDUAL, BINS)
    wild = needed_widths(intervals, 2 * RESIDUAL, BINS)
    ages = np.linspace(0, 20, 20_000)
    assert rolling_widths(calm, ages) == pytest.approx([1.0, 1.0], abs=0.05)
    assert rolling_widths(wild, ages) == pytest.approx([2.0, 2.0], abs=0.15)
    assert (rolling_widths(wild, ages + 60) < 1.1).all()
    assert rolling_widths(np.full((2, 3), np.nan), np.zeros(3)).tolist() == [1.0, 1.0]


def test_inflation_widens():
    narrow, wide = fit_intervals(RESIDUAL, BINS, inflation=1.0), fit_intervals(RESIDUAL, BINS, inflation=2.0)
    assert (wide.scale > narrow.scale).all()


def test_json_round_trip():
    intervals = fit_intervals(RESIDUAL, BINS)
    again = Intervals.from_dict(intervals.to_dict())
    assert np.array_equal(again.scale, intervals.scale)
    assert np.array_equal(again.lower, intervals.lower)
    with pytest.raises(KeyError):
        Intervals.from_dict({})
