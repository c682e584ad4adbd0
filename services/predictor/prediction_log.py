"""Every prediction reaches the records, without ever making an answer wait.

The request only appends one batch to a bounded queue. A thread writes batches to the database; while that is
away they go to the spool, oldest first out again. What fits nowhere is counted, never silently lost. A killed
process loses at most what is in the queue (about one flush interval of traffic); SIGTERM flushes it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bikeshare.errors import BikeshareError, DataError
from bikeshare.ports import PredictionRow, Records
from services.predictor.logged import Logged
from services.predictor.metrics import Metrics
from services.predictor.spool import Spool, SpoolFull

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


class PredictionLog:
    """Bounded queue, one writer thread, a spool behind it."""

    def __init__(
        self, records: Callable[[], Records], spool: Spool, metrics: Metrics, policy: LogPolicy = LogPolicy()
    ) -> None:
        self._records = records
        self._spool = spool
        self._metrics = metrics
        self._policy = policy
        self._queue: deque[Logged] = deque()
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

    def add(self, batch: Logged) -> None:
        """Queue one answered request; drops and counts it when the queue is full."""
        size = batch.size
        with self._lock:
            if self._queued_rows + size > self._policy.queue_rows:
                self._metrics.log_dropped.labels(reason="queue_full").inc(size)
                return
            self._queue.append(batch)
            self._queued_rows += size
            if self._queued_rows >= self._policy.batch_rows:
                self._wake.set()

    def extend(self, batches: Sequence[Logged]) -> None:
        """Queue several answered requests; the ones that do not fit are dropped and counted."""
        dropped = 0
        with self._lock:
            for batch in batches:
                size = batch.size
                if self._queued_rows + size > self._policy.queue_rows:
                    dropped += size
                    continue
                self._queue.append(batch)
                self._queued_rows += size
            if self._queued_rows >= self._policy.batch_rows:
                self._wake.set()
        if dropped:
            self._metrics.log_dropped.labels(reason="queue_full").inc(dropped)

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
        batches: list[Logged] = []
        size = 0
        with self._lock:
            while self._queue and (not batches or size + self._queue[0].size <= self._policy.batch_rows):
                batches.append(self._queue.popleft())
                size += batches[-1].size
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
