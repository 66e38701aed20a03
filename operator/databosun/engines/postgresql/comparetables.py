"""Tables as a comparison sees them, and the two queries that it asks of either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.fingerprint import quote

_SHAPES = """
SELECT n.nspname::text, c.relname::text, c.relpersistence = 'u',
       (SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}')
        FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT coalesce(pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum), '{}')
        FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT coalesce(pg_catalog.array_agg(a.attname::text ORDER BY a.attnum), '{}')
        FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a
          ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = c.oid AND i.indisprimary)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A table: its columns with their types, and the columns of its primary key with theirs."""

    schema: str
    name: str
    unlogged: bool
    columns: tuple[tuple[str, str], ...]
    key: tuple[tuple[str, str], ...]

    @property
    def full_name(self) -> str:
        """Quoted where needed, as SQL reads it."""
        return f"{quote(self.schema)}.{quote(self.name)}"


def list_shapes(connection: Connection) -> tuple[Shape, ...]:
    """The ordinary tables of this database that no extension owns; partitions are tables of their own."""
    found = []
    for schema, name, unlogged, columns, types, key in connection.execute(_SHAPES).fetchall():
        pairs = tuple(zip(_texts(columns), _texts(types), strict=True))
        keyed = tuple(pair for pair in pairs if pair[0] in _texts(key))
        found.append(Shape(str(schema), str(name), bool(unlogged), pairs, keyed))
    return tuple(found)


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def bucket_query(
    table: Shape, columns: Sequence[tuple[str, str]], key: Sequence[tuple[str, str]], parts: int, *, portable: bool
) -> sql.Composed:
    """Part, rows, sum of row hashes; parts are made by the hash of the key, where there is none by that of the row."""
    return sql.SQL("SELECT k & {last}, count(*), sum(h::numeric) FROM ({rows}) AS s GROUP BY 1").format(
        last=sql.Literal(parts - 1), rows=_hashed(table, columns, key, portable=portable)
    )


def row_query(
    table: Shape, columns: Sequence[tuple[str, str]], key: Sequence[tuple[str, str]], parts: int, *, portable: bool
) -> sql.Composed:
    """Hash of the key and of the row, of every row in the parts that are given as an array."""
    return sql.SQL("SELECT k, h FROM ({rows}) AS s WHERE (k & {last}) = ANY (%s::bigint[])").format(
        last=sql.Literal(parts - 1), rows=_hashed(table, columns, key, portable=portable)
    )


def _hashed(
    table: Shape, columns: Sequence[tuple[str, str]], key: Sequence[tuple[str, str]], *, portable: bool
) -> sql.Composed:
    row = _hash(columns, portable=portable)
    return sql.SQL("SELECT {key} AS k, {row} AS h FROM ONLY {table} AS t").format(
        key=_hash(key, portable=portable) if key else row,
        row=row,
        table=sql.Identifier(table.schema, table.name),
    )


def _hash(columns: Sequence[tuple[str, str]], *, portable: bool) -> sql.Composed:
    """Of the text form, under fixed settings. Across major versions only md5 is the same by promise."""
    names = sql.SQL(", ").join(sql.Identifier("t", name) for name, _ in columns)
    text = sql.SQL("ROW({})::text").format(names)
    if portable:
        return sql.SQL("('x' || substr(pg_catalog.md5({}), 1, 16))::bit(64)::bigint").format(text)
    return sql.SQL("pg_catalog.hashtextextended({}, 0)").format(text)
