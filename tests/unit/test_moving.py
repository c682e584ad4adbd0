"""A moved history keeps weekdays and seasons and stops where it is told."""

from datetime import date, timedelta

import pandas as pd
import pytest

from bikeshare.core.moving import moved


@pytest.mark.parametrize("until", [date(2026, 11, 25), date(2024, 2, 29), date(2013, 1, 2), date(2031, 7, 1)])
def test_it_ends_with_the_day_before_on_the_same_weekdays_and_in_season(history: pd.DataFrame, until: date) -> None:
    later = moved(history, until)
    shift = later["timestamp"].iloc[0] - history["timestamp"].iloc[0]
    source_end = later["timestamp"].iloc[-1] - shift

    assert later["timestamp"].iloc[-1].date() == until - timedelta(days=1)
    assert shift % timedelta(weeks=1) == timedelta(0)
    assert abs((source_end.dayofyear - (until - timedelta(days=1)).timetuple().tm_yday + 182) % 365 - 182) <= 4
    assert len(later) > 365 * 24 - 200


def test_values_are_those_of_the_hour_it_was(history: pd.DataFrame) -> None:
    later = moved(history, date(2026, 11, 25))
    columns = [column for column in history.columns if column != "timestamp"]

    pd.testing.assert_frame_equal(later[columns], history.iloc[: len(later)][columns])


def test_a_day_inside_the_record_only_cuts(history: pd.DataFrame) -> None:
    later = moved(history, date(2012, 3, 1))

    pd.testing.assert_frame_equal(later, history[history["timestamp"] < "2012-03-01"].reset_index(drop=True))
