"""Forecast: the next hours from the live API, for weather that is picked, typed or uploaded; and what if."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from bikeshare.core.contract import WEATHER_CLASSES
from bikeshare.core.timeline import facts_html
from bikeshare.core.track_record import forecast_figure
from bikeshare.core.weather_plan import (
    EXAMPLES,
    MAX_HOURS,
    WhatIf,
    changed,
    from_csv,
    like_past,
    next_hour,
    request_body,
    to_csv,
    typed,
)
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

PAST, TYPED, UPLOADED = "As it was", "Type it", "Upload CSV"
HEADS = {
    "temp_c": "temperature, °C", "feels_like_c": "feels like, °C", "humidity_pct": "humidity, %",
    "windspeed_kmh": "wind, km/h",
}
LABELS = {"clear": "clear", "mist": "mist", "light_precip": "light rain or snow", "heavy_precip": "heavy rain or snow"}


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Forecast", "Bikes per hour for the next one or two days, from the live model.")
    hours = {"24 h": 24, "48 h": MAX_HOURS}[
        st.segmented_control("Horizon", ["24 h", "48 h"], default="24 h", required=True, label_visibility="collapsed")
    ]
    with frame.guard("The forecast", "The live API must run and be ready: `bikeshare serve`."):
        plan: pd.DataFrame | None = None
        with frame.guard("The forecast", "Correct or complete the weather, or choose another way to name it."):
            plan = _weather(world, hours)
        if plan is None:
            return
        change = _what_if()
        start = next_hour(world.clock.now())
        answer = world.ask("POST", "/forecast", request_body(plan, start))
        other = world.ask("POST", "/forecast", request_body(changed(plan, change), start)) if change.changes else None
        _answer(answer, other, plan)


def _weather(world: World, hours: int) -> pd.DataFrame | None:
    start = next_hour(world.clock.now())
    source = st.radio("Weather", [PAST, TYPED, UPLOADED], horizontal=True)
    if source == PAST:
        name = st.selectbox("Take the weather of the same hours", list(EXAMPLES))
        return like_past(_past(world, hours, EXAMPLES[name]), start, hours, EXAMPLES[name])
    if source == TYPED:
        columns = st.columns(5)
        return typed(
            hours, start,
            mean_c=columns[0].number_input("Temperature, °C", -30.0, 45.0, 18.0, 1.0, format="%.1f"),
            swing_c=columns[1].number_input("Swing of the day, °C", 0.0, 25.0, 8.0, 1.0, format="%.1f"),
            humidity_pct=columns[2].number_input("Humidity, %", 0.0, 100.0, 55.0, 5.0, format="%.0f"),
            windspeed_kmh=columns[3].number_input("Wind, km/h", 0.0, 100.0, 12.0, 1.0, format="%.0f"),
            weather=columns[4].selectbox("Weather class", WEATHER_CLASSES, format_func=LABELS.__getitem__),
        )
    template = to_csv(typed(24, start, mean_c=18, swing_c=8, humidity_pct=55, windspeed_kmh=12, weather="clear"))
    file = st.file_uploader("One row per hour from the next hour on, at most 48", type="csv")
    st.download_button("Template", template, "weather.csv", "text/csv", icon=":material/download:")
    if file is None:
        frame.nothing("No file yet", f"Choose a CSV with the template's columns; it starts at {start:%a %d %b, %H:00}.")
        return None
    return from_csv(file.getvalue())


def _past(world: World, hours: int, days_back: int) -> pd.DataFrame:
    start = next_hour(world.clock.now())
    first = start - pd.Timedelta(days=days_back + 8)
    return world.records.observations(first.to_pydatetime() if isinstance(first, pd.Timestamp) else first,
                                      start + pd.Timedelta(hours=hours) - pd.Timedelta(days=days_back))


def _what_if() -> WhatIf:
    with st.expander("What if …", icon=":material/tune:"):
        columns = st.columns(4)
        weather = columns[3].selectbox(
            "Weather class instead", ["as planned", *WEATHER_CLASSES], format_func=lambda name: LABELS.get(name, name)
        )
        return WhatIf(
            warmer_c=columns[0].slider("Warmer by, °C", -15.0, 15.0, 0.0, 0.5, format="%+.1f"),
            windier_kmh=columns[1].slider("Windier by, km/h", -20.0, 40.0, 0.0, 1.0, format="%+.0f"),
            more_humid_pct=columns[2].slider("More humid by, points", -50.0, 50.0, 0.0, 5.0, format="%+.0f"),
            weather=None if weather == "as planned" else weather,
        )


def _answer(answer: Mapping[str, Any], other: Mapping[str, Any] | None, plan: pd.DataFrame) -> None:
    rows = answer["predictions"]
    st.html(facts_html(_facts(answer, other)))
    degraded = sum(row["degraded"] for row in rows)
    note = f"{degraded} of {len(rows)} hours are degraded: recent demand is missing." if degraded else ""
    frame.chart("Expected bikes per hour", forecast_figure(rows, other["predictions"] if other else ()), note=note)
    left, right = st.columns([1, 3])
    left.download_button("Download", table_csv(rows), "forecast.csv", "text/csv", icon=":material/download:")
    with right.expander("Weather behind it", icon=":material/partly_cloudy_day:"):
        hours = [f"{pd.Timestamp(row['timestamp']):%a %d %b, %H:00}" for row in rows[: len(plan)]]
        shown = plan.round(1).assign(weather=plan["weather"].map(LABELS)).rename(columns=HEADS)
        shown.insert(0, "hour", hours)
        st.dataframe(shown, hide_index=True)


def _facts(answer: Mapping[str, Any], other: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    rows = answer["predictions"]
    total = sum(row["demand"] for row in rows)
    peak = max(rows, key=lambda row: row["demand"])
    facts = [
        (f"bikes in {len(rows)} h", f"{total:,.0f}"),
        ("busiest hour", f"{pd.Timestamp(peak['timestamp']):%a %H:00}"),
        ("bikes then, 80% interval", f"{peak['lower_80']:,.0f} to {peak['upper_80']:,.0f}"),
        ("model", f"v{answer['model_version']}"),
    ]
    if other is not None:
        difference = sum(row["demand"] for row in other["predictions"]) / total - 1 if total else 0.0
        facts.insert(1, ("what if", f"{difference:+.1%}"))
    return facts


def table_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The answer as a file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
