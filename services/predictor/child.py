"""One predictor process: how it is started, found and watched."""

import asyncio
import ctypes
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class SupervisorPolicy:
    """Patience, in seconds.

    Attributes:
        ready_seconds: A child that is not ready by then is stopped; four times the slowest start measured.
        drain_seconds: In-flight requests of a replaced child may take this long.
        stop_seconds: After SIGTERM a child may flush its prediction log this long before SIGKILL.
        probe_seconds: Pause between liveness probes of the serving child.
        probe_failures: Probes in a row that must fail before a child that still runs is replaced.
        canary_seconds: A canary that is neither promoted nor aborted by then is removed: whoever started it died.
        spare_seconds: A spare process, everything imported and waiting for a version, is started this long after
            the last change; it cuts a roll-out or a restart by the seconds that imports take. None: no spare.
        backoff_seconds: First pause between two restarts; doubles up to `backoff_max_seconds`.
        backoff_max_seconds: Longest pause between two restarts.
    """

    ready_seconds: float = 60.0
    drain_seconds: float = 30.0
    stop_seconds: float = 20.0
    probe_seconds: float = 1.0
    probe_failures: int = 5
    canary_seconds: float = 600.0
    spare_seconds: float | None = 2.0
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 30.0


@dataclass(frozen=True)
class Launch:
    """How to start one predictor process."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


Launcher = Callable[[str, int], Launch]
"""(version, port) -> how to start it. An empty version: a spare that reads both from standard input."""


@dataclass
class Child:
    """One running predictor."""

    version: str
    port: int
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    in_flight: int = 0
    stopping: bool = False
    suspected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Base URL of the process itself."""
        return f"http://127.0.0.1:{self.port}"


async def state_of(child: Child) -> dict[str, Any] | None:
    """What the child says about itself, None when it does not answer."""
    try:
        timeout = aiohttp.ClientTimeout(total=2.0)
        async with child.session.get(f"{child.url}/-/state", timeout=timeout) as answer:
            state: dict[str, Any] = await answer.json(content_type=None)
            return state
    except (aiohttp.ClientError, TimeoutError, ValueError, RuntimeError, OSError):
        return None


def die_with_parent() -> None:
    """Runs in the new process: the kernel sends it SIGTERM when its parent ends, whatever the cause."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


