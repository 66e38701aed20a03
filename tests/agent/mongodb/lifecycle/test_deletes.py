"""Documents are deleted by rules: what goes, what stays, and what is not touched at all."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Int64, ObjectId

from databosun.agent.lifecycle import work
from databosun.api.lifecycle import ActionType, HoldOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.engines.lifecycle import hash_key
from databosun.engines.mongodb.lifecycle.counts import key_of
from support.mongolifecycling import CLOSED, ROWS, SMALL, FullPeer, MongoKeeper, after_steps, rule
from support.mongopeer import Document, Refused
from support.rulekeeping import DAY, HASH_KEY, NOW, result_of

pytestmark = pytest.mark.servers
OLD = NOW - timedelta(days=90)


def eligible(keeper: MongoKeeper) -> set[Any]:
    """By a comparison of the test's own."""
    return {one["_id"] for one in keeper.orders.find() if one["created_at"] < OLD and one["status"] == "closed"}


def test_a_dry_run_counts_what_an_enforced_one_deletes_and_changes_nothing(keeper: MongoKeeper) -> None:
    before, doomed = keeper.ids(), eligible(keeper)
    seen = keeper.look(rule())
    counts = seen.facts[0].counts
    assert (counts.rows, counts.eligible, keeper.ids()) == (ROWS, len(doomed), before)
    assert counts.oldest is not None
    assert counts.newest is not None
    assert counts.oldest < counts.newest < OLD
    assert set(counts.samples) <= {hash_key(HASH_KEY.encode(), key_of(one)) for one in doomed}
    assert len(counts.samples) == 10
    assert counts.inflow_per_day == ROWS // 200
    assert counts.bytes > 0
    assert "flat" not in seen.model_dump_json()
    done = keeper.carry_out(rule(), batch=SMALL)["old-orders"]
    assert (done.failure, done.state, done.deleted, done.remaining) == (None, RuleState.COMPLETED, len(doomed), 0)
    assert keeper.ids() == before - doomed
    assert done.batches > 3


def test_the_audit_lists_keyed_hashes_of_what_went(keeper: MongoKeeper) -> None:
    doomed = eligible(keeper)
    keeper.carry_out(rule())
    archive, listed = keeper.archive(), set[str]()
    for one in archive.links():
        if "keys" in one:
            packed = archive.store.get(f"{archive.root}/audit/{one['number']:06d}.keys.zst", limit=1 << 24)
            assert hashlib.sha256(packed).hexdigest() == one["keys"]["sha256"]
            listed |= set(archive.unpack(packed).decode().split())
    assert listed == {hash_key(HASH_KEY.encode(), key_of(one)) for one in doomed}


@pytest.mark.parametrize("action", [ActionType.DELETE, ActionType.PURGE])
def test_documents_under_a_hold_survive(keeper: MongoKeeper, action: ActionType) -> None:
    keeper.orders.update_one({"_id": 100}, {"$set": {"address.lines": ["held by one of several", "seized"]}})
    held = {one for one in eligible(keeper) if one % 50 in (7, 8)} | {100}
    holds = [
        HoldOrder(name="case-1", where='{"customer": 7}', reason="court"),
        HoldOrder(name="case-2", where='{"customer": {"$in": [8]}}', reason="court", table="orders"),
        HoldOrder(name="case-3", where='{"address.lines": "seized"}', reason="court", table="shop.orders"),
        HoldOrder(name="over", where='{"customer": 9}', reason="court", until=NOW),
        HoldOrder(name="elsewhere", where='{"customer": 11}', reason="court", table="others"),
    ]
    keeper.behind.client.shop.others.insert_one({"customer": 11})
    counts = keeper.look(rule(action=action), holds=holds).facts[0].counts
    assert counts.held == len(held & eligible(keeper)) >= 2
    doomed = eligible(keeper) - held
    done = keeper.carry_out(rule(action=action), holds=holds)["old-orders"]
    assert (done.state, done.deleted) == (RuleState.COMPLETED, len(doomed))
    assert eligible(keeper) == held & eligible(keeper)
    assert held <= keeper.ids()


def test_a_hold_on_all_of_it_refuses_the_rule(keeper: MongoKeeper) -> None:
    for one in (HoldOrder(name="all", reason="court"), HoldOrder(name="all", table="shop.orders", reason="court")):
        assert keeper.refused(rule(), holds=[one])[0] == "BlockedByHold"
    over = HoldOrder(name="all", reason="court", until=NOW)
    assert keeper.carry_out(rule(), holds=[over])["old-orders"].state is RuleState.COMPLETED


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        ({"table": "order", "where": '{"customer": 7}'}, "hold case is on order, and there is no table"),
        ({"where": '{"custmer": 7}'}, "asks for the field custmer, which no document of shop.orders has"),
        ({"where": '{"$or": [{"customer": 7}, {"zip.address": "1"}]}'}, "asks for the field zip.address"),
        ({"where": '{"customer": 7, "customer": 8}'}, "customer stands twice"),
        ({"where": "customer = 7"}, "it cannot be read"),
    ],
)
def test_a_hold_that_would_hold_nothing_holds_all(keeper: MongoKeeper, hold: dict[str, str], words: str) -> None:
    found, message = keeper.refused(rule(), holds=[HoldOrder(name="case", reason="court", **hold)])
    assert found == "RuleNotReadable"
    assert words in message


