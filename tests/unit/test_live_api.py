"""The client of the live API: a lost idle connection is no failure of the server, everything else is."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from bikeshare.adapters.live_api import HttpApi
from bikeshare.errors import Unavailable

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Behaviour = Callable[[socket.socket, int], None]
"""(connection, its number from 0): reads what it wants and answers as it likes; the connection is closed afterwards."""


def answers_once(connection: socket.socket, number: int) -> None:
    connection.recv(65_536)
    connection.sendall(ANSWER)


def drops_the_first(connection: socket.socket, number: int) -> None:
    connection.recv(65_536)
    if number > 0:
        connection.sendall(ANSWER)


def hangs_on_the_first(connection: socket.socket, number: int) -> None:
    connection.recv(65_536)
    if number > 0:
        connection.sendall(ANSWER)
    else:
        connection.recv(1)  # until the client gives up


@contextmanager
def server(behaviour: Behaviour) -> Iterator[tuple[str, list[int]]]:
    """Its URL, and the numbers of the connections that it accepted."""
    accepted: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                accepted.append(len(accepted))
                with connection:
                    behaviour(connection, accepted[-1])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", accepted
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def test_a_connection_that_was_closed_while_idle_is_opened_again() -> None:
    with server(answers_once) as (url, accepted), closing(HttpApi(url)) as api:
        bodies = [api.call("GET", "/").body for _ in range(3)]

    assert bodies == [b"ok"] * 3
    assert accepted == [0, 1, 2]


@pytest.mark.parametrize("behaviour", [drops_the_first, hangs_on_the_first])
def test_a_server_that_fails_the_first_time_is_not_asked_again_in_secret(behaviour: Behaviour) -> None:
    with server(behaviour) as (url, accepted), closing(HttpApi(url, timeout_seconds=0.3)) as api:
        with pytest.raises(Unavailable, match="did not answer"):
            api.call("GET", "/")
        assert accepted == [0]
        assert api.call("GET", "/").body == b"ok"
