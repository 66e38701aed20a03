"""What columns are overwritten with: an expression of the server, or for keyed hashes values that the agent works out.

The key of a hash never reaches the server, where a log of slow statements might keep it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from databosun.api.lifecycle import Granularity, MaskMethod, MaskOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.hashing import HASH_CHARACTERS, masked
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.postgresql.lifecycle.shapes import Column, Shape, as_sql

FEWEST_CHARACTERS = 16  # 64 bits: about one in a billion that two of a hundred thousand values become one
_TEXT = re.compile(r"text|character varying(?:\((\d+)\))?|character\((\d+)\)")
_NUMBER = re.compile(r"smallint|integer|bigint|numeric(?:\(.*\))?|real|double precision")
_TIME = re.compile(r"date|timestamp(?:\(\d\))? with(?:out)? time zone")
_FIELD = {Granularity.DAY: "day", Granularity.MONTH: "month", Granularity.YEAR: "year"}


@dataclass(frozen=True, slots=True)
class Mask:
    """One column. `expression`: of the server; None: `hashed` gives each value anew. `length`: of such a text."""

    column: str
    type: str
    expression: sql.Composable | None
    length: int = HASH_CHARACTERS

    def hashed(self, key: bytes, values: Sequence[str | None]) -> list[str | None]:
        """The same value gives the same hash, in every table; NULL stays NULL."""
        return masked(key, values, self.length, uuid=self.type == "uuid")


def masks_of(shape: Shape, alias: sql.Identifier, orders: list[MaskOrder], key: bytes | None) -> tuple[Mask, ...]:
    """What is to be written. RuleFault where a method does not fit its column, or a hash has no key."""
    columns = {one.name: one for one in shape.columns}
    return tuple(_mask(shape, columns[one.column], alias, one, key) for one in orders)


def _mask(shape: Shape, column: Column, alias: sql.Identifier, order: MaskOrder, key: bytes | None) -> Mask:
    here = sql.SQL("{}.{}").format(alias, sql.Identifier(column.name))
    where = f"{shape.full_name}.{column.name} is of type {column.type}"
    if order.method is MaskMethod.FIXED:
        fixed = sql.SQL("CAST({} AS {})").format(sql.Literal(order.value), as_sql(column.type))
        return Mask(column.name, column.type, fixed)
    if order.method is MaskMethod.NULL:
        return Mask(column.name, column.type, sql.NULL)
    if order.method is MaskMethod.HASH:
        if key is None:
            raise _misfit(where, "Hash needs a key: name one in spec.hashKeySecretRef")
        return Mask(column.name, column.type, None, _length(column, where))
    if order.method is MaskMethod.PARTIAL:
        if not _TEXT.fullmatch(column.type):
            raise _misfit(where, "Partial needs a text")
        return Mask(column.name, column.type, _partial(here, order))
    return Mask(column.name, column.type, _general(column, here, order, where))


def _length(column: Column, where: str) -> int:
    if column.type == "uuid":
        return HASH_CHARACTERS
    found = _TEXT.fullmatch(column.type)
    if not found:
        raise _misfit(where, "Hash needs a text or a uuid")
    room = int(found[1] or found[2] or HASH_CHARACTERS)
    if room < FEWEST_CHARACTERS:
        raise _misfit(where, "Hash needs room for at least 16 characters")
    return min(room, HASH_CHARACTERS)


def _partial(here: sql.Composable, order: MaskOrder) -> sql.Composable:
    """Characters at both ends stay, where others are left between them; the length stays in any case."""
    return sql.SQL(
        "CASE WHEN length({c}) <= {both} THEN repeat('*', length({c})) "
        "ELSE left({c}, {first}) || repeat('*', length({c}) - {both}) || right({c}, {last}) END"
    ).format(
        c=here,
        first=sql.Literal(order.keep_first),
        last=sql.Literal(order.keep_last),
        both=sql.Literal(order.keep_first + order.keep_last),
    )


def _general(column: Column, here: sql.Composable, order: MaskOrder, where: str) -> sql.Composable:
    kind = as_sql(column.type)
    if order.to is not None and _TIME.fullmatch(column.type):
        field = sql.Literal(_FIELD[order.to])
        return sql.SQL("CAST(pg_catalog.date_trunc({}, {}) AS {})").format(field, here, kind)
    if order.step is not None and _NUMBER.fullmatch(column.type):
        return sql.SQL("CAST(pg_catalog.floor({c}::numeric / {n}) * {n} AS {t})").format(
            c=here, n=sql.Literal(order.step), t=kind
        )
    raise _misfit(where, "Generalize needs step for a number, and to for a date or an instant")


def _misfit(where: str, need: str) -> RuleFault:
    return RuleFault(Reason.MASK_DOES_NOT_FIT, f"{where}; {need}", Trouble.PERMANENT)
