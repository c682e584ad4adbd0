"""What one predictor process serves: the artifact, the newest snapshot of the world, and the way to an answer."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import to_json

from bikeshare.adapters.artifacts import Artifact
from bikeshare.core.batch import WeatherBatch
from bikeshare.core.forecasting import SOURCES, Forecast, Snapshot
from bikeshare.core.single_hour import SingleHour, SingleHours
from bikeshare.ports import Clock
from services.predictor.logged import LoggedBatch, LoggedHour, moment
from services.predictor.metrics import Metrics
from services.predictor.prediction_log import PredictionLog
from services.predictor.refresher import Refresher
from services.predictor.schema import WINDOW, Columns, Window, columns_of

logger = logging.getLogger("bikeshare.predictor")


class Asked(NamedTuple):
    """One hour somebody asked for."""

    question: SingleHour
    request_id: str
    what_if: bool


class Engine:
    """Thread-safe: a snapshot is replaced as a whole, never changed."""

    def __init__(self, clock: Clock, metrics: Metrics, window: Window = WINDOW) -> None:
        self.clock = clock
        self.metrics = metrics
        self.window = window
        self.problem: str | None = "the model is being loaded"
        self.refused = False
        self.version = ""
        self._artifact: Artifact | None = None
        self._snapshot: Snapshot | None = None
        self._hours: SingleHours | None = None
        self._refreshed_at = 0.0
        self._log: PredictionLog | None = None
        self._refresher: Refresher | None = None
        self._usable = threading.Event()

    @property
    def ready(self) -> bool:
        """Model loaded, contract matched, first look at the history taken. Never a dependency."""
        return self._usable.is_set()

    def load(self, version: str, artifact: Artifact, log: PredictionLog, refresher: Refresher) -> None:
        """Begin with this artifact; ready once the first snapshot is there."""
        self.version, self._artifact, self._log, self._refresher = version, artifact, log, refresher
        self.metrics.model_info.labels(version=version).set(1)
        self.problem = "waiting for the first look at the history"

    def wait_ready(self, seconds: float) -> bool:
        """Wait for the first snapshot."""
        return self._usable.wait(seconds)

    def refuse(self, problem: str) -> None:
        """This version can never be served by this process."""
        self.problem, self.refused = problem, True

    def use(self, snapshot: Snapshot) -> None:
        """Answer from this snapshot from now on."""
        if self._artifact is None:
            raise RuntimeError("a snapshot came before a model was loaded")
        hours = SingleHours(self._artifact.forecaster, snapshot)
        self._snapshot, self._hours, self._refreshed_at = snapshot, hours, time.monotonic()
        for forest, level in snapshot.levels.items():
            self.metrics.level.labels(forest=forest).set(level.level)
        self.problem = None
        self._usable.set()

    def refresh(self) -> None:
        """Look at the history now; returns when the new snapshot is in use."""
        if self._refresher is not None:
            self._refresher.refresh()

    def now(self) -> datetime:
        """The time of the service's clock."""
        return self.clock.now()

    def answer(
        self, question: SingleHour | Columns, request_id: str, now: datetime, *, what_if: bool = False
    ) -> bytes:
        """Predict, log (unless it is a what-if question), and write the JSON of the response."""
        if isinstance(question, SingleHour):
            return self.answer_hours([Asked(question, request_id, what_if)], now)[0]
        return self._answer_many(question, request_id, now, what_if)

    def answer_hours(self, asked: Sequence[Asked], now: datetime) -> list[bytes]:
        """The same for requests of one hour each, computed together."""
        hours = self._hours
        if hours is None or not all(hours.covers(one.question.hour) for one in asked):
            return [self._answer_many(columns_of(one.question), one.request_id, now, one.what_if) for one in asked]
        answers = hours.predict([one.question for one in asked], now)
        self.metrics.count_hours(answers)
        kept = []
        bodies = []
        for (question, request_id, what_if), answer in zip(asked, answers, strict=True):
            if what_if:
                self.metrics.what_if.inc()
            else:
                kept.append(LoggedHour(request_id, now, self.version, question, answer))
            demand, low_80, high_80, low_95, high_95, rank, degraded, age = answer
            bodies.append(to_json({
                "model_version": self.version, "request_id": request_id,
                "predictions": ({
                    "timestamp": moment(question.hour).text, "demand": demand, "lower_80": low_80, "upper_80": high_80,
                    "lower_95": low_95, "upper_95": high_95, "degraded": degraded, "source": SOURCES[rank],
                    "level_age_hours": age,
                },),
            }))
        if self._log is not None:
            self._log.extend(kept)
        return bodies

    def _answer_many(self, columns: Columns, request_id: str, now: datetime, what_if: bool) -> bytes:
        artifact, snapshot, log = self._artifact, self._snapshot, self._log
        if artifact is None or snapshot is None or log is None:
            raise RuntimeError("answer was called before the engine was ready")
        batch = weather_batch(columns)
        forecast = artifact.forecaster.predict(batch, snapshot, now)
        body, sources, degraded, ages = self._write(columns, forecast, request_id)
        if what_if:
            self.metrics.what_if.inc(len(sources))
            return body
        log.add(LoggedBatch(
            request_id=request_id, predicted_at=now, model_version=self.version, timestamps=columns.timestamps,
            numbers=columns.numbers, weather=columns.weather, is_holiday=columns.is_holiday, answers=forecast,
            source=sources, degraded=degraded, level_age_hours=ages,
        ))
        return body

    def _write(
        self, columns: Columns, forecast: Forecast, request_id: str
    ) -> tuple[bytes, list[str], list[bool], list[float | None]]:
        sources: list[str] = forecast.source.tolist()
        degraded: list[bool] = forecast.degraded.tolist()
        ages: list[float | None] = [None if age != age else age for age in forecast.level_age_hours.tolist()]
        self.metrics.count(sources, degraded)
        rows = [
            {
                "timestamp": f"{hour}:00", "demand": demand, "lower_80": l80, "upper_80": u80, "lower_95": l95,
                "upper_95": u95, "degraded": flag, "source": source, "level_age_hours": age,
            }
            for hour, demand, l80, u80, l95, u95, flag, source, age in zip(
                columns.timestamps.astype(str).tolist(), forecast.demand.tolist(), forecast.lower_80.tolist(),
                forecast.upper_80.tolist(), forecast.lower_95.tolist(), forecast.upper_95.tolist(), degraded, sources,
                ages, strict=True,
            )
        ]
        body = to_json({"model_version": self.version, "request_id": request_id, "predictions": rows})
        return body, sources, degraded, ages

    def describe(self) -> dict[str, Any]:
        """What `GET /model` tells: version, contract, backtest, card, and the state the answers depend on."""
        artifact = self._artifact
        if artifact is None:
            raise RuntimeError("describe was called before a model was loaded")
        return {
            "model_version": self.version,
            "content_hash": artifact.content_hash,
            "contract": artifact.contract,
            "metrics": {name: value for name, value in artifact.backtest.items() if name != "weeks"},
            "snapshot": self._snapshot_state(),
            "card": artifact.card,
        }

    def state(self) -> dict[str, Any]:
        """What the supervisor and the roll-out look at."""
        return {
            "ready": self.ready, "refused": self.refused, "problem": self.problem, "model_version": self.version,
            "snapshot": self._snapshot_state(),
            "log": {"queued_rows": 0 if self._log is None else self._log.queued_rows},
        }

    def scrape(self) -> bytes:
        """The metrics page; ages are measured now."""
        snapshot = self._snapshot
        if snapshot is not None:
            self.metrics.snapshot_age_seconds.set(time.monotonic() - self._refreshed_at)
            level = snapshot.levels.get("stateless")
            if level is not None:
                age_hours = (self.clock.now() - level.as_of).total_seconds() / 3600
                self.metrics.level_age_hours.set(max(0.0, age_hours))
        return self.metrics.exposition()

    def _snapshot_state(self) -> dict[str, Any] | None:
        snapshot = self._snapshot
        if snapshot is None:
            return None
        return {
            "as_of": snapshot.as_of.isoformat(),
            "labels_until": None if snapshot.labels_until is None else snapshot.labels_until.isoformat(),
            "age_seconds": round(time.monotonic() - self._refreshed_at, 3),
            "levels": {
                forest: {"level": level.level, "as_of": level.as_of.isoformat(), "reason": level.reason}
                for forest, level in snapshot.levels.items()
            },
        }


def weather_batch(columns: Columns) -> WeatherBatch:
    """The model's view of a request; holiday flags nobody stated are derived from the calendar."""
    numbers = columns.numbers
    flags = None
    if any(flag is not None for flag in columns.is_holiday):
        flags = np.array([np.nan if flag is None else float(flag) for flag in columns.is_holiday])
    return WeatherBatch(
        columns.timestamps, numbers[:, 0], numbers[:, 1], numbers[:, 2], numbers[:, 3],
        columns.weather.astype(np.float64), flags,
    )
