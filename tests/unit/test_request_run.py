"""One key is one run, whoever asks and whatever is killed in between."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from bikeshare.errors import Unavailable
from bikeshare.steps.request_run import request_run
from tests.fakes.records import MemoryRecords
from tests.fakes.runs import MemoryRuns

NOW = datetime(2012, 5, 14, 6)


@pytest.fixture
def ports() -> Any:
    return SimpleNamespace(records=MemoryRecords(), runs=MemoryRuns())


def ask(ports: Any, key: str = "manual-1", **arguments: str) -> Any:
    return request_run(ports, run_key=key, reason="why", arguments=arguments, now=NOW)


def test_the_run_is_promised_started_and_noted(ports: Any) -> None:
    run = ask(ports, trees="5")

    assert ports.runs.submitted == [
        {"trees": "5", "now": "2012-05-14T06:00:00", "run_key": "manual-1", "reason": "why"}
    ]
    intent = ports.records.intents()[0]
    assert (intent.run_key, intent.reason, intent.created_at, intent.run_id) == ("manual-1", "why", NOW, run.run_id)


def test_asking_again_returns_the_same_run_another_key_another(ports: Any) -> None:
    first, again, other = ask(ports), ask(ports), ask(ports, "manual-2")

    assert first == again
    assert other.run_id != first.run_id
    assert len(ports.runs.submitted) == 2


def test_a_failed_call_leaves_the_promise_open(ports: Any) -> None:
    ports.runs.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        ask(ports)
    assert ports.records.intents()[0].run_id is None

    ports.runs.failure = None
    ask(ports)
    assert ports.records.intents()[0].run_id == "id-1"
    assert len(ports.records.intents()) == 1
