"""Exports of one person's documents from MongoDB, as canonical Extended JSON.

A snapshot of the server dies after about five minutes, and a server that stands alone has none: so the documents are
not of one instant. Each is as it was when it was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.lifecycle import Step
from databosun.engines.base import Target
from databosun.engines.exporting import ExportSession
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.mongodb.lifecycle.archive import documents_of, lines, values_of
from databosun.engines.mongodb.lifecycle.catalogue import TABLE
from databosun.engines.mongodb.lifecycle.order import portions
from databosun.engines.mongodb.lifecycle.session import MongoSession
from databosun.engines.mongodb.lifecycle.statements import stepping
from databosun.engines.mongodb.lifecycle.subjects import demand_field, demand_told, find_person, text_of, values_at

_LISTED = "hand these over by hand"


class MongoExporting:
    """`Exporting` of `engines/exporting.py`."""

    @contextmanager
    def open(self, target: Target, scope: LifecycleScope) -> Iterator[ExportSession]:
        """Log in at the primary; log out afterwards."""
        session = MongoSession(target, scope)
        try:
            yield _Reading(session, scope)
        finally:
            session.close()


EXPORTING = MongoExporting()


class _Reading:
    """`ExportSession` of `engines/exporting.py`."""

    def __init__(self, session: MongoSession, scope: LifecycleScope) -> None:
        self._session = session
        self._scope = scope
        self._at = session.now()

    @property
    def dbname(self) -> str:
        """The database of names without one."""
        return self._session.dbname

    @property
    def engine_version(self) -> str:
        """As the server says it."""
        return self._session.engine_version

    @property
    def at(self) -> datetime:
        """Right before the first document was read."""
        return self._at

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """The collection; nothing refers to it."""
        found = list(self._session.definitions(rule).tables)
        if found and found[0].kind == TABLE:
            client, described = self._session.collection(rule.table)
            with stepping(f"looking at {rule.table}", rows=False):
                demand_field(client, described.place, rule)
        return found

    def read(self, step: Step, table: str, sink: Callable[[bytes], None]) -> int:
        """One line of JSON each, as an archive has them."""
        del table  # there are no others that go along
        scope, column = self._scope, step.rule.subject_column or ""
        client, described = self._session.collection(step.rule.table)
        place, subject = described.place, scope.subject or ""
        person = find_person(client, place, column, subject, scope.pulse, scope.statement_seconds)
        demand_told(person, place, step.rule, _LISTED)
        count = 0
        for part in portions([one.identity for one in person.own]):
            with stepping(f"reading {place.full}"):
                found = list(documents_of(client, place).find({"_id": {"$in": part}}))
            theirs = [
                one for one in found
                if any(text_of(value) == subject for value, _ in values_at(values_of(one), column))
            ]  # fmt: skip
            count += lines(theirs, scope.pulse)(sink)
        return count
