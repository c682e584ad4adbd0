"""What is true of the model on real history: which inputs it needs, and how fast it grows old."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from bikeshare.core.calendar import CALENDAR_FEATURES
from bikeshare.core.evaluation import score
from bikeshare.core.features import HISTORY, N_STATELESS, STATELESS
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.grid import grid_of, hour_number
from bikeshare.core.training import TrainedModel, TrainingConfig, grid_matrix, train

TRAINED_UNTIL, UNTIL = datetime(2012, 1, 1), datetime(2012, 7, 1)
NAMES = [feature.name for feature in (*STATELESS, *HISTORY)]
GROUPS = {
    "calendar": list(range(len(CALENDAR_FEATURES))),
    "weather": list(range(len(CALENDAR_FEATURES), N_STATELESS)),
    "demand history": list(range(N_STATELESS, len(NAMES))),
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(history: pd.DataFrame) -> TrainedModel:
    config = TrainingConfig(trees=10, first_pass_trees=5, seed=1, n_jobs=2)
    return train(history[history["timestamp"] < TRAINED_UNTIL], config)


@pytest.fixture(scope="module")
def loss_without(trained: TrainedModel, history: pd.DataFrame) -> Callable[[list[int]], float]:
    """Rise of the MAE of half a year the model never saw, when these columns are shuffled among its hours."""
    grid = grid_of(history[history["timestamp"] < UNTIL])
    known = ~np.isnan(grid.demand) & ~np.isnan(grid.weather).any(axis=1)
    place = np.flatnonzero(known)
    place = place[place >= hour_number(TRAINED_UNTIL) - grid.start]
    matrix, base = grid_matrix(grid, place)
    demand = grid.demand[place]
    order = np.random.default_rng(0).permutation(len(matrix))

    def error(inputs: np.ndarray) -> float:
        stateless, with_history = (root * root for root in trained.model.shapes(inputs))
        with_history = with_history * base
        roots = [np.sqrt(shape * demand.sum() / shape.sum()) for shape in (stateless, with_history)]
        return float(np.abs((sum(roots) / 2) ** 2 - demand).mean())

    assert not np.isnan(base).any()
    whole = error(matrix)

    def rise(columns: list[int]) -> float:
        shuffled = matrix.copy()
        shuffled[:, columns] = matrix[order][:, columns]
        return error(shuffled) - whole

    return rise


@pytest.mark.parametrize(("group", "bikes_per_hour"), [("calendar", 50), ("weather", 20), ("demand history", 1)])
def test_every_group_of_features_is_needed(
    group: str, bikes_per_hour: float, loss_without: Callable[[list[int]], float]
) -> None:
    assert loss_without(GROUPS[group]) > bikes_per_hour


def test_no_feature_makes_the_forecast_worse(loss_without: Callable[[list[int]], float]) -> None:
    """A feature may add little beside its neighbours; one that costs a fifth of a bike per hour has to go."""
    rises = {name: loss_without([place]) for place, name in enumerate(NAMES)}

    assert {name: rise for name, rise in rises.items() if rise < -0.2} == {}
    assert sum(rise > 0 for rise in rises.values()) > 0.8 * len(rises)


def test_a_frozen_model_grows_old_and_the_online_level_slows_it(
    trained: TrainedModel, history: pd.DataFrame
) -> None:
    replayed = Forecaster.of(trained).backtest_predict(
        history[history["timestamp"] < UNTIL], TRAINED_UNTIL, UNTIL
    ).dropna(subset=["demand"])
    month = replayed["timestamp"].dt.month

    def wape(column: str, of: int) -> float:
        rows = replayed[month == of]
        return float(score(rows["demand"], rows[column]).to_dict()["wape"])

    assert wape("frozen", 6) > 2.4 * wape("prediction", 6)
    assert wape("frozen", 6) / wape("prediction", 6) > wape("frozen", 2) / wape("prediction", 2)
