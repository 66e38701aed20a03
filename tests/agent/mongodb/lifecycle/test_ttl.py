"""An index by which the server deletes by itself: shown before, made as it was shown, and refused where it would delete
what must stay. FerretDB has none: it is played as mongod's manual has it; no mongod was met."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, RuleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.domain.lifecycleview import plan_status
from support.mongolifecycling import FullPeer, MongoKeeper, rule
from support.mongopeer import Document
from support.rulekeeping import DAY, NOW, result_of

pytestmark = pytest.mark.servers
SECONDS = 90 * DAY


def aging(**more: Any) -> RuleOrder:
    """Orders go after 90 days, by themselves."""
    return rule("aged", **{"action": ActionType.ENSURE_TTL, "where": None, **more})


def planned(keeper: MongoKeeper, asked: RuleOrder, **more: Any) -> tuple[str | None, list[str]]:
    """What the plan shows of it: the index, and what stands against it."""
    (shown,) = plan_status(keeper.look(asked, **more), "r").rules
    return shown.index, shown.refusals


def test_a_dry_run_shows_the_index_and_an_enforced_one_makes_and_keeps_it(full: MongoKeeper, peer: FullPeer) -> None:
    before = full.ids()
    shown, refusals = planned(full, aging())
    assert shown == f"make databosun_ttl_aged on created_at, which deletes after {SECONDS} s"
    assert (refusals, peer.aging) == ([], [])
    ran = full.enforce(aging())
    (outcome,) = result_of(ran).outcomes
    assert (outcome.failure, outcome.state) == (None, RuleState.COMPLETED)
    assert outcome.index == f"databosun_ttl_aged on created_at, which deletes after {SECONDS} s"
    assert outcome.remaining == len([one for one in before if one % 200 >= 90])  # the server's to delete
    (made,) = peer.aging
    assert (made["key"], made["expireAfterSeconds"]) == ({"created_at": 1}, SECONDS)
    assert (full.ids(), outcome.deleted) == (before, 0)
    done = [one for one in full.archive().links() if one["event"] == "Done"]
    assert done[0]["index"] == outcome.index
    approved = result_of(ran).plan_hash
    again = full.enforce(aging(), approved=approved)  # what it made itself is no other plan
    assert result_of(again).outcomes[0].state is RuleState.COMPLETED
    assert len(peer.asked("createIndexes")) == 1
    assert (planned(full, aging())[0] or "").startswith("keep databosun_ttl_aged")


def test_an_index_of_ours_is_changed_by_another_approval(full: MongoKeeper, peer: FullPeer) -> None:
    full.carry_out(aging())
    approved = full.look(aging()).plan_hash
    peer.aging[0]["expireAfterSeconds"] = 60  # somebody did
    assert planned(full, aging())[0] == (
        f"change databosun_ttl_aged on created_at, which deletes after {SECONDS} s (by now after 60 s)"
    )
    assert result_of(full.enforce(aging(), approved=approved)).outcomes[0].state is RuleState.COMPLETED
    assert peer.aging[0]["expireAfterSeconds"] == SECONDS
    assert full.look(aging(older_than_seconds=100 * DAY)).plan_hash != approved


def test_the_statutory_floor_is_the_age(full: MongoKeeper, peer: FullPeer) -> None:
    full.carry_out(aging(limits={"min_retention_seconds": 120 * DAY}))
    assert peer.aging[0]["expireAfterSeconds"] == 120 * DAY


HOLDS = [{"where": '{"customer": 7}', "table": "orders"}, {"table": "shop.orders"}, {}]


@pytest.mark.parametrize("enforced", [False, True])
@pytest.mark.parametrize("hold", HOLDS)
def test_a_hold_that_comes_after_the_index_ends_it_and_the_approved_run_makes_it_anew_afterwards(
    full: MongoKeeper, peer: FullPeer, hold: dict[str, str], enforced: bool
) -> None:
    """By whoever looks next, a dry run too; what is said of it stands in the plan."""
    held = HoldOrder(name="case", reason="court", **hold)
    assert full.refused(aging(), holds=[held])[0] == "BlockedByHold"
    assert peer.aging == []
    full.carry_out(aging())
    approved = full.look(aging()).plan_hash
    (before,) = peer.aging
    if enforced:
        assert full.refused(aging(), holds=[held])[0] == "BlockedByHold"
    else:
        shown, refusals = planned(full, aging(), holds=[held])
        assert shown == (
            "databosun_ttl_aged was dropped for hold case (court); an approved run makes it anew once that is over"
        )
        assert any(shown in one for one in refusals)
    assert peer.aging == [], "the server deletes what is held"
    assert (planned(full, aging(), holds=[held])[0] or "").startswith("make databosun_ttl_aged on created_at")
    over = HoldOrder(name="case", reason="court", until=NOW, **hold)
    assert planned(full, aging(), holds=[over])[1] == []
    assert result_of(full.enforce(aging(), approved=approved)).outcomes[0].state is RuleState.COMPLETED
    assert peer.aging == [before]


def test_a_hold_over_the_whole_policy_ends_the_index_too(full: MongoKeeper, peer: FullPeer) -> None:
    full.carry_out(aging())
    assert planned(full, aging(), held="Database orders is under a legal hold: court")[0] == (
        "databosun_ttl_aged was dropped for Database orders is under a legal hold: court; an approved run makes it anew"
        " once that is over"
    )
    assert peer.aging == []


DROPPED = "databosun_ttl_aged was dropped for "
GOOD = HoldOrder(name="good", reason="court", table="orders")
BAD = [
    {"where": '{"custmer": 7}', "table": "orders"},
    {"where": '{"$where": "1"}', "table": "orders"},
    {"where": '{"status": ', "table": "orders"},
    {"table": "no_orders"},
    {"keys": "user:*"},
]


@pytest.mark.parametrize("wrong", BAD)
@pytest.mark.parametrize(
    ("good", "more", "why"),
    [
        ([GOOD], {}, "hold good (court), hold bad (a judge)"),
        ([], {}, "hold bad (a judge)"),
        ([], {"held": "Database orders is under a legal hold"}, "hold bad (a judge), Database orders is under"),
    ],
)
def test_a_hold_that_nobody_understands_ends_the_index_as_any_other(
    full: MongoKeeper,
    peer: FullPeer,
    wrong: dict[str, str],
    good: list[HoldOrder],
    more: dict[str, str],
    why: str,
) -> None:
    """Nothing is touched while there is one, and the server must not go on either."""
    full.carry_out(aging())
    bad = HoldOrder(name="bad", reason="a judge", **wrong)
    shown, (refusal,) = planned(full, aging(), holds=[*good, bad], **more)
    assert peer.aging == [], "the server deletes what may be held"
    assert (shown or "").startswith(f"{DROPPED}{why}")
    assert refusal.startswith("RuleNotReadable")
    assert str(shown) in refusal


def test_a_hold_ends_the_index_of_a_rule_that_cannot_be_carried_out(full: MongoKeeper, peer: FullPeer) -> None:
    """Such as one whose documents have an array by now. Without a hold on them it stays."""
    full.carry_out(aging())
    full.orders.insert_one({"_id": -1, "created_at": [NOW, NOW]})
    full.behind.client["shop"].others.insert_one({"_id": 1})
    other = HoldOrder(name="other", reason="court", table="others")
    assert (planned(full, aging(), holds=[other])[0] or "").startswith("keep databosun_ttl_aged")
    assert len(peer.aging) == 1
    shown, (refusal,) = planned(full, aging(), holds=[GOOD])
    assert peer.aging == []
    assert (shown or "").startswith(f"{DROPPED}hold good (court)")
    assert "as soon as one of its dates is old" in refusal


def test_a_rule_with_a_fault_says_that_its_index_could_not_be_dropped(full: MongoKeeper, peer: FullPeer) -> None:
    full.carry_out(aging())
    peer.refused.add("dropIndexes")
    lost = HoldOrder(name="bad", reason="a judge", table="no_orders")
    (refusal,) = planned(full, aging(), holds=[lost])[1]
    assert len(peer.aging) == 1
    assert "there is no table of that name" in refusal
    assert "deletes still, and could not be dropped for hold bad (a judge)" in refusal
    assert 'getCollection("orders").dropIndex("databosun_ttl_aged")' in refusal


@pytest.mark.parametrize(
    "there",
    [
        {"name": "theirs", "expireAfterSeconds": SECONDS},
        {"name": "databosun_ttl_aged", "expireAfterSeconds": SECONDS, "partialFilterExpression": {"a": 1}},
        {"name": "databosun_ttl_aged", "key": {"other": 1}, "expireAfterSeconds": 60},
    ],
)
def test_a_hold_leaves_an_index_that_no_rule_made_and_says_so(
    full: MongoKeeper, peer: FullPeer, there: Document
) -> None:
    peer.aging = [{"v": 2, "key": {"created_at": 1}, **there}]
    refusals = planned(full, aging(), holds=[HoldOrder(name="case", reason="court")])[1]
    assert any(one.startswith("BlockedByHold") for one in refusals)
    assert peer.aging == [{"v": 2, "key": {"created_at": 1}, **there}]
    assert not peer.asked("dropIndexes")
    if "key" not in there:
        stop = f'db.getSiblingDB("shop").getCollection("orders").dropIndex("{there["name"]}")'
        assert any("deletes still, in spite of" in one and stop in one for one in refusals)


def test_an_index_that_cannot_be_stopped_is_said_with_what_stops_it(full: MongoKeeper, peer: FullPeer) -> None:
    held = HoldOrder(name="case", reason="court")
    full.carry_out(aging())
    peer.refused.add("dropIndexes")
    (refusal,) = (one for one in planned(full, aging(), holds=[held])[1] if "drop" in one)
    assert len(peer.aging) == 1
    assert "deletes still, and could not be dropped for hold case (court)" in refusal
    assert 'getCollection("orders").dropIndex("databosun_ttl_aged")' in refusal
    peer.refused.clear()
    peer.on["dropIndexes"] = lambda _: {}
    (refusal,) = (one for one in planned(full, aging(), holds=[held])[1] if "drop" in one)
    assert "is there still: it was dropped, and came back" in refusal


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"name": "old", "expireAfterSeconds": 60}, "is otherwise (name: old, expireAfterSeconds: 60)"),
        ({"name": "plain"}, "is otherwise (name: plain)"),
        ({"name": "part", "expireAfterSeconds": SECONDS, "partialFilterExpression": {"a": 1}}, "is otherwise"),
        ({"name": "databosun_ttl_aged", "key": {"other": 1}, "expireAfterSeconds": 60}, "of another field"),
    ],
)
def test_an_index_that_is_in_its_way_is_named(full: MongoKeeper, peer: FullPeer, there: Document, words: str) -> None:
    peer.aging = [{"v": 2, "key": {"created_at": 1}, **there}]
    found, message = full.refused(aging())
    assert found == "IndexClash"
    assert words in message
    assert peer.aging == [{"v": 2, "key": {"created_at": 1}, **there}]


def test_one_of_others_that_says_the_same_is_kept(full: MongoKeeper, peer: FullPeer) -> None:
    peer.aging = [{"v": 2, "key": {"created_at": -1}, "name": "theirs", "expireAfterSeconds": SECONDS}]
    assert full.carry_out(aging())["aged"].index == f"theirs on created_at, which deletes after {SECONDS} s"
    assert not peer.asked("createIndexes")


@pytest.mark.parametrize(
    ("asked", "reason", "words"),
    [
        (aging(limits={"keep_newest": 5}), "IndexClash", "limits.keepNewest is 5"),
        (aging(limits={"max_rows_per_run": 5}), "PlanGrew", "more than limits.maxRowsPerRun (5)"),
        (aging(limits={"max_percent": 5}), "PlanGrew", "more than maxPercent (5)"),
        (aging(column="_id"), "RuleNotReadable", "cannot be an index that deletes by age"),
        (aging(where='{"status": "closed"}'), "RuleNotReadable", "and by no match.where"),
        (aging(older_than_seconds=3_000_000_000), "IndexClash", "more than an index can have"),
        (aging(table="series"), "NotATable", "is a time series"),
        (aging(table="capped"), "NotATable", "is a capped collection"),
    ],
)
def test_what_an_index_cannot_keep_is_refused(
    full: MongoKeeper, peer: FullPeer, asked: RuleOrder, reason: str, words: str
) -> None:
    def listed(command: Document) -> Document:
        name = command["filter"]["name"]
        kinds: Document = {"series": {"type": "timeseries", "options": {"timeseries": {"timeField": "at"}}},
                           "capped": {"type": "collection", "options": {"capped": True}}}  # fmt: skip
        plain: Document = {"type": "collection", "options": {}}
        found = [{"name": name, **kinds.get(name, plain)}] if name in (*kinds, "orders") else []
        return {"cursor": {"id": 0, "ns": "shop.$cmd", "firstBatch": found}}

    peer.on["listCollections"] = listed
    peer.on["listIndexes"] = lambda _: {"cursor": {"id": 0, "ns": "shop.x", "firstBatch": [{"key": {"_id": 1}}]}}
    found, message = full.refused(asked)
    assert found == reason
    assert words in message
    assert not peer.asked("createIndexes")


def test_arrays_of_dates_are_refused(full: MongoKeeper, peer: FullPeer) -> None:
    full.orders.insert_one({"_id": -1, "created_at": [NOW, NOW - timedelta(days=900)]})
    message = full.refused(aging())[1]
    assert "as soon as one of its dates is old" in message
    assert not peer.asked("createIndexes")


def test_what_the_server_returns_is_the_result_and_not_what_was_sent(full: MongoKeeper, peer: FullPeer) -> None:
    peer.on["createIndexes"] = lambda _: {}
    done = full.carry_out(aging())["aged"]
    assert done.failure is not None
    assert (done.state, done.failure.reason) == (RuleState.FAILED, "IndexClash")
    assert "is not there as it was asked for" in done.failure.message


def test_the_grants_for_it_are_named(full: MongoKeeper, peer: FullPeer) -> None:
    privileges = [{"resource": {"db": "shop", "collection": "orders"}, "actions": ["find", "listIndexes", "collStats"]}]
    known = {"authenticatedUsers": [{"user": "keeper", "db": "admin"}], "authenticatedUserPrivileges": privileges}
    peer.on["connectionStatus"] = lambda _: {"authInfo": known}
    peer.aging = [{"v": 2, "key": {"created_at": 1}, "name": "databosun_ttl_x", "expireAfterSeconds": 60}]
    found, message = full.refused(aging())
    assert found == "PermissionDenied"
    assert 'role: "readWrite"' in message
    assert 'role: "dbAdmin"' in message
