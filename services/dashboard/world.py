"""What the pages read: wired once per process, every query bounded by time or count, remembered for a short while."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from bikeshare.adapters.live_api import HttpApi
from bikeshare.bootstrap import wire_clock, wire_records, wire_registry, wire_store
from bikeshare.core.diary import Diary
from bikeshare.core.health import Samples
from bikeshare.errors import DataError, Unavailable
from bikeshare.ports import (
    Clock,
    DecisionRecord,
    ModelRegistry,
    ModelVersion,
    ObjectStore,
    Records,
    RolloutResult,
    RunIntent,
)
from bikeshare.settings import Settings, load_settings
from bikeshare.steps.look_back import first_version, hours_of_day, look_back, newest_days, open_model
from bikeshare.steps.reference import Reference, load_reference

T = TypeVar("T")

MOST_DECISIONS = 2_000
"""Newest decisions a page looks at: twelve weeks of an hourly monitor."""

API_SECONDS = 5.0


@dataclass
class World:
    """Collaborators, opened once, when first used; shared between the threads of all sessions."""

    settings: Settings
    _opened: dict[str, Any] = field(default_factory=dict)
    _opening: threading.RLock = field(default_factory=threading.RLock)

    @property
    def clock(self) -> Clock:
        """The loop's clock."""
        return self._once("clock", wire_clock)

    @property
    def records(self) -> Records:
        """Observations, predictions, decisions."""
        return self._once("records", wire_records)

    @property
    def store(self) -> ObjectStore:
        """Reports, outcomes, references."""
        return self._once("store", wire_store)

    @property
    def registry(self) -> ModelRegistry:
        """Versions and aliases."""
        return self._once("registry", wire_registry)

    def _once(self, name: str, wire: Callable[[Settings], T]) -> T:
        with self._opening:
            if name not in self._opened:
                self._opened[name] = wire(self.settings)
            opened: T = self._opened[name]
            return opened

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One exchange with the live API as JSON (text for anything else).

        Raises:
            Unavailable: nobody answers, or the service is not ready.
            DataError: the API refused the question; the message is the API's.
        """
        # What-if: what people try here must not count as a forecast that was served.
        headers = {"Content-Type": "application/json", "X-What-If": "true"}
        api = HttpApi(
            self.settings.predictor_url, api_key=self.settings.api_key.get_secret_value(), timeout_seconds=API_SECONDS
        )
        try:
            answer = api.call(method, path, None if body is None else json.dumps(body).encode(), headers)
        finally:
            api.close()
        if answer.status == 200:
            text = answer.body.decode()
            return json.loads(text) if text.startswith(("{", "[")) else text
        message = _problem(answer.body) or f"{path} answered {answer.status}"
        if answer.status in (401, 503):
            raise Unavailable(f"the live API at {self.settings.predictor_url} does not serve: {message}")
        raise DataError(message)


def _problem(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return f"{error['field']}: {error['message']}" if error.get("field") else str(error["message"])
    except (ValueError, KeyError, TypeError):
        return ""


@st.cache_resource(show_spinner=False)
def world() -> World:
    """The one world of this process."""
    return World(load_settings())


@st.cache_data(ttl=10, show_spinner=False)
def newest_decision(_world: World) -> DecisionRecord | None:
    """The last thing the loop said."""
    return next(iter(_world.records.decisions(limit=1)), None)


@st.cache_data(ttl=30, show_spinner=False)
def decisions(_world: World, since: datetime) -> Sequence[DecisionRecord]:
    """Decisions since a moment, newest first, at most `MOST_DECISIONS`."""
    return list(_world.records.decisions(since, limit=MOST_DECISIONS))


@st.cache_data(ttl=30, show_spinner=False)
def intents(_world: World, since: datetime) -> Sequence[RunIntent]:
    """Runs promised since a moment."""
    return list(_world.records.intents(since))


@st.cache_data(ttl=60, show_spinner=False)
def days_with_labels(_world: World, count: int) -> list[date]:
    """The newest days that can have labels."""
    return newest_days(_world.records, _world.clock.now(), count)


@st.cache_data(ttl=10, show_spinner=False)
def newest_label(_world: World) -> datetime | None:
    """Hour of the newest accepted observation."""
    return _world.records.latest_observation()


@st.cache_data(ttl=300, max_entries=500, show_spinner=False)
def hours_of(_world: World, day: date) -> pd.DataFrame:
    """One day of answers beside the truth: at most 24 rows."""
    return hours_of_day(_world.records, day)


@st.cache_data(ttl=300, max_entries=20, show_spinner=False)
def compared(_world: World, days: tuple[date, ...], frozen: str | None) -> Diary:
    """Served, frozen and naive on some days; `frozen` is the version that stands for "never retrained"."""
    first = None if frozen is None else model(_world, frozen).forecaster
    return look_back(_world.records, days, first, lambda day: hours_of(_world, day))


@st.cache_data(ttl=30, show_spinner=False)
def versions(_world: World) -> Sequence[ModelVersion]:
    """All versions, newest first."""
    return list(_world.registry.versions())


def frozen_version(_world: World) -> str | None:
    """The first version that ever served."""
    return first_version(versions(_world))


@st.cache_resource(max_entries=3, show_spinner=False)
def model(_world: World, version: str) -> Any:
    """A version's artifact; kept in the home, fetched once."""
    from bikeshare.adapters.artifacts import load_artifact

    return open_model(_world.registry, version, _cellar(_world.settings), load_artifact)


@st.cache_data(ttl=3600, max_entries=20, show_spinner=False)
def reference(_world: World, version: str) -> Reference:
    """What a version promised."""
    return load_reference(_world.registry, _world.store, version)


@st.cache_data(ttl=3600, max_entries=4, show_spinner=False)
def stored(_world: World, key: str) -> bytes:
    """One object, e.g. a report of some megabytes."""
    return _world.store.get(key)


@st.cache_data(ttl=30, show_spinner=False)
def reports(_world: World, since: datetime, now: datetime) -> list[str]:
    """Keys of the reports of some days and of their weekly summaries, newest first: one short listing per day."""
    keys: list[str] = []
    day = now.date()
    while day >= since.date():
        found = _world.store.list(f"reports/date={day:%Y-%m-%d}/")
        keys += sorted((item.key for item in found if item.key.endswith("report.html")), reverse=True)
        day -= timedelta(days=1)
    weeks = [item.key for item in _world.store.list("reports/weekly/")]
    return keys + sorted(weeks, reverse=True)[: (now - since).days // 7]


@st.cache_data(ttl=10, show_spinner=False)
def published(_world: World) -> Mapping[str, float]:
    """The monitor's newest metrics, as its telemetry keeps them: name and label values, tab-separated."""
    document, _ = _world.records.load_state("telemetry/monitor")
    return {str(name): float(value) for name, value in document.get("gauges", {}).items()}


@st.cache_data(ttl=5, show_spinner=False)
def samples(_world: World) -> Samples:
    """The predictor's metrics page."""
    from bikeshare.adapters.scrape import read_exposition

    return read_exposition(_world.ask("GET", "/metrics"))


def roll_back_to(_world: World, version: str, reason: str) -> RolloutResult:
    """Serve another version again; the caller has checked who asks."""
    from bikeshare.bootstrap import wire
    from bikeshare.steps.rollout import roll_back

    ports = wire(_world.settings, job="dashboard")
    return roll_back(ports, _world.clock.now(), reason, to=version)


def forget() -> None:
    """After something was changed: read everything again."""
    st.cache_data.clear()


def _cellar(settings: Settings) -> Path:
    return settings.home.absolute() / "dashboard" / "models"
