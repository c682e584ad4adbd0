"""The KFP API with the retries, timeouts and checks its client lacks.

`kfp.Client` has no timeouts, raises three unrelated families of exceptions and can report success without a run id
(a login page answers 200). The generated API underneath takes a timeout per call and imports four times faster.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from bikeshare.errors import BikeshareError, ConfigurationError, Conflict, NotFound, Unavailable

PIPELINE = "bikeshare-training"
"""Name under which the pipeline is published."""

EXPERIMENT = "bikeshare"

Answer = TypeVar("Answer")


class KfpApi:
    """Services of one API server; every call made through `retry` ends in an answer or in one of our errors."""

    def __init__(
        self, host: str, namespace: str, attempts: int, timeout_seconds: float, backoff_seconds: float,
        sleep: Callable[[float], None],
    ) -> None:
        self.host = host.rstrip("/")
        self.namespace = namespace
        self.timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._backoff_seconds = backoff_seconds
        self._sleep = sleep

    def service(self, name: str) -> Any:
        """A generated service by its short name, e.g. `Run`."""
        import kfp_server_api

        configuration = kfp_server_api.Configuration(host=self.host)
        configuration.retries = False  # ours are bounded, pause in between and look before they repeat
        return getattr(kfp_server_api, f"{name}ServiceApi")(kfp_server_api.ApiClient(configuration))

    def pipeline_id(self) -> str | None:
        """Id of the published pipeline, or None."""
        page = self.service("Pipeline").pipeline_service_list_pipelines(
            namespace=self.namespace, filter=named(PIPELINE), _request_timeout=self.timeout_seconds
        )
        found = [item for item in page.pipelines or [] if item.display_name == PIPELINE]
        return str(found[0].pipeline_id) if found else None

    def versions(self, pipeline_id: str) -> list[Any]:
        """Published versions, newest first."""
        service = self.service("Pipeline")
        return self.all_pages(
            lambda token: service.pipeline_service_list_pipeline_versions(
                pipeline_id, sort_by="created_at desc", page_size=100, page_token=token,
                _request_timeout=self.timeout_seconds,
            ), "pipeline_versions",
        )

    def recurring(self, name: str) -> list[Any]:
        """Recurring runs of that name, newest first."""
        service = self.service("RecurringRun")
        found = self.all_pages(
            lambda token: service.recurring_run_service_list_recurring_runs(
                namespace=self.namespace, page_size=100, page_token=token, sort_by="created_at desc",
                _request_timeout=self.timeout_seconds,
            ), "recurring_runs",
        )
        return [item for item in found if item.display_name == name]

    def runs(self, experiment_id: str) -> list[Any]:
        """Runs of an experiment, newest first."""
        service = self.service("Run")
        return self.all_pages(
            lambda token: service.run_service_list_runs(
                namespace=self.namespace, experiment_id=experiment_id, page_size=100, page_token=token,
                sort_by="created_at desc", _request_timeout=self.timeout_seconds,
            ), "runs",
        )

    def known_experiment(self) -> str | None:
        """Id of our experiment, None before the first run."""
        page = self.service("Experiment").experiment_service_list_experiments(
            namespace=self.namespace, filter=named(EXPERIMENT), _request_timeout=self.timeout_seconds
        )
        found = [item for item in page.experiments or [] if item.display_name == EXPERIMENT]
        return self.required(found[0], "experiment_id") if found else None

    def experiment(self) -> str:
        """Id of our experiment, created if absent."""
        import kfp_server_api

        return self.known_experiment() or self.required(
            self.service("Experiment").experiment_service_create_experiment(
                kfp_server_api.V2beta1Experiment(display_name=EXPERIMENT, namespace=self.namespace),
                _request_timeout=self.timeout_seconds,
            ), "experiment_id",
        )

    def all_pages(self, read: Callable[[str], Any], field: str) -> list[Any]:
        """Everything a listing holds; `read` takes the token of a page, `field` names its items."""
        found: list[Any] = []
        token = ""
        while True:
            page = read(token)
            found.extend(getattr(page, field) or [])
            token = page.next_page_token or ""
            if not token:
                return found

    def required(self, answer: Any, field: str) -> str:
        """A field that a real API server always sends."""
        value = getattr(answer, field, None)
        if not value:
            raise Unavailable(f"{self.host} answered without {field}: is it a KFP API server (or a login page)?")
        return str(value)

    def retry(self, action: str, call: Callable[[], Answer]) -> Answer:
        """Call until it answers; 4xx is final, everything else is tried again with growing pauses."""
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
                raise Unavailable(f"cannot {action}: {self.host} does not answer like a KFP API: {error}") from error
        tries = f"{self._attempts} times, last: {_short(last)}"
        raise Unavailable(f"cannot {action}: {self.host} failed {tries}") from last

    def _refused(self, action: str, error: Any) -> BikeshareError:
        message = f"cannot {action}: {self.host} answered {error.status} {error.reason}: {_short(error.body)}"
        if error.status == 404:
            return NotFound(message)
        if error.status == 409:
            return Conflict(message)
        return ConfigurationError(f"{message}; check BIKESHARE_PIPELINES_URL and the pipeline's parameters")


def named(name: str) -> str:
    """Filter that keeps objects of exactly this name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _short(value: object) -> str:
    return str(value).strip().replace("\n", " ")[:300]
