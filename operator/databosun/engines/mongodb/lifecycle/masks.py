"""What fields are overwritten with. The agent works it out from what it read, and a document that holds something else
by then is not touched. The key of a hash never reaches the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import localcontext
from uuid import UUID

from bson import Binary, Decimal128, Int64
from bson.binary import UUID_SUBTYPE, UuidRepresentation
from bson.decimal128 import create_decimal128_context

from databosun.api.lifecycle import Granularity, MaskMethod, MaskOrder, RuleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.hashing import HASH_CHARACTERS, masked
from databosun.domain.lifecycle import Step
from databosun.engines.lifecycle import LifecycleScope
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.conditions import Condition
from databosun.engines.mongodb.lifecycle.filters import plain, prefixes
from databosun.engines.mongodb.lifecycle.statements import Place

_READING = frozenset({MaskMethod.HASH, MaskMethod.PARTIAL, MaskMethod.GENERALIZE})
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Change:
    """Of one document. `guards`: filters that say that it still holds what was read; `values`: the new ones."""

    guards: list[Document]
    values: Document


def change_of(document: Document, rule: RuleOrder, key: bytes | None) -> Change:
    """UserFault(MaskDoesNotFit) where a field holds what its method is not for."""
    guards: list[Document] = []
    values: Document = {}
    for mask in rule.masks:
        found = _value_at(document, mask.column)
        if found is _MISSING:
            guards.append({mask.column: {"$exists": False}})
        elif mask.method in _READING:
            guards += [*plain(mask.column), {mask.column: {"$exists": True, "$eq": found}}]
            values[mask.column] = _masked(rule, mask, found, key)
        else:
            guards.append({mask.column: {"$exists": True}})
            values[mask.column] = mask.value or "" if mask.method is MaskMethod.FIXED else None
    return Change(guards, values)


def demand_fit(client: Client, place: Place, step: Step, condition: Condition, scope: LifecycleScope) -> None:
    """UserFault before anything is overwritten: fields that overlap or that no document has, and values that a method
    is not for."""
    rule, documents = step.rule, client[place.database][place.name]
    paths = [*(mask.column for mask in rule.masks), *([rule.mark_column] if rule.mark_column is not None else [])]
    for path in paths:
        over = [other for other in paths if other != path and path in prefixes(other)]
        if over or "_id" in prefixes(path) or paths.count(path) > 1:
            message = (
                f"rule {rule.name}: {path} cannot be overwritten beside {', '.join(over) or 'the key _id, or twice'}"
            )
            raise UserFault(Reason.MASK_DOES_NOT_FIT, message)
    for mask in rule.masks:
        if mask.method is MaskMethod.HASH and scope.key is None:
            message = f"rule {rule.name}: Hash of {mask.column} needs a key: name one in spec.hashKeySecretRef"
            raise UserFault(Reason.MASK_DOES_NOT_FIT, message)
        if documents.find_one({mask.column: {"$exists": True}}, {"_id": 1}) is None and documents.find_one(
            {}, {"_id": 1}
        ):
            message = f"rule {rule.name}: no document of {place.full} has a field {mask.column}; correct action.columns"
            raise UserFault(Reason.COLUMN_NOT_FOUND, message)
        if documents.find_one({"$and": [*condition.all, {"$or": list(_misfits(mask))}]}, {"_id": 1}) is not None:
            raise _misfit(rule, mask)


def _misfits(mask: MaskOrder) -> Iterator[Document]:
    """Filters for documents that a method is not for. One that asks an array asks each of its elements."""
    reading = mask.method in _READING
    for path in prefixes(mask.column):
        if path != mask.column or reading:
            yield {path: {"$type": "array"}}
    if reading:
        yield {mask.column: {"$exists": True, "$not": {"$type": [*_types(mask), "null"]}}}
    yield {"$nor": [{}]}


def _types(mask: MaskOrder) -> Sequence[str]:
    if mask.method is MaskMethod.HASH:
        return ("string", "binData")
    if mask.method is MaskMethod.PARTIAL:
        return ("string",)
    return ("date",) if mask.to is not None else ("number",)


def _value_at(document: Document, path: str) -> object:
    """An array on the way is no document: what lies in it is not reached."""
    found: object = document
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return _MISSING
        found = found[part]
    return found


def _masked(rule: RuleOrder, mask: MaskOrder, value: object, key: bytes | None) -> object:
    if value is None:
        return None
    made: object = None
    if mask.method is MaskMethod.HASH and key is not None:
        made = _hashed(value, key)
    elif mask.method is MaskMethod.PARTIAL and isinstance(value, str):
        made = _partial(value, mask)
    elif mask.to is not None and isinstance(value, datetime):
        made = _rounded(value, mask.to)
    elif mask.step is not None:
        made = _stepped(value, mask.step)
    if made is None:
        raise _misfit(rule, mask)
    return made


def _hashed(value: object, key: bytes) -> object:
    if isinstance(value, str):
        return masked(key, [value], HASH_CHARACTERS, uuid=False)[0]
    if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16:
        made = masked(key, [str(UUID(bytes=bytes(value)))], HASH_CHARACTERS, uuid=True)[0]
        return Binary.from_uuid(UUID(made), UuidRepresentation.STANDARD)
    return None


def _partial(value: str, mask: MaskOrder) -> str:
    """Characters at both ends stay, where others are left between them; the length stays in any case."""
    hidden = len(value) - mask.keep_first - mask.keep_last
    if hidden <= 0:
        return "*" * len(value)
    return value[: mask.keep_first] + "*" * hidden + value[len(value) - mask.keep_last :]


def _rounded(value: datetime, to: Granularity) -> datetime:
    day = value.replace(hour=0, minute=0, second=0, microsecond=0)
    if to is Granularity.DAY:
        return day
    return day.replace(day=1) if to is Granularity.MONTH else day.replace(month=1, day=1)


def _stepped(value: object, step: int) -> object:
    """Down, of negative numbers too; of the type that it was."""
    if isinstance(value, Decimal128):
        number = value.to_decimal()
        if not number.is_finite():
            return None
        with localcontext(create_decimal128_context()):
            return Decimal128(number - (number % step + step) % step)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, Int64):
        return Int64(value - value % step)
    return value - value % step if value == value and abs(value) != float("inf") else None


def _misfit(rule: RuleOrder, mask: MaskOrder) -> UserFault:
    wanted = {"string": "a text", "binData": "a UUID", "date": "a date", "number": "a number"}
    expected = " or ".join(wanted[one] for one in _types(mask)) if mask.method in _READING else "no array on its way"
    message = (
        f"rule {rule.name}: {mask.method} of {mask.column} needs {expected}, and some documents that it would overwrite"
        " hold another; use another method, or leave them out with match.where"
    )
    return UserFault(Reason.MASK_DOES_NOT_FIT, message)
