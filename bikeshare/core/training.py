"""Training: two forests that learn the level-free shape of demand, and everything an artifact needs beside them.

Shape × level: fit on √(demand / base) without any trend, compute g(t) = centred 42-day Σ demand / Σ out-of-bag
prediction, refit on √(demand / (base · g)). `base` is 1 for the stateless forest and the seasonal-naive demand of
`bikeshare.core.history` for the history forest.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bikeshare.core.calendar import WORKS, calendar_block
from bikeshare.core.features import HISTORY, N_STATELESS, STATELESS, WEATHER_CODE, assemble, weather_block
from bikeshare.core.grid import DAY, Floats, HourlyGrid, grid_of, hour_number, moment_of
from bikeshare.core.history import demand_history
from bikeshare.core.intervals import Intervals, bins_of, fit_intervals
from bikeshare.core.level import FORESTS, Forest, Level, LevelPolicy, centred_ratio, level_chain, trailing_ratio
from bikeshare.core.shape_level import ShapeLevel, Tail
from bikeshare.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SENTINEL = -1000.0
"""Stands for a missing feature; outside every feature's range, so the forests are exact after ONNX export."""

MINIMUM_ROWS = 6 * 7 * DAY
"""Six weeks: four for the demand history and two to learn from."""

TAIL_DAYS = 28

Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainingConfig:
    """What may be chosen about a training.

    Attributes:
        trees: Trees per forest; more than 50 gained nothing.
        stateless_leaf: Smallest leaf of the stateless forest, rows.
        history_leaf: Smallest leaf of the history forest, rows.
        stateless_share: Share of features tried at a split, stateless forest.
        history_share: Share of features tried at a split, history forest.
        first_pass_trees: Trees of the pass that only estimates g(t).
        seed: Random state of the forests.
        n_jobs: Threads used for fitting.
        adapt_since: When the monitor reports a changed world: the moment it changed. Rows since then get enough
            weight to be learned. None: all rows count the same.
        level: How the level follows demand.
    """

    trees: int = 50
    stateless_leaf: int = 2
    history_leaf: int = 3
    stateless_share: float = 0.25
    history_share: float = 0.33
    first_pass_trees: int = 20
    seed: int = 20111231
    n_jobs: int = 2
    adapt_since: datetime | None = None
    level: LevelPolicy = field(default_factory=LevelPolicy)


@dataclass(frozen=True)
class SklearnShapes:
    """The fitted scikit-learn pipelines as one function of the feature matrix."""

    stateless: Any
    history: Any

    def __call__(self, matrix: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """√shape of both forests for a matrix of shape (n, 37)."""
        return self.stateless.predict(matrix[:, :N_STATELESS]), self.history.predict(matrix)


@dataclass(frozen=True)
class TrainedModel:
    """The result of one training.

    Attributes:
        shapes: Both fitted estimators.
        frozen_level: Level of each forest at the end of the window.
        oob_tail: Out-of-bag shape × base of the last 28 training days.
        intervals: Interval table.
        window: First hour, and the first hour after the last one.
        rows: Rows trained on.
        importance: Columns feature, importance, forest.
        training_config: What was asked for.
        training_matrix: Feature matrix of all rows, float32, shape (rows, 37); parity is asserted on it.
    """

    shapes: SklearnShapes
    frozen_level: dict[Forest, float]
    oob_tail: Tail
    intervals: Intervals
    window: tuple[datetime, datetime]
    rows: int
    importance: pd.DataFrame
    training_config: TrainingConfig
    training_matrix: npt.NDArray[np.float32]

    @property
    def model(self) -> ShapeLevel:
        """What an artifact holds of this training, answering with the scikit-learn forests."""
        return ShapeLevel(
            self.shapes, self.frozen_level, self.oob_tail, self.intervals, self.window, self.training_config.level
        )


def grid_matrix(grid: HourlyGrid, place: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], Floats]:
    """Feature matrix and base demand of grid positions, all labels of the grid having landed."""
    calendar = calendar_block(grid.hours, grid.holiday)
    history = demand_history(grid.demand, grid.weather, calendar[:, WORKS], place)
    weather, weather_history = weather_block(grid.weather, place)
    return assemble(calendar[place], weather, history.block, weather_history), history.base


