"""Rows picked and deleted by one statement, which sees one snapshot of the server: for conditions that nothing but the
row decides (`Condition.alone`).

Such a statement need not lock rows before it deletes them, nor ask a second time. Where somebody changes one meanwhile
the server waits, and asks the row as it is then. To wait for long would keep what is deleted so far from others: so a
step gives up soon, and is done as `rows.py` does it, which passes over what others hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from databosun.engines.postgresql.lifecycle.rowsql import UNLOCKED, Places, RowSQL, numbered
from databosun.engines.postgresql.lifecycle.shapes import Position

# Types whose texts have no comma: a list of such is read in a tenth of the time that one of JSON takes.
_PLAIN = re.compile(r"smallint|integer|bigint|numeric(?:\(.*\))?|uuid|date|timestamp(?:\(\d\))? with(?:out)? time zone")


@dataclass(frozen=True, slots=True)
class AtOnce(RowSQL):
    """Of one table and one condition that is `alone`."""

    def take(self, rows: int, after: Position | None) -> sql.Composed:
        """Delete the next rows by the walk, in one statement that sees one snapshot: for a condition that asks nothing
        but the row. Where somebody changes a row meanwhile it waits, and asks the row as it is then. In one row: how
        many it came to, the walk columns of the last one, and a list for each column of the keys of those that went."""
        last = self.last_position()
        names = [sql.Identifier(f"databosun_last_{at}") for at in range(len(last))]
        return sql.SQL(
            "WITH databosun_next AS MATERIALIZED (SELECT pg_catalog.count(*) AS databosun_count, "
            "pg_catalog.array_agg(databosun_place) AS databosun_places, {last} FROM {picked}), "
            "databosun_gone AS ({gone}) "
            "SELECT (SELECT databosun_count FROM databosun_next), {reached}, {keys} FROM databosun_gone"
        ).format(
            last=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(each, name) for each, name in zip(last, names, strict=True)
            ),
            picked=self.next_rows(rows, after, UNLOCKED),
            gone=self._delete(sql.SQL("(SELECT databosun_places FROM databosun_next)::tid[]"), self.condition.all),
            reached=sql.SQL(", ").join(sql.SQL("(SELECT {} FROM databosun_next)").format(name) for name in names),
            keys=self._key_lists(),
        )

    def release(self, places: Places, versions: Collection[str], file: int) -> sql.Composed:
        """Delete rows that lie where they were captured and are still as they were, in one statement as `take` is. In
        one row: a list for each column of the keys of those that went."""
        same = sql.SQL("{} AND {}").format(self.as_captured(versions, file), self.condition.all)
        gone = self._delete(sql.SQL("{}::tid[]").format(sql.Literal(places)), same)
        return sql.SQL("WITH databosun_gone AS ({}) SELECT {} FROM databosun_gone").format(gone, self._key_lists())

    def _delete(self, places: sql.Composable, condition: sql.Composable) -> sql.Composed:
        """The key's columns come back by number."""
        return sql.SQL(
            "DELETE FROM ONLY {table} AS {alias} WHERE {alias}.ctid = ANY ({places}) AND {condition} RETURNING {key}"
        ).format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            places=places,
            condition=condition,
            key=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(text, numbered(at)) for at, text in enumerate(self.texts_of(self.shape.key))
            ),
        )

    def _key_lists(self) -> sql.Composed:
        lists = (
            sql.SQL(
                "pg_catalog.string_agg({}, ',')"
                if _PLAIN.fullmatch(self.shape.type_of(name).as_string())
                else "pg_catalog.json_agg({})"
            ).format(numbered(at))
            for at, name in enumerate(self.shape.key)
        )
        return sql.SQL(", ").join(lists)


def read_list(value: object) -> list[str]:
    """A list of an answer; there is none where no row was."""
    if isinstance(value, list):
        return value
    return str(value).split(",") if value is not None else []
