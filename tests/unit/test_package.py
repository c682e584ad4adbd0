"""Packages: complete or absent, verified when fetched, never changed."""

import errno
import io
import json
import lzma
import resource
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bikeshare.adapters.bento import KEPT, fetch_model, pack
from bikeshare.errors import ArtifactError, NotFound, Unavailable
from bikeshare.steps.package import document_key, file_key, package, read_package
from tests.fakes.store import MemoryStore


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"forest" * 100)
    (folder / "contract.json").write_text("{}")
    return folder


def plain_pack(artifact: Path, version: str, folder: Path) -> Path:
    target = folder / f"bikeshare-{version}.bentomodel"
    target.write_bytes(b"".join(path.read_bytes() for path in sorted(artifact.iterdir())))
    return target


def content(folder: Path) -> str:
    return (folder / "model.onnx").read_bytes()[:6].decode()


def test_the_document_is_written_last_and_describes_the_file(artifact: Path) -> None:
    store = MemoryStore()
    made = package(store, artifact, "7", "hash-7", plain_pack)
    assert read_package(store, "7") == made
    assert (made.key, made.size) == ("models/7/bikeshare-7.bentomodel", len(store.get(file_key("7"))))
    with pytest.raises(NotFound):
        read_package(store, "8")


def test_packaging_again_changes_nothing_and_other_content_is_refused(artifact: Path) -> None:
    store = MemoryStore()
    made = package(store, artifact, "7", "hash-7", plain_pack)
    (artifact / "model.onnx").write_bytes(b"other")
    assert package(store, artifact, "7", "hash-7", plain_pack) == made
    with pytest.raises(ArtifactError, match="never changes"):
        package(store, artifact, "7", "hash-other", plain_pack)


def test_an_upload_that_broke_off_is_done_again(artifact: Path) -> None:
    store = MemoryStore()
    store.put(file_key("7"), b"half")
    made = package(store, artifact, "7", "hash-7", plain_pack)
    assert store.get(file_key("7")) != b"half"
    assert json.loads(store.get(document_key("7")))["sha256"] == made.sha256


def test_a_bento_model_comes_back_as_it_was(artifact: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    fetched = fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    assert sorted(path.name for path in fetched.iterdir()) == ["contract.json", "model.onnx"]
    assert (fetched / "model.onnx").read_bytes() == b"forest" * 100
    store.delete(file_key("7"))
    assert fetch_model(store, "7", tmp_path / "home", hash_directory=content) == fetched


def test_a_corrupt_package_is_refused_and_leaves_nothing(artifact: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    store.put(file_key("7"), store.get(file_key("7"))[:-10])
    with pytest.raises(ArtifactError, match="SHA-256"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    assert [path.name for path in (tmp_path / "home" / "models").iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("damage", [
    lambda store: store.put(file_key("7"), store.get(file_key("7"))[:-10]),
    lambda store: store.delete(file_key("7")),
    lambda store: store.put(document_key("7"), b"{"),
    lambda store: store.put(document_key("7"), b"[]"),
])
def test_packaging_again_repairs_what_was_damaged(
    artifact: Path, tmp_path: Path, damage: Callable[[MemoryStore], None]
) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    damage(store)
    package(store, artifact, "7", "forest", pack)

    fetched = fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    assert (fetched / "model.onnx").read_bytes() == b"forest" * 100


def test_other_content_than_promised_is_refused(artifact: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    fetched = fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    (fetched / "model.onnx").write_bytes(b"edited by hand")
    with pytest.raises(ArtifactError, match="content hash edited"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)


def test_the_latest_used_versions_stay_on_the_machine_and_a_removed_one_comes_back(
    artifact: Path, tmp_path: Path
) -> None:
    store, home = MemoryStore(), tmp_path / "home"
    versions = [str(number) for number in range(1, KEPT + 2)]
    for version in versions:
        package(store, artifact, version, "hash", pack)

    def here() -> set[str]:
        return {path.name for path in (home / "models").iterdir() if path.is_dir()}

    for version in versions[:-1]:
        fetch_model(store, version, home)
    assert here() == {f"{version}-hash" for version in versions[:-1]}

    fetch_model(store, "1", home)
    fetch_model(store, versions[-1], home)
    assert here() == {f"{version}-hash" for version in versions if version != "2"}
    assert content(fetch_model(store, "2", home)) == "forest"
    assert here() == {f"{version}-hash" for version in versions if version != "3"}


def test_two_fetches_at_once_both_get_the_whole_model(artifact: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(
            fetch_model(store, "7", tmp_path / "home", hash_directory=content)
        )) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(found) == 4
    assert {content(path) for path in found} == {"forest"}
    assert len(set(found)) == 1


def test_a_version_that_was_never_packaged_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        fetch_model(MemoryStore(), "9", tmp_path)


@pytest.mark.parametrize("document", [b"{}", b"[]", b"null", b"{", b"\xff", b'{"content_hash": "h", "sha256": "s"}'])
def test_a_document_that_says_too_little_is_refused(tmp_path: Path, document: bytes) -> None:
    store = MemoryStore()
    store.put(document_key("7"), document)
    with pytest.raises(ArtifactError, match=r"models/7/package\.json .*registry promote 7` packages it anew"):
        fetch_model(store, "7", tmp_path)


def tarred(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize("packed", [
    b"not xz", b"", lzma.compress(b"not tar" * 1_000), tarred({}), tarred({"a": b"x"}), tarred({"model.yaml": b"{"}),
    tarred({"model.yaml": b"name: x"}),
], ids=["not xz", "empty", "not tar", "no file", "no model.yaml", "not yaml", "no version"])
def test_what_bentoml_cannot_open_is_refused(tmp_path: Path, artifact: Path, packed: bytes) -> None:
    def pack_it(_artifact: Path, version: str, folder: Path) -> Path:
        target = folder / f"bikeshare-{version}.bentomodel"
        target.write_bytes(packed)
        return target

    store = MemoryStore()
    package(store, artifact, "7", "forest", pack_it)
    with pytest.raises(ArtifactError, match="cannot be opened"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A disk that refuses what is larger, which needs no root and fails like a full one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 100_000], ids=["the package", "its content"])
def test_a_disk_without_room_is_a_reason_to_try_again(artifact: Path, tmp_path: Path, limit: int) -> None:
    (artifact / "model.onnx").write_bytes(b"forest" * 100_000)
    store = MemoryStore()
    made = package(store, artifact, "7", "forest", pack)
    assert made.size < 100_000
    with files_up_to(limit), pytest.raises(Unavailable, match=rf"Errno {errno.EFBIG}\D.*disk"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)

    assert content(fetch_model(store, "7", tmp_path / "home", hash_directory=content)) == "forest"
