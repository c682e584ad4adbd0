"""Quarantine: refused days with the reason beside them, until somebody repairs or releases them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from bikeshare.core.alerts import Alert
from bikeshare.core.verdicts import Verdict
from bikeshare.errors import NotFound
from bikeshare.ports import ObjectStore
from bikeshare.steps.landing import QUARANTINE, day_of, quarantine_key

REASON = "reason.json"


@dataclass(frozen=True)
class Batch:
    """One day that has landed and was not judged yet (or has changed since)."""

    day: date
    key: str
    etag: str


def keep(store: ObjectStore, batch: Batch, data: bytes, judged: Verdict, now: datetime) -> str:
    """Copy a refused day to `quarantine/date=…/` with `reason.json`; return the key of the reason.

    The day stays in `raw/` until people were told; then the caller deletes it there.
    """
    store.put(quarantine_key(batch.day), data)
    note = {
        "day": batch.day.isoformat(), "at": now.isoformat(), "reason": judged.reason, "rows": judged.rows,
        "rules": list(judged.rules), "failures": [asdict(failure) for failure in judged.failures],
    }
    key = quarantine_key(batch.day, REASON)
    store.put(key, json.dumps(note, indent=1).encode())
    return key


def forget(store: ObjectStore, day: date) -> None:
    """Remove a day from quarantine, after it was accepted."""
    store.delete(quarantine_key(day))
    store.delete(quarantine_key(day, REASON))


def quarantined_days(store: ObjectStore) -> frozenset[date]:
    """Days that have anything in quarantine."""
    return frozenset(day for item in store.list(QUARANTINE) if (day := day_of(item.key)) is not None)


def quarantined(store: ObjectStore) -> Sequence[dict[str, Any]]:
    """The notes of all days in quarantine, oldest first; a day whose note is not written yet has no reason."""
    notes = []
    for day in sorted(quarantined_days(store)):
        try:
            notes.append(json.loads(store.get(quarantine_key(day, REASON))))
        except NotFound:
            notes.append({"day": day.isoformat(), "reason": "", "rules": [], "failures": []})
    return notes


def rejection(batch: Batch, judged: Verdict, now: datetime) -> Alert:
    """The alert about a refused day; its key holds the content, so that a repeated pass is one message."""
    return Alert(
        kind="data_rejected",
        key=f"data_rejected:{batch.day}:{batch.etag[:16]}",
        incident=f"data:{batch.day}",
        title=f"Observations of {batch.day} were refused: {', '.join(judged.rules)}"[:120],
        reason=judged.reason,
        action="The day is in quarantine; nothing was trained on it and the champion is untouched.",
        at=now,
        moved=tuple((f.column or f.rule, f.detail) for f in judged.failures[:3]),
        links=(("quarantine", quarantine_key(batch.day, REASON)),),
        command=f"bikeshare data release {batch.day}",
        tags={"rules": ",".join(judged.rules)},
    )
