"""Shape × level: how two forests and two levels become one number, now or in a replay of the past."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from bikeshare.core.calendar import WORKS, calendar_block
from bikeshare.core.features import N_HISTORY_BLOCK, assemble, weather_block
from bikeshare.core.grid import DAY, Floats, HourlyGrid, Hours, hour_number, moment_of
from bikeshare.core.history import HISTORY_DAYS, demand_history, fill_unlanded
from bikeshare.core.intervals import ROLLING_DAYS, Intervals, bins_of, needed_widths, rolling_widths
from bikeshare.core.level import FORESTS, Forest, Level, LevelPolicy, level_chain, trailing_ratio

Matrix = npt.NDArray[np.float32]
Landing = Literal["hourly", "daily"]
"""When labels land: each hour 24 h late (the protocol), or whole days at the midnight after that."""


class Shapes(Protocol):
    """Both forests as one function."""

    def __call__(self, matrix: Matrix) -> tuple[Floats, Floats]:
        """√shape of the stateless and of the history forest for a feature matrix of shape (n, 37)."""
        ...


@dataclass(frozen=True)
class Tail:
    """Out-of-bag predictions of the last training days; seed of the online level.

    Attributes:
        start: First hour (a midnight).
        demand: Actual demand per hour, NaN where there was no row.
        stateless: Shape × base of the stateless forest per hour, NaN where there was no row.
        history: The same of the history forest.
    """

    start: int
    demand: Floats
    stateless: Floats
    history: Floats


@dataclass(frozen=True)
class Replay:
    """A model run over past hours with the information rule.

    Attributes:
        hours: Replayed hours that have weather, shape (n,).
        demand: What happened, NaN where the label is missing.
        root: √ of the answer (mean, or the stateless forest where history is missing).
        stateless: Online stateless answer, bikes/h.
        history: Online history answer, bikes/h, NaN where it could not answer.
        frozen: Stateless answer with the level frozen in the artifact.
        root_level: √ of the stateless level of the row's day.
        bins: Interval bin of each row.
        levels: Level of each day from `first_day` on, by forest.
        first_day: Day number of the first level.
    """

    hours: Hours
    demand: Floats
    root: Floats
    stateless: Floats
    history: Floats
    frozen: Floats
    root_level: Floats
    bins: npt.NDArray[np.int64]
    levels: Mapping[Forest, list[Level]]
    first_day: int

    def widths(self, intervals: Intervals, days: npt.NDArray[np.int64]) -> Floats:
        """Rolling conformal factors as of midnight of each day number, shape (2, days)."""
        if not self.hours.size:
            return np.ones((2, days.size))
        with np.errstate(invalid="ignore"):
            residual = (np.sqrt(self.demand) - self.root) / self.root_level
        needed = needed_widths(intervals, residual, self.bins)
        bounds = np.searchsorted(self.hours, np.concatenate((days - 1 - ROLLING_DAYS, days - 1)) * DAY)
        low, high = bounds[: days.size], bounds[days.size:]
        return np.column_stack([
            rolling_widths(needed[:, a:b], (day - 1) - self.hours[a:b] / DAY)
            for day, a, b in zip(days, low, high, strict=True)
        ])


@dataclass(frozen=True)
class ShapeLevel:
    """What an artifact holds of the model.

    Attributes:
        shapes: Both forests.
        frozen_level: Level of each forest at the end of training.
        tail: Out-of-bag predictions of the last training days.
        intervals: Interval table.
        window: First training hour, and the first hour after training.
        policy: How the level follows demand.
    """

    shapes: Shapes
    frozen_level: Mapping[Forest, float]
    tail: Tail
    intervals: Intervals
    window: tuple[datetime, datetime]
    policy: LevelPolicy = field(default_factory=LevelPolicy)

    @property
    def first_day(self) -> int:
        """Day number of the first day (possibly partial) that has hours after training."""
        return hour_number(self.window[1]) // DAY

    def seed(self, forest: Forest) -> Level:
        """Level as of the first day after training, from out-of-bag predictions only."""
        actual, predicted = self.tail.demand.reshape(-1, DAY), getattr(self.tail, forest).reshape(-1, DAY)
        day = self.first_day - self.tail.start // DAY
        ratio, hours, newest = trailing_ratio(actual, predicted, day, self.policy.half_life_days(forest), self.policy)
        if not ratio > 0:
            return Level(self.frozen_level[forest], self.window[1], 0, "frozen at the end of training")
        return Level(ratio, moment_of(self.tail.start + (newest + 2) * DAY), hours, "seeded out of bag")

    def replay(self, grid: HourlyGrid, end_day: int, landing: Landing = "hourly") -> Replay:
        """Run over every hour after training that has weather, up to midnight of day number `end_day`.

        Level and interval width are refreshed daily as of midnight; history is read as of t - 24 h.
        """
        start = hour_number(self.window[1])
        first_day, end = self.first_day, max(end_day, self.first_day + 1) * DAY
        around = grid.covering(min(self.tail.start, start - (HISTORY_DAYS + 2) * DAY), end + DAY)
        place = np.arange(start, end) - around.start
        place = place[~np.isnan(around.weather[place]).any(axis=1)]
        calendar = calendar_block(around.hours, around.holiday)
        base, ratios = self._history(around, calendar[:, WORKS], place, landing)
        weather, weather_history = weather_block(around.weather, place)
        matrix = assemble(calendar[place], weather, ratios, weather_history)
        root_shape, root_ratio = self.shapes(matrix) if place.size else (np.empty(0), np.empty(0))
        shape = {"stateless": root_shape**2, "history": root_ratio**2 * base}
        levels = {
            forest: self._chain(forest, around, place, shape[forest], max(end_day, first_day) + 1) for forest in FORESTS
        }
        hours = around.start + place
        day = hours // DAY - first_day
        stateless, ratio = (np.array([item.level for item in levels[forest]]) for forest in FORESTS)
        root_level = np.sqrt(stateless[day])
        first, second = root_shape * root_level, np.sqrt(shape["history"] * ratio[day])
        return Replay(
            hours, around.demand[place], np.where(np.isnan(second), first, (first + second) / 2), first**2, second**2,
            shape["stateless"] * self.frozen_level["stateless"], root_level,
            bins_of(matrix[:, 0], matrix[:, WORKS], around.weather[place, 4]), levels, first_day,
        )

    def _history(
        self, grid: HourlyGrid, works: Floats, place: npt.NDArray[np.int64], landing: Landing
    ) -> tuple[Floats, Floats]:
        if landing == "hourly":
            history = demand_history(grid.demand, grid.weather, works, place)
            return history.base, history.block
        base, ratios = np.empty(place.size), np.empty((place.size, N_HISTORY_BLOCK))
        for day in np.unique(place // DAY):
            today = place // DAY == day
            landed = int(day - 1) * DAY
            known = grid.demand.copy()
            known[landed:] = np.nan
            filled = fill_unlanded(known, grid.weather, works, landed, landed + DAY)
            history = demand_history(filled, grid.weather, works, place[today])
            base[today], ratios[today] = history.base, history.block
        return base, ratios

    def _chain(
        self, forest: Forest, grid: HourlyGrid, place: npt.NDArray[np.int64], shape: Floats, end_day: int
    ) -> list[Level]:
        predicted, actual = np.full(len(grid), np.nan), grid.demand.copy()
        old = slice(self.tail.start - grid.start, self.tail.start - grid.start + self.tail.demand.size)
        predicted[old], actual[old] = getattr(self.tail, forest), self.tail.demand
        new = place[grid.start + place >= hour_number(self.window[1])]
        predicted[new], actual[new] = shape, grid.demand[new]
        return level_chain(
            self.seed(forest), actual.reshape(-1, DAY), predicted.reshape(-1, DAY), grid.start // DAY, self.first_day,
            end_day, self.policy.half_life_days(forest), self.policy,
        )
