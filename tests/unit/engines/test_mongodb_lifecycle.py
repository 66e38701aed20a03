"""Filters of rules and holds on MongoDB, read before a server is given them; and documents in the order of `_id`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument

from databosun.api.lifecycle import ActionType, Granularity, LimitsOrder, MaskMethod, MaskOrder, RuleOrder
from databosun.domain.errors import UserFault
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.mongodb.lifecycle.archive import identity_of, lines
from databosun.engines.mongodb.lifecycle.filters import read_filter
from databosun.engines.mongodb.lifecycle.masks import change_of
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


def masked_value(value: object, **mask: Any) -> object:
    """What becomes of one value of a field."""
    order = MaskOrder(column="a.b", **mask)
    rule = RuleOrder(
        name="r",
        table="t",
        action=ActionType.ANONYMIZE,
        masks=[order],
        limits=LimitsOrder(max_rows_per_run=1, max_percent=1),
    )
    return change_of({"_id": 1, "a": {"b": value}}, rule, b"key").values["a.b"]


@pytest.mark.parametrize(
    ("value", "step", "made"),
    [
        (12345, 1000, 12000),
        (-1, 10, -10),
        (Int64(-250), 100, Int64(-300)),
        (71.5, 5, 70.0),
        (-0.5, 5, -5.0),
        (Decimal128("-12.50"), 10, Decimal128("-20.00")),
        (Decimal128("12345678901234567890123456789.12"), 1000, Decimal128("12345678901234567890123456000.00")),
        (None, 10, None),
    ],
)
def test_numbers_are_rounded_down_and_keep_their_type(value: object, step: int, made: object) -> None:
    found = masked_value(value, method=MaskMethod.GENERALIZE, step=step)
    assert (found, type(found)) == (made, type(made))


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        (True, {"method": MaskMethod.GENERALIZE, "step": 10}),
        (float("nan"), {"method": MaskMethod.GENERALIZE, "step": 10}),
        (Decimal128("Infinity"), {"method": MaskMethod.GENERALIZE, "step": 10}),
        ("12", {"method": MaskMethod.GENERALIZE, "step": 10}),
        (DatetimeMS(1 << 60), {"method": MaskMethod.GENERALIZE, "to": Granularity.DAY}),
        (12, {"method": MaskMethod.HASH}),
        (Binary(b"x" * 16, 0), {"method": MaskMethod.HASH}),
        (["a"], {"method": MaskMethod.PARTIAL}),
        ({"a": 1}, {"method": MaskMethod.PARTIAL}),
    ],
)
def test_what_a_method_is_not_for_is_refused(value: object, mask: dict[str, Any]) -> None:
    with pytest.raises(UserFault, match=r"MaskDoesNotFit: rule r: .* of a\.b needs"):
        masked_value(value, **mask)


@pytest.mark.parametrize(
    ("value", "first", "last", "made"),
    [
        ("mustermann", 2, 3, "mu*****ann"),
        ("abc", 2, 3, "***"),
        ("abcde", 2, 3, "*****"),
        ("", 1, 1, ""),
        ("äöü", 1, 0, "ä**"),
    ],
)
def test_parts_of_texts_stay(value: str, first: int, last: int, made: str) -> None:
    assert masked_value(value, method=MaskMethod.PARTIAL, keep_first=first, keep_last=last) == made


def test_a_document_that_nobody_can_read_is_not_archived_and_nothing_of_it_is_repeated() -> None:
    whole = bson.encode({"_id": 1, "name": "mustermann"})
    document = RawBSONDocument(whole)
    broken = RawBSONDocument(whole.replace(b"mann", b"m\xffnn"))
    assert lines([document], lambda: None)(lambda _: None) == 1
    reads: list[Callable[[], object]] = [
        lambda: identity_of(broken),
        lambda: lines([broken], lambda: None)(lambda _: None),
    ]
    for read in reads:
        with pytest.raises(RuleFault, match="is no valid BSON") as caught:
            read()
        assert caught.value.trouble is Trouble.PERMANENT
        assert "muster" not in caught.value.message
