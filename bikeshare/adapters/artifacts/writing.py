"""Writing the artifact directory.

skops, which looks for the home of every scipy function in all loaded modules, is imported with this module: before
MLflow it takes 0.6 s, after it 3.2 s.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skops.io  # noqa: F401

from bikeshare import __version__
from bikeshare.adapters.artifacts.directory import FILES, MANIFEST, SERIES, digest_of
from bikeshare.adapters.artifacts.estimator import dump_estimator
from bikeshare.adapters.artifacts.onnx_export import export_onnx
from bikeshare.core.contract import CONTRACT_VERSION, OBSERVATION
from bikeshare.core.features import HISTORY, STATELESS
from bikeshare.core.grid import Floats
from bikeshare.core.training import TrainedModel


@dataclass(frozen=True)
class ArtifactInfo:
    """What was written: the content hash and the size of all files in bytes."""

    content_hash: str
    bytes: int


def save_artifact(
    trained: TrainedModel, directory: Path, *, metadata: Mapping[str, Any], backtest: Mapping[str, Any],
    reference_profile: Mapping[str, Any], card: str,
) -> ArtifactInfo:
    """Write a complete artifact into `directory` (created; files of an older artifact are replaced).

    Args:
        trained: Result of training; the ONNX export must equal its forests on all training rows.
        directory: Where to write.
        metadata: Added to contract.json, e.g. git_revision, data_hash.
        backtest: Error and bias per week.
        reference_profile: Fixed-bin profile of the training window.
        card: Model card, Markdown.

    Raises:
        ArtifactError: ONNX and scikit-learn disagree.
    """
    onnx = export_onnx(trained)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    (directory / "model.onnx").write_bytes(onnx)
    dump_estimator(trained.shapes, directory / "estimator.skops")
    documents: dict[str, Mapping[str, Any]] = {
        "contract.json": {**_contract(trained), **metadata},
        "levels.json": _levels(trained),
        "intervals.json": trained.intervals.to_dict(),
        "reference_profile.json": reference_profile,
        "backtest.json": backtest,
    }
    for name, document in documents.items():
        (directory / name).write_text(json.dumps(document, indent=1, sort_keys=True, default=str) + "\n")
    (directory / "model_card.md").write_text(card)
    hashes = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in FILES}
    digest = digest_of(hashes)
    manifest = {"content_hash": digest, "files": hashes}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return ArtifactInfo(digest, sum((directory / name).stat().st_size for name in (*FILES, MANIFEST)))


def _contract(trained: TrainedModel) -> dict[str, Any]:
    config = asdict(trained.training_config)
    return {
        "contract_version": CONTRACT_VERSION,
        "library_version": __version__,
        "columns": [asdict(column) for column in OBSERVATION.values()],
        "features": {
            "stateless": [asdict(feature) for feature in STATELESS],
            "history": [asdict(feature) for feature in STATELESS + HISTORY],
        },
        "window": [moment.isoformat() for moment in trained.window],
        "rows": trained.rows,
        "training_config": config,
    }


def _levels(trained: TrainedModel) -> dict[str, Any]:
    tail = trained.oob_tail
    return {
        "frozen": trained.frozen_level,
        "policy": asdict(trained.training_config.level),
        "tail": {"start": tail.start, **{name: _rounded(getattr(tail, name)) for name in SERIES}},
    }


def _rounded(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]
