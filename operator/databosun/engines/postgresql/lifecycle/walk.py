"""How far a pass over the rows of a rule has come: in which table, and behind which of its rows.

Rows whose age no index leads to are walked as they lie, in stretches: the server reads each block once, however the key
lies in the table, and looks up nothing by key that it would read in any case. What comes to lie before the walk
meanwhile is found by the next pass, for which a count of what is left decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from databosun.engines.postgresql.lifecycle.rowsql import FIRST_PLACE
from databosun.engines.postgresql.lifecycle.shapes import Position, Shape

STRETCH = 32_768  # blocks that a step goes through at most, however few rows of them it takes
_MOST_BLOCKS = 2**32 - 1
# Rows are read by key and by place: for many at once the server would rather read the whole table.
BY_PLACE = {"enable_seqscan": "off"}
IN_ORDER = {**BY_PLACE, "enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}


class Walk:
    """Over these tables, one after the other. `as_they_lie`: where no index on the age leads."""

    def __init__(self, leaves: Sequence[Shape], *, as_they_lie: bool) -> None:
        self._leaves = leaves
        self._as_they_lie = as_they_lie
        self._at = 0
        self._after: Position | None = None

    @property
    def shape(self) -> Shape | None:
        """The table that it is in; None at the end."""
        return self._leaves[self._at] if self._at < len(self._leaves) else None

    @property
    def after(self) -> Position | None:
        """Behind which row, by the walk columns, or by the place alone."""
        return self._after

    @property
    def until(self) -> int | None:
        """The block at which the next step ends; None where rows are walked by key."""
        shape = self.shape
        if not self._as_they_lie or shape is None or shape.walk != shape.key:
            return None
        place = self._after[0] if self._after is not None else FIRST_PLACE
        return min(_MOST_BLOCKS, int(place[1:].partition(",")[0]) + STRETCH)

    @property
    def settings(self) -> dict[str, str]:
        """Of the server, for a step: by these it reads rows as they are walked."""
        return BY_PLACE if self.until is None else IN_ORDER

    def restart(self) -> None:
        """From the first row."""
        self._go_to(0)

    def leave(self) -> None:
        """On to the next table."""
        self._go_to(self._at + 1)

    def by_key(self) -> None:
        """From the start of the table, by key from now on."""
        self._as_they_lie = False
        self._go_to(self._at)

    def go_on(self, behind: Position | None) -> None:
        """Behind this row or place."""
        self._after = behind

    def _go_to(self, at: int) -> None:
        self._at, self._after = at, None
