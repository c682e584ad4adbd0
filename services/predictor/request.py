"""One HTTP exchange of the API: its body within limits, its answer, and whether there is time for it."""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from services.predictor.refusals import InvalidRequest
from services.predictor.schema import MAX_BODY_BYTES

BODY_SECONDS = 10.0
"""A client that needs longer to send one megabyte is told so (408) and cannot hold a connection."""

WAIT_SECONDS = 0.25
"""A request that waited longer for the processor is refused (503): everybody behind it waits longer still."""

DISCARD_BYTES = 8 * MAX_BODY_BYTES
"""An oversized body is read and dropped up to here, because most clients read no answer before they have sent
everything; beyond it the connection is closed."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = b"application/json"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}")  # longer ids fit no row of the log


class Gone(Exception):
    """The client hung up before its request was complete."""


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


class Exchange:
    """One question as far as every way in needs it: headers, an id, and how it ended."""

    __slots__ = ("extra", "headers", "id", "status")

    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.headers = headers
        self.extra: Iterable[tuple[bytes, bytes]] = ()
        self.status = 499
        given = headers.get(b"x-request-id")
        self.id = _new_id() if given is None else _request_id(given)

    def header(self, name: bytes) -> bytes:
        """The first value of a header, empty when absent."""
        return self.headers.get(name, b"")

    def overloaded(self) -> InvalidRequest:
        """A refusal that costs little and says when to come back."""
        self.extra = [(b"retry-after", b"1")]
        return InvalidRequest(503, "overloaded", "more requests than this process can answer; try again later")

    def late(self) -> InvalidRequest:
        """The refusal of a body that never ended."""
        self.extra = [(b"connection", b"close")]
        return InvalidRequest(408, "body_timeout", f"no complete body after {BODY_SECONDS:g} s")


class Request(Exchange):
    """One exchange over ASGI."""

    __slots__ = ("_receive", "_send", "answered", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(first_values(scope["headers"]))
        self.scope = scope
        self._receive = receive
        self._send = send
        self.answered = False

    async def body(self) -> bytes:
        """The whole body; raises InvalidRequest when it is too large or too slow."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
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
            raise self.late() from None

    async def answer(self, status: int, body: bytes, content_type: bytes = JSON) -> None:
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

    def _too_large(self) -> InvalidRequest:
        self.extra = [(b"connection", b"close")]
        return InvalidRequest(
            413, "body_too_large", f"more than {MAX_BODY_BYTES} bytes; split the request",
            allowed={"maximum": MAX_BODY_BYTES},
        )


def first_values(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by lower-case name; the first one counts."""
    return dict(reversed(headers))


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else _new_id()


def _new_id() -> str:
    """128 random bits: nothing secret, and asking the system for better ones lets another thread in between."""
    return f"{random.getrandbits(128):032x}"
