"""The weekly summary: when it is due, what it says, and that it is written once."""

from datetime import date, datetime, timedelta

import pandas as pd
import pytest

from bikeshare.core.diary import Diary
from bikeshare.core.timeline import Card
from bikeshare.core.weekly import Week, due_week, headline, week_name, weekly_page
from tests.integration.monitor_world import MonitorWorld

MONDAY = date(2012, 1, 30)


def hours(this_week: float, last_week: float) -> pd.DataFrame:
    stamps = pd.date_range(MONDAY - timedelta(days=7), periods=24 * 14, freq="h")
    frame = pd.DataFrame({"timestamp": stamps, "demand": 100.0, "naive": 150.0, "frozen": float("nan")})
    frame["served"] = [100.0 * (1 + last_week)] * 168 + [100.0 * (1 + this_week)] * 168
    return frame.assign(lower_80=0.0, upper_80=500.0, model_version="1")


def week(this_week: float = 0.2, last_week: float = 0.2, kinds: tuple[str, ...] = ("none",)) -> Week:
    cards = [Card(datetime(2012, 1, 31, hour), kind, "t", "<r>") for hour, kind in enumerate(kinds)]
    chapters = {MONDAY + timedelta(days=offset): "healthy" for offset in range(-7, 7)}
    return Week(MONDAY, Diary(hours(this_week, last_week)), chapters, cards, "1")


@pytest.mark.parametrize(
    ("judged", "now", "expected"),
    [
        (date(2012, 2, 5), datetime(2012, 2, 7, 6), MONDAY),
        (date(2012, 2, 4), datetime(2012, 2, 7, 6), MONDAY - timedelta(days=7)),
        (date(2012, 2, 4), datetime(2012, 2, 10, 0), MONDAY),
        (None, datetime(2012, 2, 9, 23), MONDAY - timedelta(days=7)),
        (date(2012, 2, 11), datetime(2012, 2, 12, 23), MONDAY),
    ],
)
def test_a_week_is_due_when_its_sunday_is_judged_or_nobody_waits_any_longer(judged, now, expected) -> None:
    assert due_week(judged, now) == expected


def test_weeks_have_iso_names() -> None:
    assert week_name(MONDAY) == "2012-W05"
    assert week_name(date(2011, 12, 26)) == "2011-W52"


@pytest.mark.parametrize(
    ("this", "last", "word"), [(0.1, 0.2, "better than"), (0.3, 0.2, "worse than"), (0.2, 0.2, "like")]
)
def test_the_headline_compares_with_the_week_before(this, last, word) -> None:
    assert f", {word} the week before (20.0%)" in headline(week(this, last))


def test_the_headline_counts_what_happened() -> None:
    assert headline(week()).startswith("A quiet week.")
    assert headline(week(kinds=("none", "hold", "hold", "rollout"))).startswith("What happened: 2 hold, 1 roll-out.")


def test_a_week_without_truth_says_so() -> None:
    silent = Week(MONDAY, Diary(hours(0, 0).iloc[:0]), {}, [], None)

    assert "No answer has met its truth." in headline(silent)
    assert "The monitor did not look." in weekly_page(silent)


def test_the_page_is_self_contained_and_escaped() -> None:
    page = weekly_page(week(kinds=("none", "retrain")))

    assert "http" not in page
    assert "&lt;r&gt;" in page
    assert "week 2012-W05" in page
    assert "168 of 168" in page


def test_the_monitor_writes_each_week_once(tmp_path, history: pd.DataFrame) -> None:
    world = MonitorWorld(tmp_path, history)
    world.days(6)
    assert list(world.store.list("reports/weekly/")) == []

    world.days(3)
    (first,) = world.store.list("reports/weekly/")
    assert first.key == "reports/weekly/2012-W18.html"
    assert b"7 looks" not in world.store.get(first.key)
    world.days(1)

    assert [(item.key, item.etag) for item in world.store.list("reports/weekly/")] == [(first.key, first.etag)]
    world.days(7)
    assert len(world.store.list("reports/weekly/")) == 2
