"""The prediction log: nothing lost while there is room, nothing lost uncounted, never in the way."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from bikeshare.core.prediction_lines import encode, fields_of
from bikeshare.errors import DataError
from bikeshare.ports import PredictionRow
from services.predictor.log_policy import LogPolicy
from services.predictor.logged import Logged, LoggedBatch, features_hash
from services.predictor.metrics import Metrics
from services.predictor.prediction_log import PredictionLog
from services.predictor.spool import Spool
from tests.fakes.records import MemoryRecords

NOON = datetime(2012, 7, 4, 12)
FAST = LogPolicy(flush_seconds=0.01, retry_seconds=0.05, retry_max_seconds=0.05, close_seconds=2.0)


@dataclass(frozen=True)
class Answers:
    demand: Any
    lower_80: Any
    upper_80: Any
    lower_95: Any
    upper_95: Any


def batch(request_id: str, rows: int = 1, is_holiday: bool | None = None) -> LoggedBatch:
    numbers = np.arange(rows * 4, dtype=np.float64).reshape(rows, 4)
    values = np.arange(rows, dtype=np.float64)
    return LoggedBatch(
        request_id=request_id, predicted_at=NOON, model_version="3",
        timestamps=np.datetime64(NOON, "h") + np.arange(rows), numbers=numbers,
        weather=np.zeros(rows, dtype=np.int64), is_holiday=[is_holiday] * rows,
        answers=Answers(values, values - 1, values + 1, values - 2, values + 2),
        source=["mean"] * rows, degraded=[False] * rows, level_age_hours=[9.0] * rows,
    )


def rows_of(logged: Logged) -> list[PredictionRow]:
    return [PredictionRow(*fields_of(encode(line))) for line in logged.lines()]


class PickyRecords(MemoryRecords):
    """Counts the inserts it is asked for and refuses some request ids for good."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.refused: set[str] = set()

    def insert_prediction_lines(self, lines: Sequence[bytes]) -> int:
        self.asked += 1
        if any(line.split(b"\t")[0].decode() in self.refused for part in lines for line in part.splitlines()):
            raise DataError("value too long")
        return super().insert_prediction_lines(lines)


def held_back(records: MemoryRecords) -> threading.Event:
    """Inserts wait for this event."""
    event = threading.Event()
    insert = records.insert_predictions

    def slow(rows: Sequence[PredictionRow]) -> int:
        assert event.wait(10)
        return insert(rows)

    records.insert_predictions = slow  # type: ignore[method-assign]
    return event


class World:
    def __init__(self, folder: Path, policy: LogPolicy = FAST, spool_bytes: int = 10**6) -> None:
        self.records = PickyRecords()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.spool = Spool(folder, spool_bytes)
        self.log = PredictionLog(lambda: self.records, self.spool, self.metrics, policy)

    def stored(self) -> set[str]:
        was, self.records.away = self.records.away, False
        try:
            frames = self.records.iter_predictions(datetime(2012, 1, 1), datetime(2013, 1, 1))
            return {request_id for frame in frames for request_id in frame["request_id"]}
        finally:
            self.records.away = was

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.log.close()


def until(done: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_predictions_reach_the_records(world: World) -> None:
    world.log.start()
    world.log.add(batch("a", 3))
    world.log.add(batch("b"))

    until(lambda: world.count("bikeshare_prediction_log_written_total") == 4)

    assert world.stored() == {"a", "b"}
    assert world.log.queued_rows == 0


def test_a_row_carries_inputs_outputs_and_the_calendars_holiday() -> None:
    derived, stated = rows_of(batch("a"))[0], rows_of(batch("a", is_holiday=False))[0]

    assert derived.is_holiday is True  # 4 July
    assert stated.is_holiday is False
    assert (derived.temp_c, derived.windspeed_kmh, derived.weather) == (0.0, 3.0, "clear")
    assert (derived.demand, derived.lower_95, derived.upper_80) == (0.0, -2.0, 1.0)
    assert derived.timestamp == NOON
    assert derived.features_hash != stated.features_hash


def test_the_features_hash_depends_on_inputs_only() -> None:
    numbers = np.array([1.0, 2.0, 3.0, 4.0])

    assert features_hash(NOON, numbers, 1, False) == features_hash(NOON, numbers.copy(), 1, False)
    assert features_hash(NOON, numbers, 1, False) != features_hash(NOON, numbers, 2, False)
    assert features_hash(NOON, numbers, 1, False) != features_hash(NOON, numbers + 1e-9, 1, False)


def test_a_database_away_costs_nothing(world: World) -> None:
    world.records.away = True
    world.log.start()
    world.log.add(batch("away 1"))
    until(lambda: world.count("bikeshare_prediction_log_spooled_bytes") > 0)
    world.log.add(batch("away 2", 2))
    until(lambda: world.log.queued_rows == 0)
    assert world.stored() == set()

    world.records.away = False

    until(lambda: world.stored() == {"away 1", "away 2"})
    until(lambda: world.count("bikeshare_prediction_log_spooled_bytes") == 0)
    assert world.count("bikeshare_prediction_log_written_total") == 3
    assert world.count("bikeshare_prediction_log_errors_total") >= 1


def test_what_the_spool_cannot_keep_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path, spool_bytes=1_000)
    world.records.away = True
    world.log.start()
    world.log.add(batch("kept", 2))
    until(lambda: world.count("bikeshare_prediction_log_spooled_bytes") > 0)
    world.log.add(batch("lost", 50))
    until(lambda: world.count("bikeshare_prediction_log_dropped_total", reason="spool_full") == 50)
    world.records.away = False
    until(lambda: world.stored() == {"kept"})
    world.log.close()


