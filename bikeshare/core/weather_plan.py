"""The weather a forecast is asked for: taken from the past, typed, or uploaded; and what-if changes of it. Pure."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES, WEATHER_NUMBERS
from bikeshare.errors import DataError

COLUMNS = (*WEATHER_NUMBERS, "weather")
MAX_HOURS = 48
"""The horizon the API forecasts."""

EXAMPLES = {"a day ago": 1, "a week ago": 7, "a year ago": 364}
"""Names of past weather -> days back; 364 keeps the weekday."""


@dataclass(frozen=True)
class WhatIf:
    """Changes of a plan; `weather` replaces the class of every hour."""

    warmer_c: float = 0.0
    windier_kmh: float = 0.0
    more_humid_pct: float = 0.0
    weather: str | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is different from the plan."""
        return self != WhatIf()


def next_hour(now: datetime) -> datetime:
    """The first hour the API forecasts by itself."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def like_past(observations: pd.DataFrame, start: datetime, hours: int, days_back: int) -> pd.DataFrame:
    """The weather of the same hours some days ago; hours that have not landed are taken from the day before them.

    Raises:
        DataError: nothing landed around that time.
    """
    known = observations.set_index("timestamp")
    rows = []
    for offset in range(hours):
        wanted = start + timedelta(hours=offset) - timedelta(days=days_back)
        found = next(
            (moment for back in range(8) if (moment := wanted - timedelta(days=back)) in known.index), None
        )
        if found is None:
            raise DataError(
                f"no weather landed in the eight days before {wanted:%Y-%m-%d %H:00}: choose another day, type the "
                "weather, or upload it"
            )
        rows.append(known.loc[found, list(COLUMNS)])
    return pd.DataFrame(rows).reset_index(drop=True)


def typed(
    hours: int, start: datetime, *, mean_c: float, swing_c: float, humidity_pct: float, windspeed_kmh: float,
    weather: str,
) -> pd.DataFrame:
    """One weather for all hours, with the day's usual swing: coldest at 5, warmest at 15 o'clock."""
    clock = np.array([(start + timedelta(hours=offset)).hour for offset in range(hours)])
    temperature = mean_c + swing_c / 2 * np.cos((clock - 15) / 24 * 2 * np.pi)
    return _within(pd.DataFrame({
        "temp_c": temperature, "feels_like_c": temperature, "humidity_pct": float(humidity_pct),
        "windspeed_kmh": float(windspeed_kmh), "weather": weather,
    }))


def changed(plan: pd.DataFrame, change: WhatIf) -> pd.DataFrame:
    """The plan with a change, cut to what is physically possible."""
    result = plan.copy()
    for column in ("temp_c", "feels_like_c"):
        result[column] = result[column] + change.warmer_c
    result["windspeed_kmh"] = result["windspeed_kmh"] + change.windier_kmh
    result["humidity_pct"] = result["humidity_pct"] + change.more_humid_pct
    if change.weather is not None:
        result["weather"] = change.weather
    return _within(result)


def from_csv(content: bytes) -> pd.DataFrame:
    """Read an uploaded plan: one row per hour from the next one on, the API's columns and units.

    Raises:
        DataError: the file, a column or a value is wrong; the message names the row as a person counts it.
    """
    try:
        frame = pd.read_csv(io.BytesIO(content))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"the file is not CSV with a header ({error}): use the template") from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise DataError(f"the file has no column {', '.join(missing)}: it has {', '.join(map(str, frame.columns))}")
    if not 1 <= len(frame) <= MAX_HOURS:
        raise DataError(f"the file has {len(frame)} rows: one per hour, 1 to {MAX_HOURS}")
    plan = frame[list(COLUMNS)].copy()
    for name in WEATHER_NUMBERS:
        low, high = _bounds(name)
        numbers = pd.to_numeric(plan[name], errors="coerce")
        wrong = ~numbers.between(low, high)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"row {row + 1}: {name} is {plan[name].iloc[row]}; allowed is {low:g} to {high:g} "
                f"{OBSERVATION[name].unit}"
            )
        plan[name] = numbers.astype("float64")
    wrong = ~plan["weather"].isin(WEATHER_CLASSES)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"row {row + 1}: weather is {plan['weather'].iloc[row]!r}; allowed is {', '.join(WEATHER_CLASSES)}"
        )
    return plan.reset_index(drop=True)


def to_csv(plan: pd.DataFrame) -> bytes:
    """A plan as a file that `from_csv` reads."""
    text: str = plan[list(COLUMNS)].round(2).to_csv(index=False)
    return text.encode()


def request_body(plan: pd.DataFrame, start: datetime) -> dict[str, Any]:
    """Body of `POST /forecast`."""
    rows: list[Mapping[str, Any]] = [
        {**{name: float(row[name]) for name in WEATHER_NUMBERS}, "weather": str(row["weather"])}
        for row in plan.to_dict("records")
    ]
    return {"start": start.isoformat(timespec="minutes"), "weather": rows}


def _within(plan: pd.DataFrame) -> pd.DataFrame:
    for name in WEATHER_NUMBERS:
        plan[name] = plan[name].astype("float64").clip(*_bounds(name))
    return plan


def _bounds(name: str) -> tuple[float, float]:
    column = OBSERVATION[name]
    if column.minimum is None or column.maximum is None:
        raise AssertionError(f"the contract gives {name} no range")
    return column.minimum, column.maximum
