"""The first step of a training: what stops it, and exactly which rows it freezes."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from bikeshare.core.scenarios import fahrenheit
from bikeshare.errors import BatchRejected, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import Ports
from bikeshare.steps.ingest import process_new
from bikeshare.steps.landing import land
from bikeshare.steps.prepare import WINDOW, prepare
from bikeshare.steps.quarantine import dismiss, quarantined_days
from tests.fakes.clock import FixedClock
from tests.fakes.notifier import MemoryNotifier
from tests.fakes.records import MemoryRecords
from tests.fakes.registry import MemoryRegistry
from tests.fakes.reporter import MemoryReporter
from tests.fakes.rollouts import MemoryRollouts
from tests.fakes.runs import MemoryRuns
from tests.fakes.store import MemoryStore
from tests.fakes.telemetry import MemoryTelemetry

NOW = datetime(2012, 6, 1, 0, 30)
WALL = datetime(2026, 1, 1)


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    registry = MemoryRegistry(tmp_path)
    (tmp_path / "artifact").mkdir()
    run = registry.log_run(run_name="first", params={}, metrics={}, tags={})
    registry.set_alias("champion", registry.register(run, tmp_path / "artifact", {}))
    return Ports(
        clock=FixedClock(NOW), store=MemoryStore(), records=MemoryRecords(), registry=registry,
        runs=MemoryRuns(), notifier=MemoryNotifier(), rollouts=MemoryRollouts(), reporter=MemoryReporter(),
        telemetry=MemoryTelemetry(),
    )


@pytest.fixture(scope="module")
def spring(history: pd.DataFrame) -> pd.DataFrame:
    rows = history[(history["timestamp"] >= "2012-05-01") & (history["timestamp"] < "2012-06-01")]
    return rows.reset_index(drop=True)


def broken_june(spring: pd.DataFrame) -> pd.DataFrame:
    """The first week of June (as the last one of May was), its first day in Fahrenheit."""
    late = spring[spring["timestamp"] >= "2012-05-25"]
    june = late.assign(timestamp=late["timestamp"] + pd.Timedelta(days=7))
    return fahrenheit(june, datetime(2012, 6, 1), datetime(2012, 6, 2))


def test_only_hours_whose_label_has_landed_are_used(ports: Ports, spring: pd.DataFrame) -> None:
    land(ports.store, spring)
    made = prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    assert made.window == (datetime(2012, 5, 1), datetime(2012, 5, 31, 1))
    assert len(made.observations) == (spring["timestamp"] <= "2012-05-31T00:00:00").sum()
    assert len(made.accepted_days) == 31


def test_a_window_narrows_the_rows_and_changes_the_hash(ports: Ports, spring: pd.DataFrame) -> None:
    land(ports.store, spring)
    whole = prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    part = prepare(
        ports, run_key="k", now=NOW, wall_now=WALL, window_start=datetime(2012, 5, 10), window_end=datetime(2012, 5, 20)
    )
    assert part.window == (datetime(2012, 5, 10), datetime(2012, 5, 20))
    assert part.data_hash != whole.data_hash
    again = prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    assert again.data_hash == whole.data_hash
    future = prepare(ports, run_key="k", now=NOW, wall_now=WALL, window_end=datetime(2020, 1, 1))
    assert future.data_hash == whole.data_hash


def test_the_newest_two_years_and_some_weeks_are_trained_on_unless_a_run_says_otherwise(
    ports: Ports, spring: pd.DataFrame
) -> None:
    for years in (0, 1, 2, 3):
        older = spring.assign(timestamp=spring["timestamp"] - pd.Timedelta(days=364 * years))
        ports.records.upsert_observations(older)
    made = prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    everything = prepare(ports, run_key="k", now=NOW, wall_now=WALL, window_start=datetime(2000, 1, 1))
    assert made.window == (datetime(2010, 5, 4), datetime(2012, 5, 31, 1))
    assert everything.window[0] == datetime(2009, 5, 5)


def test_people_are_told_the_length_of_that_window(root: Path) -> None:
    words = f"{WINDOW.days} days"
    assert words in (root / "pipelines" / "README.md").read_text()
    assert words in (root / "bikeshare" / "commands" / "pipeline.py").read_text()


def test_a_recent_refused_day_stops_the_training_an_old_one_is_left_out(ports: Ports, spring: pd.DataFrame) -> None:
    old = fahrenheit(spring, datetime(2012, 5, 12), datetime(2012, 5, 13))
    land(ports.store, old)
    said: list[str] = []
    made = prepare(ports, run_key="k", now=NOW, wall_now=WALL, progress=said.append)
    assert "2012-05-12" not in set(made.observations["timestamp"].dt.date.astype(str))
    assert any("without 1 days" in line for line in said)

    land(ports.store, broken_june(spring))
    with pytest.raises(BatchRejected, match="2012-06-01 refused"):
        prepare(ports, run_key="k", now=datetime(2012, 6, 9), wall_now=WALL)
    assert isinstance(ports.notifier, MemoryNotifier)
    assert [alert.kind for alert in ports.notifier.sent] == ["data_rejected", "data_rejected"]


def test_a_day_that_the_monitor_refused_first_stops_the_training_as_well(ports: Ports, spring: pd.DataFrame) -> None:
    land(ports.store, spring)
    land(ports.store, broken_june(spring))
    looked = datetime(2012, 6, 9, 6)
    assert process_new(ports.store, ports.records, ports.notifier, looked).quarantined_days == (date(2012, 6, 1),)

    with pytest.raises(BatchRejected, match=r"Fahrenheit.*before 2012-06-10 06:00.*quarantine dismiss"):
        prepare(ports, run_key="k", now=looked + timedelta(hours=3), wall_now=WALL)
    with pytest.raises(BatchRejected):  # starting again changes nothing
        prepare(ports, run_key="k", now=looked + timedelta(hours=23), wall_now=WALL)
    with pytest.raises(BatchRejected):
        prepare(ports, run_key="k", now=looked + timedelta(hours=24), wall_now=WALL, hold=timedelta(hours=48))
    made = prepare(ports, run_key="k", now=looked + timedelta(hours=24), wall_now=WALL)
    assert "2012-06-01" not in set(made.observations["timestamp"].dt.date.astype(str))


def test_the_first_training_is_not_stopped_by_an_odd_day(ports: Ports, spring: pd.DataFrame) -> None:
    ports.registry.delete_alias("champion")
    land(ports.store, spring)
    land(ports.store, broken_june(spring))

    made = prepare(ports, run_key="k", now=datetime(2012, 6, 9), wall_now=WALL)
    assert "2012-06-01" not in set(made.observations["timestamp"].dt.date.astype(str))
    assert isinstance(ports.notifier, MemoryNotifier)
    assert [alert.kind for alert in ports.notifier.sent] == ["data_rejected"]


def test_a_dismissed_day_holds_nothing_back_and_stays_in_quarantine(ports: Ports, spring: pd.DataFrame) -> None:
    land(ports.store, spring)
    land(ports.store, broken_june(spring))
    now = datetime(2012, 6, 9, 6)
    process_new(ports.store, ports.records, ports.notifier, now)

    with pytest.raises(NotFound, match="2012-06-02 is not in quarantine"):
        dismiss(ports.store, date(2012, 6, 2), now)
    dismiss(ports.store, date(2012, 6, 1), now)
    made = prepare(ports, run_key="k", now=now, wall_now=WALL)
    assert "2012-06-01" not in set(made.observations["timestamp"].dt.date.astype(str))
    assert quarantined_days(ports.store) == {date(2012, 6, 1)}

    land(ports.store, broken_june(spring))  # delivered again, as broken as before: news
    with pytest.raises(BatchRejected):
        prepare(ports, run_key="k", now=now, wall_now=WALL)


def test_nothing_landed_is_an_error_that_says_what_to_do(ports: Ports) -> None:
    with pytest.raises(DataError, match="bikeshare data land"):
        prepare(ports, run_key="k", now=NOW, wall_now=WALL)


def test_the_lease_is_taken_before_anything_is_judged(ports: Ports, spring: pd.DataFrame) -> None:
    land(ports.store, spring)
    ports.records.acquire_lock("training", "other", WALL, 60)
    with pytest.raises(Conflict):
        prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    assert ports.records.latest_observation() is None


def test_without_a_predictor_nothing_is_trained(ports: Ports, spring: pd.DataFrame) -> None:
    class Away(MemoryRollouts):
        def serving_version(self) -> str | None:
            raise Unavailable("no predictor runs on this machine: start it with `bikeshare serve`")

    ports.rollouts = Away()
    land(ports.store, spring)
    with pytest.raises(Unavailable, match="bikeshare serve"):
        prepare(ports, run_key="k", now=NOW, wall_now=WALL)
    assert ports.records.acquire_lock("training", "next", WALL, 60)
