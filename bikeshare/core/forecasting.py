"""Forecasts: two shapes, two levels, one answer with its band, by one code path for live requests and backtests.

A snapshot holds, per hour of its horizon, everything that does not depend on the request; answering is then a
few numpy operations and one call of the forests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.calendar import WORKS, calendar_block
from bikeshare.core.features import LABEL_DELAY_HOURS, N_HISTORY_BLOCK, N_WEATHER_BLOCK, assemble, weather_block
from bikeshare.core.grid import DAY, Floats, HourlyGrid, grid_of, hour_number, moment_of
from bikeshare.core.history import HISTORY_DAYS, demand_history, fill_unlanded
from bikeshare.core.intervals import ROLLING_DAYS, bins_of
from bikeshare.core.level import FORESTS, Forest, Level
from bikeshare.core.shape_level import Landing, Matrix, Replay, ShapeLevel, Shapes
from bikeshare.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from bikeshare.core.training import TrainedModel

SOURCES = ("mean", "stateless_online", "stateless_frozen")
"""What answered, best first."""

HORIZON_DAYS = 5
"""Days of a snapshot: yesterday, today and three more; a 48-hour forecast fits at any hour of the day."""

LOOKBACK_DAYS = HISTORY_DAYS + ROLLING_DAYS + 7
"""Days of observations before now that a snapshot makes full use of (plus those since training, for the level)."""

MAX_UNLANDED_DAYS = 4
"""Hours further than this beyond the last label + 24 h: the history forest does not answer."""

_MAX_SPAN_HOURS = 3 * 366 * DAY
_SOURCE_NAMES = np.array(SOURCES)


@dataclass(frozen=True)
class Snapshot:
    """The state of the world as of one moment: arrays by hour of the horizon [start, start + h).

    Attributes:
        as_of: When it was taken.
        labels_until: First hour without a landed label after the newest one, None without any label.
        start: First hour of the horizon; a midnight.
        calendar: Calendar features, shape (h, 13).
        base: Seasonal-naive demand, bikes/h, shape (h,), NaN where the history forest cannot answer.
        history: History features, shape (h, 10).
        weather_start: First hour of `weather`; a midnight.
        weather: Known weather around the horizon, shape (n, 5), NaN where unknown.
        levels: Online level by forest; empty when there is none.
        widths: Rolling conformal factors of the 80 % and 95 % interval, shape (2, 1).
    """

    as_of: datetime
    labels_until: datetime | None
    start: int
    calendar: Floats
    base: Floats
    history: Floats
    weather_start: int
    weather: Floats
    levels: Mapping[Forest, Level]
    widths: Floats


@dataclass(frozen=True)
class Forecast:
    """Answers of one batch, arrays of shape (n,).

    Attributes:
        demand: Expected bikes per hour.
        lower_80: Lower end of the 80 % interval.
        upper_80: Upper end of the 80 % interval.
        lower_95: Lower end of the 95 % interval.
        upper_95: Upper end of the 95 % interval.
        source: One of `SOURCES`.
        degraded: Whether something was missing or stale.
        level_age_hours: Hours since the level's newest labels became available, NaN for the frozen one.
    """

    demand: Floats
    lower_80: Floats
    upper_80: Floats
    lower_95: Floats
    upper_95: Floats
    source: npt.NDArray[np.str_]
    degraded: npt.NDArray[np.bool_]
    level_age_hours: Floats


@dataclass(frozen=True)
class Forecaster:
    """A trained model, ready to answer; pure, may be shared between threads."""

    model: ShapeLevel

    @classmethod
    def of(cls, trained: TrainedModel) -> Forecaster:
        """The forecaster of a training result, on the scikit-learn forests."""
        return cls(trained.model)

    def snapshot(
        self, observations: pd.DataFrame, now: datetime, levels: Mapping[Forest, Level] | None = None
    ) -> Snapshot:
        """Everything needed to answer hours from yesterday 00:00 to three days ahead.

        Args:
            observations: Contract columns, any length including none; demand may be NaN (weather only). Demand of
                hours later than now - 24 h is ignored.
            now: The moment it is for.
            levels: Stored levels; used for a forest whose own refresh has no newer label.
        """
        return self.snapshot_of(grid_of(observations), now, levels)

    def snapshot_of(
        self, grid: HourlyGrid, now: datetime, levels: Mapping[Forest, Level] | None = None
    ) -> Snapshot:
        """`snapshot` from an hourly grid."""
        hour = hour_number(now)
        today = hour // DAY
        start, end = (today - 1) * DAY, (today - 1 + HORIZON_DAYS) * DAY
        grid = grid.hide_demand_from(hour - LABEL_DELAY_HOURS + 1)
        replay = self.model.replay(grid, today)
        found = _levels_on(replay, today)
        for forest, stored in (levels or {}).items():
            if forest not in found or stored.as_of > found[forest].as_of:
                found[forest] = stored
        around = grid.covering(start - (HISTORY_DAYS + 2) * DAY, end + DAY)
        calendar = calendar_block(around.hours, around.holiday)
        works = calendar[:, WORKS]
        place = np.arange(start, end) - around.start
        labelled = np.flatnonzero(~np.isnan(around.demand))
        landed = int(labelled[-1]) + 1 if labelled.size else 0
        base, block = np.full(place.size, np.nan), np.full((place.size, N_HISTORY_BLOCK), np.nan)
        if labelled.size:
            filled = fill_unlanded(around.demand, around.weather, works, landed, end - around.start - LABEL_DELAY_HOURS)
            history = demand_history(filled, around.weather, works, place)
            near = place < landed + LABEL_DELAY_HOURS + MAX_UNLANDED_DAYS * DAY
            base, block = np.where(near, history.base, np.nan), np.where(near[:, None], history.block, np.nan)
        return Snapshot(
            now, moment_of(around.start + landed) if labelled.size else None, start, calendar[place], base, block,
            around.start, around.weather, found, replay.widths(self.model.intervals, np.array([today])),
        )

    def predict(self, instances: WeatherBatch, snapshot: Snapshot, now: datetime) -> Forecast:
        """Answer a batch.

        The batch's own weather is laid over the snapshot's, so that a whole-day request carries its context.
        Hours outside the snapshot's horizon are answered without history.

        Raises:
            DataError: the hours outside the horizon span more than three years.
        """
        hours = instances.hours
        place = hours - snapshot.start
        inside = (place >= 0) & (place < snapshot.base.size)
        if inside.all():
            calendar, base, history = snapshot.calendar[place], snapshot.base[place], snapshot.history[place]
            weather, weather_history = _near_weather(instances, snapshot)
        else:
            safe = np.where(inside, place, 0)
            calendar = np.where(inside[:, None], snapshot.calendar[safe], calendar_block(hours))
            base = np.where(inside, snapshot.base[safe], np.nan)
            history = np.where(inside[:, None], snapshot.history[safe], np.nan)
            weather, weather_history = _split_weather(instances, snapshot, inside)
        if instances.is_holiday is not None:
            stated, use = calendar_block(hours, instances.is_holiday), ~np.isnan(instances.is_holiday)
            base = np.where(use & (stated[:, WORKS] != calendar[:, WORKS]), np.nan, base)
            calendar = np.where(use[:, None], stated, calendar)
        matrix = assemble(calendar, weather, history, weather_history)
        return self._answer(matrix, instances.own[:, 4], base, snapshot, now)

    def _answer(
        self, matrix: Matrix, code: Floats, base: Floats, snapshot: Snapshot, now: datetime
    ) -> Forecast:
        model = self.model
        shape, ratio_shape = model.shapes(matrix)
        level, ratio = snapshot.levels.get("stateless"), snapshot.levels.get("history")
        age = np.nan if level is None else max(0.0, (now - level.as_of).total_seconds() / 3600)
        online = level is not None and age <= model.policy.expires_after_hours
        value = level.level if level is not None and online else model.frozen_level["stateless"]
        root = shape * np.sqrt(value)
        rank = np.full(root.size, 1 if online else 2)
        if online and ratio is not None:
            both = base == base
            mean = (root + ratio_shape * np.sqrt(np.where(both, base, 0.0) * ratio.level)) / 2
            root, rank = np.where(both, mean, root), np.where(both, 0, rank)
        degraded = (rank > 0) | (not age <= model.policy.stale_after_hours)
        bins = bins_of(matrix[:, 0], matrix[:, WORKS], code)
        low, high = model.intervals.bounds(root, np.sqrt(value), bins, snapshot.widths)
        return Forecast(
            root * root, low[0], high[0], low[1], high[1], _SOURCE_NAMES[rank], degraded,
            np.full(root.size, age if online else np.nan),
        )

    def backtest_predict(
        self, observations: pd.DataFrame, start: datetime, end: datetime, *, landing: Landing = "hourly"
    ) -> pd.DataFrame:
        """Replay hours [start, end) with the information rule and the daily level refresh.

        Args:
            observations: At least the four weeks before `start` and everything since the end of training.
            start: First hour; not before the end of the training window.
            end: First hour not replayed.
            landing: `hourly` (each label 24 h late) or `daily` (whole days, at the midnight 24 h after they end).

        Returns:
            One row per hour that has weather: timestamp, demand (NaN where unlabelled), prediction, stateless,
            history (NaN where it could not answer), frozen, lower_80, upper_80, lower_95, upper_95, level.

        Raises:
            DataError: `start` lies inside the training window, where forests know the answer.
        """
        import pandas as pd

        if start < self.model.window[1]:
            raise DataError(f"{start} is before the end of training {self.model.window[1]}: replay later hours")
        grid = grid_of(observations)
        last = hour_number(end)
        replay = self.model.replay(grid, -(-last // DAY), landing)
        days = np.arange(replay.first_day, -(-last // DAY) + 1)
        widths = replay.widths(self.model.intervals, days)[:, replay.hours // DAY - replay.first_day]
        low, high = self.model.intervals.bounds(replay.root, replay.root_level, replay.bins, widths)
        frame = pd.DataFrame({
            "timestamp": replay.hours.astype("datetime64[h]").astype("datetime64[ns]"), "demand": replay.demand,
            "prediction": replay.root**2, "stateless": replay.stateless, "history": replay.history,
            "frozen": replay.frozen, "lower_80": low[0], "upper_80": high[0], "lower_95": low[1],
            "upper_95": high[1], "level": replay.root_level**2,
        })
        return frame[(replay.hours >= hour_number(start)) & (replay.hours < last)].reset_index(drop=True)


def _levels_on(replay: Replay, day: int) -> dict[Forest, Level]:
    place = max(0, day - replay.first_day)
    return {forest: replay.levels[forest][place] for forest in FORESTS}


def _near_weather(instances: WeatherBatch, snapshot: Snapshot) -> tuple[Floats, Floats]:
    weather = snapshot.weather.copy()
    place = instances.overlay(weather, snapshot.weather_start)
    return weather_block(weather, place, instances.own)


def _split_weather(
    instances: WeatherBatch, snapshot: Snapshot, inside: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    weather, history = np.empty((len(instances), N_WEATHER_BLOCK)), np.empty((len(instances), 2))
    if inside.any():
        weather[inside], history[inside] = _near_weather(instances.take(inside), snapshot)
    far = instances.take(~inside)
    start = int(far.hours.min()) // DAY * DAY
    span = int(far.hours.max()) + 1 - start
    if span > _MAX_SPAN_HOURS:
        raise DataError(f"the batch spans {span // DAY} days: send at most {_MAX_SPAN_HOURS // DAY}")
    grid = np.full((-(-span // DAY) * DAY, 5), np.nan)
    weather[~inside], history[~inside] = weather_block(grid, far.overlay(grid, start), far.own)
    return weather, history


__all__ = ["Forecast", "Forecaster", "Landing", "Shapes", "Snapshot", "WeatherBatch"]
