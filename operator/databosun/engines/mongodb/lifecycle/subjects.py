"""The documents of one person, found by the key that a field holds.

They are looked for on our side: all documents are read, but for `_id` and that field alone, and compared here. A filter
with the key in it would be a slow command of a collection that has no index on the field, and the server writes slow
commands into its log. So the key stands in no command but in those that delete or overwrite, which go by `_id`. And it
is compared byte by byte, whatever the collection's collation takes for the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import UUID_SUBTYPE

from databosun.api.lifecycle import RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.counts import key_of
from databosun.engines.mongodb.lifecycle.filters import plain
from databosun.engines.mongodb.lifecycle.order import portions
from databosun.engines.mongodb.lifecycle.statements import Place, stepping

PULSE_DOCUMENTS = 10_000
_EXACT = 2**53  # a double holds each whole number up to here


@dataclass(frozen=True, slots=True)
class Theirs:
    """A document of the person: its `_id`, and the value that is their key."""

    identity: object
    value: object = field(repr=False)

    def guard(self, column: str) -> list[Document]:
        """Filters that say that the document is theirs still."""
        return [*plain(column), {column: {"$eq": self.value}}]


@dataclass(frozen=True, slots=True)
class Person:
    """`own`: documents whose field is the key; `listed`: how many hold it in a list, where it may be one of many."""

    own: Sequence[Theirs]
    listed: int


def text_of(value: object) -> str | None:
    """A key as people write it; None for a value that is none: a text, a whole number, an ObjectId, a UUID."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Int64)):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if abs(value) <= _EXACT and value.is_integer() else None
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return str(int(number)) if number.is_finite() and abs(number) <= _EXACT and number == int(number) else None
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16:
        return str(UUID(bytes=bytes(value)))
    return None


def values_at(document: object, path: str) -> Iterator[tuple[object, bool]]:
    """The values of a field, and whether each lies in a list, or in a document of one."""
    yield from _descend(document, path.split("."), listed=False)


def find_person(
    client: Client, place: Place, column: str, subject: str, pulse: Callable[[], None], seconds: float
) -> Person:
    """One pass over the collection."""
    own, listed = [], 0
    for document in _shown(client, place, column, pulse, seconds):
        found = [(value, inside) for value, inside in values_at(document, column) if text_of(value) == subject]
        if any(inside for _, inside in found):
            listed += 1
        elif found:
            own.append(Theirs(document["_id"], found[0][0]))
    return Person(own, listed)


def keys_in(client: Client, place: Place, column: str, pulse: Callable[[], None]) -> Iterator[str]:
    """Every key in the field of any document."""
    for document in _shown(client, place, column, pulse, 0):
        for value, _ in values_at(document, column):
            if (text := text_of(value)) is not None:
                yield text


def still_theirs(client: Client, place: Place, column: str, theirs: Sequence[Theirs]) -> list[Theirs]:
    """Those whose field holds the same still."""
    known = {key_of(one.identity): one for one in theirs}
    found: list[Theirs] = []
    for part in portions([one.identity for one in theirs]):
        with stepping(f"reading {place.full}"):
            for document in client[place.database][place.name].find({"_id": {"$in": part}}, _projection(column)):
                one = known.get(key_of(document["_id"]))
                if one is not None and (one.value, False) in list(values_at(document, column)):
                    found.append(one)
    return found


def demand_field(client: Client, place: Place, rule: RuleOrder) -> None:
    """UserFault where no document has it: one that is misspelt would find nobody, and nobody would see it."""
    documents = client[place.database][place.name]
    column = rule.subject_column or ""
    if documents.find_one({column: {"$exists": True}}, {"_id": 1}) is None and documents.find_one({}, {"_id": 1}):
        message = f"rule {rule.name}: no document of {place.full} has a field {column}; correct its column"
        raise UserFault(Reason.COLUMN_NOT_FOUND, message)


def demand_alone(person: Person, place: Place, rule: RuleOrder) -> None:
    """UserFault where the person stands in lists: the document may be about others too."""
    if person.listed:
        message = (
            f"rule {rule.name}: {person.listed} documents of {place.full} hold the subject's key in a list in"
            f" {rule.subject_column}, where it may be one of many; take it out of these by hand ($pull), and ask again"
        )
        raise UserFault(Reason.RULE_NOT_READABLE, message)


def _shown(client: Client, place: Place, column: str, pulse: Callable[[], None], seconds: float) -> Iterator[Document]:
    with stepping(f"reading {place.full}"):
        found = (
            client[place.database][place.name].find({}, _projection(column)).max_time_ms(int(seconds * 1000) or None)
        )
        for number, document in enumerate(found):
            if number % PULSE_DOCUMENTS == 0:
                pulse()
            yield document


def _projection(column: str) -> Document:
    return {"_id": 1} if column.partition(".")[0] == "_id" else {"_id": 1, column: 1}


def _descend(found: object, parts: Sequence[str], *, listed: bool) -> Iterator[tuple[object, bool]]:
    if isinstance(found, list):
        for one in found:
            # As the server reads paths: a list in a list is no value of the field.
            if not isinstance(one, list):
                yield from _descend(one, parts, listed=True)
    elif not parts:
        yield found, listed
    elif isinstance(found, dict) and parts[0] in found:
        yield from _descend(found[parts[0]], parts[1:], listed=listed)
