"""Looking back: what was served beside its alternatives, read in bounded pieces."""

from datetime import date, datetime, timedelta
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from benchmarks.monitor_world import serve
from bikeshare.core.evaluation import BAR, naive_forecasts
from bikeshare.core.monitor_facts import RunState
from bikeshare.core.timeline import Day
from bikeshare.ports import DecisionRecord, ModelVersion, RunIntent
from bikeshare.steps.look_back import (
    NAIVE_DAYS,
    chapters,
    first_version,
    look_back,
    newest_days,
    without_silence,
)
from bikeshare.steps.loop_cards import ENDINGS, decision_cards, merge_cards, run_cards, version_cards
from bikeshare.steps.outcome import Outcome, write_outcome
from services.dashboard.views.models import worth_a_card
from tests.fakes.records import MemoryRecords
from tests.fakes.store import MemoryStore
from tests.unit.model_world import forecaster

DAYS = [date(2011, 9, 10) + timedelta(days=offset) for offset in range(3)]


@pytest.fixture
def records(history: pd.DataFrame) -> MemoryRecords:
    made = MemoryRecords()
    known = history[(history["timestamp"] >= "2011-06-01") & (history["timestamp"] < "2011-09-13")]
    made.upsert_observations(known)
    for day in DAYS[:2]:
        rows = known[known["timestamp"].dt.date == day].reset_index(drop=True)
        serve(made, rows, version="7", ratio=1.5)
    return made


def test_served_and_naive_stand_on_the_same_hours(records: MemoryRecords) -> None:
    hours = look_back(records, DAYS, None).hours

    assert sorted(set(hours["timestamp"].dt.date)) == DAYS[:2]
    assert set(hours["model_version"]) == {"7"}
    assert hours["frozen"].isna().all()
    everything = records.observations(None, None)
    assert hours["naive"].tolist() == pytest.approx(
        naive_forecasts(everything, hours["timestamp"])[BAR].tolist()
    ), "29 days of history are enough for the naive rule"


def test_the_frozen_model_answers_without_history(records: MemoryRecords) -> None:
    frozen = look_back(records, DAYS, forecaster()).hours["frozen"]

    assert frozen.notna().all()
    assert float(frozen.std()) > 0


def test_only_bounded_pieces_are_read(records: MemoryRecords) -> None:
    asked = []
    seen = records.observations
    records.observations = lambda start=None, end=None: asked.append((start, end)) or seen(start, end)  # type: ignore[method-assign]

    look_back(records, DAYS, None)

    (start, end), = asked
    assert end - start == timedelta(days=len(DAYS) + NAIVE_DAYS)


def test_nothing_served_is_an_empty_diary(records: MemoryRecords) -> None:
    assert look_back(records, [date(2011, 8, 1)], forecaster()).hours.empty
    assert look_back(records, [], None).hours.empty


def test_the_newest_days_end_with_the_truth(records: MemoryRecords) -> None:
    assert newest_days(records, datetime(2011, 9, 20), 2) == [date(2011, 9, 11), date(2011, 9, 12)]
    assert newest_days(records, datetime(2011, 9, 11, 6), 1) == [date(2011, 9, 11)]
    assert newest_days(MemoryRecords(), datetime(2011, 9, 11), 5) == []


def decision(day: int, hour: int, state: str, action: str = "none", **more) -> DecisionRecord:
    at = datetime(2012, 1, day, hour)
    return DecisionRecord(at.isoformat(), at, state, action, f"because {state}", "1", **more)


def test_a_day_is_named_after_its_last_look() -> None:
    found = chapters([date(2012, 1, 1), date(2012, 1, 2)], [decision(1, 9, "bad_data"), decision(1, 6, "healthy")])

    assert found == {date(2012, 1, 1): "bad data", date(2012, 1, 2): ""}


def test_days_before_the_beginning_are_left_out() -> None:
    silent, served = Day(date(2012, 1, 1), ""), Day(date(2012, 1, 2), "", wape=0.2)
    judged = Day(date(2012, 1, 3), "healthy")

    assert without_silence([silent, served, silent]) == [served, silent]
    assert without_silence([served, silent, judged, silent]) == [judged, silent]
    assert without_silence([silent]) == []


def version(number: str, aliases: tuple[str, ...] = (), **tags: str) -> ModelVersion:
    return ModelVersion(number, "run", tags, aliases, datetime(2012, 1, 1))


def test_the_first_version_is_the_oldest_that_served() -> None:
    known = [version("10", ("champion",)), version("9", rollout="rolled_back"), version("2", rejected="true")]

    assert first_version(known) == "9"
    assert first_version([version("2")]) is None


