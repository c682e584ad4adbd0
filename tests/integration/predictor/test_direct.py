"""The direct way of small questions: the same answers as over ASGI, and HTTP as it should be, seen on the wire."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.predictor.world import NOW, Client, Started, World, instance, predictor

OVER_ASGI = "/predict?way=asgi"
"""Only the bare path goes the direct way."""

JSON = {"Content-Type": "application/json", "X-Request-ID": "the-same"}


@pytest.fixture
def client(live: Started) -> Iterator[Client]:
    made = Client(live.url)
    yield made
    made.close()


@contextlib.contextmanager
def wire(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as one:
        yield one


def question(request_id: str, *lines: str, version: str = "1.1", **changes: Any) -> bytes:
    body = json.dumps({"instances": [instance(**changes)]}).encode()
    head = (
        f"POST /predict HTTP/{version}", "host: x", "content-type: application/json", f"content-length: {len(body)}",
        f"x-request-id: {request_id}", *lines,
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def read_answers(one: socket.socket, count: int) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    found = []
    with one.makefile("rb") as stream:
        for _ in range(count):
            status = int(stream.readline().split()[1])
            headers = {}
            while line := stream.readline().strip():
                name, value = line.decode().split(": ", 1)
                assert name not in headers, f"{name} twice"
                headers[name] = value
            found.append((status, headers, json.loads(stream.read(int(headers["content-length"])) or "{}")))
    return found


@pytest.mark.parametrize(("headers", "body"), [
    ({}, {"instances": [instance()]}),
    ({}, {"instances": [instance(NOW + timedelta(hours=300))]}),
    ({}, {"instances": [instance(is_holiday=True)]}),
    ({}, {"instances": [instance(NOW + timedelta(hours=hour)) for hour in range(30)]}),
    ({"X-What-If": "true"}, {"instances": [instance()]}),
    ({"Content-Type": "Application/JSON; charset=utf-8"}, {"instances": [instance()]}),
    ({"Content-Type": "text/plain"}, {"instances": [instance()]}),
    ({"Content-Encoding": "gzip"}, {"instances": [instance()]}),
    ({}, {"instances": [instance(temp_c=99.0)]}),
    ({}, {"instances": [instance(NOW + timedelta(days=30))]}),
    ({}, {"instances": []}),
    ({}, "no object"),
])
def test_both_ways_say_the_same(client: Client, headers: dict[str, str], body: Any) -> None:
    content = json.dumps(body).encode()

    direct, asgi = (client.send("POST", path, content, JSON | headers) for path in ("/predict", OVER_ASGI))

    for _, seen, _ in (direct, asgi):
        seen.pop("date")
    assert direct == asgi


def test_both_ways_count_alike(client: Client) -> None:
    def counted() -> list[float]:
        return [client.metric("bikeshare_requests_total", route="/predict", code=code) for code in ("200", "422")] + [
            client.metric("bikeshare_request_seconds_count", route="/predict"),
            client.metric("bikeshare_predictions_total", source="mean"),
        ]

    for path in ("/predict", OVER_ASGI):
        before = counted()
        for row in (instance(), instance(), instance(temp_c=99.0)):
            client.send("POST", path, json.dumps({"instances": [row]}).encode(), {"Content-Type": "application/json"})
        assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 3, 2]


def test_questions_sent_together_are_answered_in_order(live: Started) -> None:
    with wire(live.url) as one:
        one.sendall(
            question("first") + question("second", temp_c=99.0) + b"GET /-/state HTTP/1.1\r\nhost: x\r\n\r\n"
            + question("third", temp_c=3.0)
        )
        first, second, state, third = read_answers(one, 4)

    assert [first[0], second[0], state[0], third[0]] == [200, 422, 200, 200]
    assert [answer[2]["request_id"] for answer in (first, second, third)] == ["first", "second", "third"]
    assert first[2]["predictions"] != third[2]["predictions"]


def test_many_connections_at_once_each_get_their_own_answer(live: Started) -> None:
    """More than one call of the forests takes."""
    count = 80
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(wire(live.url)) for _ in range(count)]
        for number, one in enumerate(connections):
            one.sendall(question(f"n{number}", temp_c=float(number % 30)))
        together = [read_answers(one, 1)[0][2] for one in connections]
        for number, one in enumerate(connections):
            one.sendall(question(f"n{number}", temp_c=float(number % 30)))
            assert read_answers(one, 1)[0][2] == together[number]


def test_a_body_in_pieces_is_put_together(live: Started) -> None:
    sent = question("pieces")
    with wire(live.url) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(0, len(sent), 7):
            one.sendall(sent[place:place + 7])
        one.sendall(question("next"))
        answers = read_answers(one, 2)

    assert [(status, body["request_id"]) for status, _, body in answers] == [(200, "pieces"), (200, "next")]


@pytest.mark.parametrize(("lines", "version"), [(("connection: close",), "1.1"), ((), "1.0")])
def test_a_connection_ends_when_the_client_wants_it(live: Started, lines: tuple[str, ...], version: str) -> None:
    with wire(live.url) as one:
        one.sendall(question("last", *lines, version=version))
        (status, headers, body), = read_answers(one, 1)

        assert (status, headers["connection"], body["request_id"]) == (200, "close", "last")
        assert one.recv(1) == b""


def test_a_body_that_never_ends_is_told_so(live: Started) -> None:
    with wire(live.url) as one:
        one.sendall(question("slow")[:-5])
        (status, headers, body), = read_answers(one, 1)

        assert (status, headers["connection"], body["error"]["code"]) == (408, "close", "body_timeout")
        assert one.recv(1) == b""


def test_a_client_that_expects_to_be_told_to_continue_is_told(live: Started) -> None:
    head, body = question("careful", "expect: 100-continue").split(b"\r\n\r\n")
    with wire(live.url) as one:
        one.sendall(head + b"\r\n\r\n")
        assert one.recv(1_000).startswith(b"HTTP/1.1 100 ")
        one.sendall(body)
        assert read_answers(one, 1)[0][0] == 200


def test_nobody_leaves_the_limits_by_another_protocol(live: Started) -> None:
    """An upgraded connection would be counted by nobody and never closed."""
    with wire(live.url) as one:
        one.sendall(b"GET /model HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        assert read_answers(one, 1)[0][0] == 200


def test_a_client_that_hangs_up_in_the_middle_harms_nobody(live: Started, client: Client) -> None:
    for cut in (-1, -30):
        with wire(live.url) as one:
            one.sendall(question("gone")[:cut])

    assert client.post("/predict", {"instances": [instance()]})[0] == 200


def test_a_question_half_sent_when_the_process_stops_is_still_answered(world: World) -> None:
    sent = question("in flight")
    with predictor(world) as running, wire(running.url) as one, wire(running.url) as idle:
        one.sendall(sent[:-5])
        assert Client(running.url).get("/-/state")[0] == 200  # what was sent before has been read
        running.process.terminate()
        assert idle.recv(1) == b""  # the stop has begun
        one.sendall(sent[-5:])
        (status, headers, _), = read_answers(one, 1)

        assert (status, headers["connection"]) == (200, "close")
        running.process.wait(30)


@pytest.mark.parametrize("last", [question("last"), b"GET /model HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_a_question_that_meets_the_end_on_a_kept_connection_is_the_last_one_answered(world: World, last: bytes) -> None:
    with predictor(world) as running, wire(running.url) as one:
        one.sendall(question("first"))
        assert read_answers(one, 1)[0][0] == 200
        running.process.terminate()
        with contextlib.suppress(ConnectionRefusedError):
            while True:  # nobody new is let in once the stop has begun
                with wire(running.url):
                    time.sleep(0.01)
        one.sendall(last)
        (status, headers, _), = read_answers(one, 1)

        assert (status, headers["connection"]) == (200, "close")
        assert one.recv(1) == b""
        running.process.wait(30)


def test_the_api_key_is_asked_for(world: World) -> None:
    with predictor(world, BIKESHARE_API_KEY="secret") as running, wire(running.url) as one:
        one.sendall(question("none") + question("wrong", "x-api-key: guess") + question("right", "x-api-key: secret"))

        assert [status for status, _, _ in read_answers(one, 3)] == [401, 401, 200]
