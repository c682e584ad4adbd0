"""Weather for a forecast: from the past, typed, uploaded, changed; wrong files are refused by row."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.core.weather_plan import (
    COLUMNS,
    MAX_HOURS,
    WhatIf,
    changed,
    from_csv,
    like_past,
    next_hour,
    request_body,
    to_csv,
    typed,
)
from bikeshare.errors import DataError

START = datetime(2012, 2, 21, 7)


def plan(**values) -> pd.DataFrame:
    given = {"mean_c": 10.0, "swing_c": 8.0, "humidity_pct": 50.0, "windspeed_kmh": 12.0, "weather": "clear", **values}
    return typed(24, START, **given)


def observed(days: int, hole: int | None = None) -> pd.DataFrame:
    stamps = pd.date_range(START - timedelta(days=days), periods=24 * days, freq="h")
    frame = pd.DataFrame({"timestamp": stamps, "temp_c": range(len(stamps))})
    frame = frame.assign(feels_like_c=0.0, humidity_pct=50.0, windspeed_kmh=9.0, weather="mist")
    return frame if hole is None else frame.drop(index=[hole])


def test_the_next_hour_is_a_full_one() -> None:
    assert next_hour(datetime(2012, 2, 21, 6, 40)) == START
    assert next_hour(datetime(2012, 2, 21, 6)) == START


def test_typed_weather_is_warmest_in_the_afternoon() -> None:
    hours = plan()["temp_c"].set_axis([(START + timedelta(hours=offset)).hour for offset in range(24)])

    assert hours.idxmax() == 15
    assert hours.max() - hours.min() == pytest.approx(8.0)
    assert plan(swing_c=0.0)["temp_c"].nunique() == 1


def test_past_weather_is_that_of_the_same_hours() -> None:
    found = like_past(observed(3), START, 24, 1)

    assert found["temp_c"].tolist() == list(range(48, 72))
    assert like_past(observed(3), START, 24, 2)["temp_c"].iloc[0] == 24


def test_an_hour_that_did_not_land_is_taken_from_the_day_before() -> None:
    assert like_past(observed(3, hole=50), START, 24, 1)["temp_c"].iloc[2] == 26


def test_without_any_weather_the_way_out_is_named() -> None:
    with pytest.raises(DataError, match="type the weather, or upload"):
        like_past(observed(1), START, 24, 30)


def test_what_if_moves_every_hour_and_stays_physical() -> None:
    warmer = changed(plan(), WhatIf(warmer_c=5.0, more_humid_pct=80.0, windier_kmh=-99.0, weather="heavy_precip"))

    assert (warmer["temp_c"] - plan()["temp_c"]).tolist() == pytest.approx([5.0] * 24)
    assert set(warmer["humidity_pct"]) == {100.0}
    assert set(warmer["windspeed_kmh"]) == {0.0}
    assert set(warmer["weather"]) == {"heavy_precip"}


def test_no_change_is_no_change() -> None:
    assert not WhatIf().changes
    assert WhatIf(warmer_c=0.5).changes
    pd.testing.assert_frame_equal(changed(plan(), WhatIf()), plan())


def test_a_downloaded_plan_can_be_uploaded() -> None:
    again = from_csv(to_csv(plan()))

    assert list(again.columns) == list(COLUMNS)
    assert again["temp_c"].tolist() == pytest.approx(plan()["temp_c"].tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "not CSV"),
        (b"temp_c\n3\n", "no column feels_like_c"),
        (to_csv(plan().iloc[:0]), "0 rows"),
        (to_csv(pd.concat([plan()] * 3)), "72 rows"),
        (to_csv(plan()).replace(b"50.0", b"500.0", 1), r"row 1: humidity_pct is 500.0; allowed is 0 to 100 %"),
        (to_csv(plan()).replace(b",50.0,", b",,", 1), "row 1: humidity_pct is nan"),
        (to_csv(plan()).replace(b"clear", b"sunny", 1), r"row 1: weather is 'sunny'; allowed is clear, mist"),
    ],
)
def test_a_wrong_file_is_refused_with_the_row(content, message) -> None:
    with pytest.raises(DataError, match=message):
        from_csv(content)


def test_the_request_is_the_apis() -> None:
    body = request_body(plan(), START)

    assert body["start"] == "2012-02-21T07:00"
    assert set(body["weather"][0]) == {*WEATHER_NUMBERS, "weather"}
    assert body["weather"][0]["weather"] in WEATHER_CLASSES


def test_the_horizon_is_the_apis() -> None:
    from services.predictor.schema import MAX_FORECAST_HOURS

    assert MAX_HOURS == MAX_FORECAST_HOURS


def test_every_number_of_the_plan_has_a_range() -> None:
    assert all(OBSERVATION[name].minimum is not None for name in WEATHER_NUMBERS)
