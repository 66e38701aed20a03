"""The rows of one person. The key is told to the session once, beside a statement that does not repeat it; all others
read it from there, so that it stands in none that the server lists, counts or writes down as slow.

A key is compared byte by byte, whatever the column's collation takes for the same: the ledger finds people by a hash,
and a hash knows no collation. Rows that only the collation takes for the person's are counted, for whoever approves.
"""

from __future__ import annotations

import re
import struct
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import TableFact
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.lifecycle.shapes import BYTES, TEXTS
from databosun.engines.mysql.lifecycle.statements import literal, run, split

TOLD = "@databosun_subject"
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
_ADDRESSES = frozenset({"inet4", "inet6"})
_KIND = re.compile(r"[a-z0-9]+")
_DECIMAL = re.compile(r"decimal\(\d+,\d+\)")
_WHOLE, _DIGITS = re.compile(r"0|-?[1-9][0-9]{0,19}"), re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_HEXADECIMAL = re.compile(r"(?:[0-9A-F]{2})*")
# Of the protocol: prepare a statement, execute it, forget it; and the type of a parameter that is a text.
_PREPARE, _EXECUTE, _CLOSE, _TEXT = 0x16, 0x17, 0x19, 0xFD


@dataclass(frozen=True, slots=True)
class Subject:
    """One person in one column. `told`: the key as a value of the column; `match`: the condition that a row is the
    person's; `alike`: that it is not, and that the column's collation takes it for theirs; None where there is none."""

    column: str
    told: str
    match: str
    alike: str | None = None


def tell_subject(connection: Connection[Any], subject: str) -> None:
    """For all that this session does. The driver would write the value into the statement; the server's own protocol
    sends it apart."""
    connection._execute_command(_PREPARE, f"SET {TOLD} = ?")
    statement, columns, parameters = struct.unpack("<xIHH", connection._read_packet().get_all_data()[:9])
    for many in (columns, parameters):
        for _ in range(many + 1 if many else 0):  # each, and the mark of their end
            connection._read_packet()
    value = subject.encode()
    bound = struct.pack("<IBIBBBB", statement, 0, 1, 0, 1, _TEXT, 0)  # one, not NULL, of this type
    connection._execute_command(_EXECUTE, bound + _length(len(value)) + value)
    connection._read_packet()
    connection._execute_command(_CLOSE, struct.pack("<I", statement))  # which has no answer


def subject_in(connection: Connection[Any], table: TableFact, column: str, subject: str) -> Subject:
    """Compared by the column's own type, so that an index serves, and as text besides. What cannot be of the type is
    said here, and not by the server."""
    kind = next(one.type for one in table.columns if one.name == column)
    bare = bare_kind(kind)
    if not is_findable(kind) or not _reads(kind, subject):
        message = (
            f"{table.name}.{column} is of type {kind}, and the subject's key in the Secret cannot be read as one; a key"
            " is a text, a whole or decimal number, a uuid in lower case, an address, or bytes as HEX() writes them"
        )
        raise UserFault(Reason.SUBJECT_DOES_NOT_FIT, message)
    here = f"{quote(split(table.name)[1])}.{quote(column)}"
    same = f"CAST({text_of(here, kind)} AS BINARY) = CAST({TOLD} AS BINARY)"
    if bare in TEXTS:
        told = _as_text(connection, table, column)
        return Subject(column, told, f"({here} = {told} AND {same})", f"({here} = {told} AND NOT {same})")
    told = _as_value(kind)
    return Subject(column, told, f"({here} = {told} AND {same})")


def is_findable(kind: str) -> bool:
    """Whether values of a type are written in one way only, so that a hash finds them."""
    return bare_kind(kind) in TEXTS | BYTES | _BITS.keys() | _ADDRESSES | {"decimal", "uuid"}


def bare_kind(kind: str) -> str:
    """`int` of `int(10) unsigned zerofill`."""
    found = _KIND.match(kind)
    return found[0] if found else kind


def text_of(here: str, kind: str) -> str:
    """SQL of a value as a key is written: bytes as hexadecimal digits, numbers without zeros before them."""
    bare = bare_kind(kind)
    if bare in TEXTS:
        return f"CONVERT({here} USING utf8mb4)"
    if bare in BYTES:
        return f"HEX({here})"
    return f"CAST({here} + 0 AS CHAR)" if bare in _BITS or bare == "decimal" else f"CAST({here} AS CHAR)"


def _as_text(connection: Connection[Any], table: TableFact, column: str) -> str:
    """In the column's own characters and order: of two with one rank the server would not know which to take."""
    schema, name = split(table.name)
    (charset, collation), *_ = run(
        connection,
        "SELECT c.CHARACTER_SET_NAME, c.COLLATION_NAME FROM information_schema.COLUMNS AS c"  # noqa: S608 - literals
        f" WHERE c.TABLE_SCHEMA = {literal(schema)} AND c.TABLE_NAME = {literal(name)}"
        f" AND c.COLUMN_NAME = {literal(column)}",
    )
    return f"CONVERT({TOLD} USING {charset}) COLLATE {collation}"


def _as_value(kind: str) -> str:
    bare = bare_kind(kind)
    if bare in BYTES:
        return f"UNHEX({TOLD})"
    if bare in _BITS:
        return f"CAST({TOLD} AS {'UNSIGNED' if 'unsigned' in kind else 'SIGNED'})"
    sized = _DECIMAL.match(kind)
    return f"CAST({TOLD} AS {sized[0] if sized else bare.upper()})"


def _reads(kind: str, subject: str) -> bool:
    """Whether a key can be the text of a value of a type."""
    bare = bare_kind(kind)
    if bare in _BITS:
        bits = _BITS[bare]
        low, high = (0, 1 << bits) if "unsigned" in kind else (-(1 << (bits - 1)), 1 << (bits - 1))
        return _WHOLE.fullmatch(subject) is not None and low <= int(subject) < high
    if bare == "uuid":
        with suppress(ValueError):
            return str(uuid.UUID(subject)) == subject
        return False
    if bare in BYTES:
        return _HEXADECIMAL.fullmatch(subject) is not None
    return bare != "decimal" or _DIGITS.fullmatch(subject) is not None


def _length(size: int) -> bytes:
    """As the protocol writes lengths; a Secret is smaller than what needs more than three bytes."""
    return (
        bytes([size])
        if size < 251
        else b"\xfc" + struct.pack("<H", size)
        if size < 1 << 16
        else (b"\xfd" + struct.pack("<I", size)[:3])
    )
