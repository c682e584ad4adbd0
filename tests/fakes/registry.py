"""A model registry in memory."""

import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bikeshare.errors import NotFound, Unavailable
from bikeshare.ports import ModelVersion


class MemoryRegistry:
    """Keeps runs and versions in dictionaries; artifacts are copied into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, dict[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        self._versions: dict[str, ModelVersion] = {}

    def log_run(
        self, *, run_name: str, params: Mapping[str, Any], metrics: Mapping[str, float],
        tags: Mapping[str, str], artifacts: Path | None = None,
    ) -> str:
        run_id = f"run-{len(self.runs) + 1}"
        self.runs[run_id] = {
            "name": run_name, "params": dict(params), "metrics": dict(metrics), "tags": dict(tags), "tables": {},
        }
        if artifacts is not None:
            shutil.copytree(artifacts, self.folder / run_id, dirs_exist_ok=True)
        return run_id

    def log_to_run(
        self, run_id: str, *, metrics: Mapping[str, float] | None = None, tags: Mapping[str, str] | None = None,
        artifacts: Path | None = None, artifact_path: str | None = None,
        table: tuple[str, pd.DataFrame] | None = None,
    ) -> None:
        if run_id not in self.runs:
            raise NotFound(f"no run {run_id}")
        run = self.runs[run_id]
        run["metrics"].update(metrics or {})
        run["tags"].update(tags or {})
        if artifacts is not None:
            shutil.copytree(artifacts, self.folder / run_id / (artifact_path or ""), dirs_exist_ok=True)
        if table is not None:
            run["tables"][table[0]] = table[1]

    def register(self, run_id: str, artifact: Path, tags: Mapping[str, str]) -> str:
        if run_id not in self.runs:
            raise NotFound(f"no run {run_id}")
        shutil.copytree(artifact, self.folder / run_id / "model", dirs_exist_ok=True)
        version = str(len(self._versions) + 1)
        created = datetime(2026, 1, 1) + timedelta(minutes=len(self._versions))
        self._versions[version] = ModelVersion(version, run_id, dict(tags), (), created)
        return version

    def version_of(self, alias: str) -> str | None:
        return self.aliases.get(alias)

    def set_alias(self, alias: str, version: str) -> None:
        self.get(version)
        self.aliases[alias] = version

    def delete_alias(self, alias: str) -> None:
        self.aliases.pop(alias, None)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        found = self.get(version)
        merged = {**found.tags, **tags}
        self._versions[version] = ModelVersion(version, found.run_id, merged, (), found.created_at)

    def get(self, version: str) -> ModelVersion:
        if version not in self._versions:
            raise NotFound(f"no version {version}")
        found = self._versions[version]
        aliases = tuple(sorted(alias for alias, at in self.aliases.items() if at == version))
        return ModelVersion(version, found.run_id, dict(found.tags), aliases, found.created_at)

    def versions(self) -> Sequence[ModelVersion]:
        return [self.get(version) for version in sorted(self._versions, key=int, reverse=True)]

    def download(self, version: str, directory: Path) -> Path:
        target = directory / "model"
        shutil.copytree(self.folder / self.get(version).run_id / "model", target, dirs_exist_ok=True)
        return target


class FlakyRegistry(MemoryRegistry):
    """A registry that misses calls: `misses["tag"] = [False, True]` answers the next `tag` and not the one after."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.misses: dict[str, list[bool]] = {}

    def _answer(self, call: str) -> None:
        upcoming = self.misses.get(call)
        if upcoming and upcoming.pop(0):
            raise Unavailable(f"the registry answered 503 to {call}")

    def log_to_run(self, run_id: str, **more: Any) -> None:
        self._answer("log_to_run")
        super().log_to_run(run_id, **more)

    def version_of(self, alias: str) -> str | None:
        self._answer("version_of")
        return super().version_of(alias)

    def set_alias(self, alias: str, version: str) -> None:
        self._answer("set_alias")
        super().set_alias(alias, version)

    def delete_alias(self, alias: str) -> None:
        self._answer("delete_alias")
        super().delete_alias(alias)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        self._answer("tag")
        super().tag(version, tags)
