"""The statements that work on the rows of one table, by keys that are locked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from databosun.engines.lifecycle import Key
from databosun.engines.mysql.connect import quote
from databosun.engines.mysql.lifecycle.conditions import Condition
from databosun.engines.mysql.lifecycle.encode import row_hash
from databosun.engines.mysql.lifecycle.shapes import Position, Shape
from databosun.engines.mysql.lifecycle.statements import literal

# The server goes by an index as long as its arithmetic of a list does not cost more than it may: both make another plan
# of longer ones (in_predicate_conversion_threshold, range_optimizer_max_mem_size).
MOST_KEYS = 500


@dataclass(frozen=True, slots=True)
class RowSQL:
    """Of one table and one condition."""

    shape: Shape
    condition: Condition

    def pick(self, rows: int, after: Position | None, *, locked: bool, more: Sequence[str] = ()) -> str:
        """The next rows by the walk: its columns as text, and what else is asked. `locked`: and nobody else's."""
        shape = self.shape
        columns = ", ".join([*(one.shown for one in shape.walk), *more])
        behind = f" AND {shape.behind(after)}" if after is not None else ""
        order = ", ".join(one.sql for one in shape.walk)
        lock = " FOR UPDATE SKIP LOCKED" if locked else ""
        # A person's rows are few, and another index may find them at once.
        index = "" if self.condition.subject is not None else f" FORCE INDEX ({quote(shape.index)})"
        return (
            f"SELECT {columns} FROM {shape.sql}{index} "  # noqa: S608 - quoted
            f"WHERE {self.condition.all}{behind} ORDER BY {order} LIMIT {rows}{lock}"
        )

    def still(self, keys: Sequence[Key]) -> str:
        """Which of the rows that are locked the condition holds for now."""
        return f"{self.present(keys)} AND {self.condition.all}"

    def overwrite(self, keys: Sequence[Key], values: Mapping[str, str]) -> str:
        """Overwrite columns of rows that are locked. `values`: SQL by column; what the server would write into others
        by itself stays as it is."""
        shape = self.shape
        stamped = {one.sql: one.sql for one in shape.columns if one.stamped}
        named = {shape.column(name).sql: value for name, value in values.items()}
        sets = ", ".join(f"{column} = {value}" for column, value in (stamped | named).items())
        return (
            f"UPDATE {shape.sql} FORCE INDEX ({quote(shape.unique)}) SET {sets} "  # noqa: S608 - quoted
            f"WHERE {shape.is_one_of(keys)}"
        )

    def by_key(self, keys: Sequence[Key], values: Sequence[str | None]) -> str:
        """To each row its own value."""
        whens = (
            f"WHEN {self.shape.is_one_of([key])} THEN {'NULL' if value is None else literal(value)}"
            for key, value in zip(keys, values, strict=True)
        )
        return f"CASE {' '.join(whens)} END"

    def listed(self, keys: Sequence[Key], what: str) -> str:
        """Of rows by their keys, something."""
        shape = self.shape
        return (
            f"SELECT {what} FROM {shape.sql} FORCE INDEX ({quote(shape.unique)}) "  # noqa: S608 - quoted
            f"WHERE {shape.is_one_of(keys)}"
        )

    def unchanged(self, keys: Sequence[Key]) -> str:
        """Lock the listed rows that the rule takes still, and say what they hold now: key and hash."""
        shown = ", ".join(one.shown for one in self.shape.key)
        what = self.listed(keys, f"{shown}, {row_hash(self.shape.columns)}")
        return f"{what} AND {self.condition.all} FOR UPDATE SKIP LOCKED"

    def present(self, keys: Sequence[Key]) -> str:
        """The keys that are there."""
        return self.listed(keys, ", ".join(one.shown for one in self.shape.key))

    def delete(self, keys: Sequence[Key]) -> str:
        """Rows that are locked, and that the condition was asked for since. In the form for several tables: the one for
        a single table names no index."""
        shape = self.shape
        return f"DELETE {shape.sql} FROM {shape.sql} FORCE INDEX ({quote(shape.unique)}) WHERE {shape.is_one_of(keys)}"


def portions(keys: Sequence[Key]) -> Iterable[Sequence[Key]]:
    """So many at once as the server takes by an index."""
    for at in range(0, len(keys), MOST_KEYS):
        yield keys[at : at + MOST_KEYS]
