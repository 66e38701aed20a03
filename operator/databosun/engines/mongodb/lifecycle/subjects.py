"""The documents of one person, found by the key that a field holds.

They are looked for on our side: all documents are read, but for `_id` and that field alone, and compared here. A filter
with the key in it would be a slow command of a collection that has no index on the field, and the server writes slow
commands into its log. So the key stands in no command but in those that delete or overwrite, which go by `_id`. And it
is compared byte by byte, whatever the collection's collation takes for the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from types import NoneType
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId
from bson.binary import UUID_SUBTYPE
from bson.datetime_ms import DatetimeMS

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
_LONGEST = 10**34  # a decimal likewise
# What no key is written in: none, yes or no, an instant. A document has fields of its own, which a rule may name.
_NEVER = (NoneType, bool, datetime, DatetimeMS, dict)


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
    """`own`: documents whose field is the key; `listed`: how many hold it in a list, where it may be one of many;
    `unread`: how many documents may hold it in a type that is not read, by the names of these types."""

    own: Sequence[Theirs]
    listed: int
    unread: Mapping[str, int]

    @property
    def documents(self) -> int:
        """All that are the person's, or may be."""
        return len(self.own) + self.listed + sum(self.unread.values())


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
        return str(int(number)) if number.is_finite() and abs(number) <= _LONGEST and number == int(number) else None
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16:
        return str(UUID(bytes=bytes(value)))
    return None


def unread(value: object) -> str | None:
    """The type of a value that may be a key and is compared with none, as one may be written in several ways there, or
    several as one; None for others."""
    if text_of(value) is not None or isinstance(value, _NEVER):
        return None
    if isinstance(value, float):
        return f"double above {_EXACT}" if isfinite(value) and value.is_integer() else None
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        return "long decimal" if number.is_finite() and abs(number) > _LONGEST else None
    if isinstance(value, (Binary, bytes)):
        return f"binData of subtype {value.subtype if isinstance(value, Binary) else 0}"
    return type(value).__name__


def values_at(document: object, path: str) -> Iterator[tuple[object, bool]]:
    """The values of a field, and whether each lies in a list, or in a document of one."""
    yield from _descend(document, path.split("."), listed=False)


def find_person(
    client: Client, place: Place, column: str, subject: str, pulse: Callable[[], None], seconds: float
) -> Person:
    """One pass over the collection."""
    own, listed = [], 0
    unknown: Counter[str] = Counter()
    for document in _shown(client, place, column, pulse, seconds):
        values = list(values_at(document, column))
        found = [(value, inside) for value, inside in values if text_of(value) == subject]
        if any(inside for _, inside in found):
            listed += 1
        elif found:
            own.append(Theirs(document["_id"], found[0][0]))
        else:
            unknown.update({kind for value, _ in values if (kind := unread(value)) is not None})
    return Person(own, listed, unknown)


def keys_in(client: Client, place: Place, column: str, pulse: Callable[[], None]) -> Iterator[str]:
    """Every key in the field of any document. UserFault in the end where a key may be among what is not read."""
    unknown: Counter[str] = Counter()
    for document in _shown(client, place, column, pulse, 0):
        for value, _ in values_at(document, column):
            if (text := text_of(value)) is not None:
                yield text
            elif (kind := unread(value)) is not None:
                unknown[kind] += 1
    if unknown:
        raise UserFault(Reason.RULE_NOT_READABLE, _unread_words(unknown, place, column))


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


def demand_told(person: Person, place: Place, rule: RuleOrder, do: str) -> None:
    """UserFault where nobody can say which documents are the person's, and no one else's. `do`: what is to be done
    about a key in lists."""
    column = rule.subject_column or ""
    if person.unread:
        message = (
            f"{_unread_words(person.unread, place, column)}; whoever keeps the collection has to write such a value as"
            " a text, a whole number of type int or long, an ObjectId or a UUID of subtype 4"
        )
    elif person.listed:
        message = (
            f"{person.listed} documents of {place.full} hold the subject's key in a list in {column}, where it may be"
            f" one of many; {do}"
        )
    else:
        return
    raise UserFault(Reason.RULE_NOT_READABLE, f"rule {rule.name}: {message}")


def _unread_words(unknown: Mapping[str, int], place: Place, column: str) -> str:
    kinds = ", ".join(f"{count} in {kind}" for kind, count in sorted(unknown.items()))
    return (
        f"documents of {place.full} hold in {column} what no key can be compared with ({kinds}), so any of them may be"
        " the subject's"
    )


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
        # In a list of lists, too, where the server's own paths do not reach.
        for one in found:
            yield from _descend(one, parts, listed=True)
    elif not parts:
        yield found, listed
    elif isinstance(found, dict) and parts[0] in found:
        yield from _descend(found[parts[0]], parts[1:], listed=listed)
