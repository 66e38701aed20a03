"""Whole partitions: by their real bounds, and by a look at their rows under a lock that keeps writers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import ActionType, PartitionFact, RuleCounts, RuleFacts
from databosun.domain.lifecycle import Step
from databosun.domain.lifecycleguards import droppable, keeps
from databosun.engines.lifecycle import Batch, Definitions, Left, LifecycleScope
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.conditions import Condition, working_condition
from databosun.engines.postgresql.lifecycle.counts import age_of, instant, readable
from databosun.engines.postgresql.lifecycle.shapes import as_sql
from databosun.engines.postgresql.lifecycle.statements import no_table, number, one, stepping, table_bytes, text_of
from databosun.engines.postgresql.lifecycle.watch import watch_of

_RANGE = re.compile(r"FOR VALUES FROM \((.+)\) TO \((.+)\)", re.DOTALL)
_CHILDREN: LiteralString = """
SELECT n.nspname::text, c.relname::text, pg_catalog.pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending
FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE i.inhparent = {parent}::regclass ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """As the catalogue has it. `bounds`: as the server words them. `pending`: a concurrent detach of it was cut off."""

    schema: str
    name: str
    bounds: str
    pending: bool

    @property
    def full_name(self) -> str:
        """As facts name it."""
        return f"{self.schema}.{self.name}"

    @property
    def default(self) -> bool:
        """Whether it takes what no other does."""
        return self.bounds == "DEFAULT"

    @property
    def ends(self) -> tuple[str | None, str | None]:
        """Lower and upper bound as SQL, None for none."""
        found = _RANGE.fullmatch(self.bounds)
        if not found:
            return None, None
        low, high = found[1], found[2]
        return (None if low == "MINVALUE" else low), (None if high == "MAXVALUE" else high)


def list_partitions(connection: Connection, table: str) -> tuple[Partition, ...]:
    """Those right below the table."""
    parent = sql.Literal(sql.Identifier(*split(table)).as_string(connection))
    rows = connection.execute(sql.SQL(_CHILDREN).format(parent=parent)).fetchall()
    return tuple(Partition(text_of(s), text_of(n), text_of(b), bool(p)) for s, n, b, p in rows)


def look_at(connection: Connection, step: Step, condition: Condition, partition: Partition) -> PartitionFact:
    """Its bounds and its rows, as they are now."""
    table = step.table or no_table(step.rule.table)
    kind = next((one.type for one in table.columns if one.name == step.rule.column), "timestamptz")
    low, high = (_bound(connection, end, kind) for end in partition.ends)
    row = one(
        connection,
        sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE ({base}) IS NOT TRUE), count(*) FILTER (WHERE {held}), max({age}) "
            "FROM {part} AS {alias}"
        ).format(
            base=condition.base,
            held=condition.held,
            age=readable(age_of(step)),
            part=sql.Identifier(partition.schema, partition.name),
            alias=condition.alias,
        ),
    )
    return PartitionFact(
        name=partition.full_name,
        default=partition.default,
        lower=low,
        upper=high,
        rows=number(row[0]),
        young=number(row[1]),
        held=number(row[2]),
        newest=instant(row[3]),
        bytes=table_bytes(connection, partition.full_name),
    )


def count_partitions(step: Step, found: list[PartitionFact], at: datetime, counts: RuleCounts) -> RuleCounts:
    """What the rule would drop right now, of what lies in the table."""
    gone = droppable(step, RuleFacts(rule=step.rule.name, partitions=found), at)
    return counts.model_copy(
        update={
            "eligible": sum(part.rows for part in gone),
            "bytes": sum(part.bytes for part in gone),
            "newest": max((part.newest for part in gone if part.newest), default=None),
        }
    )


class PostgreSQLPartitions:
    """`PartitionWork` of `engines/lifecycle.py`."""

    def __init__(
        self,
        connected: Callable[[], Connection],
        step: Step,
        scope: LifecycleScope,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._connected = connected
        self._step = step
        self._scope = scope
        self._table = step.table or no_table(step.rule.table)
        with stepping(f"looking at {step.rule.table}"):
            self._condition = working_condition(connected(), step, scope)
            self._watch = watch_of(connected, step, scope, definitions)

    def remove(self, partition: str, rows: int) -> Batch | None:
        """Drop or detach one, if it may still go."""
        with stepping(f"looking at {partition}"):
            found = list_partitions(self._connected(), self._table.name)
        part = _named(found, partition)
        if part is None:
            return None
        if self._step.rule.action is ActionType.DETACH_PARTITION:
            return self._detach(part, rows, concurrently=not any(one.default for one in found))
        with stepping(f"dropping {partition}"), self._connected().transaction():
            # Readers go on; whoever writes to so old a partition waits, at most as long as lock_timeout lets us.
            self._run("LOCK TABLE {part} IN SHARE ROW EXCLUSIVE MODE", part)
            # While its lock was waited for it may have been taken out to be kept, or been given other bounds.
            part = _named(list_partitions(self._connected(), self._table.name), partition)
            fact = self._may_go(part, rows) if part is not None else None
            if part is None or fact is None:
                return None
            self._run("DROP TABLE {part}", part)
        return Batch(fact.rows)

    def left(self) -> Left:
        """The old rows in partitions that are there still."""
        with stepping(f"counting {self._table.name}"):
            parts = [
                look_at(self._connected(), self._step, self._condition, one)
                for one in list_partitions(self._connected(), self._table.name)
            ]
        cutoff = self._step.cutoff(self._scope.at)
        old = [one for one in parts if cutoff is not None and keeps(one, cutoff) is None]
        return Left(sum(one.rows for one in old), None)

    def _detach(self, part: Partition, rows: int, *, concurrently: bool) -> Batch | None:
        with stepping(f"detaching {part.full_name}"):
            if part.pending:
                fact = look_at(self._connected(), self._step, self._condition, part)
                self._run("ALTER TABLE {parent} DETACH PARTITION {part} FINALIZE", part)
                return Batch(fact.rows)
            seen = self._may_go(part, rows)
            if seen is None:
                return None
            if concurrently:
                self._run("ALTER TABLE {parent} DETACH PARTITION {part} CONCURRENTLY", part)
            else:
                self._run("ALTER TABLE {parent} DETACH PARTITION {part}", part)
            return Batch(seen.rows)

    def _may_go(self, part: Partition, rows: int) -> PartitionFact | None:
        cutoff = self._step.cutoff(self._scope.at)
        self._watch.begin(part.full_name)
        fact = look_at(self._connected(), self._step, self._condition, part)
        self._watch.demand_same(part.full_name)
        return fact if cutoff is not None and keeps(fact, cutoff) is None and fact.rows <= rows else None

    def _run(self, statement: LiteralString, part: Partition) -> None:
        self._connected().execute(
            sql.SQL(statement).format(
                part=sql.Identifier(part.schema, part.name), parent=sql.Identifier(*split(self._table.name))
            )
        )


def _named(found: Iterable[Partition], name: str) -> Partition | None:
    return next((part for part in found if part.full_name == name), None)


def _bound(connection: Connection, text: str | None, kind: str) -> datetime | None:
    """A bound is the server's own literal; cast, it is an instant."""
    if text is None:
        return None
    end = readable(sql.SQL("CAST({} AS {})").format(as_sql(text), as_sql(kind)))
    return instant(one(connection, sql.SQL("SELECT {}").format(end))[0])
