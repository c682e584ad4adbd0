"""The world of a play: reality, what sensors say about it, and what is delivered."""

from datetime import date, datetime

import pandas as pd

from bikeshare.core import scenarios
from bikeshare.simulation.world import World, days

DAY, NEXT = date(2012, 1, 20), date(2012, 1, 21)
START, END = datetime(2012, 1, 20), datetime(2012, 1, 21)


def test_broken_sensors_change_the_feed_and_not_reality(history: pd.DataFrame) -> None:
    world = World.of(history)
    world.break_sensors(lambda frame: scenarios.fahrenheit(frame, START, END))

    assert world.observed(DAY)["temp_c"].mean() > world.truth(DAY, NEXT)["temp_c"].mean() + 20
    world.repair_sensors()
    pd.testing.assert_frame_equal(world.observed(DAY), world.truth(DAY, NEXT))


def test_a_changed_world_changes_both(history: pd.DataFrame) -> None:
    world = World.of(history)
    before = world.truth(DAY, NEXT)["demand"].sum()
    world.change(lambda frame: scenarios.demand_scaled(frame, START, END, 2.0))

    assert world.truth(DAY, NEXT)["demand"].sum() == 2 * before
    assert world.observed(DAY)["demand"].sum() == 2 * before


def test_a_forecast_request_never_holds_the_answer(history: pd.DataFrame) -> None:
    forecast = World.of(history).forecast(DAY)

    assert not {"casual", "registered", "demand"} & set(forecast.columns)
    assert len(forecast) == 24


def test_days_are_half_open() -> None:
    assert days(date(2012, 2, 28), date(2012, 3, 1)) == [date(2012, 2, 28), date(2012, 2, 29)]
    assert days(DAY, DAY) == []
