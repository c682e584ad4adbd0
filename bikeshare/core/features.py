"""Every feature of the model: what it is derived from, and the one function that derives it.

The same numpy functions serve 17,000 training rows and one request, because both are positions on an hourly
grid. Feature sets and measured reasons: no year, season or day counter may enter, a forest would isolate single
days; growth is the level's business (`bikeshare.core.level`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bikeshare.core.calendar import CALENDAR_FEATURES
from bikeshare.core.contract import OBSERVATION, TARGET
from bikeshare.core.grid import DAY, WEEK, Floats
from bikeshare.errors import DataError

LABEL_DELAY_HOURS = 24
"""A prediction for hour t may use demand of hours <= t - 24 h."""

DECIMALS = 3
"""Features are rounded to 1e-3: float32 export is then exact, and grids of different length agree."""

WET = 2
"""Class code from which an hour counts as wet; heavier classes are merged into it (3 rows in two years)."""


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix.

    Attributes:
        name: Column name.
        sources: Observation columns it is derived from.
        demand_lag_hours: Smallest lag at which `demand` is read; None when it is not read.
        description: One sentence for people.
    """

    name: str
    sources: tuple[str, ...]
    demand_lag_hours: int | None = None
    description: str = ""


_WEATHER_FEATURES = (
    Feature("weather", ("weather",), None, "Class code, heavy precipitation merged into light."),
    Feature("temp", ("temp_c",), None, "Air temperature, °C."),
    Feature("feels_like", ("feels_like_c",), None, "Apparent temperature, °C."),
    Feature("humidity", ("humidity_pct",), None, "Relative humidity, %."),
    Feature("wind", ("windspeed_kmh",), None, "Wind speed, km/h."),
    Feature("discomfort", ("temp_c", "humidity_pct"), None, "temp × (0.5 + 0.5 humidity / 100)."),
    Feature("weather_before", ("weather",), None, "Worst class of the 3 hours before."),
    Feature("weather_after", ("weather",), None, "Worst class of the 3 hours after."),
    Feature("wind_3h", ("windspeed_kmh",), None, "Mean wind of this hour and the 2 before, km/h."),
    Feature("temp_day", ("temp_c",), None, "Mean temperature of the day, °C."),
    Feature("temp_anomaly", ("temp_c",), None, "Temperature minus its trailing 28-day mean, °C."),
    Feature("wet_share", ("weather",), None, "Share of the last 24 hours with precipitation."),
)

STATELESS: tuple[Feature, ...] = (
    *(Feature(name, ("timestamp", "is_holiday"), None, "Calendar, from the date.") for name in CALENDAR_FEATURES),
    *_WEATHER_FEATURES,
)
"""The 25 features of the stateless forest, in matrix order."""

HISTORY: tuple[Feature, ...] = (
    *(
        Feature(name, ("timestamp", "is_holiday", TARGET), LABEL_DELAY_HOURS, f"{text}, relative to the base.")
        for name, text in (
            ("lag_24", "Demand 24 h before"), ("lag_48", "Demand 48 h before"), ("lag_168", "Demand a week before"),
            ("same_hour_7", "Mean of the same hour, 7 days"), ("same_hour_28", "Mean of the same hour, 28 days"),
            ("same_day_type_28", "Mean of the same hour and day type, 28 days"),
            ("same_weekday_4", "Mean of the same hour of the week, 4 weeks"),
        )
    ),
    Feature("level_ratio", (TARGET,), LABEL_DELAY_HOURS, "Mean demand of 7 days over that of 28 days."),
    Feature("base_wet", ("timestamp", "is_holiday", "weather"), None, "Share of wet hours behind the base."),
    Feature("temp_vs_base", ("timestamp", "is_holiday", "temp_c"), None, "Temperature minus the base hours' mean, °C."),
    Feature("weather_24h_ago", ("weather",), None, "Class code 24 hours before."),
    Feature("temp_change_24h", ("temp_c",), None, "Temperature minus that of 24 hours before, °C."),
)
"""The 12 features that the history forest adds, in matrix order."""

WEATHER_CODE = len(CALENDAR_FEATURES)
"""Column of the row's own weather class."""

TEMP_VS_BASE = len(STATELESS) + 9
"""Column that turns from the base hours' mean temperature into the departure from it."""

N_WEATHER_BLOCK = len(_WEATHER_FEATURES)
N_STATELESS, N_HISTORY_BLOCK, N_FEATURES = len(STATELESS), 10, len(STATELESS) + len(HISTORY)


def leakage_guard(features: Sequence[Feature]) -> None:
    """Refuse a feature that reads what is unknown when hour t is predicted.

    Raises:
        DataError: a source is not a contract column, is part of the answer, or reads demand closer than 24 h.
    """
    for feature in features:
        for source in feature.sources:
            column = OBSERVATION.get(source)
            if column is None:
                raise DataError(f"feature {feature.name!r} reads {source!r}, which the contract does not have")
            if column.available_at_prediction:
                continue
            lag = feature.demand_lag_hours
            if source != TARGET:
                raise DataError(
                    f"feature {feature.name!r} reads {source!r}, which is part of the answer: remove it"
                )
            if lag is None or lag < LABEL_DELAY_HOURS:
                raise DataError(
                    f"feature {feature.name!r} reads demand at lag {lag} h, known only from {LABEL_DELAY_HOURS} h on"
                )


