"""MLflow: tracking and model registry, on SQLite or a server. The only file that imports `mlflow`."""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bikeshare.adapters.migration_lock import one_migration
from bikeshare.errors import NotFound, Unavailable
from bikeshare.ports import ModelVersion

ARTIFACT_PATH = "model"
"""Folder of the model artifact inside a run."""

_ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_EXISTS = "RESOURCE_ALREADY_EXISTS"


class MlflowRegistry:
    """`ModelRegistry` on MLflow.

    Args:
        tracking_uri: `sqlite:///PATH` or an MLflow server. With a server, artifacts go through it.
        model_name: Registered model; also the name of the experiment.
        artifact_root: Folder for artifacts when there is no server; ignored (None) otherwise.
        connect_retries: How often MLflow's HTTP client repeats a request before it gives up.
        request_timeout_seconds: Longest wait for one answer of the server.
    """

    def __init__(
        self,
        tracking_uri: str,
        model_name: str,
        artifact_root: Path | None = None,
        *,
        connect_retries: int = 3,
        request_timeout_seconds: int = 20,
    ) -> None:
        self._uri = tracking_uri
        self._name = model_name
        self._artifact_root = artifact_root
        self._connect_retries = connect_retries
        self._request_timeout_seconds = request_timeout_seconds
        self._cached: Any = None
        self._opening = threading.Lock()

    def log_run(
        self, *, run_name: str, params: Mapping[str, Any], metrics: Mapping[str, float],
        tags: Mapping[str, str], artifacts: Path | None = None,
    ) -> str:
        """Record one training run, adopting the run that MLFLOW_RUN_ID names if the orchestrator made one."""
        with self._vendor("log a run") as client:
            from mlflow.environment_variables import MLFLOW_RUN_ID

            adopted = MLFLOW_RUN_ID.get()
            run_id = adopted or client.create_run(self._experiment(client), run_name=run_name).info.run_id
            self._log(client, run_id, params=params, metrics=metrics, tags=tags)
            if artifacts is not None:
                client.log_artifacts(run_id, str(artifacts))
            if not adopted:
                client.set_terminated(run_id)
        return str(run_id)

    def log_to_run(
        self, run_id: str, *, metrics: Mapping[str, float] | None = None, tags: Mapping[str, str] | None = None,
        artifacts: Path | None = None, artifact_path: str | None = None,
        table: tuple[str, pd.DataFrame] | None = None,
    ) -> None:
        """Add to a run, finished or not; `table` is (file name ending in .json, frame)."""
        with self._vendor(f"add to run {run_id}") as client:
            self._log(client, run_id, params={}, metrics=metrics or {}, tags=tags or {})
            if artifacts is not None:
                client.log_artifacts(run_id, str(artifacts), artifact_path)
            if table is not None:
                client.log_table(run_id, data=table[1], artifact_file=table[0])

    def register(self, run_id: str, artifact: Path, tags: Mapping[str, str]) -> str:
        """Store an artifact directory in the run and register it as a new version."""
        with self._vendor(f"register a version of {self._name}") as client:
            from mlflow.exceptions import MlflowException

            try:
                client.create_registered_model(self._name)
            except MlflowException as error:
                if error.error_code != _EXISTS:
                    raise
            client.log_artifacts(run_id, str(artifact), ARTIFACT_PATH)
            source = f"{client.get_run(run_id).info.artifact_uri}/{ARTIFACT_PATH}"
            created = client.create_model_version(self._name, source=source, run_id=run_id, tags=dict(tags))
        return str(created.version)

    def version_of(self, alias: str) -> str | None:
        """The version an alias points to, or None."""
        with self._vendor(f"read alias {alias!r}") as client:
            model = self._model(client)
            version = None if model is None else model.aliases.get(alias)
        return None if version is None else str(version)

    def set_alias(self, alias: str, version: str) -> None:
        """Point an alias at a version; NotFound when there is no such version."""
        with self._vendor(f"point alias {alias!r} at version {version}") as client:
            client.get_model_version(self._name, _number(version))
            client.set_registered_model_alias(self._name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; absent is fine."""
        if self.version_of(alias) is None:
            return
        with self._vendor(f"remove alias {alias!r}") as client:
            client.delete_registered_model_alias(self._name, alias)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags on a version; NotFound when there is no such version."""
        with self._vendor(f"tag version {version}") as client:
            client.get_model_version(self._name, _number(version))
            for key, value in tags.items():
                client.set_model_version_tag(self._name, version, key, value)

    def get(self, version: str) -> ModelVersion:
        """One version; NotFound if absent."""
        with self._vendor(f"read version {version}") as client:
            found = client.get_model_version(self._name, _number(version))
            model = self._model(client)
        return _to_version(found, {} if model is None else model.aliases)

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, newest first."""
        with self._vendor(f"list the versions of {self._name}") as client:
            model = self._model(client)
            if model is None:
                return []
            found: list[Any] = []
            token = None
            while True:
                page = client.search_model_versions(f"name = '{self._name}'", max_results=200, page_token=token)
                found.extend(page)
                token = page.token
                if not token:
                    break
        versions = [_to_version(item, model.aliases) for item in found]
        return sorted(versions, key=lambda item: int(item.version), reverse=True)

    def download(self, version: str, directory: Path) -> Path:
        """Copy the artifact directory of a version below `directory`; return where it is."""
        directory.mkdir(parents=True, exist_ok=True)
        with self._vendor(f"download version {version}") as client:
            found = client.get_model_version(self._name, _number(version))
            path = client.download_artifacts(found.run_id, ARTIFACT_PATH, str(directory))
        return Path(path)

    @contextmanager
    def _vendor(self, action: str) -> Iterator[Any]:
        """A client whose exceptions leave this file as ours."""
        client = self._client()
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield client
        except MlflowException as error:
            if error.error_code in _ABSENT:
                raise NotFound(
                    f"cannot {action}: {error.message}; `bikeshare registry list` shows what exists"
                ) from error
            raise Unavailable(f"cannot {action}: MLflow at {self._place} answered {error.message}") from error
        except (RequestException, SQLAlchemyError, OSError) as error:
            raise Unavailable(f"cannot {action}: MLflow at {self._place} does not answer ({error})") from error

    @property
    def _place(self) -> str:
        return self._uri.split("@")[-1]

    def _client(self) -> Any:
        with self._opening:
            return self._opened()

    def _opened(self) -> Any:
        if self._cached is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(self._connect_retries))
            os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(self._request_timeout_seconds))
            file = None
            if self._uri.startswith("sqlite:///"):
                file = Path(self._uri.removeprefix("sqlite:///"))
                file.parent.mkdir(parents=True, exist_ok=True)
            import logging

            import mlflow
            from sqlalchemy.exc import SQLAlchemyError

            for noisy in ("mlflow.store.db.utils", "alembic.runtime.migration", "alembic"):
                logging.getLogger(noisy).setLevel(logging.WARNING)
            try:
                with one_migration(file):
                    self._cached = mlflow.MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
            except (mlflow.MlflowException, SQLAlchemyError, OSError) as error:
                raise Unavailable(f"MLflow at {self._place} cannot be opened: {error}") from error
        return self._cached

    def _experiment(self, client: Any) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(self._name)
        if found is None:
            location = None if self._artifact_root is None else self._artifact_root.absolute().as_uri()
            try:
                return str(client.create_experiment(self._name, artifact_location=location))
            except MlflowException as error:
                if error.error_code != _EXISTS:
                    raise
                found = client.get_experiment_by_name(self._name)
        return str(found.experiment_id)

    def _model(self, client: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_registered_model(self._name)
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise

    def _log(
        self, client: Any, run_id: str, *, params: Mapping[str, Any], metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now_ms = int(time.time() * 1000)  # MLflow orders points by it; it carries no meaning for us
        client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), now_ms, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
            tags=[RunTag(key, str(value)) for key, value in tags.items()],
        )


def _number(version: str) -> str:
    """MLflow calls anything else an invalid parameter."""
    if not version.isascii() or not version.isdigit():
        raise NotFound(f"there is no version {version!r}: versions are numbers, see `bikeshare registry list`")
    return version


def _to_version(found: Any, aliases: Mapping[str, Any]) -> ModelVersion:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC).replace(tzinfo=None)
    return ModelVersion(
        version=str(found.version),
        run_id=str(found.run_id),
        tags=dict(found.tags),
        aliases=tuple(sorted(alias for alias, version in aliases.items() if str(version) == str(found.version))),
        created_at=created,
    )
