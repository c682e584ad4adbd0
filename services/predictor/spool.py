"""Where predictions wait on disk while the database is away.

One open segment per process (`*.open`, locked), closed segments (`*.jsonl`) that anybody may replay: inserting a
prediction twice does nothing, so two processes replaying the same segment only waste time. Lines are complete
or they do not count; a process killed in the middle of a write leaves at most one torn line.
"""

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path

from bikeshare.ports import PredictionRow

SEGMENT_BYTES = 4 * 1024 * 1024
"""A closed segment is replayed as one transaction of about 10,000 rows."""


class SpoolFull(Exception):
    """The limit, or the disk, is reached; the rows were not kept."""


class Spool:
    """A bounded folder of segments; used by one thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._file: FileIO | None = None
        self._open_path: Path | None = None
        self._open_bytes = 0
        self._sequence = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._adopt()

    @property
    def bytes(self) -> int:
        """Bytes on disk, of all processes."""
        total = 0
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    @property
    def holds_open_rows(self) -> bool:
        """Whether this process wrote rows that are not in a closed segment yet."""
        return self._open_bytes > 0

    def append(self, rows: Sequence[PredictionRow]) -> None:
        """Keep rows: they are on disk when this returns. Raises SpoolFull."""
        data = b"".join(_encode(row) for row in rows)
        used = self.bytes
        if used + len(data) > self._max_bytes:
            raise SpoolFull(f"{used} of {self._max_bytes} bytes are used; raise BIKESHARE_SPOOL_MAX_BYTES")
        try:
            file = self._file or self._open()
            if file.write(data) != len(data):
                raise OSError("short write")
            os.fsync(file.fileno())
        except OSError as error:
            self._truncate()
            raise SpoolFull(f"the disk under {self._folder} refused the write: {error}") from error
        self._open_bytes += len(data)
        if self._open_bytes >= SEGMENT_BYTES:
            self.rotate()

    def rotate(self) -> None:
        """Close the open segment so that it can be replayed."""
        if self._file is None or self._open_path is None:
            return
        if self._open_bytes:
            self._open_path.rename(self._open_path.with_suffix(".jsonl"))
            _sync_folder(self._folder)
        else:
            self._open_path.unlink(missing_ok=True)
        self._file.close()
        self._file, self._open_path, self._open_bytes = None, None, 0

    def segments(self) -> list[Path]:
        """Closed segments, oldest first."""
        return sorted(self._folder.glob("*.jsonl"))

    @staticmethod
    def read(segment: Path) -> tuple[list[PredictionRow], int]:
        """Rows of a segment and the number of lines that are torn; empty when somebody else finished it."""
        rows: list[PredictionRow] = []
        torn = 0
        try:
            lines = segment.read_bytes().split(b"\n")
        except FileNotFoundError:
            return [], 0
        for line in lines:
            if not line:
                continue
            try:
                rows.append(_decode(line))
            except (ValueError, TypeError, KeyError):
                torn += 1
        return rows, torn

    @staticmethod
    def remove(segment: Path) -> None:
        """Forget a replayed segment."""
        segment.unlink(missing_ok=True)

    def _open(self) -> FileIO:
        self._sequence += 1
        path = self._folder / f"{time.time_ns():020d}-{os.getpid()}-{self._sequence:06d}.open"
        file = FileIO(path, "ab")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(self._folder)
        self._file, self._open_path, self._open_bytes = file, path, 0
        return file

    def _truncate(self) -> None:
        """Take back a half-written batch, so that the next one starts on a fresh line."""
        if self._file is not None:
            with suppress(OSError):
                self._file.truncate(self._open_bytes)

    def _adopt(self) -> None:
        """Close segments whose writer died: its lock is gone."""
        for path in self._folder.glob("*.open"):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(path.with_suffix(".jsonl"))


def _encode(row: PredictionRow) -> bytes:
    values = row._asdict()
    values["predicted_at"] = row.predicted_at.isoformat()
    values["timestamp"] = row.timestamp.isoformat()
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _decode(line: bytes) -> PredictionRow:
    values = json.loads(line)
    values["predicted_at"] = datetime.fromisoformat(values["predicted_at"])
    values["timestamp"] = datetime.fromisoformat(values["timestamp"])
    return PredictionRow(**values)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
