"""Somebody else's hourly file as observations: which column is which, in which unit, in which time zone.

A mapping is a YAML document (see `data/example-mapping.yaml`). Every cell that cannot be understood is an
error that names the column, the row and the value; nothing is guessed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES
from bikeshare.core.observations import conform
from bikeshare.errors import ConfigurationError, DataError

UNITS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "°C": {"C": (1.0, 0.0), "F": (5 / 9, -160 / 9), "K": (1.0, -273.15)},
    "%": {"%": (1.0, 0.0), "fraction": (100.0, 0.0)},
    "km/h": {"km/h": (1.0, 0.0), "m/s": (3.6, 0.0), "mph": (1.609344, 0.0), "kn": (1.852, 0.0)},
}
"""Contract unit -> source unit -> (factor, offset): value * factor + offset."""

_COUNTS = ("casual", "registered", "demand")


@dataclass(frozen=True)
class ColumnSource:
    """Where one observation column comes from: a source column with a unit or scale, or a constant."""

    column: str = ""
    factor: float = 1.0
    offset: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)
    constant: Any = None


@dataclass(frozen=True)
class FileMapping:
    """How to read a file.

    Attributes:
        timestamp: Source columns of the time; several are joined by a space.
        layout: `strptime` format of the joined text, or `ISO8601`.
        source_timezone: Zone the file's times are in when they carry no offset; empty means they are local.
        timezone: The city's zone; needed when times are not local, and to recognise the repeated autumn hour.
        repeated_hour: What to do with the two real hours that share one local hour in autumn: `sum` adds
            their counts and keeps the first reading of the weather; `first` drops the second.
        columns: Observation column -> source.
        separator: CSV field separator.
        decimal: CSV decimal mark.
    """

    timestamp: tuple[str, ...]
    layout: str
    source_timezone: str
    timezone: str
    repeated_hour: Literal["sum", "first"]
    columns: Mapping[str, ColumnSource]
    separator: str = ","
    decimal: str = "."


def parse_mapping(document: Any) -> FileMapping:
    """Read a mapping document; ConfigurationError names the key that is wrong."""
    top = _section(document, "mapping", {"timestamp", "columns", "csv"})
    time = _section(top.get("timestamp"), "timestamp", {
        "column", "columns", "format", "source_timezone", "timezone", "repeated_hour",
    })
    names = time.get("columns", time.get("column"))
    if not names:
        raise ConfigurationError("mapping: timestamp needs `column` (or `columns`, which are joined by a space)")
    repeated = time.get("repeated_hour", "sum")
    if repeated not in {"sum", "first"}:
        raise ConfigurationError(f"mapping: timestamp.repeated_hour is {repeated!r}: use `sum` or `first`")
    for key in ("source_timezone", "timezone"):
        _zone(str(time.get(key, "")), key)
    if time.get("source_timezone") and not time.get("timezone"):
        raise ConfigurationError("mapping: timestamp.source_timezone needs timestamp.timezone, the city's own zone")
    columns = _section(top.get("columns"), "columns", set(OBSERVATION) - {"timestamp"})
    csv = _section(top.get("csv", {}), "csv", {"separator", "decimal"})
    return FileMapping(
        timestamp=(names,) if isinstance(names, str) else tuple(map(str, names)),
        layout=str(time.get("format", "ISO8601")), source_timezone=str(time.get("source_timezone", "")),
        timezone=str(time.get("timezone", "")), repeated_hour=repeated,
        columns={name: _column(name, source) for name, source in columns.items()},
        separator=str(csv.get("separator", ",")), decimal=str(csv.get("decimal", ".")),
    )


def apply_mapping(raw: pd.DataFrame, mapping: FileMapping) -> pd.DataFrame:
    """Observations of a raw table (cells may be text); DataError names column, row and value."""
    used = [*mapping.timestamp, *(source.column for source in mapping.columns.values() if source.column)]
    for name in used:
        if name not in raw.columns:
            raise DataError(f"the file has no column {name!r}; it has {[str(c) for c in raw.columns][:30]}")
    moments, repeated = _times(raw, mapping)
    typed: dict[str, Any] = {"timestamp": moments}
    for name, source in mapping.columns.items():
        typed[name] = _values(raw, name, source, mapping.decimal)
    if "demand" not in typed and {"casual", "registered"} <= typed.keys():
        typed["demand"] = typed["casual"] + typed["registered"]
    frame = pd.DataFrame(typed, index=raw.index)
    return conform(_merge_repeated(frame, repeated, mapping))


def _times(raw: pd.DataFrame, mapping: FileMapping) -> tuple[pd.Series, np.ndarray]:
    """Local naive times, and which rows lie in an hour that the clock shows twice."""
    name = " + ".join(mapping.timestamp)
    if len(mapping.timestamp) == 1 and pd.api.types.is_datetime64_any_dtype(raw[mapping.timestamp[0]]):
        moments = raw[mapping.timestamp[0]]
    else:
        text = raw[mapping.timestamp[0]].astype(str)
        for more in mapping.timestamp[1:]:
            text = text + " " + raw[more].astype(str)
        moments = pd.to_datetime(text, format=mapping.layout, errors="coerce", utc=_has_offset(text, mapping.layout))
        if moments.isna().any():
            row = int(np.flatnonzero(moments.isna())[0])
            raise DataError(f"column {name!r}, row {row}: {text.iloc[row]!r} is not a time like {mapping.layout}")
    aware = moments.dt.tz is not None
    if aware and not mapping.timezone:
        raise DataError(f"column {name!r} carries a UTC offset: set timestamp.timezone in the mapping")
    if not aware and mapping.source_timezone:
        try:
            moments, aware = moments.dt.tz_localize(mapping.source_timezone), True
        except Exception as error:  # pandas raises pytz's or its own errors depending on the zone
            raise DataError(
                f"column {name!r}: a time occurs twice or never in {mapping.source_timezone} ({error}); deliver UTC, or"
                " times with their offset"
            ) from error
    if aware:
        moments = moments.dt.tz_convert(mapping.timezone).dt.tz_localize(None)
    if not mapping.timezone:
        return moments, np.zeros(len(moments), dtype=bool)
    try:
        localized = moments.dt.tz_localize(mapping.timezone, ambiguous="NaT", nonexistent="raise")
    except Exception as error:  # pandas raises pytz's or its own NonExistentTimeError depending on the zone
        raise DataError(f"column {name!r}: a time does not exist in {mapping.timezone}: {error}") from error
    return moments, localized.isna().to_numpy()


def _has_offset(text: pd.Series, layout: str) -> bool:
    if layout != "ISO8601":
        return "%z" in layout
    first = str(text.iloc[0]).strip()
    return first.endswith("Z") or "+" in first[10:] or "-" in first[10:]


def _values(raw: pd.DataFrame, name: str, source: ColumnSource, decimal: str) -> pd.Series:
    if not source.column:
        return pd.Series([source.constant] * len(raw), index=raw.index)
    cells = raw[source.column]
    if source.values:
        text = cells.astype(str).str.strip()
        mapped = text.map(dict(source.values))
        unknown = mapped.isna() & cells.notna()
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise DataError(
                f"column {source.column!r}, row {row}: {cells.iloc[row]!r} is not mapped to a {name}; "
                f"add it to columns.{name}.values"
            )
        return mapped
    if OBSERVATION[name].kind in {"category", "flag"}:
        return cells
    if decimal != "." and cells.dtype == object:
        cells = cells.astype(str).str.replace(decimal, ".", regex=False).where(cells.notna())
    numbers = pd.to_numeric(cells, errors="coerce")
    wrong = numbers.isna() & cells.notna()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"column {source.column!r} ({name}), row {row}: {cells.iloc[row]!r} is not a number")
    scaled = numbers.astype("float64")
    if (source.factor, source.offset) != (1.0, 0.0):
        scaled = (scaled * source.factor + source.offset).round(4)
    return scaled


def _merge_repeated(frame: pd.DataFrame, repeated: np.ndarray, mapping: FileMapping) -> pd.DataFrame:
    twice = frame["timestamp"].duplicated(keep=False).to_numpy()
    stray = twice & ~repeated
    if stray.any():
        row = int(np.flatnonzero(stray)[0])
        hint = "" if mapping.timezone else "; if it is the autumn hour, set timestamp.timezone in the mapping"
        raise DataError(f"hour {frame['timestamp'].iloc[row]} occurs twice (row {row} is one){hint}")
    if not twice.any():
        return frame
    how: dict[str, Any] = dict.fromkeys(frame.columns, "first")
    if mapping.repeated_hour == "sum":
        how |= {name: (lambda s: s.sum(min_count=1)) for name in _COUNTS if name in frame.columns}
    how.pop("timestamp")
    merged = frame[twice].groupby("timestamp", as_index=False).agg(how)
    return pd.concat([frame[~twice], merged[frame.columns]], ignore_index=True)


def _section(value: Any, name: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"mapping: `{name}` must be a table of keys, found {value!r}")
    unknown = [key for key in value if key not in known]
    if unknown:
        raise ConfigurationError(f"mapping: unknown key {unknown[0]!r} in `{name}`; known are {sorted(known)}")
    return value


def _column(name: str, value: Any) -> ColumnSource:
    if isinstance(value, str):
        value = {"column": value}
    table = _section(value, f"columns.{name}", {"column", "unit", "factor", "offset", "values", "constant"})
    if ("column" in table) == ("constant" in table):
        raise ConfigurationError(f"mapping: columns.{name} needs either `column` or `constant`")
    factor, offset = _number(table, name, "factor", 1.0), _number(table, name, "offset", 0.0)
    unit = table.get("unit")
    if unit is not None:
        known = UNITS.get(OBSERVATION[name].unit, {})
        if str(unit) not in known:
            raise ConfigurationError(f"mapping: columns.{name}.unit is {unit!r}; known are {list(known) or 'none'}")
        if "factor" in table or "offset" in table:
            raise ConfigurationError(f"mapping: columns.{name} has both `unit` and `factor`/`offset`; keep one")
        factor, offset = known[str(unit)]
    values = {str(key): item for key, item in (table.get("values") or {}).items()}
    if name == "weather" and not set(values.values()) <= set(WEATHER_CLASSES):
        wrong = next(item for item in values.values() if item not in WEATHER_CLASSES)
        raise ConfigurationError(f"mapping: columns.weather.values gives {wrong!r}; use {list(WEATHER_CLASSES)}")
    return ColumnSource(str(table.get("column", "")), factor, offset, values, table.get("constant"))


def _number(table: Mapping[str, Any], name: str, key: str, default: float) -> float:
    try:
        number = float(table.get(key, default))
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(f"mapping: columns.{name}.{key} is {table[key]!r}, not a number")
    return number


def _zone(name: str, key: str) -> None:
    if name:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigurationError(f"mapping: timestamp.{key} {name!r} is no zone like Europe/Vienna") from error
