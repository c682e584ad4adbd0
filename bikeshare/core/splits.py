"""Time-ordered splits; a random split of this data leaks neighbouring hours and flatters by 30 RMSE."""

from dataclasses import dataclass
from datetime import datetime, timedelta

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


def tuning_folds() -> tuple[Fold, ...]:
    """Where choices are made: July to December 2011; nothing of 2012."""
    return monthly_folds(datetime(2011, 7, 1), 6)


def kaggle_split(observations: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Protocol P2a: train on days 1–19 of every month, test on the rest ("time travel", as on Kaggle)."""
    early = observations["timestamp"].dt.day <= 19
    return observations[early], observations[~early]


@dataclass(frozen=True)
class Holdout:
    """The freshest rows, kept from training to judge challenger and champion on."""

    train: pd.DataFrame
    test: pd.DataFrame
    start: datetime
    end: datetime


def holdout(observations: pd.DataFrame, days: int, *, not_before: datetime | None = None) -> Holdout:
    """Split off the last `days` whole days of labelled rows.

    Args:
        observations: Ordered by timestamp; must not be empty.
        days: Length of the test part.
        not_before: Earliest start of the test part, e.g. the end of the champion's training window.
    """
    labelled = observations[observations["demand"].notna()]
    end = pd.Timestamp(labelled["timestamp"].iloc[-1]).floor("D") + pd.Timedelta(days=1)
    start = (end - pd.Timedelta(days=days)).to_pydatetime()
    if not_before is not None:
        start = max(start, not_before)
    if start > end - timedelta(hours=1):
        start = end.to_pydatetime()
    timestamps = labelled["timestamp"]
    return Holdout(
        labelled[timestamps < start], labelled[(timestamps >= start) & (timestamps < end)], start, end.to_pydatetime()
    )
