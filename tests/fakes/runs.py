"""Pipeline runs in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bikeshare.errors import NotFound
from bikeshare.ports import Run


class MemoryRuns:
    """Starts nothing; a test ends runs with `end`."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.submitted: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        if self.failure is not None:
            raise self.failure
        found = self.find(run_key)
        if found is not None:
            return found
        run_id = f"id-{len(self.runs) + 1}"
        created = datetime(2026, 1, 1) + timedelta(minutes=len(self.runs))
        self.runs[run_id] = Run(run_id, run_key, "running", f"memory://{run_id}", created)
        self.submitted.append({**arguments, "run_key": run_key, "reason": reason})
        return self.runs[run_id]

    def find(self, run_key: str) -> Run | None:
        if self.failure is not None:
            raise self.failure
        return next((run for run in self.runs.values() if run.run_key == run_key), None)

    def active(self) -> Sequence[Run]:
        if self.failure is not None:
            raise self.failure
        return [run for run in self.runs.values() if run.status in ("pending", "running")]

    def get(self, run_id: str) -> Run:
        if self.failure is not None:
            raise self.failure
        if run_id not in self.runs:
            raise NotFound(f"no run {run_id}")
        return self.runs[run_id]

    def end(self, run_key: str, *, succeeded: bool) -> None:
        """Let a run end."""
        found = self.find(run_key)
        if found is None:
            raise NotFound(f"no run {run_key}")
        self.runs[found.run_id] = replace(found, status="succeeded" if succeeded else "failed")
