"""The loop as one page: days across, error lines, decisions as cards. Self-contained HTML, no network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from html import escape
from importlib import resources

_ACTION_LABEL = {"none": "quiet", "alert": "alert", "hold": "hold", "retrain": "retrain"}


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
    """One decision, roll-out or message."""

    at: datetime
    kind: str
    title: str
    reason: str
    state: str = ""
    evidence: tuple[Evidence, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


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
    facts = "".join(
        f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in timeline.facts
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in timeline.notes)
    filters = "".join(
        f'<label class="filter {escape(kind)}"><input type="checkbox" value="{escape(kind)}" checked>'
        f"{escape(_ACTION_LABEL.get(kind, kind))} <i>{sum(card.kind == kind for card in timeline.cards)}</i></label>"
        for kind in kinds
    )
    cards = "".join(_card(card) for card in timeline.cards)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(timeline.title)}</title><style>{_asset("timeline.css")}</style></head><body><main>
<header><h1>{escape(timeline.title)}</h1><p>{escape(timeline.subtitle)}</p></header>
<section class="facts">{facts}</section>
<figure>{_chart(timeline)}<figcaption>
<span class="key ours">served</span><span class="key frozen">first model, frozen</span>
<span class="key naive">naive rule</span> WAPE per day, lower is better.
Marks are decisions; gaps are days without traffic.
</figcaption></figure>
<nav>{filters}</nav><section class="cards">{cards}</section>
<footer><ul>{notes}</ul></footer></main><script>{_asset("timeline.js")}</script></body></html>
"""


def _asset(name: str) -> str:
    return resources.files("bikeshare.core").joinpath(name).read_text(encoding="utf-8")


def _card(card: Card) -> str:
    rows = "".join(
        f'<tr class="{"fired" if item.fired else ""}"><td>{escape(item.name)}</td><td>{escape(item.value)}</td>'
        f"<td>{escape(item.limit)}</td></tr>"
        for item in card.evidence
    )
    table = f"<table><tr><th>evidence</th><th>seen</th><th>limit</th></tr>{rows}</table>" if rows else ""
    links = " ".join(f'<a href="{escape(url, quote=True)}">{escape(label)}</a>' for label, url in card.links)
    state = f'<span class="state">{escape(card.state)}</span>' if card.state else ""
    return (
        f'<article class="card {escape(card.kind)}" data-kind="{escape(card.kind)}" id="{_anchor(card)}">'
        f"<h2><time>{card.at:%a %d %b %Y, %H:%M}</time>"
        f'<span class="kind">{escape(_ACTION_LABEL.get(card.kind, card.kind))}</span>{state}</h2>'
        f'<h3>{escape(card.title)}</h3><p>{escape(card.reason)}</p>{table}<p class="links">{links}</p></article>'
    )


def _anchor(card: Card) -> str:
    return f"c{card.at:%Y%m%d%H%M}-{card.kind}"


def _chart(timeline: Timeline, width: int = 1200, height: int = 320) -> str:
    days = list(timeline.days)
    if not days:
        return '<p class="empty">No day was played yet.</p>'
    left, right, top, bottom = 48, 12, 58, 28
    step = (width - left - right) / max(len(days), 1)
    values = [v for d in days for v in (d.wape, d.wape_frozen, d.wape_naive) if v is not None]
    ceiling = max(0.1, min(max(values, default=0.5), 1.0)) * 1.08
    position = {day.day: left + step * (index + 0.5) for index, day in enumerate(days)}

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - min(value, ceiling) / ceiling)

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Daily error and decisions">']
    start, bands = 0, 0
    for index in range(1, len(days) + 1):
        if index == len(days) or days[index].chapter != days[start].chapter:
            # Neighbouring titles stand on two rows, so that a short chapter's title is not covered by the next one.
            row = top - 26 - 15 * (bands % 2)
            x0, x1 = left + step * start, left + step * index
            shade = "band odd" if bands % 2 else "band"
            parts.append(
                f'<rect class="{shade}" x="{x0:.1f}" y="{top}" width="{x1 - x0:.1f}" height="{height - top - bottom}"/>'
            )
            parts.append(f'<text class="chapter" x="{x0 + 4:.1f}" y="{row}">{escape(days[start].chapter)}</text>')
            bands += 1
            start = index
    for share in _ticks(ceiling):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
            f'<text class="axis" x="{left - 8}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        )
    for name in ("naive", "frozen", "ours"):
        attribute = "wape" if name == "ours" else f"wape_{name}"
        for segment in _segments([(position[d.day], getattr(d, attribute)) for d in days]):
            points = " ".join(f"{px:.1f},{y(value):.1f}" for px, value in segment)
            parts.append(f'<polyline class="line {name}" points="{points}"/>')
    every = max(1, len(days) // 14)
    for index, day in enumerate(days):
        if index % every == 0:
            parts.append(
                f'<text class="axis" x="{position[day.day]:.1f}" y="{height - 8}" '
                f'text-anchor="middle">{day.day:%d %b}</text>'
            )
    for card in timeline.cards:
        if card.at.date() in position and card.kind != "none":
            px = position[card.at.date()]
            parts.append(
                f'<a href="#{_anchor(card)}"><circle class="mark {escape(card.kind)}" cx="{px:.1f}" '
                f'cy="{top - 10}" r="6"><title>{escape(card.title)}</title></circle></a>'
            )
    parts.append("</svg>")
    return "".join(parts)


def _segments(points: list[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    segments: list[list[tuple[float, float]]] = [[]]
    for x, value in points:
        if value is None:
            segments.append([])
        else:
            segments[-1].append((x, value))
    return [segment for segment in segments if segment]


def _ticks(ceiling: float) -> list[float]:
    step = 0.05 if ceiling <= 0.3 else 0.1 if ceiling <= 0.7 else 0.2
    return [step * index for index in range(int(ceiling / step) + 1)]
