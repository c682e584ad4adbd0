"""What the monitor's policy is decided from: facts, limits, and what people hear. Frozen values, no behaviour."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from bikeshare.core.alerts import AlertKind
from bikeshare.core.monitor_memory import Memory

RunState = Literal["promised", "running", "promoted", "refused", "rolled_back", "failed", "abandoned", "skipped"]


@dataclass(frozen=True)
class RetrainingPolicy:
    """Guards and clocks of automatic retraining.

    Attributes:
        confirm: Daily checks over a limit, the newest included, that confirm decay.
        of_last: ... among this many daily checks; 2 of 3 lets one odd day pass.
        cooldown_days: Rest after a started run. 7: longer rests cost error in simulation, shorter ones retrain on
            the same labels.
        daily_budget: Most runs the monitor starts within 24 h, repeats of failed ones included.
        weekly_budget: The same within 7 days.
        max_retries: A run that failed (not: was refused) is started again this often before people are asked.
        retry_hours: Rest before such a repeat.
        hold_hours: Inputs must have been clean for this long before anything retrains, and a refused recent day
            stops every training for as long, whoever has refused it.
        step_hold_days: After a sudden step nothing retrains by itself for this long: if the step passes,
            retraining on it doubles the error; if it stays, decay confirms it.
        max_age_days: Age of the newest training hour at which the champion is renewed; 56: eight weeks.
        labels_late_hours: Age of the newest label that raises an alert. A daily file is up to 48 h old just before
            the next one lands; 6 h of grace.
        recovery_days: Full days after a promotion before a retrain is said to have helped: the window of bias and
            WAPE, so that nothing of the old version, and no single good day, speaks for the new one.
        unhelpful_limit: Retrains in a row that did not help before people are asked instead.
        promise_hours: A promised run that never started is given up after this long.
    """

    confirm: int = 2
    of_last: int = 3
    cooldown_days: int = 7
    daily_budget: int = 2
    weekly_budget: int = 3
    max_retries: int = 1
    retry_hours: int = 6
    hold_hours: int = 24
    step_hold_days: int = 7
    max_age_days: int = 56
    labels_late_hours: int = 54
    recovery_days: int = 7
    unhelpful_limit: int = 2
    promise_hours: int = 24


@dataclass(frozen=True)
class Finding:
    """One quantity against its limit; `sentence` is for people."""

    name: str
    value: float
    limit: float
    exceeded: bool
    sentence: str


@dataclass(frozen=True)
class Evidence:
    """What one look at the world found.

    Attributes:
        model_version: The champion, None before the first training.
        champion_age_days: Age of its newest training hour.
        reference_known: Whether the artifact's profile and backtest could be read.
        data_problems: Broken live inputs and refused days.
        labels_lag_hours: Age of the newest label, None without any.
        check_day: Newest day with labels that was not judged before; None: no new labels, decay is not judged.
        decay: Bias and WAPE against their limits, empty when there are too few labels.
        step: The 48-hour step against its limit.
        onset: First hour of the change, when decay or a step is seen.
        wape: Live 7-day WAPE, None without labels.
        log_bias: Live 7-day centred log-bias.
    """

    model_version: str | None
    champion_age_days: float | None = None
    reference_known: bool = True
    data_problems: tuple[Finding, ...] = ()
    labels_lag_hours: float | None = None
    check_day: date | None = None
    decay: tuple[Finding, ...] = ()
    step: Finding | None = None
    onset: datetime | None = None
    wape: float | None = None
    log_bias: float | None = None

    @property
    def decayed(self) -> bool:
        """Whether any decay quantity is over its limit in this look."""
        return any(finding.exceeded for finding in self.decay)


@dataclass(frozen=True)
class RunFact:
    """What is known about one started or promised run."""

    run_key: str
    trigger: str
    started_at: datetime
    state: RunState
    finished_at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True)
class History:
    """What the monitor remembers and what became of the runs (newest first)."""

    memory: Memory = Memory()
    runs: tuple[RunFact, ...] = ()


@dataclass(frozen=True)
class Notice:
    """Something people should hear; the step adds links and sends it."""

    kind: AlertKind
    key: str
    incident: str
    title: str
    moved: tuple[tuple[str, str], ...] = ()
    before_after: tuple[tuple[str, str, str], ...] = ()
