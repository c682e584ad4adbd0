"""Where predictions wait on disk while the database is away or too slow.

One open segment per process (`*.open`, locked), closed segments (`*.lines`) that anybody may replay: inserting a
prediction twice does nothing, so two processes replaying the same segment only waste time. A segment is the text of
`core.prediction_lines`, handed on without being read; lines are complete or they do not count, and a process killed
in the middle of a write leaves at most one torn line. Versions before that text wrote JSON (`*.jsonl`); what they
left is replayed too.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from bikeshare.core.prediction_lines import encode, is_whole, line_of

SEGMENT_BYTES = 4 * 1024 * 1024
"""A segment is closed beyond this, about 17,000 rows, so that space comes free again while a replay runs."""

PART_BYTES = 16 * 1024
"""Read at once from a segment: about 70 rows, a fraction of a millisecond under the interpreter's lock."""

_CLOSED = (".lines", ".jsonl")


class SpoolFull(Exception):
    """The limit, or the disk, is reached; the rows were not kept."""


class Part(NamedTuple):
    """Some lines of a segment.

    Attributes:
        lines: Whole lines, one after the other.
        rows: How many.
        torn: Lines that are not whole, left out.
    """

    lines: bytes
    rows: int
    torn: int


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
    def used_bytes(self) -> int:
        """Bytes on disk, of all processes."""
        total = 0
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    total += entry.stat().st_size
        return total

    @property
    def holds_open_rows(self) -> bool:
        """Whether this process wrote rows that are not in a closed segment yet."""
        return self._open_bytes > 0

    def append(self, parts: Sequence[bytes]) -> None:
        """Keep whole lines: they are on disk when this returns. Raises SpoolFull, then none of them is kept."""
        data = b"".join(parts)
        try:
            self._restore()
            used = self.used_bytes
            if used + len(data) > self._max_bytes:
                raise SpoolFull(f"{used} of {self._max_bytes} bytes are used; raise BIKESHARE_SPOOL_MAX_BYTES")
            if self._file is None:
                self._file, self._open_path = self._create()
            _write(self._file, data)
        except OSError as error:
            self._truncate()
            raise SpoolFull(f"the disk under {self._folder} refused the write: {error}") from error
        self._open_bytes += len(data)
        if self._open_bytes >= SEGMENT_BYTES:
            with suppress(OSError):  # the rows are on disk; the next batch, or the replay, tries again
                self.rotate()

    def rotate(self) -> None:
        """Close the open segment so that it can be replayed; raises OSError, then no row is lost."""
        if self._open_bytes:
            self._restore()
        file, path, size = self._file, self._open_path, self._open_bytes
        if file is None or path is None:
            return
        if size:
            path.rename(path.with_suffix(".lines"))
        else:
            path.unlink(missing_ok=True)
        # Whatever fails from here on: others may read and remove this segment, so nothing is added to it.
        self._file, self._open_path, self._open_bytes = None, None, 0
        file.close()
        if size:
            _sync_folder(self._folder)

    def segments(self) -> list[Path]:
        """Closed segments, oldest first."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            return [self._folder / name for name in sorted(e.name for e in entries) if name.endswith(_CLOSED)]
        return []

    @staticmethod
    def read(segment: Path) -> Iterator[Part]:
        """A segment in parts; nothing when somebody else finished it."""
        with suppress(FileNotFoundError), segment.open("rb") as file:
            while lines := file.readlines(PART_BYTES):
                whole = [line for line in lines if is_whole(line)]
                if len(whole) < len(lines):
                    whole = [line for line in map(_whole, lines) if line]
                yield Part(b"".join(whole), len(whole), len(lines) - len(whole))

    @staticmethod
    def remove(segment: Path) -> None:
        """Forget a replayed segment."""
        segment.unlink(missing_ok=True)

    def _create(self) -> tuple[FileIO, Path]:
        """A new segment, locked."""
        self._sequence += 1
        path = self._folder / f"{time.time_ns():020d}-{os.getpid()}-{self._sequence:06d}.open"
        file = FileIO(path, "a+b")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sync_folder(self._folder)
        return file, path

    def _restore(self) -> None:
        """Put back the folder and the open segment when somebody removed them: its rows are still to be had."""
        self._folder.mkdir(parents=True, exist_ok=True)
        removed = self._file
        if removed is None or self._open_path is None or self._open_path.exists():
            return
        file, path = self._create()
        try:
            _write(file, os.pread(removed.fileno(), self._open_bytes, 0))
        except OSError:
            file.close()
            path.unlink(missing_ok=True)
            raise
        self._file, self._open_path = file, path
        removed.close()

    def _truncate(self) -> None:
        """Take back a half-written batch, so that the next one starts on a fresh line."""
        if self._file is None:
            return
        try:
            self._file.truncate(self._open_bytes)
        except OSError:  # a torn line may only be the last of a segment
            with suppress(OSError):
                self.rotate()

    def _adopt(self) -> None:
        """Close segments whose writer died: its lock is gone."""
        for path in self._folder.glob("*.open"):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.rename(path.with_suffix(".lines"))


def _whole(line: bytes) -> bytes | None:
    """The line; written again when an earlier version wrote it as JSON; None when it is torn."""
    if is_whole(line):
        return line
    try:
        values = json.loads(line)
        for name in ("predicted_at", "timestamp"):
            values[name] = datetime.fromisoformat(values[name])
        return encode(line_of(**values))
    except (ValueError, TypeError, KeyError):
        return None


def _write(file: FileIO, data: bytes) -> None:
    if file.write(data) != len(data):
        raise OSError("short write")
    os.fdatasync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
