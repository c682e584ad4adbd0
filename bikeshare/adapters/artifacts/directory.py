"""Hashing and reading the artifact directory.

model.onnx, estimator.skops, contract.json, levels.json, intervals.json, reference_profile.json, backtest.json,
model_card.md and manifest.json (SHA-256 of each; the content hash is the SHA-256 of that list).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bikeshare.adapters.artifacts.estimator import load_estimator
from bikeshare.adapters.artifacts.onnx_runtime import OnnxShapes
from bikeshare.core.contract import CONTRACT_VERSION
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.grid import Floats
from bikeshare.core.intervals import Intervals
from bikeshare.core.level import LevelPolicy
from bikeshare.core.shape_level import ShapeLevel, Tail
from bikeshare.core.training import SklearnShapes
from bikeshare.errors import ArtifactError

MANIFEST = "manifest.json"
FILES = (
    "backtest.json", "contract.json", "estimator.skops", "intervals.json", "levels.json", "model.onnx",
    "model_card.md", "reference_profile.json",
)
"""Every file of an artifact besides the manifest."""


@dataclass(frozen=True)
class Artifact:
    """What was read.

    Attributes:
        forecaster: Ready to answer, on the ONNX forests.
        contract: Columns, units, features, contract_version, library_version, window, and the caller's metadata.
        backtest: Error and bias per week.
        reference_profile: Fixed-bin profile of the training window.
        intervals: Interval table.
        card: Model card, Markdown.
        content_hash: SHA-256 over the files' hashes.
        estimator: The scikit-learn forests when asked for.
    """

    forecaster: Forecaster
    contract: Mapping[str, Any]
    backtest: Mapping[str, Any]
    reference_profile: Mapping[str, Any]
    intervals: Intervals
    card: str
    content_hash: str
    estimator: SklearnShapes | None = None


def content_hash(directory: Path) -> str:
    """Recompute the content hash; ArtifactError when a file is missing, foreign or not as the manifest says."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        listed, stated = dict(manifest["files"]), str(manifest["content_hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{directory / MANIFEST} cannot be read ({error}): fetch the artifact again") from error
    if sorted(listed) != sorted(FILES):
        raise ArtifactError(f"{directory}: the manifest lists {sorted(listed)}, expected {sorted(FILES)}")
    foreign = sorted({path.name for path in directory.iterdir()} - {*FILES, MANIFEST})
    if foreign:
        raise ArtifactError(f"{directory} holds what is no part of an artifact: {foreign[:5]}; fetch it again")
    for name in FILES:
        try:
            found = hashlib.sha256((directory / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ArtifactError(f"{directory / name} is missing: fetch the artifact again") from error
        if found != listed[name]:
            raise ArtifactError(f"{directory / name} is corrupt: SHA-256 {found[:12]}…, manifest {listed[name][:12]}…")
    digest = digest_of(listed)
    if digest != stated:
        raise ArtifactError(f"{directory / MANIFEST} is corrupt: content hash {digest[:12]}…, stated {stated[:12]}…")
    return digest


def load_artifact(
    directory: Path, *, expected_hash: str | None = None, with_estimator: bool = False
) -> Artifact:
    """Read and check an artifact; nothing is unpickled.

    Raises:
        ArtifactError: missing or corrupt file, another content hash than expected, another contract version.
    """
    digest = content_hash(directory)
    if expected_hash is not None and digest != expected_hash:
        raise ArtifactError(f"{directory} has content hash {digest[:12]}…, expected {expected_hash[:12]}…")
    contract = _read(directory / "contract.json")
    if contract.get("contract_version") != CONTRACT_VERSION:
        raise ArtifactError(
            f"the artifact was made for contract version {contract.get('contract_version')}, this library has "
            f"{CONTRACT_VERSION}: deploy matching versions or retrain"
        )
    try:
        intervals = Intervals.from_dict(_read(directory / "intervals.json"))
        levels = _read(directory / "levels.json")
        tail = Tail(levels["tail"]["start"], *(_floats(levels["tail"][name]) for name in SERIES))
        start, end = (datetime.fromisoformat(moment) for moment in contract["window"])
        policy = LevelPolicy(**levels["policy"])
        frozen = {"stateless": float(levels["frozen"]["stateless"]), "history": float(levels["frozen"]["history"])}
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{directory} is incomplete: {error!r}") from error
    shapes = OnnxShapes(directory / "model.onnx")
    model = ShapeLevel(shapes, frozen, tail, intervals, (start, end), policy)  # type: ignore[arg-type]
    return Artifact(
        Forecaster(model), contract, _read(directory / "backtest.json"), _read(directory / "reference_profile.json"),
        intervals, (directory / "model_card.md").read_text(), digest,
        load_estimator(directory / "estimator.skops") if with_estimator else None,
    )


SERIES = ("demand", "stateless", "history")
"""What `levels.json` keeps of the last training hours."""


def digest_of(hashes: Mapping[str, str]) -> str:
    """The content hash: SHA-256 over the files' names and hashes."""
    return hashlib.sha256("".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes)).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error


def _floats(values: list[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
