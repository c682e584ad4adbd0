"""The HTTP side of the predictor: one ASGI application, a dictionary of routes, no framework on the hot path.

Every mistake of a client ends in a 4xx with `{"error": {code, field, message, allowed}, "request_id"}`.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

from pydantic_core import to_json

from bikeshare.core.single_hour import SingleHour
from bikeshare.errors import BikeshareError
from services.predictor import metrics as names
from services.predictor.engine import Engine
from services.predictor.openapi import document
from services.predictor.refusals import InvalidRequest
from services.predictor.request import JSON, Exchange, Gone, Pulse, Receive, Request, Scope, Send
from services.predictor.schema import (
    Columns,
    Window,
    parse_forecast,
    parse_question,
)

logger = logging.getLogger("bikeshare.predictor")

LARGE_AT_ONCE = 8
"""Large bodies that may be computed or wait for it; more are refused (503)."""

THREAD_BYTES = 32 * 1024
"""Larger bodies (about 200 rows) are computed beside the event loop, so that they do not delay single-row requests."""

Parser = Callable[[bytes, datetime, Window], SingleHour | Columns]

_TRUE = (b"true", b"1")
_LOOPBACK = ("127.0.0.1", "::1")
_PAGE = Path(__file__).with_name("index.html")


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
        except Gone:
            return
        except Exception as error:
            refusal = self.refusal(error, request)
            if not request.answered:
                await request.answer(refusal.status, to_json(refusal.body(request.id)))
        finally:
            self.observe(label, request.status, time.perf_counter() - started)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one request that ended."""
        if self._engine is not None:
            self._engine.metrics.observe(route, status, seconds)

    def refusal(self, error: Exception, exchange: Exchange) -> InvalidRequest:
        """What the client is told about this failure; one that is not the client's is logged and counted."""
        if isinstance(error, InvalidRequest):
            return error
        logger.error("request %s failed", exchange.id, exc_info=error)
        if self._engine is not None:
            self._engine.metrics.errors.inc()
        if isinstance(error, BikeshareError):
            return InvalidRequest(503, "unavailable", str(error))
        return InvalidRequest(500, "internal_error", "the service failed; the log has this request id")

    def admit(self, exchange: Exchange) -> Engine:
        """The engine, for a question that may be asked now; raises InvalidRequest."""
        self._authorise(exchange)
        content_type = exchange.header(b"content-type")
        if content_type != JSON and content_type.split(b";")[0].strip().lower() != JSON:
            raise InvalidRequest(
                415, "unsupported_media_type", "send JSON", field="Content-Type", allowed=["application/json"]
            )
        if exchange.header(b"content-encoding") not in (b"", b"identity"):
            raise InvalidRequest(
                415, "unsupported_encoding", "send the body uncompressed", field="Content-Encoding",
                allowed=["identity"],
            )
        return self._ready(exchange)

    async def _predict(self, request: Request) -> None:
        await self._serve(request, parse_question)

    async def _forecast(self, request: Request) -> None:
        await self._serve(request, parse_forecast)

    async def _serve(self, request: Request, parse: Parser) -> None:
        engine = self.admit(request)
        if self._pulse.overloaded():
            raise request.overloaded()
        body = await request.body()
        now = engine.now()
        what_if = is_what_if(request)

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

    async def _model(self, request: Request) -> None:
        self._authorise(request)
        await request.answer(200, to_json(self._ready(request).describe(), inf_nan_mode="null"))

    async def _metrics(self, request: Request) -> None:
        await request.answer(200, self._bound(request).scrape(), names.CONTENT_TYPE.encode())

    async def _openapi(self, request: Request) -> None:
        if "openapi" not in self._static:
            self._static["openapi"] = (to_json(document()), JSON)
        await request.answer(200, *self._static["openapi"])

    async def _page(self, request: Request) -> None:
        if "page" not in self._static:
            self._static["page"] = (_PAGE.read_bytes(), b"text/html; charset=utf-8")
        await request.answer(200, *self._static["page"])

    async def _state(self, request: Request) -> None:
        await request.answer(200, to_json(self._bound(request).state(), inf_nan_mode="null"))

    async def _refresh(self, request: Request) -> None:
        client = request.scope.get("client")
        if client is None or client[0] not in _LOOPBACK:
            if not self._api_key:
                raise InvalidRequest(403, "forbidden", "only this machine may ask for a refresh")
            self._authorise(request)
        engine = self._ready(request)
        await asyncio.get_running_loop().run_in_executor(None, engine.refresh)
        await request.answer(200, to_json(engine.state(), inf_nan_mode="null"))

    def _authorise(self, exchange: Exchange) -> None:
        if self._api_key and not hmac.compare_digest(exchange.header(b"x-api-key"), self._api_key):
            raise InvalidRequest(401, "unauthorized", "the API key is missing or wrong", field="X-API-Key")

    def _bound(self, exchange: Exchange) -> Engine:
        if self._engine is None:
            exchange.extra = [(b"retry-after", b"1")]
            raise InvalidRequest(503, "not_ready", "the service is starting; try again")
        return self._engine

    def _ready(self, exchange: Exchange) -> Engine:
        engine = self._bound(exchange)
        if not engine.ready:
            exchange.extra = [(b"retry-after", b"1")]
            raise InvalidRequest(503, "not_ready", engine.problem or "the model is being loaded; try again")
        return engine


def is_what_if(exchange: Exchange) -> bool:
    """Whether the question is hypothetical and stays out of the prediction log."""
    return exchange.header(b"x-what-if").lower() in _TRUE
