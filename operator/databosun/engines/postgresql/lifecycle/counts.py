"""Count what a rule would do right now. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import ActionType, RuleCounts
from databosun.domain.lifecycle import Child, Step
from databosun.engines.lifecycle import hash_key
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.conditions import Condition, source_of
from databosun.engines.postgresql.lifecycle.statements import number, one

SAMPLES = 10
# A row's size takes longer to say than all else of it: asked for in the same query, if only of a few, it would be put
# together of every one.
MEASURED = 2  # percent of the blocks


def instant(value: object) -> datetime | None:
    """A date or an instant of the server, as an instant in UTC; NULL and infinities are none."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return datetime.combine(value, time.min, UTC) if isinstance(value, date) else None


def age_of(step: Step) -> sql.Composable:
    """The column that the age of a row is read from."""
    if step.rule.column is None or step.table is None:
        return sql.SQL("NULL::timestamptz")
    return sql.Identifier(split(step.table.name)[1], step.rule.column)


def readable(age: sql.Composable) -> sql.Composed:
    """A date or an instant as the driver reads it: it knows the years from 1 to 9999, and no infinity."""
    return sql.SQL(
        "CASE WHEN pg_catalog.isfinite({a}) THEN least(greatest({a}, '0001-01-02'), '9999-12-30') END"
    ).format(a=age)


def count(connection: Connection, step: Step, condition: Condition, key: bytes | None) -> RuleCounts:
    """One pass over the table, and one over each child."""
    if step.table is None:
        return RuleCounts()
    source = source_of(step.table.name, step.table.kind, condition.alias)
    ready = sql.SQL("({} AND {} AND {})").format(condition.base, condition.unmarked, condition.childless)
    row = one(
        connection,
        sql.SQL(
            "SELECT count(*), count(*) FILTER (WHERE {all}), count(*) FILTER (WHERE {ready} AND {old} AND {held}), "
            "count(*) FILTER (WHERE {ready} AND ({old}) IS NOT TRUE AND NOT {held}), "
            "{oldest}, {newest}, {inflow} FROM {source}"
        ).format(
            inflow=_inflow(step, condition),
            all=condition.all,
            ready=ready,
            old=condition.old,
            held=condition.held,
            oldest=outermost("min", step, condition),
            newest=outermost("max", step, condition),
            source=source,
        ),
    )
    eligible = number(row[1])
    samples, average = _samples(connection, step, condition, source, key) if eligible else ([], 0)
    size = _size(connection, condition, source) or average if eligible else 0
    return RuleCounts(
        rows=number(row[0]),
        eligible=eligible,
        held=number(row[2]),
        kept_newest=number(row[3]),
        oldest=instant(row[4]),
        newest=instant(row[5]),
        bytes=eligible * size,
        inflow_per_day=number(row[6]),
        children=_children(connection, step, condition, source) if eligible else {},
        samples=samples,
    )


def _size(connection: Connection, condition: Condition, source: sql.Composable) -> int:
    """Of a row that is due, on average of some blocks, always the same; 0 where none of these has any."""
    query = sql.SQL(
        "SELECT avg(pg_catalog.pg_column_size({}.*))::int8 FROM {} TABLESAMPLE SYSTEM ({}) REPEATABLE (1) WHERE {}"
    ).format(condition.alias, source, sql.Literal(MEASURED), condition.all)
    return number(one(connection, query)[0])


def _inflow(step: Step, condition: Condition) -> sql.Composable:
    """Rows whose age passes the limit in the day that comes, whatever else the rule asks of them by then."""
    if condition.cutoff is None:
        return sql.SQL("0")
    # The day that comes is worked out once, in a query of its own.
    return sql.SQL("count(*) FILTER (WHERE {age} >= {cut} AND {age} < (SELECT {cut} + interval '1 day'))").format(
        age=age_of(step), cut=condition.cutoff
    )


def outermost(which: LiteralString, step: Step, condition: Condition) -> sql.Composed:
    """The oldest or the newest age of those that are due. What the limit of the age lets through has an end, so that it
    need be made readable once only."""
    age = age_of(step)
    if condition.cutoff is None:
        return sql.SQL("{}({}) FILTER (WHERE {})").format(sql.SQL(which), readable(age), condition.all)
    return readable(sql.SQL("{}({}) FILTER (WHERE {})").format(sql.SQL(which), age, condition.all))


def _children(connection: Connection, step: Step, condition: Condition, source: sql.Composable) -> dict[str, int]:
    """Rows of other tables that go along."""
    if step.rule.action in (ActionType.ANONYMIZE, ActionType.ARCHIVE) or step.table is None:
        return {}
    root = sql.SQL("SELECT * FROM {} WHERE {}").format(source, condition.all)
    found: dict[str, int] = {}
    for child in step.children:
        if child.goes:
            query = sql.SQL("SELECT count(*) FROM {} AS databosun_child WHERE {}").format(
                sql.Identifier(*split(child.table.name)), along(step, child, root)
            )
            found[child.table.name] = found.get(child.table.name, 0) + number(one(connection, query)[0])
    return found


def along(step: Step, child: Child, root: sql.Composable) -> sql.Composable:
    """The condition that a child's row refers, in the end, to a row of `root`, a query on the rule's table."""
    if step.table is None:
        return sql.SQL("false")
    if child.parent == step.table.name:
        above: sql.Composable = root
    else:
        paths = [along(step, one, root) for one in step.children if one.goes and one.table.name == child.parent]
        above = sql.SQL("SELECT * FROM {} AS databosun_child WHERE {}").format(
            sql.Identifier(*split(child.parent)), sql.SQL(" OR ").join(paths)
        )
    return sql.SQL("({own}) IN (SELECT {other} FROM ({above}) AS databosun_parent)").format(
        own=_names("databosun_child", child.by.columns),
        other=_names("databosun_parent", child.by.target_columns),
        above=above,
    )


def _samples(
    connection: Connection, step: Step, condition: Condition, source: sql.Composable, key: bytes | None
) -> tuple[list[str], int]:
    """Keyed hashes of a few rows that are due, and how large these are on average."""
    named = step.table.primary_key if step.table is not None and key is not None else []
    query = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT {}").format(
        sql.SQL(", ").join(
            [
                sql.SQL("pg_catalog.pg_column_size({}.*)").format(condition.alias),
                *(sql.SQL("{}.{}::text").format(condition.alias, sql.Identifier(name)) for name in named),
            ]
        ),
        source,
        condition.all,
        sql.Literal(SAMPLES),
    )
    found = connection.execute(query).fetchall()
    hashes = sorted(hash_key(key or b"", [str(part) for part in row[1:]]) for row in found) if named else []
    return hashes, sum(number(row[0]) for row in found) // max(1, len(found))


def _names(alias: str, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in columns)
