"""Steady load, stops, overload and hostile clients against real processes; counts and contents, no clock."""

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bikeshare.core.batch import WeatherBatch
from bikeshare.steps.snapshot import build_snapshot
from tests.integration.predictor.world import NOW, Client, Started, World, instance, predictor, wait_until


@dataclass
class Crowd:
    """Threads that ask one hour after the other; an answer is kept with its question.

    Attributes:
        urls: Replicas; a client whose replica refuses turns to the next, as behind a Service.
        answers: Question and predictions by request id.
        failures: Anything else.
    """

    urls: list[str]
    clients: int = 4
    answers: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Crowd":
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def reach(self, count: int) -> None:
        wait_until(lambda: len(self.answers) >= count or self.failures, 120, f"{count} answers")

    def _ask(self, number: int) -> None:
        place, sent = number, 0
        client = Client(self.urls[place % len(self.urls)])
        while not self._stop.is_set():
            sent += 1
            request_id = f"crowd-{number}-{sent}"
            question = instance(NOW + timedelta(hours=sent % 40), temp_c=float(10 + (sent + number) % 20))
            for _ in range(2 * len(self.urls)):
                try:
                    status, answer = client.post("/predict", {"instances": [question]}, X_Request_ID=request_id)
                except (OSError, http.client.HTTPException) as error:
                    problem = repr(error)
                    place += 1
                    client = Client(self.urls[place % len(self.urls)])
                    continue
                if status == 200:
                    self.answers[request_id] = question, answer["predictions"][0]
                else:
                    self.failures.append(f"{status} {answer}")
                break
            else:
                self.failures.append(problem)


def logged(world: World) -> set[str]:
    frames = world.records.iter_predictions(NOW - timedelta(days=9), NOW + timedelta(days=20), columns=("request_id",))
    return {request_id for frame in frames for request_id in frame["request_id"]}


def offline(world: World, question: dict[str, Any]) -> float:
    forecaster = world.forecaster("1")
    snapshot = build_snapshot(forecaster, world.records, "1", NOW)
    numbers = (np.array([question[name]]) for name in ("temp_c", "feels_like_c", "humidity_pct", "windspeed_kmh"))
    hour = np.array([datetime.fromisoformat(question["timestamp"])], dtype="datetime64[h]")
    return float(forecaster.predict(WeatherBatch(hour, *numbers, np.zeros(1)), snapshot, NOW).demand[0])


@pytest.mark.timeout(180)
def test_steady_load_answers_and_logs_everything_without_growing(world: World) -> None:
    with predictor(world) as running:
        status = f"/proc/{running.process.pid}/status"
        with Crowd([running.url]) as crowd:
            crowd.reach(1_000)
            before = _resident_kb(status)
            crowd.reach(3_000)
        after = _resident_kb(status)
        assert running.stop() == -signal.SIGTERM

    assert crowd.failures == []
    assert logged(world) == set(crowd.answers)
    assert after < 1.05 * before
    for question, answer in list(crowd.answers.values())[::500]:
        assert answer["demand"] == pytest.approx(offline(world, question), rel=1e-12)


@pytest.mark.timeout(180)
def test_a_replica_may_stop_under_load_without_a_failed_request(world: World) -> None:
    with predictor(world) as first, predictor(world) as second:
        with Crowd([first.url, second.url]) as crowd:
            crowd.reach(300)
            assert first.stop() == -signal.SIGTERM
            crowd.reach(900)
        assert second.stop() == -signal.SIGTERM

    assert crowd.failures == []
    assert set(crowd.answers) <= logged(world)


def slow_headers(url: str) -> None:
    with _connection(url) as one:
        one.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\nx-")
        one.settimeout(30)
        assert one.recv(1_000) == b""


def endless_headers(url: str) -> None:
    with _connection(url) as one, contextlib.suppress(OSError):
        for _ in range(200):
            one.sendall(b"POST /predict HTTP/1.1\r\n" + b"x-filler: " + b"a" * 200_000)
        raise AssertionError("forty megabytes of headers were read")


def _posts(
    status: int, make: Callable[[], bytes], path: str = "/predict", **headers: str
) -> Callable[[str], None]:
    def attack(url: str) -> None:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", path, make(), {"Content-Type": "application/json"} | named)
            answer = connection.getresponse()
        except OSError:
            assert status == 413, "only a body beyond the discarded size may end in a closed connection"
            return
        assert (answer.status, "error" in json.loads(answer.read())) == (status, True)

    return attack


ATTACKS: dict[str, Callable[[str], None]] = {
    "slow headers": slow_headers,
    "endless headers": endless_headers,
    "50 MB": _posts(413, lambda: b" " * 50_000_000),
    "100,000 unknown fields": _posts(
        422, lambda: json.dumps({"instances": [instance() | {f"f{n}": 0 for n in range(60_000)}]}).encode()
    ),
    "100,000 unknown fields of a forecast": _posts(
        422, lambda: json.dumps({"weather": [{f"f{n}": 0 for n in range(60_000)}]}).encode(), "/forecast"
    ),
    "deep nesting": _posts(400, lambda: b'{"instances":' + b"[" * 100_000),
    "invalid UTF-8": _posts(400, lambda: b'{"instances": "\xff\xfe"}'),
    "wrong content type": _posts(415, lambda: b"{}", Content_Type="text/plain"),
    "gzip bomb": _posts(415, lambda: gzip.compress(b" " * 50_000_000), Content_Encoding="gzip"),
}


@pytest.fixture(scope="module")
def attacked(shared_world: World) -> Iterator[Started]:
    with predictor(shared_world) as running:
        yield running


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.timeout(120)
def test_hostile_clients_are_refused_and_nobody_else_notices(name: str, attacked: Started) -> None:
    status = f"/proc/{attacked.process.pid}/status"
    before = _resident_kb(status)
    with Crowd([attacked.url], clients=2) as crowd, ThreadPoolExecutor(3) as attackers:
        list(attackers.map(ATTACKS[name], [attacked.url] * 3))
        crowd.reach(20)

    assert crowd.failures == []
    assert _resident_kb(status) - before < 64 * 1024


@pytest.mark.timeout(120)
def test_too_many_connections_are_told_to_come_back(attacked: Started) -> None:
    from services.predictor.protocol import MAX_CONNECTIONS

    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS + 8):
            one = stack.enter_context(_connection(attacked.url))
        answer = one.recv(1_000).lower()

    assert answer.startswith(b"http/1.1 503")
    assert b"retry-after: 1" in answer


def test_a_stopped_process_that_wakes_up_sheds_what_waited(world: World) -> None:
    """SIGSTOP stands for a processor that somebody else has: large batches pile up, few are computed."""
    hours = [instance(NOW + timedelta(hours=hour)) for hour in range(-160, 380)]
    body = json.dumps({"instances": hours}, indent=8).encode()
    results: list[tuple[int, str | None]] = []

    with predictor(world) as running:

        def ask() -> None:
            client = Client(running.url)
            status, headers, _ = client.send("POST", "/predict", body, {"Content-Type": "application/json"})
            results.append((status, headers.get("retry-after")))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        os.kill(running.process.pid, signal.SIGSTOP)
        for thread in threads:
            thread.start()
        os.kill(running.process.pid, signal.SIGCONT)
        for thread in threads:
            thread.join(60)

    assert {status for status, _ in results} == {200, 503}
    assert all(retry == "1" for status, retry in results if status == 503)


def _resident_kb(status: str) -> int:
    return int(Path(status).read_text().split("VmRSS:")[1].split()[0])


def _connection(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)
