"""What kind of day it is, derived from the date alone: a client cannot send Sunday = 3.

Rules (measured reasons: holidays and their neighbours were 7 of the 12 worst days without them): the city's
calendar is the US federal one plus DC Emancipation Day; Emancipation Day is ridden like a working day; the day
after Thanksgiving, 24 and 31 December are ridden like days off; Columbus and Veterans days lie in between.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from bikeshare.core.grid import DAY, Floats, Hours

CALENDAR_FEATURES = (
    "hour", "weekday", "works", "rests", "day_type", "hour_day_type", "hour_of_week", "hour_sin", "hour_cos",
    "near_holiday", "minor_holiday", "christmas", "sun",
)
"""Columns of `calendar_block`, in order."""

WORKS = CALENDAR_FEATURES.index("works")

_LATITUDE_DEG, _LONGITUDE_DEG, _UTC_OFFSET_HOURS = 38.9, -77.04, -5.0
_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday (Monday = 0)."""

_HOLIDAY, _EMANCIPATION, _MINOR, _NEAR, _BRIDGE, _CHRISTMAS = (1 << bit for bit in range(6))


@lru_cache(maxsize=64)
def _year_flags(year: int) -> tuple[int, npt.NDArray[np.uint8]]:
    """First day number of a year and one set of flags per day."""
    from pandas.tseries.holiday import USFederalHolidayCalendar, nearest_workday

    first = int(np.datetime64(f"{year}-01-01", "D").astype(np.int64))
    size = int(np.datetime64(f"{year + 1}-01-01", "D").astype(np.int64)) - first
    flags = np.zeros(size + 2, dtype=np.uint8)
    federal = USFederalHolidayCalendar().holidays(f"{year - 1}-12-01", f"{year + 1}-01-31", return_name=True)

    def mark(day: pd.Timestamp, bit: int) -> None:
        place = (day - pd.Timestamp(year, 1, 1)).days + 1
        if 0 <= place < size + 2:
            flags[place] |= bit

    emancipation = nearest_workday(pd.Timestamp(year, 4, 16).to_pydatetime())
    mark(pd.Timestamp(emancipation), _HOLIDAY | _EMANCIPATION)
    for day, name in zip(pd.DatetimeIndex(federal.index), federal, strict=True):
        mark(day, _HOLIDAY)
        for neighbour in (-1, 1):
            mark(day + pd.Timedelta(days=neighbour), _NEAR)
        if name.startswith(("Columbus", "Veterans")):
            mark(day, _MINOR)
        if name.startswith("Thanksgiving"):
            mark(day + pd.Timedelta(days=1), _BRIDGE)
    for month, day_of_month in ((12, 24), (12, 31)):
        mark(pd.Timestamp(year, month, day_of_month), _BRIDGE)
    for month, first_day, last_day in ((12, 24, 31), (1, 1, 1)):
        for day_of_month in range(first_day, last_day + 1):
            mark(pd.Timestamp(year, month, day_of_month), _CHRISTMAS)
    return first, flags[1:-1]


def _day_flags(days: Hours) -> npt.NDArray[np.uint8]:
    years = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    flags = np.zeros(days.shape, dtype=np.uint8)
    for year in range(int(years.min()), int(years.max()) + 1) if years.size else ():
        first, of_year = _year_flags(year)
        here = years == year
        flags[here] = of_year[days[here] - first]
    return flags


def is_public_holiday(hours: Hours) -> npt.NDArray[np.bool_]:
    """Whether an hour lies on a public holiday of the city's calendar (observed dates)."""
    days, place = np.unique(hours // DAY, return_inverse=True)
    return (_day_flags(days)[place] & _HOLIDAY) > 0


@lru_cache(maxsize=64)
def _clock_changes(year: int) -> tuple[int, int]:
    """Day numbers on which US daylight saving time begins and ends (rule since 2007)."""

    def sunday(month: int, nth: int) -> int:
        first = int(np.datetime64(f"{year}-{month:02d}-01", "D").astype(np.int64))
        return first + (6 - (first + _EPOCH_WEEKDAY) % 7) % 7 + 7 * (nth - 1)

    return sunday(3, 2), sunday(11, 1)


def sun_sine(hours: Hours) -> Floats:
    """Sine of the sun's elevation at the middle of each local hour, in the city (Washington, DC).

    Cooper's declination 23.45° sin(2π (284 + n) / 365) and the hour angle from local clock time with daylight
    saving taken out; the equation of time (under 17 minutes) is left out.
    """
    days = hours // DAY
    years = days.astype("datetime64[D]").astype("datetime64[Y]")
    day_of_year = days - years.astype("datetime64[D]").astype(np.int64) + 1
    summer = np.zeros(hours.shape)
    for year in np.unique(years.astype(np.int64) + 1970):
        begins, ends = _clock_changes(int(year))
        summer[(days >= begins) & (days < ends)] = 1.0
    declination = np.radians(23.45) * np.sin(2 * np.pi * (284 + day_of_year) / 365)
    solar_hour = hours % DAY + 0.5 - summer + _LONGITUDE_DEG / 15 - _UTC_OFFSET_HOURS
    angle = np.radians(15 * (solar_hour - 12))
    latitude = np.radians(_LATITUDE_DEG)
    sine = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(angle)
    return np.asarray(sine, dtype=np.float64)


def calendar_block(hours: Hours, declared: Floats | None = None) -> Floats:
    """Calendar features of hours, shape (n, 13), columns `CALENDAR_FEATURES`.

    Args:
        hours: Hour numbers, shape (n,).
        declared: Holiday flags somebody stated, NaN where nobody did; they override the derived calendar,
            except that Emancipation Day stays a working day.
    """
    hour, days = hours % DAY, hours // DAY
    unique_days, place = np.unique(days, return_inverse=True)
    flags = _day_flags(unique_days)[place]
    holiday = (flags & _HOLIDAY) > 0
    if declared is not None:
        holiday = np.where(np.isnan(declared), holiday, declared > 0)
    weekday = (days + _EPOCH_WEEKDAY) % 7
    weekend = weekday >= 5
    rests = ((holiday & ((flags & _EMANCIPATION) == 0)) | ((flags & _BRIDGE) > 0)) & ~weekend
    off = rests | weekend
    day_type = np.select([rests, weekday == 6, weekday == 5], [2, 1, 3], 0)
    angle = 2 * np.pi * hour / DAY
    return np.column_stack((
        hour, weekday, ~off, rests, day_type, hour + DAY * off, weekday * DAY + hour, np.sin(angle), np.cos(angle),
        (flags & _NEAR) > 0, (flags & _MINOR) > 0, (flags & _CHRISTMAS) > 0, sun_sine(hours),
    )).astype(np.float64)
