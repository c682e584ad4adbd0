"""One engine for SQLite or PostgreSQL: transactions, bounded retries, migrations, fast bulk writes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import DataError as WrongValue
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bikeshare.adapters.migration_lock import one_migration
from bikeshare.adapters.records.tables import HEAD
from bikeshare.errors import ConfigurationError, DataError, Unavailable

T = TypeVar("T")

_ATTEMPTS = 3
_BACKOFF_SECONDS = 0.2
_BUSY_SECONDS = 15.0
"""How long SQLite waits for another writer before it gives up."""
_CONNECT_SECONDS = 3
_LOST_HOST = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}
"""A host that went silent fails a waiting statement after about 11 s instead of minutes (libpq; the last in ms)."""
_MIGRATION_LOCK = 7_204_117_003
"""PostgreSQL advisory lock of the migrations; any constant will do."""


class Database:
    """An engine whose failures are ours: every statement runs inside `read` or `write`."""

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise ConfigurationError("the records URL is not a URL like sqlite:///var/records.db") from error
        backend = parsed.get_backend_name()
        if backend in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        elif backend != "sqlite":
            raise ConfigurationError(f"records cannot live in {backend!r}: use sqlite:/// or postgresql://")
        self.is_sqlite = backend == "sqlite"
        self.name = parsed.render_as_string(hide_password=True)
        if self.is_sqlite:
            if not parsed.database or parsed.database == ":memory:":
                raise ConfigurationError("records need a file: sqlite:////absolute/path/records.db")
            self._file: Path | None = Path(parsed.database)
            self.engine = create_engine(
                parsed, pool_size=5, max_overflow=20,
                connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
            )
            _prepare_sqlite(self.engine)
        else:
            self._file = None
            # A server that was set up without a locale speaks SQL_ASCII: psycopg would hand out bytes.
            self.engine = create_engine(
                parsed, pool_pre_ping=True, pool_size=5, max_overflow=20, pool_timeout=_BUSY_SECONDS,
                connect_args={
                    "connect_timeout": _CONNECT_SECONDS, "application_name": "bikeshare", "client_encoding": "utf8",
                    **_LOST_HOST,
                },
            )

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a read transaction, retrying a database that is away."""
        return self._run(work, write=False, repeatable=True)

    def write(self, work: Callable[[Connection], T], *, repeatable: bool = True) -> T:
        """Run `work` in one write transaction.

        Args:
            work: What to do with the connection; it may be called again after a failure.
            repeatable: False when doing it twice differs from once: then a failure of the commit itself,
                whose outcome is unknown, is not retried but surfaced.
        """
        return self._run(work, write=True, repeatable=repeatable)

    @contextlib.contextmanager
    def stream(self) -> Iterator[Connection]:
        """A read transaction for a server-side cursor; no retry, because rows were already handed out."""
        try:
            with self.engine.connect() as connection, connection.begin():
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self._away(error) from error

    def migrate(self) -> None:
        """Bring the schema to `HEAD` under a lock, so that several processes may call it at once."""
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise Unavailable(f"cannot create the folder of {self._file}: {error.strerror}") from error
        if self.read(_revision) == HEAD:
            return
        with one_migration():
            self.write(self._upgrade)

    def bulk_insert(self, connection: Connection, table: Table, names: Sequence[str],
                    rows: Sequence[Sequence[Any]], on_conflict: str) -> int:
        """Insert many rows fast; `on_conflict` is the clause after ON CONFLICT. Return the rows that changed."""
        columns = ", ".join(names)
        if self.is_sqlite:
            marks = ", ".join("?" * len(names))
            cursor = connection.connection.cursor()
            cursor.executemany(
                f"INSERT INTO {table.name} ({columns}) VALUES ({marks}) ON CONFLICT {on_conflict}", rows
            )
            return int(cursor.rowcount)
        def fill(copy: Any) -> None:
            for row in rows:
                copy.write_row(row)

        return self._copy(connection, table, columns, fill, on_conflict)

    def copy_lines(self, connection: Connection, table: Table, names: Sequence[str],
                   lines: Sequence[bytes], on_conflict: str) -> int:
        """`bulk_insert` of text that PostgreSQL's COPY reads; each element is sent as it is."""
        def fill(copy: Any) -> None:
            for part in lines:
                copy.write(part)

        return self._copy(connection, table, ", ".join(names), fill, on_conflict)

    @staticmethod
    def _copy(connection: Connection, table: Table, columns: str, fill: Callable[[Any], None],
              on_conflict: str) -> int:
        """Through a table of this session, because COPY has no ON CONFLICT; it is kept, emptied by each commit."""
        staging = f"incoming_{table.name}"
        connection.execute(text(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS"
            f" AS SELECT {columns} FROM {table.name} WITH NO DATA"
        ))
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(f"COPY {staging} ({columns}) FROM STDIN") as copy:
            fill(copy)
        result = connection.execute(text(
            f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM {staging} ON CONFLICT {on_conflict}"
        ))
        return int(result.rowcount)

    def _run(self, work: Callable[[Connection], T], *, write: bool, repeatable: bool) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            committing = False
            try:
                with self.engine.connect() as connection:
                    connection = connection.execution_options(bikeshare_write=write)
                    with connection.begin() as transaction:
                        result = work(connection)
                        committing = True
                        transaction.commit()
                    return result
            except (OperationalError, InterfaceError, PoolTimeout) as error:
                lost = committing and not repeatable
                if attempt == _ATTEMPTS or lost:
                    raise self._away(error) from error
            except (IntegrityError, WrongValue) as error:
                raise self._refused(error) from error
            except DBAPIError as error:
                if not error.connection_invalidated or attempt == _ATTEMPTS or (committing and not repeatable):
                    raise self._away(error) from error
            except Exception as error:
                # Raw cursors (bulk insert, COPY) raise the driver's own errors.
                driver: Any = self.engine.dialect.loaded_dbapi
                if not isinstance(error, driver.Error):
                    raise
                if isinstance(error, (driver.IntegrityError, driver.DataError)):
                    raise self._refused(error) from error
                if attempt == _ATTEMPTS:
                    raise self._away(error) from error
            time.sleep(_BACKOFF_SECONDS * attempt)
        raise AssertionError("unreachable")

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(f"records at {self.name} did not answer: {_cause(error)}")

    def _refused(self, error: Exception) -> DataError:
        return DataError(f"records at {self.name} refused a value: {_cause(error)}")

    def _upgrade(self, connection: Connection) -> None:
        from alembic import command
        from alembic.config import Config

        if not self.is_sqlite:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        if _revision(connection) == HEAD:
            return
        config = Config()
        config.set_main_option("script_location", "bikeshare.adapters:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)


def _cause(error: Exception) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _revision(connection: Connection) -> str | None:
    from sqlalchemy import inspect

    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns into a write fails at once when another writer is busy; IMMEDIATE waits.
        write = connection.get_execution_options().get("bikeshare_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
