"""The statements that work on the rows of one ordinary table. All values stand in them as literals: a plan that the
server made for other values, or a `%` in a person's condition, has no say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from databosun.engines.lifecycle import Key, Row
from databosun.engines.postgresql.lifecycle.conditions import TRUE, Condition
from databosun.engines.postgresql.lifecycle.masks import Mask
from databosun.engines.postgresql.lifecycle.shapes import Position, Shape

LOCKED = sql.SQL("FOR UPDATE SKIP LOCKED")
UNLOCKED = sql.SQL("")


@dataclass(frozen=True, slots=True)
class RowSQL:
    """Of one table and one condition."""

    shape: Shape
    condition: Condition

    def pick(
        self, rows: int, after: Position | None, lock: sql.Composable, more: Sequence[sql.Composable] = ()
    ) -> sql.Composed:
        """The next rows by the walk: where each lies, its walk columns, and what else is asked."""
        walk = self._columns(self.shape.walk)
        return sql.SQL(
            "SELECT {alias}.ctid::text, {columns} FROM ONLY {table} AS {alias} WHERE {condition}{after} "
            "ORDER BY {walk} LIMIT {rows} {lock}"
        ).format(
            alias=self.condition.alias,
            columns=sql.SQL(", ").join([*self._texts(self.shape.walk), *more]),
            table=self.shape.identifier,
            condition=self.condition.all,
            after=sql.SQL("") if after is None else self._behind(walk, after),
            walk=walk,
            rows=sql.Literal(rows),
            lock=lock,
        )

    def root(self, ids: Sequence[str]) -> sql.Composed:
        """The rows themselves."""
        return sql.SQL("SELECT * FROM ONLY {} WHERE ctid = ANY ({}::tid[])").format(self.shape.identifier, _places(ids))

    def still(self, ids: Sequence[str]) -> sql.Composed:
        """Which of the rows that are locked the condition holds for now."""
        return sql.SQL(
            "SELECT {alias}.ctid::text FROM ONLY {table} AS {alias} WHERE {alias}.ctid = ANY ({ids}::tid[]) "
            "AND {condition}"
        ).format(
            alias=self.condition.alias,
            table=self.shape.identifier,
            ids=_places(ids),
            condition=self.condition.all,
        )

    def delete(self, ids: Sequence[str], *, asked: bool = False) -> sql.Composed:
        """Delete rows that are locked, as far as the condition holds still. `asked`: it was asked since."""
        return sql.SQL(
            "DELETE FROM ONLY {table} AS {alias} WHERE {alias}.ctid = ANY ({ids}::tid[]) AND {condition} "
            "RETURNING {key}"
        ).format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            ids=_places(ids),
            condition=TRUE if asked else self.condition.all,
            key=sql.SQL(", ").join(self._texts(self.shape.key)),
        )

    def overwrite(
        self,
        ids: Sequence[str],
        masks: Sequence[Mask],
        hashes: Sequence[Sequence[str | None]],
        mark: tuple[str, str] | None,
    ) -> sql.Composed:
        """Overwrite rows that are locked. `hashes`: one list for each mask without an expression. `mark`: the column
        that says so, and the instant."""
        sets = [
            sql.SQL("{} = {}").format(sql.Identifier(one.column), one.expression) for one in masks if one.expression
        ]
        hashed = [mask.column for mask in masks if mask.expression is None]
        for name, values in zip(hashed, hashes, strict=True):
            # Looked up by place: a join would have the server choose how, and read the whole table for a few rows.
            new = sql.Literal(json.dumps(dict(zip(ids, values, strict=True))))
            value = sql.SQL("({}::jsonb ->> {}.ctid::text)").format(new, self.condition.alias)
            sets.append(sql.SQL("{} = {}::{}").format(sql.Identifier(name), value, self.shape.type_of(name)))
        if mark is not None:
            sets.append(sql.SQL("{} = {}::timestamptz").format(sql.Identifier(mark[0]), sql.Literal(mark[1])))
        return sql.SQL(
            "UPDATE ONLY {table} AS {alias} SET {sets} WHERE {alias}.ctid = ANY ({ids}::tid[]) AND {condition} "
            "RETURNING {key}"
        ).format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            sets=sql.SQL(", ").join(sets),
            ids=_places(ids),
            condition=self.condition.all,
            key=sql.SQL(", ").join(self._texts(self.shape.key)),
        )

    def unchanged(self, listed: Sequence[Row]) -> sql.Composed:
        """Lock the listed rows that have the very content still, and say where they lie."""
        names, arrays, same = self._listed([row.key for row in listed])
        arrays.append(sql.SQL("{}::bigint[]").format(sql.Literal([row.hash for row in listed])))
        return sql.SQL(
            "SELECT {alias}.ctid::text FROM unnest({arrays}) AS databosun_old({names}) JOIN ONLY {table} AS {alias} "
            "ON {same} WHERE {hash} = databosun_old.databosun_hash AND {condition} FOR UPDATE OF {alias} SKIP LOCKED"
        ).format(
            alias=self.condition.alias,
            arrays=sql.SQL(", ").join(arrays),
            names=sql.SQL(", ").join([*names, sql.Identifier("databosun_hash")]),
            table=self.shape.identifier,
            same=sql.SQL(" AND ").join(same),
            hash=self.hash(),
            condition=self.condition.all,
        )

    def present(self, keys: Sequence[Key]) -> sql.Composed:
        """The keys that are there."""
        names, arrays, same = self._listed(keys)
        return sql.SQL(
            "SELECT {key} FROM unnest({arrays}) AS databosun_old({names}) JOIN ONLY {table} AS {alias} ON {same}"
        ).format(
            key=sql.SQL(", ").join(self._texts(self.shape.key)),
            arrays=sql.SQL(", ").join(arrays),
            names=sql.SQL(", ").join(names),
            table=self.shape.identifier,
            alias=self.condition.alias,
            same=sql.SQL(" AND ").join(same),
        )

    def hash(self) -> sql.Composed:
        """Of the text form of all columns, under the session's fixed settings."""
        every = self._columns([one.name for one in self.shape.columns])
        return sql.SQL("pg_catalog.hashtextextended(ROW({})::text, 0)").format(every)

    def json_lines(self, ids: Sequence[str]) -> sql.Composed:
        """JSON for everybody. In its text a line break or a tab can only be space between its parts, and only where a
        column is `json`: in strings they are escaped."""
        every = self._columns([one.name for one in self.shape.columns])
        return sql.SQL(
            "COPY (SELECT pg_catalog.translate(pg_catalog.row_to_json(databosun_row)::text, E'\\n\\r\\t', '   ') "
            "FROM (SELECT {} {}) AS databosun_row) TO STDOUT (FORMAT csv, DELIMITER E'\\x02', QUOTE E'\\x01')"
        ).format(every, self._from(ids))

    def copy_text(self, ids: Sequence[str]) -> sql.Composed:
        """What COPY reads back, which loses nothing: bytes, NaN, every digit."""
        plain = self._columns([one.name for one in self.shape.columns if not one.generated])
        return sql.SQL("COPY (SELECT {} {}) TO STDOUT").format(plain, self._from(ids))

    def text_of(self, column: str) -> sql.Composed:
        """A column as text."""
        return sql.SQL("{}::text").format(self._column(column))

    def _listed(self, keys: Sequence[Key]) -> tuple[list[sql.Identifier], list[sql.Composed], list[sql.Composed]]:
        """Keys as arrays, a name for each column of them, and the condition that a row has that key."""
        names = [_numbered(at) for at in range(len(self.shape.key))]
        arrays = [
            sql.SQL("{}::{}[]").format(sql.Literal([key[at] for key in keys]), self.shape.type_of(column))
            for at, column in enumerate(self.shape.key)
        ]
        same = [
            sql.SQL("{} = databosun_old.{}").format(self._column(column), name)
            for column, name in zip(self.shape.key, names, strict=True)
        ]
        return names, arrays, same

    def _from(self, ids: Sequence[str]) -> sql.Composed:
        alias = self.condition.alias
        return sql.SQL("FROM ONLY {} AS {} WHERE {}.ctid = ANY ({}::tid[])").format(
            self.shape.identifier, alias, alias, _places(ids)
        )

    def _behind(self, walk: sql.Composable, after: Position) -> sql.Composed:
        values = sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), self.shape.type_of(name))
            for name, value in zip(self.shape.walk, after, strict=True)
        )
        return sql.SQL(" AND ({}) > ({})").format(walk, values)

    def _column(self, name: str) -> sql.Composed:
        return sql.SQL("{}.{}").format(self.condition.alias, sql.Identifier(name))

    def _columns(self, names: Sequence[str]) -> sql.Composed:
        return sql.SQL(", ").join(map(self._column, names))

    def _texts(self, names: Sequence[str]) -> list[sql.Composed]:
        return [self.text_of(name) for name in names]


def _places(ids: Sequence[str]) -> sql.Literal:
    """Where rows lie, as an array. The driver would look at each for what needs a quote, and these all do."""
    return sql.Literal('{"' + '","'.join(ids) + '"}')


def _numbered(at: int) -> sql.Identifier:
    """A name that no column of a person's table has, so that a condition's own words mean what they say."""
    return sql.Identifier(f"databosun_{at}")
