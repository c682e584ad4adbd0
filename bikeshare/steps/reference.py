"""What the champion promised: its profile, its backtest, its training window."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bikeshare.core.limits import ValidationLimits
from bikeshare.errors import NotFound, PermanentError
from bikeshare.ports import ModelRegistry, ObjectStore

FILES = {"profile": "reference_profile.json", "backtest": "backtest.json", "contract": "contract.json"}


@dataclass(frozen=True)
class Reference:
    """The part of a champion's artifact that the monitor compares with.

    Attributes:
        version: Registry version.
        profile: `core.profiles.build_profile` of the training window.
        backtest: Error series of the recipe.
        contract: Window, hashes, versions.
        problem: Why the reference cannot be read; empty when it can.
    """

    version: str
    profile: Mapping[str, Any]
    backtest: Mapping[str, Any]
    contract: Mapping[str, Any]
    problem: str = ""

    @property
    def limits(self) -> ValidationLimits:
        """What normal inputs look like; knows nothing when the artifact carries no limits."""
        return ValidationLimits.from_dict(self.profile.get("validation_limits", {}))

    @property
    def window(self) -> tuple[datetime, datetime] | None:
        """First training hour and the first hour after the last."""
        found = self.contract.get("window")
        return (datetime.fromisoformat(found[0]), datetime.fromisoformat(found[1])) if found else None


def reference_key(version: str) -> str:
    """Store key of a cached reference."""
    return f"monitor/reference/{version}.json"


def load_reference(registry: ModelRegistry, store: ObjectStore, version: str) -> Reference:
    """Read a version's reference from the store's cache; the first time from the registry.

    Versions never change, so the cache does not age. It keeps the registry's heavy client and a download of the
    whole artifact out of nearly every look.
    """
    try:
        return Reference(version, **json.loads(store.get(reference_key(version))))
    except NotFound:
        pass
    except (ValueError, TypeError):
        store.delete(reference_key(version))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = registry.download(version, Path(scratch))
            documents = {name: json.loads((folder / file).read_text()) for name, file in FILES.items()}
    except (OSError, ValueError, PermanentError) as error:
        return Reference(version, {}, {}, {}, f"the artifact of version {version} cannot be read: {error}")
    reference = Reference(version, **documents)
    if reference.profile and reference.backtest.get("wape"):
        store.put(reference_key(version), json.dumps(documents).encode())
        return reference
    return Reference(version, **documents, problem=f"the artifact of version {version} holds no profile or backtest")
