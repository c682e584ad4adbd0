"""Health: is the service answering, is the log keeping up, is everything fresh, is the loop turning."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

import streamlit as st

from bikeshare.core.health import HealthPolicy, Samples, Sign, Vitals, judge_health, overall, read_vitals
from bikeshare.errors import BikeshareError
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

HEADLINES = {
    "ok": "All signs are within their limits", "warn": "Something needs a look", "bad": "Something is broken",
    "unknown": "Nothing is known yet",
}

WORDS = {"ok": "ok", "warn": "look", "bad": "broken", "unknown": "unknown"}


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Health", "The service, its log, the freshness of what it knows, and the loop around it.")
    if st.button("Look again", icon=":material/refresh:"):
        data.forget()
    signs = judge_health(_vitals(world), _policy(world), world.settings.refresh_seconds)
    status = overall(signs)
    worst = [sign for sign in signs if sign.status in ("bad", "warn")]
    todo = " ".join(sign.advice for sign in worst) or "Nothing to do."
    st.html(
        f'<div class="panel hero {status}"><h2>{HEADLINES[status]}</h2>'
        f"<p><b>What to do.</b> {frame.prose(todo)}</p></div>"
    )
    groups = dict.fromkeys(sign.group for sign in signs)
    st.html(f'<div class="groups">{"".join(_group(name, signs) for name in groups)}</div>')
    st.caption("Latencies and counts are of one predictor process since it started.")


def _policy(world: World) -> HealthPolicy:
    """What the monitor waits for, and how long, is what this page waits for."""
    guards = world.settings.retraining
    return HealthPolicy(labels_lag_hours=guards.labels_late_hours, champion_days=guards.max_age_days)


def _group(name: str, signs: Sequence[Sign]) -> str:
    tiles = "".join(_tile(sign) for sign in signs if sign.group == name)
    return f'<div class="panel"><h2>{escape(name)}</h2><section class="facts signs">{tiles}</section></div>'


def _tile(sign: Sign) -> str:
    kind = "none" if sign.status == "unknown" else sign.status
    advice = f"<p>{frame.prose(sign.advice)}</p>" if sign.advice else ""
    return (
        f'<div class="fact sign {kind}"><b>{escape(sign.value)}</b><span>{escape(sign.name)}</span>'
        f'<i class="pill">{WORDS[sign.status]}</i>{advice}</div>'
    )


def _vitals(world: World) -> Vitals:
    found: Samples = {}
    ready: bool | None = None
    problem = ""
    try:
        found = data.samples(world)
        ready = world.ask("GET", "/-/state")["ready"]
    except BikeshareError as error:
        ready, problem = False, f"{error}. Start it with `bikeshare serve`."
    try:
        now = world.clock.now()
        newest = data.newest_decision(world)
        latest = data.newest_label(world)
        age = data.published(world).get("bikeshare_champion_age_seconds")
        return read_vitals(
            found, ready=ready, problem=problem, labels_lag_hours=_hours(now, latest),
            monitor_age_hours=_hours(now, newest.decided_at if newest else None),
            champion_age_days=None if age is None else age / 86_400,
        )
    except BikeshareError as error:
        away = f"{problem} {error}".strip()
        return read_vitals(found, ready=ready, problem=away)


def _hours(now: datetime, moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds() / 3600)
