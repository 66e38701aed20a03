"""The statements that work on the rows of one ordinary table. All values stand in them as literals: a plan that the
server made for other values, or a `%` in a person's condition, has no say."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg import sql

from databosun.engines.lifecycle import Key
from databosun.engines.postgresql.copying import json_lines
from databosun.engines.postgresql.lifecycle.conditions import TRUE, Condition
from databosun.engines.postgresql.lifecycle.keylists import KeyLists
from databosun.engines.postgresql.lifecycle.masks import Mask
from databosun.engines.postgresql.lifecycle.shapes import Position, Shape

Places = str
"""Where rows lie, as the server writes an array of it: an answer of one value, and a literal as it is."""

LOCKED = sql.SQL("FOR UPDATE SKIP LOCKED")
UNLOCKED = sql.SQL("")
FIRST_PLACE = "(0,0)"  # no row lies there: they are numbered from 1
_ROW = sql.Identifier("databosun_row")
_ROUND = 2**32
MOST_MEANWHILE = 2**24  # transactions of others during one statement


@dataclass(frozen=True, slots=True)
class RowSQL:
    """Of one table and one condition. `until`: rows are walked as they lie, up to this block; None: by their walk.
    `listed`: how the keys of those that are changed come back."""

    shape: Shape
    condition: Condition
    until: int | None = None
    listed: bool = True

    @property
    def keys(self) -> KeyLists:
        """How statements return the keys of the rows that they change."""
        return KeyLists(self.shape, self.condition.alias, listed=self.listed)

    @property
    def width(self) -> int:
        """Of a position: the walk columns, or the place."""
        return len(self.shape.walk) if self.until is None else 1

    def pick(
        self, rows: int, after: Position | None, lock: sql.Composable, more: Sequence[sql.Composable] = ()
    ) -> sql.Composed:
        """The next rows by the walk, in one row: how many, where they lie, the walk columns of the last one, and a list
        for whatever else is asked of each. A row of an answer for each of them would cost more than the work itself."""
        width = len(self.shape.walk) if self.until is None else 0
        lists = [sql.SQL("pg_catalog.json_agg({})").format(numbered(width + at)) for at in range(len(more))]
        return sql.SQL(
            "SELECT pg_catalog.count(*), pg_catalog.array_agg(databosun_place)::text, {said} FROM {picked}"
        ).format(
            said=sql.SQL(", ").join([*self.last_position(), *lists]), picked=self.next_rows(rows, after, lock, more)
        )

    def next_rows(
        self, rows: int, after: Position | None, lock: sql.Composable, more: Sequence[sql.Composable] = ()
    ) -> sql.Composed:
        """A table of the next rows by the walk: where each lies, its walk columns, and whatever else is asked of it."""
        asked = [*(self.texts_of(self.shape.walk) if self.until is None else ()), *more]
        behind, order = self._by_place(after) if self.until is not None else self._by_walk(after)
        return sql.SQL(
            "(SELECT {alias}.ctid AS databosun_place{asked} FROM ONLY {table} AS {alias} WHERE {condition}{behind}"
            "{order} LIMIT {rows} {lock}) AS databosun_picked"
        ).format(
            alias=self.condition.alias,
            asked=sql.SQL("").join(sql.SQL(", {} AS {}").format(one, numbered(at)) for at, one in enumerate(asked)),
            table=self.shape.identifier,
            condition=self.condition.all,
            behind=behind,
            order=order,
            rows=sql.Literal(rows),
            lock=lock,
        )

    def last_position(self) -> list[sql.Composed]:
        """The walk columns of the last of them, or where it lies."""
        if self.until is not None:
            return [sql.SQL("pg_catalog.max(databosun_place)::text").format()]
        last = sql.SQL("(pg_catalog.array_agg({}))[pg_catalog.count(*)]")
        return [last.format(numbered(at)) for at in range(len(self.shape.walk))]

    def as_captured(self, versions: Collection[str], file: int) -> sql.Composed:
        """That what lies somewhere is the row that lay there at the capture. A change makes another version elsewhere,
        and what comes to lie there later is of a transaction that had not ended by then. Only who writes the whole
        table anew changes rows and keeps both; that makes another file. It holds within one session: a server that
        failed over, or came back from a crash, numbers transactions anew that nobody kept."""
        return sql.SQL("{alias}.xmin = ANY ({versions}::xid[]) AND (SELECT {file}) = {known}").format(
            alias=self.condition.alias,
            versions=sql.Literal(f"{{{','.join(versions)}}}"),
            file=self.file(),
            known=sql.Literal(file),
        )

    def file(self) -> sql.Composed:
        """The number of what the rows lie in; another one once the table was written anew."""
        name = sql.Literal(self.shape.full_name)
        return sql.SQL("pg_catalog.pg_relation_filenode({}::pg_catalog.regclass)::int8").format(name)

    def blocks(self) -> sql.Composed:
        """How many there are to lie in."""
        name = sql.Literal(self.shape.full_name)
        return sql.SQL(
            "SELECT pg_catalog.pg_relation_size({}::regclass) / pg_catalog.current_setting('block_size')::int8"
        ).format(name)

    def root(self, places: Places) -> sql.Composed:
        """The rows themselves."""
        return sql.SQL("SELECT * FROM ONLY {} WHERE ctid = ANY ({}::tid[])").format(
            self.shape.identifier, sql.Literal(places)
        )

    def still(self, places: Places) -> sql.Composed:
        """Where those of the rows that are locked lie which the condition holds for now."""
        return sql.SQL(
            "SELECT pg_catalog.array_agg({alias}.ctid)::text FROM ONLY {table} AS {alias} "
            "WHERE {alias}.ctid = ANY ({places}::tid[]) AND {condition}"
        ).format(
            alias=self.condition.alias,
            table=self.shape.identifier,
            places=sql.Literal(places),
            condition=self.condition.all,
        )

    def delete(self, places: Places, *, asked: bool = False) -> sql.Composed:
        """Delete rows that are locked, as far as the condition holds still. `asked`: it was asked since. Returns
        their keys."""
        change = sql.SQL(
            "DELETE FROM ONLY {table} AS {alias} WHERE {alias}.ctid = ANY ({places}::tid[]) AND {condition} "
            "RETURNING {key}"
        ).format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            places=sql.Literal(places),
            condition=TRUE if asked else self.condition.all,
            key=self.keys.values,
        )
        return self.keys.of(change)

    def overwrite(
        self,
        places: Places,
        masks: Sequence[Mask],
        hashes: Sequence[Sequence[str | None]],
        mark: tuple[str, str] | None,
    ) -> sql.Composed:
        """Overwrite rows that are locked. `hashes`: one list for each mask without an expression, in the order of the
        places. `mark`: the column that says so, and the instant. Returns their keys."""
        sets = [
            sql.SQL("{} = {}").format(sql.Identifier(one.column), one.expression) for one in masks if one.expression
        ]
        hashed = [mask.column for mask in masks if mask.expression is None]
        arrays = [sql.SQL("pg_catalog.unnest({}::tid[])").format(sql.Literal(places))]
        for at, (name, values) in enumerate(zip(hashed, hashes, strict=True)):
            arrays.append(sql.SQL("pg_catalog.unnest({}::text[])").format(sql.Literal(_array(values))))
            new = sql.SQL("databosun_new.{}::{}").format(numbered(at), self.shape.type_of(name))
            sets.append(sql.SQL("{} = {}").format(sql.Identifier(name), new))
        if mark is not None:
            sets.append(sql.SQL("{} = {}::timestamptz").format(sql.Identifier(mark[0]), sql.Literal(mark[1])))
        change = sql.SQL(
            "UPDATE ONLY {table} AS {alias} SET {sets} "
            "FROM ROWS FROM ({arrays}) AS databosun_new (databosun_place{names}) "
            "WHERE {alias}.ctid = databosun_new.databosun_place AND {condition} RETURNING {key}"
        ).format(
            table=self.shape.identifier,
            alias=self.condition.alias,
            sets=sql.SQL(", ").join(sets),
            arrays=sql.SQL(", ").join(arrays),
            names=sql.SQL("").join(sql.SQL(", {}").format(numbered(at)) for at in range(len(hashed))),
            condition=self.condition.all,
            key=self.keys.values,
        )
        return self.keys.of(change)

    def unchanged(self, places: Places, versions: Collection[str], file: int) -> sql.Composed:
        """Lock the rows that lie where they were captured and are still as they were, and say where they lie."""
        return sql.SQL(
            "SELECT pg_catalog.array_agg(databosun_place)::text FROM (SELECT {alias}.ctid AS databosun_place "
            "FROM ONLY {table} AS {alias} WHERE {alias}.ctid = ANY ({places}::tid[]) "
            "AND {same} AND {condition} FOR UPDATE SKIP LOCKED) AS databosun_same"
        ).format(
            alias=self.condition.alias,
            table=self.shape.identifier,
            places=sql.Literal(places),
            same=self.as_captured(versions, file),
            condition=self.condition.all,
        )

    def present(self, keys: Sequence[Key]) -> sql.Composed:
        """The keys that are there."""
        names, arrays, same = self._listed(keys)
        return sql.SQL(
            "SELECT {key} FROM unnest({arrays}) AS databosun_old({names}) JOIN ONLY {table} AS {alias} ON {same}"
        ).format(
            key=sql.SQL(", ").join(self.texts_of(self.shape.key)),
            arrays=sql.SQL(", ").join(arrays),
            names=sql.SQL(", ").join(names),
            table=self.shape.identifier,
            alias=self.condition.alias,
            same=sql.SQL(" AND ").join(same),
        )

    def json_lines(self, places: Places) -> sql.Composed:
        """JSON for everybody."""
        every = self._columns([one.name for one in self.shape.columns])
        rows = sql.SQL("(SELECT {} {}) AS {}").format(every, self._from(places), _ROW)
        return json_lines(_ROW, rows)

    def copy_text(self, places: Places) -> sql.Composed:
        """What COPY reads back, which loses nothing: bytes, NaN, every digit."""
        plain = self._columns([one.name for one in self.shape.columns if not one.generated])
        return sql.SQL("COPY (SELECT {} {}) TO STDOUT").format(plain, self._from(places))

    def text_of(self, column: str) -> sql.Composed:
        """A column as text."""
        return sql.SQL("{}::text").format(self._column(column))

    def _listed(self, keys: Sequence[Key]) -> tuple[list[sql.Identifier], list[sql.Composed], list[sql.Composed]]:
        """Keys as arrays, a name for each column of them, and the condition that a row has that key."""
        names = [numbered(at) for at in range(len(self.shape.key))]
        arrays = [
            sql.SQL("{}::{}[]").format(sql.Literal([key[at] for key in keys]), self.shape.type_of(column))
            for at, column in enumerate(self.shape.key)
        ]
        same = [
            sql.SQL("{} = databosun_old.{}").format(self._column(column), name)
            for column, name in zip(self.shape.key, names, strict=True)
        ]
        return names, arrays, same

    def _from(self, places: Places) -> sql.Composed:
        alias = self.condition.alias
        return sql.SQL("FROM ONLY {} AS {} WHERE {}.ctid = ANY ({}::tid[])").format(
            self.shape.identifier, alias, alias, sql.Literal(places)
        )

    def _by_place(self, after: Position | None) -> tuple[sql.Composable, sql.Composable]:
        """What lies behind a place. The server reads it in that order by itself, and would only sort it once more."""
        begin, end = after[0] if after is not None else FIRST_PLACE, f"({self.until},0)"
        behind = sql.SQL(" AND {alias}.ctid > {begin}::tid AND {alias}.ctid < {end}::tid").format(
            alias=self.condition.alias, begin=sql.Literal(begin), end=sql.Literal(end)
        )
        return behind, sql.SQL("")

    def _by_walk(self, after: Position | None) -> tuple[sql.Composable, sql.Composable]:
        walk = self._columns(self.shape.walk)
        behind = self._behind(walk, after) if after is not None else sql.SQL("")
        return behind, sql.SQL(" ORDER BY {}").format(walk)

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

    def texts_of(self, names: Sequence[str]) -> list[sql.Composed]:
        return [self.text_of(name) for name in names]


def still_telling(versions: Collection[str], since: int, now: int) -> set[str]:
    """The versions of a capture that no later row can have: transactions are numbered round and round. `since`, `now`:
    the first that was under way at the capture, and the next one to begin, as they are numbered without end."""
    span = now - since + MOST_MEANWHILE
    return {one for one in versions if (int(one) - since) % _ROUND >= span}


def split_places(places: Places) -> tuple[str, ...]:
    """One for each row: `(block,row)`."""
    return tuple(places[2:-2].split('","'))


def join_places(places: Sequence[str]) -> Places:
    """The other way round."""
    return '{"' + '","'.join(places) + '"}'


def _array(values: Sequence[str | None]) -> str:
    """Hashes as an array: none needs a quote."""
    return "{" + ",".join("NULL" if one is None else one for one in values) + "}"


def numbered(at: int) -> sql.Identifier:
    """A name that no column of a person's table has, so that a condition's own words mean what they say."""
    return sql.Identifier(f"databosun_{at}")
