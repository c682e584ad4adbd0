"""What `bikeshare serve` runs: the front over predictors of this checkout, until SIGTERM or Ctrl-C."""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bikeshare.errors import Conflict
from bikeshare.settings import Settings
from services.predictor.child import Launch, Launcher
from services.predictor.front import start

logger = logging.getLogger("bikeshare.front")


def predictor_launcher(settings: Settings, checkout: Path) -> Launcher:
    """Start predictors of this checkout with these settings, pinned to a version."""
    home = settings.home.absolute()
    base = {key: value for key, value in os.environ.items() if not key.startswith("BIKESHARE_")}
    base |= settings.to_environment()
    base |= {
        "BIKESHARE_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(home / "bentoml"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH")))),
        # One request is microseconds of work: a second thread per forest only costs.
        "OMP_NUM_THREADS": "1",
    }

    def launch(version: str, port: int) -> Launch:
        arguments = (sys.executable, "-m", "services.predictor", "--port", str(port))
        if not version:
            return Launch((*arguments, "--spare"), base, checkout)
        return Launch(arguments, base | {"BIKESHARE_MODEL_VERSION": version}, checkout)

    return launch


async def serve(
    settings: Settings, checkout: Path, *, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Run front, control API and predictors until SIGTERM or Ctrl-C.

    Raises:
        Conflict: another one runs on this home; a second would replace the token that steers the first.
    """
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home):
        await _serve(settings, checkout, home, host=host, port=port, announce=announce)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the home's lock; the operating system gives it back whatever ends this process."""
    with (home / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another `bikeshare serve` runs on {home}: end it, or give this one another BIKESHARE_HOME"
            ) from None
        yield


async def _serve(
    settings: Settings, checkout: Path, home: Path, *, host: str, port: int, announce: Callable[[str], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    launch = predictor_launcher(settings, checkout)
    running = await start(launch, home, host=host, port=port, control_port=settings.supervisor_port)
    try:
        announce(f"listening on http://{host}:{port}")
        version = settings.model_version or running.supervisor.remembered()
        if not version and _registry_may_exist(settings):
            version = await _champion(launch, stop)
        if version:
            running.supervisor.resume(version)
        else:
            running.supervisor.want_spare()
        await stop.wait()
    finally:
        await running.close()


def _registry_may_exist(settings: Settings) -> bool:
    """Whether asking can be worth the seconds its client needs to load: a file that is not there has no champion."""
    file = settings.tracking.removeprefix("sqlite:///")
    return file == settings.tracking or Path(file).exists()


async def _champion(launch: Launcher, stop: asyncio.Event) -> str | None:
    """Ask the registry in a short-lived process: its client is large and only needed once."""
    plan = launch("", 0)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.predictor.champion", env=dict(plan.environment), cwd=plan.folder,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )
    answer = asyncio.create_task(process.communicate())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({answer, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not answer.done():
        process.kill()
    output, _ = await answer
    if process.returncode != 0:
        logger.error("the registry did not answer; serving starts with the next roll-out")
        return None
    return output.decode().strip() or None
