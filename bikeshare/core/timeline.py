"""The loop as one page: days across, error lines, decisions as cards. Self-contained HTML, no network.

The same figure and cards make the dashboard's Loop page.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from html import escape
from importlib import resources

from bikeshare.core.chart_marks import Mark
from bikeshare.core.charts import Figure, Line, Stretch, figure_html, legend, share

ACTION_LABEL = {"none": "quiet", "rollout": "roll-out"}
"""Kinds whose name for people is another one."""


@dataclass(frozen=True)
class Day:
    """One day of service.

    Attributes:
        day: Calendar day.
        chapter: What the story shows here; a new text starts a new band above the chart.
        wape: Error of what was served, as a share of demand; None on days without traffic or truth.
        wape_frozen: Same hours, the first model never touched again.
        wape_naive: Same hours, the best naive rule.
        model_version: Version that served.
    """

    day: date
    chapter: str
    wape: float | None = None
    wape_frozen: float | None = None
    wape_naive: float | None = None
    model_version: str = ""


@dataclass(frozen=True)
class Evidence:
    """One number a decision looked at; `limit` is empty where there is none."""

    name: str
    value: str
    limit: str = ""
    fired: bool = False


@dataclass(frozen=True)
class Card:
    """One decision, roll-out or message; `until` ends a stretch of equal ones."""

    at: datetime
    kind: str
    title: str
    reason: str
    state: str = ""
    evidence: tuple[Evidence, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    until: datetime | None = None


@dataclass(frozen=True)
class Timeline:
    """Everything the page shows."""

    title: str
    subtitle: str
    days: Sequence[Day]
    cards: Sequence[Card]
    facts: Sequence[tuple[str, str]] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)


def render(timeline: Timeline) -> str:
    """The page as one HTML document that opens from disk."""
    kinds = list(dict.fromkeys(card.kind for card in timeline.cards))
    notes = "".join(f"<li>{escape(note)}</li>" for note in timeline.notes)
    filters = "".join(
        f'<label class="filter {escape(kind)}"><input type="checkbox" value="{escape(kind)}" checked>'
        f"{escape(kind_label(kind))} <i>{sum(card.kind == kind for card in timeline.cards)}</i></label>"
        for kind in kinds
    )
    cards = "".join(card_html(card) for card in condense(timeline.cards))
    return document(
        timeline.title, timeline.subtitle,
        f'{facts_html(timeline.facts)}<div class="panel">{loop_chart(timeline.days, timeline.cards)}</div>'
        f'<nav>{filters}</nav><section class="cards">{cards}</section>'
        f"<footer><ul>{notes}</ul></footer>",
        script=asset("timeline.js"),
    )


def document(title: str, subtitle: str, body: str, *, script: str = "") -> str:
    """A complete page in the project's look; `body` is HTML, the other texts are not."""
    code = f"<script>{script}</script>" if script else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{asset("look.css")}{asset("timeline.css")}</style></head><body><main>
