"""What `make up` leaves running: live API and dashboard, printed with their addresses; Ctrl-C leaves nothing."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_SECONDS, App, Open, environment, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPT = """
import sys
from pathlib import Path
from bikeshare.simulation import story
from bikeshare.simulation.stage import Stage

home, port, supervisor, dashboard = Path(sys.argv[1]), *map(int, sys.argv[2:])
with Stage(home=home, port=port, supervisor_port=supervisor, dashboard_port=dashboard, fresh=False) as stage:
    stage.serve()
    story.keep_running(stage)
print("ended")
"""


def processes_of(home: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(home).encode() in text:
            found.append(process.name)
    return found


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_the_dashboard_until_it_is_told_to_end(
    play: Path, root: Path, tmp_path: Path, visit: Open, ending: signal.Signals
) -> None:
    home = tmp_path / "kept"
    shutil.copytree(play, home)
    ports = [str(free_port()) for _ in range(3)]
    clean = {name: value for name, value in environment(root, home).items() if not name.startswith("BIKESHARE_")}
    with (tmp_path / "out.log").open("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(home), *ports], cwd=root, env=clean, stdout=out, stderr=out
        )
        try:
            printed = wait_for(tmp_path / "out.log", "Ctrl-C ends everything", process)
            url = re.search(r"dashboard\s+(\S+)", printed)
            assert url is not None
            assert url[1] == f"http://127.0.0.1:{ports[2]}"
            assert re.search(r"key for a rollback: \S{8}", printed)
            page = visit(App(url[1], home, process), "models")
            expect(page.get_by_role("button", name="Roll back to version")).to_be_visible()
        finally:
            process.send_signal(ending)
            code = process.wait(timeout=PATIENCE_SECONDS)

    assert code == 0, (tmp_path / "out.log").read_text()
    assert "ended" in (tmp_path / "out.log").read_text()
    assert processes_of(home) == []


def wait_for(log: Path, text: str, process: "subprocess.Popen[bytes]") -> str:
    end = time.monotonic() + PATIENCE_SECONDS
    while text not in (printed := log.read_text()):
        assert process.poll() is None, printed
        assert time.monotonic() < end, printed
        time.sleep(0.2)
    return printed
