"""Work on the rows of one rule: the next ones of a walk, each step a transaction of its own.

Rows are picked and locked first, skipping those that somebody else has locked, and then changed under the same
condition anew: what the first statement saw of other tables may be old by then, what the second sees is not, since
nobody can refer to a locked row any more. Where a rule is about nothing but its rows, one statement does all of it
(`atonce.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from psycopg import sql

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import Child, Step, needs_deleting_first
from databosun.engines.lifecycle import Batch, Capture, Definitions, Feed, Key, Left, LifecycleScope, RuleFault, Trouble
from databosun.engines.postgresql.connect import Connection
from databosun.engines.postgresql.copying import copied
from databosun.engines.postgresql.lifecycle.atonce import AtOnce
from databosun.engines.postgresql.lifecycle.catalogue import split
from databosun.engines.postgresql.lifecycle.conditions import source_of, working_condition
from databosun.engines.postgresql.lifecycle.counts import along, instant, outermost
from databosun.engines.postgresql.lifecycle.keylists import keys_of
from databosun.engines.postgresql.lifecycle.masks import Mask, masks_of
from databosun.engines.postgresql.lifecycle.rowsql import (
    LOCKED,
    UNLOCKED,
    Places,
    RowSQL,
    join_places,
    split_places,
    still_telling,
)
from databosun.engines.postgresql.lifecycle.shapes import Position, Shape, leaves
from databosun.engines.postgresql.lifecycle.statements import locally, no_table, number, one, stepping
from databosun.engines.postgresql.lifecycle.walk import Walk
from databosun.engines.postgresql.lifecycle.watch import watch_of
from databosun.engines.postgresql.reasons import Reason

MOST_BRIEF = 50  # milliseconds that a step at once waits for one row, while others may wait for it
LONGEST = 5000  # milliseconds of all of it: it may come upon many such rows, one after the other
_IN_THE_WAY = ("55P03", "40P01", "57014")  # lock_not_available, deadlock_detected, query_canceled
_UNDER_WAY = sql.SQL("pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8")
_NEXT = sql.SQL("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8")
PASSING_BY = 10  # steps that pass over what others hold, after one that came upon it
_NOT_IN_ORDER = "the server read rows in another order than they lie in; the table is walked by key"
# Between one form and the next the store reads back what it was given.
_PATIENT = {"idle_in_transaction_session_timeout": "15min"}

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class _Picked:
    """How many, where they lie, where the walk is after them, and a list for whatever else was asked of each."""

    count: int
    places: Places
    last: Position
    lists: list[list[Any]]


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
        deletes = step.rule.action in (ActionType.DELETE, ActionType.PURGE, ActionType.ARCHIVE)
        self._at_once = deletes and self._condition.alone and self._watch.plain
        self._listed = not self._watch.fires
        # Where others refer to the rows the server looks these up meanwhile, and shall find its indexes.
        lies = self._at_once and step.rule.action is not ActionType.ARCHIVE and not step.children
        self._walk = Walk(self._leaves, as_they_lie=lies)
        self._passing_by = 0
        limits = min(MOST_BRIEF, scope.lock_milliseconds), min(LONGEST, int(scope.statement_seconds * 1000))
        self._briefly = dict(zip(("lock_timeout", "statement_timeout"), map(str, limits), strict=True))

    @property
    def definition(self) -> str:
        """Of every table that rows are taken from."""
        return "".join(leaf.definition for leaf in self._leaves)

    def restart(self) -> None:
        """From the first row."""
        self._walk.restart()

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next rows."""
        while (shape := self._walk.shape) is not None:
            batch = self._quickest(partial(self._take_at_once, shape, rows), partial(self._take_locked, shape, rows))
            if batch.looked:
                return batch
            self._walk.leave()
        return Batch(0)

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """Read the next rows in one snapshot: first which they are, then, by where they lie, in each form."""
        while (shape := self._walk.shape) is not None:
            statements = RowSQL(shape, self._condition)
            with stepping(f"reading {shape.full_name}"), self._connected().transaction():
                self._connected().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                self._connected().execute(locally({**self._walk.settings, **_PATIENT}))
                version = sql.SQL("{}.xmin::text").format(self._condition.alias)
                key = [statements.text_of(name) for name in shape.key]
                picked = self._pick(statements, rows, UNLOCKED, [version, *key])
                file, since = one(self._connected(), sql.SQL("SELECT {}, {}").format(statements.file(), _UNDER_WAY))
                if picked.count:
                    write("jsonl", self._feed(statements.json_lines(picked.places)))
                    write("copy", self._feed(statements.copy_text(picked.places)))
            if picked.count:
                self._walk.go_on(picked.last)
                versions, *keys = picked.lists
                return Capture(
                    shape.path,
                    list(zip(*keys, strict=True)),
                    versions,
                    split_places(picked.places),
                    number(file),
                    number(since),
                    self._connected(),
                )
            self._walk.leave()
        return Capture(self._table.name)

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """Delete those that are still as they were. Nothing where the session is another by now: they are archived
        again by it."""
        shape, places = self._shape(capture), capture.places[begin : begin + rows]
        if capture.reader is not self._connected():
            return Batch(len(capture.keys) - begin)  # in one step: the pace learns nothing from steps that do nothing
        where = join_places(places)

        def versions() -> set[str]:
            marks = set(capture.marks[begin : begin + rows])
            return still_telling(marks, capture.since, number(one(self._connected(), _NEXT)[0]))

        def at_once() -> tuple[Key, ...]:
            with self._changing(shape, briefly=True):
                return self._keys(AtOnce(shape, self._condition).release(where, versions(), capture.file))

        def locked() -> tuple[Key, ...]:
            statements = RowSQL(shape, self._condition, listed=self._listed)
            with self._changing(shape):
                same = one(self._connected(), statements.unchanged(where, versions(), capture.file))[0]
                return self._keys(statements.delete(str(same))) if same is not None else ()

        return Batch(len(places), self._quickest(at_once, locked))

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """By key alone, whatever the rows hold by now."""
        statements = RowSQL(self._shape(capture), self._condition)
        with stepping(f"looking for rows of {capture.table}"):
            return self._rows(statements.present(keys))

    def left(self) -> Left:
        """What the condition matches now."""
        source = source_of(self._table.name, self._table.kind, self._condition.alias)
        oldest = outermost("min", self._step, self._condition)
        query = sql.SQL("SELECT count(*), {} FROM {} WHERE {}").format(oldest, source, self._condition.all)
        with stepping(f"counting {self._table.name}"):
            row = one(self._connected(), query)
        return Left(number(row[0]), instant(row[1]))

    @contextmanager
    def _changing(self, shape: Shape, *, briefly: bool = False) -> Iterator[None]:
        """A transaction that changes rows. Committed where what the rule stands on is as it was."""
        with stepping(f"working on {shape.full_name}"), self._connected().transaction():
            self._watch.begin(shape.path)
            self._connected().execute(locally({**self._walk.settings, **(self._briefly if briefly else {})}))
            yield
            self._watch.demand_same(shape.path)

    def _quickest(self, at_once: Callable[[], Done], locked: Callable[[], Done]) -> Done:
        """Do a step at once where the rule allows it and nobody is in the way."""
        if self._at_once and not self._passing_by:
            try:
                return at_once()
            except RuleFault as fault:
                if fault.sqlstate not in _IN_THE_WAY:
                    raise
                self._passing_by = PASSING_BY
        self._passing_by = max(0, self._passing_by - 1)
        return locked()

    def _take_at_once(self, shape: Shape, rows: int) -> Batch:
        statements = AtOnce(shape, self._condition, self._walk.until)
        with self._changing(shape, briefly=True):
            count, *more = one(self._connected(), statements.take(rows, self._walk.after))
            keys = keys_of(more[statements.width :])
            if len(keys) > rows:
                self._walk.by_key()
                raise RuleFault(Reason.DATABASE_ERROR, _NOT_IN_ORDER, Trouble.BUSY)
            behind, looked = self._reached(statements, rows, number(count), more[: statements.width])
        self._walk.go_on(behind)
        return Batch(looked, keys)

    def _take_locked(self, shape: Shape, rows: int) -> Batch:
        with self._changing(shape):
            hashed = [mask.column for mask in self._masks(shape) if mask.expression is None]
            statements = RowSQL(shape, self._condition, self._walk.until, self._listed)
            picked = self._pick(statements, rows, LOCKED, [statements.text_of(name) for name in hashed])
            keys, children = self._take(statements, picked) if picked.count else ((), {})
            behind, looked = self._reached(statements, rows, picked.count, picked.last)
        self._walk.go_on(behind)
        return Batch(looked, keys, children)

    def _reached(
        self, statements: RowSQL, rows: int, count: int, last: Sequence[object]
    ) -> tuple[Position | None, int]:
        """Behind what a step goes on once it is committed, and how many rows it looked at: none where this was the end.
        Asked before that: an answer that is lost later would take the keys of the rows along."""
        if count and (statements.until is None or count >= rows):
            return tuple(map(str, last)), count
        if statements.until is None:
            return self._walk.after, 0
        blocks = number(one(self._connected(), statements.blocks())[0])
        return (f"({statements.until},0)",), max(count, int(statements.until < blocks))

    def _shape(self, capture: Capture) -> Shape:
        return next(leaf for leaf in self._leaves if leaf.path == capture.table)

    def _masks(self, shape: Shape) -> tuple[Mask, ...]:
        return masks_of(shape, self._condition.alias, self._step.rule.masks, self._scope.key)

    def _pick(self, statements: RowSQL, rows: int, lock: sql.Composable, more: Sequence[sql.Composable]) -> _Picked:
        query = statements.pick(rows, self._walk.after, lock, more)
        found: tuple[Any, ...] = one(self._connected(), query)
        (count, places, *said), width = found, statements.width
        return _Picked(count, places or "", tuple(map(str, said[:width])), [each or [] for each in said[width:]])

    def _take(self, statements: RowSQL, picked: _Picked) -> tuple[tuple[Key, ...], dict[str, int]]:
        """Change the rows, and what goes along with them."""
        deletes = self._step.rule.action in (ActionType.DELETE, ActionType.PURGE)
        along_with = [child for child in self._step.children if child.goes] if deletes else []
        if not along_with:
            return self._keys(self._change(statements, picked)), {}
        # The condition is asked anew while all is there: it may be about the very rows that go first.
        still = one(self._connected(), statements.still(picked.places))[0]
        if still is None:
            return (), {}
        children = self._take_children(statements, along_with, str(still))
        return self._keys(statements.delete(str(still), asked=True)), children

    def _take_children(self, statements: RowSQL, children: Sequence[Child], places: Places) -> dict[str, int]:
        """Delete the children that the server would not, and count those that it takes along."""
        found: dict[str, int] = {}
        for child in children:
            first = needs_deleting_first(self._step.rule, child)
            query = sql.SQL("{} FROM {} AS databosun_child WHERE {}").format(
                sql.SQL("DELETE") if first else sql.SQL("SELECT"),
                sql.Identifier(*split(child.table.name)),
                along(self._step, child, statements.root(places)),
            )
            count = self._connected().execute(query).rowcount
            found[child.table.name] = found.get(child.table.name, 0) + count
        return found

    def _change(self, statements: RowSQL, picked: _Picked) -> sql.Composed:
        mark, key = self._step.rule.mark_column, self._scope.key or b""
        if self._step.rule.action is not ActionType.ANONYMIZE:
            return statements.delete(picked.places)
        masks = self._masks(statements.shape)
        hashed = [mask for mask in masks if mask.expression is None]
        hashes = [mask.hashed(key, values) for mask, values in zip(hashed, picked.lists, strict=True)]
        return statements.overwrite(picked.places, masks, hashes, (mark, self._scope.at.isoformat()) if mark else None)

    def _keys(self, query: sql.Composed) -> tuple[Key, ...]:
        """Of the rows that a statement changes."""
        return keys_of(one(self._connected(), query)) if self._listed else self._rows(query)

    def _rows(self, query: sql.Composed) -> tuple[Key, ...]:
        """All columns are texts already."""
        found: list[Any] = self._connected().execute(query).fetchall()
        return tuple(found)

    def _feed(self, query: sql.Composed) -> Feed:
        """Hands over what the server encodes; one line is one row in either form."""
        return lambda sink: copied(self._connected(), query, sink, self._scope.pulse)
