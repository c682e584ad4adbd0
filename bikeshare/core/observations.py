"""Observations as one typed frame: the columns of `core.contract.OBSERVATION`, physical units, gaps visible.

Dtypes are fixed so that frames from a file, the store and the database compare equal: timestamp
`datetime64[ns]`, numbers `float64`, weather `object` (str), is_holiday `bool`, casual and registered `float64`
(NaN when a city does not split its riders), demand `int64`.
"""

import gzip
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from bikeshare.core.contract import OBSERVATION, WEATHER_CLASSES
from bikeshare.errors import DataError

COLUMNS = tuple(OBSERVATION)
"""Contract columns in order."""

OPTIONAL = ("casual", "registered")
"""Columns a source may lack; they become NaN."""

UCI_SHA256 = "e03de4ee4ef4dc376ac6e04bf829673c6269e8eba5c60fa121640fa2f829504f"
"""SHA-256 of the UCI `hour.csv` (uncompressed) this project was measured on."""

_UCI_COLUMNS = ("dteday", "hr", "holiday", "weathersit", "temp", "atemp", "hum", "windspeed", "casual",
                "registered", "cnt")
_DTYPES = ("datetime64[ns]", *["float64"] * 4, "object", "bool", "float64", "float64", "int64")
_TRUE = {"true", "t", "yes", "y", "1", "1.0"}
_FALSE = {"false", "f", "no", "n", "0", "0.0"}


def load_uci(source: Path | str | bytes) -> pd.DataFrame:
    """Read UCI `hour.csv` (plain or gzip; a path or its bytes) as observations in physical units.

    UCI stores min-max values: temp (t + 8) / 47, atemp (t + 16) / 66, hum h / 100, windspeed w / 67 (its
    Readme names other divisors, which are wrong for this file). Rows are sorted; absent hours stay absent.

    Raises:
        DataError: not a UCI file, truncated, or a value out of its range.
    """
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    raw = read_csv(data)
    missing = [name for name in _UCI_COLUMNS if name not in raw.columns]
    if missing:
        raise DataError(f"not a UCI hour.csv: column {missing[0]!r} is missing (found {list(raw.columns)[:20]})")
    text = raw["dteday"].astype(str)
    frame = pd.DataFrame({
        "timestamp": _parse_timestamps(text, "%Y-%m-%d") + pd.to_timedelta(_numbers(raw["hr"], "hr"), unit="h"),
        "temp_c": (_numbers(raw["temp"], "temp") * 47 - 8).round(4),
        "feels_like_c": (_numbers(raw["atemp"], "atemp") * 66 - 16).round(4),
        "humidity_pct": (_numbers(raw["hum"], "hum") * 100).round(4),
        "windspeed_kmh": (_numbers(raw["windspeed"], "windspeed") * 67).round(4),
        "weather": raw["weathersit"].astype(str).map({str(i + 1): name for i, name in enumerate(WEATHER_CLASSES)}),
        "is_holiday": raw["holiday"].astype(str),
        "casual": raw["casual"],
        "registered": raw["registered"],
        "demand": raw["cnt"],
    })
    if frame["weather"].isna().any():
        row = int(np.flatnonzero(frame["weather"].isna())[0])
        raise DataError(f"row {row}: weathersit is {raw['weathersit'].iloc[row]!r}; expected 1, 2, 3 or 4")
    return conform(frame)


def sha256_of_csv(data: bytes) -> str:
    """SHA-256 of a CSV, uncompressed first when it is gzip: independent of how it was packed."""
    return hashlib.sha256(_gunzip(data)).hexdigest()


