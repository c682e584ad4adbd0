"""Replay a year on the virtual clock and count what the monitor did: runs, false retrains, delays, reasons."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.core import scenarios
from bikeshare.core.diary import Diary
from bikeshare.core.evaluation import score
from bikeshare.core.scenarios import Scenario
from bikeshare.ports import Ports
from bikeshare.simulation.diary import read_diary
from bikeshare.simulation.rehearsal import Rehearsal
from bikeshare.simulation.world import World
from bikeshare.steps.outcome import Outcome, read_outcome

USEFUL_SHARE = 0.05
"""A retrain was useful when the new version cut the next fortnight's error by more than this (the usual label)."""

FORTNIGHT = timedelta(days=14)

FIRST_RUN_DAYS = 63
"""Nine weeks of history train and judge a first champion."""

_EVER = datetime(2013, 1, 1)


@dataclass(frozen=True)
class RunReport:
    """One run the monitor asked for, and what it was worth."""

    day: date
    trigger: str
    reason: str
    outcome: str
    wape_old: float
    wape_new: float

    @property
    def gain(self) -> float:
        """Share of the old version's error that the new one removes in the next fortnight."""
        return 1 - self.wape_new / self.wape_old if self.wape_old else float("nan")


@dataclass(frozen=True)
class Replayed:
    """What a replay found."""

    name: str
    start: date
    end: date
    decisions: Sequence[Any]
    runs: Sequence[RunReport]
    story: Diary
    changed_on: date | None = None

    def counts(self) -> Counter[str]:
        """Decisions by action."""
        return Counter(decision.action for decision in self.decisions)

    def reactions(self) -> Counter[str]:
        """What was done from the first day of the change on; renewals by age apart, which know nothing of it."""
        since = self.changed_on or self.start
        return Counter(
            "age renewal" if _renews(decision) else decision.action
            for day, decision in self._dated() if day >= since and decision.action != "none"
        )

    def _dated(self) -> list[tuple[date, Any]]:
        return [(self.start + timedelta(days=offset), decision) for offset, decision in enumerate(self.decisions)]

    @property
    def detected_after_days(self) -> int | None:
        """Days from the injected change to the first decision that is not quiet; None when nothing was noticed."""
        if self.changed_on is None:
            return None
        for day, decision in self._dated():
            if day >= self.changed_on and decision.action != "none" and not _renews(decision):
                return (day - self.changed_on).days
        return None


def _renews(decision: Any) -> bool:
    return bool(decision.action == "retrain" and decision.trigger == "age")


def replay(
    history: pd.DataFrame,
    start: date,
    end: date,
    *,
    name: str = "as recorded",
    scenario: Callable[[datetime], Scenario] | None = None,
    sensors_only: bool = False,
    changed_on: date | None = None,
    trees: int = 50,
    progress: Callable[[date, Any], None] | None = None,
) -> Replayed:
    """Train on everything before `start` and play start <= day < end.

    Args:
        history: Real observations.
        start: First day of the first champion's service.
        end: Day after the last one.
        name: For the report.
        scenario: Makes the labelled change from its first hour; None: the record as it is.
        sensors_only: Whether the change breaks the feed and not the world.
        changed_on: First day of the change.
        trees: Trees per forest of every training.
        progress: Called after every day.
    """
    world = World.of(history)
    if scenario is not None and changed_on is not None:
        change = scenario(datetime.combine(changed_on, time()))
        world.break_sensors(change) if sensors_only else world.change(change)
    with Rehearsal(world, start, trees=trees, progress=progress) as rehearsal:
        rehearsal.play(end)
        first = rehearsal.runs.forecasters["1"]
        known = world.reality[world.reality["timestamp"] < datetime.combine(end, time())]
        told = read_diary(rehearsal.ports.records, known, first, start + timedelta(days=1), end)
        runs = [_report(rehearsal, decision, day, known) for day, decision in _retrains(rehearsal, start)]
        return Replayed(name, start + timedelta(days=1), end, rehearsal.decisions, runs, told, changed_on)


def _retrains(rehearsal: Rehearsal, start: date) -> list[tuple[date, Any]]:
    return [
        (start + timedelta(days=1 + offset), decision)
        for offset, decision in enumerate(rehearsal.decisions)
        if decision.action == "retrain" and decision.run_key
    ]


def _report(rehearsal: Rehearsal, decision: Any, day: date, known: pd.DataFrame) -> RunReport:
    outcome = read_outcome(rehearsal.ports.store, decision.run_key)
    old, new = _versions(rehearsal.ports, outcome)
    begin = datetime.combine(day + timedelta(days=1), time())
    errors = [_wape(rehearsal, version, known, begin) for version in (old, new)]
    result = "lost" if outcome is None else outcome.result
    return RunReport(day, decision.trigger or "", decision.reason, result, errors[0], errors[1])


