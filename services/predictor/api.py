"""The HTTP side of the predictor: one ASGI application, a dictionary of routes, no framework on the hot path.

Every mistake of a client ends in a 4xx with `{"error": {code, field, message, allowed}, "request_id"}`.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from bikeshare.core.single_hour import SingleHour
from bikeshare.errors import BikeshareError
from services.predictor import metrics as names
from services.predictor.engine import Engine
from services.predictor.openapi import document
from services.predictor.refusals import InvalidRequest
from services.predictor.schema import (
    MAX_BODY_BYTES,
    Columns,
    Window,
    parse_forecast,
    parse_question,
)

logger = logging.getLogger("bikeshare.predictor")

BODY_SECONDS = 10.0
"""A client that needs longer to send one megabyte is told so (408) and cannot hold a connection."""

WAIT_SECONDS = 0.25
"""A request that waited longer for the processor is refused (503): everybody behind it waits longer still."""

LARGE_AT_ONCE = 8
"""Large bodies that may be computed or wait for it; more are refused (503)."""

DISCARD_BYTES = 8 * MAX_BODY_BYTES
"""An oversized body is read and dropped up to here, because most clients read no answer before they have sent
everything; beyond it the connection is closed."""

THREAD_BYTES = 32 * 1024
"""Larger bodies (about 200 rows) are computed beside the event loop, so that they do not delay single-row requests."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Parser = Callable[[bytes, datetime, Window], SingleHour | Columns]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_TRUE = (b"true", b"1")
_JSON = b"application/json"
_LOOPBACK = ("127.0.0.1", "::1")
_PAGE = Path(__file__).with_name("index.html")


class _Gone(Exception):
    """The client hung up before its request was complete."""


