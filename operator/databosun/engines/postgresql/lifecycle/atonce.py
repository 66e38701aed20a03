"""Rows picked and deleted by one statement, which sees one snapshot of the server: for conditions that nothing but the
row decides (`Condition.alone`).

Such a statement need not lock rows before it deletes them, nor ask a second time. Where somebody changes one meanwhile
the server waits, and asks the row as it is then. To wait for long would keep what is deleted so far from others: so a
step gives up soon, and is done as `rows.py` does it, which passes over what others hold.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg import sql

from databosun.engines.postgresql.lifecycle.rowsql import FIRST_PLACE, UNLOCKED, Places, RowSQL
from databosun.engines.postgresql.lifecycle.shapes import Position


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
            "{places} AS databosun_places, {last} FROM {picked}), databosun_gone AS ({gone}) "
            "SELECT (SELECT databosun_count FROM databosun_next), {reached}, {keys} FROM databosun_gone"
        ).format(
            last=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(each, name) for each, name in zip(last, names, strict=True)
            ),
            places=sql.SQL(
                "pg_catalog.max(databosun_place)" if self.until is not None else "pg_catalog.array_agg(databosun_place)"
            ),
            picked=self.next_rows(rows, after, UNLOCKED),
            gone=self._delete(self._next_places(after), self.condition.all),
            reached=sql.SQL(", ").join(sql.SQL("(SELECT {} FROM databosun_next)").format(name) for name in names),
            keys=self.keys.lists,
        )

    def release(self, places: Places, versions: Collection[str], file: int) -> sql.Composed:
        """Delete rows that lie where they were captured and are still as they were, in one statement as `take` is. In
        one row: a list for each column of the keys of those that went."""
        same = sql.SQL("{} AND {}").format(self.as_captured(versions, file), self.condition.all)
        lie = sql.SQL("= ANY ({}::tid[])").format(sql.Literal(places))
        gone = self._delete(sql.SQL("{}.ctid {}").format(self.condition.alias, lie), same)
        return self.keys.of(gone)

    def _next_places(self, after: Position | None) -> sql.Composed:
        """That a row lies where those of `databosun_next` do. By place, these are all up to the last: to go through so
        many one after the other takes less than to look each up."""
        alias = self.condition.alias
        if self.until is None:
            return sql.SQL("{}.ctid = ANY ((SELECT databosun_places FROM databosun_next)::tid[])").format(alias)
        begin = sql.Literal(after[0] if after is not None else FIRST_PLACE)
        last = sql.SQL("{}.ctid > {}::tid AND {}.ctid <= (SELECT databosun_places FROM databosun_next)")
        return last.format(alias, begin, alias)

    def _delete(self, places: sql.Composable, condition: sql.Composable) -> sql.Composed:
        """The key's columns come back by number."""
        return sql.SQL("DELETE FROM ONLY {table} AS {alias} WHERE {places} AND {condition} RETURNING {key}").format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            places=places,
            condition=condition,
            key=self.keys.values,
        )
