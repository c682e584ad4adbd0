"""The timeline page is self-contained, escapes what it shows, and draws gaps as gaps."""

import re
from datetime import date, datetime, timedelta

from bikeshare.core.timeline import Card, Day, Evidence, Timeline, render


def page(days: list[Day], cards: list[Card]) -> str:
    return render(Timeline("loop", "a play", days, cards, (("served WAPE", "12 %"),), ("a note",)))


def day(offset: int, wape: float | None, chapter: str = "one") -> Day:
    return Day(date(2012, 1, 1) + timedelta(days=offset), chapter, wape, wape_naive=0.3)


def test_nothing_is_fetched_from_anywhere() -> None:
    html = page([day(0, 0.1)], [Card(datetime(2012, 1, 1, 6), "retrain", "t", "r")])

    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)
    assert "@import" not in html


def test_a_day_without_traffic_splits_the_line() -> None:
    whole = page([day(0, 0.1), day(1, 0.2), day(2, 0.1)], [])
    split = page([day(0, 0.1), day(1, None), day(2, 0.1)], [])

    assert whole.count('class="line ours"') == 1
    assert split.count('class="line ours"') == 2


def test_a_worse_day_is_drawn_higher() -> None:
    html = page([day(0, 0.1), day(1, 0.4)], [])
    points = re.search(r'class="line ours" points="([^"]+)"', html)
    assert points is not None
    first, second = (float(point.split(",")[1]) for point in points[1].split())

    assert second < first


def test_text_from_the_world_is_escaped() -> None:
    card = Card(
        datetime(2012, 1, 1), "alert", "<script>x</script>", "a & b", evidence=(Evidence("<n>", "1", "2", True),)
    )

    html = page([day(0, 0.1)], [card])

    assert "<script>x" not in html
    assert "&lt;n&gt;" in html


def test_filters_count_cards_by_kind_and_quiet_days_leave_no_mark() -> None:
    cards = [Card(datetime(2012, 1, 1), kind, "t", "r") for kind in ("none", "none", "retrain")]
    html = page([day(0, 0.1)], cards)

    assert "quiet <i>2</i>" in html
    assert "retrain <i>1</i>" in html
    assert html.count("<circle") == 1


def test_an_empty_play_says_so() -> None:
    assert "No day was played yet" in page([], [])
