"""The timeline page is self-contained, escapes what it shows, and draws gaps as gaps."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta

from bikeshare.core.timeline import Card, Day, Evidence, Timeline, card_html, condense, render, when


def page(days: list[Day], cards: list[Card]) -> str:
    return render(Timeline("loop", "a play", days, cards, (("served WAPE", "12 %"),), ("a note",)))


def wide(html: str) -> str:
    """The drawing for wide screens."""
    return html.split('class="plot wide"')[1].split('class="plot narrow"')[0]


def day(offset: int, wape: float | None, chapter: str = "one") -> Day:
    return Day(date(2012, 1, 1) + timedelta(days=offset), chapter, wape, wape_naive=0.3)


def look(offset: int, kind: str = "none", state: str = "healthy", reason: str = "r") -> Card:
    return Card(datetime(2012, 1, 1, 6) + timedelta(days=offset), kind, "Quiet", reason, state)


def test_nothing_is_fetched_from_anywhere() -> None:
    html = page([day(0, 0.1)], [Card(datetime(2012, 1, 1, 6), "retrain", "t", "r")])

    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)
    assert "@import" not in html
    assert "url(" not in html


def test_a_day_without_traffic_splits_the_line() -> None:
    whole = wide(page([day(0, 0.1), day(1, 0.2), day(2, 0.1)], []))
    split = wide(page([day(0, 0.1), day(1, 0.2), day(2, None), day(3, 0.1), day(4, 0.1)], []))

    assert whole.count('class="line ours"') == 1
    assert split.count('class="line ours"') == 2


def test_a_worse_day_is_drawn_higher() -> None:
    points = re.search(r'class="line ours" points="([^"]+)"', wide(page([day(0, 0.1), day(1, 0.4)], [])))
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
    html = page([day(0, 0.1), day(1, 0.1)], cards)

    assert "quiet <i>2</i>" in html
    assert "retrain <i>1</i>" in html
    assert len(re.findall(r'class="mark \w+"', wide(html))) == 1


def test_a_mark_leads_to_its_card() -> None:
    card = look(0, "retrain")
    html = page([day(0, 0.1), day(1, 0.1)], [card])
    (target,) = set(re.findall(r'<a href="#([^"]+)"', html))

    assert f'id="{target}"' in html


def test_a_card_without_limits_has_no_column_for_them() -> None:
    def table(*evidence: Evidence) -> str:
        return card_html(Card(datetime(2012, 1, 1), "rollout", "t", "r", evidence=evidence))

    without, some = table(Evidence("run", "r1")), table(Evidence("run", "r1"), Evidence("WAPE", "31%", "25%", True))

    assert (without.count("<th"), some.count("<th")) == (2, 3)
    assert (without.count("<td"), some.count("<td")) == (2, 6)


def test_neighbouring_days_of_one_chapter_share_a_band() -> None:
    html = wide(page([day(0, 0.1, "calm"), day(1, 0.1, "calm"), day(2, 0.1, "storm")], []))

    assert html.count('<rect class="band') == 2
    assert html.count('class="chapter"') == 2


def test_a_line_that_nobody_measured_is_not_in_the_legend() -> None:
    html = page([day(0, 0.1), day(1, 0.1)], [])

    assert "naive rule</span>" in html
    assert "frozen</span>" not in html


def test_an_empty_play_says_so() -> None:
    assert "No day was played yet" in page([], [])


def test_quiet_looks_in_a_row_become_one_card_with_the_newest_reason() -> None:
    newest_first = [look(offset, reason=f"reason {offset}") for offset in (5, 4, 3)]

    (card,) = condense(newest_first)

    assert (card.at.day, card.until.day if card.until else None) == (4, 6)
    assert card.reason == "reason 5"
    assert card.title == "Quiet, 3 looks in a row"
    assert when(card) == "4 Jan to 6 Jan 2012"


def test_the_order_of_the_cards_does_not_matter_for_a_stretch() -> None:
    cards = [look(offset, reason=f"reason {offset}") for offset in (3, 4, 5)]

    assert condense(cards) == condense(list(reversed(cards)))


def test_a_decision_or_another_state_ends_a_stretch() -> None:
    cards = [look(0), look(1), look(2, "retrain"), look(3), look(4, state="cooldown")]

    assert [card.kind for card in condense(cards)] == ["none", "retrain", "none", "none"]
    assert [card.until is not None for card in condense(cards)] == [True, False, False, False]


def test_decisions_that_did_something_are_joined_within_a_day_only() -> None:
    hours = [replace(look(0, "hold"), at=datetime(2012, 1, 1, hour), reason=f"at {hour}") for hour in (6, 7, 8)]
    assert len(condense([look(0, "hold"), look(1, "hold")])) == 2
    assert len(condense([look(0, "retrain"), look(0, "retrain")])) == 2
    (card,) = condense(hours)
    assert (card.title, card.reason) == ("Quiet, 3 looks in a row", "at 8")
    assert when(card) == "Sun 01 Jan 2012, 06:00 to 08:00"


def test_a_monitor_that_looks_every_hour_leaves_one_mark_a_day() -> None:
    held = [replace(look(0, "hold"), at=datetime(2012, 1, 1, hour)) for hour in (8, 6, 7)]
    html = page([day(0, 0.1), day(1, 0.1)], [*held, look(0, "retrain"), look(1, "hold")])

    titles = re.findall(r'class="mark \w+"[^>]*><title>([^<]*)', wide(html))
    assert titles == ["Quiet, 3 times", "Quiet", "Quiet"]
    for target in re.findall(r'<a href="#([^"]+)"', html):
        assert f'id="{target}"' in html


def test_a_card_shows_what_fired() -> None:
    fired = card_html(Card(datetime(2012, 1, 1), "hold", "t", "r", evidence=(Evidence("a", "1", "2", True),)))
    calm = card_html(Card(datetime(2012, 1, 1), "hold", "t", "r", evidence=(Evidence("a", "1", "2", False),)))

    assert 'class="fired"' in fired
    assert 'class="fired"' not in calm
