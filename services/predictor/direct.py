"""Small questions on the direct way: from the HTTP parser to the forests, all that wait in one go.

An ASGI exchange is a task, a scope, an event and three messages, which together cost more than an answer. A short
`POST /predict` whose body fits the read buffer needs none of them, and requests that are ready in the same pass of
the event loop are computed by one call of the forests. What is asked, refused, logged and counted is decided by the
same functions as over ASGI (`api`, `schema`, `engine`); a test compares the answers of both ways.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

from pydantic_core import to_json

from bikeshare.core.single_hour import SingleHour
from services.predictor.api import Api, is_what_if
from services.predictor.engine import Asked
from services.predictor.request import WAIT_SECONDS, Exchange
from services.predictor.schema import parse_question

ROUTE = "/predict"

SMALL_BYTES = 8 * 1024
"""Longer bodies (about 50 rows) take the way over ASGI."""

AT_ONCE = 32
"""Requests per call of the forests: with more, the first waits longer than the forests save."""


class Question(Exchange):
    """One request on the direct way; `answer` writes to its connection."""

    __slots__ = ("answer", "asked_at", "body")

    def __init__(self, headers: dict[bytes, bytes], answer: Callable[["Question", int, bytes], None]) -> None:
        super().__init__(headers)
        self.answer = answer
        self.body = b""
        self.asked_at = time.perf_counter()


class Direct:
    """Collects what a pass of the event loop reads, and answers it in the order of asking."""

    def __init__(self, api: Callable[[], Api]) -> None:
        self._get_api = api
        self._waiting: deque[Question] = deque()
        self._scheduled = False

    def ask(self, question: Question) -> None:
        """Take a complete question; it is answered when the event loop has read what else is ready."""
        question.asked_at = time.perf_counter()
        self._waiting.append(question)
        if not self._scheduled:
            self._scheduled = True
            loop = asyncio.get_running_loop()
            # One turn later: what arrives meanwhile shares the call of the forests, for the price of an empty poll.
            loop.call_soon(loop.call_soon, self._pass)

    def answer_waiting(self) -> None:
        """Answer everything now."""
        while self._waiting:
            self._answer_some()

    def _pass(self) -> None:
        try:
            self._answer_some()
        finally:
            self._scheduled = bool(self._waiting)
            if self._scheduled:  # what is answered is sent, and what is ready is read, before the next ones
                asyncio.get_running_loop().call_soon(self._pass)

    def _answer_some(self) -> None:
        self._answer([self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))])

    def _answer(self, questions: Sequence[Question]) -> None:
        api = self._get_api()
        together: list[Question] = []
        asked: list[Asked] = []
        now: datetime | None = None
        latest = time.perf_counter() - WAIT_SECONDS
        for question in questions:
            try:
                if question.asked_at < latest:
                    raise question.overloaded()
                engine = api.admit(question)
                now = now or engine.now()
                parsed = parse_question(question.body, now, engine.window)
                what_if = is_what_if(question)
                if isinstance(parsed, SingleHour):
                    together.append(question)
                    asked.append(Asked(parsed, question.id, what_if))
                else:
                    self._end(question, 200, engine.answer(parsed, question.id, now, what_if=what_if))
            except Exception as error:
                self.refuse(question, error)
        if now is None or not asked:
            return
        try:
            bodies = engine.answer_hours(asked, now)
        except Exception as error:
            for question in together:
                self.refuse(question, error)
            return
        for question, body in zip(together, bodies, strict=True):
            question.answer(question, 200, body)
        ended = time.perf_counter()
        engine.metrics.observe_all(ROUTE, 200, [ended - question.asked_at for question in together])

    def refuse(self, question: Question, error: Exception) -> None:
        """Tell the client what was wrong, and count it."""
        refusal = self._get_api().refusal(error, question)
        self._end(question, refusal.status, to_json(refusal.body(question.id)))

    def _end(self, question: Question, status: int, body: bytes) -> None:
        question.answer(question, status, body)
        self._get_api().observe(ROUTE, status, time.perf_counter() - question.asked_at)
