"""Package an accepted version: one immutable file in the object store, described by a document written last."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bikeshare.errors import ArtifactError, NotFound
from bikeshare.ports import ObjectStore

Pack = Callable[[Path, str, Path], Path]
"""`bikeshare.adapters.bento.pack`: (artifact directory, version, folder) -> the packaged file."""


@dataclass(frozen=True)
class Package:
    """Where a packaged version is and what it must hash to.

    Attributes:
        version: Registry version.
        key: Store key of the packaged file.
        content_hash: Hash of the artifact directory inside.
        sha256: Hash of the file.
        size: Bytes of the file.
    """

    version: str
    key: str
    content_hash: str
    sha256: str
    size: int


def file_key(version: str) -> str:
    """Store key of a packaged version."""
    return f"models/{version}/bikeshare-{version}.bentomodel"


def document_key(version: str) -> str:
    """Store key of the document that says a package is complete."""
    return f"models/{version}/package.json"


def package(store: ObjectStore, artifact: Path, version: str, content_hash: str, pack: Pack) -> Package:
    """Pack the artifact and upload it; a version that is packaged and intact is left alone, a corrupt one is repaired.

    Args:
        store: Receives the file, then the document.
        artifact: Artifact directory.
        version: Registry version.
        content_hash: Of the artifact; a package of the same version with another one is refused.
        pack: Makes the file.

    Raises:
        ArtifactError: the version is packaged with other content already.
    """
    try:
        known = read_package(store, version)
    except (NotFound, ArtifactError):
        known = None
    if known is not None and known.content_hash != content_hash:
        raise ArtifactError(
            f"version {version} is packaged already with content {known.content_hash[:12]}, not "
            f"{content_hash[:12]}: a version never changes; train a new one"
        )
    if known is not None and _is_intact(store, known):
        return known
    with tempfile.TemporaryDirectory() as scratch:
        data = pack(artifact, version, Path(scratch)).read_bytes()
    described = Package(version, file_key(version), content_hash, hashlib.sha256(data).hexdigest(), len(data))
    store.put(described.key, data)
    store.put(document_key(version), json.dumps(asdict(described), indent=2).encode())
    return described


def read_package(store: ObjectStore, version: str) -> Package:
    """The document of a packaged version; NotFound when it was never completed."""
    document = store.get(document_key(version))
    try:
        return Package(**json.loads(document))
    except (TypeError, ValueError) as error:
        raise ArtifactError(
            f"{document_key(version)} is not a package document ({error}): `bikeshare registry promote {version}` "
            "packages it anew"
        ) from error


def _is_intact(store: ObjectStore, known: Package) -> bool:
    try:
        return hashlib.sha256(store.get(known.key)).hexdigest() == known.sha256
    except NotFound:
        return False