leakage_guard(STATELESS + HISTORY)


def window_mean(cumulated: Floats, counted: Floats, low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> Floats:
    """Mean of the known values on positions [low, high), from cumulated sums that start with 0; NaN if none."""
    low, high = np.clip(low, 0, cumulated.size - 1), np.clip(high, 0, cumulated.size - 1)
    count = counted[high] - counted[low]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((cumulated[high] - cumulated[low]) / count)


def cumulate(values: Floats) -> tuple[Floats, Floats]:
    """Cumulated sum and count of the values that are not NaN, each with a leading 0, shape (n + 1,)."""
    known = values == values
    total, count = np.zeros(values.size + 1), np.zeros(values.size + 1)
    np.cumsum(np.where(known, values, 0.0), out=total[1:])
    np.cumsum(known, out=count[1:])
    return total, count


_DIURNAL_C = 3.0 * np.cos(2 * np.pi * (np.arange(DAY) - 15) / DAY)
"""Usual departure from the day's mean temperature; sums to 0, so it only matters where hours are unknown."""


def diurnal_departure() -> Floats:
    """Usual departure of each hour of the day from the day's mean temperature, °C, shape (24,)."""
    return _DIURNAL_C


def weather_block(weather: Floats, place: npt.NDArray[np.int64], own: Floats | None = None) -> tuple[Floats, Floats]:
    """Weather features of positions on a weather grid that starts at a midnight.

    Args:
        weather: Known weather, shape (n, 5), NaN where unknown.
        place: Positions to describe, shape (m,).
        own: The rows' own weather, shape (m, 5); taken from the grid when None.

    Returns:
        The 12 weather features of the stateless set, shape (m, 12), and the 2 of the history set, shape (m, 2).
        Windows use the hours that are known; a window without any falls back to the row's own value.
    """
    own = weather[place] if own is None else own
    size = weather.shape[0]
    temp, feels, humidity, wind = own[:, 0], own[:, 1], own[:, 2], own[:, 3]
    code = np.minimum(own[:, 4], WET)
    codes = np.full(size + 2 * DAY, np.nan)
    np.minimum(weather[:, 4], WET, out=codes[DAY:DAY + size])
    at = place + DAY
    before = np.fmax(np.fmax(codes[at - 1], codes[at - 2]), codes[at - 3])
    after = np.fmax(np.fmax(codes[at + 1], codes[at + 2]), codes[at + 3])
    wet = codes[DAY:DAY + size]
    wet = np.where(wet == wet, (wet >= WET) * 1.0, np.nan)
    day_start = place - place % DAY
    level = weather[:, 0] - np.resize(_DIURNAL_C, size)
    sums, counts = cumulate(level)
    month_mean = window_mean(sums, counts, place - 4 * WEEK + 1, place + 1)
    block = np.full((place.size, len(_WEATHER_FEATURES)), np.nan)
    block[:, 0], block[:, 1], block[:, 2], block[:, 3], block[:, 4] = code, temp, feels, humidity, wind
    block[:, 5] = temp * (0.5 + 0.005 * humidity)
    block[:, 6] = np.where(before == before, before, code)
    block[:, 7] = np.where(after == after, after, code)
    block[:, 8] = window_mean(*cumulate(weather[:, 3]), place - 2, place + 1)
    block[:, 9] = window_mean(sums, counts, day_start, day_start + DAY)
    block[:, 10] = temp - month_mean
    block[:, 11] = window_mean(*cumulate(wet), place - DAY + 1, place + 1)
    yesterday = place - DAY
    known = yesterday >= 0
    lagged = np.where(known, yesterday, 0)
    history = np.empty((place.size, 2))
    history[:, 0] = np.where(known, codes[lagged + DAY], np.nan)
    history[:, 1] = np.where(known, temp - weather[lagged, 0], np.nan)
    return block, history


def assemble(
    calendar: Floats, weather: Floats, history: Floats, weather_history: Floats
) -> npt.NDArray[np.float32]:
    """The matrix both forests read, shape (n, 37) float32: stateless columns first, rounded to `DECIMALS`.

    Args:
        calendar: `calendar_block`, shape (n, 13).
        weather: First result of `weather_block`, shape (n, 12).
        history: `DemandHistory.block`, shape (n, 10).
        weather_history: Second result of `weather_block`, shape (n, 2).
    """
    matrix = np.concatenate((calendar, weather, history, weather_history), axis=1)
    matrix[:, TEMP_VS_BASE] = matrix[:, WEATHER_CODE + 1] - matrix[:, TEMP_VS_BASE]
    return np.asarray(np.round(matrix, DECIMALS), dtype=np.float32)
