"""BentoML as the package format of a model version. The only library file that imports `bentoml`.

Models never enter BentoML's shared store: packing and fetching use a private store below a folder of ours, so
that two processes, or a user's own BentoML, cannot meet.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bikeshare.errors import ArtifactError, Unavailable
from bikeshare.ports import ObjectStore

MODEL = "bikeshare"

KEPT = 5
"""Versions kept on a machine, latest used first: champion, previous, a canary, and two to look at."""

HashDirectory = Callable[[Path], str]
"""Content hash of an artifact directory."""


def pack(artifact: Path, version: str, folder: Path) -> Path:
    """Write `bikeshare-<version>.bentomodel` (a BentoML model export) into `folder`.

    Args:
        artifact: Artifact directory; becomes the model's files unchanged.
        version: Registry version, also the BentoML version.
        folder: Created if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    bentoml, exceptions = _bentoml()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = _model_store(Path(scratch))
        try:
            with bentoml.models.create(f"{MODEL}:{version}", labels={"format": "onnx"}, _model_store=store) as model:
                shutil.copytree(artifact, model.path, dirs_exist_ok=True)
        except exceptions.BentoMLException as error:
            raise ArtifactError(f"version {version} cannot be packaged: {error}") from error
        target = folder / f"{MODEL}-{version}.bentomodel"
        _export(Path(store.get(f"{MODEL}:{version}").path), target)
    return target


def _export(model: Path, target: Path) -> None:
    """What `bentoml models export` does, with xz's fastest setting: 2 % larger, five times faster."""
    import tarfile

    with tarfile.open(target, "w:xz", preset=0) as archive:
        for path in sorted(model.rglob("*")):
            archive.add(path, arcname=str(path.relative_to(model)), recursive=False)


def fetch_model(store: ObjectStore, version: str, home: Path, *, hash_directory: HashDirectory | None = None) -> Path:
    """Bring a packaged version to this machine and return its artifact directory.

    Safe beside other processes; a version that is here already is only verified. All but the `KEPT` latest used
    versions are removed from this machine; the store keeps them.

    Args:
        store: Holds `models/<version>/`.
        version: Registry version.
        home: Folder of this machine's models; versions live in `home/models`.
        hash_directory: Recomputes the content hash, e.g. `bikeshare.adapters.artifacts.content_hash`; without it,
            the loader of the artifact must check the hash.

    Raises:
        NotFound: the version is not packaged.
        ArtifactError: the file, its document or its content is not what was packaged.
        Unavailable: the store did not answer, or this machine's disk refused.
    """
    try:
        return _fetch(store, version, home.absolute() / "models", hash_directory)
    except OSError as error:
        raise Unavailable(f"version {version} cannot be written below {home}: {error}; check the disk") from error


def _fetch(store: ObjectStore, version: str, models: Path, hash_directory: HashDirectory | None) -> Path:
    key, content_hash, digest = _described(store, version)
    models.mkdir(parents=True, exist_ok=True)
    target = models / f"{version}-{content_hash[:12]}"
    with _locked(models / f".{version}.lock"):
        if not target.is_dir():
            data = store.get(key)
            seen = hashlib.sha256(data).hexdigest()
            if seen != digest:
                raise ArtifactError(
                    f"package of version {version} has SHA-256 {seen[:12]}, expected {digest[:12]}: it is corrupt; "
                    f"`bikeshare registry promote {version}` packages it anew"
                )
            with tempfile.TemporaryDirectory(dir=models, prefix=".fetch-") as scratch:
                artifact = _unpack(data, version, Path(scratch))
                _check(artifact, version, content_hash, hash_directory)
                artifact.rename(target)
        else:
            _check(target, version, content_hash, hash_directory)
        os.utime(target)
    _remove_unused(models)
    return target


def _remove_unused(models: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # another process removes the same
        known = [path for path in models.iterdir() if path.is_dir() and not path.name.startswith(".")]
        known.sort(key=lambda path: path.stat().st_mtime_ns)
        for unused in known[:-KEPT]:
            version = unused.name.rpartition("-")[0]
            with (
                _locked(models / f".{version}.lock"),
                tempfile.TemporaryDirectory(dir=models, prefix=".unused-") as scratch,
            ):
                unused.rename(Path(scratch) / unused.name)  # whole or gone, for whoever fetches it next


def _described(store: ObjectStore, version: str) -> tuple[str, str, str]:
    """Key, content hash and SHA-256 of a packaged version."""
    name = f"models/{version}/package.json"
    document = store.get(name)
    try:
        described = json.loads(document)
        return str(described["key"]), str(described["content_hash"]), str(described["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{name} cannot be read ({error!r}): `bikeshare registry promote {version}` packages it anew"
        ) from error


def _unpack(data: bytes, version: str, scratch: Path) -> Path:
    bentoml, _ = _bentoml()
    packed = scratch / f"{MODEL}-{version}.bentomodel"
    packed.write_bytes(data)
    store = _model_store(scratch)
    try:
        model = bentoml.models.import_model(str(packed), _model_store=store)
    except Exception as error:  # BentoML's own and those of lzma, tarfile, yaml and fsspec
        # Only what the operating system says has a number; a file's content may be an OSError too.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ArtifactError(f"package of version {version} cannot be opened: {error}") from error
    artifact = scratch / "artifact"
    shutil.copytree(model.path, artifact, ignore=shutil.ignore_patterns("model.yaml"))
    return artifact


def _check(artifact: Path, version: str, expected: str, hash_directory: HashDirectory | None) -> None:
    if hash_directory is None:
        return
    seen = hash_directory(artifact)
    if seen != expected:
        raise ArtifactError(
            f"version {version} has content hash {seen[:12]}, expected {expected[:12]}: it is corrupt; "
            f"remove {artifact}"
        )


def _bentoml() -> tuple[Any, Any]:
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import bentoml.models
    from bentoml import exceptions

    return bentoml, exceptions


def _model_store(folder: Path) -> Any:
    from bentoml._internal.models.model import ModelStore

    path = folder / "store"
    path.mkdir(exist_ok=True)
    return ModelStore(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
