"""The `training` pipeline: wiring only. What each task does is in `components/`, why is in `bikeshare/`."""

from kfp import dsl

from bikeshare.core.training import TrainingConfig
from components._runtime import on_cluster
from components.deploy import deploy
from components.evaluate import evaluate
from components.finish import finish
from components.ingest import ingest
from components.refuse import refuse
from components.skip import skip
from components.train import train

JOB = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
"""Names a scheduled run, whose parameters were fixed before it existed."""


@dsl.pipeline(name="bikeshare-training", description="Ingest, train, judge, roll out; the Champion changes or stays.")
def training(
    run_key: str = "",
    reason: str = "schedule",
    incident: str = "",
    now: str = "",
    window_start: str = "",
    window_end: str = "",
    adapt_since: str = "",
    holdout_days: int = 0,
    if_due: bool = False,
    trees: int = TrainingConfig().trees,
    seed: int = TrainingConfig().seed,
):
    """Train a challenger and let it replace the Champion if it is better."""
    end = finish(run_key=run_key, job=JOB, reason=reason, incident=incident, now=now)
    on_cluster(end, cpu="100m", memory="768Mi").set_caching_options(False)
    with dsl.ExitHandler(end, name="guarded"):
        rows = ingest(
            run_key=run_key, job=JOB, now=now, window_start=window_start, window_end=window_end, if_due=if_due
        )
        on_cluster(rows, cpu="250m", memory="1Gi").set_caching_options(False)
        with dsl.If(rows.outputs["Output"] == True, name="due"):  # noqa: E712 - the engine compares
            made = train(
                run_key=run_key, job=JOB, reason=reason, now=now, adapt_since=adapt_since, holdout_days=holdout_days,
                trees=trees, seed=seed, observations=rows.outputs["observations"],
            )
            on_cluster(made, cpu="1", memory="2Gi").set_caching_options(False)
            made.set_retry(num_retries=1, backoff_duration="15s", backoff_factor=2)
            judged = evaluate(
                run_key=run_key, job=JOB, now=now, seed=seed, observations=rows.outputs["observations"],
                challenger=made.outputs["challenger"], trial=made.outputs["trial"],
            )
            on_cluster(judged, cpu="500m", memory="1Gi").set_caching_options(False)
            with dsl.If(judged.outputs["Output"] == True, name="accepted"):  # noqa: E712 - the engine compares
                live = deploy(
                    run_key=run_key, job=JOB, reason=reason, incident=incident, now=now, version=made.outputs["Output"],
                    challenger=made.outputs["challenger"], checklist=judged.outputs["checklist"],
                )
                on_cluster(live, cpu="500m", memory="1Gi").set_caching_options(False)
            with dsl.Else(name="refused"):
                kept = refuse(
                    run_key=run_key, job=JOB, incident=incident, now=now, version=made.outputs["Output"],
                    checklist=judged.outputs["checklist"],
                )
                on_cluster(kept, cpu="250m", memory="768Mi").set_caching_options(False)
        with dsl.Else(name="not-due"):
            rest = skip(run_key=run_key, job=JOB, now=now, observations=rows.outputs["observations"])
            on_cluster(rest, cpu="100m", memory="768Mi").set_caching_options(False)
