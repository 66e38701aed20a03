"""One person is erased from a stand-in of MongoDB: exactly the plan that was approved; the key is seen nowhere."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite
from typing import Any
from uuid import UUID

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId

from databosun.api.dataexport import ExportOrder
from databosun.api.lifecycle import HoldOrder, LifecycleMode, RuleOrder
from databosun.api.result import Outcome
from databosun.api.targets import DatabaseTarget
from databosun.engines.mongodb.lifecycle.subjects import text_of, unread, values_at
from support.erasing import KEY, PEOPLE, SUBJECT, erased, rule
from support.mongoerasing import LEFT, MongoForgetter
from support.mongolifecycling import FullPeer, peer_before
from support.recoveryyard import drilled

pytestmark = pytest.mark.servers


class Before(MongoForgetter):
    """Whose agent reaches a scripted member that stands before the server."""

    peer: FullPeer

    @property
    def database(self) -> DatabaseTarget:
        """Nobody has to log in there."""
        return super().database.model_copy(update={"port": self.peer.port} if hasattr(self, "peer") else {})


def behind(forgetter: MongoForgetter, peer: FullPeer) -> Before:
    """The same people, asked by the peer."""
    made = Before(forgetter.yard)
    made.peer = peer
    made.login = ("", "")
    return made


def test_the_approved_plan_is_carried_out_and_nobody_else_is_touched(forgetter: MongoForgetter) -> None:
    found = forgetter.look()
    assert {one.rule: (one.counts.rows, one.counts.eligible, one.fault) for one in found.facts} == {
        "customers": (501, 1, None), "orders": (907, 7, None), "letters": (402, 2, None),
    }  # fmt: skip
    assert [one for one in forgetter.objects() if "_erasures" in one.parts] == []
    ran = forgetter.erase()
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.SUCCEEDED, "Erased"), ran.output[-3000:]
    assert forgetter.counts() == LEFT
    assert forgetter.client[PEOPLE].letters.find_one({"_id": 1815}) == {
        "_id": 1815, "email": "erased@example.invalid", "body": None,
    }  # fmt: skip
    found = erased(ran)
    assert {one.name: (one.deleted, one.anonymized) for one in found.outcomes} == {
        "customers": (1, 0), "orders": (7, 0), "letters": (0, 2),
    }  # fmt: skip
    entry = forgetter.entry()
    assert (entry["subject"], entry["database"], entry["dbname"]) == (forgetter.hashed, "orders", PEOPLE)
    task = forgetter.task(forgetter.everywhere(), mode=LifecycleMode.ENFORCE, approved=found.plan_hash)
    assert forgetter.run(task).summary.reason == "AlreadyDone"


def test_the_key_of_the_person_is_seen_nowhere_but_in_what_deletes_by_id(forgetter: MongoForgetter) -> None:
    """Not in logs, results and what is stored, in no form; and in no command that the server might take long for."""
    with peer_before(forgetter.yard.its) as peer:
        asked = behind(forgetter, peer)
        assert erased(asked.erase()).verified_at
        assert forgetter.counts() == LEFT
        telling = {next(iter(one)) for one in peer.calls if SUBJECT in repr(one)}
        assert telling == {"delete", "update"}
        for command in peer.calls:
            for one in [*command.get("deletes", ()), *command.get("updates", ())]:
                assert "_id" in one["q"]
    stored = {str(path): path.read_bytes().decode(errors="replace") for path in forgetter.objects()}
    assert len(stored) >= 5
    for form in (SUBJECT, SUBJECT.replace("@", "%40"), base64.b64encode(SUBJECT.encode()).decode(), KEY):
        assert not any(form in text for text in asked.outputs)
        assert [name for name, text in stored.items() if form in name or form in text] == []


def test_a_document_that_is_another_persons_by_then_stays_and_is_found_again(forgetter: MongoForgetter) -> None:
    orders, done = forgetter.client[PEOPLE].orders, []

    def reassign(command: dict[str, Any]) -> None:
        if command.get("delete") == "orders" and not done:
            done.append(orders.update_one({"_id": 10_003}, {"$set": {"by.email": "person1@example.org"}}))
            done.append(orders.insert_one({"_id": 20_000, "by": {"email": SUBJECT}}))

    with peer_before(forgetter.yard.its) as peer:
        peer.before = reassign
        ran = behind(forgetter, peer).erase()
    assert ran.summary.reason == "Erased", ran.output[-3000:]
    assert orders.find_one({"_id": 10_003}) == {"_id": 10_003, "by": {"email": "person1@example.org"}, "note": "hers"}
    assert orders.count_documents({"by.email": SUBJECT}) == 0


VALUES: list[Any] = ["42", 42, Int64(42), 42.0, Decimal128("42"), Decimal128(Decimal("42.0"))]
OTHERS: list[Any] = ["042", " 42", "42.0", 42.5, float("nan"), float("inf"), True, None, {"a": 42}, "\u0664\u0662"]


def test_keys_of_every_type_are_found_among_values_that_are_nearly_the_same(forgetter: MongoForgetter) -> None:
    """At the source, and in a copy."""
    keyed, forgetter.subject = forgetter.client[PEOPLE].keyed, "42"
    # Some the stand-in does not store.
    known = [one for one in VALUES if not isinstance(one, Decimal128)]
    others = [one for one in OTHERS if not isinstance(one, float) or isfinite(one)]
    keyed.insert_many({"_id": n, "k": one} for n, one in enumerate([*others, *known]))
    keyed.insert_one({"_id": 100})
    forgetter.yard.back_up()
    rules = [rule("keyed", "keyed", "k")]
    assert erased(forgetter.erase(rules)).outcomes[0].deleted == len(known)
    assert keyed.count_documents({}) == len(others) + 1
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod()))
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert again.observed == f"1 erasures repeated, 1 people found: {len(known)} rows of people.keyed; none left"


def test_keys_are_read_as_people_write_them() -> None:
    """Those that the stand-in has no place for, too."""
    text = "6f1c1d6e-9b1f-4c57-8f3d-0a8f0c2f9f10"
    assert {text_of(one) for one in VALUES} == {"42"}
    assert not any(text_of(one) == "42" for one in OTHERS)
    assert text_of(ObjectId("0123456789abcdef01234567")) == "0123456789abcdef01234567"
    assert text_of(Binary.from_uuid(UUID(text))) == text
    assert [text_of(one) for one in (Binary(b"x" * 16, 3), b"42", bson.MaxKey(), 2.0**60, 10**400)] == [
        None, None, None, None, str(10**400),
    ]  # fmt: skip


TEXT = "6f1c1d6e-9b1f-4c57-8f3d-0a8f0c2f9f10"
UNREAD: list[tuple[str, Any, str]] = [
    (TEXT, Binary(UUID(TEXT).bytes, 3), "1 in binData of subtype 3"),
    (TEXT, Binary(UUID(TEXT).bytes, 0), "1 in binData of subtype 0"),
    (str(2**60), 2.0**60, "1 in double above 9007199254740992"),
]


def test_types_that_may_hold_a_key_and_are_not_read_are_known() -> None:
    """And nothing else is: no key is an instant, and fields of a document are named by rules of their own."""
    assert [unread(one) for one in [*VALUES, *OTHERS, datetime(2026, 1, 1, tzinfo=UTC), 2.5e30 + 0.5]] == [
        *[None] * (len(VALUES) + len(OTHERS) + 1), "double above 9007199254740992",
    ]  # fmt: skip
    assert text_of(Decimal128(str(2**60))) == str(2**60)
    assert [unread(one) for one in (Decimal128("1E+40"), Decimal128("NaN"), Decimal128("0.5"), bson.MaxKey())] == [
        "long decimal", None, None, "MaxKey",
    ]  # fmt: skip
    assert unread(Binary(b"x" * 15, 4)) == "binData of subtype 4"


def test_a_list_of_lists_is_looked_into() -> None:
    """The stand-in stores none."""
    assert list(values_at({"of": [["a"], "b"]}, "of")) == [("a", True), ("b", True)]
    assert list(values_at({"of": [[{"by": "a"}]]}, "of.by")) == [("a", True)]


@pytest.mark.parametrize(("subject", "value", "words"), UNREAD)
def test_nobody_is_called_erased_or_exported_while_they_may_stand_where_nobody_reads(
    forgetter: MongoForgetter, subject: str, value: object, words: str
) -> None:
    """Whether it is theirs or another's: it was not looked at."""
    keyed, forgetter.subject = forgetter.client[PEOPLE].keyed, subject
    keyed.insert_many([{"_id": 1, "k": value}, {"_id": 2, "k": "else"}, {"_id": 3}])
    reason, message = refusal(forgetter, rule("keyed", "keyed", "k"))
    assert reason == "RuleNotReadable"
    assert words in message
    assert "has to write such a value as a text" in message
    ran = forgetter.export(ExportOrder(name="keyed", table="keyed", column="k", max_rows=10))
    assert (ran.summary.reason, words in ran.summary.message) == ("RuleNotReadable", True), ran.output[-2000:]
    assert keyed.count_documents({}) == 3


