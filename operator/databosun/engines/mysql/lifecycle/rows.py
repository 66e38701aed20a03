"""Work on the rows of one rule: the next ones by key, each step a transaction of its own.

Rows are picked and locked first, passing by those that somebody else has locked. Then the condition is asked anew: what
the first statement saw of other tables may be old by then, what the second sees is not, since nobody can refer to a
locked row any more. They are deleted by their keys, since a statement that deletes may not read its own table (1093).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import ActionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.lifecycle import Child, Step, needs_deleting_first
from databosun.engines.lifecycle import (
    Batch,
    Capture,
    Definitions,
    Feed,
    Key,
    Left,
    LifecycleScope,
    RuleFault,
    Trouble,
    plan_changed,
)
from databosun.engines.mysql.lifecycle.conditions import working_condition
from databosun.engines.mysql.lifecycle.counts import alias, along, count_left
from databosun.engines.mysql.lifecycle.encode import SETTINGS, insert_line, json_line, row_hash
from databosun.engines.mysql.lifecycle.masks import Mask, masks_of
from databosun.engines.mysql.lifecycle.rowsql import RowSQL, portions
from databosun.engines.mysql.lifecycle.shapes import Position, Shape
from databosun.engines.mysql.lifecycle.statements import (
    ask,
    change,
    literal,
    named,
    no_table,
    number,
    run,
    stepping,
    stream,
    transaction,
)

PIECE_CHARACTERS = 256 * 1024
WITH_CHILDREN = frozenset({ActionType.DELETE, ActionType.PURGE})


class MySQLRows:
    """`RowWork` of `engines/lifecycle.py`."""

    definition_name = "table.sql"

    def __init__(
        self,
        connected: Callable[[], Connection[Any]],
        step: Step,
        scope: LifecycleScope,
        shape: Shape,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._connected = connected
        self._step = step
        self._scope = scope
        self._definitions = definitions
        self._table = step.table or no_table(step.rule.table)
        with stepping(f"looking at {step.rule.table}"):
            self._known = definitions()
            self._condition = working_condition(connected(), step, scope)
            subject = self._condition.subject
            self._shape = shape = shape.telling(subject.column, subject.told) if subject is not None else shape
            self._masks = masks_of(shape, step.rule.masks, scope.key)  # said before anything is done
        self._statements = RowSQL(shape, self._condition)
        self._after: Position | None = None

    @property
    def definition(self) -> str:
        """Of the table that rows are taken from."""
        return self._shape.definition

    def restart(self) -> None:
        """From the first row."""
        self._after = None

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next rows."""
        connection = self._connected()
        with stepping(f"working on {self._table.name}"), transaction(connection):
            picked = run(connection, self._statements.pick(rows, self._after, locked=True))
            keys, children = self._take([self._key(row) for row in picked]) if picked else ((), {})
            self._demand_same()
        if picked:
            self._after = tuple(str(value) for value in picked[-1])
        return Batch(len(picked), keys, children)

    def left(self) -> Left:
        """What the condition matches now."""
        with stepping(f"counting {self._table.name}"):
            return count_left(self._connected(), self._step, self._condition)

    def _key(self, row: Sequence[object]) -> Key:
        return self._shape.key_of([str(value) for value in row[: len(self._shape.walk)]])

    def _demand_same(self) -> None:
        """At the end of a step, before it is committed. SafetyStop(PlanChanged) takes back what the step did. From its
        first statement on, the server lets nobody change the tables, triggers and functions that it uses."""
        now = self._definitions()
        if now != self._known:
            raise plan_changed(self._table.name, self._known, now)

    def _take(self, picked: Sequence[Key]) -> tuple[tuple[Key, ...], dict[str, int]]:
        """Change rows that are locked, and what goes along with them."""
        connection = self._connected()
        keys = self._still(picked)
        children: dict[str, int] = {}
        # All children of all portions first: a row may be referred to by rows that go with others.
        for child in self._step.children:
            if child.goes and self._step.rule.action in WITH_CHILDREN:
                count = sum(self._take_children(child, part) for part in portions(keys))
                children[child.table.name] = children.get(child.table.name, 0) + count
        done = sum(change(connection, self._change(part)) for part in portions(keys))
        if done != len(keys):
            message = f"{done} rows of {self._table.name} were changed where {len(keys)} were locked; it is taken back"
            raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.PERMANENT)
        return tuple(keys), children if keys else {}

    def _change(self, keys: Sequence[Key]) -> str:
        statements = self._statements
        if self._step.rule.action is not ActionType.ANONYMIZE:
            return statements.delete(keys)
        values = {mask.column.name: mask.expression for mask in self._masks if mask.expression is not None}
        for mask in self._masks:
            if mask.expression is None:
                values[mask.column.name] = self._hashes(mask, keys)
        if self._step.rule.mark_column is not None:
            values[self._step.rule.mark_column] = literal(f"{self._scope.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}")
        return statements.overwrite(keys, values)

    def _hashes(self, mask: Mask, keys: Sequence[Key]) -> str:
        """The rows are locked: what they hold is what is overwritten."""
        shown = ", ".join(one.shown for one in (*self._shape.key, mask.column))
        found = run(self._connected(), self._statements.listed(keys, shown))
        held = {tuple(str(part) for part in row[:-1]): row[-1] for row in found}
        key = self._scope.key or b""
        values = [None if held[one] is None else str(held[one]) for one in keys]
        return self._statements.by_key(keys, mask.hashed(key, values))

    def _still(self, picked: Sequence[Key]) -> list[Key]:
        """Asked while all is there: the condition may be about the very rows that go first."""
        words = self._condition.words
        return [
            tuple(str(value) for value in row)
            for part in portions(picked)
            for row in ask(self._connected(), self._statements.still(part), words)
        ]

    def _take_children(self, child: Child, keys: Sequence[Key]) -> int:
        """Delete those that the server would not, and count those that it takes along."""
        where = along(self._step, child, self._shape.is_one_of(keys))
        table, name = named(child.table.name), alias(0)
        if needs_deleting_first(self._step.rule, child):
            return change(self._connected(), f"DELETE {name} FROM {table} AS {name} WHERE {where}")
        counted = run(self._connected(), f"SELECT COUNT(*) FROM {table} AS {name} WHERE {where}")  # noqa: S608 - quoted
        return number(counted[0][0])

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """Read the next rows in one snapshot: first which they are, then, by their keys, in each form."""
        connection, shape = self._connected(), self._shape
        with stepping(f"reading {self._table.name}"):
            run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            with transaction(connection, "WITH CONSISTENT SNAPSHOT", "READ ONLY"):
                hashed = row_hash(shape.columns)
                picked = run(connection, self._statements.pick(rows, self._after, locked=False, more=[hashed]))
                keys = [self._key(row) for row in picked]
                if keys:
                    write("jsonl", self._feed(keys, json_line(shape.columns)))
                    write("sql", self._feed(keys, insert_line(shape.name, shape.columns), SETTINGS))
        if not keys:
            return Capture(self._table.name)
        self._after = tuple(str(value) for value in picked[-1][: len(shape.walk)])
        return Capture(self._table.name, keys, [whole(row[-1], self._table.name) for row in picked])

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """Delete those that are still as they were."""
        listed = capture.listed(begin, rows)
        connection = self._connected()
        with stepping(f"deleting from {self._table.name}"), transaction(connection):
            same = []
            for part in portions(list(listed)):
                for *key, hashed in ask(connection, self._statements.unchanged(part), self._condition.words):
                    found = tuple(str(value) for value in key)
                    if listed.get(found) == hashed:
                        same.append(found)
            gone, _ = self._take(same) if same else ((), {})
            self._demand_same()
        return Batch(len(listed), gone)

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """By key alone, whatever the rows hold by now."""
        with stepping(f"looking for rows of {capture.table}"):
            return tuple(
                tuple(str(value) for value in row)
                for part in portions(keys)
                for row in run(self._connected(), self._statements.present(part))
            )

    def _feed(self, keys: Sequence[Key], line: str, first: str = "") -> Feed:
        """Hands over what the server encodes, after a first line that is no row."""

        def feed(sink: Callable[[bytes], None]) -> int:
            count, held = 0, first
            for part in portions(keys):
                for (text,) in stream(self._connected(), self._statements.listed(part, line)):
                    held += whole(text, self._table.name)
                    count += 1
                    if len(held) >= PIECE_CHARACTERS:
                        sink(held.encode())
                        held = ""
                self._scope.pulse()
            sink(held.encode())
            return count

        return feed


def whole(value: object, table: str) -> str:
    """A row as the server encoded it. RuleFault where it could not."""
    if value is None:
        message = f"a row of {table} is longer than the server's max_allowed_packet, and cannot be archived: raise that"
        raise RuleFault(Reason.DATABASE_ERROR, message, Trouble.PERMANENT)
    return str(value)