def _versions(ports: Ports, outcome: Outcome | None) -> tuple[str | None, str | None]:
    if outcome is None:
        return None, None
    return outcome.previous or ports.registry.version_of("champion"), outcome.version


def _wape(rehearsal: Rehearsal, version: str | None, known: pd.DataFrame, begin: datetime) -> float:
    forecaster = rehearsal.runs.forecasters.get(version or "")
    if forecaster is None or known["timestamp"].iloc[-1] < begin:
        return float("nan")
    rows = forecaster.backtest_predict(known, begin, min(begin + FORTNIGHT, known["timestamp"].iloc[-1]))
    return score(rows["demand"], rows["prediction"]).wape


CHANGES: dict[str, tuple[Callable[[datetime], Scenario], bool]] = {
    "demand +30 %": (lambda at: lambda frame: scenarios.demand_scaled(frame, at, _EVER, 1.3), False),
    "demand -40 %": (lambda at: lambda frame: scenarios.demand_scaled(frame, at, _EVER, 0.6), False),
    "half of the commuters at home": (lambda at: lambda frame: scenarios.home_office(frame, at, _EVER), False),
    "clock 4 h late": (lambda at: lambda frame: scenarios.clock_shift(frame, at, _EVER, 4), False),
    "feed in °F": (lambda at: lambda frame: scenarios.fahrenheit(frame, at, _EVER), True),
    "30 % of the hours missing": (lambda at: lambda frame: scenarios.missing_hours(frame, at, _EVER), True),
}
"""Labelled changes whose detection is measured: name -> (scenario from its first hour, only the feed breaks)."""


def to_markdown(year: Replayed, changes: Sequence[Replayed]) -> str:
    """The report, with the unflattering rows too."""
    counts = year.counts()
    helped = [run for run in year.runs if run.gain > USEFUL_SHARE]
    false = [run for run in year.runs if run.gain <= 0]
    lines = [
        "# Replay of a year on the virtual clock",
        "",
        f"Reproduce: `make replay`. Trained on everything before {year.start - timedelta(days=1)}, played "
        f"{year.start} to {year.end - timedelta(days=1)}, one monitor run a day, labels 24 h late, no human in the "
        "loop. Same library as in production; KFP, packaging, canary and HTTP are left out.",
        "",
        "| policy | WAPE on the same hours |",
        "| --- | --- |",
        f"| served by the loop | {year.story.wape('served'):.1%} |",
        f"| first model, frozen level | {year.story.wape('frozen'):.1%} |",
        f"| best naive rule | {year.story.wape('naive'):.1%} |",
        "",
        f"Days monitored: {len(year.decisions)}. Decisions: "
        + ", ".join(f"{action} {number}" for action, number in sorted(counts.items()))
        + f". Runs: {len(year.runs)}; useful (next fortnight's WAPE at least {USEFUL_SHARE:.0%} lower than with the "
        f"old version): {len(helped)}; false (not lower at all): {len(false)}.",
        "",
        "| day | trigger | outcome | old version, next 14 days | new version | gain | reason |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {run.day} | {run.trigger} | {run.outcome} | {_share(run.wape_old)} | {_share(run.wape_new)} | "
        f"{_share(run.gain)} | {run.reason} |"
        for run in year.runs
    ]
    loud = [
        (year.start + timedelta(days=offset), decision)
        for offset, decision in enumerate(year.decisions)
        if decision.action != "none"
    ]
    lines += [
        "",
        "## Every decision that was not quiet",
        "",
        "| day | state | decision | reason |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {day} | {d.state.value} | {d.action} | {d.reason} |" for day, d in loud]
    if changes:
        lines += [
            "",
            "## Detection of labelled changes",
            "",
            "Each from the same champion; the delay counts from the first changed hour, with the 24 h of the labels.",
            "",
            "Reactions are counted from the change on. A renewal by age is none: it would have come anyway. `never`: "
            "the daily level followed before an error passed its limit. With the late clock the truth itself is booked "
            "at the wrong hour, so its error says nothing about the model; that nothing trained on it is what counts.",
            "",
            "| change | first reaction after | reactions | renewals by age | WAPE first week | WAPE last week |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for item in changes:
            start = item.changed_on or item.start
            reactions = item.reactions()
            seen = ", ".join(f"{a} {n}" for a, n in sorted(reactions.items()) if a != "age renewal") or "none"
            delay = "never" if item.detected_after_days is None else f"{item.detected_after_days} days"
            lines.append(
                f"| {item.name} | {delay} | {seen} | {reactions['age renewal']} | "
                f"{_share(item.story.wape('served', start, start + timedelta(days=7)))} | "
                f"{_share(item.story.wape('served', item.end - timedelta(days=7), item.end))} |"
            )
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1%}"
