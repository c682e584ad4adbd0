"""The documentation's pictures can be made again from a real play, and show what their captions say."""

import struct
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from bikeshare.core.advice import ADVICE
from bikeshare.core.monitor_memory import State
from tests.browser.conftest import Open, dashboard
from tests.browser.pictures import (
    IMAGES,
    at_the_moment_of_drift,
    picture_of_the_loop,
    picture_of_the_messages,
)
from tests.browser.play import clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def size(picture: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height


def test_the_loop_at_the_moment_of_drift(play: Path, root: Path, tmp_path: Path, visit: Open, browser: Browser) -> None:
    home = tmp_path / "home"
    at_the_moment_of_drift(play, home)
    with dashboard(root, home, clock=clock(home)) as app:
        page = visit(app)
        picture_of_the_loop(browser, app, tmp_path / "loop.png")

        expect(page.locator(".hero h2")).to_have_text(ADVICE[State.RETRAINING].headline)
        expect(page.locator("article.card").first).to_contain_text("is training")
        # The roll-out of the first version is history by then, that of the retrain is not known yet.
        expect(page.locator("article.card.rollout")).to_have_count(1)

    assert size(tmp_path / "loop.png")[0] == size(IMAGES / "loop.png")[0]


def test_the_messages(browser: Browser, tmp_path: Path) -> None:
    picture_of_the_messages(browser, tmp_path / "slack.png")

    assert size(tmp_path / "slack.png")[0] == size(IMAGES / "slack.png")[0]
