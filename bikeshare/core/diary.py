"""Answers beside the truth, beside what a frozen model and the best naive rule would have said on the same hours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

import numpy as np
import pandas as pd

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.evaluation import BAR, naive_forecasts, score
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.timeline import Day

COMPARED = ("served", "frozen", "naive")
"""What is compared on the same hours: our answers, the first model never touched again, the best naive rule."""


@dataclass(frozen=True)
class Diary:
    """One row per hour: timestamp, demand, served, frozen, naive, model_version."""

    hours: pd.DataFrame

    def wape(self, column: str, start: date | None = None, end: date | None = None) -> float:
        """WAPE of one of `COMPARED` on start <= day < end; NaN without rows."""
        rows = self.hours
        if start is not None:
            rows = rows[rows["timestamp"] >= datetime.combine(start, time())]
        if end is not None:
            rows = rows[rows["timestamp"] < datetime.combine(end, time())]
        return score(rows["demand"], rows[column]).wape

    def days(self, chapters: Mapping[date, str]) -> list[Day]:
        """One entry per day that has a chapter."""
        entries = []
        for day, chapter in chapters.items():
            rows = self.hours[self.hours["timestamp"].dt.date == day]
            errors = {name: score(rows["demand"], rows[name]).wape for name in COMPARED} if len(rows) else {}
            known = {name: value for name, value in errors.items() if not np.isnan(value)}
            versions = rows["model_version"].mode()
            entries.append(
                Day(
                    day,
                    chapter,
                    known.get("served"),
                    known.get("frozen"),
                    known.get("naive"),
                    str(versions.iloc[0]) if len(versions) else "",
                )
            )
        return entries


def compare(hours: pd.DataFrame, known: pd.DataFrame, first: Forecaster | None) -> Diary:
    """Put the frozen model and the naive rule beside what was served.

    Args:
        hours: What was served beside the truth: observation columns, served, model_version.
        known: All observations that the naive rule may read, those of `hours` included.
        first: The first model; it answers again without any history, on the real weather. None: not compared.
    """
    if first is None or hours.empty:
        frozen = np.full(len(hours), np.nan)
    else:
        answers = [
            first.predict(WeatherBatch.from_frame(rows), first.snapshot(pd.DataFrame(), moment), moment).demand
            for moment, rows in ((datetime.combine(day, time()), rows) for day, rows in _by_day(hours))
        ]
        frozen = np.concatenate(answers)
    naive = naive_forecasts(known, hours["timestamp"])[BAR] if len(hours) else np.empty(0)
    return Diary(hours.assign(frozen=frozen, naive=naive))


def _by_day(frame: pd.DataFrame) -> Sequence[tuple[date, pd.DataFrame]]:
    return [(day, rows) for day, rows in frame.groupby(frame["timestamp"].dt.date)]
