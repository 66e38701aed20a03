"""What the digests of two sides say: which parts of a table differ, and how many rows were lost, added, changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from databosun.api.comparison import MAX_TABLES, TableDifference, TableState

Parts = Mapping[int, tuple[int, int]]
"""Rows and sum of row hashes, by part of a table."""

_ORDER = (TableState.LOST, TableState.DIFFERS, TableState.NOT_COMPARED, TableState.NEW, TableState.SAME)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of the copy alone, of the database alone, and of both with other contents (None: no key tells)."""

    lost: int
    added: int
    changed: int | None


def rows_of(parts: Parts) -> int:
    """All rows."""
    return sum(count for count, _ in parts.values())


def differing(copy: Parts, live: Parts) -> frozenset[int]:
    """The parts that are not the same on both sides."""
    return frozenset(part for part in {*copy, *live} if copy.get(part, (0, 0)) != live.get(part, (0, 0)))


def by_key(copy: Mapping[int, int], live: Mapping[int, int]) -> RowCounts:
    """Rows by the hash of their key."""
    both = copy.keys() & live.keys()
    changed = sum(copy[key] != live[key] for key in both)
    return RowCounts(len(copy) - len(both), len(live) - len(both), changed)


def as_bags(copy: Counter[int], live: Counter[int]) -> RowCounts:
    """Rows without a key: equal ones count as often as they are there."""
    return RowCounts((copy - live).total(), (live - copy).total(), None)


def summarise(tables: Iterable[TableDifference]) -> tuple[dict[str, int], list[TableDifference]]:
    """Tables by state, and those to be listed: what differs first, then by name."""
    found: Sequence[TableDifference] = list(tables)
    counts = {str(state): count for state, count in Counter(one.state for one in found).items()}
    ordered = sorted(found, key=lambda one: (_ORDER.index(one.state), one.table))
    return counts, ordered[:MAX_TABLES]
