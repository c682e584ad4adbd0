"""Alerts on a terminal and in a file of JSON lines, with the same memory as Slack."""

import json
from pathlib import Path
from typing import IO

from bikeshare.adapters.alerts.book import AlertBook, Undelivered
from bikeshare.core.alerts import Alert
from bikeshare.core.messages import plain_text, to_document
from bikeshare.ports import Receipt, Records


class ConsoleNotifier:
    """`bikeshare.ports.Notifier` for the embedded profile.

    Args:
        records: Memory of what was said.
        path: Every delivered alert is appended here as one JSON object per line.
        stream: Where people read; None: only the file.
    """

    def __init__(self, records: Records, path: Path, stream: IO[str] | None = None) -> None:
        self._path = path
        self._stream = stream
        self._book = AlertBook(records, self._carry)

    def send(self, alert: Alert) -> Receipt:
        """Print and append once per key and 24 h."""
        return self._book.send(alert)

    def deliver_pending(self) -> int:
        """Write what waits in the outbox."""
        return self._book.deliver_pending()

    def _carry(self, alert: Alert, thread: str | None) -> str:
        line = json.dumps({**to_document(alert), "thread": thread or alert.incident}, default=str)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise Undelivered(f"{self._path} cannot be written ({error.strerror})") from error
        if self._stream is not None:
            self._stream.write(plain_text(alert) + "\n")
            self._stream.flush()
        return thread or alert.incident
