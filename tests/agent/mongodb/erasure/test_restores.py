"""A restore after an erasure does not bring the person back: by a drill, into a volume, with an oplog replayed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from bson import Binary

from databosun.api.drill import Check, CheckOutcome, CheckType, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.lifecycle import MaskMethod, MaskOrder
from databosun.api.result import Outcome
from support.erasing import PEOPLE, SUBJECT, erased, rule
from support.mongoerasing import LEFT, MongoForgetter, counts
from support.mongoserver import MongoServer
from support.recoveryyard import drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers
NOBODY = Check(
    name="nobody", type=CheckType.QUERY, database=PEOPLE, value="0",
    query=f'{{"count": "customers", "query": {{"email": "{SUBJECT}"}}}}',
)  # fmt: skip
ERASED = "1 erasures repeated, 1 people found: 1 rows of people.customers, 2 rows of people.letters, 7 rows of"


def test_neither_a_drill_nor_a_volume_of_an_older_backup_brings_the_person_back(forgetter: MongoForgetter) -> None:
    """And the drill's own checks of what was backed up hold, since they come before."""
    forgetter.yard.back_up()
    before = drilled(forgetter.yard.drill(pod=forgetter.pod(), id="drill-0", checks=[NOBODY]))
    assert (before.verdict, before.reason) == (Verdict.FAILED, "CheckFailed"), "the backup holds her"
    assert [one for one in before.checks if one.name == "erasures"] == []
    erased(forgetter.erase())
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod(), level=Level.APPLICATION, checks=[NOBODY]))
    assert drill.verdict is Verdict.PASSED, (drill.message, drill.checks)
    (again,) = [one for one in drill.checks if one.name == "erasures"]
    assert (again.outcome, again.observed) == (CheckOutcome.PASSED, f"{ERASED} people.orders; none left")
    assert drill.proven
    keyless = drilled(forgetter.yard.drill(id="drill-2"))
    assert (keyless.verdict, keyless.reason) == (Verdict.REFUSED, "ErasureKeyMissing")
    pod = forgetter.pod()
    ran = forgetter.yard.restore(pod=pod)
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-4000:]
    other = MongoServer(data=pod.restored / ran.result.restore.data_directory)
    try:
        assert counts(other.client) == LEFT
        assert other.client[PEOPLE].letters.find_one({"_id": 1816})["body"] is None
    finally:
        other.remove()


def test_the_oplog_to_a_time_does_not_bring_the_person_back(forgetter: MongoForgetter) -> None:
    """She comes with the log alone, after a full without her; to its end she is erased by it."""
    people, pod = forgetter.client[PEOPLE], forgetter.yard.archiver()
    for name, where in (("customers", {"_id": 1815}), ("orders", {"note": "hers"}), ("letters", {"email": SUBJECT})):
        people[name].delete_many(where)
    try:
        pod.start()
        pod.wait_until_streaming()
        forgetter.yard.back_up("orders-1")
        people.customers.insert_one({"_id": 1815, "email": SUBJECT, "name": "Ada"})
        moment = pod.drained()
        eventually("another second has begun", lambda: (datetime.now(UTC) - moment).total_seconds() > 1.1)
        erased(forgetter.erase())
        pod.drained()
        pod.stop()
    finally:
        pod.kill()
    said = {}
    for name, until in {
        "none": RecoveryPoint(),
        "time": RecoveryPoint(kind=PointKind.TIME, time=moment),
        "latest": RecoveryPoint(kind=PointKind.LATEST),
    }.items():
        drill = drilled(
            forgetter.yard.drill("orders-1", pod=forgetter.pod(), id=f"drill-{name}", until=until, checks=[NOBODY])
        )
        assert drill.verdict is Verdict.PASSED, (name, drill.message, drill.checks)
        said[name] = next(str(one.observed) for one in drill.checks if one.name == "erasures")
    nobody = "1 erasures repeated, 0 people found: no row; none left"
    one = "1 erasures repeated, 1 people found: 1 rows of people.customers; none left"
    assert said == {"none": nobody, "time": one, "latest": nobody}


