"""A loop in memory around the real recipe of the monitor: days pass, hours are served, truth lands a day later."""

import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.monitor_world import reference_documents, serve
from bikeshare.core.retraining import Decision
from bikeshare.ports import Notifier, Ports, Telemetry
from bikeshare.settings import Settings
from bikeshare.steps.landing import land
from bikeshare.steps.outcome import Outcome, write_outcome
from services.monitor.check import run_once
from tests.fakes.clock import FixedClock
from tests.fakes.notifier import MemoryNotifier
from tests.fakes.records import MemoryRecords
from tests.fakes.registry import MemoryRegistry
from tests.fakes.reporter import MemoryReporter
from tests.fakes.rollouts import MemoryRollouts
from tests.fakes.runs import MemoryRuns
from tests.fakes.store import MemoryStore
from tests.fakes.telemetry import MemoryTelemetry

START = date(2012, 5, 1)
TRAINING = ("2012-03-01", "2012-04-30")


class MonitorWorld:
    """Fakes with state, a champion with a real profile, and days that pass."""

    def __init__(
        self, folder: Path, history: pd.DataFrame, notifier: Notifier | None = None, *,
        telemetry: Telemetry | None = None, training: tuple[str, str] = TRAINING,
    ) -> None:
        self.history = history
        self.folder = folder
        self.records, self.store, self.runs = MemoryRecords(), MemoryStore(), MemoryRuns()
        self.registry, self.telemetry = MemoryRegistry(folder / "registry"), MemoryTelemetry()
        self.reporter, self.alerts = MemoryReporter(), MemoryNotifier()
        self.clock = FixedClock(datetime.combine(START, time()))
        self.settings = Settings(home=folder)
        self.ports = Ports(
            self.clock, self.store, self.records, self.registry, self.runs, notifier or self.alerts, MemoryRollouts(),
            self.reporter, telemetry or self.telemetry,
        )
        trained = history[(history["timestamp"] >= training[0]) & (history["timestamp"] < training[1])]
        self.records.upsert_observations(trained)
        self.champion = self.register(reference_documents(trained))
        self.registry.set_alias("champion", self.champion)
        self.today = START
        self.decisions: list[Decision] = []

    def register(self, documents: dict[str, dict[str, Any]]) -> str:
        """Put an artifact with these documents into the registry."""
        artifact = self.folder / f"artifact-{len(list(self.folder.glob('artifact-*')))}"
        artifact.mkdir(parents=True)
        for name, document in documents.items():
            (artifact / name).write_text(json.dumps(document))
        return self.registry.register(self.registry.log_run(run_name="r", params={}, metrics={}, tags={}), artifact, {})

    def of_day(self, day: date) -> pd.DataFrame:
        """The real hours of a day."""
        start, hours = pd.Timestamp(day), self.history["timestamp"]
        return self.history[(hours >= start) & (hours < start + pd.Timedelta("1D"))].reset_index(drop=True)

    def morning(self, *, ratio: float = 1.0, inputs: Any = None, observed: Any = None, labels: bool = True) -> datetime:
        """Serve today, land the day before yesterday, and stand at six o'clock."""
        served = self.of_day(self.today)
        serve(self.records, served if inputs is None else inputs(served), version=self.champion, ratio=ratio)
        past = self.of_day(self.today - timedelta(days=2))
        if labels and len(past):
            land(self.store, past if observed is None else observed(past))
        return datetime.combine(self.today, time(6))

    def day(self, **options: Any) -> Decision:
        """One day: serve, land, look; then it is tomorrow."""
        decision = self.look(self.morning(**options))
        self.today += timedelta(days=1)
        return decision

    def days(self, count: int, **options: Any) -> list[Decision]:
        """Several days alike."""
        return [self.day(**options) for _ in range(count)]

    def look(self, now: datetime) -> Decision:
        """Let the monitor look."""
        self.clock.moment = now
        self.decisions.append(run_once(self.ports, self.settings, now))
        return self.decisions[-1]

    def end_run(self, run_key: str, result: str) -> None:
        """The pipeline ends: outcome in the store, and a new champion when it was promoted."""
        now = self.clock.moment
        write_outcome(self.store, Outcome(run_key, result, "seen in the test", now, "2", self.champion))  # type: ignore[arg-type]
        self.runs.end(run_key, succeeded=result in ("promoted", "refused"))
        if result == "promoted":
            training = self.history[(self.history["timestamp"] >= TRAINING[0]) & (self.history["timestamp"] < now)]
            self.champion = self.register(reference_documents(training))
            self.registry.set_alias("champion", self.champion)

    def submitted(self) -> list[str]:
        """Keys of every run that was started."""
        return [arguments["run_key"] for arguments in self.runs.submitted]
