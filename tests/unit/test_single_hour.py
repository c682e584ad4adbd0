"""The answer for one hour is bit for bit the answer of a batch of one."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.forecasting import SOURCES, Snapshot
from bikeshare.core.grid import hour_number
from bikeshare.core.level import Level
from bikeshare.core.single_hour import SingleHour, SingleHours
from tests.unit.model_world import forecaster, observations

NOW = datetime(2011, 9, 14, 9)


def gaps() -> Snapshot:
    frame = observations()
    hour = frame["timestamp"].dt.hour
    return forecaster().snapshot(frame[(hour < 3) | (hour > 7)], NOW)


SNAPSHOTS = {
    "usual": forecaster().snapshot(observations(), NOW),
    "weather to come": forecaster().snapshot(observations(), datetime(2011, 9, 12, 23)),
    "missing hours": gaps(),
    "young": forecaster().snapshot(observations()[observations()["timestamp"] > NOW - timedelta(hours=40)], NOW),
    "empty": forecaster().snapshot(observations().iloc[:0], NOW),
}


def both(snapshot: Snapshot, row: SingleHour, now: datetime = NOW) -> tuple[tuple[object, ...], tuple[object, ...]]:
    one, = SingleHours(forecaster(), snapshot).predict([row], now)
    batch = WeatherBatch(
        np.array([row.hour], dtype="datetime64[h]"),
        *(np.array([value], dtype=np.float64) for value in row[1:]),
    )
    many = forecaster().predict(batch, snapshot, now)
    age = float(many.level_age_hours[0])
    expected = (
        many.demand[0], many.lower_80[0], many.upper_80[0], many.lower_95[0], many.upper_95[0], str(many.source[0]),
        bool(many.degraded[0]), None if age != age else age,
    )
    return expected, (*one[:5], SOURCES[one.rank], one.degraded, one.level_age_hours)


@pytest.mark.parametrize("name", SNAPSHOTS)
@settings(max_examples=40, deadline=None)
@given(
    place=st.integers(0, 119), temp=st.floats(-10, 40), feels=st.floats(-10, 40), humidity=st.floats(0, 100),
    wind=st.floats(0, 60), weather=st.integers(0, 3), decimals=st.sampled_from([0, 1, 2, 9]),
)
def test_equal_to_the_batch(
    name: str, place: int, temp: float, feels: float, humidity: float, wind: float, weather: int, decimals: int
) -> None:
    snapshot = SNAPSHOTS[name]
    numbers = (round(value, decimals) for value in (temp, feels, humidity, wind))

    expected, actual = both(snapshot, SingleHour(snapshot.start + place, *numbers, weather))

    assert expected == actual


@pytest.mark.parametrize("levels", [("stateless",), ("history",), ()])
@pytest.mark.parametrize("age_days", [0, 4, 400])
def test_equal_with_missing_and_old_levels(levels: tuple[str, ...], age_days: int) -> None:
    usual = SNAPSHOTS["usual"]
    snapshot = replace(usual, levels={
        forest: Level(1.3, NOW - timedelta(days=age_days), level.labelled_hours, "")
        for forest, level in usual.levels.items() if forest in levels
    })

    expected, actual = both(snapshot, SingleHour(hour_number(NOW), 21.0, 22.0, 60.0, 8.0, 0))

    assert expected == actual


def test_hours_outside_the_horizon_are_not_covered() -> None:
    snapshot = SNAPSHOTS["usual"]
    hours = SingleHours(forecaster(), snapshot)
    size = len(snapshot.base)
    assert [hours.covers(snapshot.start + place) for place in (-1, 0, size - 1, size)] == [False, True, True, False]


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_strangers_asked_together_are_answered_as_if_alone(name: str) -> None:
    snapshot = SNAPSHOTS[name]
    hours = SingleHours(forecaster(), snapshot)
    rows = [
        SingleHour(snapshot.start + place % 100, 5.0 + place, 6.0 + place, 50.0, float(place), place % 4)
        for place in (99, 3, 4, 3, 103, 50)
    ]

    assert hours.predict(rows, NOW) == [hours.predict([row], NOW)[0] for row in rows]
