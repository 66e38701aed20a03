"""The ordinary tables that rows lie in: the rule's own, or each partition of it, with the order to walk them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from databosun.domain.errors import UserFault
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.fingerprint import quote
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.statements import no_table, number, text_of, texts
from databosun.engines.postgresql.reasons import Reason

Position = tuple[str, ...]

_LEAVES: LiteralString = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_partition_tree(
       (SELECT t.oid FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS s ON s.oid = t.relnamespace
        WHERE s.nspname = {schema} AND t.relname = {name})) AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.relid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.isleaf ORDER BY 2, 3
"""
# A table that is neither partitioned nor a partition is in no tree.
_PLAIN: LiteralString = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relname = {name}
"""
_COLUMNS: LiteralString = """
SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', a.attnotnull,
       a.atttypid = 'json'::regtype
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY: LiteralString = """
SELECT (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.n)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
FROM pg_catalog.pg_index AS i WHERE i.indrelid = {oid} AND i.indisprimary AND i.indisvalid
"""
_LED: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    JOIN pg_catalog.pg_am AS m ON m.oid = x.relam
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = {oid} AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND a.attname = {column})
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    generated: bool
    not_null: bool
    json: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """One ordinary table. `walk`: the columns that its rows are walked by, the last ones its primary key."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    walk: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Quoted where needed, as SQL reads it."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def path(self) -> str:
        """As facts name tables: `schema.table`, without quotes."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)

    def type_of(self, column: str) -> sql.SQL:
        """The type of a column, to cast to."""
        return as_sql(next(one.type for one in self.columns if one.name == column))

    @property
    def definition(self) -> str:
        """SQL that makes an empty table of this shape: columns and key, nothing that needs anything else."""
        lines = [
            f"    {quote(one.name)} {one.type}{' NOT NULL' if one.not_null else ''}"
            for one in self.columns
            if not one.generated
        ]
        lines.append(f"    PRIMARY KEY ({', '.join(map(quote, self.key))})")
        return f"CREATE TABLE {self.full_name} (\n" + ",\n".join(lines) + "\n);\n"


def as_sql(text: str) -> sql.SQL:
    """The server's own word, such as a type's name, as part of a statement."""
    return sql.SQL(text)  # from the catalogue, or checked to be one expression


def leaves(connection: Connection, table: str, age: str | None) -> tuple[Shape, ...]:
    """The tables that the rows of a table lie in. UserFault where one has no key, or lies elsewhere."""
    schema, name = split(table)
    where = {"schema": sql.Literal(schema), "name": sql.Literal(name)}
    found = connection.execute(sql.SQL(_LEAVES).format(**where)).fetchall()
    found = found or connection.execute(sql.SQL(_PLAIN).format(**where)).fetchall()
    if not found:
        no_table(table)
    return tuple(_shape(connection, row, age) for row in found)


def _shape(connection: Connection, row: tuple[object, ...], age: str | None) -> Shape:
    oid, name = sql.Literal(number(row[0])), f"{row[1]}.{row[2]}"
    if row[3] != "r":
        message = f"{name} is no ordinary table of this server (kind {row[3]}); its rows are not touched"
        raise UserFault(Reason.NO_SUCH_TABLE, message)
    key = connection.execute(sql.SQL(_KEY).format(oid=oid)).fetchone()
    if key is None:
        message = f"{name} has no primary key to take rows by; add one"
        raise UserFault(Reason.NO_PRIMARY_KEY, message)
    columns = tuple(
        Column(str(one), str(kind), bool(generated), bool(not_null), bool(json))
        for one, kind, generated, not_null, json in connection.execute(sql.SQL(_COLUMNS).format(oid=oid)).fetchall()
    )
    keys = tuple(texts(key[0]))
    walk = keys
    if age is not None and age not in keys:
        led = connection.execute(sql.SQL(_LED).format(oid=oid, column=sql.Literal(age))).fetchone()
        walk = (age, *keys) if led and led[0] else keys
    return Shape(text_of(row[1]), text_of(row[2]), columns, keys, walk)
