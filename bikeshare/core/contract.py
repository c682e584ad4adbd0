"""The one place that says what a column is: unit, range, and when it is known.

Everything else (validation, the API's schema, the leakage guard, the drift profile) reads this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CONTRACT_VERSION = "1"

WEATHER_CLASSES = ("clear", "mist", "light_precip", "heavy_precip")
"""Worst last; the position + 1 is UCI's `weathersit` code."""

Kind = Literal["timestamp", "number", "category", "flag", "count"]


@dataclass(frozen=True)
class Column:
    """One column of an observation.

    Attributes:
        name: Column name, with its unit as suffix where it has one.
        kind: How values are represented.
        unit: Physical unit, empty for categories and flags.
        minimum: Smallest physically possible value (inclusive).
        maximum: Largest physically possible value (inclusive).
        available_at_prediction: Whether the value is known (or forecast) when demand is predicted.
        description: One sentence for people.
    """

    name: str
    kind: Kind
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    available_at_prediction: bool = False
    description: str = ""


_COLUMNS = (
    Column("timestamp", "timestamp", "local hour", None, None, True, "Start of the hour, naive local time, unique."),
    Column("temp_c", "number", "°C", -40.0, 50.0, True, "Air temperature."),
    Column("feels_like_c", "number", "°C", -60.0, 60.0, True, "Apparent temperature."),
    Column("humidity_pct", "number", "%", 0.0, 100.0, True, "Relative humidity."),
    Column("windspeed_kmh", "number", "km/h", 0.0, 200.0, True, "Wind speed."),
    Column("weather", "category", "", None, None, True, "One of clear, mist, light_precip, heavy_precip."),
    Column("is_holiday", "flag", "", None, None, True, "Public holiday in the city's calendar."),
    Column("casual", "count", "bikes/h", 0.0, None, False, "Rentals by casual users; part of the answer."),
    Column("registered", "count", "bikes/h", 0.0, None, False, "Rentals by members; part of the answer."),
    Column("demand", "count", "bikes/h", 0.0, None, False, "All rentals that started in the hour: the target."),
)

OBSERVATION: Mapping[str, Column] = {column.name: column for column in _COLUMNS}
"""Columns of an observation by name, in order."""

TARGET = "demand"

WEATHER_NUMBERS = ("temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh")
"""Numeric weather inputs, in the order every array of them uses."""

NEVER_FEATURES = tuple(name for name, column in OBSERVATION.items() if not column.available_at_prediction)
"""Columns that are the answer or part of it: `casual`, `registered`, `demand` of the predicted hour."""
