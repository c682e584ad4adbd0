"""`python -m services.predictor --port 3000`: the same Bento in one process.

`bentoml serve` adds a parent process per service (84 MB and two seconds to start here); the supervisor, which
restarts processes itself, runs the Bento's ASGI application directly.
"""

import argparse
import os
import sys

SWITCH_SECONDS = 0.0005
"""How long the log's thread may keep a request waiting for the interpreter; Python's default is ten times that."""


def main() -> None:
    """Serve until SIGTERM; in-flight requests finish and the prediction log is flushed first."""
    parser = argparse.ArgumentParser(prog="python -m services.predictor")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--spare", action="store_true", help="import everything, then read `VERSION PORT` from stdin")
    options = parser.parse_args()

    import uvicorn
    from uvicorn.config import STARTUP_FAILURE

    from services.predictor.direct import Direct
    from services.predictor.logs import configure
    from services.predictor.protocol import IDLE_SECONDS, BoundedProtocol
    from services.predictor.service import MOUNT, Predictor, Shortcut

    configure()
    sys.setswitchinterval(SWITCH_SECONDS)
    application = Shortcut(Predictor.to_asgi(is_main=True))  # type: ignore[attr-defined]
    port = _take_orders() if options.spare else options.port
    if port is None:
        return
    BoundedProtocol.direct = Direct(MOUNT.api)
    server = uvicorn.Server(uvicorn.Config(
        application, host=options.host, port=port, log_config=None, access_log=False,
        server_header=False, proxy_headers=False, interface="asgi3", loop="uvloop", http=BoundedProtocol, ws="none",
        backlog=1024, timeout_keep_alive=IDLE_SECONDS, timeout_notify=1,
        callback_notify=BoundedProtocol.close_overdue, timeout_graceful_shutdown=25,
    ))
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _take_orders() -> int | None:
    """Wait for the supervisor to name version and port; None when it ended without doing so."""
    import services.predictor.start  # noqa: F401  the imports that take seconds
    from bikeshare.settings import PREFIX

    words = sys.stdin.readline().split()
    if len(words) != 2:
        return None
    os.environ[f"{PREFIX}MODEL_VERSION"] = words[0]
    return int(words[1])


if __name__ == "__main__":
    main()