def test_what_a_broken_spool_cannot_keep_is_counted_and_the_log_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    world = World(folder)
    folder.rmdir()
    folder.write_text("a file where the folder belongs")
    world.records.away = True
    world.log.start()
    world.log.add(batch("lost", 50))
    until(lambda: world.count("bikeshare_prediction_log_dropped_total", reason="spool_full") == 50)
    world.log.add(batch("lost too", 2))
    until(lambda: world.count("bikeshare_prediction_log_dropped_total", reason="spool_full") == 52)

    world.records.away = False
    failed = world.count("bikeshare_prediction_log_errors_total")
    until(lambda: world.count("bikeshare_prediction_log_errors_total") > failed + 5)
    world.log.add(batch("stored"))
    until(lambda: world.stored() == {"stored"})
    assert sum("cannot be replayed" in record.getMessage() for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.exc_info]
    folder.unlink()
    world.log.close()
    assert world.count("bikeshare_prediction_log_dropped_total", reason="spool_full") == 52


def test_a_removed_spool_folder_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "spool"
    world = World(folder)
    folder.rmdir()
    world.log.start()
    world.log.add(batch("up"))
    until(lambda: world.stored() == {"up"})
    world.records.away = True
    world.log.add(batch("away", 3))
    until(lambda: folder.is_dir() and world.log.queued_rows == 0)
    world.records.away = False

    until(lambda: world.stored() == {"up", "away"})
    world.log.close()
    assert world.count("bikeshare_prediction_log_written_total") == 4
    assert not [record for record in caplog.records if record.exc_info]


