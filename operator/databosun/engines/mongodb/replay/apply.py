"""Makes entries happen in a copy: documents in batches, each in the state that its last entry left it in.

An entry that is applied twice, or to a state later than its own, does no harm as long as those behind it follow: that
is what lets a dump of many instants become one of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.mongodb.connect import CODEC, Client, Document
from databosun.engines.mongodb.delta import UnknownUpdate, updated
from databosun.engines.mongodb.replay.definitions import VIEWS, Catalogue, change_view, define
from databosun.engines.mongodb.replay.entries import Entry, Transactions, left_out

_AT_ONCE = 2000
_AT_ONCE_BYTES = 8 * 1024 * 1024
State = RawBSONDocument | Document | None
Change = tuple[str, RawBSONDocument]


@dataclass
class _Touched:
    """What happens to one document, in order."""

    id: Any
    changes: list[Change] = field(default_factory=list)

    @property
    def needs_state(self) -> bool:
        """Its first change is one of what is there."""
        return self.changes[0][0] == "u"


@dataclass
class Replay:
    """`entry` each in turn, `flush` in the end."""

    client: Client
    catalogue: Catalogue
    pulse: Callable[[], None]
    transactions: Transactions = field(default_factory=Transactions)
    applied: int = 0
    _pending: dict[str, dict[bytes, _Touched]] = field(default_factory=dict)
    _count: int = 0
    _bytes: int = 0

    def entry(self, entry: Entry) -> None:
        """Have it happen; documents by `flush` at the latest."""
        for operation in self.transactions.operations(entry):
            if left_out(operation):
                continue
            self.applied += 1
            if operation["op"] == "c":
                self.flush()
                define(self.client, self.catalogue, str(operation["ns"]), _dict(operation["o"]))
            else:
                self._note(operation)

    def flush(self) -> None:
        """Write what is pending."""
        for space, touched in self._pending.items():
            self.pulse()
            self._write(space, touched)
        self._pending.clear()
        self._count = self._bytes = 0

    def _note(self, operation: Entry) -> None:
        space, kind, what = str(operation["ns"]), str(operation["op"]), operation["o"]
        if space.partition(".")[2] == VIEWS:
            self.flush()
            change_view(self.client, space, kind, _dict(what))
            return
        whose = operation["o2"] if kind == "u" else what
        if "_id" not in whose:
            message = f"the entry {kind} at {space} names no _id, so nobody knows which document it is of"
            raise SafetyStop(Reason.RECOVERY_FAILED, message)
        key = bson.encode({"": whose["_id"]})
        touched = self._pending.setdefault(space, {}).setdefault(key, _Touched(whose["_id"]))
        touched.changes.append((kind, what))
        self._count += 1
        self._bytes += len(what.raw)
        if self._count >= _AT_ONCE or self._bytes >= _AT_ONCE_BYTES:
            self.flush()

    def _write(self, space: str, touched: Mapping[bytes, _Touched]) -> None:
        database, _, name = space.partition(".")
        collection = self.client[database][name]
        asked = [one.id for one in touched.values() if one.needs_state]
        there: dict[bytes, Document] = {}
        if asked:
            there = {bson.encode({"": one["_id"]}): one for one in collection.find({"_id": {"$in": asked}})}
        gone: list[Any] = []
        states: list[Any] = []
        for key, one in touched.items():
            state = _after(space, there.get(key), one.changes)
            if state is not None:
                states.append(ReplaceOne({"_id": one.id}, state, upsert=True))
            elif not one.needs_state or key in there:
                gone.append(DeleteOne({"_id": one.id}))
        if gone:
            collection.bulk_write(gone, ordered=False)
        if states:
            collection.bulk_write(states, ordered=False, bypass_document_validation=True)


def _after(space: str, state: State, changes: list[Change]) -> State:
    """What is there in the end. A change of what is not there is of a document that a later entry removes."""
    for kind, what in changes:
        if kind == "i":
            state = what
        elif kind == "d":
            state = None
        elif state is not None:
            try:
                state = updated(_dict(state), _dict(what))
            except (UnknownUpdate, ValueError, TypeError, KeyError) as error:
                message = f"an update of the oplog at {space} cannot be replayed: {error}"
                raise SafetyStop(Reason.RECOVERY_FAILED, message) from error
    return state


def _dict(document: Any) -> Document:
    return bson.decode(document.raw, CODEC) if isinstance(document, RawBSONDocument) else dict(document)
