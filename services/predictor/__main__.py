"""`python -m services.predictor --port 3000`: the same Bento in one process.

`bentoml serve` adds a parent process per service (84 MB and two seconds to start here); the supervisor, which
restarts processes itself, runs the Bento's ASGI application directly.
"""

import argparse


def main() -> None:
    """Serve until SIGTERM; in-flight requests finish and the prediction log is flushed first."""
    parser = argparse.ArgumentParser(prog="python -m services.predictor")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()

    import uvicorn

    from services.predictor.logs import configure
    from services.predictor.service import Predictor

    configure()
    application = Predictor.to_asgi(is_main=True)  # type: ignore[attr-defined]
    uvicorn.run(
        application, host=options.host, port=options.port, log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=5, timeout_graceful_shutdown=25,
    )


if __name__ == "__main__":
    main()
