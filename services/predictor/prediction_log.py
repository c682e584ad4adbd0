"""Every prediction reaches the records, without ever making an answer wait.

The request only appends one batch to a bounded queue. A thread makes one line of text of each row, a few rows at a
time so that the event loop gets the interpreter back, and hands the lines to the database as they are; while that is
away, or slower than the traffic, they go to the spool, oldest first out again. What fits nowhere is counted, never
silently lost. A killed process loses at most what is in the queue (about one flush interval of traffic); SIGTERM
flushes it.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice

from bikeshare.core.prediction_lines import encode
from bikeshare.ports import Records
from services.predictor.log_policy import DEFAULTS, LogPolicy
from services.predictor.log_writer import LogWriter, rows_of
from services.predictor.logged import Logged
from services.predictor.metrics import Metrics
from services.predictor.spool import Spool, SpoolFull

logger = logging.getLogger("bikeshare.predictor.log")


class PredictionLog:
    """Bounded queue, one writer thread, a spool behind it."""

    def __init__(
        self, records: Callable[[], Records], spool: Spool, metrics: Metrics, policy: LogPolicy = DEFAULTS
    ) -> None:
        self._writer = LogWriter(records, metrics, policy)
        self._spool = spool
        self._metrics = metrics
        self._policy = policy
        self._queue: deque[Logged] = deque()
        self._queued_rows = 0
        self._in_flight: list[bytes] = []
        self._given_up = False
        self._unreadable = ""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin writing; also replays what an earlier process left."""
        self._thread.start()

    def add(self, batch: Logged) -> None:
        """Queue one answered request; drops and counts it when the queue is full."""
        self.extend((batch,))

    def extend(self, batches: Sequence[Logged]) -> None:
        """Queue several answered requests; each that does not fit any more is dropped whole and counted."""
        lost = 0
        with self._lock:
            queued, room = self._queued_rows, self._policy.queue_rows
            for batch in batches:
                size = batch.size
                if queued + size > room:
                    lost += size
                else:
                    self._queue.append(batch)
                    queued += size
            self._queued_rows = queued
        if lost:
            self._metrics.log_dropped.labels(reason="queue_full").inc(lost)
        if queued >= self._policy.batch_rows and not self._wake.is_set():
            self._wake.set()

    @property
    def queued_rows(self) -> int:
        """Rows in memory: neither in the database nor in the spool yet."""
        return self._queued_rows

    def close(self) -> None:
        """Flush to the database or to the spool, then end; waits at most `close_seconds` for the database."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(self._policy.close_seconds + 1.0)
            if self._thread.is_alive():
                self._give_up()

    def _give_up(self) -> None:
        """The database neither answers nor refuses, and its thread waits for it: this one saves what can be saved.

        The insert under way may still succeed; its rows are kept as well, because a repeated one is logged once.
        """
        self._given_up = True
        self._metrics.log_errors.inc()
        logger.error("the database hangs: %d predictions go to the spool", self._queued_rows)
        self._keep(self._in_flight)
        while batches := self._take():
            self._keep(self._text(batches))
        with suppress(OSError):
            self._spool.rotate()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._policy.flush_seconds)
            self._wake.clear()
            self._pass()
        deadline = time.monotonic() + self._policy.close_seconds
        while self._queue:
            self._flush(deadline)
        if self._given_up:
            return
        with suppress(OSError):  # what is on disk stays there for the next process
            self._spool.rotate()
        self._measure()

    def _pass(self) -> None:
        try:
            self._flush()
            if self._writer.reachable and self._queued_rows < self._policy.batch_rows:
                self._try_replay()
        except Exception:  # the writer must survive what nobody foresaw; the loss is counted
            logger.exception("prediction log pass failed")
            self._metrics.log_errors.inc()
        self._metrics.log_queue_rows.set(self._queued_rows)

    def _flush(self, deadline: float = math.inf) -> None:
        """Write everything queued now."""
        remaining = self._queued_rows
        while remaining > 0 and self._queue:
            batches = self._take()
            rows = sum(batch.size for batch in batches)
            try:
                parts = self._in_flight = self._text(batches)
                to_disk = self._queued_rows > self._policy.spill_rows or time.monotonic() > deadline
                if to_disk or not self._writer.reachable or not self._writer.insert(parts):
                    self._keep(parts)
            finally:
                self._in_flight = []
                remaining -= rows
                with self._lock:
                    self._queued_rows -= rows

    def _take(self) -> list[Logged]:
        """The oldest requests, up to one insert's rows; without the lock, which requests would wait for."""
        batches: list[Logged] = []
        rows = 0
        while self._queue and rows < self._policy.batch_rows:
            batches.append(self._queue.popleft())
            rows += batches[-1].size
        return batches

    def _text(self, batches: Sequence[Logged]) -> list[bytes]:
        """The lines of these requests, a slice in each element."""
        parts: list[bytes] = []
        lines = (line for batch in batches for line in batch.lines())
        while text := "".join(islice(lines, self._policy.slice_rows)):
            parts.append(encode(text))
            self._rest()
        return parts

    def _rest(self) -> None:
        """Let the event loop have the interpreter: it gives it away at every socket call and waits to get it back."""
        if self._queued_rows <= self._policy.batch_rows and not self._stopping.is_set():
            time.sleep(self._policy.pause_seconds)

    def _keep(self, parts: Sequence[bytes]) -> None:
        try:
            self._spool.append(parts)
        except SpoolFull as error:
            rows = rows_of(parts)
            self._metrics.log_dropped.labels(reason="spool_full").inc(rows)
            logger.error("dropped %d predictions: %s", rows, error)
        self._measure()

    def _measure(self) -> None:
        with suppress(OSError):  # whoever writes or replays says so
            self._metrics.log_spooled_bytes.set(self._spool.used_bytes)

    def _try_replay(self) -> None:
        """Replay; a spool that cannot be read is told once, not at every pass."""
        problem = ""
        try:
            self._replay()
        except OSError as error:
            problem = str(error)
            self._metrics.log_errors.inc()
            if problem != self._unreadable:
                logger.warning("the spool cannot be replayed: %s", problem)
        self._unreadable = problem

    def _replay(self) -> None:
        """Insert old segments until new rows wait."""
        if self._spool.holds_open_rows:
            self._spool.rotate()
        for segment in self._spool.segments():
            torn, parts, rows = 0, [], 0
            for part in self._spool.read(segment):
                torn += part.torn
                parts.append(part.lines)
                rows += part.rows
                self._rest()
                if rows >= self._policy.batch_rows:
                    if not self._writer.insert(parts):
                        return
                    parts, rows = [], 0
            if parts and not self._writer.insert(parts):
                return
            if torn:
                self._metrics.log_dropped.labels(reason="torn").inc(torn)
                logger.warning("%s had %d torn lines", segment.name, torn)
            self._spool.remove(segment)
            self._measure()
            if self._queue:
                return
