"""What the monitor keeps between looks so that a look reads only what is new: days of scores, hours of inputs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from bikeshare.core.contract import WEATHER_NUMBERS
from bikeshare.core.drift import DayScore

KEPT_DAYS = 35
"""Days of scores: the baseline of a step and the search for the onset of a change need four weeks."""

KEPT_HOURS = 192
"""Hours of served inputs: a frozen weather category shows after six days."""

INPUTS = ("timestamp", *WEATHER_NUMBERS, "weather")
_ORDER = "predicted_at"


@dataclass(frozen=True)
class Ledger:
    """Small and bounded, whatever the traffic.

    Attributes:
        looked_at: Time of the last look.
        judged: Newest labelled day that was judged.
        days: Scores per labelled day.
        hours: Hour -> the last inputs served for it (numbers in contract order, weather, when).
        spoiled: Days whose served inputs were broken: their errors say nothing about the model.
        served: Model version of the newest prediction.
    """

    looked_at: datetime | None = None
    judged: date | None = None
    days: Mapping[date, DayScore] = field(default_factory=dict)
    hours: Mapping[datetime, tuple[Any, ...]] = field(default_factory=dict)
    spoiled: tuple[date, ...] = ()
    served: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON document."""
        return {
            "looked_at": self.looked_at.isoformat() if self.looked_at else None,
            "judged": self.judged.isoformat() if self.judged else None,
            "days": [score.to_list() for score in self.days.values()],
            "hours": {hour.isoformat(): list(values) for hour, values in self.hours.items()},
            "spoiled": [day.isoformat() for day in self.spoiled],
            "served": self.served,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Ledger":
        """The inverse of `to_dict`; an empty document is an empty ledger."""
        if not document:
            return cls()
        scores = [DayScore.from_list(values) for values in document["days"]]
        return cls(
            looked_at=datetime.fromisoformat(document["looked_at"]) if document["looked_at"] else None,
            judged=date.fromisoformat(document["judged"]) if document["judged"] else None,
            days={score.day: score for score in scores},
            hours={datetime.fromisoformat(hour): tuple(values) for hour, values in document["hours"].items()},
            spoiled=tuple(date.fromisoformat(day) for day in document["spoiled"]),
            served=document["served"],
        )

    def with_inputs(self, batches: Iterable[pd.DataFrame]) -> tuple["Ledger", int]:
        """Add served inputs (columns of `INPUTS`, predicted_at, model_version); also the number of rows seen.

        Of several predictions of an hour the newest counts. Memory: one batch and `KEPT_HOURS` hours.
        """
        hours = dict(self.hours)
        rows, served, newest = 0, self.served, None
        for batch in batches:
            if batch.empty:
                continue
            rows += len(batch)
            last = batch.sort_values(_ORDER, kind="stable").drop_duplicates("timestamp", keep="last")
            moment = last[_ORDER].iloc[-1]
            if newest is None or moment >= newest:
                newest, served = moment, str(last["model_version"].iloc[-1])
            stamps, moments = (pd.DatetimeIndex(last[name]).to_pydatetime() for name in ("timestamp", _ORDER))
            columns = [last[name].tolist() for name in INPUTS[1:]]
            for hour, made, *values in zip(stamps, moments, *columns, strict=True):
                known = hours.get(hour)
                if known is None or known[-1] <= made.isoformat():
                    hours[hour] = (*values, made.isoformat())
        if hours:
            oldest = max(hours) - timedelta(hours=KEPT_HOURS)
            hours = {hour: hours[hour] for hour in sorted(hours) if hour > oldest}
        return replace(self, hours=hours, served=served), rows

    def inputs(self) -> pd.DataFrame:
        """The kept hours as a frame of `INPUTS`, ordered."""
        rows = [(hour, *values[:-1]) for hour, values in sorted(self.hours.items())]
        frame = pd.DataFrame(rows, columns=list(INPUTS))
        return frame.astype({"timestamp": "datetime64[ns]", **dict.fromkeys(WEATHER_NUMBERS, "float64")})

    def with_days(self, scores: Sequence[DayScore], first: date, judged: date) -> "Ledger":
        """Replace the days from `first` on by what was read again, and forget old ones."""
        days = {day: score for day, score in self.days.items() if day < first} | {score.day: score for score in scores}
        oldest = judged - timedelta(days=KEPT_DAYS)
        kept = {day: days[day] for day in sorted(days) if day > oldest}
        return replace(self, days=kept, judged=judged, spoiled=tuple(day for day in self.spoiled if day > oldest))

    def first_to_judge(self, newest: date, window_days: int) -> date:
        """Oldest day whose score may be missing or may have changed: the window, and what came late behind it."""
        if not self.days or self.judged is None:
            return newest - timedelta(days=KEPT_DAYS - 1)
        first = min(newest - timedelta(days=window_days), self.judged)  # it may have been scored before its last hours
        return max(first, newest - timedelta(days=KEPT_DAYS - 1))

    def usable_days(self) -> tuple[DayScore, ...]:
        """Days whose inputs were sound, oldest first."""
        return tuple(score for day, score in sorted(self.days.items()) if day not in self.spoiled)
