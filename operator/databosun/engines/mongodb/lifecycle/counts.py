"""Count what a rule would do right now. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import json_util
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from databosun.api.lifecycle import RuleCounts
from databosun.domain.lifecycle import Step
from databosun.engines.lifecycle import Key, Left, LifecycleScope, hash_key
from databosun.engines.mongodb.connect import Client, Document
from databosun.engines.mongodb.lifecycle.conditions import Condition, aged, instant
from databosun.engines.mongodb.lifecycle.filters import OPTIONS, both
from databosun.engines.mongodb.lifecycle.statements import Place

SAMPLES = 10
_DAY = timedelta(days=1)


def key_of(identity: object) -> Key:
    """The `_id` of a document, as text: canonical Extended JSON."""
    return (json_util.dumps(identity, json_options=OPTIONS),)


def count(client: Client, place: Place, step: Step, condition: Condition, scope: LifecycleScope) -> RuleCounts:
    """A pass over the collection for each number that no index answers."""
    documents, column = client[place.database][place.name], step.rule.column

    def number(*parts: Sequence[Document]) -> int:
        scope.pulse()
        return _number(documents, [one for part in parts for one in part], scope)

    eligible = number(condition.all)
    ready = (*condition.base, *condition.unmarked)
    kept = [{"$nor": [both(condition.old)]}] if condition.old else []
    return RuleCounts(
        rows=number(),
        eligible=eligible,
        held=number(ready, condition.old, [{"$or": list(condition.held)}]) if condition.held else 0,
        kept_newest=number(ready, kept, condition.unheld) if kept else 0,
        oldest=_edge(documents, condition, column, 1),
        newest=_edge(documents, condition, column, -1),
        bytes=eligible * average_bytes(client, place),
        inflow_per_day=number(aged(column), _next_day(column, condition.cutoff)) if column and condition.cutoff else 0,
        samples=_samples(documents, condition, scope.key) if scope.key is not None else [],
    )


def count_left(client: Client, place: Place, step: Step, condition: Condition, scope: LifecycleScope) -> Left:
    """What the condition matches now."""
    documents = client[place.database][place.name]
    return Left(_number(documents, condition.all, scope), _edge(documents, condition, step.rule.column, 1))


def bytes_of(client: Client, place: Place) -> int:
    """Of a collection with its indexes, on disk."""
    said = client[place.database].command("collStats", place.name)
    return int(said.get("storageSize") or 0) + int(said.get("totalIndexSize") or 0)


def _number(documents: Collection[Any], parts: Sequence[Document], scope: LifecycleScope) -> int:
    return documents.count_documents(both(parts), maxTimeMS=int(scope.statement_seconds * 1000))


def _next_day(column: str, cutoff: datetime) -> list[Document]:
    return [{column: {"$gte": cutoff}}, {column: {"$lt": cutoff + _DAY}}]


def _edge(documents: Collection[Any], condition: Condition, column: str | None, order: int) -> datetime | None:
    if column is None:
        return None
    found = documents.find(both(condition.all), {column: 1, "_id": 0}).sort(column, order).limit(1)
    return next((instant(one, column) for one in found.allow_disk_use(True)), None)


def average_bytes(client: Client, place: Place) -> int:
    """Of a document; 0 where the server does not say."""
    try:
        return int(client[place.database].command("collStats", place.name).get("avgObjSize") or 0)
    except OperationFailure:  # the plan says which grant is lacking
        return 0


def _samples(documents: Collection[Any], condition: Condition, key: bytes) -> list[str]:
    found = documents.find(both(condition.all), {"_id": 1}).limit(SAMPLES)
    return sorted(hash_key(key, key_of(one["_id"])) for one in found)
