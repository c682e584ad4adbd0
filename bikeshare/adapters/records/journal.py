"""Decisions, intents, levels, state and locks: the small rows the loop remembers itself by."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import Connection, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bikeshare.adapters.records.database import Database
from bikeshare.adapters.records.tables import decisions, intents, levels, locks, state
from bikeshare.errors import Conflict, NotFound
from bikeshare.ports import DecisionRecord, LevelRow, RunIntent


class JournalRows:
    """The part of `Records` that speaks in small records."""

    _db: Database

    def save_decision(self, record: DecisionRecord) -> None:
        """Insert or update a decision by id."""
        values = {**record.__dict__, "evidence": json.dumps(dict(record.evidence), default=str)}
        query = self._insert(decisions).values(values)
        changes = {name: query.excluded[name] for name in values if name != "decision_id"}
        query = query.on_conflict_do_update(index_elements=["decision_id"], set_=changes)
        self._db.write(lambda connection: connection.execute(query))

    def decisions(self, since: datetime | None = None, *, limit: int | None = None) -> Sequence[DecisionRecord]:
        """Decisions, newest first."""
        query = select(decisions).order_by(decisions.c.decided_at.desc(), decisions.c.decision_id.desc())
        if since is not None:
            query = query.where(decisions.c.decided_at >= since)
        if limit is not None:
            query = query.limit(limit)
        rows = self._db.read(lambda connection: connection.execute(query).mappings().fetchall())
        return [DecisionRecord(**{**row, "evidence": json.loads(row["evidence"])}) for row in rows]

    def open_intent(self, run_key: str, reason: str, now: datetime) -> bool:
        """Write an intent; False when one with this key exists already."""
        query = (
            self._insert(intents).values(run_key=run_key, reason=reason, created_at=now)
            .on_conflict_do_nothing(index_elements=["run_key"]).returning(intents.c.run_key)
        )
        return self._db.write(lambda connection: connection.execute(query).first(), repeatable=False) is not None

    def close_intent(self, run_key: str, *, run_id: str | None = None, outcome: str | None = None,
                     finished_at: datetime | None = None) -> None:
        """Add what became known about a run; NotFound when no intent has this key."""
        known = {"run_id": run_id, "outcome": outcome, "finished_at": finished_at}
        values = {name: value for name, value in known.items() if value is not None} or {"run_key": run_key}
        query = update(intents).where(intents.c.run_key == run_key).values(values).returning(intents.c.run_key)
        if self._db.write(lambda connection: connection.execute(query).first()) is None:
            raise NotFound(f"no intent {run_key!r}: open it before closing it")

    def intents(self, since: datetime | None = None) -> Sequence[RunIntent]:
        """Intents, newest first."""
        query = select(intents).order_by(intents.c.created_at.desc(), intents.c.run_key.desc())
        if since is not None:
            query = query.where(intents.c.created_at >= since)
        rows = self._db.read(lambda connection: connection.execute(query).mappings().fetchall())
        return [RunIntent(**row) for row in rows]

    def save_levels(self, rows: Sequence[LevelRow]) -> None:
        """Insert or replace levels by (model_version, forest, day)."""
        key = ("model_version", "forest", "day")
        unique = {(row.model_version, row.forest, row.day): row.__dict__ for row in rows}
        if not unique:
            return
        query = self._insert(levels).values(list(unique.values()))
        query = query.on_conflict_do_update(
            index_elements=list(key), set_={c.name: query.excluded[c.name] for c in levels.c if c.name not in key}
        )
        self._db.write(lambda connection: connection.execute(query))

    def levels(self, model_version: str) -> Sequence[LevelRow]:
        """All levels of a version, oldest first."""
        query = select(levels).where(levels.c.model_version == model_version).order_by(levels.c.day, levels.c.forest)
        rows = self._db.read(lambda connection: connection.execute(query).mappings().fetchall())
        return [LevelRow(**{**row, "forest": cast(Literal["stateless", "history"], row["forest"])}) for row in rows]

    def load_state(self, name: str) -> tuple[dict[str, Any], int]:
        """A small JSON document and its revision; ({}, 0) when absent."""
        query = select(state.c.value, state.c.revision).where(state.c.name == name)
        row = self._db.read(lambda connection: connection.execute(query).first())
        return (json.loads(row.value), int(row.revision)) if row is not None else ({}, 0)

    def save_state(self, name: str, value: Mapping[str, Any], revision: int) -> int:
        """Write if the stored revision still equals `revision`; Conflict otherwise."""
        document = json.dumps(dict(value), sort_keys=True)

        def work(connection: Connection) -> Any:
            if revision == 0:
                return connection.execute(
                    self._insert(state).values(name=name, revision=1, value=document)
                    .on_conflict_do_nothing(index_elements=["name"]).returning(state.c.revision)
                ).first()
            return connection.execute(
                update(state).where(state.c.name == name, state.c.revision == revision)
                .values(revision=revision + 1, value=document).returning(state.c.revision)
            ).first()

        if self._db.write(work, repeatable=False) is None:
            raise Conflict(f"state {name!r} is no longer at revision {revision}: load it and decide again")
        return revision + 1

    def acquire_lock(self, name: str, owner: str, now: datetime, ttl_seconds: int) -> bool:
        """Take or renew a lease until now + ttl_seconds; False while somebody else holds it."""
        query = self._insert(locks).values(name=name, owner=owner, expires_at=now + timedelta(seconds=ttl_seconds))
        free = (locks.c.expires_at <= now) | (locks.c.owner == owner)
        taken = query.on_conflict_do_update(
            index_elements=["name"], where=free,
            set_={"owner": query.excluded.owner, "expires_at": query.excluded.expires_at},
        ).returning(locks.c.owner)
        return self._db.write(lambda connection: connection.execute(taken).first()) is not None

    def release_lock(self, name: str, owner: str) -> None:
        """Give a lease back; not an error when it already expired or was taken over."""
        query = delete(locks).where(locks.c.name == name, locks.c.owner == owner)
        self._db.write(lambda connection: connection.execute(query))

    def _insert(self, table: Table) -> Any:
        return sqlite.insert(table) if self._db.is_sqlite else postgresql.insert(table)