<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>
{body}</main>{code}</body></html>
"""


def asset(name: str) -> str:
    """A style sheet or script that lies beside this module."""
    return resources.files("bikeshare.core").joinpath(name).read_text(encoding="utf-8")


def kind_label(kind: str) -> str:
    """The name of a card's kind for people."""
    return ACTION_LABEL.get(kind, kind)


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Numbers in tiles: (name, value) each."""
    tiles = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in facts
    )
    return f'<section class="facts">{tiles}</section>' if tiles else ""


def loop_chart(days: Sequence[Day], cards: Sequence[Card]) -> str:
    """Daily error with chapters and decisions, and what the colours mean."""
    figure = loop_figure(days, cards)
    caption = (
        f'<div class="caption">{legend(figure, kind_label)} WAPE per day, lower is better; gaps are days without '
        "traffic or truth.</div>"
    )
    return figure_html(figure, "No day was played yet.") + (caption if days else "")


def loop_figure(days: Sequence[Day], cards: Sequence[Card]) -> Figure:
    """The days as a figure; quiet decisions leave no mark."""
    place = {day.day: position for position, day in enumerate(days)}
    stretches: list[Stretch] = []
    for position, day in enumerate(days):
        if stretches and stretches[-1].title == day.chapter:
            stretches[-1] = replace(stretches[-1], last=position)
        else:
            stretches.append(Stretch(day.chapter, position, position))
    lines = (
        Line("naive rule", "naive", [day.wape_naive for day in days]),
        Line("first model, frozen", "frozen", [day.wape_frozen for day in days]),
        Line("served", "ours", [day.wape for day in days]),
    )
    return Figure(
        label="Daily error and decisions",
        positions=[f"{day.day:%a %d %b %Y}" + (f", v{day.model_version}" if day.model_version else "") for day in days],
        ticks=[(position, f"{day.day.day} {day.day:%b}") for position, day in enumerate(days)],
        form=share,
        lines=[line for line in lines if any(value is not None for value in line.values)],
        marks=_marks(place, cards),
        stretches=[part for part in stretches if part.title],
        ceiling=1.0,
    )


def _marks(place: Mapping[date, int], cards: Sequence[Card]) -> list[Mark]:
    """One mark for each kind of card on a day, which leads to the first of them: a monitor may look every hour."""
    first: dict[tuple[date, str], Card] = {}
    counts = Counter((card.at.date(), card.kind) for card in cards)
    for card in sorted(cards, key=lambda item: item.at):
        if card.at.date() in place and card.kind != "none":
            first.setdefault((card.at.date(), card.kind), card)
    times = {key: f", {count} times" if count > 1 else "" for key, count in counts.items()}
    return [
        Mark(place[day], kind, f"{card.title}{times[day, kind]}", anchor(card)) for (day, kind), card in first.items()
    ]


def condense(cards: Sequence[Card]) -> list[Card]:
    """Cards in their order, with neighbouring looks that say the same joined into the newest of them.

    Quiet ones of the same state are joined over days; holds and alerts of the same state within a day.
    """
    found: list[Card] = []
    counts: list[int] = []
    for card in cards:
        last = found[-1] if found else None
        if last is not None and _says_the_same(last, card):
            newest = max(last, card, key=lambda item: item.until or item.at)
            counts[-1] += 1
            found[-1] = replace(
                newest, at=min(last.at, card.at), until=newest.until or newest.at,
                title=f"{card.title.split(',')[0]}, {counts[-1]} looks in a row",
            )
        else:
            found.append(card)
            counts.append(1)
    return found


def _says_the_same(last: Card, card: Card) -> bool:
    if last.kind != card.kind or last.state != card.state or not card.state:
        return False
    same_day = (last.until or last.at).date() == last.at.date() == card.at.date()
    repeated = card.kind in ("hold", "alert") and last.title.split(",")[0] == card.title.split(",")[0]
    return card.kind == "none" or (same_day and repeated)


def card_html(card: Card) -> str:
    """One card as an article."""
    table = _evidence_table(card.evidence)
    links = " ".join(f'<a href="{escape(url, quote=True)}">{escape(label)}</a>' for label, url in card.links)
    state = f'<span class="state">{escape(card.state.replace("_", " "))}</span>' if card.state else ""
    return (
        f'<article class="card {escape(card.kind)}" data-kind="{escape(card.kind)}" id="{anchor(card)}">'
        f"<h2><time>{when(card)}</time>"
        f'<span class="pill">{escape(kind_label(card.kind))}</span>{state}</h2>'
        f'<h3>{escape(card.title)}</h3><p>{escape(card.reason)}</p>{table}<p class="links">{links}</p></article>'
    )


def _evidence_table(evidence: Sequence[Evidence]) -> str:
    if not evidence:
        return ""
    limited = any(item.limit for item in evidence)

    def row(fired: bool, tag: str, name: str, value: str, limit: str) -> str:
        cells = [f"<{tag}>{escape(name)}</{tag}>", f'<{tag} class="number">{escape(value)}</{tag}>']
        cells += [f'<{tag} class="number">{escape(limit)}</{tag}>'] if limited else []
        return f'<tr class="{"fired" if fired else ""}">{"".join(cells)}</tr>'

    rows = "".join(row(item.fired, "td", item.name, item.value, item.limit) for item in evidence)
    return f'<table class="grid-table">{row(False, "th", "evidence", "seen", "limit")}{rows}</table>'


def when(card: Card) -> str:
    """The moment of a card, or the days that it spans."""
    if card.until is None:
        return f"{card.at:%a %d %b %Y, %H:%M}"
    if card.until.date() == card.at.date():
        return f"{card.at:%a %d %b %Y, %H:%M} to {card.until:%H:%M}"
    return f"{card.at.day} {card.at:%b} to {card.until.day} {card.until:%b %Y}"


def anchor(card: Card) -> str:
    """Where the card is on its page."""
    return f"c{card.at:%Y%m%d%H%M}-{card.kind}"
