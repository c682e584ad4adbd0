"""The play of `tests/e2e` on this machine: real pipeline, predictor and monitor, processes instead of pods."""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from bikeshare.simulation.stage import Stage
from bikeshare.steps.landing import land
from tests.e2e.play import play

NOW = datetime(2012, 6, 20, 9, 30)
SINCE = datetime(2012, 3, 1)
"""One spring is history enough for a first model, and trains faster."""


@dataclass
class LocalDoor:
    """The embedded profile."""

    stage: Stage

    def land(self, frame: pd.DataFrame) -> None:
        land(self.stage.ports.store, frame)

    def command(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bikeshare", *arguments], env=self.stage.environment(), capture_output=True,
            text=True, check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def look(self) -> dict[str, Any]:
        return json.loads(self.command("monitor", "run", "--json"))

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        answer = self.stage.http.post("/predict", json={"instances": rows})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def model_version(self) -> str | None:
        try:
            answer = self.stage.http.get("/model")
        except httpx.TransportError:
            return None
        return answer.json()["model_version"] if answer.status_code == 200 else None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_changed_world_is_noticed_retrained_on_and_can_be_undone(tmp_path: Path, history: pd.DataFrame) -> None:
    policy = {"retraining": {"cooldown_days": 0}}
    with Stage(tmp_path / "home", port=38471, supervisor_port=38472, with_slack=False, extra=policy) as stage:
        stage.set_clock(NOW)
        stage.serve()
        played = play(LocalDoor(stage), history[history["timestamp"] >= SINCE], NOW)

    assert played.decisions[-1]["action"] == "retrain", played.decisions
    assert played.decisions[-1]["trigger"] == "drift"
    assert played.run["status"] == "succeeded"
    assert played.run["outcome"]["result"] == "promoted", played.run
    assert played.second == played.run["outcome"]["version"] != played.first
    assert played.restored == played.first
