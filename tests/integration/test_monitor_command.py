"""The doors: `bikeshare monitor run` and `python -m services.monitor`, on SQLite, MLflow and a folder."""

import json
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.monitor_world import NOW, prepare
from bikeshare.bootstrap import wire
from bikeshare.settings import Settings
from services.monitor.check import run_once


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("monitor") / "home"
    prepare(folder)
    return folder


def run(root: Path, home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "BIKESHARE_HOME": str(home),
        "BIKESHARE_CLOCK": f"file:{home / 'clock.txt'}", **variables,
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", *arguments], cwd=root, env=environment, capture_output=True, text=True
    )


def test_the_command_prints_a_sentence_or_json(root: Path, home: Path) -> None:
    said = run(root, home, "-m", "bikeshare", "monitor", "run")
    later = (NOW + timedelta(hours=2)).isoformat()
    as_json = run(root, home, "-m", "bikeshare", "monitor", "run", "--now", later, "--json")

    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("healthy: none. Nothing to do: 7-day bias")
    assert as_json.returncode == 0, as_json.stderr
    assert json.loads(as_json.stdout)["state"] == "healthy"


def test_the_process_of_the_cronjob_prints_one_line_of_json(root: Path, home: Path) -> None:
    done = run(root, home, "-m", "services.monitor")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["action"] == "none"


def test_a_wrong_setting_is_exit_code_two(root: Path, home: Path) -> None:
    done = run(root, home, "-m", "services.monitor", BIKESHARE_ROLOUT="local")

    assert done.returncode == 2
    assert "BIKESHARE_ROLOUT" in done.stderr


def test_a_database_that_is_away_is_exit_code_one(root: Path, home: Path) -> None:
    done = run(root, home, "-m", "services.monitor", BIKESHARE_DATABASE_URL="postgresql+psycopg://x@127.0.0.1:1/x")

    assert done.returncode == 1
    assert done.stderr.startswith("monitor: ")


def test_two_monitors_on_one_database_decide_once(home: Path) -> None:
    """Two wired monitors look at the same moment: one works, the other stands aside or loses the write."""
    settings = Settings(home=home, clock=f"file:{home / 'clock.txt'}")
    wired = [wire(settings, job="monitor") for _ in range(2)]
    before = len(wired[0].records.decisions())
    barrier, said = threading.Barrier(2), []

    def look(number: int) -> None:
        barrier.wait()
        said.append(run_once(wired[number], settings, NOW + timedelta(hours=5)).reason)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    aside = sum("Another monitor" in reason for reason in said)
    assert len(said) == 2
    assert aside <= 1
    # Both ran one after the other when the first was done before the second asked for the lease.
    assert len(wired[0].records.decisions()) == before + 1
