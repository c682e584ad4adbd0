"""Train, backtest, export and register a challenger."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components._runtime import component


@component
def train(
    run_key: str, job: str, reason: str, now: str, adapt_since: str, holdout_days: int, trees: int, seed: int,
    observations: Input[Dataset], challenger: Output[Model], trial: Output[Dataset], metrics: Output[Metrics],
) -> str:
    """Return the registry version of the challenger; `trial` holds what the gate compares it on."""
    import pandas as pd

    from bikeshare.adapters.artifacts.writing import save_artifact
    from bikeshare.adapters.git import revision
    from bikeshare.adapters.plots import draw_plots
    from bikeshare.bootstrap import wire_clock, wire_registry, wire_store
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import path_of, say, this_run
    from bikeshare.steps.outcome import noting_failure
    from bikeshare.steps.train import request_of, train_challenger

    settings = load_settings()
    run = this_run(run_key, job, now, wire_clock(settings))
    with noting_failure(wire_store(settings), run):
        made = train_challenger(
            pd.read_parquet(observations.path), wire_registry(settings),
            request_of(run.key, reason, run.now, adapt_since, holdout_days, trees, seed, revision(), settings.gate),
            artifact=path_of(challenger.path), trial=path_of(trial.path), save=save_artifact, draw=draw_plots,
            progress=say,
        )
    metrics.log_metric("test_wape", made.scores.wape)
    challenger.metadata["version"] = made.version
    return made.version
