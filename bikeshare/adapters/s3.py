"""The object store in an S3 bucket (AWS or anything that speaks S3), through boto3."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from bikeshare.errors import ConfigurationError, Conflict, DataError, NotFound, Unavailable
from bikeshare.ports import ObjectInfo

_ATTEMPTS = 4
_CONNECT_SECONDS = 3
_READ_SECONDS = 20
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}


class S3Store:
    """Objects below `s3://bucket/prefix`; credentials come from boto3's own chain.

    S3 writes are atomic. Conditional writes use If-Match and If-None-Match, which AWS, MinIO and most
    compatible stores honour. Requests are retried a bounded number of times, then raise Unavailable.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        if not bucket:
            raise ConfigurationError("the store URL names no bucket: use s3://BUCKET/PREFIX")
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._endpoint = endpoint_url

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3", endpoint_url=self._endpoint,
            config=Config(
                connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, max_pool_connections=16,
                retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
                # Newer boto3 adds checksum trailers that several compatible stores refuse.
                request_checksum_calculation="when_required", response_checksum_validation="when_required",
                s3={"addressing_style": "path"} if self._endpoint else None,
            ),
        )

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """Write an object; Conflict when `if_match` or `if_absent` does not hold."""
        condition: dict[str, str] = {}
        if if_match is not None:
            condition["IfMatch"] = f'"{if_match}"'
        if if_absent:
            condition["IfNoneMatch"] = "*"
        name = self._name(key)
        with self._mapped(f"write {key!r}", key):
            try:
                answer = self._client.put_object(Bucket=self._bucket, Key=name, Body=data, **condition)
            except Exception as error:
                if condition and _lost_condition(error):
                    return self._after_lost_condition(key, data, error)
                raise
        return str(answer["ETag"]).strip('"')

    def get(self, key: str) -> bytes:
        """Read a whole object; NotFound when absent."""
        with self._mapped(f"read {key!r}", key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._name(key))["Body"]
            with contextlib.closing(body):
                return bytes(body.read())

    def info(self, key: str) -> ObjectInfo | None:
        """Size and etag, or None when absent."""
        try:
            with self._mapped(f"look at {key!r}", key):
                head = self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        except NotFound:
            return None
        return ObjectInfo(key, int(head["ContentLength"]), str(head["ETag"]).strip('"'))

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """All objects whose key starts with `prefix`, sorted by key, however many pages that takes."""
        found = []
        with self._mapped(f"list {prefix!r}", prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for item in page.get("Contents", ()):
                    key = str(item["Key"])[len(self._prefix) :]
                    found.append(ObjectInfo(key, int(item["Size"]), str(item["ETag"]).strip('"')))
        return sorted(found, key=lambda item: item.key)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; removing an absent one is not an error. Conflict when its etag is not `if_match`.

        Not every server of this protocol knows conditional deletes; so we look first, milliseconds before.
        """
        if if_match is not None:
            found = self.info(key)
            if found is None:
                return
            if found.etag != if_match:
                raise Conflict(f"{key!r} changed: expected etag {if_match[:12]}, found {found.etag[:12]}")
        with contextlib.suppress(NotFound), self._mapped(f"delete {key!r}", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

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
            raise NotFound(f"nothing under {self.url(base.rstrip('/'))!r}")
        for entry in entries:
            target = Path(directory) / entry.key[len(base) :]
            if not target.resolve().is_relative_to(Path(directory).resolve()):
                raise DataError(f"object {entry.key!r} would be written outside {directory}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.get(entry.key))
        return Path(directory)

    def url(self, key: str) -> str:
        """`s3://bucket/key` of an object."""
        return f"s3://{self._bucket}/{self._name(key)}"

    def _name(self, key: str) -> str:
        if key.startswith("/") or "\\" in key or "\0" in key or any(p in {"", ".", ".."} for p in key.split("/")):
            raise DataError(f"illegal object key {key!r}: use relative segments separated by '/', without '.' or '..'")
        return self._prefix + key

    def _after_lost_condition(self, key: str, data: bytes, error: Exception) -> str:
        """A retry can lose against its own first attempt, whose answer got lost: then the object is ours."""
        attempts = getattr(error, "response", {}).get("ResponseMetadata", {}).get("RetryAttempts", 0)
        mine = hashlib.md5(data, usedforsecurity=False).hexdigest()
        current = self.info(key)
        if attempts and current is not None and current.etag == mine:
            return mine
        found = "nothing" if current is None else f"etag {current.etag[:12]}"
        raise Conflict(f"{key!r} is not what this write expected (found {found}): read it and decide again") from error

    @contextlib.contextmanager
    def _mapped(self, doing: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        where = self._endpoint or "AWS"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"NoSuchKey", "404", "NotFound"}:
                raise NotFound(f"no object {key!r} in s3://{self._bucket}/{self._prefix}") from error
            if code == "NoSuchBucket":
                raise ConfigurationError(f"bucket {self._bucket!r} does not exist at {where}: create it") from error
            if code in _REFUSED:
                raise ConfigurationError(f"{where} refuses to {doing} ({code}): check the credentials") from error
            raise Unavailable(f"cannot {doing} in bucket {self._bucket!r} at {where}: {error}") from error
        except NoCredentialsError as error:
            raise ConfigurationError("no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(f"cannot {doing} in bucket {self._bucket!r} at {where}: {error}") from error


def _lost_condition(error: Exception) -> bool:
    response = getattr(error, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    # If-Match on an absent key is 404 on S3: the expected version is gone, a conflict like any other.
    return code in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"}
