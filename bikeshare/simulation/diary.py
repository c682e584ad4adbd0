"""What really happened during a play, read back from the records: errors per day, decisions as cards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core.batch import WeatherBatch
from bikeshare.core.evaluation import BAR, naive_forecasts, score
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.timeline import Card, Day, Evidence
from bikeshare.ports import DecisionRecord, Records

COMPARED = ("served", "frozen", "naive")
"""What is compared on the same hours: our answers, the first model never touched again, the best naive rule."""


@dataclass(frozen=True)
class Diary:
    """Answers beside the truth, one row per hour: timestamp, demand, served, frozen, naive, model_version."""

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
        """One entry per played day."""
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


def read_diary(records: Records, reality: pd.DataFrame, first: Forecaster, start: date, end: date) -> Diary:
    """Collect a play.

    Args:
        records: Holds what was served.
        reality: What really happened, including the days before the play (the naive rule reads them).
        first: The first model; it answers again without any history, on the real weather.
        start: First played day.
        end: Day after the last one.
    """
    begin, until = datetime.combine(start, time()), datetime.combine(end, time())
    columns = ["timestamp", "demand", "model_version", "predicted_at"]
    frames = list(records.iter_predictions(begin, until, columns=columns))
    served = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    served = served.sort_values("predicted_at")
    served = served.drop_duplicates("timestamp", keep="last").rename(columns={"demand": "served"})
    truth = reality[(reality["timestamp"] >= begin) & (reality["timestamp"] < until)]
    hours = truth.merge(served[["timestamp", "served", "model_version"]], on="timestamp", how="inner")
    frozen = [
        first.predict(WeatherBatch.from_frame(rows), first.snapshot(pd.DataFrame(), moment), moment).demand
        for moment, rows in ((datetime.combine(day, time()), rows) for day, rows in _by_day(hours))
    ]
    known = reality[reality["timestamp"] < until]
    return Diary(
        hours.assign(
            frozen=np.concatenate(frozen) if frozen else [],
            naive=naive_forecasts(known, hours["timestamp"])[BAR] if len(hours) else [],
        )
    )


def _by_day(frame: pd.DataFrame) -> Sequence[tuple[date, pd.DataFrame]]:
    return [(day, rows) for day, rows in frame.groupby(frame["timestamp"].dt.date)]


def decision_cards(decisions: Sequence[DecisionRecord]) -> list[Card]:
    """The monitor's decisions as cards, oldest first."""
    return [
        Card(
            at=record.decided_at,
            kind=record.action,
            title=_title(record),
            reason=record.reason,
            state=record.state,
            evidence=_evidence(record.evidence),
            links=(("report", record.report_url),) if record.report_url else (),
        )
        for record in sorted(decisions, key=lambda record: record.decided_at)
    ]


def _title(record: DecisionRecord) -> str:
    return {
        "none": "Quiet",
        "alert": "People were told",
        "hold": "Retraining is on hold",
        "retrain": "A retrain was requested",
    }.get(record.action, record.action)


def _evidence(evidence: Mapping[str, Any]) -> tuple[Evidence, ...]:
    rows: dict[str, Evidence] = {}
    for finding in evidence.get("findings", ()):
        name, fired = finding["name"], bool(finding["exceeded"])
        if name in MEASURED:
            rows[name] = Evidence(MEASURED[name], f"{finding['value']:.1%}", f"{finding['limit']:.1%}", fired)
        else:
            rows[name] = Evidence(f"data rule: {name}", "broken", "", fired)
    return tuple(rows.values())


MEASURED = {"bias": "7-day bias, absolute", "wape": "7-day WAPE", "step": "48-hour step"}
"""Findings that are shares; every other finding is a data rule that fired."""


def merge_cards(*groups: Sequence[Card]) -> list[Card]:
    """All cards in the order of time."""
    return sorted((card for group in groups for card in group), key=lambda card: card.at)


def last_day(moment: datetime) -> date:
    """The last whole day before a moment."""
    return (moment - timedelta(days=1)).date()
