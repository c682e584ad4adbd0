"""One hour answered from a snapshot in plain numbers, bit for bit what `Forecaster.predict` answers.

Numpy costs a microsecond per call, and a batch of one needs two hundred calls. Everything that does not depend on
the request is summed up once per snapshot; what remains is a few dozen additions in the same order as the arrays'
(floating-point sums depend on it, and a feature on the edge of rounding would send a row down another branch).
"""

from collections.abc import Sequence
from datetime import datetime
from math import sqrt
from typing import NamedTuple

import numpy as np

from bikeshare.core.calendar import CALENDAR_FEATURES, WORKS
from bikeshare.core.features import (
    DECIMALS,
    N_FEATURES,
    N_HISTORY_BLOCK,
    N_STATELESS,
    TEMP_VS_BASE,
    WEATHER_CODE,
    WET,
    cumulate,
    diurnal_departure,
)
from bikeshare.core.forecasting import Forecaster, Snapshot
from bikeshare.core.grid import DAY, WEEK

_SCALE = 10.0**DECIMALS
_CONTEXT = slice(N_STATELESS + N_HISTORY_BLOCK, N_FEATURES)
_MONTH = 4 * WEEK
_MARGIN = DAY
"""Unknown hours before and after the weather grid, so that neighbours of its edges exist."""


class SingleHour(NamedTuple):
    """Weather of one hour, whose holiday the calendar decides.

    Attributes:
        hour: Hours since 1970-01-01 00:00 local time.
        temp_c: Air temperature, °C.
        feels_like_c: Apparent temperature, °C.
        humidity_pct: Relative humidity, %.
        windspeed_kmh: Wind speed, km/h.
        weather: Class code 0-3.
    """

    hour: int
    temp_c: float
    feels_like_c: float
    humidity_pct: float
    windspeed_kmh: float
    weather: int


class SingleForecast(NamedTuple):
    """The answer for one hour; the fields of `Forecast`, with `rank` as the position in `SOURCES`."""

    demand: float
    lower_80: float
    upper_80: float
    lower_95: float
    upper_95: float
    rank: int
    degraded: bool
    level_age_hours: float | None


class _State(NamedTuple):
    """What the answers of one moment share: levels, the rank they reach at best, and how old they are."""

    root_level: float
    ratio_level: float | None
    rank: int
    stale: bool
    age: float | None


