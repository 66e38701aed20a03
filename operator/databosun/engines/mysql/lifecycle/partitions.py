"""Whole partitions: by their real bounds, and by a look at their rows while the table is locked.

These servers have no lock that keeps writers out and stays while the table is changed, but LOCK TABLES … WRITE, which
keeps readers out too. So all is looked at before, and once more under that lock, for a while that is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.lifecycle import ActionType, PartitionFact, RuleCounts, RuleFacts
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import Step
from databosun.domain.lifecycleguards import droppable, keeps
from databosun.engines.lifecycle import (
    Batch,
    Definitions,
    Left,
    LifecycleScope,
    RuleFault,
    Trouble,
    plan_changed,
)
from databosun.engines.mysql.connect import limit_statements, quote
from databosun.engines.mysql.dialect import LONGEST_IDLE, Dialect
from databosun.engines.mysql.lifecycle.bounds import Partition, list_partitions
from databosun.engines.mysql.lifecycle.conditions import Condition, age_of, working_condition
from databosun.engines.mysql.lifecycle.statements import (
    IDLE_SECONDS,
    ask,
    instant,
    literal,
    named,
    no_table,
    number,
    run,
    split,
    stepping,
)

LOCKED_SECONDS = 10.0  # for which the rows of one partition are looked at while nobody reads or writes the table
LONGEST_NAME = 64
_TABLE_EXISTS = 1050


def look_at(connection: Connection[Any], step: Step, condition: Condition, partition: Partition) -> PartitionFact:
    """Its bounds and its rows, as they are now."""
    table = step.table or no_table(step.rule.table)
    query = (
        f"SELECT COUNT(*), SUM(({condition.base}) IS NOT TRUE), SUM(({condition.held}) IS TRUE), "  # noqa: S608 - quoted
        f"MAX({age_of(step)}) FROM {named(table.name)} PARTITION ({quote(partition.name)})"
    )
    rows, young, held, newest = ask(connection, query, condition.words)[0]
    return PartitionFact(
        name=partition.name,
        lower=partition.lower,
        upper=partition.upper,
        rows=number(rows),
        young=number(young),
        held=number(held),
        newest=instant(newest),
        bytes=partition.bytes,
    )


def look_at_all(connection: Connection[Any], step: Step, condition: Condition) -> list[PartitionFact]:
    """All of a table that is partitioned by its age; of one that is not, none: the plan is refused."""
    table = step.table or no_table(step.rule.table)
    if table.partitioning is None or table.partitioning.columns != [step.rule.column]:
        return []
    return [look_at(connection, step, condition, part) for part in list_partitions(connection, table.name)]


def count_partitions(step: Step, facts: RuleFacts, scope: LifecycleScope) -> RuleCounts:
    """What the rule would take right now, of what lies in the table."""
    gone = droppable(step, facts, scope.at)
    newest = max((part.newest for part in gone if part.newest), default=None)
    taken = {"eligible": sum(one.rows for one in gone), "bytes": sum(one.bytes for one in gone), "newest": newest}
    return facts.counts.model_copy(update=taken)


def demand_no_query(step: Step, texts: Iterable[str]) -> None:
    """UserFault where a condition on the rows of partitions asks other tables: under the lock they cannot be read."""
    if any("select" in text.lower() for text in texts):
        message = (
            f"{step.rule.action} of rule {step.rule.name} looks at rows while the table is locked, when no other can be"
            " asked; expected conditions, of rule and holds, that are of the row alone, without SELECT"
        )
        raise UserFault(Reason.CONDITION_REFUSED, message)


class MySQLPartitions:
    """`PartitionWork` of `engines/lifecycle.py`."""

    def __init__(
        self,
        connected: Callable[[], Connection[Any]],
        dialect: Dialect,
        step: Step,
        scope: LifecycleScope,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._connected = connected
        self._dialect = dialect
        self._step = step
        self._scope = scope
        self._definitions = definitions
        self._table = step.table or no_table(step.rule.table)
        with stepping(f"looking at {step.rule.table}"):
            self._known = definitions()
            self._condition = working_condition(connected(), step, scope)

    def remove(self, partition: str, rows: int) -> Batch | None:
        """Drop or detach one, if it may still go."""
        with stepping(f"looking at {partition} of {self._table.name}"):
            fact = self._may_go(partition, rows)
        if fact is None:
            return None
        # An empty one leaves nothing to keep; so does one whose rows an attempt that was cut off had put aside.
        if self._step.rule.action is ActionType.DETACH_PARTITION and fact.rows:
            return self._detach(partition, rows)
        with self._locked(partition, self._table.name):
            fact = self._may_go(partition, rows)
            if fact is None or (fact.rows and self._step.rule.action is ActionType.DETACH_PARTITION):
                return None
            self._drop(partition)
        return Batch(fact.rows)

    def left(self) -> Left:
        """The old rows in partitions that are there still."""
        with stepping(f"counting {self._table.name}"):
            parts = look_at_all(self._connected(), self._step, self._condition)
        cutoff = self._step.cutoff(self._scope.at)
        return Left(sum(one.rows for one in parts if cutoff is not None and keeps(one, cutoff) is None))

    def _detach(self, partition: str, rows: int) -> Batch | None:
        """Its rows become those of a table that is like this one, and the partition, empty then, goes."""
        apart = self._apart(partition)
        with stepping(f"making {apart}"):
            self._make(apart, f"rows of partition {partition} of {self._table.name}, put aside by Databosun")
        fact = None
        try:
            with self._locked(partition, self._table.name, apart):
                fact = self._may_go(partition, rows)
                if fact is not None:
                    exchange = f"EXCHANGE PARTITION {quote(partition)} WITH TABLE {named(apart)}"
                    self._run(f"ALTER TABLE {named(self._table.name)} {exchange}")
                    self._drop(partition)
        finally:
            self._unmake(apart)
        return Batch(fact.rows) if fact is not None else None

    def _apart(self, partition: str) -> str:
        schema, table = split(self._table.name)
        name = f"{table}_{partition}"
        if len(name) > LONGEST_NAME:
            message = f"{name} is longer than the {LONGEST_NAME} characters that a table's name may have"
            raise RuleFault(Reason.NAME_TAKEN, message, Trouble.PERMANENT)
        return f"{schema}.{name}"

    def _make(self, apart: str, comment: str) -> None:
        """Empty, and not partitioned. One that an attempt left that was cut off is made anew."""
        schema, name = split(apart)
        where = f"t.TABLE_SCHEMA = {literal(schema)} AND t.TABLE_NAME = {literal(name)}"
        found = run(self._connected(), f"SELECT t.TABLE_COMMENT FROM information_schema.TABLES AS t WHERE {where}")  # noqa: S608 - quoted
        if found and str(found[0][0]) == comment:
            self._unmake(apart)
        try:
            self._run(f"CREATE TABLE {named(apart)} LIKE {named(self._table.name)}")
        except pymysql.MySQLError as error:
            if error.args[0] != _TABLE_EXISTS:
                raise
            message = f"{apart} is there already, where the rows of the partition are to be; rename it, or drop it"
            raise RuleFault(Reason.NAME_TAKEN, message, Trouble.PERMANENT) from error
        self._run(f"ALTER TABLE {named(apart)} COMMENT = {literal(comment)} REMOVE PARTITIONING")

    def _unmake(self, apart: str) -> None:
        """As long as nothing lies in it: a session that is gone, or a row in it, leaves it."""
        with suppress(pymysql.MySQLError, OSError):
            if not run(self._connected(), f"SELECT 1 FROM {named(apart)} LIMIT 1"):  # noqa: S608 - quoted
                self._run(f"DROP TABLE {named(apart)}")

    @contextmanager
    def _locked(self, partition: str, *tables: str) -> Iterator[None]:
        """Nobody else reads or writes the tables, from here to the end, or until the session is gone. The server ends
        one of which it hears nothing for too long."""
        connection = self._connected()
        with stepping(f"removing {partition} of {self._table.name}"):
            run(connection, f"SET SESSION wait_timeout = {IDLE_SECONDS}")
            run(connection, "LOCK TABLES " + ", ".join(f"{named(one)} WRITE" for one in tables))
            try:
                limit_statements(connection, self._dialect, min(LOCKED_SECONDS, self._scope.statement_seconds))
                yield
            finally:
                with suppress(pymysql.MySQLError, OSError):  # a session that is gone holds nothing
                    run(connection, "UNLOCK TABLES")
                    limit_statements(connection, self._dialect, self._scope.statement_seconds)
                    run(connection, f"SET SESSION wait_timeout = {LONGEST_IDLE}")

    def _may_go(self, partition: str, rows: int) -> PartitionFact | None:
        """As it is now; None: it must stay. SafetyStop(PlanChanged) where the table is another."""
        now = self._definitions()
        if now != self._known:
            raise plan_changed(self._table.name, self._known, now)
        found = list_partitions(self._connected(), self._table.name)
        part = next((one for one in found if one.name == partition), None)
        if part is None:
            return None
        if len(found) == 1:
            message = (
                f"{partition} is the last partition of {self._table.name}, and it must have one; add one for later rows"
            )
            raise RuleFault(Reason.NOT_PARTITIONED, message, Trouble.PERMANENT)
        cutoff = self._step.cutoff(self._scope.at)
        fact = look_at(self._connected(), self._step, self._condition, part)
        return fact if cutoff is not None and keeps(fact, cutoff) is None and fact.rows <= rows else None

    def _drop(self, partition: str) -> None:
        limit_statements(self._connected(), self._dialect, self._scope.statement_seconds)
        self._run(f"ALTER TABLE {named(self._table.name)} DROP PARTITION {quote(partition)}")

    def _run(self, statement: str) -> None:
        run(self._connected(), statement)
