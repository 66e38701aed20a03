"""What columns are overwritten with: an expression of the server, or for keyed hashes values that the agent works out.

The key of a hash never reaches the server, where a log of slow statements might keep it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from databosun.api.lifecycle import Granularity, MaskMethod, MaskOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.hashing import HASH_CHARACTERS, masked
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.mysql.lifecycle.shapes import NUMBERS, TEXTS, TIMES, Column, Shape
from databosun.engines.mysql.lifecycle.statements import literal

FEWEST_CHARACTERS = 16  # 64 bits: about one in a billion that two of a hundred thousand values become one
_SIZED = re.compile(r"(?:var)?char\((\d+)\)")
_BRIEF = {"tinytext": 255}
_PATTERNS = {Granularity.DAY: "%Y-%m-%d", Granularity.MONTH: "%Y-%m-01", Granularity.YEAR: "%Y-01-01"}


@dataclass(frozen=True, slots=True)
class Mask:
    """One column. `expression`: of the server; None: `hashed` gives each value anew. `length`: of such a text."""

    column: Column
    expression: str | None
    length: int = HASH_CHARACTERS

    def hashed(self, key: bytes, values: Sequence[str | None]) -> list[str | None]:
        """The same value gives the same hash, in every table; NULL stays NULL."""
        return masked(key, values, self.length, uuid=self.column.kind == "uuid")


def masks_of(shape: Shape, orders: Sequence[MaskOrder], key: bytes | None) -> tuple[Mask, ...]:
    """What is to be written. RuleFault where a method does not fit its column, or a hash has no key."""
    return tuple(_mask(shape, shape.column(one.column), one, key) for one in orders)


def _mask(shape: Shape, column: Column, order: MaskOrder, key: bytes | None) -> Mask:
    where = f"{shape.table}.{column.name} is of type {column.type}"
    if order.method is MaskMethod.FIXED:
        return Mask(column, literal(order.value or ""))
    if order.method is MaskMethod.NULL:
        return Mask(column, "NULL")
    if order.method is MaskMethod.HASH:
        if key is None:
            raise _misfit(where, "Hash needs a key: name one in spec.hashKeySecretRef")
        return Mask(column, None, _length(column, where))
    if order.method is MaskMethod.PARTIAL:
        if column.kind not in TEXTS:
            raise _misfit(where, "Partial needs a text")
        return Mask(column, _partial(column.sql, order))
    return Mask(column, _general(column, order, where))


def _length(column: Column, where: str) -> int:
    if column.kind == "uuid":
        return HASH_CHARACTERS
    if column.kind not in TEXTS:
        raise _misfit(where, "Hash needs a text or a uuid")
    sized = _SIZED.match(column.type)
    room = int(sized[1]) if sized else _BRIEF.get(column.kind, HASH_CHARACTERS)
    if room < FEWEST_CHARACTERS:
        raise _misfit(where, "Hash needs room for at least 16 characters")
    return min(room, HASH_CHARACTERS)


def _partial(here: str, order: MaskOrder) -> str:
    """Characters at both ends stay, where others are left between them; the length stays in any case."""
    both = order.keep_first + order.keep_last
    return (
        f"IF(CHAR_LENGTH({here}) <= {both}, REPEAT('*', CHAR_LENGTH({here})), CONCAT(LEFT({here}, {order.keep_first}),"
        f" REPEAT('*', CHAR_LENGTH({here}) - {both}), RIGHT({here}, {order.keep_last})))"
    )


def _general(column: Column, order: MaskOrder, where: str) -> str:
    if order.to is not None and column.kind in TIMES:
        return f"DATE_FORMAT({column.sql}, '{_PATTERNS[order.to]}')"
    if order.step is not None and column.kind in NUMBERS | {"float", "double"}:
        # Down, of negative numbers too; a quotient would be rounded first.
        return f"{column.sql} - MOD(MOD({column.sql}, {order.step}) + {order.step}, {order.step})"
    raise _misfit(where, "Generalize needs step for a number, and to for a date or an instant")


def _misfit(where: str, need: str) -> RuleFault:
    return RuleFault(Reason.MASK_DOES_NOT_FIT, f"{where}; {need}", Trouble.PERMANENT)
