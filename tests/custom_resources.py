"""JSON schemas of other projects' custom resources: `CRD_SCHEMAS` names their folder, none is copied into this one."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class CustomResource:
    """A kind that our charts render and that another project defines."""

    group: str
    version: str
    kind: str

    @property
    def plural(self) -> str:
        """How its URL names it."""
        return f"{self.kind.lower()}s"

    @property
    def file(self) -> str:
        """Name of its schema, as in the CRDs-catalog of datreeio."""
        return f"{self.group}_{self.kind.lower()}_{self.version}.json"


KINDS = {
    each.kind: each for each in (
        CustomResource("monitoring.coreos.com", "v1", "ServiceMonitor"),
        CustomResource("monitoring.coreos.com", "v1", "PrometheusRule"),
        CustomResource("keda.sh", "v1alpha1", "ScaledObject"),
    )
}


def schemas_are_there() -> bool:
    """Whether a folder of schemas was named."""
    return bool(os.environ.get("CRD_SCHEMAS"))


def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind; fails the test with what to set when no folder, or one without it, was named."""
    file = Path(os.environ.get("CRD_SCHEMAS", "")) / KINDS[kind].file
    if not schemas_are_there() or not file.is_file():
        needed = ", ".join(each.file for each in KINDS.values())
        pytest.fail(
            f"CRD_SCHEMAS is '{os.environ.get('CRD_SCHEMAS', '')}': name a folder with {needed} (as in the "
            "CRDs-catalog of datreeio), e.g. CRD_SCHEMAS=~/schemas make test-charts test-cluster"
        )
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
