"""Ingest: new days are judged; good ones become records, bad ones go to quarantine with the reason.

Every order of events that a killed process can leave behind is repaired by the next run: accepted rows are
upserted before the manifest says so, and a day is copied to quarantine before it leaves `raw/`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd

from bikeshare.core.alerts import Alert
from bikeshare.core.limits import ValidationLimits, extend_limits, learn_limits
from bikeshare.core.observations import read_parquet
from bikeshare.core.validation import ValidationPolicy, usable, validate
from bikeshare.core.verdicts import Failure, Verdict, verdict
from bikeshare.errors import BatchRejected, Conflict, DataError, NotFound
from bikeshare.ports import Notifier, ObjectStore, Records
from bikeshare.steps.landing import FILE, QUARANTINE, RAW, day_of, quarantine_key, raw_key

MANIFEST = "ingest/manifest"
"""State document: day -> etag prefix of the object that was accepted."""

LIMITS = "ingest/limits"
"""State document: the limits learned from accepted history."""

REASON = "reason.json"
_ETAG_CHARACTERS = 16
_ATTEMPTS = 5


@dataclass(frozen=True)
class Batch:
    """One day that has landed and was not judged yet (or has changed since)."""

    day: date
    key: str
    etag: str


@dataclass(frozen=True)
class IngestResult:
    """What one pass did; `verdicts` holds every judged day."""

    accepted_days: tuple[date, ...]
    quarantined_days: tuple[date, ...]
    verdicts: Mapping[date, Verdict]
    rows: int
    reason: str


def pending(store: ObjectStore, records: Records) -> Sequence[Batch]:
    """Landed days that are not in the manifest with their present content, oldest first."""
    manifest, _ = records.load_state(MANIFEST)
    found = []
    for item in store.list(RAW):
        if item.key.endswith("/" + FILE):
            day = day_of(item.key)
            if manifest.get(day.isoformat()) != item.etag[:_ETAG_CHARACTERS]:
                found.append(Batch(day, item.key, item.etag))
    return found


def process_new(store: ObjectStore, records: Records, notifier: Notifier | None, now: datetime,
                policy: ValidationPolicy | None = None,
                progress: Callable[[int, int], None] | None = None) -> IngestResult:
    """Judge every pending day, accept or quarantine it, and tell people about refused ones.

    Idempotent: a second call finds nothing to do. Safe to repeat after a kill at any point.

    Args:
        store: Where days land.
        records: Where accepted rows, the manifest and the learned limits live.
        notifier: Receives one `data_rejected` alert per refused day; None to stay quiet.
        now: Naive local time.
        policy: Limits that are not learned from history.
        progress: Called with (days done, days to do).
    """
    policy = policy or ValidationPolicy()
    waiting = pending(store, records)
    accepted: dict[date, str] = {}
    refused: list[date] = []
    verdicts: dict[date, Verdict] = {}
    rows = 0
    learned = load_limits(records) if waiting else ValidationLimits()
    limits = learned
    for done, batch in enumerate(waiting, start=1):
        frame, judged = judge(store.get(batch.key), batch.day, limits, now, policy)
        verdicts[batch.day] = judged
        if judged.passed and frame is not None:
            rows += records.upsert_observations(frame)
            limits = extend_limits(limits, frame)
            accepted[batch.day] = batch.etag
        else:
            quarantine(store, batch, judged, now)
            refused.append(batch.day)
            if notifier is not None:
                notifier.send(rejection(batch, judged, now))
        if progress is not None:
            progress(done, len(waiting))
    if accepted:
        _remember(records, LIMITS, lambda _: limits.to_dict())
        _remember(records, MANIFEST, lambda old: {
            **old, **{day.isoformat(): etag[:_ETAG_CHARACTERS] for day, etag in accepted.items()}
        })
    return IngestResult(
        tuple(accepted), tuple(refused), verdicts, rows,
        f"{len(accepted)} days accepted ({rows} rows), {len(refused)} refused" if waiting else "no new day has landed",
    )


def judge(data: bytes, day: date, limits: ValidationLimits, now: datetime, policy: ValidationPolicy,
          ) -> tuple[pd.DataFrame | None, Verdict]:
    """The usable rows of a landed object and the verdict; unreadable bytes are a verdict, not an exception."""
    try:
        raw = read_parquet(data)
    except DataError as error:
        return None, verdict(0, [Failure("unreadable", "", f"The object of {day} is unusable: {error}.", 0)])
    judged = validate(raw, limits, now, policy)
    if not judged.passed:
        return None, judged
    frame = usable(raw)
    strangers = frame["timestamp"].dt.date != day
    if strangers.any():
        hour = frame["timestamp"][strangers].iloc[0]
        return None, verdict(len(raw), [Failure(
            "wrong_day", "timestamp", f"{int(strangers.sum())} rows are not of {day}, first {hour}; land them by day.",
            int(strangers.sum()), str(hour), str(day),
        )])
    return frame, judged


def quarantine(store: ObjectStore, batch: Batch, judged: Verdict, now: datetime) -> str:
    """Move a day to `quarantine/date=…/` with `reason.json`; return the key of the reason.

    Copy, reason, delete: a kill in between leaves the day in `raw/`, and the next run does all three again.
    """
    store.put(quarantine_key(batch.day), store.get(batch.key))
    note = {
        "day": batch.day.isoformat(), "at": now.isoformat(), "reason": judged.reason, "rows": judged.rows,
        "failures": [asdict(failure) for failure in judged.failures],
    }
    key = quarantine_key(batch.day, REASON)
    store.put(key, json.dumps(note, indent=1).encode())
    store.delete(batch.key)
    return key


def release(store: ObjectStore, records: Records, day: date, now: datetime,
            policy: ValidationPolicy | None = None, *, force: bool = False) -> IngestResult:
    """Judge a quarantined day again, after somebody repaired the object, and ingest it.

    Args:
        store: Where the quarantine is.
        records: Where accepted rows go.
        day: Which day.
        now: Naive local time.
        policy: Limits that are not learned from history.
        force: Accept although learned rules fail (a real storm, a real shutdown); the contract still holds.

    Raises:
        NotFound: the day is not in quarantine.
        BatchRejected: it still fails; nothing changed.
    """
    policy = policy or ValidationPolicy()
    key = quarantine_key(day)
    try:
        data = store.get(key)
    except NotFound as error:
        raise NotFound(f"{day} is not in quarantine: see `bikeshare data quarantine list`") from error
    limits = load_limits(records)
    frame, judged = judge(data, day, limits, now, policy)
    if frame is None and force and not set(judged.rules) & HARD_RULES:
        frame = usable(read_parquet(data))
    if frame is None:
        raise BatchRejected(f"{day} still fails and stays in quarantine: {judged.reason}")
    rows = records.upsert_observations(frame)
    if judged.passed:
        _remember(records, LIMITS, lambda old: extend_limits(ValidationLimits.from_dict(old), frame).to_dict())
    etag = store.put(raw_key(day), data)
    _remember(records, MANIFEST, lambda old: {**old, day.isoformat(): etag[:_ETAG_CHARACTERS]})
    store.delete(key)
    store.delete(quarantine_key(day, REASON))
    return IngestResult((day,), (), {day: judged}, rows, f"{day} released: {rows} rows accepted")


HARD_RULES = frozenset({"schema", "duplicates", "unreadable", "empty", "wrong_day", "nulls", "future"})
"""Rules that no release can override: the rows could not be stored or would poison time itself."""


def quarantined(store: ObjectStore) -> Sequence[dict[str, Any]]:
    """The notes of all days in quarantine, oldest first; a day whose note is not written yet has no reason."""
    notes: dict[str, dict[str, Any]] = {}
    for item in store.list(QUARANTINE):
        day = day_of(item.key).isoformat()
        notes.setdefault(day, {"day": day, "reason": "", "failures": []})
        if item.key.endswith("/" + REASON):
            notes[day] = json.loads(store.get(item.key))
    return [notes[day] for day in sorted(notes)]


def load_limits(records: Records) -> ValidationLimits:
    """The learned limits; learned from the accepted history when they were never saved."""
    document, _ = records.load_state(LIMITS)
    if document:
        return ValidationLimits.from_dict(document)
    return learn_limits(records.observations())


def rejection(batch: Batch, judged: Verdict, now: datetime) -> Alert:
    """The alert about a refused day."""
    return Alert(
        kind="data_rejected",
        key=f"data_rejected:{batch.day}:{batch.etag[:_ETAG_CHARACTERS]}",
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


def _remember(records: Records, name: str, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        value, revision = records.load_state(name)
        try:
            records.save_state(name, change(value), revision)
            return
        except Conflict:
            if attempt == _ATTEMPTS:
                raise


