"""Package an accepted version, roll it out, test the live API."""

from kfp.dsl import Artifact, Input, Model

from components._runtime import component


@component
def deploy(
    run_key: str, job: str, reason: str, incident: str, now: str, version: str, challenger: Input[Model],
    checklist: Input[Artifact],
) -> str:
    """Return the version that takes live traffic."""
    from functools import partial

    from bikeshare.adapters.artifacts import load_artifact
    from bikeshare.adapters.bento import pack
    from bikeshare.adapters.live_api import HttpApi
    from bikeshare.bootstrap import wire
    from bikeshare.settings import load_settings
    from bikeshare.steps.deploy import DeployRequest
    from bikeshare.steps.deploy import deploy as deploy_version
    from bikeshare.steps.doorstep import path_of, say, this_run
    from bikeshare.steps.outcome import noting_failure

    settings = load_settings()
    ports = wire(settings)
    run = this_run(run_key, job, now, ports.clock)
    request = DeployRequest(
        version, path_of(challenger.path), path_of(checklist.path), run.key, incident, reason, run.now,
        settings.predictor_url,
    )
    connect = partial(HttpApi, api_key=settings.api_key.get_secret_value())
    with noting_failure(ports.store, run):
        return deploy_version(
            ports, request, load=load_artifact, pack=pack, connect=connect, policy=settings.rollout_checks,
            progress=say,
        ).version
