"""FolderStore, S3Store (against a real HTTP server) and MemoryStore keep the same promises."""

import multiprocessing
import multiprocessing.synchronize
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from bikeshare.adapters.folder import FolderStore
from bikeshare.adapters.s3 import S3Store
from bikeshare.errors import ConfigurationError, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import ObjectStore
from tests.fakes.store import MemoryStore


@pytest.fixture(params=["folder", "s3", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    if request.param == "memory":
        return MemoryStore()
    bucket, endpoint = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_endpoint")
    return S3Store(bucket, f"test/{uuid.uuid4().hex}", endpoint)


def test_an_object_comes_back_as_it_was_written(store: ObjectStore) -> None:
    first = store.put("raw/date=2012-01-01/observations.parquet", b"\x00\xffone")
    second = store.put("raw/date=2012-01-02/observations.parquet", b"two")
    assert store.get("raw/date=2012-01-01/observations.parquet") == b"\x00\xffone"
    assert store.get("raw/date=2012-01-02/observations.parquet") == b"two"
    assert first != second


def test_info_tells_size_and_the_etag_that_put_returned(store: ObjectStore) -> None:
    etag = store.put("a/b", b"12345")
    info = store.info("a/b")
    assert info is not None
    assert (info.key, info.size, info.etag) == ("a/b", 5, etag)
    assert store.info("a/absent") is None
    assert store.info("a") is None


def test_an_overwrite_changes_content_and_etag_and_the_same_bytes_have_the_same_etag(store: ObjectStore) -> None:
    first = store.put("k", b"one")
    assert store.put("k", b"two") != first
    assert store.get("k") == b"two"
    assert store.put("k", b"one") == first
    info = store.info("k")
    assert info is not None
    assert info.etag == first


def test_an_absent_key_is_not_found(store: ObjectStore) -> None:
    store.put("there/x", b"")
    with pytest.raises(NotFound, match="nowhere/x"):
        store.get("nowhere/x")
    with pytest.raises(NotFound):
        store.get("there")
    assert store.get("there/x") == b""


def test_list_is_sorted_and_takes_a_prefix_not_a_folder(store: ObjectStore) -> None:
    for key in ("raw/date=2012-01-10/o", "raw/date=2012-01-02/o", "rawer/x", "quarantine/y"):
        store.put(key, key.encode())
    assert [item.key for item in store.list("raw/")] == ["raw/date=2012-01-02/o", "raw/date=2012-01-10/o"]
    assert [item.key for item in store.list("raw")] == ["raw/date=2012-01-02/o", "raw/date=2012-01-10/o", "rawer/x"]
    assert [item.key for item in store.list("raw/date=2012-01-1")] == ["raw/date=2012-01-10/o"]
    assert [item.size for item in store.list("quarantine/")] == [12]
    assert len(store.list("")) == 4
    assert store.list("nothing/here") == []


def test_delete_removes_and_is_quiet_about_absent_keys(store: ObjectStore) -> None:
    store.put("a/b/c", b"1")
    store.put("a/d", b"2")
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert [item.key for item in store.list("a/")] == ["a/d"]


def test_a_changed_object_is_not_deleted_on_condition(store: ObjectStore) -> None:
    first = store.put("state", b"1")
    second = store.put("state", b"2")
    with pytest.raises(Conflict):
        store.delete("state", if_match=first)
    assert store.get("state") == b"2"
    store.delete("state", if_match=second)
    assert store.info("state") is None
    store.delete("state", if_match=second)


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put("raw/day", b"1")

    def denied(path: Path, missing_ok: bool = False) -> None:  # root, who runs this too, may delete everything
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", denied)
        with pytest.raises(Unavailable, match="cannot delete raw/day: Permission denied"):
            store.delete("raw/day")
    assert store.get("raw/day") == b"1"


def test_if_absent_wins_once(store: ObjectStore) -> None:
    store.put("lock", b"mine", if_absent=True)
    with pytest.raises(Conflict):
        store.put("lock", b"yours", if_absent=True)
    assert store.get("lock") == b"mine"


def test_if_match_refuses_a_stale_etag_and_an_absent_object(store: ObjectStore) -> None:
    first = store.put("state", b"1")
    second = store.put("state", b"2", if_match=first)
    with pytest.raises(Conflict):
        store.put("state", b"3", if_match=first)
    assert store.get("state") == b"2"
    store.put("state", b"3", if_match=second)
    assert store.get("state") == b"3"
    with pytest.raises(Conflict):
        store.put("absent", b"1", if_match=first)


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/x", "a//b", "", "a/./b", "a\\b", "a\0b"])
def test_a_key_cannot_leave_the_store(store: ObjectStore, key: str) -> None:
    with pytest.raises(DataError, match="illegal object key"):
        store.put(key, b"x")
    with pytest.raises(DataError, match="illegal object key"):
        store.get(key)


def test_directories_go_up_and_come_down_whole(store: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "artifact"
    (source / "deep").mkdir(parents=True)
    (source / "model.onnx").write_bytes(b"m" * 1000)
    (source / "deep" / "card.md").write_bytes(b"card")
    uploaded = store.upload_directory(source, "models/7/")
    assert [(item.key, item.size) for item in uploaded] == [("models/7/deep/card.md", 4), ("models/7/model.onnx", 1000)]
    store.put("models/70/other", b"not mine")
    target = store.download_directory("models/7", tmp_path / "down")
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if p.is_file()) == [
        "deep/card.md", "model.onnx",
    ]
    assert (target / "model.onnx").read_bytes() == b"m" * 1000
    with pytest.raises(NotFound):
        store.download_directory("models/8", tmp_path / "none")


def test_list_goes_on_after_the_first_page(s3_bucket: str, s3_endpoint: str) -> None:
    store = S3Store(s3_bucket, f"pages/{uuid.uuid4().hex}", s3_endpoint)
    asked = []

    def ten_at_most(params: dict[str, object], **_: object) -> dict[str, object]:
        asked.append(params)
        return params | {"MaxKeys": 10}  # a server's own limit is 1000

    store._client.meta.events.register("provide-client-params.s3.ListObjectsV2", ten_at_most)
    for number in range(35):
        store.put(f"d/{number:05d}", b"")
    assert [item.key for item in store.list("d/")] == [f"d/{number:05d}" for number in range(35)]
    assert len(asked) == 4


def test_a_url_names_the_place(tmp_path: Path) -> None:
    assert FolderStore(tmp_path).url("a/b") == f"file://{tmp_path}/a/b"
    assert S3Store("bucket", "/pre/fix/").url("a/b") == "s3://bucket/pre/fix/a/b"


def test_an_s3_server_that_is_away_is_unavailable_after_bounded_retries(s3_endpoint: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = S3Store("bucket", "", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot read 'x'"):
            away.get("x")
        with pytest.raises(Unavailable):
            away.put("x", b"1", if_absent=True)


def test_a_missing_bucket_is_a_configuration_error(s3_endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        S3Store("no-such-bucket", "", s3_endpoint).put("x", b"1")
    with pytest.raises(ConfigurationError, match="does not exist"):
        S3Store("no-such-bucket", "", s3_endpoint).list("")


def _race(root: str, barrier: "multiprocessing.synchronize.Barrier", answers: "multiprocessing.Queue[bool]") -> None:
    store = FolderStore(root)
    barrier.wait()
    try:
        store.put("intent", str(os.getpid()).encode(), if_absent=True)
        answers.put(True)
    except Conflict:
        answers.put(False)


def test_one_of_several_processes_wins_a_conditional_write(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_race, args=(str(tmp_path), barrier, answers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    results = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert sorted(results) == [False, False, False, True]


def _count(store: ObjectStore, times: int) -> None:
    done = 0
    while done < times:
        info = store.info("counter")
        assert info is not None
        value = int(store.get("counter"))
        try:
            store.put("counter", str(value + 1).encode(), if_match=info.etag)
            done += 1
        except Conflict:
            continue


def test_concurrent_increments_lose_nothing(tmp_path: Path) -> None:
    FolderStore(tmp_path).put("counter", b"0")
    threads = [threading.Thread(target=_count, args=(FolderStore(tmp_path), 25)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert FolderStore(tmp_path).get("counter") == b"100"


def _write_forever(root: str, ready: "multiprocessing.synchronize.Event") -> None:
    store = FolderStore(root)
    number = 0
    while True:
        number += 1
        store.put("big", bytes([number % 251]) * 4_000_000)
        if number == 2:
            ready.set()


def test_a_writer_killed_at_any_moment_leaves_a_whole_object(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    for delay in (0.001, 0.006, 0.013):
        ready = context.Event()
        writer = context.Process(target=_write_forever, args=(str(tmp_path), ready))
        writer.start()
        assert ready.wait(60)
        time.sleep(delay)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(60)
        store = FolderStore(tmp_path)
        data = store.get("big")
        assert len(data) == 4_000_000
        assert set(data) == {data[0]}
        assert [item.key for item in store.list("")] == ["big"]
        store.put("big", b"after")  # the killed writer's lock is gone
        assert store.get("big") == b"after"


def test_a_half_written_temporary_file_is_never_listed_and_an_old_one_is_swept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("raw/x", b"whole")
    torn = tmp_path / ".store" / "tmp" / "torn"
    torn.write_bytes(b"hal")
    old = time.time() - 7200
    stale = tmp_path / ".store" / "tmp" / "stale"
    stale.write_bytes(b"old")
    os.utime(stale, (old, old))
    assert [item.key for item in FolderStore(tmp_path).list("")] == ["raw/x"]
    assert (torn.exists(), stale.exists()) == (True, False)
    with pytest.raises(DataError):
        store.get(".store/tmp/torn")


def test_a_disk_that_refuses_is_unavailable_and_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.put("k", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        store.put("k", b"new" * 100)
    assert store.get("k") == b"old"
    assert list((tmp_path / ".store" / "tmp").iterdir()) == []


def test_a_key_cannot_be_object_and_folder_at_once(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(DataError, match="share the name"):
        store.put("a/b", b"2")
    assert store.info("a/b") is None


def test_an_info_after_a_change_behind_our_back_is_fresh(tmp_path: Path) -> None:
    mine, other = FolderStore(tmp_path), FolderStore(tmp_path)
    mine.put("k", b"aaaa")
    before = mine.info("k")
    etag = other.put("k", b"bbbb")
    after = mine.info("k")
    assert before is not None
    assert after is not None
    assert (after.etag, after.etag == before.etag) == (etag, False)


def test_a_lost_answer_to_a_conditional_write_is_not_a_conflict(s3_bucket: str, s3_endpoint: str) -> None:
    """The first attempt succeeded but its answer was lost: boto3 retries and meets its own object."""
    store = S3Store(s3_bucket, f"lost/{uuid.uuid4().hex}", s3_endpoint)
    drop = _drop_first_answer(store)
    etag = store.put("intent", b"mine", if_absent=True)
    assert drop() == 1
    assert store.get("intent") == b"mine"
    with pytest.raises(Conflict):
        store.put("intent", b"mine", if_absent=True)
    info = store.info("intent")
    assert info is not None
    assert info.etag == etag


def _drop_first_answer(store: S3Store) -> Callable[[], int]:
    dropped = []
    send = store._client._endpoint.http_session.send

    def send_and_forget(request: object) -> object:
        answer = send(request)
        if not dropped:
            from botocore.exceptions import ConnectionClosedError

            dropped.append(answer)
            raise ConnectionClosedError(endpoint_url="test")
        return answer

    store._client._endpoint.http_session.send = send_and_forget
    return lambda: len(dropped)
