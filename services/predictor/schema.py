"""What the API accepts and answers: types, validation with the field and the allowed range, OpenAPI.

The ranges come from `bikeshare.core.contract`, so a changed unit changes the API, its documentation and the
validation at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, FailFast, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES
from bikeshare.core.single_hour import SingleHour
from services.predictor.refusals import InvalidRequest, explain, too_many_rows

MAX_FORECAST_HOURS = 48
"""The horizon a weather forecast is good for, and the one the intervals are calibrated on."""

MAX_BODY_BYTES = 1024 * 1024
"""All hours of the window, written with spaces and full decimals, need about 125 kB; indented ones three times that."""

TIMESTAMP_PATTERN = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3])(:00(:00(\.0{1,9})?)?)?$"


@dataclass(frozen=True)
class Window:
    """Which hours may be asked for, around the clock's current hour.

    Attributes:
        past_hours: Oldest hour. Seven days: late questions about the past week make sense (what would have
            been predicted); older ones are replays and belong to the offline tools.
        future_hours: Newest hour. Sixteen days is as far as public weather forecasts reach.
    """

    past_hours: int = 168
    future_hours: int = 384


WINDOW = Window()

MAX_ROWS = WINDOW.past_hours + 1 + WINDOW.future_hours
"""Rows per request: every hour of the window, each once."""


def _number(name: str) -> Any:
    column = OBSERVATION[name]
    return Field(
        ge=column.minimum, le=column.maximum, strict=True, allow_inf_nan=False,
        description=f"{column.description} Unit: {column.unit}.",
    )


TempC = Annotated[float, _number("temp_c")]
FeelsLikeC = Annotated[float, _number("feels_like_c")]
HumidityPct = Annotated[float, _number("humidity_pct")]
WindspeedKmh = Annotated[float, _number("windspeed_kmh")]
Weather = Annotated[
    Literal["clear", "mist", "light_precip", "heavy_precip"], Field(description=OBSERVATION["weather"].description)
]
IsHoliday = Annotated[
    bool | None,
    Field(strict=True, description="Public holiday; left out or null: taken from the city's calendar."),
]
Timestamp = Annotated[
    str,
    Field(
        strict=True, pattern=TIMESTAMP_PATTERN, examples=["2012-07-02T08:00"],
        description="Start of the hour, naive local time (no Z, no offset), unique within the request.",
    ),
]


@with_config(ConfigDict(extra="forbid"))
class HourWeather(TypedDict):
    """The weather of one hour; the hours follow each other."""

    temp_c: TempC
    feels_like_c: FeelsLikeC
    humidity_pct: HumidityPct
    windspeed_kmh: WindspeedKmh
    weather: Weather
    is_holiday: NotRequired[IsHoliday]


@with_config(ConfigDict(extra="forbid"))
class Instance(TypedDict):
    """One hour to predict."""

    timestamp: Timestamp
    temp_c: TempC
    feels_like_c: FeelsLikeC
    humidity_pct: HumidityPct
    windspeed_kmh: WindspeedKmh
    weather: Weather
    is_holiday: NotRequired[IsHoliday]


@with_config(ConfigDict(extra="forbid"))
class PredictRequest(TypedDict):
    """Hours to predict, in any order."""

    instances: Annotated[list[Instance], FailFast(), Field(min_length=1, max_length=MAX_ROWS)]


@with_config(ConfigDict(extra="forbid"))
class ForecastRequest(TypedDict):
    """Hourly weather from `start` on."""

    start: NotRequired[Timestamp | None]
    weather: Annotated[list[HourWeather], FailFast(), Field(min_length=1, max_length=MAX_FORECAST_HOURS)]


class Prediction(TypedDict):
    """Demand of one hour in bikes per hour, with calibrated intervals."""

    timestamp: str
    demand: float
    lower_80: float
    upper_80: float
    lower_95: float
    upper_95: float
    degraded: bool
    source: Literal["mean", "stateless_online", "stateless_frozen"]
    level_age_hours: float | None


class PredictResponse(TypedDict):
    """Answers in the order of the question."""

    model_version: str
    request_id: str
    predictions: list[Prediction]


class ErrorDetail(TypedDict):
    """What was wrong, where, and what is allowed."""

    code: str
    field: str | None
    message: str
    allowed: Any


class ErrorResponse(TypedDict):
    """Every 4xx and 5xx of this API."""

    error: ErrorDetail
    request_id: str


_TIME_COLONS = 2
"""Of a timestamp such as `2012-07-02T08:00:00`; no other value has any."""

PREDICT_COLONS = MAX_ROWS * (len(Instance.__annotations__) + _TIME_COLONS) + len(PredictRequest.__annotations__)
FORECAST_COLONS = (
    MAX_FORECAST_HOURS * len(HourWeather.__annotations__) + len(ForecastRequest.__annotations__) + _TIME_COLONS
)
"""Most colons of a valid body, one for each field and those of its times.

