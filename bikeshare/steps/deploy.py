"""Bring an accepted challenger to live traffic: checklist, package, roll-out, live test, outcome."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bikeshare.core.alerts import Alert
from bikeshare.core.promotion import Promotion
from bikeshare.core.rollout import DEFAULT_ROLLOUT, RolloutPolicy
from bikeshare.errors import RolloutRefused, TemporaryError
from bikeshare.ports import Ports
from bikeshare.steps import rollout, verify
from bikeshare.steps.doorstep import Progress, quiet
from bikeshare.steps.gate import read_checklist, record_gate
from bikeshare.steps.outcome import Outcome, write_outcome
from bikeshare.steps.package import Pack, Package, package


@dataclass(frozen=True)
class DeployRequest:
    """What is to be deployed, for which run.

    Attributes:
        version: Registry version of the challenger.
        artifact: Its directory.
        checklist: What the gate wrote.
        run_key: Key of the run.
        incident: Thread of the alerts, empty for a run without one.
        reason: Why the run was started.
        now: Naive local time on the run's clock.
        url: Where clients reach the live API.
    """

    version: str
    artifact: Path
    checklist: Path
    run_key: str
    incident: str
    reason: str
    now: datetime
    url: str


def deploy(
    ports: Ports, request: DeployRequest, *, load: Callable[[Path], Any], pack: Pack, connect: rollout.Connect,
    policy: RolloutPolicy = DEFAULT_ROLLOUT, progress: Progress = quiet,
    roll_out: Callable[..., Any] = rollout.roll_out, verify_live: Callable[..., Any] = verify.verify_live,
) -> Outcome:
    """Deploy, or leave everything as it was.

    Traffic moves inside `roll_out`, once the gate's verdict is recorded, and the aliases after it; a live API that then
    fails its test is rolled back. The outcome is written before the registry is told of it: from there on a registry
    that does not answer fails the task, not the account of what happened.

    Args:
        ports: Collaborators.
        request: What to deploy.
        load: Loads the artifact directory and checks its hash.
        pack: Makes the packaged file.
        connect: Makes a client of a predictor's URL.
        policy: What canary and live API must show.
        progress: Called with one line per stage.
        roll_out: Canary, checks, switch.
        verify_live: Tests the live API end to end.

    Raises:
        RolloutRefused: the gate had refused, or the canary or the live API failed a check; the old version serves,
            the version is tagged rejected, people were told, the outcome is `rolled_back`.
        Unavailable: something did not answer; `roll_out` says what serves if traffic had moved.
    """
    registry, version = ports.registry, request.version
    promotion, before, after = read_checklist(request.checklist)
    if not promotion.accepted:
        raise RolloutRefused(f"version {version} did not pass the gate: {promotion.reason}")
    progress(f"packaging version {version}")
    artifact = load(request.artifact)
    described = package(ports.store, request.artifact, version, artifact.content_hash, pack)
    progress(f"rolling version {version} out")
    with ThreadPoolExecutor(max_workers=1) as background:  # a registry's first call costs seconds, a canary's start too
        recorded = background.submit(_record, ports, version, promotion, described)
        rolled = roll_out(
            ports, version, artifact.forecaster, request.now, connect=connect, policy=policy,
            before_switch=recorded.result,
        )
    champion = rolled.previous
    if rolled.accepted:
        progress("testing the live API")
        rolled = verify_live(
            ports, version, artifact.forecaster, request.now, url=request.url, connect=connect, policy=policy
        )
    if not rolled.accepted:
        write_outcome(ports.store, Outcome(
            request.run_key, "rolled_back", rolled.reason, request.now, version, champion, before, after
        ))
        registry.tag(version, {"status": "rejected"})
        if registry.version_of("challenger") == version:
            registry.delete_alias("challenger")
        raise RolloutRefused(f"version {version} was not rolled out: {rolled.reason}") from recorded.exception()
    previous = None if champion == version else champion
    outcome = Outcome(request.run_key, "promoted", promotion.reason, request.now, version, previous, before, after)
    write_outcome(ports.store, outcome)
    _tell(ports, request, promotion, outcome)
    registry.tag(version, {"status": "promoted", "promoted_at": request.now.isoformat()})
    progress(f"version {version} is champion" + (f", {previous} is previous" if previous else ""))
    return outcome


def _record(ports: Ports, version: str, promotion: Promotion, described: Package) -> None:
    record_gate(ports.registry, version, promotion)
    ports.registry.tag(version, {"package": ports.store.url(described.key), "package_sha256": described.sha256})


def _tell(ports: Ports, request: DeployRequest, promotion: Promotion, outcome: Outcome) -> None:
    before, after = outcome.wape_before, outcome.wape_after
    alert = Alert(
        kind="retrained", key=f"retrained:{request.version}", incident=request.incident or f"run:{request.run_key}",
        title=(f"Version {request.version} is the first champion" if outcome.previous is None
               else f"Version {request.version} replaced {outcome.previous} as champion")[:120],
        reason=f"Requested because: {request.reason.rstrip('.')}. Gate: {promotion.reason}.", at=request.now,
        action=f"Version {request.version} passed the gate and the live checks and takes all traffic.",
        before_after=() if before is None or after is None else (
            ("WAPE, same unseen rows", f"{before:.1%}", f"{after:.1%}"),
        ),
        command="" if outcome.previous is None else "bikeshare registry rollback",
    )
    try:
        ports.notifier.send(alert)
    except TemporaryError as error:
        # The version serves already: failing the run now would report the opposite of what happened.
        ports.registry.tag(request.version, {"alert_not_sent": str(error)[:4000]})