def train(observations: pd.DataFrame, config: TrainingConfig, *, progress: Progress | None = None) -> TrainedModel:
    """Fit both forests on the rows given, and nothing else.

    Args:
        observations: Contract columns; gaps allowed.
        config: Sizes, seed, threads, adaptation.
        progress: Called with one line per stage.

    Raises:
        DataError: fewer than six weeks of rows, or no demand at all.
    """
    tell = progress or _silent
    grid = grid_of(observations)
    place = np.flatnonzero(~np.isnan(grid.demand) & ~np.isnan(grid.weather).any(axis=1))
    if place.size < MINIMUM_ROWS:
        raise DataError(
            f"{place.size} labelled rows are too few to train on: {MINIMUM_ROWS} (6 weeks) are needed, for a first "
            "run nine weeks of history, as its newest quarter only judges"
        )
    tell(f"features of {place.size} rows")
    matrix, base = grid_matrix(grid, place)
    weights = _weights(grid.start + place, config)
    tell("stateless forest")
    stateless = _fit_shape(grid, place, matrix[:, :N_STATELESS], np.ones(place.size), weights, config, "stateless")
    known = ~np.isnan(base)
    if known.sum() < MINIMUM_ROWS // 3:
        raise DataError(f"only {known.sum()} rows have four weeks of history before them: bring a longer window")
    tell("history forest")
    history = _fit_shape(
        grid, place[known], matrix[known], base[known], None if weights is None else weights[known], config, "history"
    )
    tell("levels and intervals")
    shape: dict[Forest, Floats] = {"stateless": stateless.shape, "history": history.shape}
    levels = {forest: _replayed_levels(grid, shape[forest], forest, config.level) for forest in FORESTS}
    tail_start = max(grid.start, grid.end - TAIL_DAYS * DAY)
    frozen = {forest: float(levels[forest][-1]) for forest in FORESTS}
    return TrainedModel(
        shapes=SklearnShapes(stateless.estimator, history.estimator),
        frozen_level=frozen,
        oob_tail=Tail(tail_start, *(series[tail_start - grid.start:] for series in (grid.demand, *shape.values()))),
        intervals=_fit_intervals(grid, place[known], matrix[known], shape, levels),
        window=(moment_of(grid.start + int(place[0])), moment_of(grid.start + int(place[-1]) + 1)),
        rows=int(place.size),
        importance=_importance(stateless.estimator, history.estimator),
        training_config=config,
        training_matrix=matrix,
    )


def _silent(_: str) -> None:
    return None


@dataclass(frozen=True)
class _Fitted:
    estimator: Any
    shape: Floats
    """Out-of-bag shape × base on every grid hour, NaN where there is no row."""


def build_estimator(config: TrainingConfig, forest: Forest, trees: int) -> Any:
    """Sentinel for missing values, then the forest: one estimator, so that nobody can apply half of it."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    stateless = forest == "stateless"
    return Pipeline([
        ("sentinel", SimpleImputer(strategy="constant", fill_value=SENTINEL, keep_empty_features=True)),
        ("forest", RandomForestRegressor(
            n_estimators=trees,
            min_samples_leaf=config.stateless_leaf if stateless else config.history_leaf,
            max_features=config.stateless_share if stateless else config.history_share,
            bootstrap=True, oob_score=True, n_jobs=config.n_jobs, random_state=config.seed,
        )),
    ])


def _fit_shape(
    grid: HourlyGrid, place: npt.NDArray[np.int64], matrix: npt.NDArray[np.float32], base: Floats,
    weights: Floats | None, config: TrainingConfig, forest: Forest,
) -> _Fitted:
    actual = grid.demand[place]
    growth = np.ones(place.size)
    out = np.full(len(grid), np.nan)
    for trees in (min(config.first_pass_trees, config.trees), config.trees):
        estimator = build_estimator(config, forest, trees)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Some inputs do not have OOB scores")
            estimator.fit(matrix, np.sqrt(actual / (base * growth)), forest__sample_weight=weights)
        root = estimator.named_steps["forest"].oob_prediction_
        out[place] = np.where(root > 0, base * root**2, np.nan)
        growth = centred_ratio(np.where(np.isnan(out), np.nan, grid.demand), out)[place]
    estimator.named_steps["forest"].n_jobs = 1
    return _Fitted(estimator, out)


ADAPTATION_RATIO = 3.0
"""Total weight of the rows since `adapt_since` against all rows before.

