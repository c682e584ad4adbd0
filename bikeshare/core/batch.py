"""A request: weather by hour, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bikeshare.core.contract import WEATHER_NUMBERS
from bikeshare.core.grid import Floats, Hours, hour_numbers, weather_codes
from bikeshare.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class WeatherBatch:
    """Columns of equal length; the same hour may occur more than once (what-if).

    Attributes:
        timestamps: Local hours, datetime64.
        temp_c: Air temperature, °C.
        feels_like_c: Apparent temperature, °C.
        humidity_pct: Relative humidity, %.
        windspeed_kmh: Wind speed, km/h.
        weather: Class codes 0–3 (position in `WEATHER_CLASSES`).
        is_holiday: 1, 0 or NaN (derive it from the calendar) per row; None: derive all.
    """

    timestamps: npt.NDArray[np.datetime64]
    temp_c: Floats
    feels_like_c: Floats
    humidity_pct: Floats
    windspeed_kmh: Floats
    weather: Floats
    is_holiday: Floats | None = None

    def __post_init__(self) -> None:
        size = len(self.timestamps)
        columns = (*(getattr(self, name) for name in WEATHER_NUMBERS), self.weather)
        flags = () if self.is_holiday is None else (self.is_holiday,)
        if size == 0 or any(len(column) != size for column in (*columns, *flags)):
            raise DataError(f"a batch needs columns of equal length >= 1, got {[len(c) for c in columns]}")
        object.__setattr__(self, "_hours", hour_numbers(self.timestamps))
        object.__setattr__(self, "_own", np.column_stack(columns).astype(np.float64, copy=False))

    def __len__(self) -> int:
        return len(self.timestamps)

    @property
    def hours(self) -> Hours:
        """Hour numbers, shape (n,)."""
        return self._hours  # type: ignore[attr-defined, no-any-return]

    @property
    def own(self) -> Floats:
        """Weather of the rows in grid order, shape (n, 5)."""
        return self._own  # type: ignore[attr-defined, no-any-return]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> WeatherBatch:
        """From a frame with the API's columns; `weather` as class names or codes, `is_holiday` optional."""
        weather = frame["weather"]
        codes = weather.to_numpy(dtype=np.float64) if weather.dtype.kind in "fiu" else weather_codes(weather)
        flags = np.asarray(frame["is_holiday"].astype("float64")) if "is_holiday" in frame else None
        temp, feels, humidity, wind = (frame[name].to_numpy(dtype=np.float64) for name in WEATHER_NUMBERS)
        return cls(frame["timestamp"].to_numpy().astype("datetime64[h]"), temp, feels, humidity, wind, codes, flags)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> WeatherBatch:
        """The chosen rows as a batch."""
        flags = None if self.is_holiday is None else self.is_holiday[rows]
        temp, feels, humidity, wind, weather = self.own[rows].T
        return WeatherBatch(self.timestamps[rows], temp, feels, humidity, wind, weather, flags)

    def overlay(self, weather: Floats, start: int) -> npt.NDArray[np.int64]:
        """Write the batch's weather into a grid that starts at hour `start`; return the rows' positions.

        Rows of the same hour are averaged (the worst class counts), so the order of rows cannot matter.
        """
        place = self.hours - start
        if len(place) > 1:
            unique, where, count = np.unique(place, return_inverse=True, return_counts=True)
            if len(unique) < len(place):
                order = np.lexsort((*self.own.T, where))
                totals, worst = np.zeros((len(unique), 4)), np.zeros(len(unique))
                np.add.at(totals, where[order], self.own[order, :4])
                np.maximum.at(worst, where, self.own[:, 4])
                weather[unique, :4], weather[unique, 4] = totals / count[:, None], worst
                return place
        weather[place] = self.own
        return place
