"""What an engine does to compare two servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from databosun.api.comparison import TableDifference
from databosun.engines.base import Target
from databosun.engines.recovery import Copy


@dataclass(frozen=True, slots=True)
class CompareScope:
    """What to compare: all databases of the server or one, all tables or some. `statement_seconds`: at the database."""

    database: str | None
    tables: tuple[str, ...]
    statement_seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs. `host`: the server that was looked at, `at` by its own clock."""

    tables: tuple[TableDifference, ...]
    host: str
    at: datetime
    notes: tuple[str, ...] = ()


@runtime_checkable
class Comparing(Protocol):
    """What an engine may do besides: compare a database with a copy of it."""

    def compare(self, target: Target, copy: Copy, scope: CompareScope, pulse: Callable[[], None]) -> Compared:
        """Read both sides, write to neither. What cannot be compared is said for each table, never left out."""
        ...
