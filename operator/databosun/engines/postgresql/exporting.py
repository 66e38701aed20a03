"""Exports of one person's rows from PostgreSQL: read in one snapshot, in a transaction that cannot write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from psycopg import sql

from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.lifecycle import Step
from databosun.engines.base import Target
from databosun.engines.exporting import ExportSession
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.copying import copied, json_lines
from databosun.engines.postgresql.lifecycle.catalogue import split, tables_of
from databosun.engines.postgresql.lifecycle.conditions import source_of, working_condition
from databosun.engines.postgresql.lifecycle.counts import along
from databosun.engines.postgresql.lifecycle.session import PostgreSQLSession
from databosun.engines.postgresql.lifecycle.statements import one, stepping

IDLE_SECONDS = 900
_CHILD = sql.Identifier("databosun_child")


class PostgreSQLExporting:
    """`Exporting` of `engines/exporting.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[ExportSession]:
        """Log in; log out afterwards."""
        session = PostgreSQLSession(target, scope)
        try:
            connection = session.connection
            with connection.transaction():
                with stepping("taking a snapshot"):
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    # Between two tables the session waits for the store.
                    connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
                    (at,) = one(connection, sql.SQL("SELECT pg_catalog.now()"))
                yield _Snapshot(session, connection, scope, datetime.fromisoformat(str(at)))
        finally:
            session.close()


EXPORTING = PostgreSQLExporting()


class _Snapshot:
    """`ExportSession` of `engines/exporting.py`."""

    def __init__(self, session: PostgreSQLSession, connection: Connection, scope: LifecycleScope, at: datetime) -> None:
        self._session = session
        self._connection = connection
        self._scope = scope
        self._at = at

    @property
    def dbname(self) -> str:
        """As the connection has it."""
        return self._session.dbname

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._session.engine_version

    @property
    def at(self) -> datetime:
        """When the transaction began."""
        return self._at

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """From the catalogue."""
        with stepping(f"looking at {rule.table}"):
            return tables_of(self._connection, rule.table)

    def read(self, step: Step, table: str, sink: Callable[[bytes], None]) -> int:
        """One line of JSON each; bytes as hexadecimal digits after `\\x`."""
        connection = self._connection
        with stepping(f"reading {table}"):
            condition = working_condition(connection, step, self._scope)
            found = step.table
            if found is None:
                return 0
            source = source_of(found.name, found.kind, condition.alias)
            if table == found.name:
                row, of, wanted = condition.alias, source, condition.all
            else:
                root = sql.SQL("SELECT {}.* FROM {} WHERE {}").format(condition.alias, source, condition.all)
                paths = [along(step, child, root) for child in step.children if child.table.name == table]
                row, of = _CHILD, sql.SQL("{} AS {}").format(sql.Identifier(*split(table)), _CHILD)
                wanted = sql.SQL(" OR ").join(sql.SQL("({})").format(path) for path in paths)
            query = json_lines(row, sql.SQL("{} WHERE {}").format(of, wanted))
            return copied(connection, query, sink, self._scope.pulse)
