"""Alembic migrations of the records; run by `SqlRecords.migrate`, shipped in the wheel."""
