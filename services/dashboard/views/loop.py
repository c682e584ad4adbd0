"""Loop: days across, decisions as cards, and what a person should do now."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from html import escape
from urllib.parse import quote

import streamlit as st

from bikeshare.core.advice import advise
from bikeshare.core.diary import Diary
from bikeshare.core.drift_view import report_key
from bikeshare.core.timeline import Card, card_html, condense, facts_html, kind_label, loop_chart
from bikeshare.errors import BikeshareError
from bikeshare.ports import DecisionRecord
from bikeshare.steps.look_back import chapters, days_until, without_silence
from bikeshare.steps.loop_cards import decision_cards, merge_cards, run_cards, version_cards
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

SPANS = {"2 weeks": 14, "6 weeks": 42, "12 weeks": 84}
CARDS_AT_ONCE = 12


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Loop", "What the loop saw, decided and did, and why.")
    with frame.guard("The loop", "Check that the records are up: `bikeshare doctor` names what is missing."):
        newest = data.newest_decision(world)
        _hero(world, newest)
        if newest is None:
            return
        span = SPANS[st.segmented_control("Span", list(SPANS), default="6 weeks", required=True,
                                          label_visibility="collapsed")]
        since = world.clock.now() - timedelta(days=span)
        found = data.decisions(world, since)
        intents = data.intents(world, since)
        runs = run_cards(world.store, intents, _model_link)
        told = {intent.run_key for intent in intents}
        cards = merge_cards(decision_cards(found, _links), runs, _version_cards(world, since, told))
        chart = st.container()
        _cards(cards)
        # Last, because the frozen model takes seconds the first time; what is known is on the screen meanwhile.
        with chart:
            # Until today, not until the newest truth: the newest decisions belong into the picture.
            _chart(world, tuple(days_until(world.clock.now().date(), span)), found, cards)


def _hero(world: World, newest: DecisionRecord | None) -> None:
    advice = advise(newest.state if newest else None, frame.silence(world, newest))
    why = f"<p>{newest.decided_at:%a %d %b, %H:%M}: {escape(newest.reason)}</p>" if newest else ""
    st.html(
        f'<div class="panel hero {advice.kind}"><h2>{escape(advice.headline)}</h2>{why}'
        f"<p><b>What to do.</b> {frame.prose(advice.action)}</p></div>"
    )


def _links(record: DecisionRecord) -> list[tuple[str, str]]:
    links = []
    if record.report_url:
        links.append(("report", f"drift?report={quote(report_key(record.report_url))}"))
    if record.model_version:
        links.append((f"model v{record.model_version}", _model_link(record.model_version)))
    return links


def _version_cards(world: World, since: datetime, told: set[str]) -> list[Card]:
    try:
        return version_cards(data.versions(world), since, told, _model_link)
    except BikeshareError:
        st.caption("The registry does not answer: runs of the schedule and roll-backs are left out.")
        return []


def _model_link(version: str) -> str:
    return f"models?version={quote(version)}"


def _chart(
    world: World, days: tuple[date, ...], found: Sequence[DecisionRecord], cards: Sequence[Card]
) -> None:
    facts, drawing = st.empty(), st.empty()

    def draw(diary: Diary) -> None:
        shown = without_silence(diary.days(chapters(days, found)))
        facts.html(facts_html(_facts(diary, found)))
        frame.drawing("Error and decisions by day", loop_chart(shown, cards), drawing)

    draw(data.compared(world, days, None))
    with frame.guard("The frozen model", "The registry holds it: `bikeshare registry list` must answer."):
        frozen = data.frozen_version(world)
        if frozen is not None:
            draw(data.compared(world, days, frozen))


def _facts(diary: Diary, found: Sequence[DecisionRecord]) -> list[tuple[str, str]]:
    quiet = sum(record.action == "none" for record in found)
    retrains = sum(record.action == "retrain" for record in found)
    errors = [
        ("WAPE served", "served"), ("WAPE first model, frozen", "frozen"), ("WAPE naive rule", "naive"),
    ]
    values = [(name, diary.wape(column)) for name, column in errors]
    return [
        *((name, f"{value:.1%}") for name, value in values if value == value),
        ("looks that were quiet", f"{quiet} of {len(found)}"),
        ("retrains", str(retrains)),
    ]


def _cards(cards: Sequence[Card]) -> None:
    counts = Counter(card.kind for card in cards)
    kinds = list(counts)
    chosen = st.pills(
        "Show", kinds, selection_mode="multi", default=kinds, key="kinds",
        format_func=lambda kind: f"{kind_label(kind)} {counts[kind]}", label_visibility="collapsed",
    )
    listed = condense([card for card in reversed(cards) if card.kind in chosen])
    if not listed:
        frame.nothing("No card of this kind", "Choose more kinds, or a longer span.")
        return
    many = st.session_state.setdefault("cards", CARDS_AT_ONCE)
    st.html(f'<section class="cards">{"".join(card_html(card) for card in listed[:many])}</section>')
    if len(listed) > many and st.button(f"Show {min(CARDS_AT_ONCE, len(listed) - many)} more"):
        st.session_state["cards"] = many + CARDS_AT_ONCE
        st.rerun()
