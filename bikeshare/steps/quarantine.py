"""Quarantine: refused days with the reason beside them, until somebody repairs or releases them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

from bikeshare.core.alerts import Alert
from bikeshare.core.verdicts import Verdict
from bikeshare.errors import NotFound
from bikeshare.ports import ObjectStore
from bikeshare.steps.landing import QUARANTINE, day_of, quarantine_key

REASON = "reason.json"

RECENT = timedelta(days=14)
"""A refused day this young says that something is broken now; an older one, met in a backfill of years, is left out."""


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


def holding(store: ObjectStore, now: datetime, since: datetime) -> Sequence[dict[str, Any]]:
    """Notes of the days that say that data are broken now: recent, refused after `since`, not dismissed by anybody.

    Whoever has refused them: a day that the monitor met first holds a training back as well, and the other way round.
    """
    oldest = (now - RECENT).date().isoformat()
    return [
        note for note in quarantined(store)
        if note["day"] >= oldest and note.get("at", now.isoformat()) > since.isoformat() and "dismissed" not in note
    ]


def dismiss(store: ObjectStore, day: date, now: datetime) -> None:
    """Let trainings go on without a day before its hold is over; it stays in quarantine and can still be released.

    Raises:
        NotFound: the day is not in quarantine.
    """
    for note in quarantined(store):
        if note["day"] == day.isoformat():
            note["dismissed"] = now.isoformat()
            store.put(quarantine_key(day, REASON), json.dumps(note, indent=1).encode())
            return
    raise NotFound(f"{day} is not in quarantine: see `bikeshare data quarantine list`")


def rejection(batch: Batch, judged: Verdict, now: datetime) -> Alert:
    """The alert about a refused day; its key holds the content, so that a repeated pass is one message."""
    return Alert(
        kind="data_rejected",
        key=f"data_rejected:{batch.day}:{batch.etag[:16]}",
        incident=f"data:{batch.day}",
        title=f"Observations of {batch.day} were refused: {', '.join(judged.rules)}"[:120],
        reason=judged.reason,
        action="The day is in quarantine; nothing was trained on it and the champion is untouched. Trainings are on "
        "hold: repair and release it, or dismiss it (bikeshare data quarantine dismiss).",
        at=now,
        moved=tuple((f.column or f.rule, f.detail) for f in judged.failures[:3]),
        links=(("quarantine", quarantine_key(batch.day, REASON)),),
        command=f"bikeshare data release {batch.day}",
        tags={"rules": ",".join(judged.rules)},
    )