def test_versions_with_a_part_are_shown_however_old_they_are() -> None:
    known = [version(str(number)) for number in range(30, 3, -1)]
    known += [version("3", ("champion",)), version("2"), version("1", ("previous",))]

    shown = [item.version for item in worth_a_card(known)]
    assert shown == ["30", "29", "28", "27", "26", "25", "24", "3", "1"]
    assert len(worth_a_card(known[:4])) == 4


def test_decisions_become_cards_oldest_first() -> None:
    evidence = {"findings": [
        {"name": "wape", "value": 0.4, "limit": 0.3, "exceeded": True},
        {"name": "unit", "value": 1.0, "limit": 0.0, "exceeded": True},
    ]}
    cards = decision_cards([
        decision(2, 6, "retraining", "retrain", evidence=evidence, report_url="file:///r"), decision(1, 6, "watch"),
    ])

    assert [card.title for card in cards] == ["Watching closely", "A retrain was requested"]
    assert [(row.value, row.limit, row.fired) for row in cards[1].evidence] == [
        ("40.0%", "30.0%", True), ("broken", "", True),
    ]
    assert cards[1].links == (("report", "file:///r"),)


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [("promoted", "rollout", "became champion"), ("refused", "refused", "gate refused"),
     ("rolled_back", "refused", "failed its roll-out"), ("failed", "refused", "Run a failed")],
)
def test_runs_end_as_cards(result, kind, words) -> None:
    store, ended = MemoryStore(), datetime(2012, 1, 2, 7)
    write_outcome(store, Outcome("a", result, "seen", ended, "2", "1", 0.31, 0.24))

    (card,) = run_cards(store, [RunIntent("a", "drift", datetime(2012, 1, 2, 6), "id")], lambda name: f"m/{name}")

    assert (card.at, card.kind, card.reason) == (ended, kind, "seen")
    assert words in card.title
    assert [row.value for row in card.evidence] == ["31.0%", "24.0%", "a"]
    assert card.links == (("model card", "m/2"),)


def test_what_only_the_registry_knows_becomes_cards() -> None:
    def made(number: str, day: int, **tags: str) -> ModelVersion:
        at = f"2012-01-0{day}T04:00:00"
        return version(number, trained_at=at, run_key=f"run-{number}", reason="schedule", **tags)

    since = datetime(2012, 1, 2)
    cards = version_cards([
        made("1", 1, gate="accepted"),
        made("2", 2, gate="accepted", gate_reason="better", rollout="rolled_back", rollout_reason="it was odd",
             rolled_back_at="2012-01-05T09:00:00"),
        made("3", 3, gate="refused", gate_reason="worse", rejected="true"),
        made("4", 4, gate="accepted", rejected="true"),
        made("5", 5, gate="accepted"), made("6", 6),
    ], since, {"run-5"}, lambda name: f"m/{name}")

    assert [(card.at.day, card.kind, card.title, card.reason) for card in cards] == [
        (2, "rollout", "Version 2 became champion", "better"),
        (5, "alert", "Version 2 was rolled back", "it was odd"),
        (3, "refused", "The gate refused version 3", "worse"),
        (4, "refused", "Version 4 failed its roll-out", ""),
    ]
    assert cards[0].links == (("model card", "m/2"),)
    assert [row.value for row in cards[0].evidence] == ["run-2", "The schedule asked for it."]


def test_a_run_that_has_not_ended_says_so() -> None:
    promised, started = RunIntent("a", "r", datetime(2012, 1, 2)), RunIntent("b", "r", datetime(2012, 1, 1), "id")

    cards = run_cards(MemoryStore(), [promised, started])

    assert ["is training" in card.title for card in cards] == [True, False]
    assert [card.kind for card in merge_cards(cards, [])] == ["message", "message"]


@pytest.mark.parametrize(("outcome", "words"), [
    ("abandoned", "Run a never started"), ("failed", "Run a failed"), ("unheard of", "Run a failed"),
])
def test_a_run_that_was_closed_without_an_outcome_is_not_open(outcome: str, words: str) -> None:
    ended = datetime(2012, 1, 3)

    (card,) = run_cards(MemoryStore(), [RunIntent("a", "drift", datetime(2012, 1, 2), None, ended, outcome)])

    assert (card.at, card.kind, card.title) == (ended, "refused", words)
    assert "drift" in card.reason
    assert [row.value for row in card.evidence] == ["a"]


def test_every_end_of_a_run_has_a_card() -> None:
    assert set(ENDINGS) == set(get_args(RunState)) - {"promised", "running"}


def test_nan_never_reaches_a_day(records: MemoryRecords) -> None:
    diary = look_back(records, DAYS, None)
    (day,) = diary.days({DAYS[0]: "calm"})

    assert day.wape is not None
    assert day.wape_frozen is None
    assert not np.isnan(diary.wape("served"))
