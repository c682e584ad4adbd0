"""Lines of the prediction log into the records: when to try, what to do about a row that is refused for good."""

import logging
import time
from collections.abc import Callable, Sequence

from bikeshare.errors import BikeshareError, DataError
from bikeshare.ports import Records
from services.predictor.log_policy import LogPolicy
from services.predictor.metrics import Metrics

logger = logging.getLogger("bikeshare.predictor.log")

REFUSALS = 64
"""Inserts tried, by halves, to find the rows that the database refuses; then what is left in one piece is dropped."""


class LogWriter:
    """Inserts and counts; after a failure it is not `reachable` for a growing pause. Used by one thread."""

    def __init__(self, records: Callable[[], Records], metrics: Metrics, policy: LogPolicy) -> None:
        self._records = records
        self._metrics = metrics
        self._policy = policy
        self._retry_at = 0.0
        self._pause = policy.retry_seconds

    @property
    def reachable(self) -> bool:
        """Whether the database answered last time, or it is time to ask again."""
        return time.monotonic() >= self._retry_at

    def insert(self, parts: list[bytes]) -> bool:
        """Insert lines, leaving out those that the database refuses for good; False when it is away."""
        pieces = [parts]
        tries = 0
        while pieces:
            piece = pieces.pop()
            tries += 1
            try:
                new = self._records().insert_prediction_lines(piece)
            except DataError as error:
                lines = b"".join(piece).splitlines(keepends=True)
                if len(lines) > 1 and tries <= REFUSALS:
                    half = len(lines) // 2
                    pieces += [b"".join(lines[half:])], [b"".join(lines[:half])]
                else:
                    self._metrics.log_dropped.labels(reason="rejected").inc(len(lines))
                    logger.error("the database refused %d predictions for good: %s", len(lines), error)
            except BikeshareError as error:
                self._metrics.log_errors.inc()
                self._retry_at = time.monotonic() + self._pause
                logger.warning("database away, spooling for %.0f s: %s", self._pause, error)
                self._pause = min(self._pause * 2, self._policy.retry_max_seconds)
                return False
            else:
                self._pause = self._policy.retry_seconds
                self._metrics.log_written.inc(new)
                self._metrics.log_duplicates.inc(rows_of(piece) - new)
        return True


def rows_of(parts: Sequence[bytes]) -> int:
    """Rows in parts of whole lines."""
    return sum(part.count(b"\n") for part in parts)
