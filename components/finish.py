"""The exit task: give the lease back and report failures."""

from kfp.dsl import PipelineTaskFinalStatus

from components._runtime import component


@component
def finish(run_key: str, job: str, reason: str, incident: str, now: str, status: PipelineTaskFinalStatus):
    """Run at the end, whatever happened."""
    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import say, this_run
    from bikeshare.steps.finish import finish as finish_run

    ports = wire(load_settings())
    run = this_run(run_key, job, now, ports.clock)
    outcome = finish_run(
        ports, run_key=run.key, reason=reason, incident=incident, state=status.state,
        message=status.error_message or "", now=run.now,
    )
    say(f"{outcome.result}: {outcome.reason}")
