"""The records in SQLite or PostgreSQL (SQLAlchemy Core); importing this loads SQLAlchemy."""

from bikeshare.adapters.records.database import Database
from bikeshare.adapters.records.frames import FrameRows
from bikeshare.adapters.records.journal import JournalRows


class SqlRecords(FrameRows, JournalRows):
    """`bikeshare.ports.Records` on `sqlite:///FILE` or `postgresql://…`.

    Safe from several processes: SQLite runs in WAL mode with a busy timeout, conditional writes are single
    statements. A database that does not answer raises Unavailable after three attempts within seconds.
    """

    def __init__(self, url: str) -> None:
        self._db = Database(url)

    def migrate(self) -> None:
        """Bring the schema to the newest version; safe to call from several processes."""
        self._db.migrate()

    def close(self) -> None:
        """Drop pooled connections; the object stays usable."""
        self._db.engine.dispose()


__all__ = ["SqlRecords"]
