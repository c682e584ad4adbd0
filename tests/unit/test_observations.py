"""Reading observations: the real history, and every way a file can be wrong."""

import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bikeshare.core.observations import (
    COLUMNS,
    UCI_SHA256,
    conform,
    data_hash,
    gaps,
    load_uci,
    read_csv,
    read_parquet,
    sha256_of_csv,
    to_parquet,
)
from bikeshare.errors import DataError


@pytest.fixture(scope="module")
def packed(root: Path) -> bytes:
    return (root / "data" / "hour.csv.gz").read_bytes()


def test_the_committed_file_is_the_one_that_was_measured(packed: bytes, root: Path) -> None:
    assert sha256_of_csv(packed) == UCI_SHA256
    assert sha256_of_csv(gzip.decompress(packed)) == UCI_SHA256
    assert UCI_SHA256 in (root / "data" / "README.md").read_text(encoding="utf-8")


def test_the_history_has_the_known_totals(history: pd.DataFrame) -> None:
    assert len(history) == 17_379
    assert history["demand"].sum() == 3_292_679
    assert history["casual"].sum() == 620_017
    assert history["registered"].sum() == 2_672_662
    assert (history["casual"] + history["registered"] == history["demand"]).all()
    assert history["timestamp"].is_monotonic_increasing
    assert history["timestamp"].is_unique
    assert history["weather"].value_counts()["heavy_precip"] == 3


def test_values_are_physical(history: pd.DataFrame) -> None:
    first = history.iloc[0]
    assert (first["temp_c"], first["humidity_pct"], first["windspeed_kmh"]) == (3.28, 81.0, 0.0)
    assert first["feels_like_c"] == pytest.approx(3.0014)
    assert history["temp_c"].min() == pytest.approx(-7.06)
    assert history["temp_c"].max() == pytest.approx(39.0)
    assert history["windspeed_kmh"].max() == pytest.approx(56.9969)


def test_gaps_stay_visible(history: pd.DataFrame) -> None:
    found = gaps(history["timestamp"])
    assert (len(found), sum(gap.hours for gap in found)) == (75, 165)
    longest = max(found, key=lambda gap: gap.hours)
    assert (longest.start, longest.end, longest.hours) == (datetime(2012, 10, 29, 1), datetime(2012, 10, 30, 13), 36)
    assert gaps(history["timestamp"].iloc[:1]) == ()


def test_a_truncated_gzip_and_a_truncated_line_are_named(packed: bytes) -> None:
    with pytest.raises(DataError, match="damaged gzip"):
        load_uci(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="looks truncated"):
        load_uci(gzip.decompress(packed)[:20_000].rsplit(b",", 1)[0])


@pytest.mark.parametrize(("data", "message"), [
    (b"", "empty"),
    (b"   \n ", "empty"),
    (b"a,b\n", "no rows"),
    (b"\xff\xfe\x00b", "not UTF-8 text at byte 0"),
    (b"a,b\n1,2\n1,2,3,4\n", "not a well-formed CSV"),
    (b"a,b\n1,2\n3", "line 3 ends early"),
    (b'a,b\n"1,2\n', "not a well-formed CSV"),
])
def test_a_malformed_csv_says_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(data)


def test_another_csv_is_not_a_uci_file() -> None:
    with pytest.raises(DataError, match="column 'dteday' is missing"):
        load_uci(b"x,y\n1,2\n")


@pytest.mark.parametrize(("old", "new", "message"), [
    (b",1,0.24,", b",7,0.24,", "weathersit is '7'"),
    (b",1,0.24,", b",1,warm,", "column 'temp', row 0: 'warm' is not a number"),
    (b"1,2011-01-01,", b"1,2011-13-01,", "row 0: '2011-13-01' is not a time"),
    (b",3,13,16", b",3,13,16.5", "16.5 is not a whole number"),
    (b",3,13,16", b",3,13,", "nan is not a whole number"),
])
def test_a_wrong_cell_is_named_with_column_row_and_value(packed: bytes, old: bytes, new: bytes, message: str) -> None:
    lines = gzip.decompress(packed).split(b"\r\n")[:4]
    lines[1] = lines[1].replace(old, new, 1)
    with pytest.raises(DataError, match=message):
        load_uci(b"\r\n".join(lines) + b"\r\n")


