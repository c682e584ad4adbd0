"""Where time comes from: the machine, or a file that the demo and the replay move."""

from datetime import datetime
from pathlib import Path

from bikeshare.errors import ConfigurationError, Unavailable


class SystemClock:
    """The machine's local time, naive."""

    def now(self) -> datetime:
        """The current local time."""
        return datetime.now()


class FileClock:
    """A virtual clock kept in a text file as one ISO time, shared by several processes."""

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._seen: tuple[tuple[int, int, int], datetime] | None = None

    def now(self) -> datetime:
        """The time in the file; Unavailable when it is absent, ConfigurationError when it holds no time."""
        try:
            status = self._path.stat()
            # `set` replaces the file, so another time is another inode; asked once per request, reading costs 30 µs.
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
            seen = self._seen
            if seen is not None and seen[0] == state:
                return seen[1]
            text = self._path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unavailable(f"cannot read the clock file {self._path}: {error.strerror}") from error
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigurationError(f"the clock file {self._path} holds {text!r}: expected one ISO time") from error
        if moment.tzinfo is not None:
            raise ConfigurationError(f"the clock file {self._path} holds {text!r}: expected a naive local time")
        self._seen = state, moment
        return moment

    def set(self, moment: datetime) -> None:
        """Move the clock; readers see the old time or the new one, never half of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.new")
        temporary.write_text(moment.isoformat(), encoding="utf-8")
        temporary.replace(self._path)
