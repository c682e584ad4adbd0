"""The disk behind the prediction log: complete, bounded, adoptable."""

import errno
import multiprocessing
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bikeshare.ports import PredictionRow
from services.predictor.spool import Spool, SpoolFull

NOON = datetime(2012, 7, 2, 12)


def rows(count: int, request_id: str = "r") -> list[PredictionRow]:
    first = PredictionRow(
        request_id=request_id, position=0, predicted_at=NOON, model_version="3", timestamp=NOON, temp_c=20.1,
        feels_like_c=20.0, humidity_pct=50.0, windspeed_kmh=3.5, weather="mist", is_holiday=False,
        features_hash="00ff", demand=100.5, lower_80=80.0, upper_80=120.0, lower_95=60.0, upper_95=150.0,
        source="mean", degraded=False, level_age_hours=None,
    )
    return [first._replace(position=place, timestamp=NOON + timedelta(hours=place)) for place in range(count)]


def kept(spool: Spool) -> list[PredictionRow]:
    return [row for segment in spool.segments() for row in spool.read(segment)[0]]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(rows(3))
    spool.append(rows(2, "s"))
    assert spool.segments() == []
    assert spool.holds_open_rows

    spool.rotate()

    assert kept(spool) == rows(3) + rows(2, "s")
    assert not spool.holds_open_rows


def test_segments_are_replayed_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    for name in ("a", "b", "c"):
        spool.append(rows(1, name))
        spool.rotate()

    assert [row.request_id for row in kept(spool)] == ["a", "b", "c"]


def test_the_limit_refuses_and_keeps_what_was_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2_000)
    spool.append(rows(2))
    with pytest.raises(SpoolFull, match="BIKESHARE_SPOOL_MAX_BYTES"):
        spool.append(rows(20, "too many"))
    spool.rotate()

    assert kept(spool) == rows(2)
    assert spool.bytes <= 2_000


def test_space_is_free_again_after_a_replay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 2_000)
    spool.append(rows(4))
    with pytest.raises(SpoolFull):
        spool.append(rows(4, "s"))
    spool.rotate()
    spool.remove(spool.segments()[0])

    spool.append(rows(4, "s"))
    spool.rotate()

    assert kept(spool) == rows(4, "s")


def test_a_full_disk_takes_back_the_half_written_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(rows(1, "before"))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("services.predictor.spool.os.fsync", full)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(rows(1, "lost"))
    spool.append(rows(1, "after"))
    spool.rotate()

    assert [row.request_id for row in kept(spool)] == ["before", "after"]


def test_a_torn_line_is_counted_and_costs_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(rows(3))
    spool.rotate()
    segment = spool.segments()[0]
    segment.write_bytes(segment.read_bytes()[:-40])

    found, torn = spool.read(segment)

    assert (found, torn) == (rows(2), 1)


def test_a_segment_that_somebody_else_finished_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)

    assert spool.read(tmp_path / "gone.jsonl") == ([], 0)


def _write_and_wait(folder: Path, connection: Connection) -> None:
    Spool(folder, 10**6).append(rows(2, "killed"))
    spool = Spool(folder, 10**6)
    spool.append(rows(2, "killed too"))
    connection.send("written")
    connection.recv()


def test_segments_of_a_killed_process_are_adopted_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    writer = multiprocessing.get_context("fork").Process(target=_write_and_wait, args=(tmp_path, theirs))
    writer.start()
    assert ours.recv() == "written"
    alive = Spool(tmp_path, 10**6)
    assert "killed too" not in {row.request_id for row in kept(alive)}

    writer.kill()
    writer.join()
    heir = Spool(tmp_path, 10**6)

    assert {row.request_id for row in kept(heir)} == {"killed", "killed too"}
