"""The exit task, run whatever happened: lease back, end counted, intent closed, canary gone, failures reported."""

from datetime import datetime

from bikeshare.core.alerts import Alert
from bikeshare.errors import BatchRejected, BikeshareError
from bikeshare.ports import Ports
from bikeshare.steps.lease import give_back_lease
from bikeshare.steps.outcome import Outcome, read_outcome, write_outcome
from bikeshare.steps.tally import note_end


def finish(
    ports: Ports, *, run_key: str, reason: str, incident: str, state: str, message: str, now: datetime
) -> Outcome:
    """End a run in the records.

    A run that the engine calls successful but that left no outcome has silently skipped a branch: that is a failure.

    Args:
        ports: Collaborators.
        run_key: Key of the run.
        reason: Why it was started.
        incident: Thread of the alerts, may be empty.
        state: `SUCCEEDED` or another state of the pipeline engine.
        message: The engine's error message.
        now: Naive local time on the run's clock.
    """
    give_back_lease(ports.records, run_key)
    outcome = read_outcome(ports.store, run_key)
    if outcome is None:
        why = message or f"the engine ended the run as {state or 'unknown'}"
        if state == "SUCCEEDED":
            why = "the engine reports success, but no task wrote an outcome: a branch was skipped"
        outcome = Outcome(run_key, "failed", why, now)
        write_outcome(ports.store, outcome)
    note_end(ports.records, run_key, outcome.result, outcome.finished_at)
    if any(intent.run_key == run_key for intent in ports.records.intents()):
        ports.records.close_intent(run_key, outcome=outcome.result, finished_at=now)
    removed = _remove_canary(ports, run_key) if outcome.result == "failed" else ""
    if outcome.result == "failed" and outcome.error != BatchRejected.__name__:  # that alert was sent with the verdict
        ports.notifier.send(Alert(
            kind="pipeline_failed", key=f"pipeline_failed:{run_key}", incident=incident or f"run:{run_key}",
            title=f"Training run {run_key} failed"[:120], reason=f"{reason}: {outcome.reason}",
            action=f"{removed}{_serving(ports)}", at=now,
            command=f"bikeshare pipeline status {run_key}",
        ))
    return outcome


def _remove_canary(ports: Ports, run_key: str) -> str:
    """A roll-out that was killed left its version unchecked, and on a cluster a canary takes part of the traffic."""
    try:
        canary = ports.rollouts.canary_version()
        if canary is None or ports.registry.get(canary).tags.get("run_key") != run_key:
            return ""
        ports.rollouts.abort_canary(canary)
    except BikeshareError as error:
        return f"Whether it left a canary could not be asked ({error}). "
    return f"Its canary, version {canary}, was removed. "


def _serving(ports: Ports) -> str:
    champion = ports.registry.version_of("champion")
    alias = "no version is champion" if champion is None else f"the champion alias names {champion}"
    try:
        serving = ports.rollouts.serving_version()
    except BikeshareError:  # training needs no predictor: where none runs, the run's failure must still be told
        return f"Which version serves could not be asked; {alias}."
    if serving is None:
        return "No version serves yet."
    return f"Champion {champion} keeps serving." if serving == champion else f"Version {serving} serves, but {alias}."
