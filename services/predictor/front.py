"""The public port of the embedded profile: a reverse proxy that switches versions without dropping a request.

It comes with the supervisor of the predictor processes and a control API on loopback that needs the token in
HOME/supervisor.token.
"""

import asyncio
import hmac
import logging
import os
import secrets
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from bikeshare.errors import BikeshareError, TemporaryError, Unavailable
from services.predictor.child import Child, Launcher
from services.predictor.supervisor import Supervisor

logger = logging.getLogger("bikeshare.front")

TOKEN_FILE = "supervisor.token"
MAX_BODY_BYTES = 1024 * 1024
DISCARD_BYTES = 8 * MAX_BODY_BYTES

_HOP_HEADERS = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length", "expect", "server", "date",
})


@dataclass(frozen=True)
class FrontPolicy:
    """Patience of the proxy, in seconds.

    Attributes:
        wait_seconds: A request waits this long for a child that is being restarted before it gets a 503.
        waiting_requests: More waiting requests than this are answered 503 at once: no queue without bound.
        answer_seconds: A child may take this long to answer.
        body_seconds: A client may take this long to send its body.
        retry_after_seconds: What the 503 tells the client.
    """

    wait_seconds: float = 1.0
    waiting_requests: int = 512
    answer_seconds: float = 30.0
    body_seconds: float = 15.0
    retry_after_seconds: int = 1


