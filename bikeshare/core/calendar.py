"""What kind of day it is, derived from the date alone: a client cannot send Sunday = 3.

Rules (measured reasons: holidays and their neighbours were 7 of the 12 worst days without them): the city's
calendar is the US federal one plus DC Emancipation Day; Emancipation Day is ridden like a working day; the day
after Thanksgiving, 24 and 31 December are ridden like days off; Columbus and Veterans days lie in between.
"""

from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bikeshare.core.grid import DAY, Floats, Hours

CALENDAR_FEATURES = (
    "hour", "weekday", "works", "rests", "day_type", "hour_day_type", "hour_of_week", "hour_sin", "hour_cos",
    "near_holiday", "minor_holiday", "christmas", "sun",
)
"""Columns of `calendar_block`, in order."""

WORKS = CALENDAR_FEATURES.index("works")

_LATITUDE_DEG, _LONGITUDE_DEG, _UTC_OFFSET_HOURS = 38.9, -77.04, -5.0
_EPOCH = date(1970, 1, 1)
"""Day number 0, a Thursday."""
_MONDAY, _THURSDAY, _SUNDAY = 0, 3, 6

_HOLIDAY, _EMANCIPATION, _MINOR, _NEAR, _BRIDGE, _CHRISTMAS = (1 << bit for bit in range(6))


def _day_number(day: date) -> int:
    return (day - _EPOCH).days


def _weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """The nth weekday (Monday = 0) of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _observed(year: int, month: int, day: int) -> date:
    """The working day on which a fixed holiday is kept: Friday for a Saturday, Monday for a Sunday."""
    fixed = date(year, month, day)
    return fixed + timedelta(days={5: -1, 6: 1}.get(fixed.weekday(), 0))


def federal_holidays(year: int) -> dict[str, date]:
    """Federal holidays of a year on the dates they are kept; New Year's Day may be 31 December before."""
    last_of_may = date(year, 5, 31)
    kept = {
        "new_year": _observed(year, 1, 1),
        "presidents": _weekday(year, 2, _MONDAY, 3),
        "memorial": last_of_may - timedelta(days=last_of_may.weekday()),
        "independence": _observed(year, 7, 4),
        "labor": _weekday(year, 9, _MONDAY, 1),
        "columbus": _weekday(year, 10, _MONDAY, 2),
        "veterans": _observed(year, 11, 11),
        "thanksgiving": _weekday(year, 11, _THURSDAY, 4),
        "christmas": _observed(year, 12, 25),
    }
    if year >= 1986:
        kept["martin_luther_king"] = _weekday(year, 1, _MONDAY, 3)
    if year >= 2021:
        kept["juneteenth"] = _observed(year, 6, 19)
    return kept


@lru_cache(maxsize=64)
def _year_flags(year: int) -> tuple[int, npt.NDArray[np.uint8]]:
    """First day number of a year and one set of flags per day."""
    first, size = date(year, 1, 1), (date(year + 1, 1, 1) - date(year, 1, 1)).days
    flags = np.zeros(size, dtype=np.uint8)

    def mark(day: date, bit: int) -> None:
        place = (day - first).days
        if 0 <= place < size:
            flags[place] |= bit

    mark(_observed(year, 4, 16), _HOLIDAY | _EMANCIPATION)
    for name, day in (*federal_holidays(year).items(), *federal_holidays(year + 1).items()):
        mark(day, _HOLIDAY)
        for neighbour in (-1, 1):
            mark(day + timedelta(days=neighbour), _NEAR)
        if name in ("columbus", "veterans"):
            mark(day, _MINOR)
        if name == "thanksgiving":
            mark(day + timedelta(days=1), _BRIDGE)
    for day_of_month in (24, 31):
        mark(date(year, 12, day_of_month), _BRIDGE)
    for day in (first, *(date(year, 12, day_of_month) for day_of_month in range(24, 32))):
        mark(day, _CHRISTMAS)
    return _day_number(first), flags


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
    return _day_number(_weekday(year, 3, _SUNDAY, 2)), _day_number(_weekday(year, 11, _SUNDAY, 1))


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
    weekday = (days + _THURSDAY) % 7
    weekend = weekday >= 5
    rests = ((holiday & ((flags & _EMANCIPATION) == 0)) | ((flags & _BRIDGE) > 0)) & ~weekend
    off = rests | weekend
    day_type = np.select([rests, weekday == 6, weekday == 5], [2, 1, 3], 0)
    angle = 2 * np.pi * hour / DAY
    return np.column_stack((
        hour, weekday, ~off, rests, day_type, hour + DAY * off, weekday * DAY + hour, np.sin(angle), np.cos(angle),
        (flags & _NEAR) > 0, (flags & _MINOR) > 0, (flags & _CHRISTMAS) > 0, sun_sine(hours),
    )).astype(np.float64)
