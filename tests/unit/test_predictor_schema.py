"""What the API accepts, and what it says about everything else."""

import json
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from bikeshare.core.contract import NEVER_FEATURES, OBSERVATION
from services.predictor.openapi import document
from services.predictor.refusals import InvalidRequest
from services.predictor.schema import (
    MAX_FORECAST_HOURS,
    MAX_ROWS,
    WINDOW,
    Columns,
    Window,
    parse_forecast,
    parse_predict,
)

NOW = datetime(2012, 7, 2, 8, 30)
ABSENT = object()


def row(**changes: Any) -> dict[str, Any]:
    values = {
        "timestamp": "2012-07-02T09:00", "temp_c": 20, "feels_like_c": 20.5, "humidity_pct": 50,
        "windspeed_kmh": 10.0, "weather": "clear",
    }
    values.update(changes)
    return {name: value for name, value in values.items() if value is not ABSENT}


def predict(body: Any, window: Window = WINDOW) -> Columns:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_predict(raw, NOW, window)


def refused(body: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        predict(body)
    return caught.value


def test_a_request_becomes_columns_in_the_order_of_the_question() -> None:
    columns = predict({"instances": [
        row(timestamp="2012-07-02T10:00:00", weather="heavy_precip", is_holiday=True),
        row(timestamp="2012-07-02 09", temp_c=-3.5, is_holiday=None),
    ]})

    assert columns.timestamps.astype(str).tolist() == ["2012-07-02T10", "2012-07-02T09"]
    assert columns.numbers.tolist() == [[20.0, 20.5, 50.0, 10.0], [-3.5, 20.5, 50.0, 10.0]]
    assert columns.weather.tolist() == [3, 0]
    assert list(columns.is_holiday) == [True, None]


@pytest.mark.parametrize("name", ["temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh"])
def test_ranges_are_the_contracts(name: str) -> None:
    column = OBSERVATION[name]
    assert column.minimum is not None
    assert column.maximum is not None
    for inside in (column.minimum, column.maximum):
        assert len(predict({"instances": [row(**{name: inside})]}).timestamps) == 1
    for outside in (column.minimum - 0.1, column.maximum + 0.1):
        problem = refused({"instances": [row(**{name: outside})]})
        assert (problem.status, problem.code, problem.field) == (422, "out_of_range", f"instances[0].{name}")
        assert problem.allowed == {"minimum": column.minimum, "maximum": column.maximum, "unit": column.unit}


def test_fahrenheit_is_recognised() -> None:
    assert "77 looks like °F, which would be 25.0 °C" in refused({"instances": [row(temp_c=77)]}).message
    assert "°F" not in refused({"instances": [row(windspeed_kmh=300)]}).message


@pytest.mark.parametrize(("changes", "code", "field"), [
    ({"temp_c": float("nan")}, "not_finite", "temp_c"),
    ({"temp_c": float("inf")}, "not_finite", "temp_c"),
    ({"humidity_pct": float("-inf")}, "not_finite", "humidity_pct"),
    ({"temp_c": ABSENT}, "missing_field", "temp_c"),
    ({"timestamp": ABSENT}, "missing_field", "timestamp"),
    ({"temp_c": "20"}, "wrong_type", "temp_c"),
    ({"temp_c": True}, "wrong_type", "temp_c"),
    ({"temp_c": None}, "wrong_type", "temp_c"),
    ({"is_holiday": "yes"}, "wrong_type", "is_holiday"),
    ({"is_holiday": 1}, "wrong_type", "is_holiday"),
    ({"weather": "sunny"}, "not_allowed", "weather"),
    ({"weather": 2}, "not_allowed", "weather"),
    ({"foo": 1}, "unknown_field", "foo"),
    ({"timestamp": 1341219600}, "wrong_type", "timestamp"),
    ({"timestamp": "1341219600"}, "bad_timestamp", "timestamp"),
    ({"timestamp": "2012-02-30T01:00"}, "bad_timestamp", "timestamp"),
    ({"timestamp": "2012-07-02T09:30"}, "not_a_full_hour", "timestamp"),
    ({"timestamp": "2012-07-02T09:00Z"}, "timezone_not_allowed", "timestamp"),
    ({"timestamp": "2012-07-02T09:00:00-05:00"}, "timezone_not_allowed", "timestamp"),
    ({"timestamp": "1999-01-01T00:00"}, "timestamp_out_of_window", "timestamp"),
    ({"timestamp": "2112-01-01T00:00"}, "timestamp_out_of_window", "timestamp"),
])
def test_a_bad_value_is_named_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    problem = refused({"instances": [row(timestamp="2012-07-02T12:00"), row(**changes)]})

    assert (problem.status, problem.code, problem.field) == (422, code, f"instances[1].{field}")


@pytest.mark.parametrize("name", NEVER_FEATURES)
def test_parts_of_the_answer_are_refused_with_the_reason(name: str) -> None:
    problem = refused({"instances": [row(**{name: 3})]})

    assert problem.code == "unknown_field"
    assert "part of the answer" in problem.message


@pytest.mark.parametrize("name", ["weekday", "hour", "workingday", "season"])
def test_the_calendar_is_not_asked_from_clients(name: str) -> None:
    assert "derived from timestamp on the server" in refused({"instances": [row(**{name: 3})]}).message


@pytest.mark.parametrize(("body", "status", "code"), [
    (b"", 400, "invalid_json"),
    (b"nope", 400, "invalid_json"),
    (b"\xff\xfe{}", 400, "invalid_json"),
    (b'{"instances": ["\xff"]}', 400, "invalid_json"),
    (b'{"instances":' + b"[" * 100_000, 400, "invalid_json"),
    ([], 422, "wrong_type"),
    (None, 422, "wrong_type"),
    ({}, 422, "missing_field"),
    ({"instances": {}}, 422, "wrong_type"),
    ({"instances": [3]}, 422, "wrong_type"),
    ({"instances": []}, 422, "empty_batch"),
    ({"instances": [row()], "model": "3"}, 422, "unknown_field"),
    ({"instances": [row()] * (MAX_ROWS + 1)}, 413, "batch_too_large"),
    ({"instances": [row(), row()]}, 422, "duplicate_timestamp"),
])
def test_a_bad_body_is_refused(body: Any, status: int, code: str) -> None:
    problem = refused(body)

    assert (problem.status, problem.code) == (status, code)


def test_the_largest_batch_is_the_whole_window() -> None:
    first = np.datetime64("2012-07-02T08", "h") - WINDOW.past_hours
    hours = (first + np.arange(MAX_ROWS)).astype(str)
    columns = predict({"instances": [row(timestamp=f"{hour}:00") for hour in hours]}, WINDOW)

    assert len(columns.timestamps) == WINDOW.past_hours + 1 + WINDOW.future_hours
    assert refused({"instances": [row(timestamp=f"{first + MAX_ROWS}:00")]}).code == "timestamp_out_of_window"


def test_the_largest_bodies_with_every_field_pass_however_they_are_written() -> None:
    first = np.datetime64("2012-07-02T08", "h") - WINDOW.past_hours
    hours = (first + np.arange(MAX_ROWS)).astype(str)
    rows = [row(timestamp=f"{hour}:00:00", is_holiday=False) for hour in hours]
    spaced = json.dumps({"instances": rows}, separators=(" ,\n", " :\t")).encode()
    assert len(parse_predict(spaced, NOW, WINDOW).timestamps) == MAX_ROWS

    day = [{name: value for name, value in row(is_holiday=True).items() if name != "timestamp"}] * MAX_FORECAST_HOURS
    body = json.dumps({"start": "2012-07-02T09:00:00", "weather": day}, separators=(" ,\n", " :\t")).encode()
    assert len(parse_forecast(body, NOW, WINDOW).timestamps) == MAX_FORECAST_HOURS


def test_rows_beyond_any_valid_body_are_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: they are too many rows, not unknown fields."""
    monkeypatch.setattr("services.predictor.schema.PREDICT", None)
    monkeypatch.setattr("services.predictor.schema.FORECAST", None)
    for parse, name, most in ((parse_predict, "instances", MAX_ROWS), (parse_forecast, "weather", MAX_FORECAST_HOURS)):
        with pytest.raises(InvalidRequest) as refusal:
            parse(json.dumps({name: [row()] * (4 * most)}).encode(), NOW, WINDOW)
        assert (refusal.value.status, refusal.value.code) == (413, "batch_too_large")
        assert refusal.value.allowed == {"minimum": 1, "maximum": most}


@pytest.mark.parametrize("colon", [":", " : ", "\n:"])
def test_bodies_of_nothing_but_fields_are_refused_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch, colon: str
) -> None:
    many = ",".join(f'"f{number}"{colon}0' for number in range(6_000))
    for parse, name in ((parse_predict, "instances"), (parse_forecast, "weather")):
        with monkeypatch.context() as patched:
            patched.setattr("services.predictor.schema.PREDICT", None)
            patched.setattr("services.predictor.schema.FORECAST", None)
            with pytest.raises(InvalidRequest, match="no valid request has so many") as refusal:
                parse(f'{{"{name}":[{{{many}}}]}}'.encode(), NOW, WINDOW)
        assert (refusal.value.status, refusal.value.code) == (422, "unknown_field")


def test_the_window_is_inclusive_on_both_sides() -> None:
    window = Window(past_hours=2, future_hours=3)
    for hour in ("2012-07-02T06:00", "2012-07-02T11:00"):
        assert len(predict({"instances": [row(timestamp=hour)]}, window).timestamps) == 1
    for hour in ("2012-07-02T05:00", "2012-07-02T12:00"):
        with pytest.raises(InvalidRequest) as caught:
            predict({"instances": [row(timestamp=hour)]}, window)
        assert caught.value.allowed == {"minimum": "2012-07-02T06:00", "maximum": "2012-07-02T11:00"}


def weather(hours: int) -> list[dict[str, Any]]:
    return [row(timestamp=ABSENT, temp_c=float(hour % 20)) for hour in range(hours)]


def test_a_forecast_starts_with_the_next_full_hour() -> None:
    columns = parse_forecast(json.dumps({"weather": weather(MAX_FORECAST_HOURS)}).encode(), NOW, WINDOW)

    assert columns.timestamps.astype(str).tolist()[:2] == ["2012-07-02T09", "2012-07-02T10"]
    assert len(columns.timestamps) == MAX_FORECAST_HOURS
    assert columns.numbers[:3, 0].tolist() == [0.0, 1.0, 2.0]


def test_a_forecast_may_name_its_start() -> None:
    body = {"start": "2012-07-05T00:00", "weather": weather(2)}

    assert parse_forecast(json.dumps(body).encode(), NOW, WINDOW).timestamps[0] == np.datetime64("2012-07-05T00")


@pytest.mark.parametrize(("body", "code", "field"), [
    ({"weather": weather(MAX_FORECAST_HOURS + 1)}, "batch_too_large", "weather"),
    ({"weather": []}, "empty_batch", "weather"),
    ({"weather": [row()]}, "unknown_field", "weather[0].timestamp"),
    ({"start": "2013-07-05T00:00", "weather": weather(1)}, "timestamp_out_of_window", "start"),
    ({"start": "tomorrow", "weather": weather(1)}, "bad_timestamp", "start"),
    ({"hours": 24, "weather": weather(1)}, "unknown_field", "hours"),
])
def test_a_bad_forecast_request_is_refused(body: Any, code: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_forecast(json.dumps(body).encode(), NOW, WINDOW)

    assert (caught.value.code, caught.value.field) == (code, field)


def test_openapi_documents_the_contracts_ranges_and_resolves() -> None:
    contract = document()
    schemas = contract["components"]["schemas"]

    assert schemas["Instance"]["properties"]["temp_c"]["maximum"] == OBSERVATION["temp_c"].maximum
    assert schemas["Instance"]["additionalProperties"] is False
    assert set(contract["paths"]) == {"/predict", "/forecast", "/model"}
    references = [part.split('"')[0] for part in json.dumps(contract).split("#/components/schemas/")[1:]]
    assert set(references) <= set(schemas)
    assert references
