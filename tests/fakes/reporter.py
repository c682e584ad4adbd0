"""A drift reporter that writes two small files and remembers what it was shown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd


class MemoryReporter:
    """`bikeshare.ports.DriftReporter`; set `failure` to make it fail."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.failure: Exception | None = None

    def write(
        self, current: pd.DataFrame, reference: pd.DataFrame, directory: Path, *, title: str, verdict: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if self.failure is not None:
            raise self.failure
        self.written.append({"title": title, "rows": len(current), "reference_rows": len(reference), **verdict})
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "report.html").write_text(f"<html><title>{title}</title></html>")
        (directory / "report.json").write_text(json.dumps(dict(verdict), default=str))
        return {"share": 1.0, "columns": {}}
