"""Puts one predictor process together: settings in, a bound API out."""

import contextlib
import ctypes
import gc
import logging
import threading
from functools import cached_property

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics

from bikeshare.adapters.artifacts import content_hash, load_artifact
from bikeshare.adapters.bento import fetch_model
from bikeshare.bootstrap import wire_clock, wire_records, wire_registry, wire_store
from bikeshare.errors import ArtifactError, BikeshareError, NotFound, PermanentError, Unavailable
from bikeshare.ports import Records
from bikeshare.settings import Settings
from bikeshare.steps.snapshot import build_snapshot, empty_snapshot
from services.predictor.api import Api
from services.predictor.engine import Engine
from services.predictor.metrics import Metrics
from services.predictor.prediction_log import PredictionLog
from services.predictor.refresher import Refresher
from services.predictor.spool import Spool

logger = logging.getLogger("bikeshare.predictor")

RETRY_SECONDS = 2.0
"""Pause between attempts to fetch the model while the store or the registry is away."""

FIRST_LOOK_SECONDS = 10.0
"""A start waits this long for the history; after that readiness follows when it is there."""


class Process:
    """One predictor: loads its version, keeps its snapshot fresh, logs its answers."""

    def __init__(self, settings: Settings, registry: CollectorRegistry = REGISTRY) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series per counter, read by nobody
        self._settings = settings
        self._stopping = threading.Event()
        self.metrics = Metrics(registry)
        self.engine = Engine(wire_clock(settings), self.metrics)
        self.api = Api()
        self.api.bind(self.engine, settings.api_key.get_secret_value())
        self._log: PredictionLog | None = None
        self._refresher: Refresher | None = None
        if not self._try_load():
            threading.Thread(target=self._keep_trying, name="loader", daemon=True).start()

    def close(self) -> None:
        """Flush what is queued and end the threads."""
        self._stopping.set()
        if self._refresher is not None:
            self._refresher.close()
        if self._log is not None:
            self._log.close()

    def _keep_trying(self) -> None:
        while not self._stopping.wait(RETRY_SECONDS):
            try:
                if self._try_load():
                    return
            except Exception as error:  # without this thread the process would be alive and not ready for ever
                self._waits(f"{type(error).__name__}: {error}", error)

    def _try_load(self) -> bool:
        """Load the pinned version; True when there is nothing left to try."""
        try:
            self._load()
        except PermanentError as error:
            logger.error("this version cannot be served: %s", error)
            self.engine.refuse(str(error))
        except BikeshareError as error:
            self._waits(str(error))
            return False
        return True

    def _waits(self, reason: str, unforeseen: Exception | None = None) -> None:
        problem = f"cannot load the model yet: {reason}"
        if problem != self.engine.problem:  # a pod may wait for its first model for days
            logger.warning("%s", problem, exc_info=unforeseen)
        self.engine.problem = problem

    def _load(self) -> None:
        settings = self._settings
        version = settings.model_version or self._champion()
        home = settings.home.absolute()
        try:
            artifact = load_artifact(
                fetch_model(wire_store(settings), version, home, hash_directory=content_hash)
            )
        except NotFound as error:
            raise ArtifactError(f"version {version} is not packaged in the store: {error}") from error
        records = _Lazy(settings)
        self._log = PredictionLog(
            lambda: records.connected, Spool(home / "spool" / "predictions", settings.spool_max_bytes), self.metrics
        )
        self._refresher = Refresher(
            build=lambda now: build_snapshot(artifact.forecaster, records.connected, version, now),
            fallback=lambda now: empty_snapshot(artifact.forecaster, now),
            use=self.engine.use, failed=self.metrics.refresh_errors.inc, clock=self.engine.clock,
            refresh_seconds=settings.refresh_seconds,
        )
        self.engine.load(version, artifact, self._log, self._refresher)
        self._log.start()
        self._refresher.start()
        self.engine.wait_ready(FIRST_LOOK_SECONDS)
        _settle()

    def _champion(self) -> str:
        """The version of a process that nobody pinned; raises Unavailable while there is none.

        On Kubernetes the roll-out pins every pod, through an annotation. A pod without it was made by an
        installation that has rolled nothing out yet: it waits, and is replaced when there is a version.
        """
        if self._settings.rollout == "kubernetes":
            raise Unavailable("no version is pinned: the first roll-out of the training pipeline replaces this pod")
        version = wire_registry(self._settings).version_of("champion")
        if version is None:
            raise Unavailable("the registry has no champion yet: run the training pipeline")
        return version


def _settle() -> None:
    """Keep what lives as long as the process out of collections, and return what loading left over.

    A full collection walks every object of every import: 0.1 s in which nobody is answered. glibc's free lists hold
    about 75 MB after loading; other allocators have no such call.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class _Lazy:
    """Records that are connected on first use, so that a start does not need the database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    @property
    def connected(self) -> Records:
        """The records at their newest schema; raises Unavailable."""
        with self._lock:
            return self._made

    @cached_property
    def _made(self) -> Records:
        return wire_records(self._settings)
