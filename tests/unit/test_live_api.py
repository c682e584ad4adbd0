"""The client of the live API: an idle connection may have been closed; a server that fails is not asked again."""

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest

from bikeshare.adapters.live_api import HttpApi
from bikeshare.errors import Unavailable

TIMEOUT_SECONDS = 0.2
SLOW = 7.0


class Server(socketserver.ThreadingTCPServer):
    """Treats each request it reads as the script says; answers 200 when the script is over.

    `answer`; `once`: answer, then close without saying so; `drop`: close instead of answering; `hang`: neither.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.script: list[str] = []
        self.asked = 0
        self.clock = 0.0
        self.closed = threading.Semaphore(0)
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def shutdown_request(self, request: object) -> None:
        super().shutdown_request(request)  # type: ignore[arg-type]
        self.closed.release()


class Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked += 1
        act = self.server.script.pop(0) if self.server.script else "answer"
        if act == "hang":
            self.server.ended.wait(10)
        if act == "drop":
            self.server.clock += SLOW
        if act in {"hang", "drop"}:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        self.close_connection = act == "once"

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.ended.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def api(server: Server) -> Iterator[HttpApi]:
    made = HttpApi(server.url, timeout_seconds=TIMEOUT_SECONDS)
    yield made
    made.close()


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_server_that_fails_every_first_try_fails_every_time(server: Server, api: HttpApi, fault: str) -> None:
    for asked in (1, 2, 3):
        server.script = [fault]
        with pytest.raises(Unavailable, match="/predict did not answer"):
            api.call("GET", "/predict")
        assert server.asked == asked


def test_a_kept_connection_that_hangs_is_a_failure(server: Server, api: HttpApi) -> None:
    server.script = ["answer", "hang"]
    assert api.call("GET", "/predict").status == 200
    with pytest.raises(Unavailable, match="TimeoutError"):
        api.call("GET", "/predict")
    assert server.asked == 2


def test_a_connection_closed_while_idle_is_opened_again(server: Server, api: HttpApi) -> None:
    server.script = ["once", "once", "answer"]
    for asked in (1, 2, 3):
        assert api.call("GET", "/predict").body == b"ok"
        assert server.asked == asked
        if asked < 3:
            assert server.closed.acquire(timeout=10)


def test_the_time_of_an_answer_includes_the_try_that_failed(
    server: Server, api: HttpApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bikeshare.adapters.live_api.time", SimpleNamespace(perf_counter=lambda: server.clock))
    server.script = ["answer", "drop", "answer", "drop", "drop"]
    assert [api.call("GET", "/predict").seconds for _ in range(2)] == [0.0, SLOW]
    with pytest.raises(Unavailable):
        api.call("GET", "/predict")
    assert server.asked == 5
