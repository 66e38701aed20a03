"""A table as its rows are walked: its columns, a key, and the index to go along; values as text, and back as SQL.

A key's column is written as the server compares it: numbers bare, or they would be compared as approximate ones; bytes
in hexadecimal digits; members of ENUM and SET by number, which is how they are sorted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from databosun.api.v1alpha1.reasons import Reason
from databosun.engines.lifecycle import Key, RuleFault, Trouble
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.lifecycle.statements import literal, named, split

Position = tuple[str, ...]

NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year"})
_COUNTED = frozenset({"bit", "enum", "set"})
BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
TIMES = frozenset({"date", "datetime", "timestamp"})
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_PLAIN = TIMES | {"time", "uuid", "inet4", "inet6"}
KEYABLE = NUMBERS | _COUNTED | BYTES | TEXTS | _PLAIN  # of others, equal values may be written in several ways
_DIGITS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `kind`: the bare type. `stamped`: the server writes the instant of any change into it.
    `told`: SQL of the one value that rows have in it which are worked on, where no statement may repeat that."""

    name: str
    kind: str
    type: str
    generated: bool
    not_null: bool
    charset: str | None = None
    collation: str | None = None
    stamped: bool = False
    told: str | None = None

    @property
    def sql(self) -> str:
        """In a statement."""
        return quote(self.name)

    @property
    def shown(self) -> str:
        """Its value as text: what `literal_of` takes."""
        if self.kind in _COUNTED:
            return f"CAST({self.sql} + 0 AS CHAR)"
        if self.kind in BYTES:
            return f"HEX({self.sql})"
        return f"CONVERT({self.sql} USING utf8mb4)" if self.kind in TEXTS else f"CAST({self.sql} AS CHAR)"

    def literal_of(self, value: str) -> str:
        """SQL of a value that was shown."""
        if self.told is not None:
            return self.told
        if self.kind in NUMBERS | _COUNTED:
            if not _DIGITS.fullmatch(value):
                message = f"the key column {self.name} is of type {self.type} and reads {value!r}, which is no number"
                raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.PERMANENT)
            return value
        return f"X'{value}'" if self.kind in BYTES else literal(value)


@dataclass(frozen=True, slots=True)
class Shape:
    """One table. `walk`: the columns that its rows are walked by, the last ones its key. `index`: sorted like
    that; `unique`: the one of the key."""

    table: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]
    walk: tuple[Column, ...]
    index: str
    unique: str

    @property
    def name(self) -> str:
        """Without the schema, as conditions call it."""
        return split(self.table)[1]

    @property
    def sql(self) -> str:
        """In a statement."""
        return named(self.table)

    def column(self, name: str) -> Column:
        """By its name, whatever the case of its letters."""
        return next(one for one in self.columns if one.name.lower() == name.lower())

    def telling(self, name: str, told: str) -> Shape:
        """The same, where all rows that are worked on have one value in a column, which no statement may repeat."""

        def one(column: Column) -> Column:
            return replace(column, told=told) if column.name == name else column

        columns, key, walk = (tuple(map(one, some)) for some in (self.columns, self.key, self.walk))
        return replace(self, columns=columns, key=key, walk=walk)

    def key_of(self, walked: Sequence[str]) -> Key:
        """The key of a row by its walk columns."""
        return tuple(walked[len(self.walk) - len(self.key) :])

    def is_one_of(self, keys: Iterable[Key]) -> str:
        """The condition that a row has one of these keys, which the server answers by the key's index."""
        if len(self.key) == 1:
            (column,) = self.key
            return f"{column.sql} IN ({', '.join(column.literal_of(one) for (one,) in keys)})"
        return "(" + " OR ".join(f"({self._is(one)})" for one in keys) + ")"

    def behind(self, after: Position) -> str:
        """The condition that a row comes after another on the walk. Written out: of `(a, b) > (x, y)` the server would
        read the whole index."""
        first = f"{self.walk[0].sql} >= {self.walk[0].literal_of(after[0])}"
        condition = ""
        for column, value in reversed(list(zip(self.walk, after, strict=True))):
            here = f"{column.sql} > {column.literal_of(value)}"
            equal = f"{column.sql} = {column.literal_of(value)}"
            condition = f"({here} OR ({equal} AND {condition}))" if condition else here
        return f"{first} AND {condition}"

    @property
    def definition(self) -> str:
        """SQL that makes an empty table of this shape: columns and key, nothing that needs anything else."""
        lines = [f"    {one.sql} {_type(one)}" for one in self.columns if not one.generated]
        lines.append(f"    PRIMARY KEY ({', '.join(one.sql for one in self.key)})")
        return f"CREATE TABLE {quote(self.name)} (\n" + ",\n".join(lines) + "\n);\n"

    def _is(self, key: Key) -> str:
        return " AND ".join(
            f"{column.sql} = {column.literal_of(one)}" for column, one in zip(self.key, key, strict=True)
        )


def _type(column: Column) -> str:
    text = column.type
    if column.charset is not None and column.collation is not None:
        text += f" CHARACTER SET {column.charset} COLLATE {column.collation}"
    return f"{text} {'NOT NULL' if column.not_null else 'NULL'}"
