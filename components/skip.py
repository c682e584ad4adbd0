"""End a scheduled run on a day without enough to compare a challenger on."""

from kfp.dsl import Dataset, Input

from components._runtime import component


@component
def skip(run_key: str, job: str, now: str, observations: Input[Dataset]) -> str:
    """Return why nothing is trained."""
    import pandas as pd

    from bikeshare.bootstrap import wire_clock, wire_registry, wire_store
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import say, this_run
    from bikeshare.steps.due import skip as skip_run

    settings = load_settings()
    run = this_run(run_key, job, now, wire_clock(settings))
    outcome = skip_run(
        pd.read_parquet(observations.path), wire_registry(settings), wire_store(settings), settings.gate,
        run_key=run.key, now=run.now,
    )
    say(outcome.reason)
    return outcome.reason
