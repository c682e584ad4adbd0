"""Drift: what is judged against its limit over time, what plain Evidently says beside it, and the reports."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape

import streamlit as st

from bikeshare.core.drift_view import columns_now, finding_figure, raw_figure, report_name
from bikeshare.ports import DecisionRecord
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

SPANS = {"2 weeks": 14, "6 weeks": 42, "12 weeks": 84}


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Drift", "Calibrated limits decide; Evidently's plain comparison stands beside them.")
    with frame.guard("Drift", "Check that the records are up: `bikeshare doctor` names what is missing."):
        span = SPANS[st.segmented_control("Span", list(SPANS), default="6 weeks", required=True,
                                          label_visibility="collapsed")]
        now = world.clock.now()
        found = data.decisions(world, now - timedelta(days=span))
        if not found:
            frame.nothing(
                "The monitor has not looked in this span",
                "Let it look: `bikeshare monitor run`, or play the demo: `make up`.",
            )
            return
        _judged(list(reversed(found)))
        _beside(list(reversed(found)), data.published(world))
    with frame.guard("The reports", "The object store must answer."):
        _reports(world, span)


def _judged(found: Sequence[DecisionRecord]) -> None:
    looks = [(record.decided_at, record.evidence) for record in found]
    for name, heading, note in (
        ("wape", "7-day WAPE against its limit", "Learned from the champion's own backtest; decay must be confirmed."),
        ("bias", "7-day bias against its limit", "Its distance from the backtest's bias, in either direction."),
        ("step", "48-hour step against its limit", "A step asks for a person and holds retraining."),
    ):
        frame.chart(heading, finding_figure(looks, name), note=note,
                    empty="Not judged in this span: too few labelled hours.")


def _beside(found: Sequence[DecisionRecord], published: Mapping[str, float]) -> None:
    looks = [(record.decided_at, record.evidence) for record in found]
    frame.chart("Plain comparison with all of training: share of columns it calls drifted", raw_figure(looks), note=(
        "Evidently's default rule (distance of 0.1 or more). On hourly bike demand it is nearly always high, because "
        "weather has seasons: it explains, it never decides."), empty="No look in this span compared columns.")
    rows = columns_now(published)
    if not rows:
        frame.nothing("No column was compared yet", "The monitor compares when a new labelled day has landed.")
        return
    frame.panel("Columns, newest look", frame.table(
        ("column", "same weeks", "limit", "", "all weeks", "Evidently"),
        [(
            escape(row.column), _number(row.season), _number(row.season_limit),
            _verdict(row.over_limit, "over", "within"), _number(row.raw),
            _verdict(row.raw_drifted, "drifted", "same"),
        ) for row in rows], numbers=(1, 2, 4),
    ), "Distance of what was served from training: from the same weeks of the year, with a limit learned from "
       "training's own weeks; and from all weeks, with Evidently's default rule.")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _verdict(over: bool | None, yes: str, no: str) -> str:
    if over is None:
        return ""
    return f'<span class="pill {"warn" if over else "ok"}">{yes if over else no}</span>'


def _reports(world: World, span: int) -> None:
    now = world.clock.now()
    keys = data.reports(world, now - timedelta(days=span), now)
    if not keys:
        frame.nothing("No report in this span", "A report is written when something happens, not on quiet days.")
        return
    asked = st.query_params.get("report", "")
    chosen = st.selectbox(
        "Report", keys, index=keys.index(asked) if asked in keys else None, format_func=report_name,
        placeholder="Choose a report",
    )
    if chosen is None:
        return
    page = data.stored(world, str(chosen))
    st.download_button("Download", page, "report.html", "text/html", icon=":material/download:")
    st.iframe(page.decode(), height=900)
