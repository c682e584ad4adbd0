"""Ingest: new days are judged; good ones become records, bad ones go to quarantine with the reason.

Every state that a killed process can leave behind is repaired by the next pass: rows are upserted before the
manifest says so, and a refused day leaves `raw/` only after its copy, its reason and its alert are out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import pandas as pd

from bikeshare.core.limits import ValidationLimits, extend_limits, learn_limits
from bikeshare.core.observations import read_parquet
from bikeshare.core.rhythm import RHYTHM_DAYS, Rhythm, check_clock, extend_rhythm, learn_rhythm, suspect_clock
from bikeshare.core.schema import check_schema
from bikeshare.core.validation import ValidationPolicy, refuse_schema, usable, validate_values
from bikeshare.core.verdicts import Failure, Verdict, verdict
from bikeshare.errors import BatchRejected, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import Notifier, ObjectStore, Records
from bikeshare.steps.landing import FILE, RAW, day_of, quarantine_key, raw_key
from bikeshare.steps.quarantine import Batch, forget, keep, quarantined, quarantined_days, rejection

STATE = "ingest"
"""State document: `manifest` (day -> etag prefix of the accepted object) and `limits` learned from accepted days."""

HARD_RULES = frozenset({"schema", "duplicates", "unreadable", "empty", "wrong_day", "nulls", "future"})
"""Rules that no release can override: the rows could not be stored or would poison time itself."""

CHUNK_DAYS = 31
"""Days that are judged before the records are written: one transaction instead of 31 in a first import."""

NEIGHBOUR_DAYS = 7
"""After a longer gap the usual day is that of the accepted history before it (a backfill of a missed day)."""

_ETAG_CHARACTERS = 16
_ATTEMPTS = 5


@dataclass(frozen=True)
class IngestResult:
    """What one pass did.

    Attributes:
        accepted_days: Days whose rows are now in the records.
        quarantined_days: Days that were refused in this pass.
        verdicts: Judgement of every day of this pass.
        rows: Rows accepted.
        reason: One sentence for people.
        unreported_days: Refused days whose alert could not be delivered; the next pass tries again.
    """

    accepted_days: tuple[date, ...]
    quarantined_days: tuple[date, ...]
    verdicts: Mapping[date, Verdict]
    rows: int
    reason: str
    unreported_days: tuple[date, ...] = ()


@dataclass(frozen=True)
class _Judged:
    batch: Batch
    data: bytes
    frame: pd.DataFrame | None
    verdict: Verdict


def pending(store: ObjectStore, records: Records) -> Sequence[Batch]:
    """Landed days that are not in the manifest with their present content, oldest first."""
    document, _ = records.load_state(STATE)
    manifest = document.get("manifest", {})
    found = []
    for item in store.list(RAW):
        if item.key.endswith("/" + FILE):
            day = day_of(item.key)
            if day is not None and manifest.get(day.isoformat()) != item.etag[:_ETAG_CHARACTERS]:
                found.append(Batch(day, item.key, item.etag))
    return found


def process_new(
    store: ObjectStore,
    records: Records,
    notifier: Notifier | None,
    now: datetime,
    policy: ValidationPolicy | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IngestResult:
    """Judge every pending day, accept or quarantine it, and tell people about refused ones.

    Idempotent: a second call finds nothing to do. Safe to repeat after a kill at any point, and safe beside
    another process that does the same.

    Args:
        store: Where days land.
        records: Where accepted rows, the manifest and the learned limits live.
        notifier: Receives one `data_rejected` alert per refused day; None to stay quiet.
        now: Naive local time.
        policy: Limits that are not learned from history.
        progress: Called with (days done, days to do).

    Raises:
        Unavailable: the store or the records are away; what was accepted so far stays accepted.
    """
    policy = policy or ValidationPolicy()
    waiting = pending(store, records)
    if not waiting:
        return IngestResult((), (), {}, 0, "no new day has landed")
    limits = load_limits(records)
    held = quarantined_days(store)
    accepted: list[date] = []
    refused: list[date] = []
    unreported: list[date] = []
    verdicts: dict[date, Verdict] = {}
    rows = 0
    done = 0
    rhythm = Rhythm()
    for chunk, goes_on in _chunks(waiting):
        if not goes_on:
            rhythm = load_rhythm(store, records, chunk[0].day)
        judged, limits, rhythm = _judge_chunk(store, chunk, limits, rhythm, now, policy)
        good = [item for item in judged if item.frame is not None]
        rows += _accept(records, good)
        for item in good:
            if item.batch.day in held:
                forget(store, item.batch.day)
        for item in judged:
            verdicts[item.batch.day] = item.verdict
            if item.frame is None:
                refused.append(item.batch.day)
                if not _refuse(store, notifier, item, now):
                    unreported.append(item.batch.day)
        accepted += [item.batch.day for item in good]
        done += len(chunk)
        if progress is not None:
            progress(done, len(waiting))
    late = f", {len(unreported)} alerts wait for the next pass" if unreported else ""
    rules = sorted({rule for day in refused for rule in verdicts[day].rules})
    why = f" ({', '.join(rules)})" if rules else ""
    return IngestResult(
        tuple(accepted), tuple(refused), verdicts, rows,
        f"{len(accepted)} days accepted ({rows} rows), {len(refused)} refused{why}{late}", tuple(unreported),
    )


def judge(data: bytes, day: date, limits: ValidationLimits, now: datetime, policy: ValidationPolicy,
          rhythm: Rhythm | None = None) -> tuple[pd.DataFrame | None, Verdict]:
    """The usable rows of a landed object and the verdict; unreadable bytes are a verdict, not an exception."""
    try:
        raw = read_parquet(data)
    except DataError as error:
        return None, _unreadable(day, error)
    return _judge_frame(raw, day, limits, rhythm or Rhythm(), now, policy, check_schema(raw))


def release(
    store: ObjectStore,
    records: Records,
    day: date,
    now: datetime,
    policy: ValidationPolicy | None = None,
    *,
    force: bool = False,
) -> IngestResult:
    """Judge a quarantined day again, after somebody repaired the object, and ingest it.

    Args:
        store: Where the quarantine is.
        records: Where accepted rows go.
        day: Which day.
        now: Naive local time.
        policy: Limits that are not learned from history.
        force: Accept although learned rules fail (a real storm, a real shutdown); `HARD_RULES` still hold. The
            limits do not learn from such a day.

    Raises:
        NotFound: the day is not in quarantine.
        BatchRejected: it still fails; nothing changed.
    """
    policy = policy or ValidationPolicy()
    try:
        data = store.get(quarantine_key(day))
    except NotFound as error:
        raise NotFound(f"{day} is not in quarantine: see `bikeshare data quarantine list`") from error
    frame, judged = judge(data, day, load_limits(records), now, policy, load_rhythm(store, records, day))
    if frame is None and force and not set(judged.rules) & HARD_RULES:
        frame = usable(read_parquet(data))
    if frame is None:
        override = "" if set(judged.rules) & HARD_RULES else " Add --force if this is what really happened."
        raise BatchRejected(f"{day} still fails and stays in quarantine: {judged.reason}{override}")
    etag = store.put(raw_key(day), data)
    item = _Judged(Batch(day, raw_key(day), etag), data, frame, judged)
    rows = _accept(records, [item])
    forget(store, day)
    return IngestResult((day,), (), {day: judged}, rows, f"{day} released: {rows} rows accepted")


def load_limits(records: Records) -> ValidationLimits:
    """The learned limits; learned from the accepted history when none were saved yet."""
    document, _ = records.load_state(STATE)
    if document.get("limits"):
        return ValidationLimits.from_dict(document["limits"])
    return learn_limits(records.observations())


def load_rhythm(store: ObjectStore, records: Records, day: date) -> Rhythm:
    """The usual day before `day`, from the newest accepted days; in doubt when a wrong clock was refused after them."""
    end = datetime.combine(day, time())
    accepted = records.observations(end - timedelta(days=RHYTHM_DAYS), end)
    rhythm = learn_rhythm(accepted)
    if not rhythm.known:  # weeks of refused days must not make a stranger's clock the usual one
        accepted = records.observations(None, end)
        days = accepted["timestamp"].dt.date
        accepted = accepted[days.isin(sorted(days.unique())[-RHYTHM_DAYS:])]
        rhythm = learn_rhythm(accepted)
    newest = accepted["timestamp"].iloc[-1].date().isoformat() if len(accepted) else ""
    for note in quarantined(store):
        if newest < note["day"] < day.isoformat():
            for failure in note["failures"]:
                if failure["rule"] == "clock":
                    rhythm = suspect_clock(rhythm, Failure(**failure))
    return rhythm


def _chunks(waiting: Sequence[Batch]) -> Iterator[tuple[Sequence[Batch], bool]]:
    """At most `CHUNK_DAYS` days at a time, and whether they go on where the chunk before ended."""
    chunk: list[Batch] = []
    goes_on = False
    for batch in waiting:
        apart = bool(chunk) and (batch.day - chunk[-1].day).days > NEIGHBOUR_DAYS
        if apart or len(chunk) == CHUNK_DAYS:
            yield chunk, goes_on
            chunk, goes_on = [], not apart
        chunk.append(batch)
    yield chunk, goes_on


def _judge_chunk(
    store: ObjectStore, batches: Sequence[Batch], limits: ValidationLimits, rhythm: Rhythm, now: datetime,
    policy: ValidationPolicy,
) -> tuple[list[_Judged], ValidationLimits, Rhythm]:
    read: list[tuple[Batch, bytes, pd.DataFrame | DataError]] = []
    for batch in batches:
        try:
            data = store.get(batch.key)
        except NotFound:
            continue  # another process moved it to quarantine meanwhile
        try:
            read.append((batch, data, read_parquet(data)))
        except DataError as error:
            read.append((batch, data, error))
    frames = [content for _, _, content in read if isinstance(content, pd.DataFrame)]
    # One schema check for all days together; only when it fails is it worth asking which day it was.
    clean = len(frames) > 1 and _same_columns(frames) and not check_schema(pd.concat(frames, ignore_index=True))
    judged = []
    for batch, data, content in read:
        if isinstance(content, DataError):
            judged.append(_Judged(batch, data, None, _unreadable(batch.day, content)))
            continue
        failures = [] if clean else check_schema(content)
        frame, outcome = _judge_frame(content, batch.day, limits, rhythm, now, policy, failures)
        if frame is not None:
            limits, rhythm = extend_limits(limits, frame), extend_rhythm(rhythm, frame)
        for failure in outcome.failures:
            if failure.rule == "clock":
                rhythm = suspect_clock(rhythm, failure)
        judged.append(_Judged(batch, data, frame, outcome))
    return judged, limits, rhythm


def _judge_frame(
    raw: pd.DataFrame, day: date, limits: ValidationLimits, rhythm: Rhythm, now: datetime,
    policy: ValidationPolicy, schema_failures: Sequence[Failure],
) -> tuple[pd.DataFrame | None, Verdict]:
    if schema_failures:
        return None, refuse_schema(raw, schema_failures, limits, policy)
    judged = validate_values(raw, limits, now, policy, day=day)
    if not judged.passed:
        return None, judged
    rows = usable(raw)
    wrong_clock = check_clock(rows, rhythm, policy)
    return (rows, judged) if wrong_clock is None else (None, verdict(judged.rows, [wrong_clock]))


def _refuse(store: ObjectStore, notifier: Notifier | None, item: _Judged, now: datetime) -> bool:
    """Copy, reason, alert, and only then delete: a kill in between makes the next pass repeat all four."""
    keep(store, item.batch, item.data, item.verdict, now)
    if notifier is not None:
        try:
            notifier.send(rejection(item.batch, item.verdict, now))
        except Unavailable:
            return False
    with suppress(Conflict):  # repaired meanwhile: the next pass judges what lies there now
        store.delete(item.batch.key, if_match=item.batch.etag)
    return True


def _accept(records: Records, items: Sequence[_Judged]) -> int:
    frames = [item.frame for item in items if item.frame is not None]
    if not frames:
        return 0
    days = [item.batch.day for item in items if item.frame is not None]
    rows = records.replace_observations(pd.concat(frames, ignore_index=True), days)
    for attempt in range(1, _ATTEMPTS + 1):
        document, revision = records.load_state(STATE)
        try:
            records.save_state(STATE, _with_days(document, items, records), revision)
            return rows
        except Conflict:
            if attempt == _ATTEMPTS:
                raise
    return rows


def _with_days(document: Mapping[str, Any], items: Sequence[_Judged], records: Records) -> dict[str, Any]:
    manifest = dict(document.get("manifest", {}))
    limits = ValidationLimits.from_dict(document["limits"]) if document.get("limits") else None
    for item in items:
        day, etag = item.batch.day.isoformat(), item.batch.etag[:_ETAG_CHARACTERS]
        if limits is not None and manifest.get(day) != etag and item.verdict.passed and item.frame is not None:
            limits = extend_limits(limits, item.frame)
        manifest[day] = etag
    if limits is None:  # first pass over records that may hold older history: they contain the new rows already
        limits = learn_limits(records.observations())
    return {"manifest": manifest, "limits": limits.to_dict()}


def _unreadable(day: date, error: DataError) -> Verdict:
    return verdict(0, [Failure("unreadable", "", f"The object of {day} cannot be used: {error}.", 0)])


def _same_columns(frames: Sequence[pd.DataFrame]) -> bool:
    first = list(frames[0].columns)
    return all(list(frame.columns) == first for frame in frames)


__all__ = [
    "CHUNK_DAYS", "HARD_RULES", "STATE", "Batch", "IngestResult", "judge", "load_limits", "pending", "process_new",
    "quarantined", "release",
]
