"""Documents are archived, and then deleted only as they were archived. The server compares them whole: FerretDB does
not, so that part of it is played as mongod's manual has it; no mongod was met."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import bson
import pytest
from bson import Binary, Int64, ObjectId, Regex, json_util

from databosun.agent.lifecycle.ledger import Event, Ledger
from databosun.agent.upload import VolumeUpload
from databosun.api.lifecycle import ActionType, HoldOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.domain.errors import WorldFault
from databosun.engines.mongodb.lifecycle import archive
from databosun.engines.mongodb.lifecycle.filters import OPTIONS
from databosun.engines.mongodb.namespaces import read_metadata
from support.lifecyclekills import Kills, open_agents, run_with_kills
from support.mongolifecycling import SMALL, FullPeer, MongoKeeper, rule
from support.mongopeer import Document
from support.rulekeeping import NOW, result_of

pytestmark = pytest.mark.servers
ARCHIVE = rule(action=ActionType.ARCHIVE)
OLD = NOW - timedelta(days=90)
Between = Callable[[Callable[[int], None]], None]


def eligible(keeper: MongoKeeper) -> dict[Any, Document]:
    """By a comparison of the test's own."""
    return {one["_id"]: one for one in keeper.orders.find() if one["created_at"] < OLD and one["status"] == "closed"}


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Do something each time after documents were archived, and before the first of them is deleted."""

    def arrange(do: Callable[[int], None]) -> None:
        write, times = Ledger.write, list[int]()

        def written(self: Ledger, rule: str, event: Event, keys: Any = (), **more: Any) -> int:
            number = write(self, rule, event, keys, **more)
            if event is Event.ARCHIVED:
                times.append(number)
                do(len(times))
            return number

        monkeypatch.setattr(Ledger, "write", written)

    return arrange


def test_what_goes_lies_in_the_store_to_the_last_byte(full: MongoKeeper) -> None:
    odd: Document = {"_id": ObjectId(), "created_at": OLD - timedelta(days=1), "status": "closed", "n": Int64(5),
                     "d": 5.0, "i": 5, "none": None, "r": Regex("^a", "i"), "b": Binary(b"\0x", 5), "s": "ä\n\0\u2028",
                     "l": [1, {"x": []}]}  # fmt: skip
    full.orders.insert_one(odd)
    full.orders.create_index("customer", name="by-customer")
    doomed, before = eligible(full), full.ids()
    done = full.carry_out(ARCHIVE)["old-orders"]
    assert (done.failure, done.state, done.deleted, done.archived) == (
        None,
        RuleState.COMPLETED,
        len(doomed),
        len(doomed),
    )
    assert full.ids() == before - set(doomed)
    stored = full.archived()
    assert {one: bson.encode(stored[one]) for one in stored} == {one: bson.encode(doomed[one]) for one in doomed}
    lines = [line for _, text in full.archive().parts() for line in text.splitlines()]
    read = [json_util.loads(line.decode(), json_options=OPTIONS) for line in lines]
    assert {one["_id"] for one in read} == set(doomed)
    assert json.loads(next(line for line in lines if b"$oid" in line))["n"] == {"$numberLong": "5"}
    links = [one for one in full.archive().links() if one["event"] == "Archived"]
    for artefact in (one for one in links[0]["artefacts"] if one["rows"]):
        assert hashlib.sha256(full.archive().read(artefact)).hexdigest() == artefact["sha256"]
    (described,) = full.place.paths.volume.rglob("collection.metadata.json")
    found = read_metadata("shop/orders.metadata.json", described.read_bytes())
    assert [one["name"] for one in found.indexes] == ["_id_", "by-customer"]


def test_a_document_that_changes_between_archive_and_delete_stays_and_is_archived_again(
    full: MongoKeeper, between: Between
) -> None:
    doomed = eligible(full)
    one, two, three, four, five, *_ = sorted(doomed)
    seen: list[set[Any]] = []

    def change(time: int) -> None:
        if time == 1:
            full.orders.update_one({"_id": one}, {"$set": {"customer": -1}})
            full.orders.update_one({"_id": two}, {"$set": {"new": "field"}})
            full.orders.update_one({"_id": three}, {"$unset": {"customer": ""}})
            full.orders.update_one({"_id": four}, {"$set": {"customer": float(doomed[four]["customer"])}})
            full.orders.update_one({"_id": five}, {"$set": {"address.lines": [five, "flat X"]}})
        else:
            seen.append(full.ids() & set(doomed))

    between(change)
    done = full.carry_out(ARCHIVE)["old-orders"]
    assert seen == [{one, two, three, four, five}]
    assert (done.state, done.changed, done.deleted) == (RuleState.COMPLETED, 5, len(doomed))
    stored = full.archived()
    assert set(stored) == set(doomed)
    assert (stored[one]["customer"], stored[two]["new"], stored[five]["address"]["lines"][1]) == (-1, "field", "flat X")
    assert "customer" not in stored[three]
    assert isinstance(stored[four]["customer"], float)


def test_a_document_that_changes_after_it_was_read_anew_stays(full: MongoKeeper, peer: FullPeer) -> None:
    """Nothing but the server's own comparison, within the command that deletes, can see that."""
    doomed = eligible(full)
    one, two, three, *_ = sorted(doomed)
    left: list[set[Any]] = []

    def change(command: Document) -> None:
        if next(iter(command)) == "delete" and not left:
            full.orders.update_one({"_id": one}, {"$set": {"customer": -1}})
            full.orders.update_one({"_id": two}, {"$set": {"new": "field"}})
            full.orders.update_one({"_id": three}, {"$set": {"customer": float(doomed[three]["customer"])}})
            left.append({one, two, three})

    peer.before = change
    done = full.carry_out(ARCHIVE)["old-orders"]
    assert (done.state, done.changed, done.deleted) == (RuleState.COMPLETED, 3, len(doomed))
    stored = full.archived()
    assert (stored[one]["customer"], stored[two]["new"]) == (-1, "field")
    assert isinstance(stored[three]["customer"], float)
    asked = peer.asked("delete")[0]["deletes"][0]
    assert asked["limit"] == 1
    assert asked["q"]["$and"][-1]["$expr"]["$and"][0]["$eq"][0] == "$$ROOT"


