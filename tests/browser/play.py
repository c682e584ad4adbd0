"""A short real play whose home the browser tests look at: four months of training, two weeks of service."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pandas as pd

from bikeshare.core import scenarios
from bikeshare.simulation.rehearsal import MONITOR_HOUR, Rehearsal
from bikeshare.simulation.world import World

TRAINED_FROM, START = datetime(2011, 5, 1), date(2011, 9, 1)
BROKEN, REPAIRED, CHANGED, END = date(2011, 9, 8), date(2011, 9, 9), date(2011, 9, 10), date(2011, 9, 14)
NOW = datetime.combine(END - timedelta(days=1), time()) + timedelta(hours=MONITOR_HOUR)


@contextmanager
def played(history: pd.DataFrame) -> Iterator[Rehearsal]:
    """Quiet days, one day in °F, a changed world that is retrained; the home lives as long as the context."""
    known = history[history["timestamp"] >= TRAINED_FROM].reset_index(drop=True)
    world = World.of(known)
    with Rehearsal(world, START, trees=6) as rehearsal:
        rehearsal.play(BROKEN)
        start, end = (datetime.combine(day, time()) for day in (BROKEN, REPAIRED))
        world.break_sensors(lambda frame: scenarios.fahrenheit(frame, start, end))
        rehearsal.play(REPAIRED)
        world.repair_sensors()
        changed = datetime.combine(CHANGED, time())
        world.change(lambda frame: scenarios.home_office(frame, changed, datetime(2013, 1, 1)))
        rehearsal.play(END)
        (rehearsal.home / "clock.txt").write_text(NOW.isoformat(), encoding="utf-8")
        yield rehearsal


def clock(home: Path) -> str:
    """The setting that lets other processes live at the end of the play."""
    return f"file:{home / 'clock.txt'}"
