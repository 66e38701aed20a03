"""Rows as text, made by the server: a line of JSON for everybody, a statement that loses nothing, and a hash of all.

A text that is longer than `max_allowed_packet` becomes NULL, with no more than a warning: whoever reads these
expressions takes NULL for an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.fingerprint import piece_of
from databosun.engines.mysql.lifecycle.shapes import NUMBERS, TEXTS, Column
from databosun.engines.mysql.lifecycle.statements import literal

_FLOATS = frozenset({"float", "double"})
_QUOTED = TEXTS | {"date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6", "enum", "set"}
# Of these every text is the same in UTF-8 and back.
_SAFE = frozenset({"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"})
SETTINGS = "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', foreign_key_checks = 0;\n"


def json_line(columns: Sequence[Column]) -> str:
    """One row as JSON; bytes as hexadecimal digits after `0x`."""
    parts = ["'{'"]
    for at, column in enumerate(columns):
        name = literal(("," if at else "") + json.dumps(column.name, ensure_ascii=False) + ":")
        parts.append(f"{name}, IFNULL({_json(column)}, 'null')")
    parts.append("'}', CHAR(10)")
    return f"CONCAT({', '.join(parts)})"


def insert_line(table: str, columns: Sequence[Column]) -> str:
    """One row as the statement that inserts it, without what the server computes."""
    plain = [column for column in columns if not column.generated]
    names = ", ".join(column.sql for column in plain)
    values = ", ', ', ".join(f"IFNULL({_value(column)}, 'NULL')" for column in plain)
    begin = literal(f"INSERT INTO {quote(table)} ({names}) VALUES (")  # noqa: S608 - quoted
    return f"CONCAT({begin}, {values}, ');', CHAR(10))"


def row_hash(columns: Sequence[Column]) -> str:
    """Of the exact values of all columns."""
    return f"SHA2(CONCAT({', '.join(map(_piece, columns))}), 256)"


def _piece(column: Column) -> str:
    if column.kind in _FLOATS:  # the text of a FLOAT has fewer digits than it
        return f"IFNULL(CONCAT('f', CAST({column.sql} * 1e0 AS CHAR), ';'), 'N')"
    return piece_of(column.name, column.kind, "SHA2({}, 256)")


def _json(column: Column) -> str:
    if column.kind == "json":
        return f"CAST({column.sql} AS CHAR)"
    if column.kind in _QUOTED:
        return f"JSON_QUOTE(CONVERT(CAST({column.sql} AS CHAR) USING utf8mb4))"
    return _number(column) or f"CONCAT('\"0x', HEX({column.sql}), '\"')"


def _value(column: Column) -> str:
    if column.kind in TEXTS and column.charset not in _SAFE:
        return f"CONCAT({literal(f'_{column.charset} X')}, '''', HEX({column.sql}), '''')"
    if column.kind in _QUOTED or column.kind == "json":
        return f"REPLACE(QUOTE(CONVERT(CAST({column.sql} AS CHAR) USING utf8mb4)), CHAR(10), '\\\\n')"
    return _number(column) or f"CONCAT('X''', HEX({column.sql}), '''')"


def _number(column: Column) -> str | None:
    """None: it is bytes, or something that is best told by its bytes."""
    if column.kind in _FLOATS:
        return f"CAST({column.sql} * 1e0 AS CHAR)"
    if column.kind in NUMBERS or column.kind == "bit":  # bare: ZEROFILL adds digits that JSON does not have
        return f"CAST({column.sql} + 0 AS CHAR)"
    return None
