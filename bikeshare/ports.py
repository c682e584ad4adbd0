"""What the library needs from the world, as Protocols; `bikeshare.adapters` holds one vendor per file.

Times are naive local hours (`datetime`, no tzinfo): the world this system forecasts lives in local time.
Frames have a plain RangeIndex unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from bikeshare.core.alerts import Alert

if TYPE_CHECKING:
    import pandas as pd

    from bikeshare.core.grid import HourlyGrid


class Clock(Protocol):
    """Where time comes from: the system, or a file in the demo and the replay."""

    def now(self) -> datetime:
        """The current naive local time."""
        ...


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object."""

    key: str
    size: int
    etag: str


class ObjectStore(Protocol):
    """Whole objects under string keys (`raw/date=2012-01-01/observations.parquet`).

    Writes are atomic: a reader sees the old object or the new one, never half.
    Raises NotFound for a missing key, Conflict for a lost conditional write, Unavailable when the
    store does not answer after retries.
    """

    def put(self, key: str, data: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """Write an object and return its etag; with `if_match` or `if_absent` only if that holds."""
        ...

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        ...

    def info(self, key: str) -> ObjectInfo | None:
        """Size and etag, or None when absent."""
        ...

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """All objects whose key starts with `prefix`, sorted by key."""
        ...

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object, with `if_match` only while its etag is that; removing an absent one is not an error."""
        ...

    def upload_directory(self, directory: Path, prefix: str) -> Sequence[ObjectInfo]:
        """Upload every file below `directory`, keeping relative paths."""
        ...

    def download_directory(self, prefix: str, directory: Path) -> Path:
        """Download everything under `prefix` (NotFound when empty) into `directory`."""
        ...

    def url(self, key: str) -> str:
        """Where a person can find the object (`file:///…`, `s3://bucket/key`)."""
        ...


class PredictionRow(NamedTuple):
    """One logged prediction: a row of `predictions`, idempotent by (request_id, position).

    A tuple, because a process makes thousands a second: a frozen dataclass costs four times as much.
    """

    request_id: str
    position: int
    predicted_at: datetime
    model_version: str
    timestamp: datetime
    temp_c: float
    feels_like_c: float
    humidity_pct: float
    windspeed_kmh: float
    weather: str
    is_holiday: bool
    features_hash: str
    demand: float
    lower_80: float
    upper_80: float
    lower_95: float
    upper_95: float
    source: str
    degraded: bool
    level_age_hours: float | None


@dataclass(frozen=True)
class DecisionRecord:
    """One decision of the monitor, as kept in `decisions` and as one JSON object in the store."""

    decision_id: str
    decided_at: datetime
    state: str
    action: str
    reason: str
    model_version: str | None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_key: str | None = None
    run_id: str | None = None
    report_url: str | None = None


@dataclass(frozen=True)
class RunIntent:
    """The promise to start a run, written before the call and completed after it."""

    run_key: str
    reason: str
    created_at: datetime
    run_id: str | None = None
    finished_at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class LevelRow:
    """The online level of one forest of one model version, valid from `day` on."""

    model_version: str
    forest: Literal["stateless", "history"]
    day: date
    level: float
    as_of: datetime
    labelled_hours: int
    reason: str


class Records(Protocol):
    """Rows: observations, predictions, decisions, levels, state. SQLite or PostgreSQL.

    Every write is one transaction. Raises Unavailable when the database does not answer.
    """

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe to call from several processes."""
        ...

    def upsert_observations(self, frame: pd.DataFrame) -> int:
        """Insert or replace observations by timestamp (contract columns); return the number of rows."""
        ...

    def replace_observations(self, frame: pd.DataFrame, days: Sequence[date]) -> int:
        """Let these days hold exactly the rows of `frame` (contract columns), in one transaction; return their number.

        A day that is delivered again with fewer hours loses the others.

        Raises:
            DataError: a value is missing, a row repeats, or a row is of none of the days.
        """
        ...

    def observations(self, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        """Observations with start <= timestamp < end, ordered, contract columns."""
        ...

    def observed(self, start: datetime, end: datetime) -> HourlyGrid:
        """The same hours on the hourly grid, without a frame: what a serving process reads."""
        ...

    def latest_observation(self) -> datetime | None:
        """Timestamp of the newest accepted observation."""
        ...

    def insert_predictions(self, rows: Sequence[PredictionRow]) -> int:
        """Insert predictions, ignoring ones already stored; return how many were new.

        DataError when the database refuses a value for good; then nothing is inserted.
        """
        ...

    def insert_prediction_lines(self, lines: Sequence[bytes]) -> int:
        """Insert predictions written by `core.prediction_lines`, ignoring ones already stored; return the new ones.

        Each element holds one or more whole lines. DataError when the database refuses a value for good; then
        nothing is inserted.
        """
        ...

    def iter_predictions(
        self,
        start: datetime,
        end: datetime,
        *,
        by: Literal["timestamp", "predicted_at"] = "timestamp",
        batch_rows: int = 65_536,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Stream predictions in bounded memory (server-side cursor), ordered by nothing in particular."""
        ...

    def labelled(self, start: datetime, end: datetime, *, model_version: str | None = None) -> pd.DataFrame:
        """Truth beside what was served: one row per hour with start <= timestamp < end.

        Columns: timestamp, demand (truth), prediction, lower_80, upper_80, lower_95, upper_95, model_version,
        degraded, n (predictions of that hour). The latest prediction counts that was made before the hour was over;
        where there is none, the latest: who asks about the past may fill holes, but overwrites no forecast.
        """
        ...

    def save_decision(self, record: DecisionRecord) -> None:
        """Insert or update a decision by id."""
        ...

    def decisions(self, since: datetime | None = None, *, limit: int | None = None) -> Sequence[DecisionRecord]:
        """Decisions, newest first."""
        ...

    def open_intent(self, run_key: str, reason: str, now: datetime) -> bool:
        """Write an intent; False when one with this key exists already (then do not start a run)."""
        ...

    def close_intent(
        self,
        run_key: str,
        *,
        run_id: str | None = None,
        outcome: str | None = None,
        finished_at: datetime | None = None,
    ) -> None:
        """Add what became known: the run id, later the outcome."""
        ...

    def intents(self, since: datetime | None = None) -> Sequence[RunIntent]:
        """Intents, newest first."""
        ...

    def save_levels(self, rows: Sequence[LevelRow]) -> None:
        """Insert or replace levels by (model_version, forest, day)."""
        ...

    def levels(self, model_version: str) -> Sequence[LevelRow]:
        """All levels of a version, oldest first."""
        ...

    def load_state(self, name: str) -> tuple[dict[str, Any], int]:
        """A small JSON document and its revision; ({}, 0) when absent."""
        ...

    def save_state(self, name: str, value: Mapping[str, Any], revision: int) -> int:
        """Write if the stored revision still equals `revision`, return the new one; Conflict otherwise."""
        ...

    def acquire_lock(self, name: str, owner: str, now: datetime, ttl_seconds: int) -> bool:
        """Take a named lease (wall clock); False while somebody else holds it."""
        ...

    def release_lock(self, name: str, owner: str) -> None:
        """Give a lease back; not an error when it already expired."""
        ...

    def delete_predictions_before(self, moment: datetime) -> int:
        """Retention: remove old predictions, return how many."""
        ...


@dataclass(frozen=True)
class ModelVersion:
    """One version in the registry."""

    version: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    created_at: datetime


class ModelRegistry(Protocol):
    """Tracking and registry. Aliases: `champion`, `challenger`, `previous`."""

    def log_run(
        self,
        *,
        run_name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Path | None = None,
    ) -> str:
        """Record one training run (adopting MLFLOW_RUN_ID if set) and return its id."""
        ...

    def log_to_run(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Path | None = None,
        artifact_path: str | None = None,
        table: tuple[str, pd.DataFrame] | None = None,
    ) -> None:
        """Add to a finished or running run."""
        ...

    def register(self, run_id: str, artifact: Path, tags: Mapping[str, str]) -> str:
        """Register an artifact directory as a new version; return the version."""
        ...

    def version_of(self, alias: str) -> str | None:
        """The version an alias points to, or None."""
        ...

    def set_alias(self, alias: str, version: str) -> None:
        """Point an alias at a version."""
        ...

    def delete_alias(self, alias: str) -> None:
        """Remove an alias; absent is fine."""
        ...

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        ...

    def get(self, version: str) -> ModelVersion:
        """One version; NotFound if absent."""
        ...

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, newest first."""
        ...

    def download(self, version: str, directory: Path) -> Path:
        """Download the artifact directory of a version; its content hash is checked by the caller."""
        ...


RunStatus = Literal["pending", "running", "succeeded", "failed", "unknown"]


@dataclass(frozen=True)
class Run:
    """One pipeline run."""

    run_id: str
    run_key: str
    status: RunStatus
    url: str
    created_at: datetime | None = None


class PipelineRuns(Protocol):
    """Starts and finds pipeline runs. Submitting is the only thing in the project that starts one."""

    def submit(self, arguments: Mapping[str, Any], *, run_key: str, reason: str) -> Run:
        """Start the `training` pipeline; a run with this key that exists already is returned instead."""
        ...

    def find(self, run_key: str) -> Run | None:
        """The run of a key, or None."""
        ...

    def active(self) -> Sequence[Run]:
        """Runs that have not ended."""
        ...

    def get(self, run_id: str) -> Run:
        """One run; NotFound if absent."""
        ...


@dataclass(frozen=True)
class Receipt:
    """What became of an alert."""

    sent: bool
    reason: str
    thread: str | None = None


class Notifier(Protocol):
    """Carries alerts to people; de-duplicates by key, threads by incident."""

    def send(self, alert: Alert) -> Receipt:
        """Deliver, or say why not: a duplicate, or the carrier is away and the alert waits in the outbox."""
        ...

    def deliver_pending(self) -> int:
        """Send what waits in the outbox; return how many alerts went out."""
        ...


@dataclass(frozen=True)
class CheckResult:
    """One check of a roll-out, with its evidence."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class RolloutResult:
    """What a roll-out did."""

    version: str
    previous: str | None
    accepted: bool
    reason: str
    checks: tuple[CheckResult, ...] = ()


class Rollouts(Protocol):
    """Brings a packaged version to live traffic and takes it back."""

    def start_canary(self, version: str) -> str:
        """Start the version beside the serving one; return the canary's base URL once it is ready.

        Raises RolloutRefused when it does not become ready.
        """
        ...

    def promote_canary(self, version: str) -> None:
        """Send all traffic to the version without dropping a request, and end the canary."""
        ...

    def abort_canary(self, version: str) -> None:
        """Remove the canary; the serving version is untouched."""
        ...

    def serving_version(self) -> str | None:
        """The version that takes live traffic, or None."""
        ...

    def canary_version(self) -> str | None:
        """The version beside it, or None."""
        ...


class DriftReporter(Protocol):
    """Explains, never judges: writes the Evidently report and returns its raw verdict."""

    def write(
        self, current: pd.DataFrame, reference: pd.DataFrame, directory: Path, *, title: str, verdict: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write `report.html` and `report.json` into `directory`; return per-column raw scores and drifted share."""
        ...


class Telemetry(Protocol):
    """Metrics by the names in `bikeshare.adapters.telemetry.METRICS`."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Increase a counter."""
        ...

    def flush(self) -> None:
        """Push or write what a batch job measured; a no-op in a served process."""
        ...


@dataclass
class Ports:
    """Every collaborator of a door, wired once by `bikeshare.bootstrap.wire`."""

    clock: Clock
    store: ObjectStore
    records: Records
    registry: ModelRegistry
    runs: PipelineRuns
    notifier: Notifier
    rollouts: Rollouts
    reporter: DriftReporter
    telemetry: Telemetry
