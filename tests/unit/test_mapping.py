"""A user's own file: units, weather words, time zones, the repeated hour, and errors that name the cell."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from bikeshare.core.mapping import apply_mapping, parse_mapping
from bikeshare.core.observations import read_csv
from bikeshare.errors import ConfigurationError, DataError

HEADER = "when;temp;feels;rh;wind;sky;holiday;riders"


def document(**timestamp: Any) -> dict[str, Any]:
    return {
        "timestamp": {"column": "when", **timestamp},
        "columns": {
            "temp_c": {"column": "temp", "unit": "F"},
            "feels_like_c": {"column": "feels", "unit": "K"},
            "humidity_pct": {"column": "rh", "unit": "fraction"},
            "windspeed_kmh": {"column": "wind", "unit": "m/s"},
            "weather": {"column": "sky", "values": {"sun": "clear", "fog": "mist", "rain": "light_precip"}},
            "is_holiday": "holiday",
            "demand": "riders",
        },
        "csv": {"separator": ";", "decimal": ","},
    }


def table(*rows: str) -> pd.DataFrame:
    return read_csv("\n".join([HEADER, *rows, ""]).encode(), ";")


def test_units_words_and_decimals_are_converted() -> None:
    raw = table("2024-05-01T10:00;50;283,15;0,5;10;sun;no;12", "2024-05-01T11:00;32,0;273,15;1;2,5;rain;yes;7")
    frame = apply_mapping(raw, parse_mapping(document()))
    assert list(frame["timestamp"].astype(str)) == ["2024-05-01 10:00:00", "2024-05-01 11:00:00"]
    assert list(frame["temp_c"]) == [10.0, 0.0]
    assert list(frame["feels_like_c"]) == [10.0, 0.0]
    assert list(frame["humidity_pct"]) == [50.0, 100.0]
    assert list(frame["windspeed_kmh"]) == [36.0, 9.0]
    assert list(frame["weather"]) == ["clear", "light_precip"]
    assert list(frame["is_holiday"]) == [False, True]
    assert list(frame["demand"]) == [12, 7]
    assert frame["casual"].isna().all()


@pytest.mark.parametrize(("unit", "expected"), [("km/h", 10.0), ("m/s", 36.0), ("mph", 16.0934), ("kn", 18.52)])
def test_wind_units(unit: str, expected: float) -> None:
    mapping = document()
    mapping["columns"]["windspeed_kmh"]["unit"] = unit
    frame = apply_mapping(table("2024-05-01T10:00;50;283;0,5;10;sun;no;12"), parse_mapping(mapping))
    assert frame["windspeed_kmh"].iloc[0] == expected


def test_the_example_mapping_reads_the_repository_file_like_the_loader(root: Path, history: pd.DataFrame) -> None:
    mapping = parse_mapping(yaml.safe_load((root / "data" / "example-mapping.yaml").read_text(encoding="utf-8")))
    frame = apply_mapping(read_csv((root / "data" / "hour.csv.gz").read_bytes()), mapping)
    pd.testing.assert_frame_equal(frame, history)


def test_utc_becomes_local_and_the_repeated_hour_is_summed_or_first() -> None:
    rows = [f"2024-10-27T0{hour}:00;50;283;0,5;10;{sky};no;{riders}"
            for hour, sky, riders in ((0, "sun", 5), (1, "fog", 7), (2, "rain", 9))]
    summed = apply_mapping(table(*rows), parse_mapping(document(source_timezone="UTC", timezone="Europe/Vienna")))
    assert list(summed["timestamp"].dt.hour) == [2, 3]
    assert list(summed["demand"]) == [12, 9]
    assert list(summed["weather"]) == ["clear", "light_precip"]
    first = apply_mapping(table(*rows), parse_mapping(
        document(source_timezone="UTC", timezone="Europe/Vienna", repeated_hour="first")
    ))
    assert list(first["demand"]) == [5, 9]


def test_offsets_in_the_text_are_honoured() -> None:
    raw = table("2024-07-01T10:00+00:00;50;283;0,5;10;sun;no;5", "2024-07-01T13:00+02:00;50;283;0,5;10;sun;no;6")
    frame = apply_mapping(raw, parse_mapping(document(timezone="Europe/Vienna")))
    assert list(frame["timestamp"].astype(str)) == ["2024-07-01 12:00:00", "2024-07-01 13:00:00"]
    with pytest.raises(DataError, match="UTC offset"):
        apply_mapping(raw, parse_mapping(document()))


def test_a_local_autumn_hour_may_repeat_only_where_the_clock_does() -> None:
    row = "50;283;0,5;10;sun;no;5"
    autumn = table(f"2024-10-27T02:00;{row}", f"2024-10-27T02:00;{row}")
    assert list(apply_mapping(autumn, parse_mapping(document(timezone="Europe/Vienna")))["demand"]) == [10]
    with pytest.raises(DataError, match="occurs twice"):
        apply_mapping(autumn, parse_mapping(document()))
    summer = table(f"2024-07-27T02:00;{row}", f"2024-07-27T02:00;{row}")
    with pytest.raises(DataError, match="2024-07-27 02:00:00 occurs twice"):
        apply_mapping(summer, parse_mapping(document(timezone="Europe/Vienna")))


@pytest.mark.parametrize("hour", ["2024-11-03T01:00", "2024-03-10T02:00"])
def test_an_hour_that_the_source_clock_shows_twice_or_never_is_refused(hour: str) -> None:
    mapping = parse_mapping(document(source_timezone="America/New_York", timezone="America/Chicago"))
    with pytest.raises(DataError, match="twice or never in America/New_York"):
        apply_mapping(table(f"{hour};50;283;0,5;10;sun;no;5"), mapping)


def test_a_local_hour_that_never_was_is_refused() -> None:
    raw = table("2024-03-31T02:00;50;283;0,5;10;sun;no;5")
    with pytest.raises(DataError, match="does not exist in Europe/Vienna"):
        apply_mapping(raw, parse_mapping(document(timezone="Europe/Vienna")))


def test_demand_may_be_the_sum_of_its_parts() -> None:
    mapping = document()
    del mapping["columns"]["demand"]
    mapping["columns"] |= {"casual": "riders", "registered": "temp"}
    frame = apply_mapping(table("2024-05-01T10:00;50;283;0,5;10;sun;no;12"), parse_mapping(mapping))
    assert (frame["demand"].iloc[0], frame["casual"].iloc[0]) == (62, 12.0)


@pytest.mark.parametrize(("row", "message"), [
    ("2024-05-01T10:00;warm;283;0,5;10;sun;no;12", r"column 'temp' \(temp_c\), row 1: 'warm' is not a number"),
    ("2024-05-01T10:00;50;283;0,5;10;hail;no;12", "column 'sky', row 1: 'hail' is not mapped to a weather"),
    ("2024-05-01T10:00;50;283;0,5;10;sun;perhaps;12", "column 'is_holiday', row 1: 'perhaps' is not true or false"),
    ("01.05.2024;50;283;0,5;10;sun;no;12", "column 'when', row 1: '01.05.2024' is not a time"),
    ("2024-05-01T10:15;50;283;0,5;10;sun;no;12", "not the start of an hour"),
    ("2024-05-01T10:00;50;283;0,5;10;sun;no;", "nan is not a whole number"),
])
def test_a_wrong_cell_is_named(row: str, message: str) -> None:
    raw = table("2024-05-01T09:00;50;283;0,5;10;sun;no;12", row)
    with pytest.raises(DataError, match=message):
        apply_mapping(raw, parse_mapping(document()))


def test_a_column_the_file_does_not_have_is_named_with_those_it_has() -> None:
    mapping = document()
    mapping["columns"]["temp_c"]["column"] = "temperature"
    with pytest.raises(DataError, match=r"no column 'temperature'; it has \['when', 'temp'"):
        apply_mapping(table("2024-05-01T10:00;50;283;0,5;10;sun;no;12"), parse_mapping(mapping))


@pytest.mark.parametrize(("change", "message"), [
    ({"timestamp": {}}, "timestamp needs `column`"),
    ({"timestamp": {"column": "when", "zone": "UTC"}}, "unknown key 'zone' in `timestamp`"),
    ({"timestamp": {"column": "when", "timezone": "Mars/Base"}}, "'Mars/Base' is no zone"),
    ({"timestamp": {"column": "when", "source_timezone": "UTC"}}, "needs timestamp.timezone"),
    ({"timestamp": {"column": "when", "repeated_hour": "last"}}, "use `sum` or `first`"),
    ({"columns": {"temp": "temp"}}, "unknown key 'temp' in `columns`"),
    ({"columns": {"temp_c": {"column": "temp", "unit": "R"}}}, "unit is 'R'; known are"),
    ({"columns": {"temp_c": {"column": "temp", "unit": "F", "factor": 2}}}, "both `unit` and `factor`"),
    ({"columns": {"temp_c": {"column": "temp", "factor": "abc"}}}, r"columns\.temp_c\.factor is 'abc', not a number"),
    ({"columns": {"temp_c": {"column": "temp", "factor": ".inf"}}}, r"factor is '\.inf', not a number"),
    ({"columns": {"temp_c": {"column": "temp", "factor": float("nan")}}}, r"factor is nan, not a number"),
    ({"columns": {"temp_c": {"column": "temp", "offset": [1]}}}, r"columns\.temp_c\.offset is \[1\], not a number"),
    ({"columns": {"temp_c": {}}}, "needs either `column` or `constant`"),
    ({"columns": {"weather": {"column": "sky", "values": {"sun": "sunny"}}}}, "gives 'sunny'"),
    ({"columns": ["temp_c"]}, "must be a table"),
])
def test_a_wrong_mapping_names_the_key(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_mapping(document() | change)
    with pytest.raises(ConfigurationError, match="must be a table"):
        parse_mapping(["not", "a", "table"])
