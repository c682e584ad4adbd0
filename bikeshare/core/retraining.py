"""When to retrain: the whole policy, pure. Read `decide`; every outcome carries a reason a person can accept.

The costly mistakes found in a closed-loop simulation of 2012 and in fault injections are encoded as guards:
retraining on broken or passing data doubles the error, and a monitor that triggers although retraining does not
help triggers for ever.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from bikeshare.core.digest import Situation, cooldown, digest
from bikeshare.core.monitor_facts import Evidence, Finding, History, Notice, RetrainingPolicy, RunFact, RunState
from bikeshare.core.monitor_memory import Memory, Request, State

Action = Literal["none", "alert", "hold", "retrain"]
Trigger = Literal["drift", "age"]

ACTIONS: tuple[Action, ...] = get_args(Action)
TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
GUARDS = ("active_run", "bad_data", "circuit_breaker", "cooldown", "daily_budget", "step", "weekly_budget")
"""Short names of everything that can hold a trigger back (`Decision.suppressed`)."""


@dataclass(frozen=True)
class Decision:
    """What to do, why, and what to remember.

    Attributes:
        state: Where the loop is now.
        action: What happens.
        reason: Goes unchanged to the log, the decision record, the alert and the run.
        memory: What the next look starts from.
        notices: What people hear.
        trigger: What a retrain was or would have been for.
        run_key: Key of the run to start (or to complete).
        adapt_since: First hour of the changed world, so that training can weight it; None: no change of world.
        suppressed: Short name of the guard that held a trigger back.
        run_id: Filled in once the run is started.
    """

    state: State
    action: Action
    reason: str
    memory: Memory
    notices: tuple[Notice, ...] = ()
    trigger: Trigger | None = None
    run_key: str | None = None
    adapt_since: datetime | None = None
    suppressed: str | None = None
    run_id: str | None = None


def decide(evidence: Evidence, history: History, now: datetime, policy: RetrainingPolicy) -> Decision:
    """Judge the situation: the first rule that has an answer decides.

    Args:
        evidence: What this look found.
        history: What earlier looks left behind.
        now: Naive local time.
        policy: Guards and clocks.
    """
    situation = digest(evidence, history, now, policy)
    for rule in RULES:
        decision = rule(situation)
        if decision is not None:
            changed = decision.state != history.memory.state or history.memory.since is None
            since = now if changed else history.memory.since
            memory = replace(decision.memory, state=decision.state, since=since, model_version=evidence.model_version)
            return replace(decision, memory=memory, notices=(*situation.notices, *decision.notices))
    raise AssertionError("the last rule always answers")


def _no_champion(s: Situation) -> Decision | None:
    if s.evidence.model_version is not None:
        return None
    running = _in_state(s, "running", "promised")
    if running:
        return _quiet(s, State.RETRAINING, f"No champion yet; run {running[0].run_key} is training the first one.")
    return _quiet(s, State.WATCH, "No champion yet: nothing to judge. Start one with `bikeshare pipeline run`.")


def _bad_data(s: Situation) -> Decision | None:
    """Broken data: tell people and let nothing train until the inputs were clean for a day."""
    problems = s.evidence.data_problems
    if problems:
        names = ",".join(sorted({problem.name for problem in problems}))
        return _quiet(
            s, State.BAD_DATA,
            f"Data are broken ({names.replace(',', ', ')}): {problems[0].sentence} Retraining is on hold until "
            f"the data were clean for {s.policy.hold_hours} h.",
            action="hold", suppressed="bad_data" if _wanted(s) else None, trigger=_wanted(s),
            notices=(Notice(
                "held", f"held:{s.evidence.model_version}:{names}", f"data:{s.memory.problem_since:%Y-%m-%d}",
                f"Live data are broken: {names.replace(',', ', ')}; retraining is on hold",
                tuple((problem.name, problem.sentence) for problem in problems[:3]),
            ),),
        )
    if s.memory.problem_at is None:
        return None
    until = s.memory.problem_at + timedelta(hours=s.policy.hold_hours)
    return _quiet(
        s, State.BAD_DATA,
        f"Data look clean again, last broken at {s.memory.problem_at:%Y-%m-%d %H:%M}; retraining stays on hold until "
        f"{until:%Y-%m-%d %H:%M}.",
        action="hold", suppressed="bad_data" if _wanted(s) else None, trigger=_wanted(s),
    )


def _running(s: Situation) -> Decision | None:
    running = _in_state(s, "running")
    if not running:
        return None
    wanted = _wanted(s)
    also = f" Another retrain for {wanted} waits for it." if wanted else ""
    return _quiet(s, State.RETRAINING, f"Run {running[0].run_key} is training; one run at a time.{also}",
                  suppressed="active_run" if wanted else None, trigger=wanted)


def _promised(s: Situation) -> Decision | None:
    """An intent without a run: the process died between the two. Complete it, exactly once."""
    promised = [run for run in _in_state(s, "promised") if s.memory.request and run.run_key == s.memory.request.run_key]
    if not promised or s.memory.request is None:
        return None
    request = s.memory.request
    return Decision(
        State.RETRAINING, "retrain",
        f"Run {request.run_key} was promised at {promised[0].started_at:%Y-%m-%d %H:%M} and not started; "
        f"completing it: {request.reason}",
        s.memory, trigger="age" if request.trigger == "age" else "drift", run_key=request.run_key,
        adapt_since=request.adapt_since,
    )


def _escalated(s: Situation) -> Decision | None:
    if s.memory.unhelpful < s.policy.unhelpful_limit:
        return None
    version = s.evidence.model_version
    wanted = _wanted(s)
    return _quiet(
        s, State.ESCALATED,
        f"Retraining does not help: {s.memory.unhelpful} retrains in a row left the error over its limit. "
        "Nothing retrains by itself until the error is back within limits or somebody promotes another version.",
        action="alert", suppressed="circuit_breaker" if wanted else None, trigger=wanted,
        notices=(Notice("escalated", f"escalated:{version}", f"escalated:{version}",
                        "Retraining does not help: a person is needed", _moved(s.evidence)),),
    )


def _step(s: Situation) -> Decision | None:
    """A sudden step: tell people; nothing retrains by itself, because the step may pass."""
    step = s.evidence.step
    if step is None or not step.exceeded or s.memory.step_at != s.now:
        return None
    until = s.now + timedelta(days=s.policy.step_hold_days)
    wanted = _wanted(s)
    return _quiet(
        s, State.WATCH,
        f"Sudden step: {step.sentence} A person should look; nothing retrains by itself until {until:%Y-%m-%d}, "
        "because a step may pass.",
        action="alert", suppressed="step" if wanted else None, trigger=wanted,
        notices=(Notice("step", f"step:{s.evidence.model_version}", f"step:{s.evidence.model_version}:{s.now:%Y-%m-%d}",
                        "Demand moved suddenly away from the forecast", _moved(s.evidence)),),
    )


def _retrain(s: Situation) -> Decision | None:
    """Confirmed decay or age: retrain, unless a guard holds it back; then say which."""
    trigger = _wanted(s)
    if trigger is None:
        return None
    why, version = _why(s, trigger), s.evidence.model_version
    guard = _guard(s)
    state = State.DRIFT if trigger == "drift" else State.WATCH
    if guard is not None:
        name, sentence = guard
        held = State.COOLDOWN if name == "cooldown" else state
        news = trigger == "drift" and s.memory.state is not held
        notices = (Notice("drift", f"suppressed:{version}:{name}", f"drift:{version}",
                          f"The forecast has decayed; retraining waits ({name.replace('_', ' ')})",
                          _moved(s.evidence)),) if news else ()
        return Decision(held, "alert" if news else "none", f"{why} {sentence}", s.memory, notices, trigger,
                        suppressed=name)
    run_key = _run_key(s, trigger)
    adapt_since = _changed_since(s) if trigger == "drift" else None
    reason = f"{why} Starting run {run_key}."
    request = Request(run_key, trigger, reason, s.now, str(version), adapt_since, s.evidence.wape, s.evidence.log_bias)
    title = ("The forecast has decayed; a retrain was requested" if trigger == "drift"
             else "The model is old; a retrain was requested")
    return Decision(
        State.RETRAINING, "retrain", reason, replace(s.memory, request=request),
        (Notice(trigger, f"{trigger}:{run_key}", f"run:{run_key}", title, _moved(s.evidence)),),
        trigger, run_key, adapt_since,
    )


def _blind(s: Situation) -> Decision | None:
    """Without labels or without a reference decay cannot be judged: that is not the same as healthy."""
    lag, version = s.evidence.labels_lag_hours, s.evidence.model_version
    if not s.evidence.reference_known:
        return _quiet(
            s, State.WATCH, f"The artifact of version {version} has no readable profile or backtest: decay cannot be "
            "judged. Retrain, or restore the artifact.", action="alert",
            notices=(Notice("escalated", f"reference:{version}", f"reference:{version}",
                            "The champion's reference cannot be read: the monitor is half blind"),),
        )
    if lag is None or lag <= s.policy.labels_late_hours:
        return None
    decision = _quiet(
        s, State.WATCH, f"The newest label is {lag:.0f} h old (limit {s.policy.labels_late_hours} h): decay cannot be "
        "judged. Check that observations still land.", action="alert",
        notices=(Notice("labels_late", f"labels_late:{version}", "labels_late",
                        f"Ground truth is {lag:.0f} h old: the monitor is blind to decay"),),
    )
    return replace(decision, memory=replace(decision.memory, blind=True))


def _watch(s: Situation) -> Decision | None:
    over = [check for check in s.memory.checks[-s.policy.of_last:] if check.exceeded]
    if s.memory.step_at is not None:
        until = s.memory.step_at + timedelta(days=s.policy.step_hold_days)
        return _quiet(s, State.WATCH, f"A step was seen on {s.memory.step_at:%Y-%m-%d}; watching until "
                      f"{until:%Y-%m-%d}. {_sentence(s.evidence)}")
    if not over:
        return None
    return _quiet(s, State.WATCH, f"Over the limit on {len(over)} of the last {s.policy.of_last} daily checks "
                  f"({s.policy.confirm} with the newest confirm decay): {_summary(s.evidence)}")


def _cooldown(s: Situation) -> Decision | None:
    resting = cooldown(s)
    if resting is None:
        return None
    run, until = resting
    return _quiet(s, State.COOLDOWN, f"Run {run.run_key} ended as {run.state}; resting until {until:%Y-%m-%d %H:%M}. "
                  f"{_sentence(s.evidence)}")


def _healthy(s: Situation) -> Decision | None:
    return _quiet(s, State.HEALTHY, f"Nothing to do: {_summary(s.evidence)}")


RULES: tuple[Callable[[Situation], Decision | None], ...] = (
    _no_champion, _bad_data, _running, _promised, _escalated, _step, _retrain, _blind, _watch, _cooldown, _healthy,
)
"""In order of precedence."""


def _quiet(
    s: Situation, state: State, reason: str, *, action: Action = "none", suppressed: str | None = None,
    trigger: Trigger | None = None, notices: tuple[Notice, ...] = (),
) -> Decision:
    return Decision(state, action, reason, s.memory, notices, trigger, suppressed=suppressed)


def _in_state(s: Situation, *states: RunState) -> list[RunFact]:
    return [run for run in s.runs if run.state in states]


def _wanted(s: Situation) -> Trigger | None:
    """What would retrain if nothing held it back."""
    if s.confirmed:
        return "drift"
    age = s.evidence.champion_age_days
    return "age" if age is not None and age > s.policy.max_age_days else None


def _why(s: Situation, trigger: Trigger) -> str:
    if trigger == "age":
        return (f"The newest training hour of version {s.evidence.model_version} is {s.evidence.champion_age_days:.0f} "
                f"days old (limit {s.policy.max_age_days}).")
    recent = s.memory.checks[-s.policy.of_last:]
    count = sum(check.exceeded for check in recent)
    return f"Decay confirmed on {count} of the last {len(recent)} daily checks: {_summary(s.evidence)}"


def _guard(s: Situation) -> tuple[str, str] | None:
    """The first reason not to retrain now, as (short name, sentence)."""
    if s.memory.step_at is not None:
        until = s.memory.step_at + timedelta(days=s.policy.step_hold_days)
        return "step", (f"It began with a sudden step on {s.memory.step_at:%Y-%m-%d}; nothing retrains by itself "
                        f"until {until:%Y-%m-%d}.")
    resting = cooldown(s)
    if resting is not None:
        run, until = resting
        return "cooldown", f"Run {run.run_key} {_ended(run)}; resting until {until:%Y-%m-%d %H:%M}."
    budgets = (("daily_budget", 1, s.policy.daily_budget), ("weekly_budget", 7, s.policy.weekly_budget))
    for name, days, budget in budgets:
        started = [
            run for run in s.runs if run.state != "skipped" and s.now - run.started_at < timedelta(days=days)
        ]
        if len(started) >= budget:
            return name, f"The budget of {budget} runs in {days * 24} h is used up; waiting."
    return None


def _changed_since(s: Situation) -> datetime | None:
    """First hour of the changed world.

    The onset is sought in the errors of the present champion. After a retrain that did not help, or that failed, these
    begin too late: the change is still the one that the retrain before was asked for.
    """
    onset, request = s.evidence.onset, s.memory.request
    if onset is None or request is None or request.adapt_since is None:
        return onset
    failed = any(run.run_key == request.run_key and run.state == "failed" for run in s.runs)
    soon = s.now - request.at < timedelta(days=2 * s.policy.cooldown_days)
    return min(onset, request.adapt_since) if s.memory.unhelpful or (failed and soon) else onset


def _ended(run: RunFact) -> str:
    words = {"promoted": "was promoted", "refused": "was refused by the gate", "rolled_back": "was rolled back",
             "failed": "failed", "abandoned": "never started", "skipped": "had nothing to train on"}
    return words.get(run.state, f"is {run.state}")


def _run_key(s: Situation, trigger: Trigger) -> str:
    """(model version, ISO week, reason), numbered when that week's run failed and is repeated."""
    year, week, _ = s.now.isocalendar()
    base = f"v{s.evidence.model_version}-{year}W{week:02d}-{trigger}"
    taken = sum(run.run_key == base or run.run_key.startswith(f"{base}-") for run in s.runs)
    return base if taken == 0 else f"{base}-{taken + 1}"


def _moved(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """The three quantities furthest over (or nearest to) their limits."""
    found = [*evidence.decay, *((evidence.step,) if evidence.step else ())]
    found.sort(key=lambda finding: finding.value / finding.limit if finding.limit else 0.0, reverse=True)
    return tuple((finding.name, finding.sentence) for finding in found[:3])


def _sentence(evidence: Evidence) -> str:
    """The summary where it starts a sentence of its own."""
    text = _summary(evidence)
    return text[:1].upper() + text[1:]


def _summary(evidence: Evidence) -> str:
    if evidence.decay:
        return " ".join(finding.sentence for finding in evidence.decay)
    if evidence.check_day is not None:
        return "too few labelled hours to judge decay."
    return "no new labels since the last daily check."


__all__ = [
    "ACTIONS", "GUARDS", "RULES", "TRIGGERS", "Action", "Decision", "Evidence", "Finding", "History", "Memory",
    "Notice", "RetrainingPolicy", "RunFact", "State", "Trigger", "decide",
]
