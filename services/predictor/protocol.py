"""uvicorn's HTTP parser with the limits it lacks, and the direct way of small questions.

Without limits, clients that open connections and send a byte now and then hold memory for ever. Times are looked at
once a second by `close_overdue`: a timer per request would cost more than the request's validation.
"""

from math import inf
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.predictor.direct import ROUTE, SMALL_BYTES, Direct, Question
from services.predictor.request import BODY_SECONDS, JSON, first_values

HEADER_SECONDS = 10.0
"""From the connection, or the first byte of a later request, to the end of the headers."""

HEADER_BYTES = 64 * 1024
"""A request line and headers larger than this are cut off."""

IDLE_SECONDS = 5
"""A connection without a request is closed after this long."""

UNREAD_SECONDS = 30
"""A client that takes nothing of its answer for this long is cut off: what is left is tens of kilobytes."""

LAST_QUESTION_SECONDS = 0.5
"""An ending process listens this long on idle connections; closed at once, they would meet questions on their way."""

MAX_CONNECTIONS = 2_048
"""About 10 kB each; the next one is told to come back."""

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%s"
)
_BODY = b'{"error":{"code":"overloaded","field":null,"message":"too many connections","allowed":null},"request_id":""}'
_CLOSE = (b"connection", b"close")
_URL = ROUTE.encode()
_UNUSUAL = (b"transfer-encoding", b"expect", b"upgrade")


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    direct: ClassVar[Direct | None] = None
    """Set by whoever starts the process; without it every request goes over ASGI."""
    _open: ClassVar[set["BoundedProtocol"]] = set()

    _deadline = inf
    _unread_deadline = inf
    _in_headers = False
    _next_began = False
    _header_bytes = 0
    _question: Question | None = None
    _complete = False
    _closing = False

    @classmethod
    async def close_overdue(cls) -> None:
        """End connections that took too long for headers, a small body, the next request, or to read an answer."""
        for connection in tuple(cls._open):
            if connection._is_overdue(connection.loop.time()):
                connection._overdue()

    def connection_made(self, transport: Any) -> None:
        """Start the clock, or refuse."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_BUSY % (len(_BODY), _BODY))
            transport.close()
            return
        self._open.add(self)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes before the end of the headers."""
        if self.transport.is_closing():
            return
        if not self._in_headers and self._is_idle():
            self._begin()
        self._header_bytes += len(data)
        super().data_received(data)
        if (self._in_headers or self._next_began) and self._header_bytes > HEADER_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A client that sends its next question before it has the answer gets the answer first."""
        if self._complete and self.direct is not None:
            self.direct.answer_waiting()
        if not self._in_headers:  # sent before the last answer was complete: no clock runs, but bytes count
            self._next_began, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Choose the way; over ASGI the request may take as long as its own limits allow."""
        self._in_headers = self._next_began = False
        if self.direct is not None and self._is_small_question():
            self._question = Question(first_values(self.headers), self._send)
            self._closing = self._closing or not self.parser.should_keep_alive()
            self._deadline = self.loop.time() + BODY_SECONDS
            return
        self._deadline = inf
        super().on_headers_complete()
        if self._closing and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if self._question is None:
            super().on_body(body)
        else:
            self._question.body += body

    def on_message_complete(self) -> None:
        """Ask."""
        if self._question is None:
            super().on_message_complete()
        elif self.direct is not None:
            self._complete = True
            self._deadline = inf
            self.direct.ask(self._question)

    def shutdown(self) -> None:
        """What is being sent or answered is finished first; an idle connection may ask once more."""
        if self._question is None:
            if self._is_idle():
                self._closing = True
                self.loop.call_later(LAST_QUESTION_SECONDS, self._leave)
            else:
                super().shutdown()
        else:
            self._closing = True
            if not self._complete:  # nobody calls `close_overdue` any more
                self.loop.call_later(max(0.0, self._deadline - self.loop.time()), self._overdue)

    def _begin(self) -> None:
        self._in_headers = True
        self._header_bytes = 0
        self._deadline = self.loop.time() + HEADER_SECONDS

    def _is_small_question(self) -> bool:
        if self.url != _URL or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        if self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete):
            return False
        length = b""
        for name, value in self.headers:
            if name in _UNUSUAL:
                return False
            if name == b"content-length":
                length = value
        return len(length) <= len(str(SMALL_BYTES)) and length.isdigit() and int(length) <= SMALL_BYTES

    def _is_idle(self) -> bool:
        return self._question is None and (self.cycle is None or self.cycle.response_complete)

    def _is_overdue(self, now: float) -> bool:
        if not self.flow.write_paused:
            self._unread_deadline = inf
        elif self._unread_deadline == inf:
            self._unread_deadline = now + UNREAD_SECONDS
        return now > min(self._deadline, self._unread_deadline)

    def _leave(self) -> None:
        if self._is_idle():
            self.transport.close()

    def _overdue(self) -> None:
        if self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()  # closing would wait for somebody to read
            return
        if self._question is not None and self.direct is not None:
            self.direct.refuse(self._question, self._question.late())
        self.transport.close()

    def _send(self, question: Question, status: int, body: bytes) -> None:
        self._question, self._complete = None, False
        if self.transport.is_closing():
            return
        extra = [*self.server_state.default_headers, *question.extra]
        if self._closing and _CLOSE not in extra:
            extra.append(_CLOSE)
        self.transport.write(b"%s%scontent-type: %s\r\ncontent-length: %d\r\nx-request-id: %s\r\n\r\n%s" % (
            STATUS_LINE[status], b"".join([b"%s: %s\r\n" % header for header in extra]), JSON, len(body),
            question.id.encode(), body,
        ))
        self.server_state.total_requests += 1
        self._deadline = self.loop.time() + IDLE_SECONDS
        if self._closing:
            self.transport.close()