Counted before parsing: each unknown field would be an error of its own, and nobody else is answered meanwhile.
"""

PREDICT: TypeAdapter[PredictRequest] = TypeAdapter(PredictRequest)
FORECAST: TypeAdapter[ForecastRequest] = TypeAdapter(ForecastRequest)


@dataclass(frozen=True)
class Columns:
    """A validated request as columns: n hours of weather."""

    timestamps: NDArray[np.datetime64]
    numbers: NDArray[np.float64]
    """Shape (n, 4), in the order of `contract.WEATHER_NUMBERS`."""
    weather: NDArray[np.int64]
    """Index into `contract.WEATHER_CLASSES`."""
    is_holiday: Sequence[bool | None]


_EPOCH = date(1970, 1, 1).toordinal()
_WEATHER_CODE = {name: code for code, name in enumerate(WEATHER_CLASSES)}


def parse_question(body: bytes, now: datetime, window: Window) -> SingleHour | Columns:
    """Read the body of `POST /predict`; one hour of which nothing is stated but the weather stays plain numbers.

    Raises:
        InvalidRequest: as `parse_predict`.
    """
    rows = _rows(body)
    row = rows[0]
    if len(rows) == 1 and row.get("is_holiday") is None:
        hour = _hour(row["timestamp"])
        if hour is not None and -window.past_hours <= hour - _hour_of(now) <= window.future_hours:
            return SingleHour(
                hour, row["temp_c"], row["feels_like_c"], row["humidity_pct"], row["windspeed_kmh"],
                _WEATHER_CODE[row["weather"]],
            )
    return _checked(rows, now, window)


def parse_predict(body: bytes, now: datetime, window: Window) -> Columns:
    """Read the body of `POST /predict` as columns; raises InvalidRequest."""
    return _checked(_rows(body), now, window)


def _rows(body: bytes) -> Sequence[Mapping[str, Any]]:
    _refuse_long(body, PREDICT_COLONS, MAX_ROWS, "instances", Instance)
    try:
        return PREDICT.validate_json(body)["instances"]
    except ValidationError as error:
        raise explain(error, PredictRequest, Instance) from None


def _refuse_long(body: bytes, most: int, rows: int, field: str, row: type) -> None:
    if len(body) > most and body.count(b":") > most:
        if body.count(b"{") > rows + 1:  # one each, and the request's own
            raise too_many_rows(rows, field)
        raise InvalidRequest(
            422, "unknown_field", f"more than {most} fields and times; no valid request has so many",
            allowed=list(row.__annotations__),
        )


def _checked(rows: Sequence[Mapping[str, Any]], now: datetime, window: Window) -> Columns:
    timestamps = _hours([row["timestamp"] for row in rows], "instances[{}].timestamp")
    if len(rows) > 1:
        _refuse_duplicates(timestamps)
    _refuse_outside(timestamps, now, window, "instances[{}].timestamp")
    return _columns(timestamps, rows)


def parse_forecast(body: bytes, now: datetime, window: Window) -> Columns:
    """Read the body of `POST /forecast`; without `start` the first hour is the next full one."""
    _refuse_long(body, FORECAST_COLONS, MAX_FORECAST_HOURS, "weather", HourWeather)
    try:
        request = FORECAST.validate_json(body)
    except ValidationError as error:
        raise explain(error, ForecastRequest, HourWeather) from None
    start = request.get("start")
    if start is None:
        first = np.datetime64(now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1), "h")
    else:
        first = _hours([start], "start")[0]
    timestamps = first + np.arange(len(request["weather"])).astype("timedelta64[h]")
    _refuse_outside(timestamps, now, window, "start")
    return _columns(timestamps, request["weather"])


def columns_of(row: SingleHour) -> Columns:
    """The same question as columns."""
    return Columns(
        np.array([row.hour], dtype="datetime64[h]"), np.array([row[1:5]], dtype=np.float64),
        np.array([row.weather], dtype=np.int64), [None],
    )


def _columns(timestamps: NDArray[np.datetime64], rows: Sequence[Mapping[str, Any]]) -> Columns:
    numbers = np.array(
        [(row["temp_c"], row["feels_like_c"], row["humidity_pct"], row["windspeed_kmh"]) for row in rows],
        dtype=np.float64,
    )
    weather = np.array([_WEATHER_CODE[row["weather"]] for row in rows], dtype=np.int64)
    return Columns(timestamps, numbers, weather, [row.get("is_holiday") for row in rows])


def _hour_of(moment: datetime) -> int:
    return (moment.toordinal() - _EPOCH) * 24 + moment.hour


def _hour(text: str) -> int | None:
    """Hours since 1970-01-01 00:00 of a text that has the form of an hour; None when there is no such day."""
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return None
    return (day.toordinal() - _EPOCH) * 24 + int(text[11:13])


def _hours(texts: list[str], where: str) -> NDArray[np.datetime64]:
    try:
        return np.array(texts, dtype="datetime64[s]").astype("datetime64[h]")
    except ValueError:
        for position, text in enumerate(texts):
            try:
                np.datetime64(text, "s")
            except ValueError:
                raise InvalidRequest(
                    422, "bad_timestamp", f"{text!r} is not a date of the calendar",
                    field=where.format(position), allowed="YYYY-MM-DDTHH:00",
                ) from None
        raise


def _refuse_duplicates(timestamps: NDArray[np.datetime64]) -> None:
    order = np.argsort(timestamps, kind="stable")
    repeated = np.flatnonzero(timestamps[order][1:] == timestamps[order][:-1])
    if repeated.size:
        position = int(order[repeated[0] + 1])
        raise InvalidRequest(
            422, "duplicate_timestamp", f"{timestamps[position]}:00 appears more than once; send each hour once",
            field=f"instances[{position}].timestamp", allowed="unique hours",
        )


def _refuse_outside(timestamps: NDArray[np.datetime64], now: datetime, window: Window, where: str) -> None:
    hour = np.datetime64(now.replace(minute=0, second=0, microsecond=0), "h")
    offset = (timestamps - hour).astype(np.int64)
    outside = np.flatnonzero((offset < -window.past_hours) | (offset > window.future_hours))
    if outside.size:
        position = int(outside[0])
        first, last = hour - np.timedelta64(window.past_hours, "h"), hour + np.timedelta64(window.future_hours, "h")
        raise InvalidRequest(
            422, "timestamp_out_of_window",
            f"{timestamps[position]}:00 is {'before' if offset[position] < 0 else 'after'} the hours this API"
            f" predicts; its clock says {now.isoformat(timespec='minutes')}",
            field=where.format(position), allowed={"minimum": f"{first}:00", "maximum": f"{last}:00"},
        )
