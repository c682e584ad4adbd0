"""One training at a time: a named lease in the records, taken by the first task and given back by the last."""

from datetime import datetime

from bikeshare.errors import Conflict, NotFound, TemporaryError
from bikeshare.ports import PipelineRuns, Records

LEASE = "training"

LEASE_SECONDS = 2 * 3600
"""A training takes minutes; a holder that was killed with its exit task blocks for this long at most."""

_STATE = "lease/training"


def take_lease(records: Records, runs: PipelineRuns, owner: str, wall_now: datetime) -> None:
    """Take the lease for a run, or fail at once naming the run that holds it.

    A holder whose run has ended (killed before its exit task) is dispossessed.

    Args:
        records: Where the lease lives.
        runs: Asked whether the holder still runs.
        owner: Key of the run that asks; asking again renews.
        wall_now: Wall clock, also when everything else runs on a virtual one.

    Raises:
        Conflict: another run holds the lease.
    """
    if not records.acquire_lock(LEASE, owner, wall_now, LEASE_SECONDS):
        document, _ = records.load_state(_STATE)
        holder = str(document.get("owner", ""))
        if holder and _has_ended(runs, holder):
            records.release_lock(LEASE, holder)
        if not records.acquire_lock(LEASE, owner, wall_now, LEASE_SECONDS):
            since = document.get("since", "an unknown time")
            raise Conflict(
                f"run {holder or 'unknown'} is training since {since}: wait for it "
                "(`bikeshare pipeline status`) and start again"
            )
    _, revision = records.load_state(_STATE)
    records.save_state(_STATE, {"owner": owner, "since": wall_now.isoformat(timespec="seconds")}, revision)


def give_back_lease(records: Records, owner: str) -> None:
    """Release the lease if this run holds it."""
    records.release_lock(LEASE, owner)


def _has_ended(runs: PipelineRuns, run_key: str) -> bool:
    try:
        run = runs.find(run_key)
    except (TemporaryError, NotFound):
        return False  # cannot tell: leave the holder alone, the lease runs out by itself
    return run is not None and run.status in ("succeeded", "failed")
