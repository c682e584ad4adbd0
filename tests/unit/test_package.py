"""Packages: complete or absent, verified when fetched, never changed."""

import errno
import json
import threading
from pathlib import Path

import pytest

from bikeshare.adapters.bento import fetch_model, pack
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


def test_other_content_than_promised_is_refused(artifact: Path, tmp_path: Path) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    fetched = fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    (fetched / "model.onnx").write_bytes(b"edited by hand")
    with pytest.raises(ArtifactError, match="content hash edited"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)


@pytest.mark.parametrize("document", [b"{}", b"[]", b"not json", b"\xff"])
def test_a_description_that_describes_nothing_is_refused(artifact: Path, tmp_path: Path, document: bytes) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)
    store.put(document_key("7"), document)
    with pytest.raises(ArtifactError, match=r"models/7/package\.json does not describe a package"):
        fetch_model(store, "7", tmp_path / "home", hash_directory=content)


@pytest.mark.parametrize("where", ["pathlib.Path.write_bytes", "bentoml.models.import_model"])
def test_a_full_disk_may_be_tried_again(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store = MemoryStore()
    package(store, artifact, "7", "forest", pack)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(where, full)
        with pytest.raises(Unavailable, match="No space left"):
            fetch_model(store, "7", tmp_path / "home", hash_directory=content)
    assert content(fetch_model(store, "7", tmp_path / "home", hash_directory=content)) == "forest"


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
