"""The seam for exports: all rows of one person, as JSON, from one snapshot of a database. Reads alone.

An engine that has no such way is refused with a reason (`registry.load_exporting`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.lifecycle import Step
from databosun.engines.base import Target
from databosun.engines.lifecycle import LifecycleScope


class ExportSession(Protocol):
    """A snapshot of the server. Errors: RuleFault, UserFault."""

    @property
    def dbname(self) -> str:
        """The database of the server that it reads."""
        ...

    @property
    def engine_version(self) -> str:
        """Of the server."""
        ...

    @property
    def at(self) -> datetime:
        """The instant of the snapshot, by the server's clock."""
        ...

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """The table of a rule, and all that refer to it; empty where there is none."""
        ...

    def read(self, step: Step, table: str, sink: Callable[[bytes], None]) -> int:
        """Hand over the rows of the rule's own table, or of one of its children, one line of JSON each. How many."""
        ...


class Exporting(Protocol):
    """What an engine does for exports: `EXPORTING` in its module."""

    def open(self, target: Target, scope: LifecycleScope) -> AbstractContextManager[ExportSession]:
        """Log in and take the snapshot. Errors: UserFault, WorldFault."""
        ...
