"""Every page and every control of the dashboard, in a browser, over a real play."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bikeshare.core.advice import ADVICE
from bikeshare.core.monitor_memory import State
from bikeshare.core.weather_plan import to_csv, typed
from tests.browser.conftest import KEY, PAGES, App, Open, settled, shoot, trouble
from tests.browser.play import NOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def fact(page: Page, name: str) -> str:
    """The number in the tile with this name."""
    tile = page.locator(".fact", has=page.get_by_text(name, exact=True)).first
    return tile.locator("b").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", list(PAGES))
def test_page(app: App, visit: Open, shots: Path, path: str, scheme: str) -> None:
    page = visit(app, path, scheme=scheme)

    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        settled(page)
        expect(page.locator(".page-title h1")).to_have_text(PAGES[path])
        assert trouble(page) == []
        expect(page.locator(".strip")).to_contain_text("watching v2")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing hangs over the edge"
        background = page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
        assert background == ("rgb(251, 251, 249)" if scheme == "light" else "rgb(18, 22, 28)")
        shoot(page, shots / f"page-{path or 'loop'}-{width}-{scheme}.png")


def test_streamlits_own_chrome_is_hidden(app: App, visit: Open) -> None:
    page = visit(app)

    for part in ("stAppDeployButton", "stMainMenu", "stDecoration"):
        assert not page.locator(f"[data-testid={part}]").first.is_visible(), part


def test_navigation_leads_to_every_page(app: App, visit: Open) -> None:
    page = visit(app)

    for title in list(PAGES.values())[1:]:
        page.get_by_role("link", name=title, exact=True).click()
        expect(page.locator(".page-title h1")).to_have_text(title)


def test_loop_tells_the_story(app: App, visit: Open) -> None:
    page = visit(app)

    expect(page.locator(".hero h2")).to_have_text(ADVICE[State.COOLDOWN].headline)
    kinds = {card.get_attribute("data-kind") for card in page.locator("article.card").all()}
    assert {"none", "hold", "retrain", "rollout"} <= kinds
    assert page.locator(".plot.wide polyline.line.ours").count() >= 1
    assert page.locator(".plot.wide polyline.line.frozen").count() >= 1
    assert page.locator(".plot.wide .mark.retrain").count() == 1
    served, frozen = (float(fact(page, name).rstrip("%")) for name in ("WAPE served", "WAPE first model, frozen"))
    assert 0 < served < frozen


def test_loop_filters_cards_by_kind(app: App, visit: Open) -> None:
    page = visit(app)
    before = page.locator("article.card").count()
    quiet = page.locator("article.card.none").count()
    assert 0 < quiet < before

    page.get_by_role("button", name=re.compile(r"^quiet \d")).click()

    expect(page.locator("article.card.none")).to_have_count(0)
    expect(page.locator("article.card")).to_have_count(before - quiet)


def test_loop_without_any_kind_says_what_to_do(app: App, visit: Open) -> None:
    page = visit(app)

    for kind in page.locator("[data-testid=stButtonGroup] button", has_text=re.compile(r" \d+$")).all_inner_texts():
        page.get_by_role("button", name=kind, exact=True).click()
        settled(page)

    expect(page.locator(".blank")).to_contain_text("Choose more kinds")


def test_loop_span_changes_the_axis(app: App, visit: Open) -> None:
    page = visit(app)
    six = page.locator(".plot.wide rect.sense").count()

    page.get_by_role("radio", name="2 weeks").or_(page.get_by_role("button", name="2 weeks")).first.click()
    page.wait_for_timeout(500)
    settled(page)

    assert 0 < page.locator(".plot.wide rect.sense").count() <= six


def test_hovering_a_day_shows_its_numbers(app: App, visit: Open) -> None:
    page = visit(app)
    day = page.locator(".plot.wide g.hit").nth(5)
    assert day.locator(".tip").evaluate("e => getComputedStyle(e).opacity") == "0"

    # The box of the group spans its hidden tip, whose middle may lie over another day.
    day.locator(".sense").hover(force=True)

    expect(day.locator(".tip")).to_have_css("opacity", "1")
    assert "served" in day.locator(".tip").text_content()


def test_a_card_leads_to_its_report(app: App, visit: Open) -> None:
    page = visit(app)
    link = page.locator("article.card.retrain .links a", has_text="report").first.get_attribute("href")
    assert link is not None

    page.goto(f"{app.url}/{link}")
    settled(page)

    frame = page.frame_locator("iframe").first
    expect(frame.locator("#bikeshare-verdict")).to_contain_text("Decay confirmed")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()
    assert b"bikeshare-verdict" in Path(saved.value.path()).read_bytes()


def test_a_card_leads_to_its_model_card(app: App, visit: Open) -> None:
    page = visit(app)
    link = page.locator("article.card.rollout .links a", has_text="model card").first.get_attribute("href")
    assert link is not None

    page.goto(f"{app.url}/{link}")
    settled(page)

    page.get_by_text("Model card of version 2").click()
    expect(page.get_by_role("heading", name="How good")).to_be_visible()


def test_forecast_comes_from_the_live_model(app: App, visit: Open) -> None:
    page = visit(app, "forecast")

    assert fact(page, "model") == "v2"
    assert int(fact(page, "bikes in 24 h").replace(",", "")) > 500
    assert page.locator(".plot.wide polygon.area").count() == 2

    page.get_by_role("radio", name="48 h").or_(page.get_by_role("button", name="48 h")).first.click()
    expect(page.locator(".fact", has_text="bikes in 48 h")).to_be_visible()


def test_forecast_can_be_downloaded(app: App, visit: Open) -> None:
    page = visit(app, "forecast")

    with page.expect_download() as saved:
        page.get_by_role("button", name="Download").click()

    lines = Path(saved.value.path()).read_text().splitlines()
    assert lines[0].startswith("timestamp,demand,lower_80")
    assert len(lines) == 25


def test_typed_weather_changes_the_forecast(app: App, visit: Open) -> None:
    page = visit(app, "forecast")
    page.get_by_text("Type it", exact=True).click()
    warm = page.get_by_label("Temperature, °C")
    expect(warm).to_be_visible()
    settled(page)
    mild = fact(page, "bikes in 24 h")

    warm.fill("-5")
    warm.press("Enter")

    expect(page.locator(".fact", has_text="bikes in 24 h").locator("b")).not_to_have_text(mild)
    settled(page)
    assert int(fact(page, "bikes in 24 h").replace(",", "")) < int(mild.replace(",", ""))


def test_uploaded_weather_is_used_or_refused_by_row(app: App, visit: Open) -> None:
    page = visit(app, "forecast")
    page.get_by_text("Upload CSV", exact=True).click()
    expect(page.locator(".blank")).to_contain_text("No file yet")
    good = to_csv(typed(24, NOW, mean_c=20, swing_c=5, humidity_pct=40, windspeed_kmh=5, weather="clear"))

    chooser = page.locator("input[type=file]")
    chooser.set_input_files({"name": "w.csv", "mimeType": "text/csv", "buffer": good})
    expect(page.locator(".fact", has_text="bikes in 24 h")).to_be_visible()

    chooser.set_input_files({"name": "bad.csv", "mimeType": "text/csv", "buffer": good.replace(b"40.0", b"400", 1)})
    expect(page.locator(".trouble")).to_contain_text("row 1: humidity_pct is 400")


def test_what_if_shows_the_difference(app: App, visit: Open) -> None:
    page = visit(app, "forecast")
    page.get_by_text("What if …").click()
    slider = page.get_by_role("slider", name=re.compile("Warmer"))
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")

    expect(page.locator(".plot.wide polyline.line.whatif")).to_have_count(1)
    assert re.fullmatch(r"[+-]\d+\.\d%", fact(page, "what if"))


def test_what_people_try_is_not_logged_as_served(app: App, visit: Open) -> None:
    import sqlite3

    def rows() -> int:
        with sqlite3.connect(app.home / "records.db") as database:
            return int(database.execute("select count(*) from predictions").fetchone()[0])

    before = rows()
    visit(app, "forecast").wait_for_timeout(1500)

    assert rows() == before


def test_models_show_the_gate_and_the_slices(app: App, visit: Open) -> None:
    page = visit(app, "models")

    expect(page.locator("article.card", has_text="Version 2")).to_contain_text("champion")
    expect(page.locator("article.card", has_text="Version 1")).to_contain_text("previous")
    expect(page.get_by_text("Gate: version 2 was accepted")).to_be_visible()
    expect(page.locator(".panel", has_text="Error by slice").last).to_contain_text("weekend")


def test_drift_shows_limits_and_plain_evidently_beside_each_other(app: App, visit: Open) -> None:
    page = visit(app, "drift")

    assert page.locator(".plot.wide polyline.line.limit").count() >= 2
    table = page.locator(".panel", has_text="Columns, newest look")
    expect(table).to_contain_text("temp_c")
    assert re.search("over|within", table.inner_text())


def test_quality_compares_with_naive_and_frozen(app: App, visit: Open) -> None:
    page = visit(app, "quality")

    table = page.locator(".panel", has_text="On the same hours")
    for name in ("served (champion)", "first model, frozen", "naive rule"):
        expect(table).to_contain_text(name)
    assert page.locator(".plot.wide polyline.line.truth").count() >= 1
    assert page.locator(".plot.wide polygon.area").count() >= 2


def test_health_looks_again_on_request(app: App, visit: Open) -> None:
    page = visit(app, "health")
    assert fact(page, "live API") == "ready"
    before = int(fact(page, "answers").replace(",", ""))

    visit(app, "forecast")
    page.get_by_role("button", name="Look again").click()

    answers = page.locator(".fact", has=page.get_by_text("answers", exact=True))
    expect(answers.locator("b")).not_to_have_text(str(before))


def dialog(page: Page, key: str) -> None:
    page.get_by_role("button", name=re.compile("Roll back to version")).click()
    page.get_by_label("Why").fill("tried in a test")
    page.get_by_label("API key").fill(key)
    page.get_by_text("Yes, serve version").click()
    settled(page)
    page.get_by_role("button", name="Roll back now").click()


def test_rollback_needs_reason_key_and_confirmation(app: App, visit: Open) -> None:
    page = visit(app, "models")
    page.get_by_role("button", name=re.compile("Roll back to version 1")).click()
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_text("A reason, the API key and the tick are needed; nothing was changed.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)  # else the next words go into the one that closes

    # From here on the keyboard alone.
    page.get_by_role("button", name=re.compile("Roll back to version")).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Why").wait_for()
    page.get_by_label("Why").focus()
    page.keyboard.type("tried in a test")
    page.keyboard.press("Tab")
    page.keyboard.type("wrong")
    page.get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Roll back now").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_text("The API key is wrong; nothing was changed.")).to_be_visible()


def test_rollback_serves_the_previous_version_and_back_again(app: App, visit: Open) -> None:
    page = visit(app, "models")

    dialog(page, KEY)

    expect(page.get_by_text("Version 1 serves and is champion.")).to_be_visible()
    expect(page.locator("article.card", has_text="Version 1")).to_contain_text("champion")
    assert fact(visit(app, "forecast"), "model") == "v1"
    expect(visit(app, "").locator("[data-testid=stMain]")).to_contain_text("Version 2 was rolled back")

    again = visit(app, "models")
    dialog(again, KEY)
    expect(again.get_by_text("Version 2 serves and is champion.")).to_be_visible()
