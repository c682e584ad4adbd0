"""The frame of every page: look, header, titles, and what is shown when something is away or still empty."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bikeshare.core.advice import advise
from bikeshare.core.charts import Figure, figure_html, legend
from bikeshare.core.timeline import asset
from bikeshare.errors import BikeshareError
from bikeshare.ports import DecisionRecord
from services.dashboard import world as data
from services.dashboard.world import World

_FOLDER = Path(__file__).parent


def begin() -> None:
    """Title, icon and style sheet; must be the first thing of every run."""
    st.set_page_config(page_title="bikeshare", page_icon=str(_FOLDER / "icon.svg"), layout="wide")
    st.logo(str(_FOLDER / "logo.svg"), size="large", link=None)
    style = (_FOLDER / "dashboard.css").read_text(encoding="utf-8")
    st.html(f"<style>{asset('look.css')}{style}</style>")


def silence(world: World, newest: DecisionRecord | None) -> float:
    """Hours since the monitor last decided."""
    return 0.0 if newest is None else (world.clock.now() - newest.decided_at).total_seconds() / 3600


def header(world: World) -> None:
    """Who, where, when, and how the loop is; on every page."""
    try:
        newest = data.newest_decision(world)
        advice = advise(newest.state if newest else None, silence(world, newest))
        # the version of the newest look: a roll-back since then is on the page of the models, the next look sees it
        watched = newest.model_version if newest else None
        version = f"<span>watching <b>v{escape(watched)}</b></span>" if watched else ""
        word = newest.state.replace("_", " ") if newest else "no decision yet"
        if newest and advice.kind == "bad" and newest.state != "escalated":
            word = f"silent since {newest.decided_at:%d %b}"
        state = f'<span class="pill {advice.kind}">{escape(word)}</span>'
    except BikeshareError:
        state, version = '<span class="pill bad">records away</span>', ""
    now = world.clock.now()
    st.html(
        f'<div class="strip">{state}{version}<span>{now:%a %d %b %Y, %H:%M}</span>'
        f"<span>{escape(world.settings.environment_name)}</span></div>"
    )


def title(text: str, subtitle: str) -> None:
    """The page's heading."""
    st.html(f'<div class="page-title"><h1>{escape(text)}</h1><p>{escape(subtitle)}</p></div>')


def panel(heading: str, body: str, note: str = "") -> None:
    """A card of HTML; the heading and the note are plain text."""
    caption = f'<p class="caption">{prose(note)}</p>' if note else ""
    head = f"<h2>{escape(heading)}</h2>" if heading else ""
    st.html(f'<div class="panel">{head}{body}{caption}</div>')


def chart(heading: str, figure: Figure, *, note: str = "", empty: str = "Nothing to show yet.") -> None:
    """A figure in a panel, with its legend."""
    keys = f'<div class="caption">{legend(figure)} {prose(note)}</div>' if figure.positions else ""
    drawing(heading, figure_html(figure, empty) + keys)


def drawing(heading: str, body: str, place: DeltaGenerator | None = None) -> None:
    """A panel whose HTML holds SVG: `st.html` drops SVG, Markdown lets it pass; the body has no blank lines."""
    head = f'<div class="heading" role="heading" aria-level="2">{escape(heading)}</div>'
    (place or st).markdown(f'<div class="panel">{head}{body}</div>', unsafe_allow_html=True)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """An HTML table; cells are HTML already, `numbers` are the columns set to the right."""
    def cells(tag: str, values: Sequence[str]) -> str:
        return "".join(
            f'<{tag}{" class=number" if place in numbers else ""}>{value}</{tag}>' for place, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table class="grid-table"><tr>{cells("th", heads)}</tr>{body}</table></div>'


def nothing(heading: str, advice: str) -> None:
    """An empty state: what is missing, and what to do."""
    st.html(f'<div class="panel blank"><h2>{escape(heading)}</h2><p>{prose(advice)}</p></div>')


@contextmanager
def guard(what: str, advice: str) -> Iterator[None]:
    """Show what does not work instead of the section, and what to do; other sections go on."""
    try:
        yield
    except BikeshareError as error:
        st.html(
            f'<div class="panel trouble" role="alert"><h2>{escape(what)} cannot be shown</h2>'
            f"<p>{escape(str(error))}</p><p>{prose(advice)}</p></div>"
        )


def prose(text: str) -> str:
    """Plain text with `code` in backticks, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
