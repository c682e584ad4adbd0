"""The contiguous hourly grid every lag is taken on.

Rows of a table skip missing hours, so `shift(24)` on rows slips at each gap; on the grid, 24 places back is 24
hours back. Hours are integers since 1970-01-01 00:00 local time, so a multiple of 24 is a midnight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bikeshare.core.contract import TARGET, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Hours = npt.NDArray[np.int64]

DAY = 24
WEEK = 168
WEATHER_CODE: Mapping[str, int] = {name: code for code, name in enumerate(WEATHER_CLASSES)}
"""Class name to position in `WEATHER_CLASSES`: 0 clear … 3 heavy_precip."""


_EPOCH = datetime(1970, 1, 1)


def hour_number(moment: datetime) -> int:
    """Hours since 1970-01-01 00:00 of the hour that contains `moment`."""
    return int(np.datetime64(moment, "h").astype(np.int64))


def moment_of(hour: int) -> datetime:
    """The start of an hour as a naive datetime."""
    return _EPOCH + timedelta(hours=int(hour))


def hour_numbers(timestamps: Any) -> Hours:
    """Hours since 1970-01-01 00:00 of timestamps (Series, datetime64 array or list of datetimes)."""
    return np.asarray(timestamps).astype("datetime64[h]").astype(np.int64)


def weather_codes(names: Any) -> Floats:
    """Weather classes as codes 0–3; NaN for a missing value, DataError naming an unknown class."""
    codes = np.full(len(names), np.nan)
    for place, name in enumerate(names):
        code = WEATHER_CODE.get(name)
        if code is not None:
            codes[place] = code
        elif name is not None and name == name:
            raise DataError(f"weather is {name!r}: expected one of {', '.join(WEATHER_CLASSES)}")
    return codes


@dataclass(frozen=True)
class HourlyGrid:
    """Demand, weather and holiday flags on every hour of whole days.

    Attributes:
        start: First hour; a midnight.
        demand: Bikes per hour, shape (n,), NaN where the hour has no row or no label yet.
        weather: temp_c, feels_like_c, humidity_pct, windspeed_kmh, class code; shape (n, 5), NaN where unknown.
        holiday: Declared holiday flag per hour, shape (n,), NaN where nobody declared one.
    """

    start: int
    demand: Floats
    weather: Floats
    holiday: Floats

    def __len__(self) -> int:
        return int(self.demand.shape[0])

    @property
    def end(self) -> int:
        """First hour after the grid; a midnight."""
        return self.start + len(self)

    @property
    def hours(self) -> Hours:
        """Hour numbers of the grid, shape (n,)."""
        return np.arange(self.start, self.end, dtype=np.int64)

    def covering(self, start: int, end: int) -> HourlyGrid:
        """The whole days that contain [start, end): cut or padded with NaN."""
        start, end = start // DAY * DAY, -(-end // DAY) * DAY
        if (start, end) == (self.start, self.end):
            return self
        size = max(0, end - start)
        low, high = max(start, self.start), min(end, self.end)
        demand, holiday = np.full(size, np.nan), np.full(size, np.nan)
        weather = np.full((size, 5), np.nan)
        if low < high:
            target, source = slice(low - start, high - start), slice(low - self.start, high - self.start)
            demand[target], holiday[target] = self.demand[source], self.holiday[source]
            weather[target] = self.weather[source]
        return HourlyGrid(start, demand, weather, holiday)

    def hide_demand_from(self, hour: int) -> HourlyGrid:
        """The grid as known when labels before `hour` have landed."""
        if hour >= self.end:
            return self
        demand = self.demand.copy()
        demand[max(0, hour - self.start):] = np.nan
        return replace(self, demand=demand)


EMPTY = HourlyGrid(0, np.empty(0), np.empty((0, 5)), np.empty(0))
"""A grid without hours: the history of a service that has never seen an observation."""


def grid_of(columns: pd.DataFrame | Mapping[str, Any]) -> HourlyGrid:
    """Put observations on the grid.

    Args:
        columns: A frame or arrays by name: the contract's timestamp and weather, and maybe demand (NaN where the
            label has not landed) and is_holiday. Without any row, columns may be missing.

    Raises:
        DataError: an hour occurs twice, or a weather class is unknown.
    """
    if "timestamp" not in columns or not len(columns["timestamp"]):
        return EMPTY
    hours = hour_numbers(columns["timestamp"])
    start, end = int(hours.min()) // DAY * DAY, -(-int(hours.max() + 1) // DAY) * DAY
    place = hours - start
    rows = np.bincount(place)
    if rows.max() > 1:
        twice = moment_of(start + int(rows.argmax()))
        raise DataError(f"hour {twice:%Y-%m-%d %H:00} occurs more than once: keep one row per hour")
    grid = EMPTY.covering(start, end)
    if TARGET in columns:
        grid.demand[place] = np.asarray(columns[TARGET], dtype=np.float64)
    for column, name in enumerate(WEATHER_NUMBERS):
        grid.weather[place, column] = np.asarray(columns[name], dtype=np.float64)
    grid.weather[place, 4] = weather_codes(columns["weather"])
    if "is_holiday" in columns:
        grid.holiday[place] = np.asarray(columns["is_holiday"], dtype=np.float64)
    return grid
