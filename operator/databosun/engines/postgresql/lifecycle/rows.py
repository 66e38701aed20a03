"""Work on the rows of one rule: the next ones by key, each step a transaction of its own.

Rows are picked and locked first, skipping those that somebody else has locked, and then changed under the same
condition anew: what the first statement saw of other tables may be old by then, what the second sees is not, since
nobody can refer to a locked row any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import Child, Step, needs_deleting_first
from databosun.engines.lifecycle import Batch, Capture, Definitions, Feed, Key, Left, LifecycleScope, Row
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.conditions import source_of, working_condition
from databosun.engines.postgresql.lifecycle.counts import age_of, along, instant, readable
from databosun.engines.postgresql.lifecycle.masks import Mask, masks_of
from databosun.engines.postgresql.lifecycle.rowsql import LOCKED, UNLOCKED, RowSQL
from databosun.engines.postgresql.lifecycle.shapes import Position, Shape, leaves
from databosun.engines.postgresql.lifecycle.statements import no_table, number, one, stepping
from databosun.engines.postgresql.lifecycle.watch import watch_of

COPY_BYTES = 256 * 1024
# Rows are read by key and by place: for many at once the server would rather read the whole table.
_BY_PLACE = "SET LOCAL enable_seqscan = off"
# Between one form and the next the store reads back what it was given.
_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '15min'"


@dataclass(frozen=True, slots=True)
class _Picked:
    """Rows: where each lies, and the columns that were asked for, those of the walk first."""

    ids: list[str]
    values: list[tuple[object, ...]]


class PostgreSQLRows:
    """`RowWork` of `engines/lifecycle.py`."""

    definition_name = "table.sql"

    def __init__(
        self,
        connected: Callable[[], Connection],
        step: Step,
        scope: LifecycleScope,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._connected = connected
        self._step = step
        self._scope = scope
        self._table = step.table or no_table(step.rule.table)
        with stepping(f"looking at {step.rule.table}"):
            self._condition = working_condition(connected(), step, scope)
            self._leaves = leaves(connected(), self._table.name, step.rule.column)
            self._watch = watch_of(connected, step, scope, definitions)
        for leaf in self._leaves:
            self._masks(leaf)  # said before anything is done
        self._leaf = 0
        self._after: Position | None = None

    @property
    def definition(self) -> str:
        """Of every table that rows are taken from."""
        return "".join(leaf.definition for leaf in self._leaves)

    def restart(self) -> None:
        """From the first row."""
        self._leaf, self._after = 0, None

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next rows."""
        while self._leaf < len(self._leaves):
            shape = self._leaves[self._leaf]
            with stepping(f"working on {shape.full_name}"), self._connected().transaction():
                self._watch.begin(shape.path)
                self._connected().execute(_BY_PLACE)
                hashed = [mask.column for mask in self._masks(shape) if mask.expression is None]
                statements = RowSQL(shape, self._condition)
                query = statements.pick(rows, self._after, LOCKED, [statements.text_of(name) for name in hashed])
                picked = self._pick(query)
                keys, children = self._take(statements, picked) if picked.ids else ((), {})
                self._watch.demand_same(shape.path)
            if picked.ids:
                self._after = _position(shape, picked)
                return Batch(len(picked.ids), keys, children)
            self._leaf, self._after = self._leaf + 1, None
        return Batch(0)

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """Read the next rows in one snapshot: first which they are, then, by where they lie, in each form."""
        while self._leaf < len(self._leaves):
            shape = self._leaves[self._leaf]
            statements = RowSQL(shape, self._condition)
            with stepping(f"reading {shape.full_name}"), self._connected().transaction():
                self._connected().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                self._connected().execute(_PATIENT)
                self._connected().execute(_BY_PLACE)
                hashed = sql.SQL("{}::text").format(statements.hash())
                picked = self._pick(statements.pick(rows, self._after, UNLOCKED, [hashed]))
                if picked.ids:
                    write("jsonl", self._feed(statements.json_lines(picked.ids)))
                    write("copy", self._feed(statements.copy_text(picked.ids)))
            if picked.ids:
                self._after = _position(shape, picked)
                width = len(shape.walk)
                found = tuple(Row(_key(shape, row[:width]), str(row[width])) for row in picked.values)
                return Capture(shape.path, found)
            self._leaf, self._after = self._leaf + 1, None
        return Capture(self._table.name, ())

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """Delete those that are still as they were."""
        listed = capture.rows[begin : begin + rows]
        shape = self._shape(capture)
        statements = RowSQL(shape, self._condition)
        with stepping(f"deleting from {shape.full_name}"), self._connected().transaction():
            self._watch.begin(shape.path)
            self._connected().execute(_BY_PLACE)
            ids = [str(row[0]) for row in self._connected().execute(statements.unchanged(listed)).fetchall()]
            keys = self._keys(statements.delete(ids)) if ids else ()
            self._watch.demand_same(shape.path)
        return Batch(len(listed), keys)

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """By key alone, whatever the rows hold by now."""
        statements = RowSQL(self._shape(capture), self._condition)
        with stepping(f"looking for rows of {capture.table}"):
            return self._keys(statements.present(keys))

    def left(self) -> Left:
        """What the condition matches now."""
        source = source_of(self._table.name, self._table.kind, self._condition.alias)
        age = readable(age_of(self._step))
        query = sql.SQL("SELECT count(*), min({}) FROM {} WHERE {}").format(age, source, self._condition.all)
        with stepping(f"counting {self._table.name}"):
            row = one(self._connected(), query)
        return Left(number(row[0]), instant(row[1]))

    def _shape(self, capture: Capture) -> Shape:
        return next(leaf for leaf in self._leaves if leaf.path == capture.table)

    def _masks(self, shape: Shape) -> tuple[Mask, ...]:
        return masks_of(shape, self._condition.alias, self._step.rule.masks, self._scope.key)

    def _pick(self, query: sql.Composed) -> _Picked:
        found = self._connected().execute(query).fetchall()
        return _Picked([str(row[0]) for row in found], [row[1:] for row in found])

    def _take(self, statements: RowSQL, picked: _Picked) -> tuple[tuple[Key, ...], dict[str, int]]:
        """Change the rows, and what goes along with them."""
        deletes = self._step.rule.action in (ActionType.DELETE, ActionType.PURGE)
        along_with = [child for child in self._step.children if child.goes] if deletes else []
        if not along_with:
            return self._keys(self._change(statements, picked)), {}
        # The condition is asked anew while all is there: it may be about the very rows that go first.
        ids = [str(row[0]) for row in self._connected().execute(statements.still(picked.ids)).fetchall()]
        if not ids:
            return (), {}
        children = self._take_children(statements, along_with, ids)
        return self._keys(statements.delete(ids, asked=True)), children

    def _take_children(self, statements: RowSQL, children: Sequence[Child], ids: Sequence[str]) -> dict[str, int]:
        """Delete the children that the server would not, and count those that it takes along."""
        found: dict[str, int] = {}
        for child in children:
            first = needs_deleting_first(self._step.rule, child)
            query = sql.SQL("{} FROM {} AS databosun_child WHERE {}").format(
                sql.SQL("DELETE") if first else sql.SQL("SELECT"),
                sql.Identifier(*split(child.table.name)),
                along(self._step, child, statements.root(ids)),
            )
            count = self._connected().execute(query).rowcount
            found[child.table.name] = found.get(child.table.name, 0) + count
        return found

    def _change(self, statements: RowSQL, picked: _Picked) -> sql.Composed:
        mark, key = self._step.rule.mark_column, self._scope.key or b""
        if self._step.rule.action is not ActionType.ANONYMIZE:
            return statements.delete(picked.ids)
        masks, width = self._masks(statements.shape), len(statements.shape.walk)
        hashed = [mask for mask in masks if mask.expression is None]
        hashes = [[mask.hashed(key, _text(row[width + at])) for row in picked.values] for at, mask in enumerate(hashed)]
        return statements.overwrite(picked.ids, masks, hashes, (mark, self._scope.at.isoformat()) if mark else None)

    def _keys(self, query: sql.Composed) -> tuple[Key, ...]:
        return tuple(tuple(str(value) for value in row) for row in self._connected().execute(query).fetchall())

    def _feed(self, query: sql.Composed) -> Feed:
        """Hands over what the server encodes; one line is one row in either form."""

        return lambda sink: copied(self._connected(), query, sink, self._scope.pulse)


def copied(
    connection: Connection, query: sql.Composed, sink: Callable[[bytes], None], pulse: Callable[[], None]
) -> int:
    """Lines of a COPY, in pieces that are worth handing over. How many."""
    count, size = 0, 0
    held: list[bytes | bytearray | memoryview] = []
    with connection.cursor().copy(query) as stream:
        for piece in stream:
            held.append(piece)
            size += len(piece)
            if size >= COPY_BYTES:
                count += _hand_over(held, sink)
                held, size = [], 0
                pulse()
    return count + _hand_over(held, sink)


def _hand_over(held: Sequence[bytes | bytearray | memoryview], sink: Callable[[bytes], None]) -> int:
    data = b"".join(held)
    sink(data)
    return data.count(b"\n")


def _position(shape: Shape, picked: _Picked) -> Position:
    return tuple(str(value) for value in picked.values[-1][: len(shape.walk)])


def _key(shape: Shape, walked: Sequence[object]) -> Key:
    return tuple(str(value) for value in walked[len(shape.walk) - len(shape.key) :])


def _text(value: object) -> str | None:
    return None if value is None else str(value)
