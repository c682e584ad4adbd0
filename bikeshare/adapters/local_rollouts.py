"""Roll-outs of the embedded profile: the control API of `bikeshare serve`, on loopback with a token."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bikeshare.errors import Conflict, RolloutRefused, Unavailable

TOKEN_FILE = "supervisor.token"


class LocalRollouts:
    """Steers the supervisor of the predictor processes on this machine."""

    def __init__(self, supervisor_url: str, home: Path, *, timeout_seconds: float = 120.0) -> None:
        """Remember where the supervisor listens; `home` holds its token (readable by the owner only)."""
        parts = urlsplit(supervisor_url)
        self._url = supervisor_url
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._token_file = home / TOKEN_FILE
        self._timeout_seconds = timeout_seconds

    def start_canary(self, version: str) -> str:
        """Start the version beside the serving one and return its URL; raises RolloutRefused."""
        return str(self._call("POST", "/canary", version)["url"])

    def promote_canary(self, version: str) -> None:
        """Switch the front over; in-flight requests finish on the old version."""
        self._call("POST", "/promote", version)

    def abort_canary(self, version: str) -> None:
        """Stop the canary, if it runs."""
        self._call("POST", "/abort", version)

    def serving_version(self) -> str | None:
        """The version behind the front, or None before the first roll-out."""
        serving = self._call("GET", "/status")["serving"]
        return None if serving is None else str(serving["version"])

    def canary_version(self) -> str | None:
        """The version that runs beside it, or None."""
        canary = self._call("GET", "/status")["canary"]
        return None if canary is None else str(canary["version"])

    def status(self) -> dict[str, Any]:
        """Everything the supervisor knows: versions, processes, restarts."""
        return self._call("GET", "/status")

    def _call(self, method: str, path: str, version: str | None = None) -> dict[str, Any]:
        advice = f"start it with `bikeshare serve` (looked at {self._url})"
        try:
            token = self._token_file.read_text()
        except OSError as error:
            raise Unavailable(f"no predictor runs on this machine: {advice}") from error
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
        try:
            connection.request(
                method, path, None if version is None else json.dumps({"version": version}),
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            body = json.loads(answer.read())
        except ConnectionRefusedError as error:
            raise Unavailable(f"the predictor's supervisor does not run: {advice}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(f"the supervisor at {self._url} did not answer {path}: {error!r}; {advice}") from error
        finally:
            connection.close()
        if answer.status == 200 and isinstance(body, dict):
            return body
        problem = body.get("error") if isinstance(body, dict) else body
        if answer.status == 422:
            raise RolloutRefused(str(problem))
        if answer.status == 409:
            raise Conflict(str(problem))
        raise Unavailable(f"the supervisor refused {path} ({answer.status}): {problem}")
