"""Every prediction reaches the records, without ever making an answer wait.

The request only appends one batch to a bounded queue. A thread writes batches to the database; while that is
away they go to the spool, oldest first out again. What fits nowhere is counted, never silently lost. A killed
process loses at most what is in the queue (about one flush interval of traffic); SIGTERM flushes it.
"""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bikeshare.core.calendar import is_public_holiday
from bikeshare.core.contract import CONTRACT_VERSION, WEATHER_CLASSES
from bikeshare.errors import BikeshareError, DataError
from bikeshare.ports import PredictionRow, Records
from services.predictor.metrics import Metrics
from services.predictor.spool import Spool, SpoolFull

_EPOCH = date(1970, 1, 1)

logger = logging.getLogger("bikeshare.predictor.log")


@dataclass(frozen=True)
class LogPolicy:
    """Sizes and times of the prediction log.

    Attributes:
        queue_rows: Rows that may wait in memory. 200,000 rows are about 60 MB and minutes of heavy traffic.
        flush_seconds: Longest wait before rows are written; what a killed process may lose.
        batch_rows: Rows per insert.
        retry_seconds: First pause after the database failed; doubles up to `retry_max_seconds`.
        retry_max_seconds: Longest pause between two attempts to reach the database.
        close_seconds: Time the last flush may take before the rest goes to the spool.
    """

    queue_rows: int = 200_000
    flush_seconds: float = 0.2
    batch_rows: int = 4_096
    retry_seconds: float = 1.0
    retry_max_seconds: float = 15.0
    close_seconds: float = 10.0


