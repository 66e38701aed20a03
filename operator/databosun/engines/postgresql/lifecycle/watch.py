"""Whether the tables of a rule are still what they were when work on it began: asked in every step that changes rows.

A step holds locks that keep triggers, keys and rewrite rules from being added before it is committed, and so does what
it took along. So what is asked at its end, before it is committed, holds for all that it did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import TableFact
from databosun.domain.lifecycle import UNKNOWN, Step
from databosun.engines.lifecycle import plan_changed
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.shapes import Shape
from databosun.engines.postgresql.lifecycle.statements import one

# A foreign key that refers to a table puts triggers on it. What was changed has another xmin. Cheap, and says too much
# rather than too little: where it differs the definitions are compared.
_MARK: LiteralString = """
WITH named AS (
    SELECT c.oid, w.name = {leaf} AS leaf, w.name = {table} AS root
    FROM unnest({schemas}::text[], {tables}::text[], {names}::text[]) AS w(schema, "table", name)
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w."table"
), tree AS (
    SELECT oid FROM named
    UNION SELECT t.relid FROM named, pg_catalog.pg_partition_tree(named.oid) AS t WHERE NOT named.root
)
SELECT EXISTS (SELECT FROM named WHERE leaf AND root) OR EXISTS (
           SELECT FROM named AS l, named AS r, pg_catalog.pg_partition_ancestors(l.oid) AS a
           WHERE l.leaf AND r.root AND a.relid = r.oid),
       (SELECT pg_catalog.string_agg(pg_catalog.concat_ws('/', t.oid, t.xmin, p.xmin), ',' ORDER BY t.oid)
        FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid IN (SELECT oid FROM tree)),
       (SELECT pg_catalog.string_agg(pg_catalog.concat_ws('/', w.oid, w.xmin), ',' ORDER BY w.oid)
        FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class IN (SELECT oid FROM tree))
"""


class Watch:
    """Of one rule. `tables`: reads their definitions anew."""

    def __init__(
        self, connected: Callable[[], Connection], step: Step, table: str, tables: Callable[[], list[TableFact]]
    ) -> None:
        self._connected = connected
        self._table = table
        self._children = sorted({child.table.name for child in step.children if child.table.kind != UNKNOWN})
        self._tables = tables
        self._known = tables()
        self._marks: dict[str, tuple[object, ...]] = {}

    def demand_same(self, shape: Shape) -> None:
        """At the end of a step on one table. SafetyStop(PlanChanged) takes back what the step did."""
        leaf = f"{shape.schema}.{shape.name}"
        mark = self._mark(leaf)
        if mark == self._marks.get(leaf):
            return
        if not mark[0] or self._tables() != self._known:
            raise plan_changed(self._table)
        self._marks[leaf] = mark

    def _mark(self, leaf: str) -> tuple[object, ...]:
        names = list(dict.fromkeys([self._table, leaf, *self._children]))
        schemas, tables = zip(*map(split, names), strict=True)
        query = sql.SQL(_MARK).format(
            leaf=sql.Literal(leaf),
            table=sql.Literal(self._table),
            schemas=sql.Literal(list(schemas)),
            tables=sql.Literal(list(tables)),
            names=sql.Literal(names),
        )
        return one(self._connected(), query)
