"""Exports of one person's rows from MariaDB and MySQL: read in one snapshot, in a transaction that cannot write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import Step
from databosun.engines.base import Target
from databosun.engines.exporting import ExportSession
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.mysql.connect import one
from databosun.engines.mysql.lifecycle.conditions import working_condition
from databosun.engines.mysql.lifecycle.counts import alias, along
from databosun.engines.mysql.lifecycle.encode import json_line
from databosun.engines.mysql.lifecycle.rights import SEES_KEYS
from databosun.engines.mysql.lifecycle.rows import PIECE_CHARACTERS, whole
from databosun.engines.mysql.lifecycle.session import MySQLSession
from databosun.engines.mysql.lifecycle.statements import named, run, stepping, stream, transaction


class MySQLExporting:
    """`Exporting` of `engines/exporting.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[ExportSession]:
        """Log in; log out afterwards."""
        session = MySQLSession(target, scope)
        try:
            if not session.catalogue.sees_keys:
                message = f"the login may not see which tables refer to others; GRANT {SEES_KEYS} ON *.* to it"
                raise UserFault(Reason.PERMISSION_DENIED, message)
            connection = session.catalogue.connection
            with stepping("taking a snapshot"):
                run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with transaction(connection, "WITH CONSISTENT SNAPSHOT", "READ ONLY"):
                with stepping("taking a snapshot"):
                    (at,) = one(connection, "SELECT UTC_TIMESTAMP(6)")
                yield _Snapshot(session, connection, scope, at.replace(tzinfo=UTC))
        except BaseException:  # also an interrupt: what runs at the server must end
            session.abandon()
            raise
        session.close()


EXPORTING = MySQLExporting()


class _Snapshot:
    """`ExportSession` of `engines/exporting.py`."""

    def __init__(self, session: MySQLSession, connection: Connection[Any], scope: LifecycleScope, at: datetime) -> None:
        self._session = session
        self._connection = connection
        self._scope = scope
        self._at = at

    @property
    def dbname(self) -> str:
        """The schema of names without one."""
        return self._session.dbname

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._session.engine_version

    @property
    def at(self) -> datetime:
        """Right after the transaction began."""
        return self._at

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """From the catalogue."""
        with stepping(f"looking at {rule.table}"):
            return self._session.catalogue.tables(rule.table)

    def read(self, step: Step, table: str, sink: Callable[[bytes], None]) -> int:
        """One line of JSON each; bytes as hexadecimal digits after `0x`."""
        connection = self._connection
        with stepping(f"reading {table}"):
            condition = working_condition(connection, step, self._scope)
            line = json_line(self._session.catalogue.columns(table))
            source, where = named(table), condition.all
            if step.table is not None and table != step.table.name:
                source = f"{source} AS {alias(0)}"
                paths = [along(step, one, condition.all) for one in step.children if one.table.name == table]
                where = "(" + " OR ".join(paths) + ")"
            return self._handed(f"SELECT {line} FROM {source} WHERE {where}", table, sink)  # noqa: S608 - quoted

    def _handed(self, query: str, table: str, sink: Callable[[bytes], None]) -> int:
        count, held = 0, ""
        for (text,) in stream(self._connection, query):
            held += whole(text, table)
            count += 1
            if len(held) >= PIECE_CHARACTERS:
                sink(held.encode())
                held = ""
                self._scope.pulse()
        sink(held.encode())
        return count
