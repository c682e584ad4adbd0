"""A stand-in predictor process for the front's tests: starts in 0.1 s, answers like one, misbehaves on request.

`python -m tests.fakes.predictor_process VERSION PORT`; versions that start with `refuse` say so in their state,
`crash` end at once, `mute` never become ready. With an empty version, both are read from standard input.
A file `mishap` in the folder `FAKE_HOME` holds one of these words: every version does that until the file is gone.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MISHAP = Path(os.environ.get("FAKE_HOME", ""), "mishap")


def behaviour(version: str) -> str:
    try:
        return MISHAP.read_text()
    except FileNotFoundError:
        return version


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    version = ""

    def do_GET(self) -> None:
        word = behaviour(self.version)
        refused = word.startswith("refuse")
        ready = not refused and not word.startswith("mute")
        problem = None if ready else ("SHA-256 differs" if refused else "still loading")
        self._answer({"ready": ready, "refused": refused, "problem": problem, "model_version": self.version})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(float(self.headers.get("X-Delay", 0)))
        if self.headers.get("X-Die"):
            os.kill(os.getpid(), signal.SIGKILL)
        self._answer({
            "model_version": self.version, "pid": os.getpid(), "path": self.path,
            "request_id": self.headers.get("X-Request-ID"), "echo": body.decode(),
        })

    def _answer(self, document: dict[str, object]) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    version, port = sys.argv[1], int(sys.argv[2])
    if not version:
        words = sys.stdin.readline().split()
        if not words:
            return
        version, port = words[0], int(words[1])
    if behaviour(version).startswith("crash"):
        sys.exit(7)
    Handler.version = version
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = False

    def stop(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        server.serve_forever(poll_interval=0.02)
    finally:
        server.server_close()


if __name__ == "__main__":
    main()
