"""Answered requests as lines of the prediction log; made by the log's thread, not by the request."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bikeshare.core.calendar import is_public_holiday
from bikeshare.core.contract import CONTRACT_VERSION, WEATHER_CLASSES
from bikeshare.core.forecasting import SOURCES
from bikeshare.core.grid import DAY, moment_of
from bikeshare.core.prediction_lines import line_of
from bikeshare.core.single_hour import SingleForecast, SingleHour

_EPOCH = date(1970, 1, 1)
_SALT = hashlib.blake2b(CONTRACT_VERSION.encode(), digest_size=8)
_FOUR = struct.Struct("<4d").pack


class Answers(Protocol):
    """The columns of a forecast that are logged; satisfied by `core.forecasting.Forecast`."""

    @property
    def demand(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def lower_80(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def upper_80(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def lower_95(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def upper_95(self) -> NDArray[np.float64]: ...  # noqa: D102


class Logged(Protocol):
    """One answered request."""

    @property
    def size(self) -> int:
        """Rows it will have."""
        ...

    def lines(self) -> Iterable[str]:
        """As lines of `core.prediction_lines`, each made when it is asked for."""
        ...


class Moment(NamedTuple):
    """An hour as the API writes it, as the log keeps it, and whether the calendar calls it a holiday."""

    text: str
    start: datetime
    is_holiday: bool


@lru_cache(maxsize=4_096)
def moment(hour: int) -> Moment:
    """The hour with this number (hours since 1970-01-01 00:00)."""
    start = moment_of(hour)
    return Moment(start.isoformat(timespec="minutes"), start, _holiday(hour // DAY))


class LoggedHour(NamedTuple):
    """One answered hour."""

    request_id: str
    predicted_at: datetime
    model_version: str
    question: SingleHour
    answer: SingleForecast

    @property
    def size(self) -> int:
        """One."""
        return 1

    def lines(self) -> Iterable[str]:
        """Its line."""
        hour, temp, feels_like, humidity, wind, weather = self.question
        demand, low_80, high_80, low_95, high_95, rank, degraded, age = self.answer
        _, start, is_holiday = moment(hour)
        return (line_of(
            self.request_id, 0, self.predicted_at, self.model_version, start, temp, feels_like, humidity, wind,
            WEATHER_CLASSES[weather], is_holiday,
            features_hash(start, (temp, feels_like, humidity, wind), weather, is_holiday),
            demand, low_80, high_80, low_95, high_95, SOURCES[rank], degraded, age,
        ),)


@dataclass(frozen=True)
class LoggedBatch:
    """One answered request as columns."""

    request_id: str
    predicted_at: datetime
    model_version: str
    timestamps: NDArray[np.datetime64]
    numbers: NDArray[np.float64]
    weather: NDArray[np.int64]
    is_holiday: Sequence[bool | None]
    answers: Answers
    source: Sequence[str]
    degraded: Sequence[bool]
    level_age_hours: Sequence[float | None]

    @property
    def size(self) -> int:
        """Rows of the request."""
        return len(self.timestamps)

    def lines(self) -> Iterable[str]:
        """Its lines, in the order of the request."""
        answers = self.answers
        starts: list[datetime] = self.timestamps.astype("datetime64[s]").tolist()
        columns = zip(
            starts, self.numbers.tolist(), self.weather.tolist(), self.is_holiday, answers.demand.tolist(),
            answers.lower_80.tolist(), answers.upper_80.tolist(), answers.lower_95.tolist(),
            answers.upper_95.tolist(), self.source, self.degraded, self.level_age_hours, strict=True,
        )
        for position, (
            start, (temp, feels_like, humidity, wind), weather, stated, demand, low_80, high_80, low_95, high_95,
            source, degraded, age,
        ) in enumerate(columns):
            flag = _holiday((start.date() - _EPOCH).days) if stated is None else stated
            yield line_of(
                self.request_id, position, self.predicted_at, self.model_version, start,
                temp, feels_like, humidity, wind, WEATHER_CLASSES[weather], flag,
                features_hash(start, (temp, feels_like, humidity, wind), weather, flag),
                demand, low_80, high_80, low_95, high_95, source, degraded, age,
            )


@lru_cache(maxsize=1_024)
def _holiday(day: int) -> bool:
    return bool(is_public_holiday(np.array([day * DAY], dtype=np.int64))[0])


def features_hash(timestamp: datetime, numbers: Sequence[float], weather: int, is_holiday: bool) -> str:
    """Sixteen hex digits over contract version and inputs: equal inputs, equal hash."""
    digest = _begun(timestamp).copy()
    digest.update(_FOUR(*numbers) + bytes((weather, is_holiday)))
    return digest.hexdigest()


@lru_cache(maxsize=4_096)
def _begun(timestamp: datetime) -> hashlib.blake2b:
    digest = _SALT.copy()
    digest.update(timestamp.isoformat().encode())
    return digest
