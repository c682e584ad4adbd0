"""Wire the adapters that the settings ask for. Only doors call this."""

import sys
from pathlib import Path

from bikeshare.errors import ConfigurationError
from bikeshare.ports import (
    Clock,
    ModelRegistry,
    Notifier,
    ObjectStore,
    PipelineRuns,
    Ports,
    Records,
    Rollouts,
    Telemetry,
)
from bikeshare.settings import Settings


def wire(settings: Settings, *, job: str = "pipeline") -> Ports:
    """All collaborators of a door; `job` names the batch job in pushed metrics."""
    from bikeshare.adapters.drift_report import EvidentlyReporter

    records = wire_records(settings)
    return Ports(
        clock=wire_clock(settings),
        store=wire_store(settings),
        records=records,
        registry=wire_registry(settings),
        runs=wire_runs(settings),
        notifier=wire_notifier(settings, records),
        rollouts=wire_rollouts(settings),
        reporter=EvidentlyReporter(),
        telemetry=wire_telemetry(settings, records, job=job),
    )


def wire_clock(settings: Settings) -> Clock:
    """System time, or the virtual clock's file."""
    from bikeshare.adapters.clock import FileClock, SystemClock

    if settings.clock == "system":
        return SystemClock()
    if settings.clock.startswith("file:"):
        return FileClock(Path(settings.clock.removeprefix("file:")))
    raise ConfigurationError(f"BIKESHARE_CLOCK is {settings.clock!r}: use `system` or `file:PATH`")


def wire_store(settings: Settings) -> ObjectStore:
    """A folder or a bucket."""
    if settings.store.startswith("file:"):
        from bikeshare.adapters.folder import FolderStore

        return FolderStore(Path(settings.store.removeprefix("file:")))
    if settings.store.startswith("s3://"):
        from bikeshare.adapters.s3 import S3Store

        bucket, _, prefix = settings.store.removeprefix("s3://").partition("/")
        return S3Store(bucket, prefix, settings.s3_endpoint_url or None)
    raise ConfigurationError(f"BIKESHARE_STORE_URL is {settings.store!r}: use `file:PATH` or `s3://BUCKET/PREFIX`")


def wire_records(settings: Settings) -> Records:
    """The database of observations, predictions and decisions, at its newest schema."""
    from bikeshare.adapters.records import SqlRecords

    if settings.database.startswith("sqlite:///"):
        Path(settings.database.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    records = SqlRecords(settings.database)
    records.migrate()
    return records


def wire_registry(settings: Settings) -> ModelRegistry:
    """MLflow on SQLite or a server."""
    from bikeshare.adapters.registry import MlflowRegistry

    local = settings.tracking.startswith("sqlite:")
    return MlflowRegistry(
        settings.tracking, settings.model_name, settings.home.absolute() / "mlartifacts" if local else None
    )


def wire_runs(settings: Settings) -> PipelineRuns:
    """`kfp.local` in a child process, or the KFP API."""
    from bikeshare.adapters.runs import KfpRuns, LocalRuns

    if settings.pipelines_url == "local:":
        environment = settings.to_environment() | {"BIKESHARE_HOME": str(settings.home.absolute())}
        return LocalRuns(settings.home.absolute(), environment, settings.pipeline_package)
    if settings.pipelines_url.startswith(("http://", "https://")):
        return KfpRuns(settings.pipelines_url, settings.pipelines_namespace, settings.pipeline_package)
    raise ConfigurationError(
        f"BIKESHARE_PIPELINES_URL is {settings.pipelines_url!r}: use `local:` or the KFP API's http URL"
    )


def wire_notifier(settings: Settings, records: Records) -> Notifier:
    """Slack when it is configured, else the console."""
    from bikeshare.adapters.alerts import ConsoleNotifier, SlackNotifier

    webhook, token = settings.slack_webhook_url.get_secret_value(), settings.slack_bot_token.get_secret_value()
    if webhook or token:
        return SlackNotifier(
            records,
            webhook_url=webhook,
            bot_token=token,
            channel=settings.slack_channel,
            api_url=settings.slack_api_url,
            environment=settings.environment_name,
        )
    return ConsoleNotifier(records, settings.home.absolute() / "alerts.jsonl", stream=sys.stderr)


def wire_rollouts(settings: Settings) -> Rollouts:
    """The local supervisor, or two Deployments."""
    if settings.rollout == "local":
        from bikeshare.adapters.local_rollouts import LocalRollouts

        return LocalRollouts(f"http://127.0.0.1:{settings.supervisor_port}", settings.home.absolute())
    from bikeshare.adapters.kubernetes_api import Deployments
    from bikeshare.adapters.kubernetes_rollouts import CANARY, KubernetesRollouts
    from bikeshare.adapters.live_api import predictor_state

    canary_url = f"http://{CANARY}.{settings.namespace}:{settings.predictor_port}"
    return KubernetesRollouts(Deployments(settings.namespace), canary_url, predictor_state)


def wire_telemetry(settings: Settings, records: Records, *, job: str) -> Telemetry:
    """Pushgateway for batch jobs, or a textfile for node_exporter."""
    from bikeshare.adapters.telemetry import PrometheusTelemetry

    return PrometheusTelemetry(
        job=job,
        pushgateway_url=settings.pushgateway_url,
        textfile=settings.home.absolute() / "metrics" / f"{job}.prom",
        records=records,
    )