def test_a_document_that_came_meanwhile_and_is_not_read_is_one_that_is_left(forgetter: MongoForgetter) -> None:
    letters, done = forgetter.client[PEOPLE].letters, []

    def added(command: dict[str, Any]) -> None:
        if command.get("delete") == "customers" and not done:
            done.append(letters.insert_one({"_id": 9999, "email": Binary(SUBJECT.encode(), 0)}))

    with peer_before(forgetter.yard.its) as peer:
        peer.before = added
        ran = behind(forgetter, peer).erase()
    assert done
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "SubjectLeft"), ran.output[-3000:]


def refusal(forgetter: MongoForgetter, *rules: RuleOrder, holds: tuple[HoldOrder, ...] = ()) -> tuple[str, str]:
    """Reason and message with which the plan of these rules is refused; nothing is touched, and no entry is made."""
    before = forgetter.counts()
    ran = forgetter.erase(list(rules), holds=list(holds))
    assert ran.summary.outcome is Outcome.REFUSED, ran.output[-3000:]
    assert forgetter.counts() == before
    assert [one for one in forgetter.objects() if "_erasures" in one.parts] == []
    return ran.summary.reason, ran.summary.message


def test_what_would_leave_the_person_or_take_others_is_refused(forgetter: MongoForgetter) -> None:
    people = forgetter.client[PEOPLE]
    people.meetings.insert_many(
        [{"_id": 1, "with": [{"email": "person1@example.org"}, {"email": SUBJECT}]}, {"_id": 2, "with": []}]
    )
    customers, orders, letters = forgetter.everywhere()
    held = HoldOrder(name="case", table="orders", where='{"_id": 10003}', reason="a case")
    unmasked = letters.model_copy(update={"masks": letters.masks[1:]})
    for rules, holds, reason, words in (
        ([rule("meetings", "meetings", "with.email")], (), "RuleNotReadable", "1 documents of people.meetings hold"),
        ([customers.model_copy(update={"subject_column": "emial"})], (), "RuleNotReadable", "has a field emial"),
        ([rule("nothing", "nothing", "email")], (), "TableNotFound", "there is no table nothing"),
        ([orders], (held,), "BlockedByHold", "1 rows of the subject are under a hold"),
        ([unmasked], (), "SubjectStays", "people.letters.email"),
    ):
        found = refusal(forgetter, *rules, holds=holds)
        assert found[0] == reason, found
        assert words in found[1]
