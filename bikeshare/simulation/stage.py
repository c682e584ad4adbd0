"""The stage of a play: a fresh home, a virtual clock, a mock inbox, a supervised predictor. Leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
from rich.console import Console

from bikeshare.bootstrap import wire
from bikeshare.commands import checkout
from bikeshare.errors import ConfigurationError, DataError, Unavailable
from bikeshare.ports import Ports, Run
from bikeshare.settings import PREFIX, Settings

READY_SECONDS = 60.0
"""How long a supervisor may take to open its port on a busy two-core machine."""


MARK = ".play"
"""Left in every home of a play: only such a folder is emptied for the next one."""


def _empty(home: Path) -> None:
    """Remove what an earlier play left; ConfigurationError when the folder holds anything else."""
    if not home.exists():
        return
    # Plays before the mark are known by their clock.
    if not home.is_dir() or (any(home.iterdir()) and not any((home / name).exists() for name in (MARK, "clock.txt"))):
        raise ConfigurationError(
            f"{home} holds files that no play made: a play empties its home, choose a new or empty folder with --home"
        )
    shutil.rmtree(home, ignore_errors=True)


@dataclass
class Stage:
    """Everything a play needs, started on entry and ended on exit."""

    home: Path
    port: int = 3000
    supervisor_port: int = 3010
    dashboard_port: int = 8501
    with_slack: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = True
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def __enter__(self) -> "Stage":
        """Prepare the home and wire the ports; processes start with `serve`."""
        self.home = self.home.absolute()
        if self.fresh:
            _empty(self.home)
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / MARK).touch()
        self._exits = ExitStack()
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._dashboard: subprocess.Popen[bytes] | None = None
        slack: dict[str, Any] = {}
        self.inbox: Any = None
        if self.with_slack:
            from bikeshare.simulation.slack_inbox import SlackInbox

            self.inbox = self._exits.enter_context(SlackInbox())
            slack = {
                "slack_bot_token": "xoxb-mock-inbox",
                "slack_channel": "C0BIKES",
                "slack_api_url": self.inbox.api_url,
            }
        self.settings = Settings.isolated(
            home=self.home,
            clock=f"file:{self.home / 'clock.txt'}",
            predictor_port=self.port,
            predictor_url=f"http://127.0.0.1:{self.port}",
            supervisor_port=self.supervisor_port,
            dashboard_port=self.dashboard_port,
            dashboard_url=f"http://127.0.0.1:{self.dashboard_port}",
            **{"environment_name": "demo", "refresh_seconds": 3600.0, **slack, **self.extra},
        )
        self.ports: Ports = wire(self.settings, job="monitor")
        self.http = self._exits.enter_context(httpx.Client(base_url=self.settings.predictor_url, timeout=30))
        return self

    def __exit__(self, *_: object) -> None:
        """End every process that was started here."""
        self.stop_dashboard()
        self.stop_serving()
        self._exits.close()

    def set_clock(self, now: datetime) -> None:
        """Move the virtual clock; every process of the stage sees it."""
        scratch = self.home / "clock.txt.new"
        scratch.write_text(now.isoformat(), encoding="utf-8")
        scratch.replace(self.home / "clock.txt")

    def environment(self) -> dict[str, str]:
        """The environment of child processes: this one's, with the stage's settings."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("BIKESHARE_")}
        return inherited | self.settings.to_environment() | {"PYTHONPATH": str(checkout())}

    def serve(self) -> None:
        """Start the supervisor and wait until its front answers."""
        self._supervisor = self._start("serve", self.environment())
        self.wait("the front to open its port", lambda: self._front_answers())

    def show_dashboard(self, key: str) -> None:
        """Start the dashboard and wait until it answers.

        Args:
            key: What a visitor must type to roll back; known to the dashboard only.
        """
        self._dashboard = self._start("dashboard", self.environment() | {f"{PREFIX}API_KEY": key})
        self.wait("the dashboard to open its port", lambda: self._dashboard_answers())

    def _start(self, command: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        log = self._exits.enter_context((self.home / f"{command}.log").open("ab"))
        return subprocess.Popen(
            [sys.executable, "-m", "bikeshare", command],
            cwd=checkout(),
            env=dict(environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def _dashboard_answers(self) -> bool:
        if self._dashboard is not None and self._dashboard.poll() is not None:
            raise ConfigurationError(
                f"the dashboard ended with code {self._dashboard.returncode}: see {self.home / 'dashboard.log'}"
            )
        try:
            return self.http.get(f"{self.settings.dashboard_url}/_stcore/health").status_code == 200
        except httpx.TransportError:
            return False

    def _front_answers(self) -> bool:
        if self._supervisor is not None and self._supervisor.poll() is not None:
            raise ConfigurationError(
                f"the supervisor ended with code {self._supervisor.returncode}: see {self.home / 'serve.log'}"
            )
        try:
            return self.http.get("/-/status").status_code < 600
        except httpx.TransportError:
            return False

    def stop_serving(self) -> None:
        """End the supervisor and its predictors."""
        process, self._supervisor = self._supervisor, None
        _end(process)

    def stop_dashboard(self) -> None:
        """End the dashboard."""
        process, self._dashboard = self._dashboard, None
        _end(process)

    def wait(self, what: str, condition: Callable[[], bool], *, seconds: float = READY_SECONDS) -> None:
        """Poll until a condition holds; Unavailable names what did not happen."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Unavailable(f"waited {seconds:.0f} s for {what}: look into the logs in {self.home}")
            time.sleep(0.05)

    def follow(self, run: Run, *, seconds: float = 600) -> Run:
        """Wait for a pipeline run, showing that it lives."""
        started = time.monotonic()
        with self.console.status(f"pipeline run {run.run_key} …") as status:
            while (current := self.ports.runs.get(run.run_id)).status in ("pending", "running"):
                elapsed = time.monotonic() - started
                status.update(f"pipeline run {run.run_key} … {elapsed:.0f} s")
                if elapsed > seconds:
                    raise Unavailable(f"pipeline run {run.run_id} took more than {seconds:.0f} s: see {current.url}")
                time.sleep(0.2)
        return current

    def refresh_predictor(self, now: datetime) -> None:
        """Let the live predictor see what has landed by now, and check that it did."""
        answer = self.http.post("/-/refresh")
        if answer.status_code != 200:
            raise Unavailable(f"POST /-/refresh answered {answer.status_code}: {answer.text[:300]}")
        as_of = (answer.json().get("snapshot") or {}).get("as_of")
        if as_of != now.isoformat():
            raise Unavailable(f"the predictor's snapshot is of {as_of}, expected {now.isoformat()}")

    def predict_day(self, weather: pd.DataFrame) -> dict[str, Any]:
        """Ask the live API for one day, as a client would.

        Raises:
            DataError: the API refused the rows; the message is the API's.
            Unavailable: any other answer than 200.
        """
        rows = [
            {**row, "timestamp": row["timestamp"].isoformat(), "is_holiday": bool(row["is_holiday"])}
            for row in weather.to_dict("records")
        ]
        answer = self.http.post("/predict", json={"instances": rows})
        if answer.status_code == 422:
            raise DataError(answer.json()["error"]["message"])
        if answer.status_code != 200:
            raise Unavailable(f"POST /predict answered {answer.status_code}: {answer.text[:300]}")
        body: dict[str, Any] = answer.json()
        return body

    def predictions_logged(self, start: datetime, end: datetime) -> int:
        """How many predictions for these hours have reached the records."""
        frames = self.ports.records.iter_predictions(start, end, columns=["timestamp"])
        return sum(len(frame) for frame in frames)


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    """SIGTERM, then SIGKILL to the whole group if it does not end."""
    if process is None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
