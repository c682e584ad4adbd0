"""Runs of the embedded profile: one detached `python -m pipelines.local` per run, one folder per run.

    HOME/runs/<run_key>/run.json    what was asked and what became of it (written whole, then renamed)
                        run.log     everything the tasks printed
                        run.lock    locked for as long as the run lives
                        artifacts/  what the tasks hand on; removed when the run has succeeded

The child inherits the locked file, so the operating system itself says whether a run still lives: a killed child
cannot leave a lock behind, and a recycled process id cannot keep a dead run alive.
"""

import fcntl
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bikeshare.errors import ConfigurationError, DataError, NotFound
from bikeshare.ports import Run, RunStatus

logger = logging.getLogger("bikeshare.runs")

_ENDED = ("succeeded", "failed")


class LocalRuns:
    """`PipelineRuns` on `kfp.local`.

    Args:
        home: Folder of the embedded profile; runs live in `home/runs`.
        environment: All variables of the child's settings; it inherits no `BIKESHARE_*` from here.
        package: Compiled pipeline; a relative path is looked up in the checkout.
    """

    def __init__(self, home: Path, environment: Mapping[str, str], package: Path) -> None:
        self._folder = home.absolute() / "runs"
        self._environment = dict(environment)
        self._package = package
        self._children: list[subprocess.Popen[bytes]] = []

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        """Start a run in a detached process; the run of a known key is returned instead."""
        _check_key(run_key)
        root = _checkout(self._package)
        self._folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._folder / ".submit.lock"):
            found = self.find(run_key)
            if found is not None:
                return found
            folder = self._folder / run_key
            (folder / "tmp").mkdir(parents=True, exist_ok=True)
            write_run(folder, {
                "run_key": run_key, "reason": reason, "status": "pending", "pid": None,
                "arguments": {**arguments, "run_key": run_key, "reason": reason},
                "package": str((root / self._package).absolute()), "created_at": _wall_time(),
            })
            self._start(root, folder)
        return self.get(run_key)

    def find(self, run_key: str) -> Run | None:
        """The run of a key, or None; one whose submitter died before it started the process never was."""
        _check_key(run_key)
        folder = self._folder / run_key
        if not (folder / "run.json").is_file() or _was_never_started(folder):
            return None
        return _read(folder)

    def active(self) -> Sequence[Run]:
        """Runs whose process lives."""
        self._children = [child for child in self._children if child.poll() is None]
        folders = sorted(path.parent for path in self._folder.glob("*/run.json"))
        return [run for run in map(_read, folders) if run.status in ("pending", "running")]

    def get(self, run_id: str) -> Run:
        """One run (here the id is the key); NotFound if absent."""
        found = self.find(run_id)
        if found is None:
            raise NotFound(f"no run {run_id!r} in {self._folder}: `bikeshare pipeline status` lists the runs")
        return found

    def _start(self, root: Path, folder: Path) -> None:
        with (folder / "run.lock").open("w") as lock, (folder / "run.log").open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # kfp leaves one temporary directory per task behind: they go below the run and are removed with it.
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("BIKESHARE_")}
            environment = {**inherited, **self._environment, "TMPDIR": str(folder / "tmp"), "PYTHONUNBUFFERED": "1"}
            child = subprocess.Popen(
                [sys.executable, "-m", "pipelines.local", "--folder", str(folder)],
                cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, pass_fds=(lock.fileno(),),
            )
            self._children.append(child)
            # The child also writes this; whoever is second writes the same.
            with _locked(folder / ".write.lock"):
                document = read_run(folder)
                if document["pid"] is None:
                    write_run(folder, {**document, "pid": child.pid})


def folder_of(url: str) -> Path | None:
    """The folder of a local run, from its URL; None for a run elsewhere."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def read_run(folder: Path) -> dict[str, Any]:
    """The run document of a folder; DataError when it is not readable."""
    path = folder / "run.json"
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a run document ({error}): remove the folder to forget the run") from error
    if not isinstance(document, dict) or not {"run_key", "status", "created_at"} <= document.keys():
        raise DataError(f"{path} is not a run document: remove the folder to forget the run")
    return document


def write_run(folder: Path, document: Mapping[str, Any]) -> None:
    """Replace the run document in one step."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".run-", suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(document, file, indent=2)
    Path(name).replace(folder / "run.json")


def update_run(folder: Path, **changes: Any) -> None:
    """Change fields of the run document; safe beside the submitting process."""
    with _locked(folder / ".write.lock"):
        write_run(folder, {**read_run(folder), **changes})


def _read(folder: Path) -> Run:
    alive = _is_alive(folder)  # before reading: a run that ends in between has written its end by then
    try:
        document = read_run(folder)
    except DataError as error:  # a lost document must not stop those who ask about other runs
        logger.warning("%s", error)
        return Run(folder.name, folder.name, "running" if alive else "failed", folder.as_uri(), None)
    status: RunStatus = document["status"]
    if status not in _ENDED and not alive:
        status = "failed"
    return Run(
        run_id=document["run_key"], run_key=document["run_key"], status=status, url=folder.as_uri(),
        created_at=datetime.fromisoformat(document["created_at"]),
    )


def _is_alive(folder: Path) -> bool:
    try:
        with (folder / "run.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: others may be looking, too
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _was_never_started(folder: Path) -> bool:
    """True when the submitter died between writing the document and starting the process."""
    if _is_alive(folder):
        return False
    try:
        document = read_run(folder)
    except DataError:
        return False
    return document["status"] == "pending" and document.get("pid") is None


def _check_key(run_key: str) -> None:
    if not run_key or run_key.startswith(".") or not all(sign.isalnum() or sign in "-_.:" for sign in run_key):
        raise ConfigurationError(f"run key {run_key!r} is not usable: letters, digits and - _ . : only")


def _checkout(package: Path) -> Path:
    """The folder with `pipelines/`, where the child must start so that it can import the room."""
    for root in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (root / "pipelines" / "local.py").is_file():
            if not (root / package).is_file():
                raise ConfigurationError(
                    f"no compiled pipeline at {root / package}: run `bikeshare pipeline compile` "
                    "or set BIKESHARE_PIPELINE_PACKAGE"
                )
            return root
    raise ConfigurationError(f"no checkout of bikeshare in {Path.cwd()}: local runs need its `pipelines/` folder")


def _wall_time() -> str:
    return datetime.now(tz=UTC).replace(tzinfo=None).isoformat(timespec="seconds")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
