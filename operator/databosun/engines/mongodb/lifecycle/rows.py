"""Work on the documents of one rule: the next ones by `_id`, each changed only if the whole filter fits it still.

There are no transactions: a server that stands alone has none. A command that deletes or updates decides document by
document, and for each at one instant, whether its filter fits; so the filter says all that must be so. What a command
that failed in its midst had done by then is looked up, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from databosun.api.lifecycle import ActionType
from databosun.domain.lifecycle import Step
from databosun.engines.lifecycle import (
    Batch,
    Capture,
    Definitions,
    Feed,
    Key,
    Left,
    LifecycleScope,
    RuleFault,
    Trouble,
    plan_changed,
)
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.archive import (
    digest_of,
    documents_of,
    files,
    held,
    identity_of,
    lines,
    sized,
    still,
)
from databosun.engines.mongodb.lifecycle.catalogue import Described
from databosun.engines.mongodb.lifecycle.conditions import working_condition
from databosun.engines.mongodb.lifecycle.counts import count_left, key_of
from databosun.engines.mongodb.lifecycle.masks import change_of
from databosun.engines.mongodb.lifecycle.order import behind, portions
from databosun.engines.mongodb.lifecycle.statements import Written, stepping, write
from databosun.engines.mongodb.namespaces import Collection, metadata_json


class MongoRows:
    """`RowWork` of `engines/lifecycle.py`."""

    def __init__(
        self,
        connected: Callable[[], Client],
        step: Step,
        scope: LifecycleScope,
        described: Described,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._connected = connected
        self._step = step
        self._scope = scope
        self._described = described
        self._place = described.place
        self._definitions = definitions
        self._known = definitions()
        self._condition = working_condition(connected(), self._place, step, scope)
        self._after: list[Document] = []
        self._captured: dict[Key, object] = {}
        self._pending: RuleFault | None = None

    @property
    def definition(self) -> str:
        """As a dump describes a collection beside its documents."""
        one = self._described
        uuid = (one.entry.get("info") or {}).get("uuid")
        known = Collection(
            one.place.database, one.place.name, options=one.options, uuid=bytes(uuid).hex() if uuid else None
        )
        return metadata_json(known, one.indexes).decode()

    @property
    def definition_name(self) -> str:
        """Beside the parts."""
        return "collection.metadata.json"

    def restart(self) -> None:
        """From the first document."""
        self._after = []

    def take(self, rows: int) -> Batch:
        """Delete or overwrite the next documents."""
        masks = self._step.rule.masks
        found = self._next(rows, {"_id": 1, **{mask.column: 1 for mask in masks}})
        if not found:
            return Batch(0)
        self._demand_may_go_on()
        picked = [one["_id"] for one in found]
        if self._step.rule.action is ActionType.ANONYMIZE:
            changed = [one for part in sized(found, _roughly) for one in self._overwrite(part)]
        else:
            changed = [one for part in portions(picked) for one in self._delete(part)]
        self._after = behind(picked[-1])
        return Batch(len(picked), tuple(key_of(one) for one in changed))

    def capture(self, rows: int, write: Callable[[str, Feed], None]) -> Capture:
        """Read the next documents, as they are, and hand them over in each form."""
        documents, milliseconds = (
            documents_of(self._connected(), self._place),
            int(self._scope.statement_seconds * 1000),
        )
        with stepping(f"reading {self._place.full}", rows=False):
            found = documents.find({"$and": [*self._after, *self._condition.all]}).sort("_id", 1).limit(rows)
            taken = held(found.allow_disk_use(True).max_time_ms(milliseconds), self._place)
        self._captured = {key_of(identity): identity for identity in map(identity_of, taken)}
        if not taken:
            return Capture(self._place.full)
        write("jsonl", lines(taken, self._scope.pulse))
        write("bson", files(taken, self._scope.pulse))
        self._after = behind(identity_of(taken[-1]))
        return Capture(self._place.full, list(self._captured), list(map(digest_of, taken)))

    def release(self, capture: Capture, begin: int, rows: int) -> Batch:
        """Delete those that are still as they were."""
        self._demand_may_go_on()
        listed = capture.listed(begin, rows)
        gone: list[object] = []
        for part in portions([self._captured[key] for key in listed]):
            with stepping(f"reading {self._place.full}", rows=False):
                found = documents_of(self._connected(), self._place).find({"_id": {"$in": part}})
                same = [one for one in found if listed.get(key_of(identity_of(one))) == digest_of(one)]
            for documents in sized(same, _bytes):
                gone += self._delete_same(documents)
        return Batch(len(listed), tuple(key_of(one) for one in gone))

    def present(self, capture: Capture, keys: Sequence[Key]) -> tuple[Key, ...]:
        """By `_id` alone, whatever the documents hold by now."""
        del capture  # it is the last one
        identities = [self._captured[key] for key in keys]
        return tuple(key_of(one) for part in portions(identities) for one in self._there(part))

    def left(self) -> Left:
        """What the condition matches now."""
        with stepping(f"counting {self._place.full}", rows=False):
            return count_left(self._connected(), self._place, self._step, self._condition, self._scope)

    def _next(self, rows: int, shown: Mapping[str, Any]) -> list[Document]:
        documents = self._connected()[self._place.database][self._place.name]
        with stepping(f"reading {self._place.full}", rows=False):
            found = documents.find({"$and": [*self._after, *self._condition.all]}, shown).sort("_id", 1).limit(rows)
            return list(found.allow_disk_use(True).max_time_ms(int(self._scope.statement_seconds * 1000)))

    def _demand_may_go_on(self) -> None:
        """Before a step is written. SafetyStop(PlanChanged); or what the last one has met in its midst."""
        if self._pending is not None:
            raise self._pending
        now = self._definitions()
        if now != self._known:
            raise plan_changed(self._place.full, self._known, now)

    def _delete(self, picked: Sequence[object]) -> list[object]:
        statement = {"q": {"_id": {"$in": list(picked)}, "$and": self._condition.all}, "limit": 0}
        return self._settled(picked, {"delete": self._place.name, "deletes": [statement]}, self._missing)

    def _overwrite(self, documents: Sequence[Document]) -> list[object]:
        rule, scope = self._step.rule, self._scope
        statements = []
        for one in documents:
            change = change_of(one, rule, scope.key)
            asked = {"_id": one["_id"], "$and": [*self._condition.all, *change.guards]}
            statements.append({"q": asked, "u": {"$set": {**change.values, str(rule.mark_column): scope.at}}})
        command = {"update": self._place.name, "updates": statements}
        return self._settled([one["_id"] for one in documents], command, self._marked)

    def _delete_same(self, documents: Sequence[RawBSONDocument]) -> list[object]:
        identities = [identity_of(one) for one in documents]
        statements = [
            {"q": {"_id": identity, "$and": [*self._condition.all, still(one)]}, "limit": 1}
            for identity, one in zip(identities, documents, strict=True)
        ]
        return self._settled(identities, {"delete": self._place.name, "deletes": statements}, self._missing)

    def _settled(
        self,
        picked: Sequence[object],
        command: Mapping[str, Any],
        done: Callable[[Sequence[object]], list[object]],
    ) -> list[object]:
        """Which of these a command has changed. Where it failed and some are changed all the same, they are told, and
        the failure with the next step."""
        client, doing = self._connected(), f"working on {self._place.full}"
        try:
            written = write(client, self._place, command, self._scope, doing)
        except RuleFault as fault:
            if fault.trouble is Trouble.LOST:
                raise
            written = Written(0, fault)
        if written.count == len(picked) and written.fault is None:
            return list(picked)
        changed = done(picked)
        if written.fault is not None:
            if not changed:
                raise written.fault
            self._pending = written.fault if written.fault.trouble is Trouble.PERMANENT else None
        return changed

    def _missing(self, picked: Sequence[object]) -> list[object]:
        there = {key_of(one) for one in self._there(picked)}
        return [one for one in picked if key_of(one) not in there]

    def _marked(self, picked: Sequence[object]) -> list[object]:
        return self._there(picked, {str(self._step.rule.mark_column): self._scope.at})

    def _there(self, picked: Sequence[object], more: Document | None = None) -> list[object]:
        """By `_id`, whatever the documents hold else by now."""
        documents = self._connected()[self._place.database][self._place.name]
        with stepping(f"looking for documents of {self._place.full}", rows=False):
            return [one["_id"] for one in documents.find({"_id": {"$in": list(picked)}, **(more or {})}, {"_id": 1})]


def _bytes(document: RawBSONDocument) -> int:
    return len(document.raw)


def _roughly(document: Document) -> int:
    return len(bson.encode(document))
