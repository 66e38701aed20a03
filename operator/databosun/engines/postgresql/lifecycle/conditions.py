"""The condition that says which rows a rule may take: age, the rule's own words, holds. Every statement carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from psycopg import sql

from databosun.api.lifecycle import ActionType, HoldOrder
from databosun.domain.errors import UserFault
from databosun.domain.lifecycle import Child, Step, holds_of
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.shapes import as_sql
from databosun.engines.postgresql.lifecycle.statements import no_table, one, stepping, text_of
from databosun.engines.postgresql.lifecycle.subjects import is_subject
from databosun.engines.postgresql.reasons import Reason

TRUE = sql.SQL("true")
_CALLED = re.compile(r'([^\W\d][\w$]*|"(?:[^"]|"")+")\s*\(')


@dataclass(frozen=True, slots=True)
class Condition:
    """Of the rows of one table, whose alias is `alias`. `base`: old enough and matched; `held`: by any hold.

    `old`: not kept by keepNewest; `unmarked`: not anonymised before; `childless`: nothing refers to it any more.
    `alone`: what a row holds decides it, and nothing else in the server.
    """

    alias: sql.Identifier
    base: sql.Composable
    held: sql.Composable
    old: sql.Composable
    unmarked: sql.Composable
    childless: sql.Composable
    cutoff: sql.Composable | None
    alone: bool

    @property
    def all(self) -> sql.Composed:
        """What a row must be for the rule to touch it."""
        parts = [self.base, self.old, self.unmarked, self.childless, sql.SQL("NOT {}").format(self.held)]
        return sql.SQL("({})").format(sql.SQL(" AND ").join(parts))


def alias_of(table: str) -> sql.Identifier:
    """Rows are called by the name of the rule's table, so that conditions may name it, also for its partitions."""
    return sql.Identifier(split(table)[1])


def written(text: str) -> sql.Composed:
    """A condition that a person wrote, closed off: a comment at its end must not swallow what follows."""
    return sql.SQL("(\n{}\n)").format(as_sql(text))


def condition_of(
    connection: Connection, step: Step, holds: Iterable[HoldOrder], at: datetime, subject: str | None = None
) -> Condition:
    """The condition of a step. UserFault where one that a person wrote is no single expression, or is volatile."""
    found = step.table or no_table(step.rule.table)
    rule, table = step.rule, found.name
    alias = alias_of(table)
    source = source_of(table, found.kind, alias)
    own = [rule.where] if rule.where is not None else []
    held = [hold.where for hold in holds if hold.where is not None]
    for text in (*own, *held):
        demand_expression(connection, source, text)
    cutoff = step.cutoff(at)
    parts: list[sql.Composable] = [written(text) for text in own]
    if rule.subject_column is not None:
        parts.append(is_subject(found, rule.subject_column, subject or ""))
    limit = None
    if rule.column is not None and cutoff is not None:
        kind = next(one.type for one in found.columns if one.name == rule.column)
        # A date is cut off at the day, so that no day goes before it is over.
        limit = sql.SQL("CAST({}::timestamptz AS {})").format(sql.Literal(cutoff.isoformat()), as_sql(kind))
        age = sql.Identifier(split(table)[1], rule.column)
        # Before all time is no age: people write it for what they do not know.
        parts.append(sql.SQL("({a} < {c} AND pg_catalog.isfinite({a}))").format(a=age, c=limit))
    elif rule.column is not None:
        parts.append(sql.SQL("{} IS NOT NULL").format(sql.Identifier(split(table)[1], rule.column)))
    old = newest_kept(connection, step, source)
    return Condition(
        alias=alias,
        base=_and(parts),
        held=_or([sql.SQL("({} IS TRUE)").format(written(text)) for text in held]),
        old=old,
        unmarked=_unmarked(step, alias),
        childless=TRUE,
        cutoff=limit,
        alone=all(_asks_the_row_alone(connection, source, text) for text in (*own, *held)),
    )


def working_condition(connection: Connection, step: Step, scope: LifecycleScope) -> Condition:
    """The same with what the action asks besides. Archive: nothing goes along unarchived, so rows that others refer to
    wait until those are gone."""
    held = holds_of(scope.order, step, scope.at)
    condition = condition_of(connection, step, held, scope.at, scope.subject)
    waited_for = [child for child in step.children if child.goes]
    if step.rule.action is not ActionType.ARCHIVE or not waited_for:
        return condition
    return replace(condition, childless=without_children(step, waited_for), alone=False)


def source_of(table: str, kind: str, alias: sql.Identifier) -> sql.Composed:
    """The table with all its partitions, to read from."""
    only = sql.SQL("") if kind == "Partitioned" else sql.SQL("ONLY ")
    return sql.SQL("{}{} AS {}").format(only, sql.Identifier(*split(table)), alias)


