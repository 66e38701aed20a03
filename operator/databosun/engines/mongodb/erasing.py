"""One database of a recovered copy, in which people are erased again: nothing refers to documents, no trigger fires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from databosun.api.erasure import ErasureEntry
from databosun.api.lifecycle import RuleOrder, TableFact
from databosun.domain.errors import WorldFault
from databosun.domain.lifecycle import Child, Step
from databosun.engines.erasing import Repeated
from databosun.engines.lifecycle import Definitions, LifecycleScope, RuleFault
from databosun.engines.mongodb.faults import guarded
from databosun.engines.mongodb.lifecycle.catalogue import Catalogue
from databosun.engines.mongodb.lifecycle.persons import MongoPerson
from databosun.engines.mongodb.lifecycle.statements import no_collection, stepping
from databosun.engines.mongodb.lifecycle.subjects import Person, Theirs, demand_told, keys_in
from databosun.engines.mongodb.recovery.copy import RunningCopy
from databosun.engines.recovery import Copy
from databosun.engines.repeating import Place, repeat_in


class MongoErasing:
    """`Erasing` of `engines/erasing.py`."""

    def repeat(
        self, copy: Copy, entries: Sequence[ErasureEntry], key: bytes, pulse: Callable[[], None]
    ) -> tuple[Repeated, ...]:
        """Database by database."""
        if not isinstance(copy, RunningCopy):
            raise TypeError(copy)
        with copy.server.client() as client, guarded("listing databases"):
            names = frozenset(client.list_database_names())
        return repeat_in(lambda name: name in names, partial(_opened, copy), entries, key, pulse)


ERASING = MongoErasing()


@contextmanager
def _opened(copy: RunningCopy, database: str) -> Iterator[Place]:
    try:
        with copy.server.client() as client:
            yield _Place(Catalogue(client, database))
    except RuleFault as fault:
        message = f"an erasure could not be repeated in database {database} of the copy: {fault.message}"
        raise WorldFault(fault.reason, message) from fault


class _Copied(MongoPerson):
    """Of documents that are as they were, whatever was done by hand at the source since."""

    def _theirs(self, person: Person) -> Sequence[Theirs]:
        demand_told(person, self._place, self._step.rule, "there it has to be taken out by hand ($pull)")
        return person.own


class _Place:
    """`Place` of `engines/repeating.py`."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def table(self, name: str) -> TableFact | None:
        """A collection; which fields it has its documents say."""
        with stepping(f"looking for collection {name}"):
            found = self._catalogue.find(name)
            return TableFact(name=found.place.full, kind=found.kind) if found is not None else None

    def tables(self, rule: RuleOrder) -> list[TableFact]:
        """Nothing refers to it."""
        with stepping("looking at the collections of an erasure"):
            return self._catalogue.tables(rule)

    def findable(self, table: TableFact, column: str) -> bool:
        """Any field may hold keys, and of documents that lack it nobody stands in them."""
        del table, column
        return True

    def values(self, table: TableFact, column: str, pulse: Callable[[], None]) -> Iterator[str]:
        """As they lie there."""
        found = self._catalogue.find(table.name)
        if found is not None:
            yield from keys_in(self._catalogue.client, found.place, column, pulse)

    def begin(self, scope: LifecycleScope, tables: Sequence[TableFact]) -> None:
        """A session knows no key, and collections have no triggers."""

    def rows(self, step: Step, scope: LifecycleScope) -> MongoPerson:
        """Work on documents."""
        catalogue, rule = self._catalogue, step.rule
        with stepping(f"looking at {rule.table}"):
            described = catalogue.find(rule.table) or no_collection(rule.table)
        return _Copied(
            lambda: catalogue.client, step, scope, described, lambda: Definitions(catalogue.tables(rule), [])
        )

    def let_go(self, step: Step, child: Child, scope: LifecycleScope) -> None:
        """Nothing refers to documents."""
