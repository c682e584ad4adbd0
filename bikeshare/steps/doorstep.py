"""What every pipeline task does first: which run is this, what time is it, where do progress lines go."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bikeshare.errors import ConfigurationError
from bikeshare.ports import Clock

Progress = Callable[[str], None]
"""Receives one line per stage."""

MARK = "»"
"""Starts a progress line in a run's log, so that it can be told from the engine's own output."""


@dataclass(frozen=True)
class ThisRun:
    """Key of the run and the time on its clock."""

    key: str
    now: datetime


def this_run(run_key: str, job: str, now: str, clock: Clock) -> ThisRun:
    """Fill in what a scheduled run does not know when it is scheduled.

    Args:
        run_key: Key given by whoever started the run; empty for scheduled runs.
        job: Unique name that the pipeline engine gave the run.
        now: ISO time of the run; empty: the clock's.
        clock: The time, when none was given.
    """
    given = moment(now)
    return ThisRun(run_key or job, clock.now() if given is None else given)


def moment(text: str) -> datetime | None:
    """A naive local time from a pipeline parameter; None when it is empty."""
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not an ISO time: write 2012-01-31T12:00:00") from error
    if value.tzinfo is not None:
        raise ConfigurationError(f"{text!r} has a time zone: give naive local time, 2012-01-31T12:00:00")
    return value


def quiet(_line: str) -> None:
    """Nobody listens to the progress."""


def say(line: str) -> None:
    """One progress line to the task's log."""
    sys.stdout.write(f"{MARK} {line}\n")
    sys.stdout.flush()


def wall_time() -> datetime:
    """Wall-clock time for leases, which must run out also when the world's clock stands still."""
    return datetime.now()


def path_of(location: str) -> Path:
    """A path handed over by the pipeline engine; its folder exists."""
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
