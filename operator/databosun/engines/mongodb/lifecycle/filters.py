"""What a condition that a person wrote says: one filter in Extended JSON, of operators that only compare.

`$where`, `$function` and `$expr` may run programs, roll dice or look at a clock; `$text` and `$near` cannot stand below
a negation, which a hold is. So only the operators that are known to do none of that may stand in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import bson
from bson import Code, DBRef, json_util
from bson.errors import BSONError
from bson.json_util import JSONMode, JSONOptions

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.mongodb.connect import CODEC, Document

OPTIONS: JSONOptions = JSONOptions(
    json_mode=JSONMode.CANONICAL, tz_aware=True, tzinfo=CODEC.tzinfo, datetime_conversion=CODEC.datetime_conversion
)
_LISTS = frozenset({"$and", "$or", "$nor"})
_VALUES = frozenset({"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$exists", "$type", "$size", "$mod", "$regex",
                     "$options", "$bitsAllSet", "$bitsAllClear", "$bitsAnySet", "$bitsAnyClear"})  # fmt: skip
_MANY = frozenset({"$in", "$nin", "$all"})
_RUNNING = frozenset({"$where", "$function", "$expr", "$accumulator", "$rand", "$sampleRate"})
_EXAMPLE = 'one filter in Extended JSON, such as {"status": "closed"}'


@dataclass(frozen=True, slots=True)
class Filter:
    """`query`: as the server takes it. `fields`: all that it names, dotted."""

    query: Document
    fields: frozenset[str]


@dataclass
class _Reader:
    text: str
    fields: set[str] = field(default_factory=set)

    def document(self, found: object, path: str = "") -> None:
        """A filter, or the inside of an $elemMatch at `path`."""
        if not isinstance(found, dict) or not found:
            self.refuse("a part of it is no filter, or an empty one, which every document fits")
        for name, value in found.items():
            if name in _LISTS:
                self.listed(name, value, path)
            elif name.startswith("$"):
                self.unknown(name)
            else:
                self.named(f"{path}.{name}" if path else name, value)

    def listed(self, name: str, value: object, path: str) -> None:
        """Filters of which all, one or none must fit."""
        if not isinstance(value, list) or not value:
            self.refuse(f"{name} needs a list of filters")
        for one in value:
            self.document(one, path)

    def named(self, path: str, value: object) -> None:
        """What is asked of one field."""
        self.fields.add(path)
        if isinstance(value, dict) and any(name.startswith("$") for name in value):
            for name, operand in value.items():
                self.operator(path, name, operand)
        else:
            self.value(value)

    def operator(self, path: str, name: str, operand: object) -> None:
        """One of them."""
        if name == "$not":
            if isinstance(operand, dict) and operand and all(one.startswith("$") for one in operand):
                self.named(path, operand)
            elif isinstance(operand, dict):
                self.refuse("$not needs operators")
            else:
                self.value(operand)
        elif name == "$elemMatch":
            self.elements(path, operand)
        elif name in _MANY:
            if not isinstance(operand, list):
                self.refuse(f"{name} needs a list")
            self.value(operand)
        elif name in _VALUES:
            self.value(operand)
        else:
            self.unknown(name)

    def elements(self, path: str, operand: object) -> None:
        """Of an array: a filter on what lies in its documents, or operators on its plain elements."""
        names = list(operand) if isinstance(operand, dict) else []
        if isinstance(operand, dict) and names and all(one.startswith("$") and one not in _LISTS for one in names):
            for name, inner in operand.items():
                self.operator(path, name, inner)
        else:
            self.document(operand, path)

    def value(self, value: object) -> None:
        """A value to compare with, whose names mean nothing to the server."""
        if isinstance(value, (Code, DBRef)):
            self.refuse("it holds a program, or a reference to another collection")
        if isinstance(value, dict):
            for name, inner in value.items():
                if name.startswith("$"):
                    self.unknown(name)
                self.value(inner)
        elif isinstance(value, list):
            for inner in value:
                self.value(inner)

    def unknown(self, name: str) -> NoReturn:
        """An operator that may not stand there."""
        if name in _RUNNING:
            message = (
                f"the condition {self.text!r} has {name}, which may run a program or answer otherwise each time; a rule"
                " needs one answer: compare fields with values"
            )
            raise UserFault(Reason.VOLATILE_CONDITION, message)
        known = ", ".join(sorted(_LISTS | _VALUES | _MANY | {"$not", "$elemMatch"}))
        self.refuse(f"it has {name}, which is none of {known}, or stands in a wrong place")

    def refuse(self, why: str) -> NoReturn:
        """What it is not."""
        message = f"the condition {self.text!r} cannot be used: {why}; expected {_EXAMPLE}"
        raise UserFault(Reason.CONDITION_REFUSED, message)


def read_filter(text: str) -> Filter:
    """UserFault(ConditionRefused) where it is no filter; VolatileCondition where it may run something."""
    reader = _Reader(text)
    try:
        json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        found = json_util.loads(text, json_options=OPTIONS)
        bson.encode({"": found})
    except (ValueError, TypeError, BSONError, RecursionError, OverflowError) as error:
        reader.refuse(f"it cannot be read ({error})")
    reader.document(found)
    return Filter(found, frozenset(reader.fields))


def prefixes(path: str) -> Iterator[str]:
    """The fields that a dotted one lies in, and it itself: `a`, `a.b` of `a.b`."""
    parts = path.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def plain(path: str) -> list[Document]:
    """Filters for documents in which a field is one value: neither it, nor what it lies in, is an array. An array is
    asked element by element, and would be old as soon as one of them is."""
    return [{one: {"$not": {"$type": "array"}}} for one in prefixes(path)]


def both(parts: Sequence[Document]) -> Document:
    """All of them."""
    return {"$and": list(parts)} if parts else {}


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """JSON takes the last of two that are named alike, and would lose a part of the condition without a word."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        message = f"{twice} stands twice in one object; join the two with $and"
        raise ValueError(message)
    return dict(pairs)


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)
