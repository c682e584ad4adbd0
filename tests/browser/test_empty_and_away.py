"""The first day, and days on which something is away: every page says what is missing and what to do."""

import shutil
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import KEY, App, Open, dashboard, free_port
from tests.browser.play import clock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FIRST_DAY = {
    "": ("The loop has not looked yet", "bikeshare monitor run"),
    "forecast": ("The forecast cannot be shown", "type the weather"),
    "models": ("No version yet", "bikeshare pipeline run"),
    "drift": ("The monitor has not looked", "bikeshare monitor run"),
    "quality": ("No answer has met its truth yet", "bikeshare data import"),
    "health": ("Something is broken", "bikeshare serve"),
}


@pytest.mark.parametrize("path", list(FIRST_DAY))
def test_first_day(empty_app: App, visit: Open, path: str) -> None:
    page = visit(empty_app, path)
    missing, advice = FIRST_DAY[path]

    main = page.locator("[data-testid=stMain]")
    expect(main).to_contain_text(missing)
    expect(main).to_contain_text(advice)


def test_without_a_live_api_the_forecast_says_how_to_start_it(empty_app: App, visit: Open) -> None:
    page = visit(empty_app, "forecast")

    page.get_by_text("Type it", exact=True).click()

    expect(page.locator(".trouble")).to_contain_text("did not answer")
    expect(page.locator(".trouble")).to_contain_text("bikeshare serve")


@pytest.fixture(scope="module")
def damaged(play: Path, root: Path, tmp_path_factory: pytest.TempPathFactory):
    """The play's home with broken records, and without a key."""
    home = tmp_path_factory.mktemp("damaged") / "home"
    shutil.copytree(play, home)
    for rest in home.glob("records.db-*"):
        rest.unlink()
    (home / "records.db").write_bytes(b"this is not a database" * 100)
    with dashboard(root, home, clock=clock(home), predictor_url=f"http://127.0.0.1:{free_port()}") as started:
        yield started


@pytest.mark.parametrize("path", ["", "drift", "quality"])
def test_broken_records(damaged: App, visit: Open, path: str) -> None:
    page = visit(damaged, path)

    expect(page.locator(".strip")).to_contain_text("records away")
    expect(page.locator(".trouble").first).to_contain_text("records")
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_models_do_not_need_the_records(damaged: App, visit: Open) -> None:
    page = visit(damaged, "models")

    expect(page.locator("article.card", has_text="Version 2")).to_be_visible()


def test_without_a_key_nobody_rolls_back_from_here(damaged: App, visit: Open) -> None:
    page = visit(damaged, "models")

    expect(page.locator("[data-testid=stMain]")).to_contain_text("BIKESHARE_API_KEY")
    expect(page.get_by_role("button", name="Roll back to version")).to_have_count(0)


def test_live_quality_of_a_span_in_which_nothing_was_served(
    play: Path, root: Path, visit: Open, tmp_path: Path
) -> None:
    """Only the days before it, which its first averages read, hold answers."""
    home = tmp_path / "home"
    shutil.copytree(play, home)
    with sqlite3.connect(home / "records.db") as records:
        (last,) = records.execute("select max(timestamp) from observations").fetchone()
        later = datetime.fromisoformat(last).replace(hour=12) + timedelta(days=17)
        records.execute(
            "update observations set timestamp = ? where timestamp = (select min(timestamp) from observations)",
            (later.isoformat(" ", "microseconds"),),
        )
    (home / "clock.txt").write_text((later + timedelta(days=1)).isoformat(), encoding="utf-8")
    with dashboard(root, home, clock=clock(home), predictor_url=f"http://127.0.0.1:{free_port()}") as app:
        page = visit(app, "quality")
        expect(page.locator(".panel", has_text="On the same hours")).to_be_visible()
        page.get_by_text("2 weeks", exact=True).click()

        expect(page.locator("[data-testid=stMain]")).to_contain_text("No answer has met its truth yet")
        expect(page.locator("[data-testid=stMain]")).not_to_contain_text("Live quality cannot be shown")


def test_live_quality_does_without_the_first_model(
    play: Path, root: Path, visit: Open, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(play, home)
    kept = home / "dashboard" / "models" / "1"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    (kept / "contract.json").write_text("{}", encoding="utf-8")
    with dashboard(root, home, clock=clock(home), predictor_url=f"http://127.0.0.1:{free_port()}") as app:
        page = visit(app, "quality")

        expect(page.locator("[data-testid=stMain]")).to_contain_text("The first model cannot be fetched")
        table = page.locator(".panel", has_text="On the same hours")
        expect(table).to_contain_text("served (champion)")
        expect(table).not_to_contain_text("frozen")


def test_on_a_cluster_the_page_names_the_command_that_rolls_back(play: Path, root: Path, visit: Open) -> None:
    """There the dashboard has no right to change anything, key or not."""
    with dashboard(root, play, clock=clock(play), rollout="kubernetes", api_key=KEY,
                   predictor_url=f"http://127.0.0.1:{free_port()}") as app:
        page = visit(app, "models")

        expect(page.locator(".panel", has_text="Roll back")).to_contain_text("hack/cluster_run.py registry rollback")
        expect(page.get_by_role("button", name="Roll back to version")).to_have_count(0)
