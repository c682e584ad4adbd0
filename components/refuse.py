"""Mark a refused challenger, tell people, leave the Champion alone."""

from kfp.dsl import Artifact, Input

from components._runtime import component


@component
def refuse(run_key: str, job: str, incident: str, now: str, version: str, checklist: Input[Artifact]) -> str:
    """Return the refused version."""
    from bikeshare.bootstrap import wire_clock, wire_notifier, wire_records, wire_registry, wire_store
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import path_of, say, this_run
    from bikeshare.steps.gate import refuse as refuse_version

    settings = load_settings()
    run = this_run(run_key, job, now, wire_clock(settings))
    outcome = refuse_version(
        wire_registry(settings), wire_store(settings), wire_notifier(settings, wire_records(settings)), version=version,
        checklist=path_of(checklist.path), run_key=run.key, incident=incident, now=run.now,
    )
    say(outcome.reason)
    return outcome.version
