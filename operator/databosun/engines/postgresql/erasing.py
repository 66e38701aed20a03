"""One database of a recovered copy, in which people are erased again.

The copy's sessions fire no triggers and follow no foreign keys (`recovery/private.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from psycopg import sql

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.errors import WorldFault
from databosun.domain.lifecycle import Child, Step
from databosun.engines.erasing import Repeated
from databosun.engines.lifecycle import LifecycleScope, RuleFault
from databosun.engines.postgresql.connect import Connection, prepare_session
from databosun.engines.postgresql.lifecycle.calls import definitions_of
from databosun.engines.postgresql.lifecycle.catalogue import split, table_of, tables_of
from databosun.engines.postgresql.lifecycle.conditions import source_of, working_condition
from databosun.engines.postgresql.lifecycle.counts import along
from databosun.engines.postgresql.lifecycle.rows import PostgreSQLRows
from databosun.engines.postgresql.lifecycle.statements import stepping
from databosun.engines.postgresql.lifecycle.subjects import tell_subject
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.recovery import Copy
from databosun.engines.repeating import BATCH, Place, repeat_in


class PostgreSQLErasing:
    """`Erasing` of `engines/erasing.py`."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Database by database."""
        if not isinstance(copy, RunningCopy):
            raise TypeError(copy)
        there = frozenset(copy.databases())
        return repeat_in(there.__contains__, partial(_opened, copy), entries, key, pulse)


ERASING = PostgreSQLErasing()


@contextmanager
def _opened(copy: RunningCopy, dbname: str) -> Iterator[Place]:
    """A superuser's session, in which texts of values are what they are at the source."""
    try:
        with copy.server.connect(dbname, read_only=False) as connection:
            prepare_session(connection)
            connection.execute("SET default_transaction_read_only = off")
            yield _Place(connection)
    except RuleFault as fault:
        message = f"an erasure could not be repeated in database {dbname} of the copy: {fault.message}"
        raise WorldFault(fault.reason, message) from fault


class _Place:
    """`Place` of `engines/repeating.py`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def table(self, name: str) -> TableFact | None:
        """One table; without a schema of public."""
        return table_of(self._connection, name if "." in name else f"public.{name}")

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """With all that refer to it."""
        with stepping("looking at the tables of an erasure"):
            return tables_of(self._connection, rule.table)

    def findable(self, table: TableFact, column: str) -> bool:
        """Every type has a text, and the source took it."""
        return column in {one.name for one in table.columns}

    def values(self, table: TableFact, column: str, pulse: Callable[[], None]) -> Iterator[str]:
        """As text."""
        alias = sql.Identifier(split(table.name)[1])
        here = sql.SQL("{}.{}").format(alias, sql.Identifier(column))
        query = sql.SQL('SELECT DISTINCT {c}::text COLLATE "C" FROM {s} WHERE {c} IS NOT NULL').format(
            c=here, s=source_of(table.name, table.kind, alias)
        )
        with (
            stepping(f"reading {table.name}"),
            self._connection.transaction(),
            self._connection.cursor(name="databosun_subjects") as cursor,
        ):
            cursor.execute(query)
            while rows := cursor.fetchmany(BATCH):
                pulse()
                for (value,) in rows:
                    yield str(value)

    def begin(self, scope: LifecycleScope, tables: Sequence[TableFact]) -> None:
        """No trigger fires in this session anyway."""
        tell_subject(self._connection, scope.subject or "")

    def rows(self, step: Step, scope: LifecycleScope) -> PostgreSQLRows:
        """Work on rows."""
        connection = self._connection
        return PostgreSQLRows(
            lambda: connection, step, scope, lambda: definitions_of(connection, step.rule, scope.order)
        )

    def let_go(self, step: Step, child: Child, scope: LifecycleScope) -> None:
        """References to the rule's rows become NULL, or what is the default."""
        if step.table is None:
            return
        connection = self._connection
        with stepping(f"changing rows of {child.table.name}"), connection.transaction():
            condition = working_condition(connection, step, scope)
            source = source_of(step.table.name, step.table.kind, condition.alias)
            root = sql.SQL("SELECT {}.* FROM {} WHERE {}").format(condition.alias, source, condition.all)
            value = sql.SQL("NULL" if child.by.on_delete == "SetNull" else "DEFAULT")
            sets = [sql.SQL("{} = {}").format(sql.Identifier(name), value) for name in child.by.columns]
            connection.execute(
                sql.SQL("UPDATE {} AS databosun_child SET {} WHERE {}").format(
                    sql.Identifier(*split(child.table.name)), sql.SQL(", ").join(sets), along(step, child, root)
                )
            )
