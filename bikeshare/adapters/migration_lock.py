"""One migration at a time: Alembic keeps its context in module globals, and MLflow migrates SQLite without a lock."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_THIS_PROCESS = threading.RLock()


@contextmanager
def one_migration(file: Path | None = None) -> Iterator[None]:
    """Hold off every other migration of this process and, given the file of the database, of this machine.

    Args:
        file: A SQLite file in an existing folder; its lock file stands beside it. None for a server, whose migrations
            hold a lock of their own.
    """
    with _IN_THIS_PROCESS:
        if file is None:
            yield
            return
        with file.with_name(f"{file.name}.lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
