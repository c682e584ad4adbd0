"""Live quality: predicted against actual, and the error over time beside everything it could be compared with."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import streamlit as st

from bikeshare.core.drift import limits_from
from bikeshare.core.timeline import facts_html
from bikeshare.core.track_record import (
    WINDOW_DAYS,
    hours_figure,
    records_of,
    rolling,
    rolling_figure,
    usual_weeks,
)
from bikeshare.errors import BikeshareError
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

SPANS = {"2 weeks": 14, "6 weeks": 42, "12 weeks": 84}
NAMES = {"served": "served (champion)", "frozen": "first model, frozen", "naive": "naive rule"}
SERIES = (("naive rule", "naive", "naive"), ("first model, frozen", "frozen", "frozen"), ("served", "ours", "served"))


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Live quality", "What was promised, what happened, and what else could have been promised.")
    with frame.guard("Live quality", "Check that the records are up: `bikeshare doctor` names what is missing."):
        span = SPANS[st.segmented_control("Span", list(SPANS), default="6 weeks", required=True,
                                          label_visibility="collapsed")]
        # The first point of a seven-day average needs the six days before it.
        days = data.days_with_labels(world, span + WINDOW_DAYS - 1)
        shown = days[-span:]
        hours = _compared(world, tuple(days)) if days else None
        inside = None if hours is None else hours[hours["timestamp"].dt.date >= shown[0]]
        if hours is None or inside is None or inside.empty:
            frame.nothing(
                "No answer has met its truth yet",
                "Truth lands about a day after a prediction. Send requests to the live API and deliver the observed "
                "hours (`bikeshare data import`), or play the demo: `make up`.",
            )
            return
        _records(inside)
        last = inside["timestamp"].max().date()
        recent = inside[inside["timestamp"].dt.date > last - timedelta(days=7)]
        frame.chart("Predicted against actual, last 7 days, bikes per hour", hours_figure(recent))
        served = [day for day in shown if day >= hours["timestamp"].min().date()]
        _rolling(world, hours, served)


def _compared(world: World, days: tuple[date, ...]) -> Any:
    """Served, naive and frozen; without the frozen model when it cannot be fetched."""
    try:
        return data.compared(world, days, data.frozen_version(world)).hours
    except BikeshareError as error:
        st.caption(f"The first model cannot be fetched, so it is left out: {error}")
        return data.compared(world, days, None).hours


def _records(hours: Any) -> None:
    found = records_of(hours, NAMES)
    ours = found[0]
    facts = [("WAPE served", f"{ours.scores.wape:.1%}"), ("MAE served, bikes/h", f"{ours.scores.mae:.1f}"),
             ("bias served", f"{ours.scores.bias:+.1%}")]
    if ours.inside_80 is not None and ours.inside_95 is not None:
        facts += [("inside the 80% interval", f"{ours.inside_80:.0%}"),
                  ("inside the 95% interval", f"{ours.inside_95:.0%}")]
    st.html(facts_html(facts))
    frame.panel("On the same hours", frame.table(
        ("answers of", "WAPE", "MAE", "RMSE", "bias", "hours"),
        [(record.name, f"{record.scores.wape:.1%}", f"{record.scores.mae:.1f}", f"{record.scores.rmse:.1f}",
          f"{record.scores.bias:+.1%}", str(record.scores.rows)) for record in found],
        numbers=(1, 2, 3, 4, 5),
    ))


def _rolling(world: World, hours: Any, days: list[date]) -> None:
    backtest = _backtest(world)
    limits = limits_from(backtest, world.settings.drift)
    curves = {name: rolling(hours, column, days) for name, _, column in SERIES if hours[column].notna().any()}
    known = [(name, kind) for name, kind, _ in SERIES if name in curves]
    frame.chart("WAPE, 7 days", rolling_figure(
        "Rolling WAPE", [(name, kind, curves[name].wape) for name, kind in known], days, percent=True,
        limits=(limits.wape,) if limits else (), usual=usual_weeks(backtest),
    ), note="The band is what the champion's backtest did, week by week.")
    frame.chart("MAE, 7 days, bikes per hour", rolling_figure(
        "Rolling MAE", [(name, kind, curves[name].mae) for name, kind in known], days, percent=False,
    ))
    frame.chart("Bias, 7 days", rolling_figure(
        "Rolling bias", [(name, kind, curves[name].bias) for name, kind in known], days, percent=True,
        limits=limits.bias_shares if limits else (),
    ), note="Above zero: more bikes promised than ridden.")


def _backtest(world: World) -> Mapping[str, Any]:
    newest = data.newest_decision(world)
    if newest is None or newest.model_version is None:
        return {}
    try:
        return data.reference(world, newest.model_version).backtest
    except BikeshareError:
        return {}
