"""One database, held still: locks against DDL and TRUNCATE first, then a snapshot that other sessions can join."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.engines.postgresql.connect import Connection, Session, abandon, open_sql
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.fingerprint import Table, count_objects, list_tables, schema_hash
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.watch import take_sample

_LOCKS_A_STATEMENT = 100
_CANCEL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Instant:
    """When and where in the log the snapshot lies."""

    at: datetime
    lsn: str
    timeline: int


class Snapshot:
    """A transaction that stays open while the block runs. `name` is for `pg_dump --snapshot`."""

    def __init__(self, session: Session, dbname: str) -> None:
        self._dbname = dbname
        self._connection = open_sql(session, dbname)
        try:
            self.tables = list_tables(self._connection)
            self._begin()
        except BaseException:  # also an interrupt: the connection must not stay behind
            abandon(self._connection)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        abandon(self._connection)

    @property
    def connection(self) -> Connection:
        """The connection inside the snapshot."""
        return self._connection

    def _begin(self) -> None:
        """Locks come first: TRUNCATE ignores snapshots, so a table emptied after the snapshot would be dumped empty.

        LOCK TABLE takes no snapshot in a repeatable-read transaction; pg_export_snapshot() does.
        """
        with guarded(f"taking a snapshot of database {self._dbname}"):
            before = take_sample(self._connection)
            self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            for start in range(0, len(self.tables), _LOCKS_A_STATEMENT):
                self._lock(self.tables[start : start + _LOCKS_A_STATEMENT])
            row = self._connection.execute(_EXPORT).fetchone()
        if row is None or not isinstance(row[1], datetime):
            raise WorldFault(Reason.DATABASE_ERROR, "the server did not tell its snapshot")
        self.name = str(row[0])
        at = before.at if before.standby else row[1].astimezone(UTC)
        self.instant = Instant(at, str(row[2]), int(str(row[3])))

    def _lock(self, tables: tuple[Table, ...]) -> None:
        names = sql.SQL(", ").join(
            sql.SQL("ONLY {}").format(sql.Identifier(table.schema, table.name)) for table in tables
        )
        self._connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


# The statement begins before its snapshot, which is taken before the position is read: what was committed by that
# instant is in the snapshot, and what is in the snapshot lies below that position. A standby's data are older than its
# clock; how old they were is asked before the snapshot.
_EXPORT = """
SELECT pg_catalog.pg_export_snapshot(), pg_catalog.statement_timestamp(),
       (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_lsn() END)::text,
       (pg_catalog.pg_control_checkpoint()).timeline_id
"""


class Counting:
    """Hashes the schema, and unless `rows` is False counts and hashes each table, while the dump runs: in a thread, in
    the snapshot's own connection."""

    def __init__(self, snapshot: Snapshot, prefix: str, *, rows: bool = True) -> None:
        self._snapshot = snapshot
        self._rows = rows
        self._prefix = prefix
        self._objects: tuple[ObjectCount, ...] = ()
        self._schema_hash = ""
        self._fault: DatabosunError | None = None
        self._thread = threading.Thread(target=self._run, name=f"count {prefix}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._thread.is_alive():
            self._cancel()
            self._thread.join(timeout=_CANCEL_SECONDS)

    @property
    def done(self) -> bool:
        """True once a result or an error is there."""
        return not self._thread.is_alive()

    def failed(self) -> DatabosunError | None:
        """The error, as soon as there is one."""
        return self._fault

    def wait(self, seconds: float) -> None:
        """Wait at most so long."""
        self._thread.join(timeout=seconds)

    def result(self) -> tuple[tuple[ObjectCount, ...], str]:
        """Objects and the schema's hash. Raises what went wrong."""
        if self._fault:
            raise self._fault
        return self._objects, self._schema_hash

    def _run(self) -> None:
        try:
            self._schema_hash = schema_hash(self._snapshot.connection)
            if self._rows:
                self._objects = count_objects(self._snapshot.connection, self._snapshot.tables, self._prefix)
        except DatabosunError as fault:
            self._fault = fault

    def _cancel(self) -> None:
        try:
            self._snapshot.connection.cancel_safe(timeout=_CANCEL_SECONDS)
        except psycopg.Error:
            # The server is gone; the thread ends with its connection.
            return
