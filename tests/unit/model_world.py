"""A small real world for model tests: four months of 2011, few trees, trained once per session."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd

from bikeshare.core.forecasting import Forecaster
from bikeshare.core.observations import load_uci
from bikeshare.core.training import TrainedModel, TrainingConfig, train

DATA = Path(__file__).parents[2] / "data" / "hour.csv.gz"
START, CUT, END = datetime(2011, 5, 1), datetime(2011, 9, 1), datetime(2011, 10, 1)
SMALL = TrainingConfig(trees=6, first_pass_trees=4, n_jobs=1, stateless_leaf=5, history_leaf=5)


@lru_cache(maxsize=1)
def history() -> pd.DataFrame:
    return load_uci(DATA)


@lru_cache(maxsize=1)
def observations() -> pd.DataFrame:
    frame = history()
    return frame[(frame["timestamp"] >= START) & (frame["timestamp"] < END)].reset_index(drop=True)


@lru_cache(maxsize=1)
def trained() -> TrainedModel:
    frame = observations()
    return train(frame[frame["timestamp"] < CUT], SMALL)


def forecaster() -> Forecaster:
    return Forecaster.of(trained())