Measured a week into a changed world (morning peak halved and moved): WAPE of the next week 24.2 % with the old model,
22.6 % unweighted, 21.0 % at ratio 1, 19.6 % at 3 and at 10; after two weeks 1, 3 and 10 are ties. Against no
adaptation, on the 14 days after a retrain with 3, 4, 5 or 7 labelled days of half the commuters at home (since 7 May,
9 May or 10 September 2012): better in all 12 cases, by 0.7 to 3.4 points.
"""


def _weights(hours: npt.NDArray[np.int64], config: TrainingConfig) -> Floats | None:
    """Rows since `adapt_since` together weigh `ADAPTATION_RATIO` times all rows before; None without adaptation."""
    if config.adapt_since is None:
        return None
    new = hours >= hour_number(config.adapt_since)
    if not new.any() or new.all():
        return None
    return np.where(new, max(1.0, ADAPTATION_RATIO * float((~new).sum()) / float(new.sum())), 1.0)


def _replayed_levels(grid: HourlyGrid, shape: Floats, forest: Forest, policy: LevelPolicy) -> Floats:
    """Level of each grid day and the day after, as the daily refresh would have had it over the training window."""
    days, half_life = len(grid) // DAY, policy.half_life_days(forest)
    actual, predicted = grid.demand.reshape(days, DAY), shape.reshape(days, DAY)
    start = next((day for day in range(days + 2) if trailing_ratio(actual, predicted, day, half_life, policy)[1]), days)
    seed = Level(trailing_ratio(actual, predicted, start, half_life, policy)[0], moment_of(0), 0, "seed")
    if not seed.level > 0:
        return np.ones(days + 1)
    chain = level_chain(seed, actual, predicted, 0, start, days + 2, half_life, policy)
    levels = np.full(days + 2, seed.level)
    levels[start:] = [item.level for item in chain]
    return levels


def _fit_intervals(
    grid: HourlyGrid, place: npt.NDArray[np.int64], matrix: npt.NDArray[np.float32], shape: dict[Forest, Floats],
    levels: dict[Forest, Floats],
) -> Intervals:
    by_hour = {name: np.repeat(values, DAY)[: len(grid)] for name, values in levels.items()}
    root = np.mean([np.sqrt(shape[forest][place] * by_hour[forest][place]) for forest in FORESTS], axis=0)
    residual = (np.sqrt(grid.demand[place]) - root) / np.sqrt(by_hour["stateless"][place])
    bins = bins_of(matrix[:, 0], matrix[:, WORKS], matrix[:, WEATHER_CODE])
    known = ~np.isnan(residual)
    return fit_intervals(residual[known], bins[known])


def _importance(stateless: Any, history: Any) -> pd.DataFrame:
    import pandas as pd

    names = {"stateless": STATELESS, "history": STATELESS + HISTORY}
    parts = [
        pd.DataFrame({
            "feature": [feature.name for feature in names[forest]],
            "importance": estimator.named_steps["forest"].feature_importances_,
            "forest": forest,
        })
        for forest, estimator in (("stateless", stateless), ("history", history))
    ]
    return pd.concat(parts, ignore_index=True).sort_values("importance", ascending=False, ignore_index=True)
