"""A clock that is off by hours is found; ordinary days, holidays and changed habits are not mistaken for one."""

from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd
import pytest

from bikeshare.core import scenarios
from bikeshare.core.rhythm import Rhythm, check_clock, extend_rhythm, learn_rhythm, suspect_clock
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.core.verdicts import Failure

POLICY = ValidationPolicy()


def day_of(frame: pd.DataFrame, day: datetime) -> pd.DataFrame:
    rows = (frame["timestamp"] >= day) & (frame["timestamp"] < day + timedelta(days=1))
    return frame[rows].reset_index(drop=True)


def rhythm_before(history: pd.DataFrame, day: datetime) -> Rhythm:
    rows = (history["timestamp"] >= day - timedelta(days=28)) & (history["timestamp"] < day)
    return learn_rhythm(history[rows])


@pytest.mark.parametrize("hours", [4, -5, 6])
def test_counts_at_the_wrong_hour_are_refused_with_the_size_of_the_shift(history: pd.DataFrame, hours: int) -> None:
    day = datetime(2012, 5, 9)
    shifted = scenarios.clock_shift(history, day - timedelta(days=1), day + timedelta(days=2), hours)

    failure = check_clock(day_of(shifted, day), rhythm_before(history, day), POLICY)

    assert failure is not None
    assert failure.rule == "clock"
    assert failure.value == str(hours)
    assert ("later" if hours > 0 else "earlier") in failure.detail


def test_no_ordinary_day_of_two_years_is_refused(history: pd.DataFrame) -> None:
    refused = []
    rhythm = Rhythm()
    for day, frame in history.groupby(history["timestamp"].dt.normalize()):
        if check_clock(frame, rhythm, POLICY) is not None:
            refused.append(day)
        rhythm = extend_rhythm(rhythm, frame)

    assert refused == []


def test_after_a_refused_day_a_smaller_sign_is_enough_until_a_day_fits(history: pd.DataFrame) -> None:
    day = datetime(2012, 5, 10)
    usual = rhythm_before(history, day)
    slight = day_of(scenarios.clock_shift(history, day, day + timedelta(days=1), 2), day)
    refusal = Failure("clock", "demand", "", 24, "3", "0")

    assert check_clock(slight, usual, POLICY) is None
    doubted = check_clock(slight, suspect_clock(usual, refusal), POLICY)
    assert doubted is not None
    assert "still like the refused day before it" in doubted.detail
    assert check_clock(slight, suspect_clock(usual, replace(refusal, value="-3")), POLICY) is None, "the other side"
    right = day_of(history, day)
    assert check_clock(right, suspect_clock(usual, refusal), POLICY) is None
    assert extend_rhythm(suspect_clock(usual, refusal), right).suspected is None


def test_changed_habits_are_not_a_wrong_clock(history: pd.DataFrame) -> None:
    at_home = scenarios.home_office(history, datetime(2012, 5, 7), datetime(2012, 5, 21))
    for offset in range(14):
        day = datetime(2012, 5, 7) + timedelta(days=offset)
        assert check_clock(day_of(at_home, day), rhythm_before(history, day), POLICY) is None


def test_without_two_weeks_of_history_nothing_is_judged(history: pd.DataFrame) -> None:
    day = datetime(2011, 1, 10)

    shifted = scenarios.clock_shift(history, day - timedelta(days=1), day + timedelta(days=2), 6)
    assert not rhythm_before(history, day).known
    assert check_clock(day_of(shifted, day), rhythm_before(history, day), POLICY) is None
    assert not learn_rhythm(history.head(0)).known
    assert rhythm_before(history, datetime(2011, 1, 15)).known


def test_a_constant_day_has_no_rhythm_to_compare(history: pd.DataFrame) -> None:
    day = datetime(2012, 5, 9)
    flat = day_of(history, day).assign(demand=7)

    assert check_clock(flat, rhythm_before(history, day), POLICY) is None
