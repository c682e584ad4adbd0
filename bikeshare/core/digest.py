"""Turn what a look found, and what became of the runs, into memory. The policy then judges that memory."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bikeshare.core.monitor_facts import Evidence, History, Notice, RetrainingPolicy, RunFact
from bikeshare.core.monitor_memory import Check, Memory, Recovery

_KEPT_CHECKS = 14


@dataclass(frozen=True)
class Situation:
    """Everything a rule of the policy may look at."""

    evidence: Evidence
    memory: Memory
    runs: tuple[RunFact, ...]
    now: datetime
    policy: RetrainingPolicy
    notices: tuple[Notice, ...] = ()

    @property
    def confirmed(self) -> bool:
        """Decay on the newest daily check and on enough of the last ones."""
        recent = self.memory.checks[-self.policy.of_last :]
        return bool(recent) and recent[-1].exceeded and sum(c.exceeded for c in recent) >= self.policy.confirm


def digest(evidence: Evidence, history: History, now: datetime, policy: RetrainingPolicy) -> Situation:
    """Remember what this look found; announce what ended."""
    runs = tuple(sorted(history.runs, key=lambda run: run.started_at, reverse=True))
    situation = Situation(evidence, history.memory, runs, now, policy)
    for step in (_champion, _settle, _data, _step, _labels, _check, _effect):
        situation = step(situation)
    return situation


def cooldown(s: Situation) -> tuple[RunFact, datetime] | None:
    """The run that the loop rests after and the end of that rest, None when nothing rests.

    A run that failed (as opposed to: was refused) may be repeated sooner, a bounded number of times.
    """
    rest = timedelta(days=s.policy.cooldown_days)
    ends = [(run.started_at + rest, run) for run in s.runs if run.state not in ("failed", "abandoned", "skipped")]
    recent = [run for run in s.runs if s.now - run.started_at < rest]
    failed = [run for run in recent if run.state == "failed"]
    if failed:
        again = len(failed) <= s.policy.max_retries
        ends.append((failed[0].started_at + (timedelta(hours=s.policy.retry_hours) if again else rest), failed[0]))
    until, run = max(ends, key=lambda end: end[0], default=(s.now, None))
    return None if run is None or until <= s.now else (run, until)


def retired_version(memory: Memory, champion: str | None) -> str | None:
    """The version whose errors are not held against the champion: the one that was replaced because of them."""
    old = memory.model_version
    if old == champion or old is None:
        return memory.retired
    blamed = bool(memory.checks) and memory.checks[-1].exceeded
    request = memory.request
    asked = request is not None and request.trigger == "drift" and request.model_version == old
    return old if blamed or asked else None


def _champion(s: Situation) -> Situation:
    """A new champion starts with a clean sheet; the errors of the version it replaced stay with that version."""
    old, new = s.memory.model_version, s.evidence.model_version
    if old == new or old is None:
        return s
    retired = retired_version(s.memory, new)
    open_circuit = s.memory.unhelpful >= s.policy.unhelpful_limit
    return replace(s, memory=replace(
        s.memory, checks=(), retired=retired, unhelpful=0 if open_circuit else s.memory.unhelpful
    ))


def _settle(s: Situation) -> Situation:
    notices = list(s.notices)
    # As many keys as runs are looked at: one forgotten sooner would be settled anew at every look.
    known = {run.run_key for run in s.runs}
    memory = replace(s.memory, settled=tuple(key for key in s.memory.settled if key in known))
    for run in reversed(s.runs):
        if run.state in ("promised", "running") or run.run_key in memory.settled:
            continue
        memory = replace(memory, settled=(*memory.settled, run.run_key))
        request = memory.request
        ours = request is not None and request.run_key == run.run_key
        if run.state == "failed":
            notices.append(Notice(
                "pipeline_failed", f"pipeline_failed:{run.run_key}", f"run:{run.run_key}",
                f"Run {run.run_key} failed; the champion is not replaced",
                (("why", run.detail or "see the run's log"),),
            ))
        elif not ours or request is None or request.trigger != "drift":
            continue
        elif run.state == "promoted":
            memory = replace(memory, checks=(), recovery=Recovery(
                run.run_key, run.finished_at or s.now, request.wape, request.log_bias
            ))
        elif run.state in ("refused", "rolled_back"):
            memory = replace(memory, unhelpful=memory.unhelpful + 1)
    return replace(s, memory=memory, notices=tuple(notices))


def _data(s: Situation) -> Situation:
    memory = s.memory
    if s.evidence.data_problems:
        return replace(s, memory=replace(memory, problem_at=s.now, problem_since=memory.problem_since or s.now))
    if memory.problem_at is None or s.now - memory.problem_at < timedelta(hours=s.policy.hold_hours):
        return s
    since = f"{memory.problem_since:%Y-%m-%d}"
    notice = Notice("recovered", f"recovered:data:{since}", f"data:{since}",
                    f"Data have been clean for {s.policy.hold_hours} h; the hold is over")
    return replace(s, memory=replace(memory, problem_at=None, problem_since=None), notices=(*s.notices, notice))


def _step(s: Situation) -> Situation:
    memory, step = s.memory, s.evidence.step
    if memory.step_at is not None and s.now - memory.step_at >= timedelta(days=s.policy.step_hold_days):
        memory = replace(memory, step_at=None)
    if step is not None and memory.problem_at is None:
        fresh = step.exceeded and not memory.stepping
        memory = replace(memory, stepping=step.exceeded, step_at=s.now if fresh else memory.step_at)
    return replace(s, memory=memory)


def _labels(s: Situation) -> Situation:
    """Labels are back: say so to those who were told that they were late."""
    lag = s.evidence.labels_lag_hours
    if not s.memory.blind or lag is None or lag > s.policy.labels_late_hours:
        return s
    notice = Notice("recovered", f"recovered:labels:{s.now:%Y-%m-%d}", "labels_late", "Ground truth arrives again")
    return replace(s, memory=replace(s.memory, blind=False), notices=(*s.notices, notice))


def _check(s: Situation) -> Situation:
    """A daily check counts once, and not while the data it would judge are in doubt."""
    day, checks = s.evidence.check_day, s.memory.checks
    if day is None or not s.evidence.decay or s.memory.problem_at is not None or (checks and checks[-1].day >= day):
        return s
    return replace(s, memory=replace(s.memory, checks=(*checks, Check(day, s.evidence.decayed))[-_KEPT_CHECKS:]))


def _effect(s: Situation) -> Situation:
    """Did the error come back within limits after a retrain, or after people were asked?"""
    memory = s.memory
    if not memory.checks or s.evidence.check_day != memory.checks[-1].day:
        return s
    recovery = memory.recovery
    if recovery is not None and memory.checks[-1].day > recovery.promoted_at.date():
        full = memory.checks[-1].day >= recovery.promoted_at.date() + timedelta(days=s.policy.recovery_days)
        if full and not memory.checks[-1].exceeded:
            notice = Notice(
                "recovered", f"recovered:{recovery.run_key}", f"run:{recovery.run_key}",
                "The retrain helped: the error is back within limits",
                before_after=_before_after(recovery, s.evidence),
            )
            return replace(s, memory=replace(memory, recovery=None, unhelpful=0), notices=(*s.notices, notice))
        if s.confirmed:
            return replace(s, memory=replace(memory, recovery=None, unhelpful=memory.unhelpful + 1))
        return s
    recent = memory.checks[-s.policy.of_last :]
    if memory.unhelpful and len(recent) == s.policy.of_last and not any(check.exceeded for check in recent):
        notices = s.notices
        if memory.unhelpful >= s.policy.unhelpful_limit:
            version = s.evidence.model_version
            notices = (*notices, Notice("recovered", f"recovered:escalated:{version}:{s.now:%Y-%m-%d}",
                                        f"escalated:{version}", "The error is back within limits by itself"))
        return replace(s, memory=replace(memory, unhelpful=0), notices=notices)
    return s


def _before_after(recovery: Recovery, evidence: Evidence) -> tuple[tuple[str, str, str], ...]:
    rows = []
    if recovery.wape_before is not None and evidence.wape is not None:
        rows.append(("WAPE, 7 days", f"{recovery.wape_before:.1%}", f"{evidence.wape:.1%}"))
    if recovery.log_bias_before is not None and evidence.log_bias is not None:
        before, after = (math.expm1(value) for value in (recovery.log_bias_before, evidence.log_bias))
        rows.append(("bias against the backtest's, 7 days", f"{before:+.1%}", f"{after:+.1%}"))
    return tuple(rows)
