"""Count what a rule would do right now. Reads only."""

from __future__ import annotations

from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import ActionType, RuleCounts
from databosun.domain.lifecycle import Child, Step
from databosun.engines.lifecycle import Left, hash_key
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.lifecycle.conditions import Condition, age_of
from databosun.engines.mysql.lifecycle.shapes import Shape
from databosun.engines.mysql.lifecycle.statements import ask, instant, literal, named, no_table, number, run, split

SAMPLES = 10


def count(
    connection: Connection[Any], step: Step, condition: Condition, shape: Shape | None, key: bytes | None
) -> RuleCounts:
    """One pass over the table, and one over each child. `shape`: None where the table has no key."""
    table = step.table or no_table(step.rule.table)
    age = age_of(step)
    ready = f"({condition.base} AND {condition.unmarked} AND {condition.childless})"
    query = f"""
SELECT COUNT(*), SUM(c.whole), SUM(c.ready AND c.old AND c.held), SUM(c.ready AND NOT c.old AND NOT c.held),
       MIN(IF(c.whole, c.age, NULL)), MAX(IF(c.whole, c.age, NULL))
FROM (SELECT ({condition.all}) IS TRUE AS whole, {ready} IS TRUE AS ready, ({condition.old}) IS TRUE AS old,
             ({condition.held}) IS TRUE AS held, {age} AS age
      FROM {named(table.name)}) AS c
"""  # noqa: S608 - quoted, and conditions that were read
    row = ask(connection, query, condition.words)[0]
    eligible = number(row[1])
    return RuleCounts(
        rows=number(row[0]),
        eligible=eligible,
        held=number(row[2]),
        kept_newest=number(row[3]),
        oldest=instant(row[4]),
        newest=instant(row[5]),
        bytes=eligible * number(_sizes(connection, table.name, "t.DATA_LENGTH")) // max(1, number(row[0])),
        inflow_per_day=_inflow(connection, step, condition),
        children=_children(connection, step, condition) if eligible else {},
        samples=_samples(connection, condition, shape, key) if shape is not None and key is not None else [],
        alike=_alike(connection, table.name, condition),
    )


def count_left(connection: Connection[Any], step: Step, condition: Condition) -> Left:
    """What the condition matches now."""
    table = step.table or no_table(step.rule.table)
    query = f"SELECT COUNT(*), MIN({age_of(step)}) FROM {named(table.name)} WHERE {condition.all}"  # noqa: S608 - quoted
    row = ask(connection, query, condition.words)[0]
    return Left(number(row[0]), instant(row[1]))


def table_bytes(connection: Connection[Any], table: str) -> int:
    """Of a table with its indexes, as the server counts it."""
    found = _sizes(connection, table, "t.DATA_LENGTH + t.INDEX_LENGTH")
    return number(found)


def alias(depth: int) -> str:
    """What a child is called in `along`, at depth 0, and what is above it."""
    return f"databosun_{depth}"


def along(step: Step, child: Child, rows: str) -> str:
    """The condition that a child's row refers, in the end, to a row of the rule's table for which `rows` holds."""
    return _along(step, child, rows, 0)


def _along(step: Step, child: Child, rows: str, depth: int) -> str:
    table = step.table or no_table(step.rule.table)
    whole = child.parent == table.name  # the rule's own table keeps its name: conditions may have it
    here, parent = alias(depth), quote(split(table.name)[1]) if whole else alias(depth + 1)
    same = " AND ".join(
        f"{here}.{quote(own)} = {parent}.{quote(other)}"
        for own, other in zip(child.by.columns, child.by.target_columns, strict=True)
    )
    over = [one for one in step.children if one.goes and one.table.name == child.parent]
    above = rows if whole else "(" + " OR ".join(_along(step, one, rows, depth + 1) for one in over) + ")"
    return f"EXISTS (SELECT 1 FROM {named(child.parent)} AS {parent} WHERE {same} AND {above})"  # noqa: S608 - quoted


def _sizes(connection: Connection[Any], table: str, what: str) -> object:
    schema, name = split(table)
    found = run(
        connection,
        f"SELECT {what} FROM information_schema.TABLES AS t "  # noqa: S608 - a column of ours
        f"WHERE t.TABLE_SCHEMA = {literal(schema)} AND t.TABLE_NAME = {literal(name)}",
    )
    return found[0][0] if found else None


def _inflow(connection: Connection[Any], step: Step, condition: Condition) -> int:
    """Rows whose age passes the limit in the day that comes, whatever else the rule asks of them by then."""
    if condition.cutoff is None or step.table is None:
        return 0
    age = age_of(step)
    query = (
        f"SELECT COUNT(*) FROM {named(step.table.name)} WHERE {age} >= {condition.cutoff} "  # noqa: S608 - quoted
        f"AND {age} < {condition.cutoff} + INTERVAL 1 DAY"
    )
    return number(run(connection, query)[0][0])


def _children(connection: Connection[Any], step: Step, condition: Condition) -> dict[str, int]:
    """Rows of other tables that go along."""
    if step.rule.action in (ActionType.ANONYMIZE, ActionType.ARCHIVE):
        return {}
    found: dict[str, int] = {}
    for child in step.children:
        if child.goes:
            query = (
                f"SELECT COUNT(*) FROM {named(child.table.name)} AS {alias(0)} "  # noqa: S608 - quoted
                f"WHERE {along(step, child, condition.all)}"
            )
            found[child.table.name] = found.get(child.table.name, 0) + number(run(connection, query)[0][0])
    return found


def _alike(connection: Connection[Any], table: str, condition: Condition) -> int:
    subject = condition.subject
    if subject is None or subject.alike is None:
        return 0
    return number(run(connection, f"SELECT COUNT(*) FROM {named(table)} WHERE {subject.alike}")[0][0])  # noqa: S608


def _samples(connection: Connection[Any], condition: Condition, shape: Shape, key: bytes) -> list[str]:
    shown = ", ".join(column.shown for column in shape.key)
    query = f"SELECT {shown} FROM {shape.sql} WHERE {condition.all} LIMIT {SAMPLES}"  # noqa: S608 - quoted
    return sorted(hash_key(key, [str(part) for part in row]) for row in run(connection, query))
