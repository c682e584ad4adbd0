"""The demo: the whole loop on real history, told in chapters from what the system really did."""

import secrets
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from bikeshare.commands import checkout, room
from bikeshare.core import scenarios
from bikeshare.core.contract import OBSERVATION
from bikeshare.core.diary import COMPARED, Diary
from bikeshare.core.observations import load_uci
from bikeshare.core.timeline import Card, Timeline, render
from bikeshare.errors import DataError, Unavailable
from bikeshare.ports import DecisionRecord
from bikeshare.simulation.diary import read_diary
from bikeshare.simulation.stage import Stage
from bikeshare.simulation.world import World, days
from bikeshare.steps.ingest import process_new
from bikeshare.steps.landing import land
from bikeshare.steps.loop_cards import decision_cards, merge_cards
from bikeshare.steps.request_run import request_run

MONITOR_HOUR = 6
"""The demo's monitor looks once a day, after the labels of the day before yesterday have landed."""

QUIET, BROKEN, REPAIRED = date(2012, 1, 12), date(2012, 1, 23), date(2012, 1, 25)
DELIVERED_AGAIN, CHANGED, END = date(2012, 1, 27), date(2012, 1, 30), date(2012, 2, 22)
"""Feed broken on [BROKEN, REPAIRED), its days delivered again on DELIVERED_AGAIN; the world changes on CHANGED."""

PERIODS = (
    ("quiet days", QUIET, BROKEN),
    ("feed in °F", BROKEN, REPAIRED),
    ("repaired", REPAIRED, CHANGED),
    ("changed world, first week", CHANGED, date(2012, 2, 6)),
    ("changed world, last week", date(2012, 2, 15), END),
    ("all", QUIET, END),
)


