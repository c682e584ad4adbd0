"""Records in memory, with the same rules as the database."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pandas as pd

from bikeshare.core.grid import HourlyGrid, grid_of
from bikeshare.core.observations import COLUMNS, OPTIONAL, conform
from bikeshare.core.prediction_lines import fields_of
from bikeshare.errors import Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import DecisionRecord, LevelRow, PredictionRow, RunIntent

_FIELDS = list(PredictionRow._fields)


class MemoryRecords:
    """`bikeshare.ports.Records` in dicts; set `away` to make every call raise Unavailable.

    A server's threads write predictions while a test reads them, so every reader takes its own copy first: `list` of a
    dict's values is one step for the interpreter, a loop over them is not.
    """

    def __init__(self) -> None:
        self.away = False
        self._observations: dict[datetime, tuple[Any, ...]] = {}
        self._predictions: dict[tuple[str, int], PredictionRow] = {}
        self._decisions: dict[str, DecisionRecord] = {}
        self._intents: dict[str, RunIntent] = {}
        self._levels: dict[tuple[str, str, date], LevelRow] = {}
        self._state: dict[str, tuple[str, int]] = {}
        self._locks: dict[str, tuple[str, datetime]] = {}

    def migrate(self) -> None:
        self._answer()

    def upsert_observations(self, frame: pd.DataFrame) -> int:
        self._answer()
        typed = conform(frame)
        for name in COLUMNS:
            if name not in OPTIONAL and typed[name].isna().any():
                raise DataError(f"column {name!r} is empty in some hours")
        if typed["timestamp"].duplicated().any():
            raise DataError("an hour occurs twice")
        for row in typed.itertuples(index=False):
            self._observations[row[0].to_pydatetime()] = tuple(row)
        return len(typed)

    def replace_observations(self, frame: pd.DataFrame, days: Sequence[date]) -> int:
        self._answer()
        if not set(frame["timestamp"].dt.date) <= set(days):
            raise DataError("a row is of none of the days")
        before = dict(self._observations)
        self._observations = {hour: row for hour, row in before.items() if hour.date() not in days}
        try:
            return self.upsert_observations(frame)
        except DataError:
            self._observations = before
            raise

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        self._answer()
        rows = [
            row for hour, row in sorted(self._observations.items())
            if (start is None or hour >= start) and (end is None or hour < end)
        ]
        if not rows:
            return conform(pd.DataFrame({name: [] for name in COLUMNS}).astype({"timestamp": "datetime64[ns]"}))
        return conform(pd.DataFrame(rows, columns=list(COLUMNS)))

    def observed(self, start: datetime, end: datetime) -> HourlyGrid:
        return grid_of(self.observations(start, end))

    def latest_observation(self) -> datetime | None:
        self._answer()
        return max(self._observations, default=None)

    def insert_predictions(self, rows: Sequence[PredictionRow]) -> int:
        self._answer()
        before = len(self._predictions)
        for row in rows:
            self._predictions.setdefault((row.request_id, row.position), row)
        return len(self._predictions) - before

    def insert_prediction_lines(self, lines: Sequence[bytes]) -> int:
        try:
            rows = [PredictionRow(*fields_of(line)) for part in lines for line in part.splitlines()]
        except ValueError as error:
            raise DataError(f"not a prediction: {error}") from error
        return self.insert_predictions(rows)

    def iter_predictions(
        self, start: datetime, end: datetime, *, by: Literal["timestamp", "predicted_at"] = "timestamp",
        batch_rows: int = 65_536, columns: Sequence[str] | None = None,
    ) -> Iterator[pd.DataFrame]:
        self._answer()
        names = list(columns) if columns is not None else _FIELDS
        unknown = [name for name in names if name not in _FIELDS]
        if unknown:
            raise DataError(f"predictions have no column {unknown[0]!r}")
        rows = [row for row in list(self._predictions.values()) if start <= getattr(row, by) < end]
        for offset in range(0, len(rows), batch_rows):
            part = pd.DataFrame([row._asdict() for row in rows[offset : offset + batch_rows]])
            part["level_age_hours"] = part["level_age_hours"].astype("float64")
            for name in ("timestamp", "predicted_at"):
                part[name] = part[name].astype("datetime64[ns]")
            yield part[names]

    def labelled(self, start: datetime, end: datetime, *, model_version: str | None = None) -> pd.DataFrame:
        self._answer()
        served: dict[datetime, list[PredictionRow]] = {}
        for row in list(self._predictions.values()):
            if start <= row.timestamp < end and model_version in (None, row.model_version):
                served.setdefault(row.timestamp, []).append(row)
        found = []
        for hour in sorted(set(served) & set(self._observations)):
            over = hour + timedelta(hours=1)
            last = max(served[hour], key=lambda row: (
                row.predicted_at < over, row.predicted_at, row.request_id, row.position
            ))
            truth = self._observations[hour][COLUMNS.index("demand")]
            found.append((hour, truth, last.demand, last.lower_80, last.upper_80, last.lower_95, last.upper_95,
                          last.model_version, last.degraded, len(served[hour])))
        names = ["timestamp", "demand", "prediction", "lower_80", "upper_80", "lower_95", "upper_95",
                 "model_version", "degraded", "n"]
        types: dict[str, str] = dict.fromkeys(names[2:7], "float64") | {
            "timestamp": "datetime64[ns]", "demand": "int64", "n": "int64", "degraded": "bool"
        }
        return pd.DataFrame(found, columns=names).astype(types)

    def save_decision(self, record: DecisionRecord) -> None:
        self._answer()
        evidence = json.loads(json.dumps(dict(record.evidence), default=str))
        self._decisions[record.decision_id] = replace(record, evidence=evidence)

    def decisions(self, since: datetime | None = None, *, limit: int | None = None) -> Sequence[DecisionRecord]:
        self._answer()
        newest = sorted(self._decisions.values(), key=lambda r: (r.decided_at, r.decision_id), reverse=True)
        return [record for record in newest if since is None or record.decided_at >= since][:limit]

    def open_intent(self, run_key: str, reason: str, now: datetime) -> bool:
        self._answer()
        if run_key in self._intents:
            return False
        self._intents[run_key] = RunIntent(run_key, reason, now)
        return True

    def close_intent(self, run_key: str, *, run_id: str | None = None, outcome: str | None = None,
                     finished_at: datetime | None = None) -> None:
        self._answer()
        if run_key not in self._intents:
            raise NotFound(f"no intent {run_key!r}")
        known = {"run_id": run_id, "outcome": outcome, "finished_at": finished_at}
        changes: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        self._intents[run_key] = replace(self._intents[run_key], **changes)

    def intents(self, since: datetime | None = None) -> Sequence[RunIntent]:
        self._answer()
        newest = sorted(self._intents.values(), key=lambda i: (i.created_at, i.run_key), reverse=True)
        return [intent for intent in newest if since is None or intent.created_at >= since]

    def save_levels(self, rows: Sequence[LevelRow]) -> None:
        self._answer()
        for row in rows:
            self._levels[row.model_version, row.forest, row.day] = row

    def levels(self, model_version: str) -> Sequence[LevelRow]:
        self._answer()
        chosen = [row for row in self._levels.values() if row.model_version == model_version]
        return sorted(chosen, key=lambda row: (row.day, row.forest))

    def load_state(self, name: str) -> tuple[dict[str, Any], int]:
        self._answer()
        document, revision = self._state.get(name, ("{}", 0))
        return json.loads(document), revision

    def save_state(self, name: str, value: Mapping[str, Any], revision: int) -> int:
        self._answer()
        if self._state.get(name, ("{}", 0))[1] != revision:
            raise Conflict(f"state {name!r} is no longer at revision {revision}")
        self._state[name] = (json.dumps(dict(value)), revision + 1)
        return revision + 1

    def acquire_lock(self, name: str, owner: str, now: datetime, ttl_seconds: int) -> bool:
        self._answer()
        holder = self._locks.get(name)
        if holder is not None and holder[0] != owner and holder[1] > now:
            return False
        self._locks[name] = (owner, now + timedelta(seconds=ttl_seconds))
        return True

    def release_lock(self, name: str, owner: str) -> None:
        self._answer()
        if name in self._locks and self._locks[name][0] == owner:
            del self._locks[name]

    def delete_predictions_before(self, moment: datetime) -> int:
        self._answer()
        old = [key for key, row in self._predictions.items() if row.predicted_at < moment]
        for key in old:
            del self._predictions[key]
        return len(old)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the records are away (simulated)")
