"""First step of a training: one run at a time, new days judged, and one immutable frame to train on."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pandas as pd

from bikeshare.core.monitor_facts import RetrainingPolicy
from bikeshare.core.observations import data_hash
from bikeshare.core.tolerances import ValidationPolicy
from bikeshare.errors import BatchRejected, DataError
from bikeshare.ports import Ports
from bikeshare.steps.doorstep import Progress, quiet
from bikeshare.steps.ingest import process_new
from bikeshare.steps.lease import take_lease
from bikeshare.steps.quarantine import holding

LABEL_DELAY = timedelta(hours=24)

WINDOW = timedelta(days=775)
"""What is trained on unless a run says otherwise: every season twice and six weeks.

Trees grow with the rows, and the gate refuses what is larger than promised: 12.9 MB with 24 months, 14.2 with 26, 19.1
with 36. Levels follow growth, so older years add little.
"""


@dataclass(frozen=True)
class Prepared:
    """The rows of one training.

    Attributes:
        observations: Contract columns, labelled hours only, ordered.
        window: First hour and the first hour after the last one.
        data_hash: Hash of exactly these rows.
        accepted_days: Days that this step judged and accepted.
    """

    observations: pd.DataFrame
    window: tuple[datetime, datetime]
    data_hash: str
    accepted_days: tuple[date, ...]


def prepare(
    ports: Ports,
    *,
    run_key: str,
    now: datetime,
    wall_now: datetime,
    window_start: datetime | None = None,
    window_end: datetime | None = None,
    policy: ValidationPolicy | None = None,
    hold: timedelta = timedelta(hours=RetrainingPolicy.hold_hours),
    progress: Progress = quiet,
) -> Prepared:
    """Take the lease, judge landed days and collect the labelled observations.

    Ground truth lands 24 h late: hours after now - 24 h are not used.

    Args:
        ports: Collaborators; the live predictor is asked first: what cannot be rolled out need not be trained.
        run_key: Owner of the lease.
        now: Naive local time on the run's clock.
        wall_now: Wall clock, for the lease.
        window_start: First hour to use; None: `WINDOW` before the end.
        window_end: First hour not to use; None: the newest label.
        policy: How landed days are judged; None: the defaults.
        hold: How long a refused recent day stops trainings, whoever has refused it; the monitor waits as long
            (`RetrainingPolicy.hold_hours`).
        progress: Called with one line per stage.

    Raises:
        Conflict: another training runs.
        BatchRejected: there is a champion, and a recent day was refused, now or within `hold`; it is in quarantine
            and people were told.
        DataError: no observations in the window.
    """
    ports.rollouts.serving_version()
    take_lease(ports.records, ports.runs, run_key, wall_now)
    progress("judging landed days")
    ingested = process_new(ports.store, ports.records, ports.notifier, now, policy)
    held = holding(ports.store, now, now - hold)
    # A first history always has odd days, and there is nothing yet that a stop would protect.
    if held and ports.registry.version_of("champion") is not None:
        until = datetime.fromisoformat(held[-1].get("at", now.isoformat())) + hold
        raise BatchRejected(
            f"{', '.join(note['day'] for note in held)} refused: {held[-1]['reason'] or ingested.reason}; nothing is "
            f"trained before {until:%Y-%m-%d %H:%M}. Repair and `bikeshare data release DAY`, or train without: "
            "`bikeshare data quarantine dismiss DAY`"
        )
    refused = ingested.quarantined_days
    if refused:
        progress(f"training goes on without {len(refused)} days that were refused: {ingested.reason}")
    labelled_until = now.replace(minute=0, second=0, microsecond=0) - LABEL_DELAY + timedelta(hours=1)
    end = labelled_until if window_end is None else min(window_end, labelled_until)
    observations = ports.records.observations(end - WINDOW if window_start is None else window_start, end)
    if observations.empty:
        raise DataError(
            f"no observations before {end:%Y-%m-%d %H:00}: deliver some (`bikeshare data import`; the sample: "
            "`bikeshare data land --until today`) or check the window"
        )
    first, last = observations["timestamp"].iloc[0], observations["timestamp"].iloc[-1]
    window = (first.to_pydatetime(), (last + pd.Timedelta(hours=1)).to_pydatetime())
    digest = data_hash(observations)
    progress(f"{len(observations):,} labelled hours, {window[0]:%Y-%m-%d} to {window[1]:%Y-%m-%d %H:00}, {digest[:12]}")
    return Prepared(observations, window, digest, ingested.accepted_days)
