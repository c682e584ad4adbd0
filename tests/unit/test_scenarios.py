"""Scenarios change what they say and nothing else."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from bikeshare.core import scenarios

START, END = datetime(2012, 5, 7), datetime(2012, 5, 21)


@pytest.fixture(scope="module")
def spring(history: pd.DataFrame) -> pd.DataFrame:
    rows = history["timestamp"].between(datetime(2012, 4, 30), datetime(2012, 5, 28))
    return history[rows].reset_index(drop=True)


def inside(frame: pd.DataFrame) -> pd.Series:
    return (frame["timestamp"] >= START) & (frame["timestamp"] < END)


@pytest.mark.parametrize(
    "scenario",
    [
        scenarios.fahrenheit,
        scenarios.clock_shift,
        scenarios.missing_hours,
        scenarios.demand_scaled,
        scenarios.home_office,
    ],
)
def test_rows_outside_the_interval_stay_and_the_input_is_not_modified(spring, scenario) -> None:
    before = spring.copy()
    changed = scenario(spring, START, END)

    pd.testing.assert_frame_equal(spring, before)
    pd.testing.assert_frame_equal(
        changed[~inside(changed)].reset_index(drop=True), spring[~inside(spring)].reset_index(drop=True)
    )
    assert not changed.equals(spring)


def test_fahrenheit_is_the_formula_and_leaves_demand(spring) -> None:
    changed = scenarios.fahrenheit(spring, START, END)
    rows = inside(spring)

    np.testing.assert_allclose(changed.loc[rows, "temp_c"], spring.loc[rows, "temp_c"] * 1.8 + 32)
    pd.testing.assert_series_equal(changed["demand"], spring["demand"])


def test_home_office_flattens_weekday_peaks_and_keeps_the_daily_sum(spring) -> None:
    changed = scenarios.home_office(spring, START, END)

    def profile(frame: pd.DataFrame, weekend: bool) -> pd.Series:
        rows = frame[inside(frame) & ((frame["timestamp"].dt.weekday >= 5) == weekend)]
        return rows.groupby(rows["timestamp"].dt.hour)["demand"].mean()

    before, after = profile(spring, False), profile(changed, False)
    assert after[8] / before[8] == pytest.approx(0.5, abs=0.02)
    assert after[12] > before[12]
    pd.testing.assert_series_equal(profile(changed, True), profile(spring, True))
    daily = scenarios.home_office(spring, START, END, every_day=True)
    assert profile(daily, True)[18] / profile(spring, True)[18] == pytest.approx(0.5, abs=0.02)
    pd.testing.assert_series_equal(profile(daily, False), after)
    ratio = changed.loc[inside(changed), "demand"].sum() / spring.loc[inside(spring), "demand"].sum()
    assert ratio == pytest.approx(1.0, abs=0.01)
    assert (changed["demand"] == changed["casual"] + changed["registered"]).all()


def test_scaling_moves_the_level_only(spring) -> None:
    more, less = (scenarios.demand_scaled(spring, START, END, factor) for factor in (1.3, 0.6))
    rows = inside(spring)

    assert more.loc[rows, "demand"].sum() / spring.loc[rows, "demand"].sum() == pytest.approx(1.3, abs=0.01)
    assert less.loc[rows, "demand"].sum() / spring.loc[rows, "demand"].sum() == pytest.approx(0.6, abs=0.01)


def test_missing_hours_lose_their_share(spring) -> None:
    kept = scenarios.missing_hours(spring, START, END, share=0.3)

    lost = len(spring) - len(kept)
    assert 0.22 < lost / inside(spring).sum() < 0.38


def test_clock_shift_books_counts_later(spring) -> None:
    changed = scenarios.clock_shift(spring, START, END, hours=4).set_index("timestamp")["demand"]

    assert changed[datetime(2012, 5, 9, 12)] == spring.set_index("timestamp")["demand"][datetime(2012, 5, 9, 8)]