def test_a_hold_on_a_collection_with_dots_in_its_name_holds_it(keeper: MongoKeeper) -> None:
    keeper.behind.client.shop["orders.all.time"].insert_many(keeper.orders.find())
    hold = HoldOrder(name="case", table="orders.all.time", reason="court")
    done = keeper.carry_out(rule(table="shop.orders.all.time"), holds=[hold])["old-orders"]
    assert done.failure is not None
    assert done.failure.reason == "BlockedByHold"
    assert keeper.carry_out(rule(table="orders.all.time"))["old-orders"].deleted > 0


def test_documents_marked_as_deleted_go_after_their_grace(keeper: MongoKeeper) -> None:
    for number in range(2, ROWS + 1, 2):
        keeper.orders.update_one({"_id": number}, {"$set": {"deleted_at": NOW - timedelta(days=number % 60)}})
    doomed = {one for one in keeper.ids() if one % 2 == 0 and one % 60 > 30}
    purge = rule(action=ActionType.PURGE, column="deleted_at", older_than_seconds=30 * DAY, where=None)
    before = keeper.ids()
    keeper.carry_out(purge)
    assert before - keeper.ids() == doomed


def test_what_is_no_single_instant_is_no_age(keeper: MongoKeeper) -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    values: list[Any] = [None, "2020-01-01", 0, Int64(0), [old], [old, NOW], {"at": old}, []]
    keeper.orders.delete_many({})
    keeper.orders.insert_many({"_id": n, "created_at": value, "status": "closed"} for n, value in enumerate(values))
    keeper.orders.insert_many(
        [{"_id": "none", "status": "closed"}, {"_id": "old", "created_at": old, "status": "closed"}]
    )
    before = keeper.ids()
    assert keeper.carry_out(rule())["old-orders"].deleted == 1
    assert keeper.ids() == before - {"old"}
    keeper.orders.insert_many([{"_id": "in", "at": [{"x": old}]}, {"_id": "one", "at": {"x": old}}])
    keeper.carry_out(rule(column="at.x", where=None))
    assert keeper.ids() == before - {"old"} | {"in"}


def test_the_newest_documents_and_the_statutory_floor_stand(keeper: MongoKeeper) -> None:
    keep = rule(where=None, older_than_seconds=DAY, limits={"keep_newest": 130})
    seen = keeper.look(keep).facts[0].counts
    done = keeper.carry_out(keep)["old-orders"]
    assert done.deleted == seen.eligible
    assert seen.kept_newest > 0
    left = keeper.ids()
    assert len(left) == 130
    floor = rule(where=None, older_than_seconds=DAY, limits={"min_retention_seconds": 100 * DAY})
    keeper.carry_out(floor)
    assert keeper.ids() == {one for one in left if one % 200 <= 99}
    only = rule(older_than_seconds=None, limits={"min_retention_seconds": 50 * DAY})
    young = {one for one in keeper.ids() if one % 200 <= 49}
    assert keeper.carry_out(only)["old-orders"].deleted > 0
    assert young <= keeper.ids()


def test_limits_stand(keeper: MongoKeeper) -> None:
    doomed = len(eligible(keeper))
    assert keeper.refused(rule(limits={"max_percent": 10}))[0] == "PlanGrew"
    first = keeper.carry_out(rule(limits={"max_rows_per_run": 30}), batch=SMALL)["old-orders"]
    assert (first.state, first.deleted, first.remaining) == (RuleState.LIMITED, 30, doomed - 30)
    second = keeper.carry_out(rule())["old-orders"]
    assert (second.state, second.deleted) == (RuleState.COMPLETED, doomed - 30)


def test_identities_of_every_type_are_walked(keeper: MongoKeeper) -> None:
    old = {"created_at": datetime(2020, 1, 1, tzinfo=UTC), "status": "closed"}
    identities: list[Any] = [-1, 2.5, Int64(1 << 40), "a", "ä", {"a": 1}, {"a": 1, "b": 2}, b"x",
                             ObjectId(), True, False, NOW, datetime(1969, 1, 1, tzinfo=UTC)]  # fmt: skip
    keeper.orders.delete_many({})
    keeper.orders.insert_many({"_id": one, **old} for one in identities)
    few = {"rows": 3, "target_milliseconds": 10_000, "pause_milliseconds": 0}
    done = keeper.carry_out(rule(), batch=few)["old-orders"]
    assert (done.state, done.deleted) == (RuleState.COMPLETED, len(identities))
    assert done.batches <= len(identities) // 3 + 1
    assert keeper.ids() == set()


