"""Runs of the cluster profile, started and found through the KFP API."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from bikeshare.adapters.runs import kfp_publish
from bikeshare.adapters.runs.kfp_calls import PIPELINE, KfpApi, named
from bikeshare.errors import ConfigurationError
from bikeshare.ports import Run, RunStatus

_STATES: Mapping[str, RunStatus] = {
    "PENDING": "pending", "RUNNING": "running", "PAUSED": "running", "CANCELING": "running",
    "SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed", "SKIPPED": "failed",
}


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
        self._kfp = KfpApi(host, namespace, attempts, timeout_seconds, backoff_seconds, sleep)
        self._package = package

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        """Start the pipeline under the name `run_key`, unless a run of that name exists.

        Every try looks for the name first: an answer lost after a successful call must not start a second run.
        """
        import kfp_server_api

        source = self._source()
        experiment = self._kfp.retry("find the experiment", self._kfp.experiment)

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
            service = self._kfp.service("Run")
            return _to_run(service.run_service_create_run(body, _request_timeout=self._kfp.timeout_seconds), self._kfp)

        return self._kfp.retry("start a run", attempt)

    def find(self, run_key: str) -> Run | None:
        """The newest run of that name, or None."""
        return self._kfp.retry(f"look for run {run_key}", lambda: self._find(run_key))

    def active(self) -> Sequence[Run]:
        """Runs of our experiment that have not ended, newest first; other pipelines are not our business."""
        found = self._kfp.retry("list runs", self._our_runs)
        return [run for run in found if run.status in ("pending", "running", "unknown")]

    def get(self, run_id: str) -> Run:
        """One run; NotFound if absent."""
        return self._kfp.retry(f"read run {run_id}", lambda: _to_run(
            self._kfp.service("Run").run_service_get_run(run_id, _request_timeout=self._kfp.timeout_seconds), self._kfp
        ))

    def publish(self, version: str, package: Path | None = None) -> str:
        """Upload the compiled pipeline as a version; the id of an existing version is returned."""
        return kfp_publish.publish(self._kfp, version, package or self._package)

    def schedule(self, version: str, cron: str, arguments: Mapping[str, Any], package: Path | None = None) -> str:
        """Publish, then make sure exactly one recurring run starts that version; returns its id."""
        return kfp_publish.schedule(self._kfp, version, package or self._package, cron, arguments)

    def _source(self) -> dict[str, Any]:
        """What to start: the published version, else the package itself."""
        import kfp_server_api

        published = self._kfp.retry("read the published pipeline", lambda: kfp_publish.current(self._kfp))
        if published is not None:
            pipeline_id, version_id = published
            return {"pipeline_version_reference": kfp_server_api.V2beta1PipelineVersionReference(
                pipeline_id=pipeline_id, pipeline_version_id=version_id
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

    def _find(self, run_key: str) -> Run | None:
        page = self._kfp.service("Run").run_service_list_runs(
            namespace=self._kfp.namespace, filter=named(run_key), sort_by="created_at desc",
            _request_timeout=self._kfp.timeout_seconds,
        )
        found = [item for item in page.runs or [] if item.display_name == run_key]
        return _to_run(found[0], self._kfp) if found else None

    def _our_runs(self) -> list[Run]:
        experiment = self._kfp.known_experiment()
        return [] if experiment is None else [_to_run(item, self._kfp) for item in self._kfp.runs(experiment)]


def _to_run(answer: Any, kfp: KfpApi) -> Run:
    run_id = kfp.required(answer, "run_id")
    created: datetime | None = answer.created_at
    return Run(
        run_id=run_id,
        run_key=answer.display_name or "",
        status=_STATES.get(str(answer.state), "unknown"),
        url=f"{kfp.host}/#/runs/details/{run_id}",
        created_at=None if created is None else created.replace(tzinfo=None),
    )
