"""The snapshot follows the clock and the records, and survives when they do not answer."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from bikeshare.errors import Unavailable
from services.predictor.refresher import Refresher
from tests.fakes.clock import FixedClock

NOON = datetime(2012, 7, 2, 12)


class World:
    def __init__(self) -> None:
        self.clock = FixedClock(NOON)
        self.used: list[Any] = []
        self.failures = 0
        self.problem: Exception | None = None
        self.refresher = Refresher(
            build=self.build, fallback=lambda now: self.snapshot("empty", now), use=self.used.append,
            failed=self.failed, clock=self.clock, refresh_seconds=3600, retry_seconds=0.05,
        )

    def snapshot(self, kind: str, now: datetime) -> Any:
        return SimpleNamespace(kind=kind, now=now)

    def build(self, now: datetime) -> Any:
        if self.problem is not None:
            raise self.problem
        return self.snapshot("full", now)

    def failed(self) -> None:
        self.failures += 1


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.refresher.close()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_hour_is_followed_in_both_directions_and_minutes_are_not(world: World) -> None:
    world.refresher.start()
    until(lambda: len(world.used) == 1)
    world.clock.advance(hours=3)
    until(lambda: len(world.used) == 2)
    world.clock.advance(hours=-24)
    until(lambda: len(world.used) == 3)
    world.clock.advance(minutes=20)
    world.refresher.refresh()

    assert [snapshot.now.hour for snapshot in world.used] == [12, 15, 15, 15]
    assert [snapshot.now.minute for snapshot in world.used] == [0, 0, 0, 20]


@pytest.mark.parametrize("problem", [Unavailable("away"), ValueError("a bug")])
def test_a_failed_pass_keeps_the_old_snapshot_and_is_counted(world: World, problem: Exception) -> None:
    world.refresher.start()
    until(lambda: len(world.used) == 1)
    world.problem = problem
    world.clock.advance(hours=1)
    until(lambda: world.failures >= 1)
    assert [snapshot.now for snapshot in world.used] == [NOON]

    world.problem = None

    until(lambda: len(world.used) == 2)
    assert world.used[1].now == world.clock.now()


def test_without_a_first_success_answers_are_possible_without_history(world: World) -> None:
    world.problem = Unavailable("away")
    world.refresher.start()
    until(lambda: len(world.used) == 1)
    assert world.used[0].kind == "empty"

    world.problem = None

    until(lambda: world.used[-1].kind == "full")


def test_a_refresh_that_was_asked_for_tells_its_failure(world: World) -> None:
    world.problem = Unavailable("away")
    with pytest.raises(Unavailable):
        world.refresher.refresh()