@pytest.mark.parametrize("place", ["rule", "hold"])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ('{"$where": "sleep(9999)"}', "may run a program"),
        ('{"customer": {"$regex": "("}}', "egular expression"),
    ],
)
def test_a_condition_that_is_no_plain_filter_touches_nothing(
    keeper: MongoKeeper, where: str, words: str, place: str
) -> None:
    holds = [HoldOrder(name="case", table="orders", where=where, reason="court")] if place == "hold" else []
    asked = rule(where=where) if place == "rule" else rule()
    found, message = keeper.refused(asked, holds=holds)
    assert found == "RuleNotReadable"
    assert words in message


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        (rule(table="nosuch"), "TableNotFound", "nosuch"),
        (rule(table="capped"), "NotATable", "is a capped collection"),
        (rule(table="twice.orders"), "RuleNotReadable", "may be twice.orders of the database shop and orders of"),
        (rule(action=ActionType.DROP_PARTITION), "RuleNotReadable", "does not do that in MongoDB"),
        (rule(column=None, older_than_seconds=None, limits={"keep_newest": 5}), "NoAge", "match.column"),
        (rule(action=ActionType.ARCHIVE), "RuleNotReadable", "cannot compare a whole document"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(keeper: MongoKeeper, asked: RuleOrder, reason: str, words: str) -> None:
    client = keeper.behind.client
    client.shop.drop_collection("capped")
    client.shop.create_collection("capped", capped=True, size=4096)
    client.shop["twice.orders"].insert_one({})
    client.twice.orders.insert_one({})
    try:
        found, message = keeper.refused(asked)
    finally:
        client.drop_database("twice")
    assert found == reason
    assert words in message


def test_another_index_is_another_plan(keeper: MongoKeeper) -> None:
    before, approved = keeper.ids(), keeper.look(rule()).plan_hash
    assert keeper.look(rule()).plan_hash == approved
    keeper.orders.insert_one({"_id": -1, "new": "field"})
    assert keeper.look(rule()).plan_hash == approved
    keeper.orders.create_index("customer", unique=False, name="by-customer")
    ran = keeper.enforce(rule(), approved=approved)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "PlanChanged")
    assert keeper.ids() == before | {-1}


def test_no_step_begins_on_a_collection_that_is_another_by_then(
    keeper: MongoKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[set[Any]] = []

    def changed(count: int) -> None:
        if count == 2:
            keeper.orders.create_index("customer")
            left.append(keeper.ids())

    after_steps(monkeypatch, "take", changed)
    monkeypatch.setattr(work, "CHUNK_ROWS", 50_000)
    ran = keeper.enforce(rule(), batch=SMALL)
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("PlanChanged", False)
    assert [keeper.ids()] == left


def test_a_document_that_changes_between_look_and_delete_stays(full: MongoKeeper, peer: FullPeer) -> None:
    """The filter goes with the command: what the agent had read plays no part."""
    doomed = sorted(eligible(full))
    hold = HoldOrder(name="case", where='{"customer": 4711}', reason="court")
    full.orders.insert_one({"_id": -1, "customer": 4711})

    def change(command: Document) -> None:
        if next(iter(command)) == "delete":
            full.orders.update_one({"_id": doomed[0]}, {"$set": {"status": "open"}})
            full.orders.update_one({"_id": doomed[1]}, {"$set": {"created_at": NOW}})
            full.orders.update_one({"_id": doomed[2]}, {"$set": {"customer": 4711}})
            full.orders.delete_one({"_id": doomed[3]})

    peer.before = change
    done = full.carry_out(rule(), holds=[hold])["old-orders"]
    assert done.state is RuleState.COMPLETED
    assert set(doomed) & full.ids() == set(doomed[:3])


@pytest.mark.parametrize("code", [112, 262])
def test_what_passes_is_tried_again_and_what_was_done_in_its_midst_is_told(
    full: MongoKeeper, peer: FullPeer, code: int
) -> None:
    doomed, refusals = eligible(full), iter(range(3))

    def interrupted(command: Document) -> Document:
        if next(refusals, None) is not None:
            some = list(command["deletes"][0]["q"]["_id"]["$in"])[:7]
            full.orders.delete_many({"_id": {"$in": some}})
            raise Refused(code, "a word of mustermann's")
        del peer.on["delete"]
        return peer.answer(command)

    peer.on["delete"] = interrupted
    ran = full.enforce(rule(), batch=SMALL)
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.deleted, outcome.remaining) == (RuleState.COMPLETED, len(doomed), 0)
    assert "mustermann" not in ran.output


