"""The loop, played through doors that every profile has: first model, a changed world, drift, retrain, and back.

`tests/e2e` plays it on a cluster, `tests/integration/test_play.py` on this machine: what the play expects is the same.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any, Protocol

import pandas as pd

from bikeshare.core.moving import moved
from bikeshare.core.scenarios import home_office

CHANGED_DAYS = 7
"""The world changes this many days before today; the API answers no earlier hours."""

WEATHER = ["timestamp", "temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh", "weather", "is_holiday"]


class Door(Protocol):
    """How the play reaches a running system."""

    def land(self, frame: pd.DataFrame) -> None:
        """Deliver observations."""

    def command(self, *arguments: str) -> str:
        """Run a `bikeshare` command where the system runs; its standard output."""

    def look(self) -> dict[str, Any]:
        """Let the monitor look once; its decision."""

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Ask the live API."""

    def model_version(self) -> str | None:
        """The version that answers, None when none does."""


@dataclass(frozen=True)
class Played:
    """What the play saw."""

    first: str
    decisions: list[dict[str, Any]]
    run: dict[str, Any]
    second: str | None
    restored: str | None


def play(door: Door, history: pd.DataFrame, now: datetime, say: Callable[[str], None] = print) -> Played:
    """Play everything; the caller judges what came of it."""
    today = now.date()
    world = moved(history, today)
    changed = datetime.combine(today - timedelta(days=CHANGED_DAYS), clock_time())
    say(f"landing {len(world):,} hours until {changed:%Y-%m-%d}")
    door.land(world[world["timestamp"] < changed])
    say("training the first model")
    started = json.loads(door.command("pipeline", "run", "--reason", "first", "--run-key", f"first-{now:%Y%m%dT%H%M%S}",
                                      "--json"))
    outcome = started.get("outcome", {})
    say(f"{started['status']}: {outcome.get('reason')}")
    assert outcome.get("result") == "promoted", started
    first = wait_for(door.model_version, lambda version: version is not None)
    say(f"version {first} answers; asking it for the past {CHANGED_DAYS} days")
    asked = world[(world["timestamp"] >= changed + timedelta(hours=now.hour + 1))]
    ask(door, asked)
    say("the truth arrives from a world in which most commuters stay at home")
    # The gate judges the newest two days, whichever they are: the change must show on all of them.
    different = home_office(world, changed, datetime.combine(today, clock_time()), share=0.9, every_day=True)
    decisions: list[dict[str, Any]] = []
    arrived = today - timedelta(days=CHANGED_DAYS)
    # Decay is confirmed on two labelled days.
    for until in (today - timedelta(days=2), today - timedelta(days=1)):
        door.land(_between(different, arrived, until))
        arrived = until
        decisions.append(door.look())
        say(f"monitor: {decisions[-1]['state']}: {decisions[-1]['action']}: {decisions[-1]['reason']}")
        if decisions[-1]["action"] == "retrain":
            break
    run = follow(door, decisions[-1]["run_key"]) if decisions[-1]["action"] == "retrain" else {}
    say(f"run: {run}")
    second = door.model_version()
    restored = None
    if second != first:
        say(f"version {second} answers; going back")
        door.command("registry", "rollback")
        restored = wait_for(door.model_version, lambda version: version == first)
    return Played(str(first), decisions, run, second, restored)


def ask(door: Door, rows: pd.DataFrame) -> None:
    """Predict a day at a time, as clients do."""
    for _, day in rows[WEATHER].groupby(rows["timestamp"].dt.date):
        door.predict([
            {**row, "timestamp": row["timestamp"].isoformat(), "is_holiday": bool(row["is_holiday"])}
            for row in day.to_dict("records")
        ])


def follow(door: Door, run_key: str, seconds: float = 1800) -> dict[str, Any]:
    """Wait for a run that the monitor has started."""
    return wait_for(
        lambda: json.loads(door.command("pipeline", "status", run_key, "--json")),
        lambda run: run["status"] in ("succeeded", "failed"), seconds=seconds, pause=5,
    )


def wait_for(look: Callable[[], Any], good: Callable[[Any], bool], *, seconds: float = 300, pause: float = 1) -> Any:
    """Poll until what is seen is good; the last sight when it never is."""
    end = time.monotonic() + seconds
    while not good(seen := look()) and time.monotonic() < end:
        time.sleep(pause)
    return seen


def _between(frame: pd.DataFrame, start: date, end: date) -> pd.DataFrame:
    hours = frame["timestamp"]
    return frame[(hours >= datetime.combine(start, clock_time())) & (hours < datetime.combine(end, clock_time()))]
