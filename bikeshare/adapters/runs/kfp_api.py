"""Runs of the cluster profile: the KFP API, with the retries, timeouts and checks its client lacks.

`kfp.Client` has no timeouts, raises three unrelated families of exceptions and can report success without a run id
(a login page answers 200). The generated API underneath takes a timeout per call and imports four times faster.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from bikeshare.errors import BikeshareError, ConfigurationError, Conflict, NotFound, Unavailable
from bikeshare.ports import Run, RunStatus

PIPELINE = "bikeshare-training"
"""Name under which the pipeline is published; its newest version is what a request starts."""

EXPERIMENT = "bikeshare"

_STATES: Mapping[str, RunStatus] = {
    "PENDING": "pending", "RUNNING": "running", "PAUSED": "running", "CANCELING": "running",
    "SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed", "SKIPPED": "failed",
}

Answer = TypeVar("Answer")


class KfpRuns:
    """`PipelineRuns` on the KFP API (`http://ml-pipeline.<namespace>:8888`).

    Args:
        host: URL of the API server.
        namespace: Namespace of the runs; single-user servers ignore it.
        package: Compiled pipeline, started as it is when none is published.
        attempts: Tries per call while the server is away.
        timeout_seconds: Longest wait for one answer.
        backoff_seconds: Pause after the first failed try; doubles.
        sleep: How to wait, replaced in tests.
    """

    def __init__(
        self,
        host: str,
        namespace: str,
        package: Path,
        *,
        attempts: int = 4,
        timeout_seconds: float = 20.0,
        backoff_seconds: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._host = host.rstrip("/")
        self._namespace = namespace
        self._package = package
        self._attempts = attempts
        self._timeout_seconds = timeout_seconds
        self._backoff_seconds = backoff_seconds
        self._sleep = sleep

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        """Start the pipeline under the name `run_key`, unless a run of that name exists.

        Every try looks for the name first: an answer lost after a successful call must not start a second run.
        """
        import kfp_server_api

        source = self._source()
        experiment = self._experiment()

        def attempt() -> Run:
            found = self._find(run_key)
            if found is not None:
                return found
            body = kfp_server_api.V2beta1Run(
                experiment_id=experiment, display_name=run_key, description=reason,
                runtime_config=kfp_server_api.V2beta1RuntimeConfig(
                    parameters={**arguments, "run_key": run_key, "reason": reason}
                ), **source,
            )
            return _to_run(self._api("Run").run_service_create_run(body, _request_timeout=self._timeout_seconds),
                           self._host)

        return self._retry("start a run", attempt)

    def find(self, run_key: str) -> Run | None:
        """The newest run of that name, or None."""
        return self._retry(f"look for run {run_key}", lambda: self._find(run_key))

    def active(self) -> Sequence[Run]:
        """Runs that have not ended, newest first."""
        found = self._retry("list runs", self._all_runs)
        return [run for run in found if run.status in ("pending", "running", "unknown")]

    def get(self, run_id: str) -> Run:
        """One run; NotFound if absent."""
        return self._retry(f"read run {run_id}", lambda: _to_run(
            self._api("Run").run_service_get_run(run_id, _request_timeout=self._timeout_seconds), self._host
        ))

    def publish(self, version: str, package: Path | None = None) -> str:
        """Upload the compiled pipeline as a version of `PIPELINE`; the id of an existing version is returned."""
        path = str((package or self._package).absolute())

        def attempt() -> str:
            upload, pipeline_id = self._api("PipelineUpload"), self._pipeline_id()
            if pipeline_id is None:
                created = upload.upload_pipeline(
                    path, name=PIPELINE, display_name=PIPELINE, namespace=self._namespace,
                    _request_timeout=self._timeout_seconds,
                )
                pipeline_id = _required(created, "pipeline_id", self._host)
            for known in self._versions(pipeline_id):
                if known.display_name == version or known.name == version:
                    return _required(known, "pipeline_version_id", self._host)
            uploaded = upload.upload_pipeline_version(
                path, name=version, display_name=version, pipelineid=pipeline_id,
                _request_timeout=self._timeout_seconds,
            )
            return _required(uploaded, "pipeline_version_id", self._host)

        return self._retry(f"publish pipeline version {version}", attempt)

    def schedule(self, version: str, cron: str, arguments: Mapping[str, Any], package: Path | None = None) -> str:
        """Publish, then make sure exactly one recurring run starts that version; returns its id.

        Args:
            version: Name of the pipeline version.
            cron: Six fields (seconds first), in the server's time zone, UTC unless configured.
            arguments: Pipeline parameters of every scheduled run.
            package: Compiled pipeline, if not the configured one.
        """
        import kfp_server_api as api

        version_id = self.publish(version, package)
        experiment = self._experiment()

        def attempt() -> str:
            service = self._api("RecurringRun")
            page = service.recurring_run_service_list_recurring_runs(
                namespace=self._namespace, page_size=100, _request_timeout=self._timeout_seconds
            )
            known = [item for item in page.recurring_runs or [] if item.display_name == f"{PIPELINE}-schedule"]
            same = [item for item in known if _starts(item, version_id, cron, arguments)]
            if same:
                kept = _required(same[0], "recurring_run_id", self._host)
            else:
                kept = _required(service.recurring_run_service_create_recurring_run(
                    api.V2beta1RecurringRun(
                        display_name=f"{PIPELINE}-schedule", experiment_id=experiment,
                        mode=api.RecurringRunMode.ENABLE, max_concurrency="1", no_catchup=True,
                        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
                        runtime_config=api.V2beta1RuntimeConfig(parameters=dict(arguments)),
                        pipeline_version_reference=api.V2beta1PipelineVersionReference(
                            pipeline_id=self._pipeline_id(), pipeline_version_id=version_id
                        ),
                    ), _request_timeout=self._timeout_seconds,
                ), "recurring_run_id", self._host)
            for item in known:
                if item.recurring_run_id != kept:
                    service.recurring_run_service_delete_recurring_run(
                        item.recurring_run_id, _request_timeout=self._timeout_seconds
                    )
            return kept

        return self._retry("schedule the pipeline", attempt)

    def _source(self) -> dict[str, Any]:
        """What to start: the newest published version, else the package itself."""
        import kfp_server_api

        def newest() -> Any:
            pipeline_id = self._pipeline_id()
            versions = [] if pipeline_id is None else self._versions(pipeline_id)
            return versions[0] if versions else None

        version = self._retry("read the published pipeline", newest)
        if version is not None:
            return {"pipeline_version_reference": kfp_server_api.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
            )}
        import yaml

        try:
            documents = list(yaml.safe_load_all(self._package.read_text()))
        except OSError as error:
            raise ConfigurationError(
                f"nothing is published as {PIPELINE} and {self._package} cannot be read ({error}): "
                "run `bikeshare pipeline publish`"
            ) from error
        spec = {"pipeline_spec": documents[0]}
        if len(documents) > 1:
            spec["platform_spec"] = documents[1]
        return {"pipeline_spec": spec}

    def _experiment(self) -> str:
        import kfp_server_api

        def attempt() -> str:
            service = self._api("Experiment")
            page = service.experiment_service_list_experiments(
                namespace=self._namespace, filter=_named(EXPERIMENT), _request_timeout=self._timeout_seconds
            )
            found = [item for item in page.experiments or [] if item.display_name == EXPERIMENT]
            if not found:
                found = [service.experiment_service_create_experiment(
                    kfp_server_api.V2beta1Experiment(display_name=EXPERIMENT, namespace=self._namespace),
                    _request_timeout=self._timeout_seconds,
                )]
            return _required(found[0], "experiment_id", self._host)

        return self._retry("find the experiment", attempt)

    def _find(self, run_key: str) -> Run | None:
        page = self._api("Run").run_service_list_runs(
            namespace=self._namespace, filter=_named(run_key), sort_by="created_at desc",
            _request_timeout=self._timeout_seconds,
        )
        found = [item for item in page.runs or [] if item.display_name == run_key]
        return _to_run(found[0], self._host) if found else None

    def _all_runs(self) -> list[Run]:
        found: list[Run] = []
        token = ""
        while True:
            page = self._api("Run").run_service_list_runs(
                namespace=self._namespace, page_size=100, page_token=token, sort_by="created_at desc",
                _request_timeout=self._timeout_seconds,
            )
            found.extend(_to_run(item, self._host) for item in page.runs or [])
            token = page.next_page_token or ""
            if not token:
                return found

    def _pipeline_id(self) -> str | None:
        page = self._api("Pipeline").pipeline_service_list_pipelines(
            namespace=self._namespace, filter=_named(PIPELINE), _request_timeout=self._timeout_seconds
        )
        found = [item for item in page.pipelines or [] if item.display_name == PIPELINE]
        return str(found[0].pipeline_id) if found else None

    def _versions(self, pipeline_id: str) -> list[Any]:
        page = self._api("Pipeline").pipeline_service_list_pipeline_versions(
            pipeline_id, sort_by="created_at desc", page_size=100, _request_timeout=self._timeout_seconds
        )
        return list(page.pipeline_versions or [])

    def _api(self, service: str) -> Any:
        import kfp_server_api

        configuration = kfp_server_api.Configuration(host=self._host)
        configuration.retries = False  # ours are bounded, pause in between and look before they repeat
        return getattr(kfp_server_api, f"{service}ServiceApi")(kfp_server_api.ApiClient(configuration))

    def _retry(self, action: str, call: Callable[[], Answer]) -> Answer:
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        last: Exception | None = None
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(self._backoff_seconds * 2 ** (attempt - 1))
            try:
                return call()
            except HTTPError as error:
                last = error
            except ApiException as error:
                if error.status is not None and error.status < 500 and error.status != 429:
                    raise self._refused(action, error) from error
                last = error
            except (AttributeError, TypeError, ValueError) as error:
                raise Unavailable(f"cannot {action}: {self._host} does not answer like a KFP API: {error}") from error
        tries = f"{self._attempts} times, last: {_short(last)}"
        raise Unavailable(f"cannot {action}: {self._host} failed {tries}") from last

    def _refused(self, action: str, error: Any) -> BikeshareError:
        message = f"cannot {action}: {self._host} answered {error.status} {error.reason}: {_short(error.body)}"
        if error.status == 404:
            return NotFound(message)
        if error.status == 409:
            return Conflict(message)
        return ConfigurationError(f"{message}; check BIKESHARE_PIPELINES_URL and the pipeline's parameters")


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _required(answer: Any, field: str, host: str) -> str:
    value = getattr(answer, field, None)
    if not value:
        raise Unavailable(f"{host} answered without {field}: is it a KFP API server (or a login page)?")
    return str(value)


def _starts(item: Any, version_id: str, cron: str, arguments: Mapping[str, Any]) -> bool:
    reference, trigger, config = item.pipeline_version_reference, item.trigger, item.runtime_config
    return (
        reference is not None and reference.pipeline_version_id == version_id
        and trigger is not None and trigger.cron_schedule is not None and trigger.cron_schedule.cron == cron
        and dict((config.parameters if config is not None else None) or {}) == dict(arguments)
    )


def _to_run(answer: Any, host: str) -> Run:
    run_id = _required(answer, "run_id", host)
    created: datetime | None = answer.created_at
    return Run(
        run_id=run_id,
        run_key=answer.display_name or "",
        status=_STATES.get(str(answer.state), "unknown"),
        url=f"{host}/#/runs/details/{run_id}",
        created_at=None if created is None else created.replace(tzinfo=None),
    )


def _short(value: object) -> str:
    return str(value).strip().replace("\n", " ")[:300]
