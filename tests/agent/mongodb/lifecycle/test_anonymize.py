"""Fields are overwritten in place: once, the same everywhere, and nothing else of the document."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Int64

from databosun.api.lifecycle import ActionType, Granularity, HoldOrder, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from databosun.domain.hashing import masked
from support.mongolifecycling import SMALL, FullPeer, MongoKeeper, rule
from support.mongopeer import Document
from support.rulekeeping import HASH_KEY, NOW, result_of

pytestmark = pytest.mark.servers
M = MaskMethod
CARD = UUID("3b241101-e2bb-4255-8caf-4136c566a962")
MASKS = [
    MaskOrder(column="email", method=M.HASH),
    MaskOrder(column="card", method=M.HASH),
    MaskOrder(column="contact.phone", method=M.PARTIAL, keep_first=3, keep_last=2),
    MaskOrder(column="born", method=M.GENERALIZE, to=Granularity.YEAR),
    MaskOrder(column="seen", method=M.GENERALIZE, to=Granularity.MONTH),
    MaskOrder(column="income", method=M.GENERALIZE, step=1000),
    MaskOrder(column="owed", method=M.GENERALIZE, step=100),
    MaskOrder(column="weight", method=M.GENERALIZE, step=5),
    MaskOrder(column="city", method=M.FIXED, value="it's: \\ $gone"),
    MaskOrder(column="note", method=M.NULL),
]
OLD: dict[str, Any] = {"action": ActionType.ANONYMIZE, "table": "people", "where": None, "mark_column": "masked_at"}
PHONE = "+49 30 123456"


def digest(value: str) -> str:
    """What the same key gives for a value, on every engine."""
    return hmac.digest(HASH_KEY.encode(), value.encode(), hashlib.sha256).hex()[:32]


def person(number: int) -> Document:
    """One of 60: every second is old."""
    return {
        "_id": number, "email": f"person{number}@example.org", "card": Binary(CARD.bytes, 4),
        "contact": {"phone": PHONE, "kind": "home"}, "born": datetime(1970, 5, 6, 7, tzinfo=UTC), "seen": NOW,
        "income": 12345, "owed": Int64(-250), "weight": 71.5, "city": "Berlin", "note": ["said", "much"],
        "created_at": NOW - timedelta(days=200 if number % 2 else 1),
    }  # fmt: skip


@pytest.fixture
def people(keeper: MongoKeeper) -> MongoKeeper:
    """With a collection of theirs."""
    keeper.behind.client.shop.people.insert_many(person(number) for number in range(60))
    return keeper


def all_of(keeper: MongoKeeper) -> dict[Any, Document]:
    """By `_id`."""
    return {one["_id"]: one for one in keeper.behind.client.shop.people.find()}


def test_every_method_does_what_it_says_once(people: MongoKeeper) -> None:
    before = all_of(people)
    done = people.carry_out(rule("people", masks=MASKS, **OLD), batch=SMALL)["people"]
    assert (done.failure, done.state, done.anonymized, done.remaining) == (None, RuleState.COMPLETED, 30, 0)
    after = all_of(people)
    assert after[3] == {
        **before[3], "email": digest("person3@example.org"),
        "card": Binary(UUID(masked(HASH_KEY.encode(), [str(CARD)], 32, uuid=True)[0]).bytes, 4),
        "contact": {"phone": "+49" + "*" * (len(PHONE) - 5) + "56", "kind": "home"},
        "born": datetime(1970, 1, 1, tzinfo=UTC), "seen": NOW.replace(day=1, hour=0), "income": 12000,
        "owed": Int64(-300), "weight": 70.0, "city": "it's: \\ $gone", "note": None, "masked_at": NOW,
    }  # fmt: skip
    assert (type(after[3]["owed"]), type(after[3]["income"])) == (Int64, int)
    assert {number: after[number] for number in range(0, 60, 2)} == {
        number: before[number] for number in range(0, 60, 2)
    }
    assert people.carry_out(rule("people", masks=MASKS, **OLD))["people"].anonymized == 0
    assert all_of(people) == after


def test_what_is_not_there_is_not_made_up(people: MongoKeeper) -> None:
    collection = people.behind.client.shop.people
    collection.update_one({"_id": 1}, {"$unset": {"email": "", "contact": "", "note": ""}})
    collection.update_one({"_id": 3}, {"$set": {"email": None, "income": None}})
    assert people.carry_out(rule("people", masks=MASKS, **OLD), batch=SMALL)["people"].anonymized == 30
    after = all_of(people)
    assert not {"email", "contact", "note"} & set(after[1])
    assert after[1]["masked_at"] == NOW
    assert (after[3]["email"], after[3]["income"]) == (None, None)


@pytest.mark.parametrize(
    ("masks", "reason", "words"),
    [
        ([MaskOrder(column="income", method=M.HASH)], "RuleNotReadable", "Hash of income needs a text or a UUID"),
        ([MaskOrder(column="note", method=M.HASH)], "RuleNotReadable", "Hash of note needs a text or a UUID"),
        ([MaskOrder(column="income", method=M.PARTIAL)], "RuleNotReadable", "needs a text"),
        ([MaskOrder(column="city", method=M.GENERALIZE, step=3)], "RuleNotReadable", "needs a number"),
        ([MaskOrder(column="income", method=M.GENERALIZE, to=Granularity.DAY)], "RuleNotReadable", "needs a date"),
        ([MaskOrder(column="note.text", method=M.NULL)], "RuleNotReadable", "no document of shop.people has a field"),
        ([MaskOrder(column="emial", method=M.NULL)], "RuleNotReadable", "no document of shop.people has a field emial"),
        ([MaskOrder(column="_id", method=M.NULL)], "RuleNotReadable", "cannot be overwritten"),
        (
            [MaskOrder(column="contact", method=M.NULL), MaskOrder(column="contact.phone", method=M.NULL)],
            "RuleNotReadable",
            "contact cannot be overwritten beside contact.phone",
        ),
    ],
)
def test_a_method_that_does_not_fit_changes_nothing(
    people: MongoKeeper, masks: list[MaskOrder], reason: str, words: str
) -> None:
    before = all_of(people)
    found, message = people.refused(rule("people", masks=masks, **OLD))
    assert found == reason
    assert words in message
    assert all_of(people) == before


def test_an_array_on_the_way_is_not_passed_over(people: MongoKeeper) -> None:
    people.behind.client.shop.people.update_one({"_id": 5}, {"$set": {"contact": [{"phone": PHONE}]}})
    masks = [MaskOrder(column="contact.phone", method=M.NULL)]
    assert "no array on its way" in people.refused(rule("people", masks=masks, **OLD))[1]
    only = rule("people", masks=masks, **{**OLD, "where": '{"contact": {"$not": {"$type": "array"}}}'})
    assert people.carry_out(only, batch=SMALL)["people"].anonymized == 29
    assert all_of(people)[5]["contact"] == [{"phone": PHONE}]


def test_a_hash_needs_a_key(people: MongoKeeper) -> None:
    del people.place.secrets["hash"]
    masks = [MaskOrder(column="email", method=M.HASH)]
    assert "needs a key" in people.refused(rule("people", masks=masks, **OLD))[1]


def test_documents_under_a_hold_and_unique_fields_stay(people: MongoKeeper) -> None:
    people.behind.client.shop.people.create_index("city", unique=False, name="city")
    held = HoldOrder(name="case", where='{"email": "person7@example.org"}', reason="court")
    masks = [MaskOrder(column="city", method=M.FIXED, value="x")]
    assert people.carry_out(rule("people", masks=masks, **OLD), holds=[held], batch=SMALL)["people"].anonymized == 29
    assert all_of(people)[7] == person(7)
    people.behind.client.shop.people.create_index("email", unique=True)
    one = rule("people", masks=[MaskOrder(column="email", method=M.FIXED, value="x")], **OLD)
    found, message = people.refused(one)
    assert found == "MaskDoesNotFit"
    assert "email is unique" in message


def test_a_document_that_changes_meanwhile_is_not_overwritten_with_what_it_held(
    full: MongoKeeper, peer: FullPeer
) -> None:
    collection, changed = full.behind.client.shop.people, list[int]()
    collection.insert_many(person(number) for number in range(10))
    hold = HoldOrder(name="case", where='{"email": "held@example.org"}', reason="court")
    collection.insert_one({"_id": "held", "email": "held@example.org"})

    def change(command: Document) -> None:
        if next(iter(command)) == "update" and not changed:
            changed.append(1)
            collection.update_one({"_id": 1}, {"$set": {"email": "other@example.org"}})
            collection.update_one({"_id": 3}, {"$set": {"email": "held@example.org"}})
            collection.update_one({"_id": 5}, {"$unset": {"email": ""}})
            collection.update_one({"_id": 7}, {"$set": {"created_at": NOW}})

    peer.before = change
    masks = [MaskOrder(column="email", method=M.HASH)]
    done = full.carry_out(rule("people", masks=masks, **OLD), holds=[hold], batch=SMALL)["people"]
    assert (done.state, done.anonymized) == (RuleState.COMPLETED, 3)
    after = all_of(full)
    assert after[1]["email"] == digest("other@example.org")
    assert after[3]["email"] == "held@example.org"
    assert "email" not in after[5]
    assert after[5]["masked_at"] == NOW
    assert after[7]["email"] == "person7@example.org"
    assert after[9]["email"] == digest("person9@example.org")


def test_a_document_that_the_server_refuses_is_named_by_nothing_of_it_and_the_others_are_told(
    full: MongoKeeper, peer: FullPeer
) -> None:
    collection = full.behind.client.shop.people
    collection.insert_many(person(number) for number in range(10))

    def refuse_one(command: Document) -> Document:
        asked = peer.on.pop("update")
        others = {**command, "updates": [one for one in command["updates"] if one["q"]["_id"] != 5]}
        done = peer.answer(others) if others["updates"] else {"n": 0}
        peer.on["update"] = asked
        failed = [{"index": 0, "code": 121, "errmsg": "mustermann"}]
        return {**done, "writeErrors": failed} if others != command else done

    peer.on["update"] = refuse_one
    masks = [MaskOrder(column="city", method=M.FIXED, value="x")]
    ran = full.enforce(rule("people", masks=masks, **OLD), batch=SMALL)
    outcome = result_of(ran).outcomes[0]
    assert outcome.failure is not None
    assert "error 121" in outcome.failure.message
    assert outcome.anonymized == 4
    assert "mustermann" not in ran.output
    assert {number for number, one in all_of(full).items() if "masked_at" in one} == {1, 3, 7, 9}