class Front:
    """The proxy handler; every POST of the API is safe to repeat, so a lost child costs a retry, not an answer."""

    def __init__(self, supervisor: Supervisor, policy: FrontPolicy = FrontPolicy()) -> None:
        self._supervisor = supervisor
        self._policy = policy
        self._waiting = 0
        self.retried = 0
        self.unavailable = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer from the serving child, or 503 with Retry-After."""
        path = request.path  # as the child will read it: `/%2D/refresh` is `/-/refresh`
        if path == "/-/status":
            return web.json_response(
                self._supervisor.status() | {"retried": self.retried, "unavailable": self.unavailable}
            )
        if path.startswith("/-/") and request.remote not in ("127.0.0.1", "::1"):
            return _error(404, "not_found", f"{path} is only for this machine")
        request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
        try:
            async with asyncio.timeout(self._policy.body_seconds):
                body = await _read(request)
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "body_too_large", f"more than {MAX_BODY_BYTES} bytes; split the request",
                          request_id=request_id, close=True)
        except TimeoutError:
            return _error(408, "body_timeout", f"no complete body after {self._policy.body_seconds:g} s",
                          request_id=request_id, close=True)
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS]
        if "X-Request-ID" not in request.headers:
            headers.append(("X-Request-ID", request_id))
        return await self._forward(request, body, headers, request_id)

    async def _forward(
        self, request: web.Request, body: bytes, headers: list[tuple[str, str]], request_id: str
    ) -> web.StreamResponse:
        deadline = time.monotonic() + self._policy.wait_seconds
        while True:
            child = await self._child(deadline - time.monotonic())
            if child is None:
                break
            child.in_flight += 1
            try:
                return await self._ask(child, request, body, headers)
            except TimeoutError:
                return _error(504, "timeout", f"no answer after {self._policy.answer_seconds:g} s",
                              request_id=request_id)
            except (aiohttp.ClientError, OSError, RuntimeError):
                self.retried += 1
                self._supervisor.suspect(child)
            finally:
                child.in_flight -= 1
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.02)
        self.unavailable += 1
        status = self._supervisor.status()
        message = (
            "no model is served yet: run the training pipeline" if status["version"] is None
            else f"version {status['version']} is starting; try again"
        )
        return _error(503, "not_ready", message, request_id=request_id,
                      retry_after_seconds=self._policy.retry_after_seconds)

    async def _child(self, wait_seconds: float) -> Child | None:
        if self._supervisor.serving is not None or self._waiting >= self._policy.waiting_requests:
            return self._supervisor.serving
        self._waiting += 1
        try:
            return await self._supervisor.child(wait_seconds)
        finally:
            self._waiting -= 1

    async def _ask(
        self, child: Child, request: web.Request, body: bytes, headers: list[tuple[str, str]]
    ) -> web.StreamResponse:
        url = URL(child.url + request.rel_url.raw_path_qs, encoded=True)
        timeout = aiohttp.ClientTimeout(total=self._policy.answer_seconds)
        async with child.session.request(
            request.method, url, data=body or None, headers=headers, allow_redirects=False, timeout=timeout,
            skip_auto_headers=("Content-Type", "User-Agent", "Accept"),
        ) as answer:
            payload = await answer.read()
            response = web.Response(status=answer.status, body=payload)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_HEADERS:
                    response.headers[name] = value
            return response


async def _read(request: web.Request) -> bytes:
    """The body; an oversized one is dropped up to a limit, so that the client gets to read its refusal."""
    body, size = bytearray(), 0
    async for part in request.content.iter_any():
        size += len(part)
        if size <= MAX_BODY_BYTES:
            body += part
        elif size > DISCARD_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, size)
    return bytes(body)


def control_app(supervisor: Supervisor, token: str) -> web.Application:
    """The loopback API that `LocalRollouts` calls; every call needs the token."""

    async def act(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return web.json_response({"error": "the token is wrong; it is in HOME/supervisor.token"}, status=401)
        action = request.match_info["action"]
        if action == "status":
            return web.json_response(supervisor.status())
        try:
            version = str((await request.json())["version"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": 'send {"version": "…"}'}, status=400)
        try:
            if action == "canary":
                return web.json_response({"url": await supervisor.start_canary(version)})
            await (supervisor.promote if action == "promote" else supervisor.abort)(version)
        except TemporaryError as error:
            return web.json_response({"error": str(error)}, status=409)
        except BikeshareError as error:
            return web.json_response({"error": str(error)}, status=422)
        return web.json_response(supervisor.status())

    app = web.Application()
    app.router.add_get("/{action:status}", act)
    app.router.add_post("/{action:canary|promote|abort}", act)
    return app


@dataclass
class Running:
    """Started servers, to be closed."""

    supervisor: Supervisor
    runners: list[web.AppRunner]

    async def close(self) -> None:
        """Stop listening, let requests end, stop the children."""
        for runner in self.runners:
            await runner.cleanup()
        await self.supervisor.close()


async def start(
    launch: Launcher, home: Path, *, host: str, port: int, control_port: int, supervisor: Supervisor | None = None,
    policy: FrontPolicy = FrontPolicy(),
) -> Running:
    """Listen on both ports; raises Unavailable when one is taken."""
    supervisor = supervisor or Supervisor(launch, home)
    token = secrets.token_urlsafe(32)
    public = web.Application(client_max_size=MAX_BODY_BYTES)
    public.router.add_route("*", "/{path:.*}", Front(supervisor, policy).handle)
    control = control_app(supervisor, token)
    runners: list[web.AppRunner] = []
    number = control_port
    try:
        for app, address, number in ((control, "127.0.0.1", control_port), (public, host, port)):
            # Bodies pass through as they came: the predictor refuses compressed ones, so no bomb is unpacked here.
            runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=10.0)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, address, number, backlog=1024).start()
    except OSError as error:
        for runner in runners:
            await runner.cleanup()
        raise Unavailable(f"port {number} is taken ({error}): does another `bikeshare serve` run?") from error
    _write_token(home / TOKEN_FILE, token)
    return Running(supervisor, runners)


def _write_token(path: Path, token: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)


def _error(
    status: int, code: str, message: str, *, request_id: str = "", close: bool = False,
    retry_after_seconds: int | None = None,
) -> web.Response:
    body = {"error": {"code": code, "field": None, "message": message, "allowed": None}, "request_id": request_id}
    response = web.json_response(body, status=status)
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    if close:
        response.force_close()
    return response