class SingleHours:
    """What one snapshot contributes to answers about one hour; immutable, may be shared between threads."""

    def __init__(self, forecaster: Forecaster, snapshot: Snapshot) -> None:
        model, weather = forecaster.model, snapshot.weather
        self._shapes = model.shapes
        self._policy = model.policy
        self._start, self._weather_start = snapshot.start, snapshot.weather_start
        self._base: list[float] = snapshot.base.tolist()
        fixed = np.zeros((snapshot.base.size, N_FEATURES))
        fixed[:, :len(CALENDAR_FEATURES)] = snapshot.calendar
        fixed[:, N_STATELESS:N_STATELESS + N_HISTORY_BLOCK] = snapshot.history
        self._fixed: list[list[float]] = fixed.tolist()
        self._bins: list[int] = ((fixed[:, 0] * 2 + (fixed[:, WORKS] > 0)) * 2).astype(int).tolist()
        self._diurnal: list[float] = diurnal_departure().tolist()
        temp, wind = weather[:, 0], weather[:, 3]
        self._temp: list[float] = temp.tolist()
        departure = temp - np.resize(diurnal_departure(), temp.size)
        self._departure: list[float] = departure.tolist()
        codes = np.full(temp.size + 2 * _MARGIN, np.nan)
        codes[_MARGIN:-_MARGIN] = np.minimum(weather[:, 4], WET)
        self._codes: list[float] = codes.tolist()
        own = codes[_MARGIN:-_MARGIN]
        wet = np.where(own == own, (own >= WET) * 1.0, np.nan)
        self._departures, self._temp_count = (column.tolist() for column in cumulate(departure))
        self._winds, self._wind_count = (column.tolist() for column in cumulate(wind))
        self._wets, self._wet_count = (column.tolist() for column in cumulate(wet))
        self._stateless, self._history = snapshot.levels.get("stateless"), snapshot.levels.get("history")
        self._frozen = model.frozen_level["stateless"]
        self._scale: list[float] = model.intervals.scale.reshape(-1).tolist()
        factors = np.concatenate((model.intervals.lower, model.intervals.upper)) * np.tile(snapshot.widths[:, 0], 2)
        self._low_80, self._low_95, self._high_80, self._high_95 = factors.tolist()

    def covers(self, hour: int) -> bool:
        """Whether this hour lies within the snapshot's horizon."""
        return 0 <= hour - self._start < len(self._base)

    def features(self, row: SingleHour) -> list[float]:
        """The row of the feature matrix before rounding; `row.hour` must be covered."""
        place = row.hour - self._weather_start
        temp, wind, code = row.temp_c, row.windspeed_kmh, float(min(row.weather, WET))
        values = self._fixed[row.hour - self._start].copy()
        at = place + _MARGIN
        codes = self._codes
        departure = temp - self._diurnal[place % DAY]
        month = max(place - _MONTH + 1, 0)
        month_sum = self._departures[place] + departure - self._departures[month]
        month_count = self._temp_count[place] + 1.0 - self._temp_count[month]
        day_sum, day_count = self._day(place, departure)
        winds, wets, day = max(place - 2, 0), max(place - DAY + 1, 0), place - DAY
        values[WEATHER_CODE:N_STATELESS] = (
            code, temp, row.feels_like_c, row.humidity_pct, wind, temp * (0.5 + 0.005 * row.humidity_pct),
            _worst(codes[at - 1], codes[at - 2], codes[at - 3], code),
            _worst(codes[at + 1], codes[at + 2], codes[at + 3], code),
            (self._winds[place] + wind - self._winds[winds])
            / (self._wind_count[place] + 1.0 - self._wind_count[winds]),
            day_sum / day_count,
            temp - month_sum / month_count,
            (self._wets[place] + (code >= WET) - self._wets[wets])
            / (self._wet_count[place] + 1.0 - self._wet_count[wets]),
        )
        values[TEMP_VS_BASE] = temp - values[TEMP_VS_BASE]
        values[_CONTEXT] = codes[at - DAY], temp - self._temp[day] if day >= 0 else np.nan
        return values

    def predict(self, rows: Sequence[SingleHour], now: datetime) -> list[SingleForecast]:
        """Answer covered hours, each as if it had been asked alone: neighbours in `rows` are strangers.

        Many together cost less than one by one, because the trees are read from memory once: with two forests of 50
        trees 47 µs a row alone, 28 for 8 rows, 19 for 32 (`benchmarks/serving.md`).
        """
        matrix = np.array([self.features(row) for row in rows])
        matrix *= _SCALE
        np.rint(matrix, out=matrix)
        matrix /= _SCALE
        shapes, ratio_shapes = self._shapes(matrix.astype(np.float32))
        level, ratio, policy = self._stateless, self._history, self._policy
        value, rank, age = self._frozen, 2, None
        if level is not None:
            age = max(0.0, (now - level.as_of).total_seconds() / 3600)
            if age <= policy.expires_after_hours:
                value, rank = level.level, 1
        state = _State(
            sqrt(value), ratio.level if rank == 1 and ratio is not None else None, rank,
            age is None or age > policy.stale_after_hours, age if rank < 2 else None,
        )
        return [
            self._scaled(row, shape, ratio_shape, state)
            for row, shape, ratio_shape in zip(rows, shapes.tolist(), ratio_shapes.tolist(), strict=True)
        ]

    def _scaled(self, row: SingleHour, shape: float, ratio_shape: float, state: _State) -> SingleForecast:
        root_level, ratio_level, rank, stale, age = state
        place = row.hour - self._start
        root = shape * root_level
        if ratio_level is not None:
            base = self._base[place]
            if base == base:
                root, rank = (root + ratio_shape * sqrt(base * ratio_level)) / 2, 0
        unit = root_level * self._scale[self._bins[place] + (row.weather >= WET)]
        low_80, high_80 = max(root + self._low_80 * unit, 0.0), max(root + self._high_80 * unit, 0.0)
        low_95 = min(low_80, max(root + self._low_95 * unit, 0.0))
        high_95 = max(high_80, max(root + self._high_95 * unit, 0.0))
        return SingleForecast(
            root * root, low_80 * low_80, high_80 * high_80, low_95 * low_95, high_95 * high_95, rank,
            rank > 0 or stale, age,
        )

    def _day(self, place: int, departure: float) -> tuple[float, float]:
        """Sum and count of the day's temperatures without the usual course, this hour's replaced by `departure`."""
        start = place - place % DAY
        total, count = self._departures[place] + departure, self._temp_count[place] + 1.0
        for value in self._departure[place + 1:start + DAY]:
            if value == value:
                total += value
                count += 1.0
        return total - self._departures[start], count - self._temp_count[start]


def _worst(first: float, second: float, third: float, own: float) -> float:
    """The largest of the known class codes; the hour's own when none is known."""
    worst = first
    if second == second and not second <= worst:
        worst = second
    if third == third and not third <= worst:
        worst = third
    return worst if worst == worst else own
