"""One schema of a recovered copy, in which people are erased again.

The session follows no foreign keys, and the triggers of the tables are away meanwhile. The copy writes no binary log:
what is done here is no transaction of its own that a replica would have to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.errors import WorldFault
from databosun.domain.lifecycle import Child, Step
from databosun.engines.erasing import Repeated
from databosun.engines.lifecycle import LifecycleScope, RuleFault
from databosun.engines.mysql.connect import one, quote
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.lifecycle.calls import definitions_of
from databosun.engines.mysql.lifecycle.catalogue import Catalogue
from databosun.engines.mysql.lifecycle.conditions import working_condition
from databosun.engines.mysql.lifecycle.counts import alias, along
from databosun.engines.mysql.lifecycle.rows import MySQLRows
from databosun.engines.mysql.lifecycle.session import MODE
from databosun.engines.mysql.lifecycle.statements import change, named, run, split, stepping, stream, transaction
from databosun.engines.mysql.lifecycle.subjects import is_findable, tell_subject, text_of
from databosun.engines.mysql.quiet import Quiet
from databosun.engines.mysql.recovery.copy import RunningCopy
from databosun.engines.recovery import Copy
from databosun.engines.repeating import BATCH, Place, repeat_in


class MySQLErasing:
    """`Erasing` of `engines/erasing.py`."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Schema by schema."""
        if not isinstance(copy, RunningCopy):
            raise TypeError(copy)
        return repeat_in(copy.has_schema, partial(_opened, copy), entries, key, pulse)


ERASING = MySQLErasing()


@contextmanager
def _opened(copy: RunningCopy, schema: str) -> Iterator[Place]:
    """The administrator's session, in which values read as they do at the source."""
    connection = copy.server.connect(read_only=False)
    try:
        with guarded("session settings"):
            connection.select_db(schema)
            run(connection, f"SET SESSION sql_mode = '{MODE}', SESSION foreign_key_checks = 0, SESSION sql_log_bin = 0")
            run(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            (folds,) = one(connection, "SELECT @@lower_case_table_names")
        quiet = Quiet(connection)
        yield _Place(Catalogue(connection, copy.server.dialect, schema, folds=bool(folds), sees_keys=True), quiet)
        quiet.bring_back()
    except RuleFault as fault:
        message = f"an erasure could not be repeated in database {schema} of the copy: {fault.message}"
        raise WorldFault(fault.reason, message) from fault
    finally:
        connection.close()


class _Place:
    """`Place` of `engines/repeating.py`."""

    def __init__(self, catalogue: Catalogue, quiet: Quiet) -> None:
        self._catalogue = catalogue
        self._connection = catalogue.connection
        self._quiet = quiet

    def table(self, name: str) -> TableFact | None:
        """One table; without a schema of the erasure's own."""
        with stepping(f"looking for table {name}"):
            return self._catalogue.table(".".join(split(name, self._catalogue.schema)))

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """With all that refer to it."""
        with stepping("looking at the tables of an erasure"):
            return self._catalogue.tables(rule.table)

    def findable(self, table: TableFact, column: str) -> bool:
        """Of the types that a key can stand in at the source."""
        return any(one.name == column and is_findable(one.type) for one in table.columns)

    def values(self, table: TableFact, column: str, pulse: Callable[[], None]) -> Iterator[str]:
        """As they lie there: to give each once, the server would sort them on disk, which takes most of the time."""
        kind = next(one.type for one in table.columns if one.name == column)
        here = quote(column)
        query = (
            f"SELECT CAST({text_of(here, kind)} AS BINARY) FROM {named(table.name)}"  # noqa: S608 - quoted
            f" WHERE {here} IS NOT NULL"
        )
        with stepping(f"reading {table.name}"):
            for number, (value,) in enumerate(stream(self._connection, query)):
                if number % BATCH == 0:
                    pulse()
                yield bytes(value).decode()

    def begin(self, scope: LifecycleScope, tables: Sequence[TableFact]) -> None:
        """Tell the key, put triggers away."""
        with stepping("telling the subject's key"):
            tell_subject(self._connection, scope.subject or "")
        self._quiet.put_away(one.name for one in tables)

    def rows(self, step: Step, scope: LifecycleScope) -> MySQLRows:
        """Work on rows."""
        catalogue, rule = self._catalogue, step.rule
        with stepping(f"looking at {rule.table}"):
            shape = catalogue.shape(rule.table, rule.column)
        return MySQLRows(
            lambda: self._connection, step, scope, shape, lambda: definitions_of(catalogue, rule, scope.order)
        )

    def let_go(self, step: Step, child: Child, scope: LifecycleScope) -> None:
        """References to the rule's rows become NULL; the server would write no instant into such a row either."""
        connection = self._connection
        with stepping(f"changing rows of {child.table.name}"), transaction(connection):
            condition = working_condition(connection, step, scope)
            name = alias(0)
            stamped = [one.sql for one in self._catalogue.columns(child.table.name) if one.stamped]
            sets = [f"{name}.{quote(one)} = NULL" for one in child.by.columns]
            sets += [f"{name}.{one} = {name}.{one}" for one in stamped]
            change(
                connection,
                f"UPDATE {named(child.table.name)} AS {name} SET {', '.join(sets)}"  # noqa: S608 - quoted
                f" WHERE {along(step, child, condition.all)}",
            )
