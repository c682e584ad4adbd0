"""The object store in a folder: one file per key, atomic writes, conditional writes across processes."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bikeshare.errors import Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import ObjectInfo

_PRIVATE = ".store"
_STALE_SECONDS = 3600.0
"""A temporary file this old belongs to a killed writer; a live one exists for milliseconds."""


class FolderStore:
    """Objects as files below `path`.

    A write goes to a temporary file, is synced and then renamed, so a reader never sees half of it and a
    killed writer leaves only a temporary file, which is never listed. The etag is the SHA-256 of the content.
    Conditional writes hold a lock file, which makes them safe between processes of one machine.
    """

    def __init__(self, path: Path | str) -> None:
        self._root = Path(path).absolute()
        self._private = self._root / _PRIVATE
        self._etags: dict[str, tuple[int, int, int, str]] = {}
        with _mapped(f"open the folder {self._root}"):
            (self._private / "tmp").mkdir(parents=True, exist_ok=True)
            self._sweep()

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """Write an object; Conflict when `if_match` or `if_absent` does not hold."""
        target = self._path(key)
        with _mapped(f"write {key}"):
            temporary = self._write_temporary(data)
            try:
                with self._lock():
                    if if_match is not None or if_absent:
                        self._check(key, if_match, if_absent)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    temporary.replace(target)
                self._sync_directory(target.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return hashlib.sha256(data).hexdigest()

    def get(self, key: str) -> bytes:
        """Read a whole object; NotFound when absent."""
        with _mapped(f"read {key}"):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise NotFound(f"no object {key!r} in {self._root}") from error

    def info(self, key: str) -> ObjectInfo | None:
        """Size and etag, or None when absent."""
        path = self._path(key)
        with _mapped(f"look at {key}"):
            return self._info(key, path)

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """All objects whose key starts with `prefix`, sorted by key."""
        start = self._root
        if "/" in prefix:
            start = self._path(prefix.rsplit("/", 1)[0])
        with _mapped(f"list {prefix!r}"):
            found = []
            for path in _files(start):
                key = path[len(str(self._root)) + 1 :]
                if key.startswith(prefix) and not key.startswith(_PRIVATE + "/"):
                    entry = self._info(key, Path(path))
                    if entry is not None:
                        found.append(entry)
        return sorted(found, key=lambda item: item.key)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; removing an absent one is not an error. Conflict when its etag is not `if_match`."""
        path = self._path(key)
        with _mapped(f"delete {key}"), self._lock():
            if path.is_file():
                self._check(key, if_match, if_absent=False)
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                if path.is_file():
                    path.unlink()
            self._etags.pop(key, None)
            parent = path.parent
            while parent != self._root:
                try:
                    parent.rmdir()
                except OSError:
                    break
                parent = parent.parent

    def upload_directory(self, directory: Path, prefix: str) -> Sequence[ObjectInfo]:
        """Upload every file below `directory` under `prefix`, keeping relative paths."""
        uploaded = []
        for path in sorted(Path(directory).rglob("*")):
            if path.is_file():
                key = f"{prefix.rstrip('/')}/{path.relative_to(directory).as_posix()}"
                data = path.read_bytes()
                uploaded.append(ObjectInfo(key, len(data), self.put(key, data)))
        return uploaded

    def download_directory(self, prefix: str, directory: Path) -> Path:
        """Download everything below `prefix` into `directory`; NotFound when there is nothing."""
        base = prefix.rstrip("/") + "/"
        entries = self.list(base)
        if not entries:
            raise NotFound(f"nothing under {base!r} in {self._root}")
        for entry in entries:
            target = Path(directory) / entry.key[len(base) :]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.get(entry.key))
        return Path(directory)

    def url(self, key: str) -> str:
        """`file:///…` of an object."""
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        wrong = key.startswith("/") or "\\" in key or "\0" in key or any(part in {"", ".", ".."} for part in parts)
        if wrong or parts[0] == _PRIVATE:
            raise DataError(f"illegal object key {key!r}: use relative segments separated by '/', without '.' or '..'")
        return self._root.joinpath(*parts)

    def _info(self, key: str, path: Path) -> ObjectInfo | None:
        try:
            status = path.stat()
            if not path.is_file():
                return None
            # A rename always brings a new inode, so a cached etag can only match unchanged content.
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            cached = self._etags.get(key)
            if cached is not None and cached[:3] == stamp:
                return ObjectInfo(key, status.st_size, cached[3])
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        etag = hashlib.sha256(data).hexdigest()
        if len(data) == status.st_size:
            self._etags[key] = (*stamp, etag)
        return ObjectInfo(key, len(data), etag)

    def _check(self, key: str, if_match: str | None, if_absent: bool) -> None:
        path = self._path(key)
        current = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        if if_absent and current is not None:
            raise Conflict(f"{key!r} exists already: read it and decide again")
        if if_match is not None and current != if_match:
            raise Conflict(f"{key!r} changed: expected etag {if_match[:12]}, found {(current or 'nothing')[:12]}")

    def _write_temporary(self, data: bytes) -> Path:
        handle, name = tempfile.mkstemp(dir=self._private / "tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._private / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @staticmethod
    def _sync_directory(directory: Path) -> None:
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        for path in (self._private / "tmp").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()


def _files(start: Path) -> Iterator[str]:
    pending = [str(start)]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file():
                    yield entry.path


@contextlib.contextmanager
def _mapped(doing: str) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"cannot {doing}: a file and a folder would share the name {error.filename}") from error
    except OSError as error:
        raise Unavailable(f"cannot {doing}: {error.strerror or error}; check the disk and its permissions") from error