def test_parquet_round_trip_is_exact_and_deterministic(history: pd.DataFrame) -> None:
    day = history.iloc[:24].reset_index(drop=True)
    assert to_parquet(day) == to_parquet(day.copy())
    pd.testing.assert_frame_equal(conform(read_parquet(to_parquet(day))), day, check_exact=True)


@pytest.mark.parametrize("damage", [b"", b"PAR1garbagePAR1", b"not parquet at all"])
def test_damaged_parquet_is_a_data_error(damage: bytes) -> None:
    with pytest.raises(DataError, match=r"Parquet"):
        read_parquet(damage)


def test_truncated_parquet_is_a_data_error(history: pd.DataFrame) -> None:
    data = to_parquet(history.iloc[:24])
    for cut in (10, len(data) // 2, len(data) - 1):
        with pytest.raises(DataError, match="not a readable Parquet"):
            read_parquet(data[:cut])


def test_conform_orders_columns_and_rows_and_fills_optional_ones(history: pd.DataFrame) -> None:
    shuffled = history.iloc[[3, 1, 2]][list(reversed(COLUMNS))].drop(columns=["casual", "registered"])
    typed = conform(shuffled)
    assert tuple(typed.columns) == COLUMNS
    assert list(typed["timestamp"]) == list(history["timestamp"].iloc[1:4])
    assert typed["casual"].isna().all()
    assert conform(typed) is typed


def test_a_wrong_cell_behind_an_empty_one_is_found(history: pd.DataFrame) -> None:
    rows = history.iloc[:3].copy()
    rows["temp_c"] = [" ", "nan", "warm"]
    with pytest.raises(DataError, match="column 'temp_c', row 2: 'warm' is not a number"):
        conform(rows)
    rows["temp_c"] = [" ", "nan", "3.5"]
    assert list(conform(rows)["temp_c"].isna()) == [True, True, False]


@pytest.mark.parametrize(("column", "value", "message"), [
    ("timestamp", "2012-01-01 00:30", "not the start of an hour"),
    ("timestamp", "yesterday", "'yesterday' is not a time"),
    ("timestamp", 1_325_376_000, "is a number"),
    ("timestamp", pd.Timestamp("2012-01-01", tz="UTC"), "has a time zone"),
    ("temp_c", "warm", "column 'temp_c', row 0: 'warm' is not a number"),
    ("temp_c", True, "expected numbers, found true/false"),
    ("is_holiday", "maybe", "column 'is_holiday', row 0: 'maybe' is not true or false"),
    ("demand", 1.5, "1.5 is not a whole number"),
    ("demand", np.inf, "inf is not a whole number"),
])
def test_conform_names_the_wrong_value(history: pd.DataFrame, column: str, value: object, message: str) -> None:
    row = history.iloc[:1].copy()
    row[column] = pd.Series([value], index=row.index)
    with pytest.raises(DataError, match=message):
        conform(row)


def test_conform_names_missing_and_unknown_columns(history: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="column 'weather' is missing"):
        conform(history.drop(columns="weather"))
    with pytest.raises(DataError, match="unknown column 'season'"):
        conform(history.assign(season=1))


def test_the_data_hash_sees_every_value_and_nothing_else(history: pd.DataFrame) -> None:
    rows = history.iloc[:48].reset_index(drop=True)
    base = data_hash(rows)
    assert data_hash(conform(read_parquet(to_parquet(rows)))) == base
    changes = (("demand", 999), ("temp_c", 0.5), ("weather", "clear"), ("is_holiday", True), ("casual", 7.0))
    for column, value in changes:
        changed = rows.copy()
        changed.loc[5, column] = value
        assert data_hash(changed) != base, column
    assert data_hash(rows.iloc[:47]) != base
