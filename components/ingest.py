"""Judge landed days and freeze the rows of this run."""

from kfp.dsl import Dataset, Output

from components._runtime import component


@component
def ingest(
    run_key: str, job: str, now: str, window_start: str, window_end: str, if_due: bool,
    observations: Output[Dataset],
) -> bool:
    """Take the lease, ingest and validate new days, write the labelled rows as one Parquet file; is a training due?"""
    from datetime import timedelta

    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import moment, say, this_run, wall_time
    from bikeshare.steps.due import due
    from bikeshare.steps.outcome import noting_failure
    from bikeshare.steps.prepare import prepare

    settings = load_settings()
    ports = wire(settings)
    run = this_run(run_key, job, now, ports.clock)
    with noting_failure(ports.store, run):
        prepared = prepare(
            ports, run_key=run.key, now=run.now, wall_now=wall_time(), window_start=moment(window_start),
            window_end=moment(window_end), policy=settings.validation,
            hold=timedelta(hours=settings.retraining.hold_hours), progress=say,
        )
    prepared.observations.to_parquet(observations.path, index=False)
    observations.metadata["data_hash"] = prepared.data_hash
    return not if_due or due(prepared.observations, ports.registry, settings.gate).due
