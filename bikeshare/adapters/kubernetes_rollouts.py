"""Roll-outs on Kubernetes: one annotation and one scale, on two Deployments that a chart installed.

The pod-template annotation `bikeshare.dev/model-version` pins pods to a version; the canary's scale says whether there
is one. Nothing else is written, and no chart renders either: chart upgrades and roll-outs cannot undo each other
(docs/decisions/0008-one-annotation-and-one-scale.md).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bikeshare.adapters.kubernetes_api import Deployments, Moved
from bikeshare.adapters.kubernetes_state import (
    base_url,
    is_complete,
    is_ready,
    last_written,
    pinned,
    progress,
    trouble,
    version_of,
)
from bikeshare.errors import Conflict, RolloutRefused, Unavailable

STABLE = "predictor"
CANARY = "predictor-canary"

_ATTEMPTS = 5
"""Controllers write to a Deployment's status at any time: a write that lost against one is decided again."""

Inspect = Callable[[str], Mapping[str, Any] | None]
"""Base URL of a predictor -> its `/-/state`, or None when it does not answer (as from outside the cluster)."""


@dataclass(frozen=True)
class Patience:
    """Limits, in seconds.

    Attributes:
        ready_seconds: A canary that is not ready by then is refused. An image pull on a new node takes minutes.
        rollout_seconds: All stable pods must run the version by then, or the old version is put back.
        abandoned_seconds: Whoever started a canary this long ago died: the next roll-out takes it over.
        poll_seconds: Pause between two looks.
    """

    ready_seconds: float = 300.0
    rollout_seconds: float = 900.0
    abandoned_seconds: float = 3600.0
    poll_seconds: float = 1.0


DEFAULT_PATIENCE = Patience()
"""Used unless a test is in a hurry."""


class KubernetesRollouts:
    """Steers the Deployments `predictor` and `predictor-canary` of one namespace."""

    def __init__(
        self, deployments: Deployments, canary_url: str, inspect: Inspect, *, patience: Patience = DEFAULT_PATIENCE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Remember where things are; `now` tells the API server's time, to see which canary was abandoned."""
        self._deployments, self._canary_url, self._inspect = deployments, canary_url, inspect
        self._patience, self._now = patience, now

    def start_canary(self, version: str) -> str:
        """Pin the canary, scale it to one, wait; return its Service's URL.

        Raises RolloutRefused (and scales to zero) when the version does not become ready, Conflict when another
        version is the canary.
        """
        self._settle(lambda: self._claim(version))
        try:
            self._await(CANARY, version, self._patience.ready_seconds)
        except RolloutRefused:
            self.abort_canary(version)
            raise
        return self._canary_url

    def promote_canary(self, version: str) -> None:
        """Pin the stable pods, wait until all of them run the version, end the canary.

        Raises RolloutRefused when they do not become ready; the version that served before is pinned again.
        """
        before = self.serving_version()
        canary = self._deployments.read(CANARY)
        if not canary.spec.replicas or pinned(canary) != version:
            if before == version:
                return
            raise RolloutRefused(f"version {version} is not the canary: start it before promoting it")
        self._deployments.pin(STABLE, version)
        try:
            self._await(STABLE, version, self._patience.rollout_seconds)
        except RolloutRefused:
            self._deployments.pin(STABLE, before)
            raise
        self.abort_canary(version)

    def abort_canary(self, version: str) -> None:
        """Scale the canary to zero, unless it is another version's."""
        def abort() -> None:
            canary = self._deployments.read(CANARY)
            if canary.spec.replicas and pinned(canary) in (None, version):
                self._deployments.scale(CANARY, 0, canary.metadata.resource_version)

        self._settle(abort)

    def serving_version(self) -> str | None:
        """The version of the stable pods; during a roll-out that was never finished the one before it."""
        stable = self._deployments.read(STABLE)
        wanted = pinned(stable)
        pods = sorted(self._deployments.pods(stable), key=lambda pod: pod.metadata.creation_timestamp)
        ready = [version_of(pod) for pod in pods if is_ready(pod)]
        return next((version for version in ready if version not in (None, wanted)), wanted)

    def canary_version(self) -> str | None:
        """The version that the canary is pinned to, while it is scaled up."""
        canary = self._deployments.read(CANARY)
        return pinned(canary) if canary.spec.replicas else None

    def _claim(self, version: str) -> None:
        canary = self._deployments.read(CANARY)
        other = pinned(canary)
        if canary.spec.replicas and other not in (None, version):
            since = last_written(canary)
            if since is not None and self._now() - since < timedelta(seconds=self._patience.abandoned_seconds):
                raise Conflict(f"version {other} is already a canary, since {since:%Y-%m-%dT%H:%M:%SZ}: wait for it")
        if other != version:
            canary = self._deployments.pin(CANARY, version, canary.metadata.resource_version)
        if canary.spec.replicas != 1:
            self._deployments.scale(CANARY, 1, canary.metadata.resource_version)

    def _await(self, name: str, version: str, seconds: float) -> None:
        """Return when every pod of the Deployment runs the version and is available.

        The condition `Progressing` is not looked at: it keeps saying ProgressDeadlineExceeded for a while after the
        template returns to an older one, and always does for pods that wait for their first version.
        """
        deadline = time.monotonic() + seconds
        while True:
            late = time.monotonic() > deadline
            try:
                deployment = self._deployments.read(name)
                if pinned(deployment) != version:
                    raise Conflict(f"version {pinned(deployment)} was pinned to {name} while {version} was awaited")
                if name == CANARY and not deployment.spec.replicas:
                    raise Conflict(f"{name} was scaled to zero while version {version} was awaited")
                if is_complete(deployment):
                    return
                self._examine(deployment, version, seconds if late else None)
            except Unavailable:
                if late:
                    raise
            time.sleep(self._patience.poll_seconds)

    def _examine(self, deployment: Any, version: str, waited_seconds: float | None) -> None:
        """Raise RolloutRefused when waiting cannot help, or when it took too long."""
        pods = [pod for pod in self._deployments.pods(deployment) if version_of(pod) == version and not is_ready(pod)]
        found = [problem for pod in pods if (problem := trouble(pod, self._state(pod))) is not None]
        for problem in found:
            if problem.hopeless:
                raise RolloutRefused(f"version {version} cannot serve: {problem.reason}")
        if waited_seconds is not None:
            reasons = "; ".join([progress(deployment), *(problem.reason for problem in found)])
            raise RolloutRefused(f"version {version} was not ready within {waited_seconds:g} s: {reasons}")

    def _state(self, pod: Any) -> Mapping[str, Any] | None:
        url = base_url(pod)
        return None if url is None else self._inspect(url)

    def _settle(self, work: Callable[[], None]) -> None:
        for attempt in range(1, _ATTEMPTS):
            try:
                return work()
            except Moved:  # most likely by a controller that reacts to our own write: let it finish
                time.sleep(attempt * self._patience.poll_seconds)
        return work()