def newest_kept(connection: Connection, step: Step, source: sql.Composable) -> sql.Composable:
    """The condition that keepNewest makes of the table as it is now: older than the oldest of those to keep."""
    keep, column = step.rule.limits.keep_newest, step.rule.column
    if not keep or column is None or step.table is None:
        return TRUE
    kind = next(one.type for one in step.table.columns if one.name == column)
    query = sql.SQL("SELECT {c}::text FROM {t} WHERE {c} IS NOT NULL ORDER BY {c} DESC OFFSET {n} LIMIT 1").format(
        c=sql.Identifier(split(step.table.name)[1], column), t=source, n=sql.Literal(keep - 1)
    )
    with stepping(f"looking for the newest {keep} rows of {step.table.name}"):
        found = one(connection, query)
    if not found:
        return sql.SQL("false")
    return sql.SQL("{} < {}::{}").format(
        sql.Identifier(split(step.table.name)[1], column), sql.Literal(str(found[0])), as_sql(kind)
    )


def demand_expression(connection: Connection, source: sql.Composable, text: str) -> None:
    """UserFault unless the text is one condition by itself: it must read alike with and without brackets around it."""
    with stepping(f"reading the condition {text!r}", rows=False):
        for form in (as_sql(f"\n{text}\n"), written(text)):
            # Asked for in binary, the server takes one statement and no more; else it would carry out what follows a
            # semicolon, a COMMIT and a DELETE too.
            connection.execute(sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 0").format(source, form), binary=True)
        called = _called(connection, source, text)
    if not called:
        return
    query = sql.SQL(
        "SELECT pg_catalog.array_agg(DISTINCT proname::text) FROM pg_catalog.pg_proc "
        "WHERE proname = ANY ({}::text[]) AND provolatile = 'v'"
    ).format(sql.Literal(called))
    found = one(connection, query)[0]
    if found:
        names = ", ".join(str(name) for name in found) if isinstance(found, list) else str(found)
        message = f"the condition {text!r} calls {names}, which may answer otherwise each time; a rule needs one answer"
        raise UserFault(Reason.VOLATILE_CONDITION, message)


def _asks_the_row_alone(connection: Connection, source: sql.Composable, text: str) -> bool:
    """Whether a condition can see nothing but its row: no query in it, and no function but the server's own that do not
    look around. Says no where it is in doubt, such as where a name only reads like one of these words."""
    if any(word in text.lower() for word in ("select", "table", "values")):
        return False
    query = sql.SQL(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = ANY ({}::text[]) "
        "AND (provolatile <> 'i' OR pronamespace <> 'pg_catalog'::regnamespace))"
    ).format(sql.Literal(_called(connection, source, text)))
    with stepping(f"reading the condition {text!r}", rows=False):
        return not one(connection, query)[0]


def _called(connection: Connection, source: sql.Composable, text: str) -> list[str]:
    """Names of what is called, as they are written, and as the server reads them, however they are written."""
    query = sql.SQL("EXPLAIN (VERBOSE, COSTS OFF) SELECT 1 FROM {} WHERE {}").format(source, written(text))
    plan = "\n".join(text_of(line) for (line,) in connection.execute(query, binary=True).fetchall())
    found = {*_CALLED.findall(text), *_CALLED.findall(plan)}
    return sorted(name[1:-1].replace('""', '"') if name.startswith('"') else name.lower() for name in found)


def without_children(step: Step, children: Sequence[Child]) -> sql.Composable:
    """The condition that nothing refers to a row of the step's own table by any of these keys."""
    if step.table is None:
        return TRUE
    name = split(step.table.name)[1]
    parts = [
        sql.SQL("NOT EXISTS (SELECT FROM {} AS {} WHERE {})").format(
            sql.Identifier(*split(child.table.name)),
            sql.Identifier("databosun_child"),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier("databosun_child", own), sql.Identifier(name, other))
                for own, other in zip(child.by.columns, child.by.target_columns, strict=True)
            ),
        )
        for child in children
        if child.parent == step.table.name
    ]
    return _and(parts)


def _unmarked(step: Step, alias: sql.Identifier) -> sql.Composable:
    if step.rule.mark_column is None:
        return TRUE
    return sql.SQL("{}.{} IS NULL").format(alias, sql.Identifier(step.rule.mark_column))


def _and(parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" AND ").join(parts)) if parts else TRUE


def _or(parts: Sequence[sql.Composable]) -> sql.Composable:
    return sql.SQL("({})").format(sql.SQL(" OR ").join(parts)) if parts else sql.SQL("false")