def test_what_is_no_longer_eligible_or_under_a_hold_stays(full: MongoKeeper, peer: FullPeer) -> None:
    doomed = eligible(full)
    holds = [HoldOrder(name="case", where='{"customer": 7}', reason="court")]
    held = {number for number in doomed if number % 50 == 7}
    full.carry_out(ARCHIVE, holds=holds)
    assert set(eligible(full)) == held
    assert not set(full.archived()) & held
    statement = peer.asked("delete")[0]["deletes"][0]["q"]["$and"]
    assert {"$nor": [{"customer": 7}]} in statement
    assert {"status": "closed"} in statement


def test_an_archive_that_the_store_does_not_take_leads_to_no_delete(
    full: MongoKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: VolumeUpload, check: Callable[[], None]) -> None:
        raise WorldFault("UploadCorrupt", "it reads back otherwise")

    approved, before = full.look(ARCHIVE).plan_hash, full.ids()
    monkeypatch.setattr(VolumeUpload, "verify", broken)
    ran = full.enforce(ARCHIVE, approved=approved)
    assert (ran.summary.outcome, ran.summary.retryable) == (Outcome.FAILED, True)
    assert full.ids() == before
    monkeypatch.undo()
    again = full.enforce(ARCHIVE, approved=approved, attempt=2)
    assert again.summary.outcome is Outcome.SUCCEEDED
    assert set(full.archived()) == before - full.ids()


def test_what_lies_in_the_store_is_encrypted_and_names_nothing_of_a_document(full: MongoKeeper) -> None:
    full.orders.update_one({"_id": 100}, {"$set": {"who": "mustermann@example.org", "status": "closed"}})
    ran = full.enforce(ARCHIVE)
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert 100 not in full.ids()
    assert "mustermann" not in ran.output
    stored = b"".join(path.read_bytes() for path in full.place.paths.volume.rglob("*") if path.is_file())
    assert b"mustermann" not in stored
    assert b"mustermann" in b"".join(text for _, text in full.archive().parts())


def test_a_part_holds_no_more_than_fits_into_memory(full: MongoKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "PART_BYTES", 2000)
    monkeypatch.setattr(archive, "COMMAND_DOCUMENTS", 7)
    doomed = eligible(full)
    done = full.carry_out(ARCHIVE)["old-orders"]
    assert (done.state, done.deleted) == (RuleState.COMPLETED, len(doomed))
    sizes = [one["rows"] for one in full.archive().links() if one["event"] == "Archived"]
    assert len(sizes) > 3
    assert sum(sizes) == len(doomed)


def test_a_document_that_no_command_has_room_for_fails_the_rule_by_its_size(
    full: MongoKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST", 400)
    full.orders.update_one({"_id": 100}, {"$set": {"text": "x" * 1000}})
    before = full.ids()
    done = full.carry_out(ARCHIVE)["old-orders"]
    assert done.failure is not None
    assert "no more than 400 can be compared" in done.failure.message
    assert full.ids() == before


def test_a_collection_with_a_collation_is_not_compared(full: MongoKeeper, peer: FullPeer) -> None:
    options = {"collation": {"locale": "en", "strength": 2}}
    listed = {"name": "orders", "type": "collection", "options": options}
    peer.on["listCollections"] = lambda _: {"cursor": {"id": Int64(0), "ns": "shop.$cmd", "firstBatch": [listed]}}
    found, message = full.refused(ARCHIVE)
    assert found == "RuleNotReadable"
    assert "has the collation en" in message
    assert full.carry_out(rule(), batch=SMALL)["old-orders"].state is RuleState.COMPLETED


def test_a_run_that_lost_its_answers_deletes_nothing_that_it_has_not_archived(
    full: MongoKeeper, peer: FullPeer
) -> None:
    before, count = full.ids(), iter(range(1, 100))

    def unsafe(command: Document) -> Document:
        asked = peer.on.pop("delete")
        done = peer.answer(command)
        peer.on["delete"] = asked
        return {**done, "writeConcernError": {"code": 64}} if next(count) in (2, 4) else done

    peer.on["delete"] = unsafe
    ran = full.enforce(ARCHIVE, batch=SMALL)
    outcome = result_of(ran).outcomes[0]
    gone = before - full.ids()
    assert (outcome.state, outcome.remaining, outcome.deleted, outcome.changed) == (
        RuleState.COMPLETED,
        0,
        len(gone),
        0,
    )
    assert set(full.archived()) == gone


def test_not_one_document_is_lost_when_the_agent_is_killed_at_any_moment(full: MongoKeeper) -> None:
    before, brief = full.ids(), Kills(3, 4, 0.7, SMALL)
    approved = full.look(ARCHIVE).plan_hash
    full.runs += 1
    with open_agents() as agents:
        ran, met = run_with_kills(agents, full, brief, ARCHIVE, approved=approved)
    assert met > 0
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.output[-3000:]
    outcome, gone = result_of(ran).outcomes[0], before - full.ids()
    assert (outcome.state, outcome.remaining, eligible(full)) == (RuleState.COMPLETED, 0, {})
    assert gone <= set(full.archived())
    assert outcome.deleted <= len(gone) <= outcome.archived
