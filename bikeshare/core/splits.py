"""Time-ordered splits; a random split of this data leaks neighbouring hours and flatters by 30 RMSE."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd


@dataclass(frozen=True)
class Fold:
    """Train on rows before `start`, test on [start, end)."""

    name: str
    start: datetime
    end: datetime

    def train_rows(self, observations: pd.DataFrame) -> pd.DataFrame:
        """Rows known before the fold."""
        return observations[observations["timestamp"] < self.start]

    def test_rows(self, observations: pd.DataFrame) -> pd.DataFrame:
        """Rows of the fold."""
        timestamps = observations["timestamp"]
        return observations[(timestamps >= self.start) & (timestamps < self.end)]


def monthly_folds(first: datetime, months: int) -> tuple[Fold, ...]:
    """Consecutive calendar months, the first one containing `first`."""
    start = pd.Timestamp(first.year, first.month, 1)
    edges = [start + pd.DateOffset(months=number) for number in range(months + 1)]
    return tuple(
        Fold(f"{low:%Y-%m}", low.to_pydatetime(), high.to_pydatetime())
        for low, high in zip(edges, edges[1:], strict=False)
    )


def p3_folds() -> tuple[Fold, ...]:
    """Protocol P3: the 12 months of 2012, each predicted by a model trained on everything before."""
    return monthly_folds(datetime(2012, 1, 1), 12)


def kaggle_split(observations: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Protocol P2a: train on days 1–19 of every month, test on the rest ("time travel", as on Kaggle)."""
    early = observations["timestamp"].dt.day <= 19
    return observations[early], observations[~early]
