"""Keeps the snapshot of the world fresh, away from the requests.

A pass reads recent observations, refreshes the level and swaps the snapshot. It runs every `refresh_seconds`, and
at once when the clock reaches another hour (also backwards), so that a virtual day is followed promptly. When the
database is away the old snapshot stays and its age is exposed.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from bikeshare.core.forecasting import Snapshot
from bikeshare.errors import BikeshareError
from bikeshare.ports import Clock

logger = logging.getLogger("bikeshare.predictor.refresher")

POLL_SECONDS = 0.25
"""How often the clock is looked at; reading its file costs 30 µs."""


class Refresher:
    """One thread that calls `build(now)` and hands the result to `use`."""

    def __init__(
        self, build: Callable[[datetime], Snapshot], fallback: Callable[[datetime], Snapshot],
        use: Callable[[Snapshot], None], failed: Callable[[], None], clock: Clock, refresh_seconds: float,
        retry_seconds: float = 2.0,
    ) -> None:
        """Remember what to call.

        Args:
            build: Snapshot from the records; raises BikeshareError when they are away.
            fallback: Snapshot without history, for a start while the records are away.
            use: Takes over a new snapshot.
            failed: Counts a failed pass.
            clock: The service's clock.
            refresh_seconds: Pause between two passes, in machine time.
            retry_seconds: Pause after a failed pass.
        """
        self._build = build
        self._fallback = fallback
        self._use = use
        self._failed = failed
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = min(retry_seconds, refresh_seconds)
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._due_at = 0.0
        self._hour: datetime | None = None
        self._succeeded = False
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)

    def start(self) -> None:
        """Take the first look in the background."""
        self._thread.start()

    def refresh(self) -> None:
        """One pass now; raises BikeshareError when the records are away."""
        with self._turn:
            now = self._clock.now()
            self._hour = _hour_of(now)
            self._due_at = time.monotonic() + self._retry_seconds
            self._use(self._build(now))
            self._due_at = time.monotonic() + self._refresh_seconds
            self._succeeded = True

    def close(self) -> None:
        """End the thread; a pass under way may finish."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = min(POLL_SECONDS, self._refresh_seconds)
            try:
                if time.monotonic() >= self._due_at or _hour_of(self._clock.now()) != self._hour:
                    self.refresh()
            except BikeshareError as error:
                self._failed()
                logger.warning("kept the old snapshot: %s", error)
                self._without_history()
                pause = self._retry_seconds
            except Exception:  # a pass must never end the thread: the service would serve an ageing level for ever
                self._failed()
                logger.exception("kept the old snapshot")
                self._without_history()
                pause = self._retry_seconds

    def _without_history(self) -> None:
        """Before the first success there is nothing to keep: answer degraded rather than not at all."""
        if self._succeeded:
            return
        try:
            self._use(self._fallback(self._clock.now()))
        except BikeshareError as error:
            logger.error("no snapshot at all: %s", error)


def _hour_of(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
