"""The page that the live API itself serves: a forecast for one weather, or what is wrong with it."""

import re
import urllib.request

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import App, Open

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def open_page(app: App, visit: Open, width: int = 1280, scheme: str = "light") -> Page:
    page = visit(app, "health", width=width, scheme=scheme)
    page.goto(app.api)
    return page


def what_ifs(app: App) -> int:
    with urllib.request.urlopen(f"{app.api}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return sum(int(float(value)) for value in re.findall(r"^bikeshare_what_if\w* ([\d.]+)$", text, flags=re.MULTILINE))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_draws_a_forecast_that_is_not_logged_as_served(app: App, visit: Open, width: int, scheme: str) -> None:
    page = open_page(app, visit, width, scheme)
    before = what_ifs(app)

    page.get_by_role("button", name="Forecast").click()

    expect(page.locator("#say")).to_contain_text(re.compile(r"[\d,]+ bikes, busiest at \d\d:00; model v2"))
    expect(page.locator("svg polyline.line")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert what_ifs(app) == before + 24


def test_colder_weather_promises_fewer_bikes(app: App, visit: Open) -> None:
    page = open_page(app, visit)

    def bikes(celsius: str) -> int:
        page.get_by_label("Temperature, °C").fill(celsius)
        page.get_by_role("button", name="Forecast").click()
        expect(page.locator("#say[aria-busy=false] b")).to_be_visible()
        return int(page.locator("#say b").inner_text().split()[0].replace(",", ""))

    assert bikes("20") > bikes("-5")


def test_what_is_wrong_is_said_and_no_curve_is_shown(app: App, visit: Open) -> None:
    page = open_page(app, visit)
    page.get_by_label("Humidity, %").fill("400")

    page.get_by_role("button", name="Forecast").click()

    expect(page.locator("#say.bad")).to_contain_text("humidity_pct")
    expect(page.locator("svg")).to_be_hidden()