@pytest.mark.parametrize(
    "answer", [{"writeErrors": [{"index": 0, "code": 121, "errmsg": "mustermann"}], "n": 0}, Refused(8, "mustermann")]
)
def test_what_does_not_pass_fails_the_rule_and_repeats_nothing_of_a_document(
    full: MongoKeeper, peer: FullPeer, answer: Any
) -> None:
    def refuse(_: Document) -> Document:
        if isinstance(answer, Refused):
            raise answer
        found: Document = answer
        return found

    peer.on["delete"] = refuse
    ran = full.enforce(rule())
    failure = result_of(ran).outcomes[0].failure
    assert failure is not None
    assert (failure.reason, failure.retryable) == ("DatabaseError", False)
    assert "mustermann" not in ran.output + result_of(ran).model_dump_json()


def test_what_no_majority_has_is_uncertain(full: MongoKeeper, peer: FullPeer) -> None:
    doomed, first = eligible(full), iter([1])

    def unsafe(command: Document) -> Document:
        del peer.on["delete"]
        done = peer.answer(command)
        return {**done, "writeConcernError": {"code": 64}} if next(first, None) else done

    peer.on["delete"] = unsafe
    ran = full.enforce(rule(), batch=SMALL)
    outcome = result_of(ran).outcomes[0]
    assert (outcome.state, outcome.remaining) == (RuleState.COMPLETED, 0)
    assert outcome.deleted == len(doomed) - 10
    assert any("may be done besides" in note for note in result_of(ran).notes)
    assert {one["writeConcern"]["w"] for one in peer.asked("delete")} == {"majority"}


def test_members_that_fall_behind_are_waited_for_and_hidden_lag_is_said(full: MongoKeeper, peer: FullPeer) -> None:
    peer.hello["hosts"] = [peer.name, "other:1"]
    notes = result_of(full.enforce(rule(), batch=SMALL)).notes
    assert any("clusterMonitor" in note for note in notes)
    lags = iter([60, 30, 1])
    asked = list[int]()

    def status(_: Document) -> Document:
        asked.append(next(lags, 0))
        members = [{"name": peer.name, "stateStr": "PRIMARY", "optimeDate": NOW},
                   {"name": "other:1", "stateStr": "SECONDARY", "optimeDate": NOW - timedelta(seconds=asked[-1])},
                   {"name": "hidden:1", "stateStr": "SECONDARY", "optimeDate": NOW - timedelta(days=1)}]  # fmt: skip
        return {"members": members}

    peer.on["replSetGetStatus"] = status
    full.orders.insert_one({"_id": -1, "created_at": datetime(2020, 1, 1, tzinfo=UTC), "status": "closed"})
    outcome = result_of(full.enforce(rule(), throttle={"max_replica_lag_seconds": 5.0})).outcomes[0]
    assert asked[:3] == [60, 30, 1]
    assert (outcome.deleted, outcome.state) == (1, RuleState.COMPLETED)
    assert outcome.throttled_seconds > 1


def test_a_grant_that_is_lacking_is_named(full: MongoKeeper, peer: FullPeer) -> None:
    def said(*actions: str) -> None:
        privileges = [{"resource": {"db": "shop", "collection": ""}, "actions": [*actions]}]
        known = {"authenticatedUsers": [{"user": "keeper", "db": "admin"}], "authenticatedUserPrivileges": privileges}
        peer.on["connectionStatus"] = lambda _: {"authInfo": known}

    said("find", "listIndexes", "collStats")
    found, message = full.refused(rule())
    assert found == "PermissionDenied"
    assert 'grantRolesToUser("keeper", [{role: "readWrite", db: "shop"}])' in message
    said("find", "listIndexes", "collStats", "remove")
    assert full.carry_out(rule())["old-orders"].state is RuleState.COMPLETED


def test_a_router_is_refused(full: MongoKeeper, peer: FullPeer) -> None:
    peer.hello["msg"] = "isdbgrid"
    ran = full.place.run(full.task(rule()), database=full.database)
    assert ran.summary.reason == "ShardedUnsupported"


def test_a_condition_is_the_filter_that_it_says(keeper: MongoKeeper) -> None:
    where = f'{{"$and": [{CLOSED}, {{"address.zip": {{"$regex": "^1000"}}}}]}}'
    asked = rule(older_than_seconds=None, column=None, where=where)
    before = keeper.ids()
    keeper.carry_out(asked)
    assert before - keeper.ids() == {one for one in range(1, 10) if one % 3}
