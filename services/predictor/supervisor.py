"""Predictor processes of the embedded profile: one serves, one may be a canary; crashed ones come back.

A child is ready when its `/-/state` says so. Children get SIGTERM when this process dies, whatever the cause.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp

from bikeshare.errors import BikeshareError, Conflict, RolloutRefused
from services.predictor.child import Child, Launcher, SupervisorPolicy, die_with_parent, free_port, state_of

logger = logging.getLogger("bikeshare.supervisor")

PATIENCE = SupervisorPolicy()


class NeverServable(RolloutRefused):
    """The process itself says that it can never serve this version; other failures of a start may pass."""


class Supervisor:
    """Owns the children; all control operations are serialised."""

    def __init__(
        self, launch: Launcher, home: Path, policy: SupervisorPolicy = PATIENCE
    ) -> None:
        self._launch = launch
        self._state_file = home / "serving.json"
        self._log_file = home / "logs" / "predictor.log"
        self._policy = policy
        self._control = asyncio.Lock()
        self._available = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.serving: Child | None = None
        self.canary: Child | None = None
        self._spare: Child | None = None
        self._spare_wanted = False
        self.version: str | None = None
        self.previous: str | None = None
        self.restarts = 0
        self.problem: str | None = None
        home.mkdir(parents=True, exist_ok=True)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)

    def remembered(self) -> str | None:
        """The version of the last promotion, from disk; also recalls the one before it."""
        try:
            state = json.loads(self._state_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        self.previous = state.get("previous")
        version: str | None = state.get("version")
        return version

    def resume(self, version: str) -> None:
        """Serve a version in the background, retrying until it is ready; one that refuses, the version before it."""
        self.version = version
        self._spawn_task(self._serve_until_ready(version))

    async def start_canary(self, version: str) -> str:
        """Start a version beside the serving one; raises RolloutRefused or Conflict."""
        async with self._control:
            if self.canary is not None:
                if self.canary.version == version and self.canary.process.returncode is None:
                    return self.canary.url
                raise Conflict(
                    f"version {self.canary.version} is already a canary: abort or promote it before {version}"
                )
            self.canary = await self._start_ready(version)
            self._spawn_task(self._watch_canary(self.canary))
            return self.canary.url

    async def promote(self, version: str) -> None:
        """Switch the front to the canary; the old child finishes its requests first."""
        async with self._control:
            canary = self.canary
            if canary is None or canary.version != version:
                if self.version == version and self.serving is not None:
                    return
                raise RolloutRefused(f"version {version} is not the canary: start it before promoting it")
            if canary.process.returncode is not None:
                self.canary = None
                raise RolloutRefused(f"canary {version} died with exit code {canary.process.returncode}; see its log")
            old, self.serving, self.canary = self.serving, canary, None
            if self.version != version:
                self.previous = self.version
            self.version, self.problem = version, None
            self._remember()
            self._available.set()
            self._spawn_task(self._watch_serving(canary))
            self.want_spare()
        if old is not None:
            await self._drain(old)

    async def abort(self, version: str) -> None:
        """Remove the canary if it is this version."""
        async with self._control:
            if self.canary is not None and self.canary.version == version:
                canary, self.canary = self.canary, None
                await self._stop(canary)

    async def child(self, wait_seconds: float) -> Child | None:
        """The serving child, waiting a little while one is being restarted."""
        if self.serving is None and wait_seconds > 0 and self.version is not None and not self._closing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._available.wait(), wait_seconds)
        return self.serving

    def suspect(self, child: Child) -> None:
        """A request could not reach this child: look at it now."""
        child.suspected.set()

    def status(self) -> dict[str, Any]:
        """What runs, for people and for the control API."""

        def describe(child: Child | None) -> dict[str, Any] | None:
            if child is None:
                return None
            return {"version": child.version, "url": child.url, "pid": child.process.pid, "in_flight": child.in_flight}

        return {
            "version": self.version, "previous": self.previous, "serving": describe(self.serving),
            "canary": describe(self.canary), "spare": describe(self._spare), "restarts": self.restarts,
            "problem": self.problem,
        }

    async def close(self) -> None:
        """Stop all children, gracefully; nothing stays behind."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        children = [child for child in (self.serving, self.canary, self._spare) if child is not None]
        self.serving = self.canary = self._spare = None
        self._available.clear()
        await asyncio.gather(*(self._drain(child) for child in children))

    async def _serve_until_ready(self, version: str) -> None:
        pause = self._policy.backoff_seconds
        while not self._closing:
            async with self._control:
                if self.version != version or self.serving is not None:
                    return
                try:
                    child = await self._start_ready(version)
                except BikeshareError as error:
                    self.problem = str(error)
                    logger.error("version %s does not start: %s", version, error)
                    refused = isinstance(error, NeverServable)
                else:
                    self.serving, self.problem = child, None
                    self._remember()
                    self._available.set()
                    self._spawn_task(self._watch_serving(child))
                    self.want_spare()
                    return
                if refused and self.previous is not None and self.previous != version:
                    logger.warning("falling back to version %s", self.previous)
                    version, self.previous = self.previous, None
                    self.version = version
                    continue
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._policy.backoff_max_seconds)

    async def _start_ready(self, version: str) -> Child:
        child = await self._start(version)
        try:
            await self._until_ready(child)
        except BaseException:
            await self._stop(child, grace_seconds=2.0)
            raise
        return child

    def want_spare(self) -> None:
        """Have a spare process ready soon, unless there is one or none is wanted."""
        if self._policy.spare_seconds is not None and not self._spare_wanted and not self._closing:
            self._spare_wanted = True
            self._spawn_task(self._make_spare(self._policy.spare_seconds))

    async def _make_spare(self, pause: float) -> None:
        await asyncio.sleep(pause)
        self._spare_wanted = False
        if self._spare is None or self._spare.process.returncode is not None:
            self._spare = await self._spawn("")

    async def _start(self, version: str) -> Child:
        spare, self._spare = self._spare, None
        if spare is not None and spare.process.returncode is None and spare.process.stdin is not None:
            port = free_port()
            try:
                spare.process.stdin.write(f"{version} {port}\n".encode())
                await spare.process.stdin.drain()
            except OSError:
                await self._stop(spare, grace_seconds=0.0)
            else:
                spare.version, spare.port = version, port
                return spare
        return await self._spawn(version)

    async def _spawn(self, version: str) -> Child:
        port = free_port()
        launch = self._launch(version, port)
        with self._log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *launch.arguments, env=dict(launch.environment), cwd=launch.folder,
                stdin=asyncio.subprocess.DEVNULL if version else asyncio.subprocess.PIPE,
                stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent,
            )
        # The child closes idle connections after 5 s; ours must be dropped earlier or a request meets a closed one.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3.0)
        session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return Child(version=version, port=port, process=process, session=session)

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + self._policy.ready_seconds
        state: dict[str, Any] = {}
        while time.monotonic() < deadline:
            if child.process.returncode is not None:
                raise RolloutRefused(
                    f"version {child.version} ended with exit code {child.process.returncode} before it was ready;"
                    f" see {self._log_file}"
                )
            state = await state_of(child) or state
            if state.get("ready"):
                return
            if state.get("refused"):
                raise NeverServable(f"version {child.version} refuses to serve: {state.get('problem')}")
            await asyncio.sleep(0.05)
        raise RolloutRefused(
            f"version {child.version} was not ready after {self._policy.ready_seconds:g} s"
            f" ({state.get('problem') or 'no answer'}); see {self._log_file}"
        )

    async def _watch_canary(self, child: Child) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.process.wait(), self._policy.canary_seconds)
        if self.canary is not child:
            return
        code = child.process.returncode
        reason = "nobody promoted or aborted it" if code is None else f"it ended with exit code {code}"
        logger.error("removing canary %s: %s", child.version, reason)
        await self.abort(child.version)

    async def _watch_serving(self, child: Child) -> None:
        """Replace the serving child when it dies or stops answering."""
        failures = 0
        exited = asyncio.create_task(child.process.wait())
        try:
            while self.serving is child and not exited.done() and failures < self._policy.probe_failures:
                suspicion = asyncio.create_task(child.suspected.wait())
                try:
                    await asyncio.wait(
                        {exited, suspicion}, timeout=self._policy.probe_seconds, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    suspicion.cancel()
                if child.suspected.is_set():
                    child.suspected.clear()
                    await asyncio.sleep(0.05)
                failures = 0 if await state_of(child) is not None else failures + 1
        finally:
            exited.cancel()
        if self.serving is not child or child.stopping or self._closing:
            return
        reason = f"exit code {child.process.returncode}" if child.process.returncode is not None else "no answer"
        logger.error("serving version %s failed (%s); restarting it", child.version, reason)
        self.serving = None
        self._available.clear()
        self.restarts += 1
        await self._stop(child, grace_seconds=0.0)
        await self._serve_until_ready(child.version)

    async def _drain(self, child: Child) -> None:
        deadline = time.monotonic() + self._policy.drain_seconds
        while child.in_flight and time.monotonic() < deadline and child.process.returncode is None:
            await asyncio.sleep(0.02)
        await self._stop(child)

    async def _stop(self, child: Child, grace_seconds: float | None = None) -> None:
        child.stopping = True
        grace = self._policy.stop_seconds if grace_seconds is None else grace_seconds
        await child.session.close()
        if child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.process.wait(), max(grace, 0.01))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.process.pid, signal.SIGKILL)
        await child.process.wait()

    def _remember(self) -> None:
        draft = self._state_file.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps({"version": self.version, "previous": self.previous}))
        draft.replace(self._state_file)

    def _spawn_task(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
