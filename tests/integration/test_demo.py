"""The main job, as a stranger runs it; what it must show is read back from the records."""

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, root: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    home = tmp_path_factory.mktemp("demo") / "home"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bikeshare",
            "demo",
            "--home",
            str(home),
            "--port",
            str(free_port()),
            "--supervisor-port",
            str(free_port()),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=1400,
        check=False,
    )
    return home, done


def decisions(home: Path) -> list[tuple[str, str, str, str | None]]:
    with sqlite3.connect(home / "records.db") as database:
        return database.execute(
            "select decided_at, state, action, reason from decisions order by decided_at"
        ).fetchall()


def test_it_exits_0_and_names_what_it_made(played) -> None:
    home, done = played

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for made in ("timeline.html", "inbox.html"):
        assert (home / made).is_file()
        assert made in done.stdout


def test_quiet_days_are_quiet_and_say_why(played) -> None:
    quiet = [row for row in decisions(played[0]) if "2012-01-12" <= row[0] < "2012-01-23"]

    assert len(quiet) == 11
    assert {row[2] for row in quiet} == {"none"}
    assert all("7-day WAPE" in row[3] for row in quiet[-3:])


def test_broken_data_is_held_told_and_never_trained(played) -> None:
    home, _ = played
    broken = [row for row in decisions(home) if "2012-01-23" <= row[0] < "2012-01-25"]
    with sqlite3.connect(home / "records.db") as database:
        promised = database.execute("select created_at from intents").fetchall()
        warm = database.execute(
            "select max(temp_c) from observations where timestamp >= '2012-01-23' and timestamp < '2012-01-25'"
        ).fetchone()[0]

    assert {(row[1], row[2]) for row in broken} == {("bad_data", "hold")}
    assert any("Fahrenheit" in row[3] for row in broken)
    assert not [moment for (moment,) in promised if "2012-01-23" <= moment < "2012-01-30"]
    assert warm < 20, "the days reached the records only after they were repaired"


def test_a_changed_world_is_retrained_once_and_the_error_comes_back(played) -> None:
    home, done = played
    retrains = [row for row in decisions(home) if row[2] == "retrain"]

    assert len(retrains) == 1, retrains
    assert retrains[0][0] > "2012-01-31"
    assert "Decay confirmed" in retrains[0][3]
    assert '"result": "promoted"' in outcome(home, retrains[0])
    inbox = (home / "inbox.html").read_text(encoding="utf-8")
    assert "replaced 1 as champion" in inbox
    first, last = (line_of(done.stdout, name) for name in ("changed world, first week", "changed world, last week"))
    assert last[0] < 0.7 * first[0]
    assert line_of(done.stdout, "all")[0] < 0.75 * line_of(done.stdout, "all")[1]


def outcome(home: Path, decision: tuple[str, str, str, str | None]) -> str:
    with sqlite3.connect(home / "records.db") as database:
        (key,) = database.execute("select run_key from decisions where decided_at = ?", (decision[0],)).fetchone()
    return (home / "store" / "runs" / key / "outcome.json").read_text(encoding="utf-8")


def line_of(output: str, name: str) -> list[float]:
    """WAPE served, frozen and naive of one period in the printed table."""
    line = next(line for line in output.splitlines() if f"│ {name} " in line)
    return [float(cell.strip().rstrip("%")) / 100 for cell in line.split("│")[2:5]]


def test_nothing_is_left_running(played) -> None:
    home, _ = played
    mine = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in command and process.name != str(os.getpid()):
            mine.append(process.name)

    assert mine == []
