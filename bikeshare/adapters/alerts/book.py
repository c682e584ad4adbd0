"""What was already said: de-duplication, threads and the outbox, kept in the records so that every process agrees."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from bikeshare.core.alerts import Alert
from bikeshare.core.messages import from_document, plain_text, to_document
from bikeshare.errors import Conflict
from bikeshare.ports import Receipt, Records

logger = logging.getLogger("bikeshare.alerts")

STATE = "alerts"
REPEAT_AFTER = timedelta(hours=24)
_FORGET_AFTER = timedelta(days=60)
_ATTEMPTS = 10

Deliver = Callable[[Alert, str | None], str | None]
"""Carry one alert into a thread (None: open one); return the thread. Raises Undelivered or Refused."""


class Undelivered(Exception):
    """The carrier takes nothing now; the alert stays in the outbox. Never leaves the package."""


class Refused(Exception):
    """The carrier will never take this alert, but may take others: it must not hold them back. Never leaves either."""


class AlertBook:
    """Sends what was not said yet. At least once: a kill after the send repeats an alert, it never loses one."""

    def __init__(self, records: Records, deliver: Deliver) -> None:
        self._records = records
        self._deliver = deliver

    def send(self, alert: Alert) -> Receipt:
        """Deliver unless the same key was sent within 24 h; keep what cannot be delivered for the next call.

        What waits goes first, so that people read things in the order in which they happened.
        """
        document, _ = self._records.load_state(STATE)
        earlier = document.get("sent", {}).get(alert.key)
        thread = _thread(document, alert.incident)
        if earlier is not None and abs(alert.at - datetime.fromisoformat(earlier["at"])) < REPEAT_AFTER:
            return Receipt(False, f"the same alert was sent at {earlier['at']}", thread)
        if any(item["key"] == alert.key for item in document.get("outbox", ())):
            return Receipt(False, "the same alert waits in the outbox", thread)
        try:
            if document.get("outbox"):
                deque(self._drain(), maxlen=0)
                thread = _thread(self._records.load_state(STATE)[0], alert.incident)
            thread = self._deliver(alert, thread) or thread
        except Undelivered as problem:
            self._change(lambda old: {**old, "outbox": [*old.get("outbox", ()), to_document(alert)]})
            return Receipt(False, f"{problem}; kept in the outbox, sent with the next look", thread)
        except Refused as problem:
            _tell_refusal(alert, problem)
            return Receipt(False, f"{problem}; not kept", thread)
        self._change(lambda old: _noted(old, alert, thread))
        return Receipt(True, "sent", thread)

    def deliver_pending(self) -> int:
        """Send what waits in the outbox, oldest first, until the carrier takes nothing. Returns how many went out."""
        done = 0
        with suppress(Undelivered):
            for _ in self._drain():
                done += 1
        return done

    def _drain(self) -> Iterator[Alert]:
        """Each alert of the outbox once it is out; raises Undelivered when the carrier takes nothing."""
        document, _ = self._records.load_state(STATE)
        for item in document.get("outbox", ()):
            alert = from_document(item)
            current, _ = self._records.load_state(STATE)
            try:
                thread = self._deliver(alert, _thread(current, alert.incident))
            except Refused as problem:
                _tell_refusal(alert, problem)
                self._change(partial(_without, key=alert.key))
                continue
            self._change(partial(_noted, alert=alert, thread=thread))
            yield alert

    def waiting(self) -> int:
        """Alerts in the outbox."""
        return len(self._records.load_state(STATE)[0].get("outbox", ()))

    def _change(self, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            value, revision = self._records.load_state(STATE)
            try:
                self._records.save_state(STATE, change(value), revision)
                return
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise


def _tell_refusal(alert: Alert, problem: Refused) -> None:
    logger.error("an alert cannot be delivered: %s: %s\n%s", alert.key, problem, plain_text(alert))


def _without(old: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {**old, "outbox": [item for item in old.get("outbox", ()) if item["key"] != key]}


def _thread(document: Mapping[str, Any], incident: str) -> str | None:
    known = document.get("threads", {}).get(incident)
    return known["thread"] if known else None


def _noted(old: Mapping[str, Any], alert: Alert, thread: str | None) -> dict[str, Any]:
    """The book after an alert went out; a recovery closes the incident, so that a relapse is told at once."""
    oldest = alert.at - _FORGET_AFTER
    sent = {key: item for key, item in old.get("sent", {}).items() if datetime.fromisoformat(item["at"]) > oldest}
    if alert.kind == "recovered":
        sent = {key: item for key, item in sent.items() if item["incident"] != alert.incident}
    sent[alert.key] = {"at": alert.at.isoformat(), "incident": alert.incident}
    threads = {key: item for key, item in old.get("threads", {}).items()
               if datetime.fromisoformat(item["at"]) > oldest}
    if thread is not None:
        threads[alert.incident] = {"thread": thread, "at": alert.at.isoformat()}
    return {**_without(old, alert.key), "sent": sent, "threads": threads}