def test_closing_beside_a_broken_spool_ends_quietly_and_counts(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    world = World(folder)
    world.records.away = True
    folder.rmdir()
    folder.write_text("a file where the folder belongs")
    world.log.add(batch("lost", 4))
    world.log.start()
    world.log.close()

    assert world.count("bikeshare_prediction_log_dropped_total", reason="spool_full") == 4
    assert world.log.queued_rows == 0


def test_a_full_queue_drops_at_once_and_counts(tmp_path: Path) -> None:
    world = World(tmp_path, LogPolicy(queue_rows=10))
    for name in ("a", "b", "c"):
        world.log.add(batch(name, 4))

    assert world.log.queued_rows == 8
    assert world.count("bikeshare_prediction_log_dropped_total", reason="queue_full") == 4


def test_a_slow_database_never_delays_a_request(world: World) -> None:
    blocked = held_back(world.records)
    world.log.start()
    for number in range(100):
        world.log.add(batch(f"r{number}"))
    assert world.stored() == set()
    assert world.log.queued_rows == 100

    blocked.set()

    until(lambda: len(world.stored()) == 100)
    until(lambda: world.log.queued_rows == 0)


def test_what_a_slow_database_cannot_take_waits_on_disk_and_is_stored_later(tmp_path: Path) -> None:
    policy = replace(FAST, queue_rows=1_000, spill_rows=20, batch_rows=10)
    world = World(tmp_path, policy)
    spooled: list[int] = []  # the bytes on disk are a number that returns to zero between two looks at it
    append = world.spool.append

    def noted(parts: Sequence[bytes]) -> None:
        append(parts)
        spooled.append(world.spool.used_bytes)

    world.spool.append = noted  # type: ignore[method-assign]
    blocked = held_back(world.records)
    world.log.start()
    world.log.add(batch("first"))
    until(lambda: world.records.asked > 0)
    for number in range(100):
        world.log.add(batch(f"r{number}"))
    assert world.count("bikeshare_prediction_log_spooled_bytes") == 0

    blocked.set()

    until(lambda: len(world.stored()) == 101)
    world.log.close()
    assert sum(spooled) > 0
    assert world.count("bikeshare_prediction_log_dropped_total", reason="queue_full") == 0
    assert world.count("bikeshare_prediction_log_written_total") == 101


def test_several_requests_are_queued_at_once_under_the_same_limit(tmp_path: Path) -> None:
    world = World(tmp_path, LogPolicy(queue_rows=10))
    world.log.extend([batch("a", 4), batch("b", 4), batch("too large", 4), batch("fits", 2), batch("full")])
    world.log.extend([])
    assert world.log.queued_rows == 10
    assert world.count("bikeshare_prediction_log_dropped_total", reason="queue_full") == 5

    world.log.start()

    until(lambda: world.stored() == {"a", "b", "fits"})
    world.log.close()


def test_closing_flushes_to_the_records(world: World) -> None:
    world.log.start()
    for number in range(50):
        world.log.add(batch(f"r{number}"))
    world.log.close()

    assert len(world.stored()) == 50


def test_closing_without_a_database_leaves_a_spool_for_the_next_process(tmp_path: Path) -> None:
    first = World(tmp_path)
    first.records.away = True
    first.log.start()
    first.log.add(batch("before the end", 2))
    first.log.close()
    assert first.spool.segments()

    second = World(tmp_path)
    second.log.start()
    until(lambda: second.stored() == {"before the end"})
    second.log.close()


def test_closing_beside_a_database_that_hangs_leaves_everything_for_the_next_process(tmp_path: Path) -> None:
    first = World(tmp_path, replace(FAST, close_seconds=0.1))
    blocked = held_back(first.records)
    first.log.start()
    first.log.add(batch("in flight"))
    until(lambda: first.records.asked > 0)
    first.log.add(batch("queued", 2))
    first.log.close()
    assert first.stored() == set()

    second = World(tmp_path)
    second.log.start()
    until(lambda: second.stored() == {"in flight", "queued"})
    second.log.close()
    blocked.set()
    assert second.count("bikeshare_prediction_log_dropped_total", reason="torn") == 0


def test_a_repeated_request_is_stored_once_and_counted(world: World) -> None:
    world.log.start()
    world.log.add(batch("same"))
    until(lambda: world.count("bikeshare_prediction_log_written_total") == 1)
    world.log.add(batch("same"))

    until(lambda: world.count("bikeshare_prediction_log_duplicates_total") == 1)


def test_a_row_that_the_database_refuses_for_good_does_not_cost_the_others(world: World) -> None:
    world.records.refused.add("poison")
    for name in ("a", "poison", "b", "c", "d"):
        world.log.add(batch(name, 3))
    world.log.start()

    until(lambda: world.stored() == {"a", "b", "c", "d"})
    until(lambda: world.log.queued_rows == 0)
    assert world.count("bikeshare_prediction_log_dropped_total", reason="rejected") == 3
    assert world.count("bikeshare_prediction_log_written_total") == 12
    assert world.count("bikeshare_prediction_log_duplicates_total") == 0


def test_a_database_that_refuses_everything_is_not_asked_for_every_row(world: World) -> None:
    world.records.refused.update(f"r{number}" for number in range(3_000))
    for number in range(3_000):
        world.log.add(batch(f"r{number}"))
    world.log.start()

    until(lambda: world.count("bikeshare_prediction_log_dropped_total", reason="rejected") == 3_000)
    assert world.records.asked < 300


def test_replaying_a_refused_row_does_not_stop_the_segment(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.spool.append([encode(line) for name in ("a", "poison", "b") for line in batch(name).lines()])
    world.spool.rotate()
    world.records.refused.add("poison")
    world.log.start()

    until(lambda: world.stored() == {"a", "b"})
    until(lambda: not world.spool.segments())
    world.log.close()
    assert world.count("bikeshare_prediction_log_dropped_total", reason="rejected") == 1


def test_a_torn_segment_gives_back_its_complete_lines(tmp_path: Path) -> None:
    left = Spool(tmp_path, 10**6)
    left.append([encode(line) for name in ("whole", "torn") for line in batch(name).lines()])
    left.rotate()
    segment = left.segments()[0]
    segment.write_bytes(segment.read_bytes()[:-30])

    world = World(tmp_path)
    world.log.start()
    until(lambda: world.stored() == {"whole"})
    until(lambda: not world.spool.segments())
    world.log.close()

    assert world.count("bikeshare_prediction_log_dropped_total", reason="torn") == 1
