"""A play in one process: the same library, without KFP, BentoML and HTTP, so that a year fits into minutes.

What is real: landing and ingest, records (SQLite), object store (a folder), training, gate, registry (MLflow), the
predictor's snapshot and forecaster, the monitor's whole recipe. What is not: containers, packaging, canary, HTTP.
"""

import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bikeshare.bootstrap import wire
from bikeshare.commands import room
from bikeshare.core.batch import WeatherBatch
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.promotion import GatePolicy
from bikeshare.errors import BikeshareError, NotFound
from bikeshare.ports import Ports, PredictionRow, Run, RunStatus
from bikeshare.settings import Settings
from bikeshare.simulation.world import World, days
from bikeshare.steps.evaluate import evaluate_challenger
from bikeshare.steps.gate import judge, record_gate
from bikeshare.steps.ingest import process_new
from bikeshare.steps.landing import land
from bikeshare.steps.outcome import Outcome, Result, write_outcome
from bikeshare.steps.package import package
from bikeshare.steps.request_run import request_run
from bikeshare.steps.rollout import move_aliases
from bikeshare.steps.snapshot import build_snapshot
from bikeshare.steps.train import request_of, train_challenger

MONITOR_HOUR = 6
LABEL_DELAY = timedelta(hours=24)


class InProcessRollouts:
    """`Rollouts` without processes: the promoted version is the one that answers."""

    def __init__(self) -> None:
        self._serving: str | None = None

    def start_canary(self, version: str) -> str:
        """There is nothing to start."""
        return f"memory://{version}"

    def promote_canary(self, version: str) -> None:
        """The version answers from now on."""
        self._serving = version

    def abort_canary(self, version: str) -> None:
        """The serving version is untouched."""

    def serving_version(self) -> str | None:
        """The version that answers."""
        return self._serving

    def canary_version(self) -> str | None:
        """There is never one."""
        return None


@dataclass
class InProcessRuns:
    """`PipelineRuns` that trains, judges and promotes before `submit` returns."""

    ports: Callable[[], Ports]
    home: Path
    trees: int
    forecasters: dict[str, Forecaster] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        """Do the whole run now; the run of a known key is returned instead."""
        if run_key in self._runs:
            return self._runs[run_key]
        now = datetime.fromisoformat(str(arguments["now"]))
        try:
            self._execute(arguments, run_key, reason, now)
            status: RunStatus = "succeeded"
        except BikeshareError as error:
            write_outcome(self.ports().store, Outcome(run_key, "failed", str(error), now))
            status = "failed"
        self._runs[run_key] = Run(run_key, run_key, status, f"memory://{run_key}", now)
        return self._runs[run_key]

    def _execute(self, arguments: Mapping[str, Any], run_key: str, reason: str, now: datetime) -> None:
        from bikeshare.adapters.artifacts import load_artifact
        from bikeshare.adapters.artifacts.writing import save_artifact
        from bikeshare.adapters.bento import pack

        ports = self.ports()
        folder = self.home / "trials" / run_key
        artifact, trial = folder / "artifact", folder / "trial"
        observations = ports.records.observations(None, now - LABEL_DELAY + timedelta(hours=1))
        gate = GatePolicy()
        request = request_of(
            run_key,
            reason,
            now,
            str(arguments.get("adapt_since", "")),
            0,
            int(arguments.get("trees", self.trees)),
            0,
            "rehearsal",
            gate,
        )
        made = train_challenger(
            observations,
            ports.registry,
            request,
            artifact=artifact,
            trial=trial,
            save=save_artifact,
            draw=_no_plots,
        )
        evaluation = evaluate_challenger(observations, artifact, trial, load_artifact, policy=gate, seed=0)
        # Milliseconds of a busy machine decide nothing in a rehearsal.
        promotion = judge(replace(evaluation, row_ms=None), gate)
        record_gate(ports.registry, made.version, promotion)
        champion = ports.registry.version_of("champion")
        before = None if evaluation.champion is None else evaluation.champion.overall.wape
        after = evaluation.challenger.overall.wape
        if promotion.accepted:
            loaded = load_artifact(artifact)
            package(ports.store, artifact, made.version, loaded.content_hash, pack)
            self.forecasters[made.version] = loaded.forecaster
            ports.rollouts.promote_canary(made.version)
            move_aliases(ports, made.version)
        result: Result = "promoted" if promotion.accepted else "refused"
        write_outcome(
            ports.store, Outcome(run_key, result, promotion.reason, now, made.version, champion, before, after)
        )

    def take_over(self, other: "InProcessRuns") -> None:
        """Know the runs of another play and the models they made."""
        self._runs.update(other._runs)
        self.forecasters.update(other.forecasters)

    def find(self, run_key: str) -> Run | None:
        """The run of a key, or None."""
        return self._runs.get(run_key)

    def active(self) -> Sequence[Run]:
        """None: every run ends before `submit` returns."""
        return []

    def get(self, run_id: str) -> Run:
        """One run; NotFound if absent."""
        if run_id not in self._runs:
            raise NotFound(f"no run {run_id!r} in this rehearsal")
        return self._runs[run_id]


