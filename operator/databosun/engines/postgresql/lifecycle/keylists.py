"""The keys of many rows in one row of an answer: a row for each of them would cost more than the work itself. Where
rewrite rules may be about there is a row for each still: the server carries none out for what is changed in a WITH."""

from __future__ import annotations

import re
from collections.abc import Iterable

from psycopg import sql

from databosun.engines.lifecycle import Key
from databosun.engines.postgresql.lifecycle.shapes import Shape

# Types whose texts have neither comma nor quote: a list of such is read in a tenth of the time that one of JSON takes.
_PLAIN = re.compile(r"smallint|integer|bigint|numeric(?:\(.*\))?|uuid|date|timestamp(?:\(\d\))? with(?:out)? time zone")


class KeyLists:
    """Of one table, whose rows are called by this name. `listed`: in lists."""

    def __init__(self, shape: Shape, alias: sql.Identifier, *, listed: bool) -> None:
        self._shape = shape
        self._alias = alias
        self._listed = listed

    def of(self, change: sql.Composable) -> sql.Composed:
        """Carry out a change that ends in RETURNING `values`."""
        if not self._listed:
            return sql.Composed([change])
        return sql.SQL("WITH databosun_gone AS ({}) SELECT {} FROM databosun_gone").format(change, self.lists)

    @property
    def values(self) -> sql.Composed:
        """The key's columns, by number."""
        return sql.SQL(", ").join(
            sql.SQL("{}.{}{} AS {}").format(
                self._alias,
                sql.Identifier(name),
                sql.SQL("" if self._listed and self._is_plain(name) else "::text"),
                _numbered(at),
            )
            for at, name in enumerate(self._shape.key)
        )

    @property
    def lists(self) -> sql.Composed:
        """A list for each of them, of all rows."""
        return sql.SQL(", ").join(
            sql.SQL("pg_catalog.array_agg({})::text" if self._is_plain(name) else "pg_catalog.json_agg({})").format(
                _numbered(at)
            )
            for at, name in enumerate(self._shape.key)
        )

    def _is_plain(self, name: str) -> bool:
        return _PLAIN.fullmatch(self._shape.type_of(name).as_string()) is not None


def _numbered(at: int) -> sql.Identifier:
    return sql.Identifier(f"databosun_key_{at}")


def keys_of(lists: Iterable[object]) -> tuple[Key, ...]:
    """The keys of lists side by side."""
    return tuple(zip(*map(_read_list, lists), strict=True))


def _read_list(value: object) -> list[str]:
    """A list of an answer; there is none where no row was."""
    if isinstance(value, list):
        return value
    return str(value)[1:-1].replace('"', "").split(",") if value is not None else []
