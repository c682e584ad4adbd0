"""The disk behind the prediction log: complete, bounded, adoptable."""

import errno
import json
import multiprocessing
import shutil
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bikeshare.core.prediction_lines import encode, fields_of, line_of
from bikeshare.ports import PredictionRow
from services.predictor.spool import PART_BYTES, Spool, SpoolFull

NOON = datetime(2012, 7, 2, 12)


def rows(count: int, request_id: str = "r") -> list[PredictionRow]:
    first = PredictionRow(
        request_id=request_id, position=0, predicted_at=NOON, model_version="3", timestamp=NOON, temp_c=20.1,
        feels_like_c=20.0, humidity_pct=50.0, windspeed_kmh=3.5, weather="mist", is_holiday=False,
        features_hash="00ff", demand=100.5, lower_80=80.0, upper_80=120.0, lower_95=60.0, upper_95=150.0,
        source="mean", degraded=False, level_age_hours=None,
    )
    return [first._replace(position=place, timestamp=NOON + timedelta(hours=place)) for place in range(count)]


def lines(count: int, request_id: str = "r") -> list[bytes]:
    return [encode(line_of(*row)) for row in rows(count, request_id)]


def read(spool: Spool, segment: Path) -> tuple[list[PredictionRow], int]:
    parts = list(spool.read(segment))
    found = [PredictionRow(*fields_of(line)) for part in parts for line in part.lines.splitlines()]
    assert len(found) == sum(part.rows for part in parts)
    return found, sum(part.torn for part in parts)


def kept(spool: Spool) -> list[PredictionRow]:
    return [row for segment in spool.segments() for row in read(spool, segment)[0]]


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(3))
    spool.append(lines(2, "s"))
    assert spool.segments() == []
    assert spool.holds_open_rows

    spool.rotate()

    assert kept(spool) == rows(3) + rows(2, "s")
    assert not spool.holds_open_rows


def test_segments_are_replayed_oldest_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    for name in ("a", "b", "c"):
        spool.append(lines(1, name))
        spool.rotate()

    assert [row.request_id for row in kept(spool)] == ["a", "b", "c"]


def test_the_limit_refuses_and_keeps_what_was_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    spool.append(lines(2))
    with pytest.raises(SpoolFull, match="BIKESHARE_SPOOL_MAX_BYTES"):
        spool.append(lines(20, "too many"))
    spool.rotate()

    assert kept(spool) == rows(2)
    assert spool.used_bytes <= 1_000


def test_space_is_free_again_after_a_replay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 800)
    spool.append(lines(4))
    with pytest.raises(SpoolFull):
        spool.append(lines(4, "s"))
    spool.rotate()
    spool.remove(spool.segments()[0])

    spool.append(lines(4, "s"))
    spool.rotate()

    assert kept(spool) == rows(4, "s")


def test_a_full_disk_takes_back_the_half_written_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(1, "before"))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("services.predictor.spool.os.fdatasync", full)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(lines(1, "lost"))
    spool.append(lines(1, "after"))
    spool.rotate()

    assert [row.request_id for row in kept(spool)] == ["before", "after"]


def test_a_torn_line_is_counted_and_costs_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(3))
    spool.rotate()
    segment = spool.segments()[0]
    segment.write_bytes(segment.read_bytes()[:-40])

    found, torn = read(spool, segment)

    assert (found, torn) == (rows(2), 1)


def test_a_segment_that_somebody_else_finished_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)

    assert list(spool.read(tmp_path / "gone.lines")) == []


def _write_and_wait(folder: Path, connection: Connection) -> None:
    Spool(folder, 10**6).append(lines(2, "killed"))
    spool = Spool(folder, 10**6)
    spool.append(lines(2, "killed too"))
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


def test_a_segment_is_handed_on_in_parts_that_end_with_a_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**7)
    spool.append(lines(1_000))
    spool.rotate()

    parts = list(spool.read(spool.segments()[0]))

    assert len(parts) > 5
    assert all(part.lines.endswith(b"\n") and len(part.lines) < 2 * PART_BYTES for part in parts)
    assert b"".join(part.lines for part in parts) == b"".join(lines(1_000))


def test_a_cut_in_any_place_of_the_last_line_is_a_torn_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(2))
    spool.rotate()
    segment = spool.segments()[0]
    whole = segment.read_bytes()
    last = len(lines(1)[0])
    for cut in range(1, last):
        segment.write_bytes(whole[:-cut])

        assert read(spool, segment) == (rows(1), 1)


def test_what_an_earlier_version_left_as_json_is_replayed_before_what_came_later(tmp_path: Path) -> None:
    old = [json.dumps(row._asdict(), default=datetime.isoformat) for row in rows(2, "old")]
    (tmp_path / "00000000000000000001-7-000001.jsonl").write_text("\n".join([*old, old[0][:-30]]))
    (tmp_path / "00000000000000000002-7-000002.open").write_text(old[1] + "\n")
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(1, "new"))
    spool.rotate()

    assert [read(spool, segment) for segment in spool.segments()] == [
        (rows(2, "old"), 1), (rows(2, "old")[1:], 0), (rows(1, "new"), 0),
    ]


def test_a_removed_folder_comes_back_with_the_rows_of_the_open_segment(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 10**6)
    spool.append(lines(2, "before"))
    shutil.rmtree(tmp_path / "spool")
    assert (spool.segments(), spool.used_bytes) == ([], 0)

    spool.append(lines(1, "after"))
    shutil.rmtree(tmp_path / "spool")
    spool.rotate()

    assert kept(spool) == rows(2, "before") + rows(1, "after")
    assert not spool.holds_open_rows


def test_a_folder_that_cannot_be_read_refuses_and_gives_back_nothing_twice(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, 10**6)
    spool.append(lines(2, "before"))
    shutil.rmtree(folder)
    folder.write_text("a file where the folder belongs")
    for _ in range(2):
        with pytest.raises(SpoolFull, match="refused the write"):
            spool.append(lines(1, "lost"))
    folder.unlink()

    spool.append(lines(1, "after"))
    spool.rotate()

    assert kept(spool) == rows(2, "before") + rows(1, "after")


def test_rows_on_disk_are_kept_when_their_segment_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.predictor.spool.SEGMENT_BYTES", 2 * len(lines(1)[0]))
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(1, "a"))
    in_the_way = next(tmp_path.glob("*.open")).with_suffix(".lines")
    in_the_way.mkdir()

    spool.append(lines(2, "b"))

    assert spool.holds_open_rows
    in_the_way.rmdir()
    spool.append(lines(1, "c"))
    assert kept(spool) == rows(1, "a") + rows(2, "b") + rows(1, "c")


def test_a_closed_segment_is_not_written_to_when_its_name_may_not_survive_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, 10**6)
    spool.append(lines(1, "a"))

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("services.predictor.spool.os.fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            spool.rotate()
    closed = spool.segments()
    spool.append(lines(1, "b"))

    assert [read(spool, segment)[0] for segment in closed] == [rows(1, "a")]
    spool.rotate()
    assert kept(spool) == rows(1, "a") + rows(1, "b")
