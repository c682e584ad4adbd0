from datetime import datetime

import numpy as np
import pytest

from bikeshare.core.level import Level, LevelPolicy, centred_ratio, level_chain, refresh_level, trailing_ratio

POLICY = LevelPolicy()
BEFORE = Level(1.0, datetime(1970, 2, 1), 100, "before")


def world(days: int, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full((days, 24), 100.0 * ratio), np.full((days, 24), 100.0)


def test_level_is_actual_over_predicted_of_days_with_old_labels_only():
    actual, predicted = world(40, 1.2)
    actual[38:] = 1e9
    ratio, hours, newest = trailing_ratio(actual, predicted, 39, 5.0, POLICY)
    assert ratio == pytest.approx(1.2)
    assert (hours, newest) == (28 * 24, 37)
    assert trailing_ratio(actual, predicted, 40, 5.0, POLICY)[0] > 1000


def test_younger_days_weigh_more_with_a_shorter_half_life():
    actual, predicted = world(40, 1.0)
    actual[30:] = 200.0
    quick = trailing_ratio(actual, predicted, 41, 2.0, POLICY)[0]
    slow = trailing_ratio(actual, predicted, 41, 20.0, POLICY)[0]
    assert 1.0 < slow < quick < 2.0


def test_a_day_with_more_than_six_missing_hours_is_skipped():
    actual, predicted = world(3, 1.0)
    actual[1] = 5000.0
    actual[1, :6] = np.nan
    assert trailing_ratio(actual, predicted, 3, 5.0, POLICY)[0] > 2
    actual[1, 6] = np.nan
    assert trailing_ratio(actual, predicted, 3, 5.0, POLICY)[0] == pytest.approx(1.0)


def test_the_daily_change_is_capped_both_ways_and_said():
    for factor, expected in ((10.0, 1.105), (0.1, 0.905), (1.05, 1.05)):
        actual, predicted = world(10, factor)
        level = refresh_level(BEFORE, actual, predicted, 100, 110, 5.0, POLICY)
        assert level.level == pytest.approx(expected, abs=0.001)
        assert ("capped" in level.reason) == (factor != 1.05)


def test_without_labels_the_level_and_its_age_stay():
    level = refresh_level(BEFORE, np.full((3, 24), np.nan), np.ones((3, 24)), 100, 103, 5.0, POLICY)
    assert (level.level, level.as_of) == (BEFORE.level, BEFORE.as_of)
    assert "kept" in level.reason


def test_the_chain_reaches_a_new_level_step_by_step():
    actual, predicted = world(20, 1.5)
    chain = level_chain(BEFORE, actual, predicted, 100, 105, 118, 5.0, POLICY)
    values = [item.level for item in chain]
    assert (np.diff(values) > -1e-9).all()
    assert values[0] == pytest.approx(np.exp(0.1))
    assert values[-1] == pytest.approx(1.5)


def test_centred_ratio_follows_growth_and_ignores_missing():
    actual = np.concatenate((np.full(2000, 100.0), np.full(2000, 200.0)))
    actual[100] = np.nan
    ratio = centred_ratio(actual, np.full(4000, 100.0))
    assert ratio[500] == pytest.approx(1.0)
    assert ratio[3500] == pytest.approx(2.0)
    assert 1.4 < ratio[2000] < 1.6
    assert (centred_ratio(np.full(10, np.nan), np.ones(10)) == 1).all()
