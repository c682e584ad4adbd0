"""Publishing the compiled pipeline and scheduling it: once per release, by a job from the same image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bikeshare.adapters.runs.kfp_calls import PIPELINE, KfpApi

SCHEDULE = f"{PIPELINE}-schedule"


def publish(kfp: KfpApi, version: str, package: Path) -> str:
    """Upload the compiled pipeline as a version of `PIPELINE`; the id of an existing version is returned."""
    path = str(package.absolute())

    def attempt() -> str:
        upload, pipeline_id = kfp.service("PipelineUpload"), kfp.pipeline_id()
        if pipeline_id is None:
            created = upload.upload_pipeline(
                path, name=PIPELINE, display_name=PIPELINE, namespace=kfp.namespace,
                _request_timeout=kfp.timeout_seconds,
            )
            pipeline_id = kfp.required(created, "pipeline_id")
        for known in kfp.versions(pipeline_id):
            if version in (known.display_name, known.name):
                return kfp.required(known, "pipeline_version_id")
        uploaded = upload.upload_pipeline_version(
            path, name=version, display_name=version, pipelineid=pipeline_id, _request_timeout=kfp.timeout_seconds
        )
        return kfp.required(uploaded, "pipeline_version_id")

    return kfp.retry(f"publish pipeline version {version}", attempt)


def schedule(kfp: KfpApi, version: str, package: Path, cron: str, arguments: Mapping[str, Any]) -> str:
    """Publish, then make sure exactly one recurring run starts that version; returns its id.

    Args:
        kfp: The API.
        version: Name of the pipeline version.
        package: Compiled pipeline.
        cron: Six fields (seconds first), in the server's time zone, UTC unless configured.
        arguments: Pipeline parameters of every scheduled run.
    """
    import kfp_server_api as api

    version_id = publish(kfp, version, package)

    def attempt() -> str:
        service, known = kfp.service("RecurringRun"), kfp.recurring(SCHEDULE)
        same = [item for item in known if _starts(item, version_id, cron, arguments)]
        wanted = same[0] if same else service.recurring_run_service_create_recurring_run(
            api.V2beta1RecurringRun(
                display_name=SCHEDULE, experiment_id=kfp.experiment(), mode=api.RecurringRunMode.ENABLE,
                max_concurrency="1", no_catchup=True,
                trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
                runtime_config=api.V2beta1RuntimeConfig(parameters=dict(arguments)),
                pipeline_version_reference=api.V2beta1PipelineVersionReference(
                    pipeline_id=kfp.pipeline_id(), pipeline_version_id=version_id
                ),
            ), _request_timeout=kfp.timeout_seconds,
        )
        kept = kfp.required(wanted, "recurring_run_id")
        for item in known:
            if item.recurring_run_id != kept:
                service.recurring_run_service_delete_recurring_run(
                    item.recurring_run_id, _request_timeout=kfp.timeout_seconds
                )
        return kept

    return kfp.retry("schedule the pipeline", attempt)


def current(kfp: KfpApi) -> tuple[str, str] | None:
    """Ids of the pipeline and the version that a request starts: the scheduled one, else the newest, else None.

    Scheduled first: whoever goes back to an older release schedules its version again, but does not upload it again.
    """
    pipeline_id = kfp.pipeline_id()
    versions = [] if pipeline_id is None else [version.pipeline_version_id for version in kfp.versions(pipeline_id)]
    references = [item.pipeline_version_reference for item in kfp.recurring(SCHEDULE)]
    scheduled = [item.pipeline_version_id for item in references if item is not None]
    chosen = [version for version in scheduled if version in versions] or versions
    return (str(pipeline_id), str(chosen[0])) if chosen else None


def _starts(item: Any, version_id: str, cron: str, arguments: Mapping[str, Any]) -> bool:
    reference, trigger, config = item.pipeline_version_reference, item.trigger, item.runtime_config
    return (
        reference is not None and reference.pipeline_version_id == version_id
        and trigger is not None and trigger.cron_schedule is not None and trigger.cron_schedule.cron == cron
        and dict((config.parameters if config is not None else None) or {}) == dict(arguments)
    )
