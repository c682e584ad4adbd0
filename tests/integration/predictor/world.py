"""A small trained world for the predictor's tests: real history, two packaged versions, real processes."""

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from bikeshare.adapters.artifacts import content_hash, load_artifact
from bikeshare.adapters.artifacts.writing import save_artifact
from bikeshare.adapters.bento import pack
from bikeshare.adapters.clock import FileClock
from bikeshare.adapters.folder import FolderStore
from bikeshare.adapters.records import SqlRecords
from bikeshare.core.forecasting import Forecaster
from bikeshare.core.training import TrainingConfig, train
from bikeshare.steps.package import package

ROOT = Path(__file__).resolve().parents[3]
TRAINED_UNTIL = datetime(2011, 6, 1)
NOW = datetime(2011, 6, 20, 9)


@dataclass(frozen=True)
class World:
    """A home with records, a store with packaged versions "1" and "2", and a clock."""

    home: Path
    artifacts: dict[str, Path]

    @property
    def records(self) -> SqlRecords:
        return SqlRecords(f"sqlite:///{self.home / 'records.db'}")

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.home / "store")

    @property
    def clock(self) -> FileClock:
        return FileClock(self.home / "clock")

    def forecaster(self, version: str) -> Forecaster:
        return load_artifact(self.artifacts[version]).forecaster

    def repackage(self, version: str, changed: dict[str, str]) -> None:
        """Package version 1 again under another number, with some files replaced and all hashes right."""
        folder = self.home / "repackaged" / version
        shutil.copytree(self.artifacts["1"], folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, text in changed.items():
            (folder / name).write_text(text)
            manifest["files"][name] = hashlib.sha256(text.encode()).hexdigest()
        listed = "".join(f"{name}\0{manifest['files'][name]}\n" for name in sorted(manifest["files"]))
        manifest["content_hash"] = hashlib.sha256(listed.encode()).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        package(self.store, folder, version, content_hash(folder), pack)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BIKESHARE_")}
        return kept | {
            "BIKESHARE_HOME": str(self.home), "BIKESHARE_CLOCK": f"file:{self.home / 'clock'}",
            "BENTOML_HOME": str(self.home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1", **more,
        }


def train_artifacts(history: pd.DataFrame, folder: Path) -> dict[str, Path]:
    """Two five-tree models of spring 2011 that differ in their seed."""
    window = history[(history["timestamp"] >= "2011-03-01") & (history["timestamp"] < TRAINED_UNTIL)]
    artifacts = {}
    for version, seed in (("1", 1), ("2", 2)):
        trained = train(window, TrainingConfig(trees=5, first_pass_trees=5, seed=seed, n_jobs=1))
        artifacts[version] = folder / version
        save_artifact(trained, artifacts[version], metadata={"git_revision": "test"},
                      backtest={"weeks": [], "wape": 0.2}, reference_profile={}, card=f"# Version {version}\n")
    return artifacts


def make_world(home: Path, artifacts: dict[str, Path], history: pd.DataFrame) -> World:
    world = World(home, artifacts)
    home.mkdir(parents=True, exist_ok=True)
    for version, artifact in artifacts.items():
        package(world.store, artifact, version, content_hash(artifact), pack)
    records = world.records
    records.migrate()
    seen = (history["timestamp"] >= "2011-03-01") & (history["timestamp"] < NOW - timedelta(hours=10))
    records.upsert_observations(history[seen])
    records.close()
    world.clock.set(NOW)
    return world


def instance(hour: datetime = NOW, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "timestamp": hour.isoformat(timespec="minutes"), "temp_c": 24.0, "feels_like_c": 25.0, "humidity_pct": 55.0,
        "windspeed_kmh": 12.0, "weather": "clear",
    }
    row.update(changes)
    return {name: value for name, value in row.items() if value is not ...}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], Any], seconds: float = 30.0, what: str = "condition") -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            result = done()
            if result:
                return result
        time.sleep(0.02)
    raise AssertionError(f"{what} was not met in {seconds} s")


def answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return bool(answer.status == 200)


@dataclass
class Started:
    process: subprocess.Popen[bytes]
    url: str
    log: Path
    ready_seconds: float

    def stop(self, seconds: float = 30.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextlib.contextmanager
def started(
    arguments: list[str], environment: dict[str, str], port: int, log: Path, *, probe: str = "/readyz"
) -> Iterator[Started]:
    """A server process that answers `probe`; ended, with everything it started, at the end."""
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments, env=environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        def up() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"ended with {process.returncode}: {log.read_text()[-3000:]}")
            return answers(url + probe)

        wait_until(up, 60, f"{url}{probe}")
        yield Started(process, url, log, time.monotonic() - began)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def predictor(world: World, version: str = "1", *, probe: str = "/readyz", **more: str) -> Iterator[Started]:
    port = free_port()
    environment = world.environment(BIKESHARE_MODEL_VERSION=version, **more)
    arguments = [sys.executable, "-m", "services.predictor", "--port", str(port)]
    with started(arguments, environment, port, world.home / "predictor.log", probe=probe) as running:
        yield running




@dataclass
class Client:
    """One kept HTTP connection; `source` is the address it comes from."""

    url: str
    source: str = "127.0.0.1"

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection(
            self.url.removeprefix("http://"), timeout=20, source_address=(self.source, 0)
        )

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, content = self.send(
            "POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **named}
        )
        return status, json.loads(content)

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, content = self.send("GET", path, None, named)
        return status, json.loads(content)

    def metric(self, name: str, **labels: str) -> float:
        from prometheus_client.parser import text_string_to_metric_families

        for family in text_string_to_metric_families(self.send("GET", "/metrics")[2].decode()):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return 0.0

    def close(self) -> None:
        self._connection.close()