def test_what_does_not_fit_the_copy_makes_the_restore_fail_and_what_is_missing_is_told(
    forgetter: MongoForgetter,
) -> None:
    people = forgetter.client[PEOPLE]
    people.letters.update_many({"email": SUBJECT}, {"$set": {"body": ["dear", "Ada"]}})
    people.orders.rename("commands")
    forgetter.yard.back_up()
    people.commands.rename("orders")
    people.letters.update_many({"email": SUBJECT}, {"$set": {"body": "dear Ada"}})
    rules = forgetter.everywhere()
    erased(forgetter.erase(rules[:2]))
    told = forgetter.yard.restore(pod=forgetter.pod()).result.restore
    (note,) = [one for one in told.notes if "erasures" in one]
    assert note == "erasures found nothing to work on where the copy has no erase-1: table people.orders"
    (check,) = [one for one in drilled(forgetter.yard.drill(pod=forgetter.pod())).checks if one.name == "erasures"]
    assert str(check.observed).endswith("; nobody looked for them in what the copy does not have")
    masks = [rules[2].masks[0], MaskOrder(column="body", method=MaskMethod.PARTIAL)]
    erased(forgetter.erase([rules[2].model_copy(update={"masks": masks})], name="erase-2"))
    pod = forgetter.pod()
    ran = forgetter.yard.restore(pod=pod, id="restore-2")
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ErasureNotRepeatable"), ran.output[-3000:]
    assert "Partial of body needs a text" in ran.summary.message
    assert list(pod.restored.iterdir()) == []


def not_repeatable(forgetter: MongoForgetter, words: str) -> None:
    """Neither a drill nor a restore goes through; both say what does, and a restore that is told to goes through."""
    drill = drilled(forgetter.yard.drill(pod=forgetter.pod()))
    assert (drill.verdict, drill.reason) == (Verdict.FAILED, "ErasureNotRepeatable"), drill.message
    pod = forgetter.pod()
    ran = forgetter.yard.restore(pod=pod)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ErasureNotRepeatable"), ran.output[-3000:]
    for message in (drill.message, ran.summary.message):
        assert words in message
        assert "spec.erasures: Skip" in message
    assert list(pod.restored.iterdir()) == []


def test_a_key_that_was_taken_out_of_lists_since_is_taken_out_by_hand_again(forgetter: MongoForgetter) -> None:
    """As the refusal of the request had advised, which says what becomes of such a backup."""
    letters = forgetter.client[PEOPLE].letters
    letters.insert_one({"_id": 7777, "email": [SUBJECT, "bob@example.org"], "body": "to both"})
    forgetter.yard.back_up()
    refused = forgetter.erase(name="erase-0")
    assert refused.summary.reason == "RuleNotReadable"
    for words in ("($pull)", "spec.erasures: Skip"):
        assert words in refused.summary.message
    letters.update_one({"_id": 7777}, {"$set": {"email": ["bob@example.org"]}})
    erased(forgetter.erase())
    not_repeatable(forgetter, "there it has to be taken out by hand ($pull)")


def test_a_copy_with_types_that_are_not_read_is_no_copy_without_the_person(forgetter: MongoForgetter) -> None:
    """Though nobody is found in it: the values were written anew since, as the refusal had advised."""
    keyed, text = forgetter.client[PEOPLE].keyed, "6f1c1d6e-9b1f-4c57-8f3d-0a8f0c2f9f10"
    keyed.insert_one({"_id": 1, "k": Binary(UUID(text).bytes, 3)})
    forgetter.yard.back_up()
    keyed.update_one({"_id": 1}, {"$set": {"k": Binary.from_uuid(UUID(text))}})
    forgetter.subject = text
    assert erased(forgetter.erase([rule("keyed", "keyed", "k")])).outcomes[0].deleted == 1
    not_repeatable(forgetter, "1 in binData of subtype 3")