class Api:
    """The ASGI application; answers 503 until an engine is bound."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._api_key = b""
        self._static: dict[str, tuple[bytes, bytes]] = {}
        self._pulse = Pulse()
        self._large = 0
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[None]]]] = {
            "/predict": ("POST", self._predict), "/forecast": ("POST", self._forecast),
            "/model": ("GET", self._model), "/metrics": ("GET", self._metrics),
            "/openapi.json": ("GET", self._openapi), "/": ("GET", self._page),
            "/-/state": ("GET", self._state), "/-/refresh": ("POST", self._refresh),
        }

    def bind(self, engine: Engine, api_key: str = "") -> None:
        """Start answering from this engine."""
        self._engine, self._api_key = engine, api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive, send)
        started = time.perf_counter()
        path = scope["path"]
        route = self._routes.get(path)
        label = path if route is not None else "other"
        try:
            if route is None:
                raise InvalidRequest(404, "not_found", f"{path[:200]!r} is not a route; see /openapi.json")
            method, handler = route
            if scope["method"] != method:
                request.extra = [(b"allow", method.encode())]
                raise InvalidRequest(405, "method_not_allowed", f"{path} answers {method} only", allowed=[method])
            await handler(request)
        except InvalidRequest as problem:
            await request.answer(problem.status, to_json(problem.body(request.id)))
        except _Gone:
            return
        except Exception as error:
            logger.exception("request %s failed", request.id)
            if self._engine is not None:
                self._engine.metrics.errors.inc()
            away = isinstance(error, BikeshareError)
            failure = InvalidRequest(
                503 if away else 500, "unavailable" if away else "internal_error",
                str(error) if away else "the service failed; the log has this request id",
            )
            if not request.answered:
                await request.answer(failure.status, to_json(failure.body(request.id)))
        finally:
            if self._engine is not None:
                self._engine.metrics.observe(label, request.status, time.perf_counter() - started)

    async def _predict(self, request: "Request") -> None:
        await self._serve(request, parse_question)

    async def _forecast(self, request: "Request") -> None:
        await self._serve(request, parse_forecast)

    async def _serve(self, request: "Request", parse: Parser) -> None:
        self._authorise(request)
        if request.header(b"content-type").split(b";")[0].strip().lower() != _JSON:
            raise InvalidRequest(
                415, "unsupported_media_type", "send JSON", field="Content-Type", allowed=["application/json"]
            )
        if request.header(b"content-encoding") not in (b"", b"identity"):
            raise InvalidRequest(
                415, "unsupported_encoding", "send the body uncompressed", field="Content-Encoding",
                allowed=["identity"],
            )
        engine = self._ready(request)
        if self._pulse.overloaded():
            raise request.overloaded()
        body = await request.body()
        now = engine.now()
        what_if = request.header(b"x-what-if").lower() in _TRUE

        if len(body) < THREAD_BYTES:
            payload = engine.answer(parse(body, now, engine.window), request.id, now, what_if=what_if)
        else:

            def compute() -> bytes:
                return engine.answer(parse(body, now, engine.window), request.id, now, what_if=what_if)

            if self._large >= LARGE_AT_ONCE:
                raise request.overloaded()
            self._large += 1
            try:
                payload = await asyncio.get_running_loop().run_in_executor(None, compute)
            finally:
                self._large -= 1
        await request.answer(200, payload)

    async def _model(self, request: "Request") -> None:
        self._authorise(request)
        await request.answer(200, to_json(self._ready(request).describe(), inf_nan_mode="null"))

    async def _metrics(self, request: "Request") -> None:
        await request.answer(200, self._bound(request).scrape(), names.CONTENT_TYPE.encode())

    async def _openapi(self, request: "Request") -> None:
        if "openapi" not in self._static:
            self._static["openapi"] = (to_json(document()), _JSON)
        await request.answer(200, *self._static["openapi"])

    async def _page(self, request: "Request") -> None:
        if "page" not in self._static:
            self._static["page"] = (_PAGE.read_bytes(), b"text/html; charset=utf-8")
        await request.answer(200, *self._static["page"])

    async def _state(self, request: "Request") -> None:
        await request.answer(200, to_json(self._bound(request).state(), inf_nan_mode="null"))

    async def _refresh(self, request: "Request") -> None:
        client = request.scope.get("client")
        if client is None or client[0] not in _LOOPBACK:
            if not self._api_key:
                raise InvalidRequest(403, "forbidden", "only this machine may ask for a refresh")
            self._authorise(request)
        engine = self._ready(request)
        await asyncio.get_running_loop().run_in_executor(None, engine.refresh)
        await request.answer(200, to_json(engine.state(), inf_nan_mode="null"))

    def _authorise(self, request: "Request") -> None:
        if self._api_key and not hmac.compare_digest(request.header(b"x-api-key"), self._api_key):
            raise InvalidRequest(401, "unauthorized", "the API key is missing or wrong", field="X-API-Key")

    def _bound(self, request: "Request") -> Engine:
        if self._engine is None:
            request.extra = [(b"retry-after", b"1")]
            raise InvalidRequest(503, "not_ready", "the service is starting; try again")
        return self._engine

    def _ready(self, request: "Request") -> Engine:
        engine = self._bound(request)
        if not engine.ready:
            request.extra = [(b"retry-after", b"1")]
            raise InvalidRequest(503, "not_ready", engine.problem or "the model is being loaded; try again")
        return engine


class Pulse:
    """How long the event loop has been working off what was ready at once: the time a new request has to wait.

    A timer marks the beginning of a pass over all ready connections; requests of one pass arrived before it. One
    long pass is a stall (a large body, a busy machine) and everybody waits it out; the second in a row is a queue.
    """

    PERIOD_SECONDS = 0.02

    def __init__(self) -> None:
        self._due = 0.0
        self._was_late = False

    def overloaded(self) -> bool:
        """Whether this pass and the one before took too long; starts the timer at the first call."""
        if not self._due:
            self._mark()
        return self._was_late and self._late()

    def _late(self) -> bool:
        return time.monotonic() - self._due > WAIT_SECONDS

    def _mark(self) -> None:
        self._was_late = self._due > 0 and self._late()
        self._due = time.monotonic() + self.PERIOD_SECONDS
        asyncio.get_running_loop().call_later(self.PERIOD_SECONDS, self._mark)


class Request:
    """One HTTP exchange."""

    __slots__ = ("_headers", "_receive", "_send", "answered", "extra", "id", "scope", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.extra: Iterable[tuple[bytes, bytes]] = ()
        self.answered = False
        self.status = 499
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        given = self.header(b"x-request-id").decode("latin-1")
        self.id = given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

    def header(self, name: bytes) -> bytes:
        """The first value of a header, empty when absent."""
        return self._headers.get(name, b"")

    async def body(self) -> bytes:
        """The whole body; raises InvalidRequest when it is too large or too slow."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    size += len(part)
                    more = message.get("more_body", False)
                    if size > MAX_BODY_BYTES:
                        parts.clear()
                        if not more or size > DISCARD_BYTES:
                            raise self._too_large()
                    else:
                        parts.append(part)
                        if not more:
                            return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            self.extra = [(b"connection", b"close")]
            raise InvalidRequest(408, "body_timeout", f"no complete body after {BODY_SECONDS:g} s") from None

    async def answer(self, status: int, body: bytes, content_type: bytes = _JSON) -> None:
        """Send status, headers and body."""
        self.status, self.answered = status, True
        await self._send({
            "type": "http.response.start", "status": status,
            "headers": [
                (b"content-type", content_type), (b"content-length", b"%d" % len(body)),
                (b"x-request-id", self.id.encode()), *self.extra,
            ],
        })
        await self._send({"type": "http.response.body", "body": body})

    def overloaded(self) -> InvalidRequest:
        """A refusal that costs little and says when to come back."""
        self.extra = [(b"retry-after", b"1")]
        return InvalidRequest(503, "overloaded", "more requests than this process can answer; try again later")

    def _too_large(self) -> InvalidRequest:
        self.extra = [(b"connection", b"close")]
        return InvalidRequest(
            413, "body_too_large", f"more than {MAX_BODY_BYTES} bytes; split the request",
            allowed={"maximum": MAX_BODY_BYTES},
        )
