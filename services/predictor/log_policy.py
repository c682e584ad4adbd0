"""Sizes and times of the prediction log."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LogPolicy:
    """What a predictor gives its prediction log.

    Attributes:
        queue_rows: Rows that may wait in memory. 200,000 rows are about 60 MB and minutes of heavy traffic.
        spill_rows: When more rows wait, the oldest go to the spool: the database is slower than the traffic.
        flush_seconds: Longest wait before rows are written; what a killed process may lose.
        batch_rows: Rows per insert.
        slice_rows: Rows made into text in one go; the event loop waits that long at most, about 0.1 ms.
        pause_seconds: Sleep after each slice, while no more than one insert's rows wait.
        retry_seconds: First pause after the database failed; doubles up to `retry_max_seconds`.
        retry_max_seconds: Longest pause between two attempts to reach the database.
        close_seconds: Time the last flush may take before the rest goes to the spool.
    """

    queue_rows: int = 200_000
    spill_rows: int = 50_000
    flush_seconds: float = 0.2
    batch_rows: int = 8_192
    slice_rows: int = 16
    pause_seconds: float = 0.0005
    retry_seconds: float = 1.0
    retry_max_seconds: float = 15.0
    close_seconds: float = 10.0


DEFAULTS = LogPolicy()
