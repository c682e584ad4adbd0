"""An object store in memory, with the faults a test can order."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from bikeshare.errors import Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import ObjectInfo


class MemoryStore:
    """`bikeshare.ports.ObjectStore` in a dict.

    Attributes:
        objects: Key -> bytes, to look into.
        fail: Called with (operation, key) before each one; raise from it to simulate a fault.
        away: While true, every operation raises Unavailable.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.fail: Callable[[str, str], None] | None = None
        self.away = False

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        self._before("put", key)
        current = self.objects.get(key)
        if if_absent and current is not None:
            raise Conflict(f"{key!r} exists already")
        if if_match is not None and (current is None or _etag(current) != if_match):
            raise Conflict(f"{key!r} changed")
        self.objects[key] = bytes(data)
        return _etag(data)

    def get(self, key: str) -> bytes:
        self._before("get", key)
        if key not in self.objects:
            raise NotFound(f"no object {key!r}")
        return self.objects[key]

    def info(self, key: str) -> ObjectInfo | None:
        self._before("info", key)
        data = self.objects.get(key)
        return None if data is None else ObjectInfo(key, len(data), _etag(data))

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        self._before("list", prefix or "all")
        return [
            ObjectInfo(key, len(data), _etag(data))
            for key, data in sorted(self.objects.items()) if key.startswith(prefix)
        ]

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        self._before("delete", key)
        if if_match is not None and key in self.objects and _etag(self.objects[key]) != if_match:
            raise Conflict(f"{key!r} changed")
        self.objects.pop(key, None)

    def upload_directory(self, directory: Path, prefix: str) -> Sequence[ObjectInfo]:
        uploaded = []
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                key = f"{prefix.rstrip('/')}/{path.relative_to(directory).as_posix()}"
                data = path.read_bytes()
                uploaded.append(ObjectInfo(key, len(data), self.put(key, data)))
        return uploaded

    def download_directory(self, prefix: str, directory: Path) -> Path:
        base = prefix.rstrip("/") + "/"
        entries = self.list(base)
        if not entries:
            raise NotFound(f"nothing under {base!r}")
        for entry in entries:
            target = directory / entry.key[len(base) :]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.get(entry.key))
        return directory

    def url(self, key: str) -> str:
        return f"memory://{key}"

    def _before(self, operation: str, key: str) -> None:
        if operation != "list":
            parts = key.split("/")
            if key.startswith("/") or "\\" in key or "\0" in key or any(part in {"", ".", ".."} for part in parts):
                raise DataError(f"illegal object key {key!r}")
        if self.away:
            raise Unavailable("the store is away (simulated)")
        if self.fail is not None:
            self.fail(operation, key)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
