"""The contiguous hourly grid every lag is taken on.

Rows of a table skip missing hours, so `shift(24)` on rows slips at each gap; on the grid, 24 places back is 24
hours back. Hours are integers since 1970-01-01 00:00 local time, so a multiple of 24 is a midnight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bikeshare.core.contract import TARGET, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.errors import DataError

Floats = npt.NDArray[np.float64]
Hours = npt.NDArray[np.int64]

DAY = 24
WEEK = 168
WEATHER_CODE: Mapping[str, int] = {name: code for code, name in enumerate(WEATHER_CLASSES)}
"""Class name to position in `WEATHER_CLASSES`: 0 clear … 3 heavy_precip."""


def hour_number(moment: datetime) -> int:
    """Hours since 1970-01-01 00:00 of the hour that contains `moment`."""
    return int(np.datetime64(moment, "h").astype(np.int64))


def moment_of(hour: int) -> datetime:
    """The start of an hour as a naive datetime."""
    return pd.Timestamp(int(hour), unit="h").to_pydatetime()


def hour_numbers(timestamps: Any) -> Hours:
    """Hours since 1970-01-01 00:00 of timestamps (Series, datetime64 array or list of datetimes)."""
    return np.asarray(timestamps).astype("datetime64[h]").astype(np.int64)


def weather_codes(names: Any) -> Floats:
    """Weather classes as codes 0–3; NaN for a missing value, DataError naming an unknown class."""
    values = pd.Series(names, copy=False).astype(object)
    codes = values.map(WEATHER_CODE)
    unknown = codes.isna() & values.notna()
    if unknown.any():
        raise DataError(f"weather is {values[unknown].iloc[0]!r}: expected one of {', '.join(WEATHER_CLASSES)}")
    return np.asarray(codes.to_numpy(dtype=np.float64), dtype=np.float64)


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

    def covering(self, start: int, end: int) -> "HourlyGrid":
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

    def hide_demand_from(self, hour: int) -> "HourlyGrid":
        """The grid as known when labels before `hour` have landed."""
        if hour >= self.end:
            return self
        demand = self.demand.copy()
        demand[max(0, hour - self.start):] = np.nan
        return replace(self, demand=demand)


EMPTY = HourlyGrid(0, np.empty(0), np.empty((0, 5)), np.empty(0))
"""A grid without hours: the history of a service that has never seen an observation."""


def grid_of(frame: pd.DataFrame) -> HourlyGrid:
    """Put observations on the grid. Demand may be NaN or absent (weather known, label not landed).

    Raises:
        DataError: an hour occurs twice, or a weather class is unknown.
    """
    if frame.empty:
        return EMPTY
    hours = hour_numbers(frame["timestamp"].to_numpy())
    start, end = int(hours.min()) // DAY * DAY, -(-int(hours.max() + 1) // DAY) * DAY
    place = hours - start
    if len(np.unique(place)) != len(place):
        twice = pd.Series(hours)[pd.Series(hours).duplicated()].iloc[0]
        raise DataError(f"hour {moment_of(twice):%Y-%m-%d %H:00} occurs more than once: keep one row per hour")
    grid = EMPTY.covering(start, end)
    if TARGET in frame:
        grid.demand[place] = frame[TARGET].to_numpy(dtype=np.float64)
    for column, name in enumerate(WEATHER_NUMBERS):
        grid.weather[place, column] = frame[name].to_numpy(dtype=np.float64)
    grid.weather[place, 4] = weather_codes(frame["weather"])
    if "is_holiday" in frame:
        grid.holiday[place] = frame["is_holiday"].to_numpy(dtype=np.float64)
    return grid
