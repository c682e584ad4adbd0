"""The pictures of the documentation, from real pages: `python -m tests.browser.pictures var/demo` after `make demo`.

The home of a play is copied and taken back to the moment of its retrain: later decisions and labels are gone, the run
has not ended. The messages are the golden ones of the tests, drawn as the demo draws its inbox.
"""

import argparse
import json
import shutil
import sqlite3
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from bikeshare.simulation.inbox_page import Message, inbox_page
from bikeshare.steps.outcome import outcome_key
from tests.browser.conftest import App, dashboard, settled, started_browser
from tests.browser.play import clock

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
GOLDEN = ROOT / "tests" / "golden" / "slack"
WIDTH, SHARPNESS = 1280, 1.25


def at_the_moment_of_drift(play: Path, home: Path) -> datetime:
    """Copy the home of a play to where its newest retrain has just been requested; the moment.

    Raises:
        ValueError: the play has no retrain.
    """
    shutil.copytree(play, home, dirs_exist_ok=True)
    with sqlite3.connect(home / "records.db") as records:
        found = records.execute(
            "select decided_at, evidence from decisions where action = 'retrain' order by decided_at desc limit 1"
        ).fetchone()
        if found is None:
            raise ValueError(f"{play} has no retrain: play the demo first, `make demo`")
        moment = datetime.fromisoformat(found[0])
        labels_until = moment - timedelta(hours=json.loads(found[1])["labels_lag_hours"])
        records.execute("delete from decisions where decided_at > ?", (found[0],))
        records.execute("delete from observations where timestamp > ?", (labels_until.isoformat(" ", "microseconds"),))
        records.execute("delete from intents where created_at > ?", (found[0],))
        records.execute("update intents set outcome = null, finished_at = null where created_at = ?", (found[0],))
        open_runs = records.execute("select run_key from intents where created_at = ?", (found[0],)).fetchall()
    for (run_key,) in open_runs:
        (home / "store" / outcome_key(run_key)).unlink(missing_ok=True)
    with sqlite3.connect(home / "mlflow.db") as registry:
        registry.execute(
            "delete from model_version_tags where key = 'rolled_back_at' and value > ?", (moment.isoformat(),)
        )
    (home / "clock.txt").write_text(moment.isoformat(), encoding="utf-8")
    return moment


def picture_of_the_loop(browser: Browser, app: App, target: Path) -> None:
    """The Loop page down to its first row of cards."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 900}, color_scheme="light", device_scale_factor=SHARPNESS
    )
    page = context.new_page()
    page.goto(app.url)
    settled(page)
    expect(page.locator(".plot.wide polyline.line.frozen")).not_to_have_count(0)
    ends = page.locator("article.card").nth(1).evaluate("card => card.getBoundingClientRect().bottom")
    page.set_viewport_size({"width": WIDTH, "height": int(ends) + 6})
    page.wait_for_timeout(500)
    page.screenshot(path=target)
    context.close()
    _slim(target)


def picture_of_the_messages(browser: Browser, target: Path) -> None:
    """Every golden message as a reader sees it."""
    messages = []
    for number, path in enumerate(sorted(GOLDEN.glob("*.json"))):
        golden = json.loads(path.read_text(encoding="utf-8"))
        messages.append(Message(str(number), "alerts", "", golden["text"], golden["blocks"]))
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 900}, color_scheme="light", device_scale_factor=SHARPNESS
    )
    page = context.new_page()
    page.set_content(inbox_page(messages))
    page.add_style_tag(content="header{display:none}main{max-width:none!important;columns:2;column-gap:14px}"
                               ".thread{break-inside:avoid}")
    page.screenshot(path=target, full_page=True)
    context.close()
    _slim(target)


def _slim(picture: Path) -> None:
    """256 colours are plenty for a page, and a third of the bytes."""
    with Image.open(picture) as drawn:
        drawn.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, optimize=True)


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="home of the demo")
    play: Path = parser.parse_args().home
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as driver, started_browser(driver) as browser:
        home = Path(scratch) / "home"
        at_the_moment_of_drift(play, home)
        with dashboard(ROOT, home, clock=clock(home), environment_name="demo") as app:
            picture_of_the_loop(browser, app, IMAGES / "loop.png")
        picture_of_the_messages(browser, IMAGES / "slack.png")


if __name__ == "__main__":
    main()
