"""Rolling errors, records and figures from hours of answers beside the truth."""

import re
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from bikeshare.core.charts import WIDE, draw
from bikeshare.core.track_record import (
    forecast_figure,
    hours_figure,
    records_of,
    rolling,
    rolling_figure,
    usual_weeks,
)

FIRST = date(2012, 1, 1)


def hours(days: int = 10, **columns: float) -> pd.DataFrame:
    stamps = pd.date_range(FIRST, periods=24 * days, freq="h")
    frame = pd.DataFrame({"timestamp": stamps, "demand": 100.0})
    for name, value in {"served": 110.0, "frozen": 60.0, "naive": 80.0, **columns}.items():
        frame[name] = value
    return frame.assign(lower_80=90.0, upper_80=120.0, lower_95=101.0, upper_95=130.0)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=offset) for offset in range(count)]


def test_a_window_averages_its_days_and_no_others() -> None:
    frame = hours(10)
    frame.loc[frame["timestamp"].dt.date == FIRST, "served"] = 300.0

    result = rolling(frame, "served", days(10))

    assert result.mae[6] == pytest.approx((200 + 6 * 10) / 7)
    assert result.mae[7] == pytest.approx(10)
    assert result.wape[7] == pytest.approx(0.1)
    assert result.bias[7] == pytest.approx(0.1)


def test_the_sign_of_the_bias_tells_too_few_from_too_many() -> None:
    frame = hours(7)

    assert rolling(frame, "naive", days(7)).bias[-1] == pytest.approx(-0.2)
    assert rolling(frame, "served", days(7)).bias[-1] == pytest.approx(0.1)


def test_days_without_answers_are_unknown_not_zero() -> None:
    frame = hours(3)
    frame["served"] = np.nan

    assert list(rolling(frame, "served", days(3)).mae) == [None, None, None]
    assert list(rolling(hours(0), "served", []).mae) == []


def test_everybody_is_scored_on_the_same_hours() -> None:
    frame = hours(2)
    frame.loc[:23, "frozen"] = np.nan

    found = {record.name: record for record in records_of(frame, {"served": "S", "frozen": "F", "naive": "N"})}

    assert {record.scores.rows for record in found.values()} == {24}
    assert found["S"].scores.wape == pytest.approx(0.1)
    assert found["F"].scores.wape == pytest.approx(0.4)


def test_coverage_belongs_to_what_was_served() -> None:
    found = {record.name: record for record in records_of(hours(1), {"served": "S", "naive": "N"})}

    assert found["S"].inside_80 == 1.0
    assert found["S"].inside_95 == 0.0
    assert found["N"].inside_80 is None


def test_an_answerer_without_any_answer_is_left_out() -> None:
    frame = hours(1, frozen=np.nan)

    assert [record.name for record in records_of(frame, {"served": "S", "frozen": "F"})] == ["S"]


def test_a_missing_hour_is_a_gap_in_the_figure() -> None:
    frame = hours(1).drop(index=[3])
    figure = hours_figure(frame)

    assert len(figure.positions) == 24
    assert figure.lines[0].values[3] is None
    assert hours_figure(frame.iloc[:0]).positions == []


def test_every_limit_is_drawn_and_one_of_them_is_named() -> None:
    one = rolling_figure("x", [("s", "ours", [0.1])], days(1), percent=True, limits=(0.2,))
    two = rolling_figure("x", [("s", "ours", [0.1])], days(1), percent=True, limits=(-0.1, 0.2))

    assert [line.name for line in two.lines] == ["", "limit of the champion", "s"]
    assert [line.values for line in one.lines] == [[0.2], [0.1]]
    assert [line.values for line in two.lines] == [[0.2], [-0.1], [0.1]]


def test_the_band_of_the_backtest_is_the_middle_of_its_weeks() -> None:
    low, high = usual_weeks({"weeks": [{"wape": value / 10} for value in range(1, 12)]})

    assert (low, high) == pytest.approx((0.2, 1.0))
    assert usual_weeks({}) is None


def test_a_forecast_shows_its_bands_and_what_would_change() -> None:
    row = {"timestamp": "2012-01-01T00:00", "demand": 5, "lower_80": 4, "upper_80": 6, "lower_95": 3, "upper_95": 7}
    plain, other = forecast_figure([row]), forecast_figure([row], [{**row, "demand": 9}])

    assert [area.low for area in plain.areas] == [[3.0], [4.0]]
    assert [line.name for line in plain.lines] == ["expected"]
    assert other.lines[1].values == [9.0]


def test_two_days_keep_their_midnights_on_the_axis() -> None:
    row = {"demand": 5, "lower_80": 4, "upper_80": 6, "lower_95": 3, "upper_95": 7}
    drawn = forecast_figure([
        {**row, "timestamp": str(stamp)} for stamp in pd.date_range("2012-02-21 07:00", periods=48, freq="h")
    ])

    assert [text for _, text in drawn.ticks if ":" not in text] == ["Wed 22", "Thu 23"]
    assert re.findall(r">(Wed 22|Thu 23)<", draw(drawn, WIDE, 300)) == ["Wed 22", "Thu 23"]
