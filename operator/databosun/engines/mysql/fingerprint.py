"""Counts and fingerprints of tables: one sum of row hashes each, independent of order, computed by the server.

A row's text is that of its columns, each with its length before it, NULL apart: what a dump writes down, so a copy that
was loaded from one has the same sum. Hashes are of MD5 or SHA-2, as the sum of CRCs does not notice values that changed
places.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.engines.mysql.connect import one, quote, rows
from databosun.engines.mysql.dialect import Dialect
from databosun.engines.mysql.faults import guarded

_BINARY = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
        "vector",
    }
)
_LONG = frozenset({"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "json"})
_COLUMNS = """
SELECT c.TABLE_SCHEMA, c.TABLE_NAME, c.COLUMN_NAME, c.DATA_TYPE FROM information_schema.COLUMNS AS c
JOIN information_schema.TABLES AS t ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME
WHERE c.TABLE_SCHEMA IN %s AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')
  AND COALESCE(c.GENERATION_EXPRESSION, '') = ''
ORDER BY c.TABLE_SCHEMA, c.TABLE_NAME, c.ORDINAL_POSITION
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns whose values a dump holds, each with its type."""

    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def full_name(self) -> str:
        """As it stands in a backup's record."""
        return f"{self.schema}.{self.name}"


def list_tables(connection: Connection[Any], schemas: Collection[str]) -> tuple[Table, ...]:
    """The tables of these schemas."""
    if not schemas:
        return ()
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    with guarded("listing tables"):
        for schema, name, column, kind in rows(connection, _COLUMNS, (tuple(schemas),)):
            found.setdefault((str(schema), str(name)), []).append((str(column), str(kind)))
    return tuple(Table(schema, name, tuple(columns)) for (schema, name), columns in found.items())


def fingerprint_query(table: Table, dialect: Dialect) -> str:
    """One row: count, and algorithm with sum."""
    mark, function = dialect.hashed
    pieces = ", ".join(piece_of(name, kind, function) for name, kind in table.columns)
    # 15 hexadecimal digits are 60 bits; the sum is a decimal, which does not overflow below 10^47 rows.
    hashed = f"CAST(CONV(LEFT({function.format(f'CONCAT({pieces})')}, 15), 16, 10) AS UNSIGNED)"
    return (
        f"SELECT COUNT(*), CONCAT('{mark}:', COALESCE(SUM({hashed}), 0)) "  # noqa: S608 - names are quoted
        f"FROM {quote(table.schema)}.{quote(table.name)}"
    )


def count_query(table: Table) -> str:
    """One row: count."""
    return f"SELECT COUNT(*) FROM {quote(table.schema)}.{quote(table.name)}"  # noqa: S608 - names are quoted


def count_objects(
    connection: Connection[Any], dialect: Dialect, tables: Iterable[Table], pulse: Callable[[], None]
) -> tuple[ObjectCount, ...]:
    """Count and hash each table in the connection's transaction; `<schema>.<table>`."""
    found = []
    for table in tables:
        pulse()
        with guarded(f"counting {table.full_name}"):
            count, fingerprint = one(connection, fingerprint_query(table, dialect))
        found.append(ObjectCount(name=table.full_name, rows=int(count), fingerprint=str(fingerprint)))
    return tuple(found)


def verify_script(tables: Iterable[Table], dialect: Dialect) -> str:
    """A script for the server's own client that prints what `expected_lines` holds, from a restored copy."""
    lines = ["SET NAMES utf8mb4;", "SET SESSION time_zone = '+00:00', SESSION sql_mode = '';"]
    for table in tables:
        name = table.full_name.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"SELECT '{name}', counted.* FROM ({fingerprint_query(table, dialect)}) AS counted;")  # noqa: S608
    return "\n".join(lines) + "\n"


def expected_lines(objects: Iterable[ObjectCount]) -> str:
    """Table, rows, fingerprint, tab-separated, in the order of `verify_script`."""
    return "".join(f"{_shown(found.name)}\t{found.rows}\t{found.fingerprint}\n" for found in objects)


def piece_of(name: str, kind: str, function: str) -> str:
    """A column's text with its length, such as a dump has it, or `N`."""
    column = quote(name)
    if kind == "bit":
        text = f"CAST({column} + 0 AS CHAR)"
    elif kind in _LONG:
        # Of its own hash: a longer text than max_allowed_packet would become NULL without a word.
        text = function.format(column)
    elif kind in _BINARY:
        text = f"HEX({column})"
    else:
        text = f"CAST({column} AS BINARY)"
    return f"IFNULL(CONCAT(OCTET_LENGTH({text}), ':', {text}), 'N')"


def _shown(name: str) -> str:
    """As the client prints it in batch mode."""
    return name.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\0", "\\0")
