"""Promotion by hand: any registered version goes through packaging and the same live checks as the pipeline's."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from bikeshare.core.rollout import RolloutPolicy
from bikeshare.errors import RolloutRefused
from bikeshare.ports import Ports, RolloutResult
from bikeshare.steps import rollout, verify
from bikeshare.steps.doorstep import Progress, quiet
from bikeshare.steps.package import Pack, package


def promote_version(
    ports: Ports, version: str, now: datetime, *, load: Callable[[Path], Any], pack: Pack, connect: rollout.Connect,
    url: str, policy: RolloutPolicy, progress: Progress = quiet, roll_out: Callable[..., Any] = rollout.roll_out,
    verify_live: Callable[..., Any] = verify.verify_live,
) -> RolloutResult:
    """Roll a registered version out; the gate is not asked again, the canary is.

    Args:
        ports: Collaborators.
        version: Registry version, also a rejected one: a human may know better.
        now: Naive local time.
        load: Loads an artifact directory and checks its hash.
        pack: Makes the packaged file.
        connect: Makes a client of a predictor's URL.
        url: Where clients reach the live API.
        policy: What a canary must show.
        progress: Called with one line per stage.
        roll_out: Canary, checks, switch, aliases.
        verify_live: Tests the live API end to end.

    Raises:
        NotFound: no such version.
        ArtifactError: its artifact is corrupt.
        RolloutRefused: a check failed; what served before serves.
    """
    ports.registry.get(version)
    with tempfile.TemporaryDirectory() as scratch:
        progress(f"fetching version {version}")
        directory = ports.registry.download(version, Path(scratch))
        artifact = load(directory)
        package(ports.store, directory, version, artifact.content_hash, pack)
    progress(f"rolling version {version} out")
    result: RolloutResult = roll_out(ports, version, artifact.forecaster, now, connect=connect, policy=policy)
    if result.accepted:
        progress("testing the live API")
        result = verify_live(ports, version, artifact.forecaster, now, url=url, connect=connect, policy=policy)
    if not result.accepted:
        raise RolloutRefused(f"version {version} was not promoted: {result.reason}")
    ports.registry.tag(version, {"status": "promoted", "promoted_at": now.isoformat()})
    return result
