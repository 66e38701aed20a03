"""Filters of rules and holds on MongoDB, read before a server is given them; and documents in the order of `_id`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp

from databosun.domain.errors import UserFault
from databosun.engines.mongodb.lifecycle.filters import read_filter
from databosun.engines.mongodb.lifecycle.order import behind

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "query", "fields"),
    [
        ('{"status": "closed"}', {"status": "closed"}, {"status"}),
        (
            '{"a.b": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}}',
            {"a.b": {"$gt": datetime(2026, 1, 1, tzinfo=UTC)}},
            {"a.b"},
        ),
        ('{"n": {"$in": [{"$numberLong": "5"}]}}', {"n": {"$in": [Int64(5)]}}, {"n"}),
        ('{"a": {"$type": "date"}}', {"a": {"$type": "date"}}, {"a"}),
        ('{"a": {"$not": {"$regex": "^x"}}}', {"a": {"$not": Regex("^x")}}, {"a"}),
        (
            '{"a": {"$elemMatch": {"b": 1, "c": {"$lt": 2}}}}',
            {"a": {"$elemMatch": {"b": 1, "c": {"$lt": 2}}}},
            {"a", "a.b", "a.c"},
        ),
        ('{"$nor": [{"a": null}, {"$or": [{"b": 1}]}]}', {"$nor": [{"a": None}, {"$or": [{"b": 1}]}]}, {"a", "b"}),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}, {"a"}),
    ],
)
def test_a_filter_is_read_as_it_is_written(text: str, query: dict[str, Any], fields: set[str]) -> None:
    found = read_filter(text)
    assert (found.query, set(found.fields)) == (query, fields)


@pytest.mark.parametrize(
    ("where", "reason", "words"),
    [
        ("status = 'closed'", "ConditionRefused", "it cannot be read"),
        ("", "ConditionRefused", "it cannot be read"),
        ("{}", "ConditionRefused", "every document fits"),
        ('[{"a": 1}]', "ConditionRefused", "no filter"),
        ('{"$or": [{"a": 1}, {}]}', "ConditionRefused", "every document fits"),
        ('{"$and": []}', "ConditionRefused", "needs a list of filters"),
        ('{"a": {"$in": 1}}', "ConditionRefused", "needs a list"),
        ('{"a": 1, "a": 2}', "ConditionRefused", "a stands twice"),
        ('{"a": {"$elemMatch": {"b": 1, "b": 2}}}', "ConditionRefused", "b stands twice"),
        ('{"a": NaN}', "ConditionRefused", "NaN is no JSON"),
        ('{"a\\u0000b": 1}', "ConditionRefused", "it cannot be read"),
        ('{"$text": {"$search": "x"}}', "ConditionRefused", "it has $text"),
        ('{"$comment": "x"}', "ConditionRefused", "it has $comment"),
        ('{"$jsonSchema": {}}', "ConditionRefused", "it has $jsonSchema"),
        ('{"a": {"$gt": 1, "loc": 2}}', "ConditionRefused", "it has loc"),
        ('{"a": {"b": {"$gt": 1}}}', "ConditionRefused", "it has $gt"),
        ('{"a": {"$not": {"b": 1}}}', "ConditionRefused", "$not needs operators"),
        ('{"a": {"$code": "1"}}', "ConditionRefused", "a program"),
        ('{"a": {"$ref": "b", "$id": 1}}', "ConditionRefused", "another collection"),
        ('{"$oid": "507f1f77bcf86cd799439011"}', "ConditionRefused", "no filter"),
        ('{"$where": "sleep(9)"}', "VolatileCondition", "may run a program"),
        ('{"$expr": {"$function": {"body": "", "args": [], "lang": "js"}}}', "VolatileCondition", "may run a program"),
        ('{"a": {"$not": {"$where": "1"}}}', "VolatileCondition", "may run a program"),
        ('{"$sampleRate": 0.5}', "VolatileCondition", "may run a program"),
    ],
)
def test_what_is_no_plain_filter_is_refused(where: str, reason: str, words: str) -> None:
    with pytest.raises(UserFault) as caught:
        read_filter(where)
    assert caught.value.reason == reason
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("identity", "next_type"),
    [
        (None, "number"),
        (1, "string"),
        (2.5, "string"),
        (Decimal128("1.0"), "string"),
        ("a", "object"),
        ({"a": 1}, "binData"),
        (b"a", "objectId"),
        (ObjectId(), "bool"),
        (True, "date"),
        (DAY, "timestamp"),
    ],
)
def test_behind_an_identity_come_greater_ones_and_other_types(identity: object, next_type: str) -> None:
    ((after),) = behind(identity)
    greater, types = after["$or"]
    assert greater == {"_id": {"$gt": identity}}
    assert types["_id"]["$type"][0] == next_type
    assert types["_id"]["$type"][-1] == "timestamp"


@pytest.mark.parametrize("identity", [Timestamp(1, 1), MaxKey()])
def test_behind_the_last_type_comes_no_other(identity: object) -> None:
    assert behind(identity) == [{"$or": [{"_id": {"$gt": identity}}]}]
