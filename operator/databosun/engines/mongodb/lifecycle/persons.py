"""Work on the documents of one person: found once, then each changed only if it is theirs still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from databosun.api.lifecycle import ActionType, RuleCounts
from databosun.domain.lifecycle import Step
from databosun.engines.lifecycle import Batch, Definitions, Left, LifecycleScope, hash_key
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.archive import sized
from databosun.engines.mongodb.lifecycle.catalogue import Described
from databosun.engines.mongodb.lifecycle.conditions import Condition
from databosun.engines.mongodb.lifecycle.counts import SAMPLES, average_bytes, key_of
from databosun.engines.mongodb.lifecycle.masks import change_of, demand_fit
from databosun.engines.mongodb.lifecycle.order import portions
from databosun.engines.mongodb.lifecycle.rows import MongoRows
from databosun.engines.mongodb.lifecycle.statements import Place, stepping
from databosun.engines.mongodb.lifecycle.subjects import (
    Person,
    Theirs,
    demand_field,
    demand_told,
    find_person,
    still_theirs,
)

_STATEMENT_BYTES = 2048  # of one, at the most, as far as it is not the documents' own

_LISTED = (
    "take it out of these by hand ($pull), and ask again. Backups of before keep it in their lists: these can be"
    " restored with spec.erasures: Skip alone, and it has to be taken out by hand there, too"
)


def count_person(client: Client, place: Place, step: Step, condition: Condition, scope: LifecycleScope) -> RuleCounts:
    """What an erasure would do right now. UserFault where the person could not be erased whole."""
    rule, documents = step.rule, client[place.database][place.name]
    demand_field(client, place, rule)
    person = find_person(client, place, rule.subject_column or "", scope.subject or "", scope.pulse,
                         scope.statement_seconds)  # fmt: skip
    demand_told(person, place, rule, _LISTED)
    held = 0
    for part in portions([one.identity for one in person.own]):
        scope.pulse()
        if rule.action is ActionType.ANONYMIZE:
            demand_fit(client, place, step, replace(condition, base=[{"_id": {"$in": part}}]), scope)
        if condition.held:
            held += documents.count_documents({"_id": {"$in": part}, "$or": list(condition.held)})
    eligible = len(person.own) - held
    named = [hash_key(scope.key, key_of(one.identity)) for one in person.own[:SAMPLES]] if scope.key else []
    return RuleCounts(
        rows=documents.count_documents({}),
        eligible=eligible,
        held=held,
        bytes=eligible * average_bytes(client, place),
        samples=sorted(named),
    )


class MongoPerson(MongoRows):
    """`RowWork` of `engines/lifecycle.py`, of one person's documents."""

    def __init__(
        self,
        connected: Callable[[], Client],
        step: Step,
        scope: LifecycleScope,
        described: Described,
        definitions: Callable[[], Definitions],
    ) -> None:
        super().__init__(connected, step, scope, described, definitions)
        self._column = step.rule.subject_column or ""
        self._found: list[Theirs] | None = None

    def restart(self) -> None:
        """They are looked for anew."""
        self._found = None

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next of them."""
        if self._found is None:
            self._found = list(self._theirs(self._look()))
        picked = self._found[:rows]
        if not picked:
            return Batch(0)
        self._demand_may_go_on()
        work = self._change if self._step.rule.action is ActionType.ANONYMIZE else self._remove
        changed = [one for part in sized(picked, lambda _: _STATEMENT_BYTES) for one in work(part)]
        del self._found[: len(picked)]
        return Batch(len(picked), tuple(key_of(one) for one in changed))

    def left(self) -> Left:
        """All documents with the key, those that have it in a list too, or may have it where it is not read."""
        return Left(self._look().documents)

    def _theirs(self, person: Person) -> Sequence[Theirs]:
        return person.own

    def _look(self) -> Person:
        scope = self._scope
        return find_person(
            self._connected(), self._place, self._column, scope.subject or "", scope.pulse, scope.statement_seconds
        )

    def _remove(self, theirs: Sequence[Theirs]) -> list[object]:
        statements = [{"q": self._asked(one), "limit": 1} for one in theirs]
        command = {"delete": self._place.name, "deletes": statements}
        return self._settled([one.identity for one in theirs], command, self._missing)

    def _change(self, theirs: Sequence[Theirs]) -> list[object]:
        rule = self._step.rule
        known = {key_of(one.identity): one for one in theirs}
        shown = {"_id": 1, **{mask.column: 1 for mask in rule.masks}}
        documents = self._connected()[self._place.database][self._place.name]
        with stepping(f"reading {self._place.full}"):
            found = list(documents.find({"_id": {"$in": [one.identity for one in theirs]}}, shown))
        statements = []
        for document in found:
            change = change_of(document, rule, self._scope.key)
            asked = self._asked(known[key_of(document["_id"])], change.guards)
            statements.append({"q": asked, "u": {"$set": change.values}})
        if not statements:
            return []
        command = {"update": self._place.name, "updates": statements}

        def overwritten(picked: Sequence[object]) -> list[object]:
            there = still_theirs(self._connected(), self._place, self._column, theirs)
            same = {key_of(one.identity) for one in there}
            return [one for one in self._there(picked) if key_of(one) not in same]

        return self._settled([one["_id"] for one in found], command, overwritten)

    def _asked(self, one: Theirs, more: Sequence[Document] = ()) -> Document:
        return {"_id": one.identity, "$and": [*self._condition.all, *one.guard(self._column), *more]}