def _home() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="bikeshare-rehearsal-")


def _no_plots(judged: pd.DataFrame, importance: pd.DataFrame, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    importance.to_csv(folder / "importance.csv", index=False)
    judged.to_csv(folder / "judged.csv", index=False)
    return folder


@dataclass
class Rehearsal:
    """One world, one loop, one process. Use as a context manager."""

    world: World
    start: date
    trees: int = 50
    policies: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[date, Any], None] | None = None
    decisions: list[Any] = field(default_factory=list)
    _today: date = date.min

    def __enter__(self) -> "Rehearsal":
        """Wire everything in a temporary home and train the first champion on all days before `start`."""
        self._exits = ExitStack()
        self._wire(Path(self._exits.enter_context(_home())))
        self._landed_until = self.world.feed["timestamp"].iloc[0].date()
        now = datetime.combine(self.start, time()) + LABEL_DELAY
        self.deliver(self.start, now)
        request_run(self.ports, run_key="first", reason="manual", arguments={}, now=now)
        if self.ports.registry.version_of("champion") is None:
            raise NotFound(f"the first training left no champion: {self.ports.store.get('runs/first/outcome.json')!r}")
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the temporary home."""
        self._exits.close()

    @contextmanager
    def going_on_in(self, world: World) -> Iterator["Rehearsal"]:
        """A copy of this play as it stands, whose next days are those of another world.

        It has a home of its own; models it trains are stored beside the original's.
        """
        with _home() as folder:
            shutil.copytree(self.home, folder, dirs_exist_ok=True)
            other = replace(self, world=world, decisions=list(self.decisions))
            other._wire(Path(folder))
            other._landed_until = self._landed_until
            other.runs.take_over(self.runs)
            serving = self.ports.rollouts.serving_version()
            if serving is not None:
                other.ports.rollouts.promote_canary(serving)
            yield other

    def _wire(self, home: Path) -> None:
        from bikeshare.adapters.alerts import ConsoleNotifier

        self.home = home
        self.settings = Settings.isolated(home=home, environment_name="rehearsal", **self.policies)
        wired = wire(self.settings, job="monitor")
        self.runs = InProcessRuns(lambda: self.ports, home, self.trees)
        quiet = ConsoleNotifier(wired.records, home / "alerts.jsonl", stream=io.StringIO())
        self.ports = replace(wired, runs=self.runs, rollouts=InProcessRollouts(), notifier=quiet)

    def deliver(self, until: date, now: datetime) -> None:
        """Deliver the days before `until` that were not delivered yet; the loop judges them."""
        waiting = days(self._landed_until, until)
        if waiting:
            land(self.ports.store, pd.concat([self.world.observed(day) for day in waiting], ignore_index=True))
            self._landed_until = until
        process_new(self.ports.store, self.ports.records, self.ports.notifier, now)

    def play(self, until: date) -> list[Any]:
        """Play every day from where the play stands to `until`; return the decisions of these days."""
        check = room("services.monitor.check")
        made = []
        first = max(self.start, self._today) + timedelta(days=1)
        for day in days(first, until):
            self._today = day
            morning = datetime.combine(day, time())
            self.deliver(day - timedelta(days=1), morning)
            self._serve(day, morning)
            now = morning + timedelta(hours=MONITOR_HOUR)
            decision = check.run_once(self.ports, self.settings, now)
            made.append(decision)
            self.decisions.append(decision)
            if self.progress is not None:
                self.progress(day, decision)
        return made

    def _serve(self, day: date, morning: datetime) -> None:
        version = self.ports.rollouts.serving_version()
        if version is None:
            return
        forecaster = self.runs.forecasters[version]
        weather = self.world.forecast(day)
        snapshot = build_snapshot(forecaster, self.ports.records, version, morning)
        answer = forecaster.predict(WeatherBatch.from_frame(weather), snapshot, morning)
        ages = [None if np.isnan(age) else float(age) for age in answer.level_age_hours]
        self.ports.records.insert_predictions(
            [
                PredictionRow(
                    request_id=f"{day}-{version}",
                    position=index,
                    predicted_at=morning,
                    model_version=version,
                    timestamp=row["timestamp"].to_pydatetime(),
                    temp_c=row["temp_c"],
                    feels_like_c=row["feels_like_c"],
                    humidity_pct=row["humidity_pct"],
                    windspeed_kmh=row["windspeed_kmh"],
                    weather=row["weather"],
                    is_holiday=bool(row["is_holiday"]),
                    features_hash="",
                    demand=float(answer.demand[index]),
                    lower_80=float(answer.lower_80[index]),
                    upper_80=float(answer.upper_80[index]),
                    lower_95=float(answer.lower_95[index]),
                    upper_95=float(answer.upper_95[index]),
                    source=str(answer.source[index]),
                    degraded=bool(answer.degraded[index]),
                    level_age_hours=ages[index],
                )
                for index, row in enumerate(weather.to_dict("records"))
            ]
        )
