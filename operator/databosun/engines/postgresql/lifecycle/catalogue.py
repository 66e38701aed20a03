"""What the catalogue says of a table: the facts that a plan's hash covers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import LiteralString

from psycopg import sql

from databosun.api.lifecycle import ColumnFact, PartitioningFact, ReferenceFact, TableFact, TriggerFact
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.statements import number, text_of, texts

MOST_TABLES = 64

_KINDS = {
    "r": "Table",
    "p": "Partitioned",
    "v": "View",
    "m": "MaterializedView",
    "f": "ForeignTable",
    "S": "Sequence",
    "c": "Type",
}
_ACTIONS = {"a": "NoAction", "r": "Restrict", "c": "Cascade", "n": "SetNull", "d": "SetDefault"}
_STRATEGIES = {"r": "Range", "l": "List", "h": "Hash"}
_DELETE, _UPDATE = 8, 16  # of pg_trigger.tgtype: src/include/catalog/pg_trigger.h

_RELATION = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text,
       CASE WHEN c.relkind = 'p' THEN (SELECT pg_catalog.bool_or(pg_catalog.row_security_active(t.relid::oid))
            FROM pg_catalog.pg_partition_tree(c.oid) AS t) ELSE pg_catalog.row_security_active(c.oid) END,
       CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(pg_catalog.array_agg(t.relid::oid::int8), '{{}}')
            FROM pg_catalog.pg_partition_tree(c.oid) AS t) ELSE ARRAY[c.oid::int8] END,
       EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid AND c.relkind = 'r')
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relname = {name}
"""
_COLUMNS = """
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       a.attgenerated <> '' OR a.attidentity = 'a',
       a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_UNIQUE = """
SELECT i.indisprimary, (SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY k.n), '{{}}')
       FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
       JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
FROM pg_catalog.pg_index AS i WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid
"""
_FOREIGN = """
SELECT coalesce(pg_catalog.array_agg(DISTINCT a.attname::text), '{{}}')
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_attribute AS a
  ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
WHERE k.contype = 'f' AND k.conrelid = {oid}
"""
_REFERENCES = """
SELECT k.conname::text, n.nspname::text || '.' || c.relname::text,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.n) FROM pg_catalog.unnest(k.conkey)
        WITH ORDINALITY AS u(attnum, n) JOIN pg_catalog.pg_attribute AS a
          ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY u.n) FROM pg_catalog.unnest(k.confkey)
        WITH ORDINALITY AS u(attnum, n) JOIN pg_catalog.pg_attribute AS a
          ON a.attrelid = k.confrelid AND a.attnum = u.attnum),
       k.confdeltype::text, k.confupdtype::text
FROM pg_catalog.pg_constraint AS k JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = ANY ({tree}::oid[]) ORDER BY 2, 1
"""
_TRIGGERS = """
SELECT t.tgname::text, n.nspname::text || '.' || c.relname::text, t.tgtype::int,
       pg_catalog.pg_get_triggerdef(t.oid) || chr(31) || p.prosrc || chr(31) || coalesce(p.probin, '')
FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE NOT t.tgisinternal AND t.tgenabled NOT IN ('D', 'R') AND t.tgparentid = 0 AND t.tgrelid = ANY ({tree}::oid[])
UNION ALL
SELECT w.rulename::text, n.nspname::text || '.' || c.relname::text,
       CASE w.ev_type WHEN '4' THEN 8 WHEN '2' THEN 16 ELSE 0 END, pg_catalog.pg_get_ruledef(w.oid)
FROM pg_catalog.pg_rewrite AS w JOIN pg_catalog.pg_class AS c ON c.oid = w.ev_class
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE w.rulename <> '_RETURN' AND w.ev_enabled NOT IN ('D', 'R') AND w.ev_class = ANY ({tree}::oid[])
ORDER BY 2, 1
"""
_PARTITIONING = """
SELECT p.partstrat::text, CASE WHEN 0 = ANY (p.partattrs::int2[]) THEN '{{}}' ELSE
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n)
        FROM pg_catalog.unnest(p.partattrs::int2[]) WITH ORDINALITY AS k(attnum, n)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = k.attnum) END
