"""A local HTTP server that stands in for Slack: webhook and Web API, strict about payloads, with an inbox to look at.

Used by the demo (a page shows what people would have read) and by tests (it can fail on demand).
"""

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs

from bikeshare.core.messages import problems
from bikeshare.simulation.inbox_page import Message, inbox_page

TOKEN_PREFIX = "xoxb-"


class SlackInbox:
    """Context manager around the server.

    Attributes:
        messages: What was accepted, oldest first.
        refused: What was wrong with refused payloads.
        requests: How many requests arrived, failed ones included.
        unwanted: Messages with one of these texts are refused as malformed, whatever they hold.
    """

    def __init__(self, port: int = 0) -> None:
        self.messages: list[Message] = []
        self.refused: list[str] = []
        self.requests = 0
        self.unwanted: set[str] = set()
        self._failures: list[int] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="slack-inbox", daemon=True)

    def __enter__(self) -> "SlackInbox":
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def url(self) -> str:
        """A page that shows the inbox."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    @property
    def api_url(self) -> str:
        """Base of the Web API."""
        return f"{self.url}api/"

    @property
    def webhook_url(self) -> str:
        """An incoming webhook."""
        return f"{self.url}services/T0/B0/secret"

    def fail(self, status: int = 503, times: int = 1) -> None:
        """Answer the next requests with an HTTP error."""
        with self._lock:
            self._failures += [status] * times

    def recover(self) -> None:
        """Answer normally again."""
        with self._lock:
            self._failures.clear()

    def receive(self, path: str, payload: Mapping[str, Any], token: str) -> tuple[int, dict[str, str], bytes]:
        """Judge one request as Slack would: status, headers, body."""
        with self._lock:
            self.requests += 1
            if self._failures:
                return self._failures.pop(0), {"Retry-After": "0"}, b"fail"
            wrong = problems(payload)
            wrong += [f"{text!r} is unwanted" for text in self.unwanted if text in str(payload.get("text"))]
            if path.startswith("/services/"):
                if wrong:
                    self.refused.append("; ".join(wrong))
                    return 400, {}, b"invalid_payload"
                self._accept("webhook", payload)
                return 200, {}, b"ok"
            if path != "/api/chat.postMessage":
                return 200, {}, _answer(ok=False, error="unknown_method")
            if not token.startswith(TOKEN_PREFIX):
                return 200, {}, _answer(ok=False, error="invalid_auth")
            if not payload.get("channel"):
                return 200, {}, _answer(ok=False, error="channel_not_found")
            thread = payload.get("thread_ts") or ""
            if thread and thread not in {message.ts for message in self.messages}:
                return 200, {}, _answer(ok=False, error="thread_not_found")
            if wrong:
                self.refused.append("; ".join(wrong))
                return 200, {}, _answer(ok=False, error="invalid_blocks")
            message = self._accept(str(payload["channel"]), payload)
            return 200, {}, _answer(ok=True, ts=message.ts, channel=message.channel)

    def _accept(self, channel: str, payload: Mapping[str, Any]) -> Message:
        message = Message(
            f"17000000{len(self.messages):02d}.000100",
            channel,
            str(payload.get("thread_ts") or ""),
            str(payload["text"]),
            list(payload.get("blocks") or ()),
        )
        self.messages.append(message)
        return message

    def page(self) -> bytes:
        """The inbox as a page."""
        with self._lock:
            return inbox_page(self.messages).encode()


def _handler(inbox: SlackInbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"Content-Type": "text/html; charset=utf-8"}, inbox.page())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                payload = _decode(body, self.headers.get("Content-Type") or "")
            except ValueError:
                self._send(400, {}, b"invalid_payload")
                return
            bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, headers, answer = inbox.receive(self.path, payload, bearer or str(payload.get("token", "")))
            self._send(status, headers, answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the inbox itself is the log."""

        def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers, "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _decode(body: bytes, content_type: str) -> dict[str, Any]:
    text = body.decode("utf-8")
    if "json" in content_type or text.startswith("{"):
        decoded = json.loads(text)
        if not isinstance(decoded, dict):
            raise ValueError("not an object")
        return decoded
    fields: dict[str, Any] = {name: values[-1] for name, values in parse_qs(text).items()}
    if "blocks" in fields:
        fields["blocks"] = json.loads(fields["blocks"])
    return fields


def _answer(**fields: Any) -> bytes:
    return json.dumps(fields).encode()
