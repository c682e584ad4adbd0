"""The real front and supervisor in a thread, over stand-in predictor processes."""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.predictor.child import Launch, Launcher, SupervisorPolicy
from services.predictor.front import FrontPolicy, Running, start
from services.predictor.supervisor import Supervisor

ROOT = Path(__file__).resolve().parents[2]
QUICK = SupervisorPolicy(
    ready_seconds=3.0, drain_seconds=5.0, stop_seconds=2.0, probe_seconds=0.1, probe_failures=3, backoff_seconds=0.05,
    backoff_max_seconds=0.2, spare_seconds=None,
)

PATIENT = FrontPolicy()


@dataclass
class FrontThread:
    url: str
    control_url: str
    home: Path
    supervisor: Supervisor
    loop: asyncio.AbstractEventLoop

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)


def launcher(home: Path) -> Launcher:
    environment = {"PATH": os.environ.get("PATH", ""), "FAKE_HOME": str(home)}

    def launch(version: str, port: int) -> Launch:
        arguments = (sys.executable, "-S", "-m", "tests.fakes.predictor_process", version, str(port))
        return Launch(arguments, environment, ROOT)

    return launch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def front(home: Path, policy: FrontPolicy = PATIENT, quick: SupervisorPolicy = QUICK) -> Iterator[FrontThread]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port, control_port = free_port(), free_port()

    async def begin() -> tuple[Running, Supervisor]:
        launch = launcher(home)
        supervisor = Supervisor(launch, home, quick)
        running = await start(
            launch, home, host="127.0.0.1", port=port, control_port=control_port, supervisor=supervisor, policy=policy
        )
        return running, supervisor

    running, supervisor = asyncio.run_coroutine_threadsafe(begin(), loop).result(20)
    try:
        yield FrontThread(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control_port}", home, supervisor, loop)
    finally:
        asyncio.run_coroutine_threadsafe(running.close(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