FROM pg_catalog.pg_partitioned_table AS p WHERE p.partrelid = {oid}
"""


_KIN = """
WITH RECURSIVE up(oid) AS (
    SELECT i.inhparent FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = {oid}
    UNION SELECT i.inhparent FROM pg_catalog.pg_inherits AS i JOIN up ON i.inhrelid = up.oid
), down(oid) AS (
    SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = {oid}
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN down ON i.inhparent = down.oid
)
SELECT n.nspname::text || '.' || c.relname::text
FROM (SELECT oid FROM up UNION SELECT oid FROM down) AS k
JOIN pg_catalog.pg_class AS c ON c.oid = k.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname::text || '.' || c.relname::text = ANY ({held}::text[]) OR c.relname::text = ANY ({held}::text[])
ORDER BY 1
"""
_TABLES = """
SELECT count(*) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND {name} IN (n.nspname::text || '.' || c.relname::text, c.relname::text)
"""


def split(name: str) -> tuple[str, str]:
    """Schema and table of a name as people write it; one without a schema is of `public`."""
    schema, dot, table = name.rpartition(".")
    return (schema, table) if dot else ("public", name)


def tables_of(connection: Connection, name: str, held: Sequence[str] = ()) -> list[TableFact]:
    """The table, and after it all that refer to it, and to those; empty where there is none. `held`: tables that holds
    are on, as people wrote them."""
    found: dict[str, TableFact] = {}
    waiting = [name if "." in name else f"public.{name}"]
    while waiting and len(found) < MOST_TABLES:
        wanted = waiting.pop(0)
        table = table_of(connection, wanted, held)
        if table is None or table.name in found:
            continue
        found[table.name] = table
        waiting += [one.table for one in table.references]
    return list(found.values())


def is_table(connection: Connection, name: str) -> bool:
    """Whether there is a table of a name as people write it; one without a schema may be of any."""
    found = _row(connection, _TABLES, name=sql.Literal(name))
    return found is not None and number(found[0]) > 0


def table_of(connection: Connection, name: str, held: Sequence[str] = ()) -> TableFact | None:
    """One table."""
    schema, table = split(name)
    row = _row(connection, _RELATION, schema=sql.Literal(schema), name=sql.Literal(table))
    if row is None:
        return None
    oid, tree = sql.Literal(number(row[0])), sql.Literal([int(one) for one in texts(row[5])])
    # One after the other without waiting for each: a look is taken before each chunk of rows.
    with connection.pipeline():
        keys, columns, foreign, references, triggers, partitioning, kin = (
            connection.execute(sql.SQL(query).format(oid=oid, tree=tree, held=sql.Literal(list(held))))
            for query in (_UNIQUE, _COLUMNS, _FOREIGN, _REFERENCES, _TRIGGERS, _PARTITIONING, _KIN)
        )
    primary, unique = _keys(keys.fetchall())
    return TableFact(
        name=f"{row[1]}.{row[2]}",
        kind="InheritanceParent" if row[6] else _KINDS.get(text_of(row[3]), text_of(row[3])),
        columns=[
            ColumnFact(name=str(n), type=str(t), not_null=bool(nn), generated=bool(g), time=bool(at))
            for n, t, nn, g, at in columns.fetchall()
        ],
        primary_key=primary,
        unique=unique,
        foreign_key_columns=sorted(texts(foreign.fetchall()[0][0])),
        references=[_reference(one) for one in references.fetchall()],
        triggers=[one for one in map(_trigger, triggers.fetchall()) if one.events],
        partitioning=_partitioning(partitioning.fetchone()),
        row_security=bool(row[4]),
        kin=[text_of(one) for (one,) in kin.fetchall()],
    )


def _keys(rows: Iterable[Sequence[object]]) -> tuple[list[str], list[list[str]]]:
    primary: list[str] = []
    unique: list[list[str]] = []
    for is_primary, columns in rows:
        if is_primary:
            primary = texts(columns)
        elif columns:
            unique.append(texts(columns))
    return primary, sorted(unique)


def _reference(row: Sequence[object]) -> ReferenceFact:
    return ReferenceFact(
        name=text_of(row[0]),
        table=text_of(row[1]),
        columns=texts(row[2]),
        target_columns=texts(row[3]),
        on_delete=_ACTIONS[text_of(row[4])],
        on_update=_ACTIONS[text_of(row[5])],
    )


def _trigger(row: Sequence[object]) -> TriggerFact:
    bits = number(row[2])
    return TriggerFact(
        name=text_of(row[0]),
        table=text_of(row[1]),
        events=[event for event, bit in (("DELETE", _DELETE), ("UPDATE", _UPDATE)) if bits & bit],
        definition_sha256=hashlib.sha256(text_of(row[3]).encode()).hexdigest(),
    )


def _partitioning(row: Sequence[object] | None) -> PartitioningFact | None:
    if row is None:
        return None
    return PartitioningFact(strategy=_STRATEGIES[text_of(row[0])], columns=texts(row[1]))


def _row(connection: Connection, query: LiteralString, **parts: sql.Composable) -> tuple[object, ...] | None:
    return next(iter(_rows(connection, query, **parts)), None)


def _rows(connection: Connection, query: LiteralString, **parts: sql.Composable) -> list[tuple[object, ...]]:
    return connection.execute(sql.SQL(query).format(**parts)).fetchall()
