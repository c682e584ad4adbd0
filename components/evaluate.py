"""Compare the challenger with the Champion and the naive rule on the same unseen rows; decide."""

from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components._runtime import component


@component
def evaluate(
    run_key: str, job: str, now: str, seed: int, observations: Input[Dataset], challenger: Input[Model],
    trial: Input[Dataset], checklist: Output[Artifact], report: Output[Markdown],
) -> bool:
    """Return whether the challenger may be rolled out; the reasons are in `checklist`."""
    import pandas as pd

    from bikeshare.adapters.artifacts import load_artifact
    from bikeshare.bootstrap import wire_clock, wire_store
    from bikeshare.settings import load_settings
    from bikeshare.steps.doorstep import path_of, say, this_run
    from bikeshare.steps.evaluate import evaluate_challenger
    from bikeshare.steps.gate import checklist_markdown, judge, write_checklist
    from bikeshare.steps.outcome import noting_failure

    settings = load_settings()
    with noting_failure(wire_store(settings), this_run(run_key, job, now, wire_clock(settings))):
        evaluation = evaluate_challenger(
            pd.read_parquet(observations.path), path_of(challenger.path), path_of(trial.path), load_artifact,
            policy=settings.gate, seed=seed, progress=say,
        )
        promotion = judge(evaluation, settings.gate)
    write_checklist(path_of(checklist.path), promotion, evaluation)
    path_of(report.path).write_text(checklist_markdown(promotion))
    say(promotion.reason)
    return promotion.accepted
