"""What the direct way does with questions that waited too long, and with a failure that hits all of them."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bikeshare.errors import Unavailable
from services.predictor.api import Api
from services.predictor.direct import AT_ONCE, Direct, Question
from services.predictor.engine import Asked, Engine
from services.predictor.metrics import Metrics
from services.predictor.request import WAIT_SECONDS
from tests.fakes.clock import FixedClock

HOUR = {"timestamp": "2011-06-20T09:00", "temp_c": 24.0, "feels_like_c": 25.0, "humidity_pct": 55.0,
        "windspeed_kmh": 12.0, "weather": "clear"}


class Broken(Exception):
    """Nobody foresaw it."""


class FailingEngine(Engine):
    """Ready, and every computation fails in the way it was told."""

    def __init__(self, metrics: Metrics, error: Exception) -> None:
        super().__init__(FixedClock(datetime(2011, 6, 20, 9)), metrics)
        self._error = error
        self.calls: list[int] = []

    @property
    def ready(self) -> bool:
        return True

    def answer_hours(self, asked: Sequence[Asked], now: datetime) -> list[bytes]:
        self.calls.append(len(asked))
        raise self._error


def ask_all(api: Api, ages: Sequence[float]) -> list[tuple[int, dict[str, Any], Any]]:
    """Answers to one question per age (seconds it has waited)."""
    found: list[tuple[int, dict[str, Any], Any]] = []

    def answer(question: Question, status: int, body: bytes) -> None:
        found.append((status, json.loads(body), question.extra))

    async def run() -> None:
        direct = Direct(lambda: api)
        for age in ages:
            question = Question({b"content-type": b"application/json"}, answer)
            question.body = json.dumps({"instances": [HOUR]}).encode()
            direct.ask(question)
            question.asked_at = time.perf_counter() - age
        while len(found) < len(ages):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 30))
    return found


def test_a_question_that_waited_too_long_is_told_to_come_back() -> None:
    late, fresh = ask_all(Api(), [2 * WAIT_SECONDS, 0.0])

    assert (late[0], late[1]["error"]["code"], late[2]) == (503, "overloaded", [(b"retry-after", b"1")])
    assert (fresh[0], fresh[1]["error"]["code"]) == (503, "not_ready")


@pytest.mark.parametrize(("error", "status", "code"), [
    (Broken("42"), 500, "internal_error"), (Unavailable("the clock file is gone"), 503, "unavailable"),
])
def test_a_failure_is_told_to_everybody_and_hides_what_nobody_foresaw(
    error: Exception, status: int, code: str
) -> None:
    metrics = Metrics(CollectorRegistry())
    engine = FailingEngine(metrics, error)
    api = Api()
    api.bind(engine)

    answers = ask_all(api, [0.0] * (AT_ONCE + 1))

    assert engine.calls == [AT_ONCE, 1]
    assert {(seen, body["error"]["code"]) for seen, body, _ in answers} == {(status, code)}
    assert all("42" not in body["error"]["message"] for _, body, _ in answers)
    assert metrics.errors._value.get() == AT_ONCE + 1
