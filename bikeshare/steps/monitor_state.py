"""The monitor's own document in the records: memory, ledger, and alerts that are still to be sent. One atomic write."""

import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bikeshare.core.alerts import Alert
from bikeshare.core.ledger import Ledger
from bikeshare.core.messages import from_document, to_document
from bikeshare.core.monitor_memory import Memory
from bikeshare.ports import Notifier, Records

STATE = "monitor"
LEASE = "monitor"
LEASE_SECONDS = 600
"""A look takes seconds, with a report half a minute; a killed one blocks the next for this long at most."""

REPORT_AGAIN = timedelta(hours=24)


@dataclass(frozen=True)
class Remembered:
    """What the last look left.

    Attributes:
        memory: For the policy.
        ledger: For the evidence.
        due: Alerts that were decided but perhaps not sent.
        reported: Key -> time of reports of the last day.
        revision: Of the document; a write on top of another's is refused.
    """

    memory: Memory = Memory()
    ledger: Ledger = Ledger()
    due: tuple[Alert, ...] = ()
    reported: Mapping[str, datetime] = field(default_factory=dict)
    revision: int = 0


def recall(records: Records, now: datetime) -> Remembered:
    """Read what the last look left; empty at the first."""
    document, revision = records.load_state(STATE)
    reported = {key: datetime.fromisoformat(at) for key, at in document.get("reported", {}).items()}
    return Remembered(
        Memory.from_dict(document.get("memory", {})), Ledger.from_dict(document.get("ledger", {})),
        tuple(from_document(item) for item in document.get("due", ())),
        {key: at for key, at in reported.items() if now - at < REPORT_AGAIN}, revision,
    )


def remember(records: Records, left: Remembered) -> Remembered:
    """Write it; Conflict when another monitor wrote since `recall`."""
    revision = records.save_state(STATE, {
        "memory": left.memory.to_dict(), "ledger": left.ledger.to_dict(),
        "due": [to_document(alert) for alert in left.due],
        "reported": {key: at.isoformat() for key, at in left.reported.items()},
    }, left.revision)
    return Remembered(left.memory, left.ledger, left.due, left.reported, revision)


def tell(records: Records, notifier: Notifier, left: Remembered, alerts: Sequence[Alert]) -> Remembered:
    """Send alerts, then note that nothing is due: a kill in between sends them with the next look."""
    for alert in alerts:
        notifier.send(alert)
    if not left.due:
        return left
    return remember(records, Remembered(left.memory, left.ledger, (), left.reported, left.revision))


@contextmanager
def turn(records: Records, wall_now: datetime) -> Iterator[bool]:
    """Take the monitor's lease for a look; False while another monitor has it."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    mine = records.acquire_lock(LEASE, owner, wall_now, LEASE_SECONDS)
    try:
        yield mine
    finally:
        if mine:
            records.release_lock(LEASE, owner)
