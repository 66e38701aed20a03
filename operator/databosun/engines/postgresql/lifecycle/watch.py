"""Whether what a rule stands on is still what it was when work on it began: asked in every step that changes rows.

A step holds locks that keep triggers, keys and rewrite rules from being added before it is committed, and so does what
it took along. So what is asked at its end, before it is committed, holds for all that it did. Nothing keeps a function
or a view from being replaced, and put back: only a step in which none was, from what was asked before it to its end, is
committed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from psycopg import sql

from databosun.domain.lifecycle import UNKNOWN, Step
from databosun.engines.lifecycle import Definitions, LifecycleScope, RuleFault, Trouble, plan_changed
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.calls import mark_calls, words_of
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.statements import no_table, one
from databosun.engines.postgresql.reasons import Reason

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


def watch_of(
    connected: Callable[[], Connection], step: Step, scope: LifecycleScope, definitions: Callable[[], Definitions]
) -> Watch:
    """Of a step whose table is known."""
    table = step.table or no_table(step.rule.table)
    calls = bool(words_of(step.rule, scope.order.holds, [table])) or any(
        one.triggers for one in (table, *(child.table for child in step.children))
    )
    return Watch(connected, step, table.name, definitions, calls=calls)


class Watch:
    """Of one rule. `definitions`: reads what it stands on anew; `calls`: whether functions and views may be called.
    `fires`: whether triggers or rewrite rules do."""

    def __init__(
        self,
        connected: Callable[[], Connection],
        step: Step,
        table: str,
        definitions: Callable[[], Definitions],
        *,
        calls: bool,
    ) -> None:
        self._connected = connected
        self._table = table
        self._children = sorted({child.table.name for child in step.children if child.table.kind != UNKNOWN})
        self._children_go = any(child.goes for child in step.children)
        self.fires = step.table is not None and bool(step.table.triggers)
        self._definitions = definitions
        self._calls = calls
        self._known = definitions()
        self._marks: dict[str, tuple[object, ...]] = {}

    @property
    def plain(self) -> bool:
        """Whether nothing goes along with a row, nothing fires, and nothing of people's own is called."""
        return not (self._children_go or self.fires or self._known.calls)

    def begin(self, leaf: str) -> None:
        """At the start of a step on one table, `schema.table`. SafetyStop(PlanChanged) where it is another by now."""
        if leaf not in self._marks:
            self._look(leaf, self._mark(leaf))

    def demand_same(self, leaf: str) -> None:
        """At the end of the step. SafetyStop(PlanChanged) takes back what the step did, and so does RuleFault where
        something was touched meanwhile, though it is the same: the step is done again."""
        mark = self._mark(leaf)
        if mark == self._marks[leaf]:
            return
        self._look(leaf, mark)
        message = f"what {self._table} or its rule stands on was touched in the middle of a step, which is done again"
        raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.BUSY)

    def _look(self, leaf: str, mark: tuple[object, ...]) -> None:
        now = self._definitions()
        if not mark[0] or now != self._known:
            raise plan_changed(self._table, self._known, now)
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
        called = mark_calls(self._connected()) if self._calls else ()
        return (*one(self._connected(), query), *called)
