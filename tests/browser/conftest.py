"""A real dashboard over a real play, looked at with a real headless Chromium."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.browser.play import clock, played

PATIENCE_SECONDS = 90
"""How long a page may take on a machine that does other things; nothing is asserted about speed."""

KEY = "a-key-for-tests"

PAGES = {
    "": "Loop", "forecast": "Forecast", "models": "Models", "drift": "Drift", "quality": "Live quality",
    "health": "Health",
}
"""Path and heading of every page."""

Open = Callable[..., Page]


@dataclass
class App:
    """A running dashboard and the home behind it."""

    url: str
    home: Path
    process: "subprocess.Popen[bytes]"
    api: str = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(root: Path, home: Path, **more: str) -> dict[str, str]:
    """Only what the test says: nothing of a developer's own settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("BIKESHARE_", "MLFLOW_"))}
    return clean | {
        "BIKESHARE_HOME": str(home), "BIKESHARE_ENVIRONMENT_NAME": "play", "PYTHONPATH": str(root),
        **{f"BIKESHARE_{name.upper()}": value for name, value in more.items()},
    }


@contextmanager
def running(
    root: Path, home: Path, command: list[str], url: str, env: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child process that answers at a URL; ended afterwards."""
    log = home / f"{command[0]}-{url.rsplit(':', 1)[1].split('/')[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "bikeshare", *command], cwd=root, env=env, stdout=out,
                                   stderr=out)
    try:
        end = time.monotonic() + PATIENCE_SECONDS
        while not _answers(url):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, f"{url} does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def dashboard(root: Path, home: Path, **settings: str) -> Iterator[App]:
    """A dashboard on a free port."""
    port = free_port()
    env = environment(root, home, dashboard_port=str(port), **settings)
    url = f"http://127.0.0.1:{port}"
    with running(root, home, ["dashboard"], f"{url}/_stcore/health", env) as process:
        yield App(url, home, process)


@pytest.fixture(scope="session")
def play(history: pd.DataFrame) -> Iterator[Path]:
    """The home of a short real play."""
    with played(history) as rehearsal:
        yield rehearsal.home


@pytest.fixture(scope="session")
def app(play: Path, root: Path) -> Iterator[App]:
    """Live API and dashboard over the play."""
    port, supervisor = free_port(), free_port()
    ports = {
        "clock": clock(play), "predictor_port": str(port), "supervisor_port": str(supervisor),
        "predictor_url": f"http://127.0.0.1:{port}", "refresh_seconds": "3600",
    }
    with (
        running(root, play, ["serve"], f"http://127.0.0.1:{port}/readyz", environment(root, play, **ports)),
        dashboard(root, play, api_key=KEY, **ports) as started,
    ):
        started.api = ports["predictor_url"]
        yield started


@pytest.fixture(scope="session")
def empty_app(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[App]:
    """A dashboard on the first day: no data, no model, no live API, no key."""
    home = tmp_path_factory.mktemp("empty")
    with dashboard(root, home, predictor_url=f"http://127.0.0.1:{free_port()}") as started:
        yield started


@contextmanager
def started_browser(driver: Playwright) -> Iterator[Browser]:
    """The system's Chromium."""
    path = shutil.which("chromium")
    assert path, "no chromium on the PATH: run hack/chromium.sh as root"
    # Containers give a small /dev/shm and no user namespaces; the pages are our own.
    started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """While a browser is driven an event loop runs in this thread: only for the tests of one file."""
    with sync_playwright() as driver, started_browser(driver) as started:
        yield started


@pytest.fixture(scope="session")
def shots(root: Path) -> Path:
    """Where screenshots are kept, to be looked at."""
    folder = root / "var" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def visit(browser: Browser, shots: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a page and wait until it is complete; a screenshot of its end is kept in var/screenshots."""
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    pages: list[Page] = []
    outside: list[str] = []

    def go(where: App, path: str = "", *, width: int = 1280, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True  # type: ignore[arg-type]
        )
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        page = context.new_page()
        page.on("request", lambda asked: outside.append(asked.url) if not _inside(asked.url, where) else None)
        page.goto(f"{where.url}/{path}")
        settled(page)
        pages.append(page)
        return page

    yield go
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    for number, page in enumerate(pages):
        shoot(page, shots / f"{name}{f'-{number}' if number else ''}.png")
        page.context.close()
    assert outside == [], "a page asked somebody else"


def _inside(url: str, where: App) -> bool:
    known = [where.url, where.url.replace("http", "ws", 1), *([where.api] if where.api else [])]
    return url.startswith((*known, "data:", "blob:", "about:"))


def trouble(page: Page) -> list[str]:
    """What a page says that it cannot show."""
    return page.locator(".trouble, [data-testid=stException]").all_inner_texts()


def settled(page: Page) -> None:
    """Wait until the script has run and its widgets are drawn."""
    expect(page.locator(".page-title h1")).to_be_visible()
    page.wait_for_function(
        "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
        " && !document.querySelector('[data-testid=stSkeleton]')"
    )


def shoot(page: Page, path: Path) -> None:
    """The whole page as a picture: Streamlit scrolls inside, so the window grows."""
    width = (page.viewport_size or {"width": 1280})["width"]
    height = page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 900")
    page.set_viewport_size({"width": width, "height": min(int(height) + 10, 4000)})
    page.wait_for_timeout(300)
    page.screenshot(path=path)
