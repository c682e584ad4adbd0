"""What a connection may take: the protocol under a real server, with an application that keeps it busy."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from services.predictor import protocol
from services.predictor.protocol import HEADER_BYTES, BoundedProtocol
from tests.integration.predictor.world import wait_until

ANSWER_BYTES = 20_000_000
"""More than all buffers between two ends of a connection hold."""


@contextlib.contextmanager
def serving(application: Any) -> Iterator[tuple[str, int]]:
    """The protocol as the predictor starts it, around an application of the test."""
    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, log_config=None, lifespan="off", http=BoundedProtocol, ws="none",
        loop="uvloop", timeout_notify=0, callback_notify=BoundedProtocol.close_overdue, timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join(30)


async def waiting(scope: Any, receive: Any, send: Any) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def long(scope: Any, receive: Any, send: Any) -> None:
    """Answers with more than anybody who does not read can take."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(ANSWER_BYTES // 100_000):
        await send({"type": "http.response.body", "body": b"a" * 100_000, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"], ids=["first", "while it is busy"])
def test_an_endless_header_is_cut_off_whenever_it_comes(first: bytes) -> None:
    with serving(waiting) as address, socket.create_connection(address, timeout=30) as one:
        one.sendall(first)
        one.sendall(b"GET / HTTP/1.1\r\nx: ")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            one.sendall(b"a" * (1_000 * HEADER_BYTES))


def received(one: socket.socket) -> int:
    """Bytes until the end of the connection."""
    size = 0
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(1_000_000):
            size += len(part)
    return size


def test_who_does_not_read_the_answer_is_cut_off_and_who_does_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.5)
    question = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with serving(long) as address, socket.create_connection(address, timeout=30) as one:
        one.sendall(question)
        wait_until(lambda: BoundedProtocol._open)
        wait_until(lambda: not BoundedProtocol._open)
        assert received(one) < ANSWER_BYTES

        with socket.create_connection(address, timeout=30) as other:
            other.sendall(question)
            assert received(other) > ANSWER_BYTES
