"""Every drill states what must happen; here each must hold."""

import socket

import pandas as pd
import pytest

from bikeshare.simulation.drills import DRILLS, Bench, Report, _kept
from tests.fakes.records import MemoryRecords

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    made = Bench(tmp_path_factory.mktemp("drills") / "home", ports[0], ports[1], print)
    yield made
    made.close()


@pytest.mark.parametrize("name", list(DRILLS))
def test_drill(name: str, bench: Bench) -> None:
    report = Report()
    DRILLS[name].run(report, bench)

    assert report.passed, [check for check in report.checks if not check.passed]


def test_hours_of_a_quarantined_day_that_reached_the_records_are_seen(history: pd.DataFrame) -> None:
    records = MemoryRecords()
    records.upsert_observations(history[history["timestamp"].between("2012-01-20 22:00", "2012-01-21 03:00")])

    assert _kept(records, ["2012-01-19", "2012-01-22"]) == {}
    assert _kept(records, ["2012-01-19", "2012-01-20", "2012-01-21"]) == {"2012-01-20": 2, "2012-01-21": 4}


def test_a_drill_that_checked_nothing_has_not_passed() -> None:
    assert not Report().passed


def test_one_broken_expectation_fails_the_drill() -> None:
    report = Report()
    report.expect("a", True, "")
    report.expect("b", False, "seen")

    assert not report.passed
