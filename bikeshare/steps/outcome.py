"""What became of a run: one JSON object in the store, written by the last task that does something.

A pipeline engine may skip a branch and still report success; a run without this object did not do its work.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from bikeshare.errors import DataError, NotFound
from bikeshare.ports import ObjectStore
from bikeshare.steps.doorstep import ThisRun

Result = Literal["promoted", "refused", "rolled_back", "failed", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    A `failed` outcome is written by the task that fails, as pipeline engines keep the cause in their logs only.

    Attributes:
        run_key: Key of the run.
        result: `promoted`; `refused` by the gate; `rolled_back` by the roll-out; `failed` before any of these;
            `skipped`: a scheduled run had too few fresh hours to compare a challenger on.
        reason: Why, for people.
        finished_at: Naive local time on the run's clock.
        version: Version of the challenger, empty if the run never got that far.
        previous: Champion at the start of the roll-out.
        wape_before: The Champion's WAPE on the judged rows, None when it was not comparable.
        wape_after: The challenger's on the same rows.
        error: Class of the exception of a failed run, e.g. `BatchRejected`.
    """

    run_key: str
    result: Result
    reason: str
    finished_at: datetime
    version: str = ""
    previous: str | None = None
    wape_before: float | None = None
    wape_after: float | None = None
    error: str = ""


def outcome_key(run_key: str) -> str:
    """Store key of a run's outcome."""
    return f"runs/{run_key}/outcome.json"


@contextmanager
def noting_failure(store: ObjectStore, run: ThisRun) -> Iterator[None]:
    """Write down why a task failed, then let it fail; an outcome that says more is kept."""
    try:
        yield
    except Exception as error:
        known = read_outcome(store, run.key)
        if known is None or known.result == "failed":
            write_outcome(store, Outcome(run.key, "failed", str(error), run.now, error=type(error).__name__))
        raise


def write_outcome(store: ObjectStore, outcome: Outcome) -> None:
    """Write or replace the outcome of a run."""
    document = {**asdict(outcome), "finished_at": outcome.finished_at.isoformat()}
    store.put(outcome_key(outcome.run_key), json.dumps(document, indent=2).encode())


def read_outcome(store: ObjectStore, run_key: str) -> Outcome | None:
    """The outcome of a run, or None while it has none."""
    try:
        data = store.get(outcome_key(run_key))
    except NotFound:
        return None
    try:
        document = json.loads(data)
        return Outcome(**{**document, "finished_at": datetime.fromisoformat(document["finished_at"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{outcome_key(run_key)} is not an outcome ({error}): delete the object") from error
