"""What a rule's action needs and the login has not been granted, as the SQL that grants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import BY_PARTITION, DELETING, UNKNOWN, Step, needs_deleting_first
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.statements import text_of

MOST_GRANTS = 12
_OWNER = "OWNER"

# The table itself, and the tables that its rows lie in: statements go to each of those by its name.
_PARTS: LiteralString = """
WITH root AS (
    SELECT c.oid FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relname = {name}
)
SELECT n.nspname::text || '.' || c.relname::text
FROM (SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits AS i JOIN root ON i.inhparent = root.oid WHERE {direct}
      UNION ALL SELECT t.relid FROM root, pg_catalog.pg_partition_tree(root.oid) AS t
      WHERE NOT {direct} AND t.isleaf) AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
"""
# Rows are locked before they go, which whoever may update any column of theirs may do.
_MISSING: LiteralString = """
WITH wanted AS (
    SELECT DISTINCT n.oid AS schema, n.nspname, c.oid, c.relname, c.relowner, w.privilege, w.col
    FROM unnest({schemas}::text[], {names}::text[], {privileges}::text[], {columns}::text[])
        AS w(schema, name, privilege, col)
    JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.schema
    JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.name
), lacking AS (
    SELECT w.* FROM wanted AS w WHERE NOT CASE
        WHEN w.privilege = 'OWNER' THEN pg_catalog.pg_has_role(w.relowner, 'USAGE')
        WHEN w.col <> '' THEN pg_catalog.has_column_privilege(w.oid, w.col, w.privilege)
        WHEN w.privilege = 'UPDATE' THEN pg_catalog.has_any_column_privilege(w.oid, 'UPDATE')
        ELSE pg_catalog.has_table_privilege(w.oid, w.privilege) END
)
SELECT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %I;', nspname, current_user) AS command, true AS reads
FROM wanted WHERE NOT pg_catalog.has_schema_privilege(schema, 'USAGE') GROUP BY nspname
UNION ALL
SELECT pg_catalog.format('ALTER TABLE %I.%I OWNER TO %I;', nspname, relname, current_user), false
FROM lacking WHERE privilege = 'OWNER'
UNION ALL
SELECT pg_catalog.format('GRANT %s ON %I.%I TO %I;',
           pg_catalog.string_agg(privilege || CASE WHEN col <> '' THEN pg_catalog.format(' (%I)', col) ELSE '' END,
                                 ', ' ORDER BY privilege DESC, col),
           nspname, relname, current_user), pg_catalog.bool_or(privilege = 'SELECT')
FROM lacking WHERE privilege <> 'OWNER' GROUP BY nspname, relname
ORDER BY reads DESC, command
"""


@dataclass(frozen=True, slots=True)
class Lacking:
    """`commands`: what whoever owns the tables has to run, the first few. `reads`: rows cannot even be counted."""

    commands: list[str]
    reads: bool


def lacking(connection: Connection, step: Step) -> Lacking:
    """What the login lacks for one rule."""
    wanted = [(*split(table), privilege, column) for table, privilege, column in _wanted(connection, step)]
    schemas, names, privileges, columns = (list(part) for part in zip(*wanted, strict=True))
    query = sql.SQL(_MISSING).format(
        schemas=sql.Literal(schemas),
        names=sql.Literal(names),
        privileges=sql.Literal(privileges),
        columns=sql.Literal(columns),
    )
    found = connection.execute(query).fetchall()
    return Lacking([text_of(command) for command, _ in found[:MOST_GRANTS]], any(reads for _, reads in found))


def _wanted(connection: Connection, step: Step) -> Iterator[tuple[str, str, str]]:
    """Table, privilege, and the column that it is about, if it is about one."""
    rule, table = step.rule, step.table
    if table is None:
        return
    yield table.name, "SELECT", ""
    if rule.action is ActionType.DETACH_PARTITION:
        yield table.name, _OWNER, ""
    known = {column.name for column in table.columns}
    overwritten = [name for name in (*(mask.column for mask in rule.masks), rule.mark_column) if name in known]
    for part in _parts(connection, table.name, direct=rule.action in BY_PARTITION) or [table.name]:
        yield part, "SELECT", ""
        if rule.action is ActionType.DROP_PARTITION:
            yield part, _OWNER, ""
        elif rule.action in DELETING:
            yield part, "UPDATE", ""
            yield part, "DELETE", ""
        for name in overwritten:
            yield part, "UPDATE", name or ""
    for child in step.children if rule.action in DELETING else ():
        if child.goes and child.table.kind != UNKNOWN:
            yield child.table.name, "SELECT", ""
            if needs_deleting_first(rule, child) and rule.action is not ActionType.ARCHIVE:
                yield child.table.name, "DELETE", ""


def _parts(connection: Connection, table: str, *, direct: bool) -> list[str]:
    schema, name = split(table)
    query = sql.SQL(_PARTS).format(schema=sql.Literal(schema), name=sql.Literal(name), direct=sql.Literal(direct))
    return [text_of(row[0]) for row in connection.execute(query).fetchall()]
