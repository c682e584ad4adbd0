"""Landing: observations arrive as one object per day, where ingest finds them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime

import pandas as pd

from bikeshare.core.observations import conform, to_parquet
from bikeshare.errors import NotFound
from bikeshare.ports import ObjectStore

logger = logging.getLogger("bikeshare.ingest")

RAW = "raw/"
QUARANTINE = "quarantine/"
FILE = "observations.parquet"


def raw_key(day: date) -> str:
    """Where the observations of a day land."""
    return f"{RAW}date={day.isoformat()}/{FILE}"


def quarantine_key(day: date, name: str = FILE) -> str:
    """Where a refused day is kept, with `reason.json` beside it."""
    return f"{QUARANTINE}date={day.isoformat()}/{name}"


def day_of(key: str) -> date | None:
    """The day of a raw or quarantine key; None, with a warning, for what somebody else has put there."""
    for part in key.split("/"):
        if part.startswith("date="):
            with suppress(ValueError):
                return datetime.strptime(part[5:], "%Y-%m-%d").date()
    logger.warning("ignored %r: it is not below a folder like date=2012-01-31/", key)
    return None


def land(store: ObjectStore, frame: pd.DataFrame) -> Sequence[str]:
    """Write observations as `raw/date=YYYY-MM-DD/observations.parquet`, one atomic object per day.

    Values are not judged here (that is validation's work), only typed. Landing the same rows again writes
    nothing; changed rows replace the day.

    Returns:
        The keys that were written.
    """
    written = []
    for day, rows in split_days(conform(frame)):
        key, data = raw_key(day), to_parquet(rows)
        if _stored(store, key) != data:
            store.put(key, data)
            written.append(key)
    return written


def split_days(frame: pd.DataFrame) -> Sequence[tuple[date, pd.DataFrame]]:
    """Rows by calendar day, in order."""
    days = frame["timestamp"].dt.date
    return [(day, rows.reset_index(drop=True)) for day, rows in frame.groupby(days, sort=True)]


def _stored(store: ObjectStore, key: str) -> bytes | None:
    if store.info(key) is None:
        return None
    try:
        return store.get(key)
    except NotFound:
        return None
