"""The script that `helm test` runs, against an API that answers well and badly."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.charts.helm import CHARTS

SCRIPT = CHARTS / "bikeshare" / "files" / "check_prediction.py"
GOOD = {"demand": 100.0, "lower_95": 60.0, "upper_95": 150.0}


@contextmanager
def api(
    prediction: dict[str, Any], *, ready: int = 200, metrics: str = "bikeshare_what_if_predictions_total 1",
    port: int = 0,
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers like the predictor; yields its URL and the requests it saw."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            self._answer(*((ready, "not ready") if self.path == "/readyz" else (200, metrics)))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key, what_if = self.headers["X-API-Key"], self.headers["X-What-If"]
            seen.append({"path": self.path, "key": key, "what_if": what_if, **body})
            self._answer(200, json.dumps({"model_version": "7", "predictions": [prediction]}))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def start(url: str, key: str = "", patience: str = "60") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.read_text(encoding="utf-8")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={"PREDICTOR_URL": url, "API_KEY": key, "PATIENCE_SECONDS": patience},
    )


def check(url: str, **options: str) -> subprocess.CompletedProcess[str]:
    process = start(url, **options)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def test_a_good_answer_passes_and_is_not_logged() -> None:
    with api(GOOD) as (url, seen):
        done = check(url, key="k")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("version 7: 100 bikes")
    assert [(each["path"], each["key"], each["what_if"]) for each in seen] == [("/predict", "k", "true")]
    hour = seen[0]["instances"][0]["timestamp"]
    assert hour.endswith(":00:00")


def test_the_request_is_one_that_the_real_service_accepts() -> None:
    from services.predictor.schema import PREDICT

    with api(GOOD) as (url, seen):
        check(url)

    assert PREDICT.validate_json(json.dumps({"instances": seen[0]["instances"]}))


@pytest.mark.parametrize(("prediction", "options", "sentence"), [
    (GOOD | {"demand": 200.0}, {}, "not inside its interval"),
    (GOOD | {"lower_95": -1.0}, {}, "not inside its interval"),
    (GOOD, {"ready": 503}, "run the training pipeline first"),
    (GOOD, {"metrics": "nothing"}, "does not count predictions"),
])
def test_a_bad_answer_fails_with_a_sentence(prediction: dict[str, float], options: Any, sentence: str) -> None:
    with api(prediction, **options) as (url, _):
        done = check(url)

    assert done.returncode == 1
    assert sentence in done.stderr


def test_a_network_that_lets_the_pod_through_a_little_later_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    process = start(f"http://127.0.0.1:{port}")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.5)
    with api(GOOD, port=port):
        stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stderr) == (0, "")
    assert stdout.startswith("version 7: 100 bikes")


def test_nobody_there_is_a_sentence_too() -> None:
    done = check("http://127.0.0.1:1", patience="0")

    assert done.returncode == 1
    assert "does not answer" in done.stderr
