"""Documents in the order of `_id`, whatever types it has: a comparison by the server stays within one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import bson
from bson import Binary, Decimal128, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS

from databosun.engines.mongodb.connect import Document

# Those that an `_id` can be of; a bool is a number to Python.
_KINDS: Sequence[tuple[tuple[type, ...], str]] = (
    ((bool,), "bool"),
    ((int, float, Decimal128), "number"),
    ((str,), "string"),
    ((dict,), "object"),
    ((bytes, Binary, UUID), "binData"),
    ((ObjectId,), "objectId"),
    ((datetime, DatetimeMS), "date"),
    ((Timestamp,), "timestamp"),
    ((type(None),), "null"),
)
# https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
_RANK = ("null", "number", "string", "object", "binData", "objectId", "bool", "date", "timestamp")
PORTION_BYTES = 8 * 1024 * 1024


def behind(identity: object) -> list[Document]:
    """Filters for documents that come after one."""
    kind = next((name for types, name in _KINDS if isinstance(identity, types)), "")
    later = _RANK[_RANK.index(kind) + 1 :] if kind in _RANK else ()
    more: list[Document] = [{"_id": {"$type": list(later)}}] if later else []
    return [{"$or": [{"_id": {"$gt": identity}}, *more]}]


def portions(identities: Sequence[object]) -> Iterator[list[object]]:
    """As many at once as a command has room for."""
    held: list[object] = []
    size = 0
    for one in identities:
        size += len(bson.encode({"": one}))
        if held and size > PORTION_BYTES:
            yield held
            held, size = [], len(bson.encode({"": one}))
        held.append(one)
    if held:
        yield held