class Answers(Protocol):
    """The columns of a forecast that are logged; satisfied by `core.forecasting.Forecast`."""

    @property
    def demand(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def lower_80(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def upper_80(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def lower_95(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def upper_95(self) -> NDArray[np.float64]: ...  # noqa: D102


@dataclass(frozen=True)
class LoggedBatch:
    """One answered request as columns; n rows."""

    request_id: str
    predicted_at: datetime
    model_version: str
    timestamps: NDArray[np.datetime64]
    numbers: NDArray[np.float64]
    weather: NDArray[np.int64]
    is_holiday: Sequence[bool | None]
    answers: Answers
    source: Sequence[str]
    degraded: Sequence[bool]
    level_age_hours: Sequence[float | None]

    def __len__(self) -> int:
        return len(self.timestamps)

    def rows(self) -> list[PredictionRow]:
        """As rows of `predictions`; the features hash covers contract version and inputs of the row."""
        answers = self.answers
        moments: list[datetime] = self.timestamps.astype("datetime64[s]").tolist()
        flags = [
            _holiday(moment.date()) if stated is None else stated
            for stated, moment in zip(self.is_holiday, moments, strict=True)
        ]
        return [
            PredictionRow(
                request_id=self.request_id, position=position, predicted_at=self.predicted_at,
                model_version=self.model_version, timestamp=moments[position],
                temp_c=float(numbers[0]), feels_like_c=float(numbers[1]), humidity_pct=float(numbers[2]),
                windspeed_kmh=float(numbers[3]), weather=WEATHER_CLASSES[int(self.weather[position])],
                is_holiday=flags[position],
                features_hash=features_hash(moments[position], numbers, int(self.weather[position]),
                                            flags[position]),
                demand=float(answers.demand[position]),
                lower_80=float(answers.lower_80[position]), upper_80=float(answers.upper_80[position]),
                lower_95=float(answers.lower_95[position]), upper_95=float(answers.upper_95[position]),
                source=str(self.source[position]), degraded=bool(self.degraded[position]),
                level_age_hours=self.level_age_hours[position],
            )
            for position, numbers in enumerate(self.numbers)
        ]


@lru_cache(maxsize=1_024)
def _holiday(day: date) -> bool:
    hour = np.array([(day - _EPOCH).days * 24], dtype=np.int64)
    return bool(is_public_holiday(hour)[0])


def features_hash(timestamp: datetime, numbers: NDArray[np.float64], weather: int, is_holiday: bool) -> str:
    """Sixteen hex digits over contract version and inputs: equal inputs, equal hash."""
    digest = hashlib.blake2b(CONTRACT_VERSION.encode(), digest_size=8)
    digest.update(timestamp.isoformat().encode())
    digest.update(np.ascontiguousarray(numbers, dtype="<f8").tobytes())
    digest.update(bytes((weather, is_holiday)))
    return digest.hexdigest()


class PredictionLog:
    """Bounded queue, one writer thread, a spool behind it."""

    def __init__(
        self, records: Callable[[], Records], spool: Spool, metrics: Metrics, policy: LogPolicy = LogPolicy()
    ) -> None:
        self._records = records
        self._spool = spool
        self._metrics = metrics
        self._policy = policy
        self._queue: deque[LoggedBatch] = deque()
        self._queued_rows = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._retry_at = 0.0
        self._pause = policy.retry_seconds
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin writing; also replays what an earlier process left."""
        self._thread.start()

    def add(self, batch: LoggedBatch) -> None:
        """Queue one answered request; drops and counts it when the queue is full."""
        with self._lock:
            if self._queued_rows + len(batch) > self._policy.queue_rows:
                self._metrics.log_dropped.labels(reason="queue_full").inc(len(batch))
                return
            self._queue.append(batch)
            self._queued_rows += len(batch)
            if self._queued_rows >= self._policy.batch_rows:
                self._wake.set()

    @property
    def queued_rows(self) -> int:
        """Rows in memory."""
        return self._queued_rows

    def close(self) -> None:
        """Flush to the database or to the spool, then end; waits at most `close_seconds`."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._policy.close_seconds + 1.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._policy.flush_seconds)
            self._wake.clear()
            self._pass()
        deadline = time.monotonic() + self._policy.close_seconds
        while self._queue:
            self._flush(to_disk=time.monotonic() > deadline)
        self._spool.rotate()
        self._metrics.log_spooled_bytes.set(self._spool.bytes)

    def _pass(self) -> None:
        try:
            self._flush()
        except Exception:  # the writer must survive what nobody foresaw; the loss is counted
            logger.exception("prediction log pass failed")
            self._metrics.log_errors.inc()

    def _flush(self, *, to_disk: bool = False) -> None:
        """Write everything queued now; then, when the database answers, replay one old segment."""
        remaining = self._queued_rows
        while remaining > 0:
            rows = self._take()
            if not rows:
                break
            remaining -= len(rows)
            if to_disk or not self._reachable() or not self._insert(rows):
                self._keep(rows)
        self._metrics.log_queue_rows.set(self._queued_rows)
        if not to_disk and self._reachable():
            self._replay()

    def _take(self) -> list[PredictionRow]:
        batches: list[LoggedBatch] = []
        size = 0
        with self._lock:
            while self._queue and (not batches or size + len(self._queue[0]) <= self._policy.batch_rows):
                batches.append(self._queue.popleft())
                size += len(batches[-1])
            self._queued_rows -= size
        return [row for batch in batches for row in batch.rows()]

    def _reachable(self) -> bool:
        return time.monotonic() >= self._retry_at

    def _insert(self, rows: Sequence[PredictionRow]) -> bool:
        try:
            new = self._records().insert_predictions(rows)
        except DataError as error:
            self._metrics.log_dropped.labels(reason="rejected").inc(len(rows))
            logger.error("the database refused %d predictions for good: %s", len(rows), error)
            return True
        except BikeshareError as error:
            self._metrics.log_errors.inc()
            self._retry_at = time.monotonic() + self._pause
            logger.warning("database away, spooling for %.0f s: %s", self._pause, error)
            self._pause = min(self._pause * 2, self._policy.retry_max_seconds)
            return False
        self._pause = self._policy.retry_seconds
        self._metrics.log_written.inc(new)
        self._metrics.log_duplicates.inc(len(rows) - new)
        return True

    def _keep(self, rows: Sequence[PredictionRow]) -> None:
        try:
            self._spool.append(rows)
        except SpoolFull as error:
            self._metrics.log_dropped.labels(reason="spool_full").inc(len(rows))
            logger.error("dropped %d predictions: %s", len(rows), error)
        self._metrics.log_spooled_bytes.set(self._spool.bytes)

    def _replay(self) -> None:
        if self._spool.holds_open_rows:
            self._spool.rotate()
        segments = self._spool.segments()
        if not segments:
            return
        for segment in segments:
            rows, torn = self._spool.read(segment)
            for start in range(0, len(rows), self._policy.batch_rows):
                if not self._insert(rows[start : start + self._policy.batch_rows]):
                    return
            if torn:
                self._metrics.log_dropped.labels(reason="torn").inc(torn)
                logger.warning("%s had %d torn lines", segment.name, torn)
            self._spool.remove(segment)
            if self._queue:
                break
        self._metrics.log_spooled_bytes.set(self._spool.bytes)