def conform(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a frame the contract's columns, order and dtypes, sorted by timestamp; values are not judged.

    Raises:
        DataError: a column is missing or unknown, or a value has the wrong type (names column, row, value).
    """
    if _conforms(frame):
        return frame
    missing = [name for name in COLUMNS if name not in frame.columns and name not in OPTIONAL]
    if missing:
        raise DataError(f"column {missing[0]!r} is missing: expected {list(COLUMNS)}, found {list(frame.columns)[:20]}")
    unknown = [str(name) for name in frame.columns if name not in OBSERVATION]
    if unknown:
        raise DataError(f"unknown column {unknown[0]!r}: remove it or map it to one of {list(COLUMNS)}")
    typed: dict[str, pd.Series] = {}
    for name, column in OBSERVATION.items():
        values = frame[name] if name in frame.columns else pd.Series(np.nan, index=frame.index, dtype="float64")
        if column.kind == "timestamp":
            typed[name] = _timestamps(values)
        elif column.kind == "category":
            typed[name] = values.astype(object).where(values.notna(), None)
        elif column.kind == "flag":
            typed[name] = _flags(values, name)
        else:
            typed[name] = _numbers(values, name)
    result = pd.DataFrame(typed, index=frame.index)
    demand = result["demand"]
    bad = ~(np.isfinite(demand.to_numpy()) & (demand.to_numpy() == np.round(demand.to_numpy())))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"column 'demand', row {row}: {demand.iloc[row]:g} is not a whole number of bikes")
    result["demand"] = demand.astype("int64")
    return result.sort_values("timestamp", kind="stable").reset_index(drop=True)


def usable(batch: pd.DataFrame) -> pd.DataFrame:
    """The rows of a batch without holes, conformed: an hour with a missing value becomes a visible gap."""
    needed = [name for name in OBSERVATION if name not in OPTIONAL and name in batch.columns]
    holes = np.asarray(batch[needed].isna().to_numpy().any(axis=1))
    return conform(batch.iloc[np.flatnonzero(~holes)].reset_index(drop=True) if holes.any() else batch)


def _conforms(frame: pd.DataFrame) -> bool:
    """Whether a frame is the result of `conform` already; much cheaper than doing it again."""
    if tuple(frame.columns) != COLUMNS or tuple(map(str, frame.dtypes)) != _DTYPES:
        return False
    times = frame["timestamp"].to_numpy().astype("int64")
    whole = bool((times % 3_600_000_000_000 == 0).all())  # NaT is the smallest integer, which is not
    return whole and bool((np.diff(times) >= 0).all()) and isinstance(frame.index, pd.RangeIndex)


def data_hash(frame: pd.DataFrame) -> str:
    """SHA-256 over the values of an observations frame: the same rows give the same hash on any machine."""
    digest = hashlib.sha256(",".join(COLUMNS).encode())
    for name in COLUMNS:
        kind = OBSERVATION[name].kind
        values = frame[name]
        if kind == "timestamp":
            digest.update(values.to_numpy().astype("datetime64[s]").astype("<i8").tobytes())
        elif kind == "category":
            digest.update("\n".join(map(str, values)).encode())
        else:
            digest.update(values.to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Gap:
    """A run of hours without a row: `start` is the first absent hour, `end` the first present one after it."""

    start: datetime
    end: datetime
    hours: int


def gaps(timestamps: pd.Series) -> tuple[Gap, ...]:
    """Absent hours between the first and the last timestamp, in order.

    In the UCI record an hour without a trip has no row, so a gap means zero demand or a closed system,
    not "unknown": 165 hours in 75 gaps, 98 of them between 02:00 and 05:59.
    """
    hours = np.unique(timestamps.to_numpy().astype("datetime64[h]"))
    if len(hours) < 2:
        return ()
    steps = np.diff(hours).astype(int)
    return tuple(
        Gap((hours[i] + 1).astype(datetime), hours[i + 1].astype(datetime), int(steps[i]) - 1)
        for i in np.flatnonzero(steps > 1)
    )


def read_csv(data: bytes, separator: str = ",") -> pd.DataFrame:
    """Parse CSV bytes (plain or gzip) with every cell as text (so that a message can show what was written).

    Raises:
        DataError: empty, not UTF-8, binary, or rows of unequal length (a truncated last line included).
    """
    data = _gunzip(data)
    if not data.strip():
        raise DataError("the file is empty: expected a CSV with a header line")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text at byte {error.start}: save the file as UTF-8 CSV or Parquet") from error
    try:
        frame = pd.read_csv(io.StringIO(text), dtype=str, index_col=False, sep=separator)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        raise DataError(f"not a well-formed CSV: {str(error).strip()}") from error
    if frame.empty:
        raise DataError(f"the file has a header {list(frame.columns)[:20]} but no rows")
    if frame.iloc[-1].isna().any() and not text.endswith(("\n", "\r")):
        raise DataError(f"line {len(frame) + 1} ends early: {text.splitlines()[-1]!r}; the file looks truncated")
    return frame


def read_parquet(data: bytes) -> pd.DataFrame:
    """Parse Parquet bytes.

    Raises:
        DataError: empty, truncated or not Parquet.
    """
    if not data:
        raise DataError("the file is empty: expected Parquet")
    try:
        frame: pd.DataFrame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    except Exception as error:  # pyarrow raises several families for a damaged file
        raise DataError(f"not a readable Parquet file ({len(data)} bytes): {str(error).strip()[:200]}") from error
    if frame.empty:
        raise DataError(f"the Parquet file has columns {list(frame.columns)[:20]} but no rows")
    return frame


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Parquet bytes of a frame; the same frame gives the same bytes with the same library version."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, compression="snappy")
    return buffer.getvalue()


def _gunzip(data: bytes) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise DataError(f"damaged gzip ({len(data)} bytes): {error}; copy the file again") from error


def _numbers(values: pd.Series, name: str) -> pd.Series:
    if pd.api.types.is_bool_dtype(values):
        raise DataError(f"column {name!r}: expected numbers, found true/false; check the mapping")
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    unread = np.flatnonzero(numbers.isna().to_numpy() & values.notna().to_numpy())
    wrong = unread[~values.iloc[unread].astype(str).str.strip().str.lower().isin({"nan", ""}).to_numpy()]
    if wrong.size:
        row = int(wrong[0])
        raise DataError(f"column {name!r}, row {row}: {values.iloc[row]!r} is not a number")
    return numbers


def _flags(values: pd.Series, name: str) -> pd.Series:
    if values.dtype == bool:
        return values
    text = values.astype(str).str.strip().str.lower()
    wrong = ~text.isin(_TRUE | _FALSE).to_numpy()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"column {name!r}, row {row}: {values.iloc[row]!r} is not true or false")
    return text.isin(_TRUE)


def _timestamps(values: pd.Series) -> pd.Series:
    if not pd.api.types.is_datetime64_any_dtype(values):
        if pd.api.types.is_numeric_dtype(values):
            raise DataError(f"column 'timestamp', row 0: {values.iloc[0]!r} is a number; expected an ISO local hour")
        values = _parse_timestamps(values.astype(str), "ISO8601")
    if getattr(values.dt, "tz", None) is not None:
        raise DataError("column 'timestamp' has a time zone: give naive local hours, or set `timezone` in the mapping")
    if values.isna().any():
        row = int(np.flatnonzero(values.isna())[0])
        raise DataError(f"column 'timestamp', row {row}: empty")
    result = values.astype("datetime64[ns]")
    off = (result != result.dt.floor("h")).to_numpy()
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise DataError(f"column 'timestamp', row {row}: {result.iloc[row]} is not the start of an hour")
    return result


def _parse_timestamps(text: pd.Series, layout: str) -> pd.Series:
    parsed = pd.to_datetime(text, format=layout, errors="coerce")
    if parsed.isna().any():
        row = int(np.flatnonzero(parsed.isna())[0])
        raise DataError(f"column 'timestamp', row {row}: {text.iloc[row]!r} is not a time of the form {layout}")
    return parsed
