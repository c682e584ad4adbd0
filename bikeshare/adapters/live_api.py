"""The predictor's HTTP API as a client sees it (standard library only)."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bikeshare.core.rollout import LiveAnswer
from bikeshare.errors import Unavailable

_CLOSED = (ConnectionResetError, BrokenPipeError)
"""How a kept connection fails that the server closed while it was idle (`RemoteDisconnected` is the first)."""


class HttpApi:
    """Requests to one base URL over one kept connection; not for several threads."""

    def __init__(self, url: str, *, api_key: str = "", timeout_seconds: float = 30.0) -> None:
        """Remember where to connect; nothing is sent yet."""
        parts = urlsplit(url)
        self._url = url
        self._prefix = parts.path.rstrip("/")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_seconds)
        self._headers = {"X-API-Key": api_key} if api_key else {}

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> LiveAnswer:
        """One exchange; raises Unavailable when nobody answers.

        Asked again, on a fresh connection, only when a kept one turns out to be closed. Any other failure is the
        server's, and a second answer would hide it from who judges a canary; the time includes the first try.
        """
        sent = {**self._headers, **(headers or {})}
        started = time.perf_counter()
        while True:
            kept = self._connection.sock is not None
            try:
                self._connection.request(method, self._prefix + path, body, sent)
                answer = self._connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if kept and isinstance(error, _CLOSED):
                    continue
                raise Unavailable(f"{self._url}{path} did not answer: {error!r}") from error
            return LiveAnswer(answer.status, content, time.perf_counter() - started)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


def predictor_state(url: str, *, timeout_seconds: float = 2.0) -> dict[str, Any] | None:
    """What the predictor at this URL says about itself (`/-/state`); None when nothing readable comes back."""
    api = HttpApi(url, timeout_seconds=timeout_seconds)
    try:
        answer = api.call("GET", "/-/state")
        state = json.loads(answer.body) if answer.status == 200 else None
    except (Unavailable, ValueError):
        return None
    finally:
        api.close()
    return state if isinstance(state, dict) else None
