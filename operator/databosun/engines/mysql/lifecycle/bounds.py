"""The bounds of partitions, as `information_schema` has them, made instants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pymysql.connections import Connection

from databosun.api.lifecycle import PartitioningFact
from databosun.engines.mysql.lifecycle.statements import literal, number, run, split

_METHOD = """
SELECT p.PARTITION_METHOD, p.PARTITION_EXPRESSION, p.SUBPARTITION_METHOD FROM information_schema.PARTITIONS AS p
WHERE p.TABLE_SCHEMA = {schema} AND p.TABLE_NAME = {name} AND p.PARTITION_NAME IS NOT NULL LIMIT 1
"""
_PARTITIONS = """
SELECT p.PARTITION_NAME, p.PARTITION_DESCRIPTION, p.DATA_LENGTH + p.INDEX_LENGTH
FROM information_schema.PARTITIONS AS p
WHERE p.TABLE_SCHEMA = {schema} AND p.TABLE_NAME = {name} AND p.PARTITION_NAME IS NOT NULL
ORDER BY p.PARTITION_ORDINAL_POSITION
"""
# A column, or a function of one whose values are in the order of its instants.
_BY = re.compile(r"(?:(\w+)\s*\(\s*)?`((?:[^`]|``)+)`(?(1)\s*\))", re.IGNORECASE)


def _years(value: int) -> datetime:
    return datetime(value, 1, 1, tzinfo=UTC)


def _days(value: int) -> datetime:
    # TO_DAYS counts from the year 0, which the calendar of Python does not have.
    return datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=value - 366)


def _epoch(value: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)


def _seconds(value: int) -> datetime:
    return _epoch(value - 62_167_219_200)  # TO_SECONDS('1970-01-01')


_FUNCTIONS: Mapping[str, Callable[[int], datetime]] = {
    "year": _years,
    "to_days": _days,
    "to_seconds": _seconds,
    "unix_timestamp": _epoch,
}


@dataclass(frozen=True, slots=True)
class Partition:
    """As the catalogue has it. `lower`, `upper`: exclusive above; None: none, or none that is an instant."""

    name: str
    lower: datetime | None
    upper: datetime | None
    bytes: int


def partitioning_of(connection: Connection[Any], table: str) -> PartitioningFact | None:
    """How a table is partitioned. `Range` of a column where its partitions go by that column's instants; else the
    server's own words."""
    found = _ask(connection, _METHOD, table)
    if not found:
        return None
    method, expression, below = (str(one or "") for one in found[0])
    by = _by(method, expression)
    if below:
        return PartitioningFact(strategy=f"{method.title()}, and these by {below.title()}", columns=[expression])
    if by is None:
        return PartitioningFact(strategy=method.title(), columns=[expression])
    return PartitioningFact(strategy="Range", columns=[by[1]])


def list_partitions(connection: Connection[Any], table: str) -> tuple[Partition, ...]:
    """Those of a table, in their order. Empty where these do not go by instants."""
    method = _ask(connection, _METHOD, table)
    by = _by(str(method[0][0]), str(method[0][1])) if method else None
    if by is None:
        return ()
    found: list[Partition] = []
    lower: datetime | None = None
    for name, end, size in _ask(connection, _PARTITIONS, table):
        upper = _instant(connection, by[0], str(end))
        found.append(Partition(str(name), lower, upper, number(size)))
        lower = upper
    return tuple(found)


def _by(method: str, expression: str) -> tuple[str | None, str] | None:
    """The function and the column that partitions go by."""
    found = _BY.fullmatch(expression.strip())
    if not method.upper().startswith("RANGE") or found is None:
        return None
    function = found[1].lower() if found[1] else None
    if (function is None) != (method.upper() == "RANGE COLUMNS") or (function or "year") not in _FUNCTIONS:
        return None
    return function, found[2].replace("``", "`")


def _instant(connection: Connection[Any], function: str | None, end: str) -> datetime | None:
    if end.upper() == "MAXVALUE":
        return None
    if function is not None:
        try:
            return _FUNCTIONS[function](int(end))
        except (ValueError, OverflowError):  # NULL, or before the first year
            return None
    value = run(connection, f"SELECT CAST({literal(end.strip(chr(39)))} AS DATETIME(6))")[0][0]
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else None


def _ask(connection: Connection[Any], query: str, table: str) -> list[Any]:
    schema, name = split(table)
    return run(connection, query.format(schema=literal(schema), name=literal(name)))