@dataclass
class Story:
    """One play of the demo on a stage."""

    stage: Stage
    world: World
    told: list[Card] = field(default_factory=list)
    played: dict[date, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _landed_until: date = date(2011, 1, 1)
    _chapter: str = ""

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        self.stage.console.print(text)

    def chapter(self, title: str, text: str) -> None:
        """Open a chapter; its title becomes a band in the timeline."""
        self._chapter = title
        self.say(f"\n[bold]{title}[/bold]  {text}")

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do something and keep how long it took."""
        started = time.monotonic()
        try:
            return work()
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def tell(self, card: Card) -> None:
        """Keep an event that is not a decision of the monitor (a run, a roll-out, a repair)."""
        self.told.append(card)

    def deliver(self, until: date, now: datetime) -> None:
        """Deliver what was observed on every day before `until`; the loop itself will judge it."""
        waiting = days(self._landed_until, until)
        if waiting:
            frames = [self.world.observed(day) for day in waiting]
            land(self.stage.ports.store, pd.concat(frames, ignore_index=True))
            self._landed_until = until
        process_new(self.stage.ports.store, self.stage.ports.records, self.stage.ports.notifier, now)

    def deliver_again(self, which: list[date], now: datetime) -> None:
        """Repaired days are delivered again and leave quarantine."""
        land(self.stage.ports.store, pd.concat([self.world.observed(day) for day in which], ignore_index=True))
        result = process_new(self.stage.ports.store, self.stage.ports.records, self.stage.ports.notifier, now)
        self.say(f"  delivered again after repair: {result.reason}")
        self.tell(Card(now, "message", "Repaired days were delivered again", result.reason))

    def run_pipeline(self, reason: str, now: datetime) -> dict[str, Any]:
        """Start a run as a person or the schedule would, and wait for it."""
        run = request_run(self.stage.ports, run_key=f"{reason}-{now:%Y%m%d}", reason=reason, arguments={}, now=now)
        return self.finish_run(run.run_id, reason, now)

    def finish_run(self, run_id: str, reason: str, now: datetime) -> dict[str, Any]:
        """Follow a run to its end and say what became of it."""
        done = self.timed("pipeline", lambda: self.stage.follow(self.stage.ports.runs.get(run_id)))
        champion = self.stage.ports.registry.version_of("champion")
        serving = self.stage.ports.rollouts.serving_version()
        outcome = {"status": done.status, "champion": champion, "serving": serving, "url": done.url}
        self.say(f"  run {done.run_key}: {done.status}; champion is version {champion}, live is version {serving}")
        kind = "rollout" if done.status == "succeeded" else "refused"
        self.tell(
            Card(
                now,
                kind,
                f"Run {done.run_key} {done.status}",
                f"Requested because: {reason.rstrip('.')}. Champion is version {champion}, live is version {serving}",
                links=(("run log", done.url),),
            )
        )
        return outcome

    def play(self, start: date, end: date) -> list[Any]:
        """Play days: morning forecast through the live API, truth 24 h late, one monitor run; follow its runs."""
        check = room("services.monitor.check")
        decisions = []
        for day in days(start, end):
            morning = datetime.combine(day, clock_time())
            self.stage.set_clock(morning)
            self.deliver(day - timedelta(days=1), morning)
            self.timed("serving", partial(self._serve_day, day, morning))
            now = morning + timedelta(hours=MONITOR_HOUR)
            self.stage.set_clock(now)
            decision = self.timed("monitor", partial(check.run_once, self.stage.ports, self.stage.settings, now))
            decisions.append(decision)
            self.played[day] = self._chapter
            self.say(f"  {day:%a %d %b}  {decision.state.value:<10} {decision.action:<8} {decision.reason}")
            if decision.action == "retrain" and decision.run_id:
                self.finish_run(decision.run_id, decision.reason, now)
        return decisions

    def _serve_day(self, day: date, morning: datetime) -> None:
        self.stage.refresh_predictor(morning)
        weather = self.world.forecast(day)
        try:
            answered = self.stage.predict_day(weather)
        except DataError as error:
            self.say(f"  {day:%a %d %b}  the live API refuses the day: {error}")
            self.tell(Card(morning, "message", "The live API refused a request", str(error)))
            weather = weather[weather["temp_c"] <= OBSERVATION["temp_c"].maximum].reset_index(drop=True)
            answered = self.stage.predict_day(weather)
        if len(answered["predictions"]) != len(weather):
            raise Unavailable(f"asked for {len(weather)} hours of {day}, got {len(answered['predictions'])}")
        start = morning
        self.stage.wait(
            f"the predictions of {day} in the records",
            lambda: self.stage.predictions_logged(start, start + timedelta(days=1)) >= len(weather),
            seconds=20,
        )


@dataclass(frozen=True)
class Ending:
    """What a play left behind."""

    timeline: Path
    inbox: Path
    diary: Diary
    decisions: list[DecisionRecord]
    facts: list[tuple[str, str]]
    seconds: dict[str, float]


def tell(stage: Stage) -> Ending:
    """Play the demo on a stage.

    Raises:
        Unavailable: something the story depends on did not happen.
    """
    began = time.monotonic()
    history = load_uci((checkout() / "data" / "hour.csv.gz").read_bytes())
    story = Story(stage, World.of(history))
    story.say("[bold]bikeshare[/bold]: hourly demand of Capital Bikeshare, 2011 and 2012, real records.")

    start = datetime(2012, 1, 1)
    story.chapter("Train on 2011", "8,645 hours are judged, trained on, packaged and rolled out.")
    stage.set_clock(start)
    story.timed("serving", stage.serve)
    story.timed("ingest", lambda: story.deliver(date(2012, 1, 1), start))
    first = story.run_pipeline("manual", start)
    if first["serving"] is None:
        raise Unavailable(f"the first run left nothing serving: {first}")

    story.chapter("Quiet days", "nothing to do, and the monitor says why.")
    story.play(QUIET, BROKEN)

    story.chapter("Sensor in °F", "the weather feed reports °F where °C is meant. Nothing may train on that.")
    first_bad, first_good = (datetime.combine(day, clock_time()) for day in (BROKEN, REPAIRED))
    story.world.break_sensors(lambda frame: scenarios.fahrenheit(frame, first_bad, first_good))
    story.play(BROKEN, REPAIRED)

    story.chapter("Repaired", "the feed is right again; bad days wait in quarantine until delivered again.")
    story.play(REPAIRED, DELIVERED_AGAIN)
    story.world.repair_sensors()
    story.deliver_again(days(BROKEN, REPAIRED), datetime.combine(DELIVERED_AGAIN, clock_time()))
    story.play(DELIVERED_AGAIN, CHANGED)

    story.chapter(
        "Half of the commuters stay at home (scenario)",
        "weekday peaks halve, midday fills, for good. The daily sum stays: the level cannot help.",
    )
    changed = datetime.combine(CHANGED, clock_time())
    story.world.change(lambda frame: scenarios.home_office(frame, changed, datetime(2013, 1, 1)))
    story.play(CHANGED, END)
    story.seconds["all"] = time.monotonic() - began
    return conclude(story, str(first["champion"]))


def conclude(story: Story, first_version: str) -> Ending:
    """Read back what happened, print the table, write the page."""
    from bikeshare.adapters.artifacts import load_artifact
    from bikeshare.adapters.bento import fetch_model

    stage = story.stage
    first = load_artifact(fetch_model(stage.ports.store, first_version, stage.home / "first")).forecaster
    known = story.world.reality[story.world.reality["timestamp"] < datetime.combine(END, clock_time())]
    told = read_diary(stage.ports.records, known, first, QUIET, END)
    decisions = list(reversed(stage.ports.records.decisions()))
    retrains = [record for record in decisions if record.action == "retrain"]
    quiet = sum(record.action == "none" for record in decisions)
    facts = [
        ("WAPE served, all played days", f"{told.wape('served'):.1%}"),
        ("WAPE of the first model, frozen", f"{told.wape('frozen'):.1%}"),
        ("WAPE of the best naive rule", f"{told.wape('naive'):.1%}"),
        ("quiet days of all monitored", f"{quiet} of {len(decisions)}"),
        ("retrains", str(len(retrains))),
        ("messages in the mock inbox", str(len(stage.inbox.messages) if stage.inbox else 0)),
    ]
    page = stage.home / "timeline.html"
    page.write_text(
        render(
            Timeline(
                "bikeshare: the loop on real history",
                f"Trained on 2011, played {QUIET:%d %b} to {END - timedelta(days=1):%d %b %Y} on a virtual clock.",
                told.days(story.played),
                merge_cards(decision_cards(decisions), story.told),
                facts,
                (
                    "History is real (Capital Bikeshare, UCI). The °F feed and the home office are scenarios "
                    "laid over it, and labelled so.",
                    "The growth of 2012 alone would ruin a frozen model; the online level absorbs it without a "
                    "retrain, which is why the retrain here answers a change of shape.",
                ),
            )
        ),
        encoding="utf-8",
    )
    inbox = stage.home / "inbox.html"
    if stage.inbox:
        inbox.write_bytes(stage.inbox.page())
    return Ending(page, inbox, told, decisions, facts, story.seconds)


def show(console: Console, ending: Ending) -> None:
    """The table of decisions, the errors side by side, and where to look."""
    table = Table(title="Decisions of the monitor", title_justify="left", show_lines=False)
    for heading in ("day", "state", "decision", "reason"):
        table.add_column(heading, overflow="fold")
    last: tuple[str, str] | None = None
    skipped = 0
    for record in ending.decisions:
        key = (record.state, record.action)
        if key == last and record.action == "none":
            skipped += 1
            continue
        if skipped:
            table.add_row("", "", "", f"… {skipped} more quiet days")
        skipped, last = 0, key
        table.add_row(f"{record.decided_at:%d %b}", record.state, record.action, record.reason)
    if skipped:
        table.add_row("", "", "", f"… {skipped} more quiet days")
    console.print(table)
    errors = Table(title="Error on the same hours (WAPE)", title_justify="left")
    for heading in ("period", "served", "first model, frozen", "naive rule"):
        errors.add_column(heading, justify="left" if heading == "period" else "right")
    for name, start, end in PERIODS:
        errors.add_row(name, *(f"{ending.diary.wape(column, start, end):.1%}" for column in COMPARED))
    console.print(errors)
    for name, value in ending.facts:
        console.print(f"  {name:<36} {value}")
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in ending.seconds.items() if name != "all")
    console.print(f"\n  played in [bold]{ending.seconds['all']:.0f} s[/bold] ({spent})")
    console.print(f"  timeline  {ending.timeline}")
    console.print(f"  inbox     {ending.inbox}")
    for record in ending.decisions:
        if record.report_url:
            console.print(f"  report    {record.report_url}  ({record.decided_at:%d %b}, {record.action})")


def keep_running(stage: Stage) -> None:
    """Leave the stage up for exploration, with the dashboard, until Ctrl-C."""
    key = secrets.token_urlsafe(6)
    with stage.console.status("starting the dashboard …"):
        stage.show_dashboard(key)
    stage.console.print(
        f"\n  [bold]dashboard           {stage.settings.dashboard_url}[/bold]   (key for a rollback: {key})\n"
        f"  live API and page   {stage.settings.predictor_url}\n"
        f"  mock Slack inbox    {stage.inbox.url if stage.inbox else '(none)'}\n"
        f"  runs and models     MLFLOW_TRACKING_URI={stage.settings.tracking}\n"
        "  Ctrl-C ends everything."
    )
    # A shell that starts this in the background lets it ignore Ctrl-C; SIGTERM must clean up, too.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
