"""The real API, engine and prediction log in this process, reached without sockets."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from bikeshare.adapters.artifacts import load_artifact
from bikeshare.core.rollout import LiveAnswer
from bikeshare.ports import Clock, Records
from bikeshare.steps.snapshot import build_snapshot, empty_snapshot
from services.predictor.api import Api
from services.predictor.engine import Engine
from services.predictor.metrics import Metrics
from services.predictor.prediction_log import LogPolicy, PredictionLog
from services.predictor.refresher import Refresher
from services.predictor.spool import Spool

Distort = Callable[[str, int, bytes], tuple[int, bytes]]
"""(path, status, body) -> what the client sees instead."""


class AsgiPredictor:
    """One predictor; `distort` stands between it and its client."""

    def __init__(
        self, artifact: Path, version: str, records: Records, clock: Clock, folder: Path,
        distort: Distort | None = None,
    ) -> None:
        loaded = load_artifact(artifact)
        self._distort = distort
        self._metrics = Metrics(CollectorRegistry())
        self.engine = Engine(clock, self._metrics)
        self.log = PredictionLog(
            lambda: records, Spool(folder / f"spool-{version}", 10**6), self._metrics, LogPolicy(flush_seconds=0.01)
        )
        refresher = Refresher(
            build=lambda now: build_snapshot(loaded.forecaster, records, version, now),
            fallback=lambda now: empty_snapshot(loaded.forecaster, now), use=self.engine.use,
            failed=self._metrics.refresh_errors.inc, clock=clock, refresh_seconds=3600,
        )
        self.engine.load(version, loaded, self.log, refresher)
        refresher.refresh()
        self.log.start()
        self.api = Api()
        self.api.bind(self.engine)
        self.calls: list[str] = []

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> LiveAnswer:
        started = time.perf_counter()
        self.calls.append(path)
        if path == "/readyz":
            status, content = (200, b"\n") if self.engine.ready else (503, b"")
        else:
            status, content = asyncio.run(self._exchange(method, path, body or b"", headers or {}))
        if self._distort is not None:
            status, content = self._distort(path, status, content)
        return LiveAnswer(status, content, time.perf_counter() - started)

    def close(self) -> None:
        self.log.close()

    async def _exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": ("127.0.0.1", 1)}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.api(scope, receive, send)
        return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent[1:])


def scale_demand(factor: float) -> Distort:
    """A predictor whose demand is off by a factor."""

    def distort(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if path != "/predict" or status != 200:
            return status, body
        document = json.loads(body)
        for answer in document["predictions"]:
            answer["demand"] *= factor
        return status, json.dumps(document).encode()

    return distort


def fail(path_: str, status_: int) -> Distort:
    """A predictor that answers one path with an error."""

    def distort(path: str, status: int, body: bytes) -> tuple[int, bytes]:
        return (status_, b'{"error": {"field": null}}') if path == path_ else (status, body)

    return distort
