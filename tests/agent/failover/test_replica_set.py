"""Replica sets of MongoDB, scripted: no mongod is to be had. The driver is real, the members do as the manual says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.failovers.drive import Drive
from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverVerdict, MemberRole
from databosun.api.failoverprobe import ProbePath
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.failoverplan import make_plan
from databosun.domain.ledger import Fate
from databosun.engines.failover import FailoverFault, ProbeError
from databosun.engines.mongodb.failover import switch
from support.failoverjob import RUN, FailoverJob, once_clients_write, why
from support.mongopeer import Document, HungUp, MongoPeer, Refused
from support.mongoset import SPACE, MongoSet
from support.waiting import eventually

FORCED = FailoverMode.FORCED_FAILOVER


@pytest.fixture
def sets() -> Iterator[Callable[..., MongoSet]]:
    made: list[MongoSet] = []

    def make(*members: Document) -> MongoSet:
        made.append(MongoSet(*members))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def test_a_switchover_loses_nothing_and_leaves_nothing(sets: Callable[..., MongoSet], tmp_path: Path) -> None:
    """The candidate is not whom the primary would hand over to, so the other one must be kept from it."""
    yard = sets({}, {}, {}, {"hidden": True, "priority": 0})
    job, (old, other, new, hidden) = yard.job(tmp_path), yard.nodes
    names = [one.name for one in yard.nodes]
    plan = make_plan(RUN, "ReplicaSet", FailoverMode.PLANNED_SWITCHOVER, old.name, new.name, names)
    assert job.plan().candidate == other.name, "whom a primary hands over to by itself"
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert (measured.split_brain, found.settled, found.candidate) == ([], True, new.name)
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert yard.primary is new
    ((asked, order),) = yard.asked("replSetStepDown")
    assert (asked, order["secondaryCatchUpPeriodSecs"], order.get("force")) == (old.name, 10, None)
    frozen = [(name, one["replSetFreeze"]) for name, one in yard.asked("replSetFreeze")]
    assert frozen == [(other.name, 27), (other.name, 0)], "neither the candidate nor who is never elected"
    assert yard.leftovers() == []
    _, backs, claims = job.ledger()
    assert len(backs) == 2
    assert {claim.node for claim in claims} == {old.name, new.name}
    assert hidden.name not in {claim.node for claim in claims}


def test_roles_are_told_and_who_can_never_take_over(sets: Callable[..., MongoSet]) -> None:
    yard = sets(
        {}, {"priority": 2}, {"priority": 0}, {"hidden": True, "priority": 0},
        {"secondaryDelaySecs": 60, "priority": 0, "votes": 0}, {"arbiterOnly": True, "priority": 0}, {}, {"version": 2},
    )  # fmt: skip
    yard.kill(yard.nodes[6])
    with yard.provider() as provider:
        topology = provider.topology()
        told = {one.name: one for one in topology.members}
        assert topology.primary == yard.nodes[0].name
        assert yard.nodes[5].name not in told
        assert yard.nodes[5].name in " ".join(topology.notes)
        fit = [one.name for one in topology.members if one.promotable]
        assert fit == [yard.nodes[1].name]
        said = ["; ".join(told[yard.nodes[number].name].problems) for number in (2, 3, 4, 6, 7)]
        words = ["priority is 0", "hidden", "lies behind by 60 s", "refused the connection", "version 2 of the config"]
        assert [word in text for word, text in zip(words, said, strict=True)] == [True] * 5, said
        assert (told[yard.nodes[6].name].role, told[yard.nodes[6].name].healthy) == (MemberRole.UNKNOWN, False)
        assert provider.choose(topology, None) == yard.nodes[1].name
        assert provider.choose(topology, yard.nodes[2].name) is None


def test_a_candidate_that_receives_nothing_is_not_switched_to(
    sets: Callable[..., MongoSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "AHEAD_SECONDS", 1.0)
    yard = sets()
    job = yard.job(tmp_path)
    plan = job.plan()

    def deafen() -> None:
        yard.named(plan.candidate).deaf = True
        yard.write(1 << 20)  # it lacks that, whatever clients do

    monkeypatch.setattr(Drive, "_begin_writing", once_clients_write(deafen))
    found = job.switch(plan)
    assert (found.verdict, found.reason) in (
        (FailoverVerdict.REFUSED, FailoverFault.NOT_CAUGHT_UP), (FailoverVerdict.REFUSED, "GuardFailed")
    ), why(found)  # fmt: skip
    assert found.ordered_at is None
    assert yard.primary is yard.nodes[0]
    assert yard.asked("replSetStepDown") == []
    assert yard.leftovers() == []


def test_what_the_primary_has_and_the_candidate_lacks_stops_a_move(
    sets: Callable[..., MongoSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(switch, "AHEAD_SECONDS", 0.3)
    yard, ordered = sets(), list[bool]()
    with yard.provider() as provider:
        provider.topology()
        names = [one.name for one in yard.nodes]
        plan = make_plan(RUN, "ReplicaSet", FailoverMode.PLANNED_SWITCHOVER, names[0], names[1], names)
        yard.write(7)  # nobody else has it
        with pytest.raises(UserFault, match="nothing was moved, and writes go on") as fault:
            provider.move(plan, lambda: ordered.append(True))
    assert fault.value.reason == FailoverFault.NOT_CAUGHT_UP
    assert (ordered, yard.asked("replSetStepDown"), yard.leftovers()) == ([], [], [])


def test_a_primary_that_does_not_step_down_goes_on_and_nobody_stays_frozen(
    sets: Callable[..., MongoSet], tmp_path: Path
) -> None:
    def refuse(_: Document) -> Document:
        raise Refused(262, "No electable secondaries caught up as of now", "ExceededTimeLimit")

    yard = sets()
    yard.nodes[0].peer.on["replSetStepDown"] = refuse
    found = yard.job(tmp_path).switch()
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SwitchFailed"), why(found)
    assert "goes on as primary" in found.message
    assert len(yard.asked("replSetStepDown")) == 1
    assert yard.leftovers() == []


def test_an_order_whose_answer_is_lost_is_not_given_again(sets: Callable[..., MongoSet], tmp_path: Path) -> None:
    yard = sets()
    given = yard.nodes[0].peer.on["replSetStepDown"]

    def hang_up(command: Document) -> Document:
        given(command)
        raise HungUp

    yard.nodes[0].peer.on["replSetStepDown"] = hang_up
    found = yard.job(tmp_path).switch()
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    assert len(yard.asked("replSetStepDown")) == 1


def test_a_member_that_cannot_be_frozen_stops_the_move(sets: Callable[..., MongoSet], tmp_path: Path) -> None:
    yard = sets()
    yard.nodes[2].peer.refused.add("replSetFreeze")
    job = yard.job(tmp_path)
    found = job.switch()
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, FailoverFault.PROVIDER_REFUSED), why(found)
    assert yard.nodes[2].name in found.message
    assert yard.asked("replSetStepDown") == []


@pytest.mark.parametrize("shows", ["state", "oplog"])
def test_a_killed_primary_is_replaced_and_what_it_alone_had_is_told(
    sets: Callable[..., MongoSet], tmp_path: Path, shows: str
) -> None:
    yard = sets()
    yard.shows = shows
    job = _forced(yard, tmp_path, unsent=1)
    plan = job.plan()
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.split_brain) == (0, 0, [])
    assert measured.write_downtime_seconds
    assert measured.write_downtime_seconds > job.outage(yard.killed) - 0.001
    assert any(f"{plan.primary} held writes that {found.candidate} never had" in one for one in found.notes), why(found)
    assert yard.leftovers() == []


def test_a_member_that_is_being_started_and_knows_of_no_set_yet_ends_no_failover(
    sets: Callable[..., MongoSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only one that the Database names: nobody else could be asked meanwhile. It is started twice, before it
    is known who was promoted and before it has rejoined."""
    yard = sets()
    old = yard.nodes[0]
    job = yard.job(tmp_path, FORCED)
    job.database = job.database.model_copy(update={"port": old.peer.port})
    plan = job.plan()

    def starts() -> None:
        old.starting = True
        threading.Thread(target=ready, daemon=True).start()

    def ready() -> None:
        hellos = len(old.peer.asked("hello"))
        eventually("another is primary", lambda: yard.primary is not None)
        eventually("it was asked all the while", lambda: len(old.peer.asked("hello")) > hellos + 3)
        old.starting = False

    def operator(asked: ActAsked) -> ActAnswer:
        yard.kill(old)
        starts()
        yard.revive(old)
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="ended")

    def restarted(run: Drive, event: str) -> None:
        read_back(run, event)
        if event == "ReadAfterPromotion":
            starts()

    read_back = Drive._read_back
    monkeypatch.setattr(Drive, "_read_back", restarted)
    job.operator = operator
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    assert found.candidate != plan.primary
    assert yard.leftovers() == []


def test_a_set_that_acknowledges_what_no_majority_has_loses_as_many_as_the_ledger_says(
    sets: Callable[..., MongoSet], tmp_path: Path
) -> None:
    yard = sets()
    yard.careless = True
    job = _forced(yard, tmp_path, deaf=True)
    found = job.switch()
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    history, _, _ = job.ledger()
    assert yard.primary
    held = set(yard.primary.keys)
    missing = [
        one for one in history
        if one.fate is Fate.ACKNOWLEDGED and (int(one.client.rpartition("-")[2]) << 32 | one.seq) not in held
    ]  # fmt: skip
    assert found.measured
    assert found.measured.lost == len(missing) > 0


@pytest.mark.parametrize(
    ("members", "mode", "guard"),
    [
        (({"priority": 2}, {}, {}), FailoverMode.PLANNED_SWITCHOVER, "priorityKept"),
        (({}, {}, {"arbiterOnly": True, "priority": 0}), FORCED, "majorityLeft"),
    ],
)
def test_a_set_that_would_not_stay_or_not_go_on_is_refused(
    sets: Callable[..., MongoSet], tmp_path: Path, members: tuple[Document, ...], mode: FailoverMode, guard: str
) -> None:
    yard = sets(*members)
    job = _forced(yard, tmp_path) if mode is FORCED else yard.job(tmp_path)
    found = job.switch()
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed"), why(found)
    assert f"guard {guard}" in found.message
    assert yard.primary is yard.nodes[0]
    assert all(one.alive for one in yard.nodes)


def test_logins_that_may_too_little_are_told_before_anything_is_done(sets: Callable[..., MongoSet]) -> None:
    yard = sets()
    here = {"db": "databosun_probe", "collection": ""}
    yard.privileges = [
        {"resource": {"cluster": True}, "actions": ["replSetGetStatus", "replSetGetConfig"]},
        {"resource": here, "actions": ["find", "insert", "createCollection"]},
        {"resource": {"db": "shop", "collection": ""}, "actions": ["dropCollection", "replSetStateChange"]},
    ]
    failing = _failing(yard)
    assert failing["grants"].observed == "lacks replSetStateChange"
    assert failing["probeWritable"].observed == "lacks dropCollection"
    yard.privileges[0]["actions"].append("replSetStateChange")
    yard.privileges[1]["actions"].append("dropCollection")
    assert _failing(yard) == {}


def test_a_shard_is_refused_and_so_is_one_that_may_be_one(sets: Callable[..., MongoSet]) -> None:
    yard = sets()
    yard.nodes[0].peer.spaces["admin.system.version"] = [{"_id": "shardIdentity"}]
    assert _failing(yard)["notSharded"].observed == "a shard"
    yard.nodes[0].peer.refused.add("admin.system.version")
    assert "may not look" in _failing(yard)["notSharded"].observed


def test_a_member_that_does_not_let_the_writers_in_is_refused(
    sets: Callable[..., MongoSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    yard = sets()
    with yard.provider() as provider:
        topology = provider.topology()
        yard.kill(yard.nodes[2])
        failing = [one.name for one in provider.examine(topology, yard.nodes[1].name) if not one.ok]
    assert failing == ["membersReachable"]


@pytest.mark.parametrize(("role", "words"), [("router", "is a router"), ("primary", "without a replica set")])
def test_what_is_no_replica_set_is_refused(role: str, words: str) -> None:
    peer = MongoPeer(role=role, set_name=None)
    yard = MongoSet()
    try:
        yard.nodes[-1].peer.port, port = peer.port, yard.nodes[-1].peer.port
        with yard.provider() as provider, pytest.raises(UserFault, match=words) as fault:
            provider.topology()
        yard.nodes[-1].peer.port = port
    finally:
        peer.close()
        yard.remove()
    assert fault.value.reason == FailoverFault.PROVIDER_UNSUPPORTED


def test_a_read_back_sees_all_that_was_acknowledged_before(sets: Callable[..., MongoSet]) -> None:
    """A new primary's majority may lie behind what was acknowledged, until it has a write of its own acknowledged."""
    yard = sets()
    node, find = yard.nodes[0], yard.nodes[0].peer.on["find"]
    fresh: list[bool] = []

    def behind(command: Document) -> Document:
        if command["find"] in SPACE:
            assert command["readConcern"] == {"level": "majority"}
            if not fresh:
                return {"cursor": {"id": 0, "ns": SPACE, "firstBatch": []}}
        return find(command)

    with yard.provider() as provider:
        provider.prepare_probe()
        session = provider.connect(None, 3, 2.0)
        session.write(5)
        insert = node.peer.on["insert"]

        def inserted(command: Document) -> Document:
            fresh.append(True)
            return insert(command)

        node.peer.on |= {"find": behind, "insert": inserted}
        assert {client: list(rows) for client, rows in provider.read_back([3]).items()} == {3: [5]}
        node.peer.on["insert"] = lambda _: {"n": 1, "writeConcernError": {"code": 64, "errmsg": "timed out"}}
        with pytest.raises(WorldFault, match="a write with majority at the primary"):
            provider.read_back([3])
        session.close()


@pytest.mark.parametrize(
    ("answer", "kind", "fate", "broken"),
    [
        (Refused(10107, "not primary", "NotWritablePrimary"), "NotWritablePrimary", Fate.FAILED, True),
        (Refused(11602, "killed", "InterruptedDueToReplStateChange"), "InterruptedDueToReplStateChange", Fate.UNKNOWN,
         True),
        (Refused(13, "not authorized", "Unauthorized"), "Unauthorized", Fate.FAILED, False),
        ({"n": 0, "writeErrors": [{"code": 11000, "errmsg": "E11000"}]}, "11000", Fate.FAILED, False),
        ({"n": 1, "writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "timeout"}},
         "WriteConcernFailed", Fate.UNKNOWN, True),
        ({"n": 1, "writeConcernError": {"code": 10107, "codeName": "NotWritablePrimary", "errmsg": "gone"}},
         "NotWritablePrimary", Fate.UNKNOWN, True),
        (HungUp(), "ConnectionLost", Fate.UNKNOWN, True),
    ],
)  # fmt: skip
def test_refused_and_unknown_are_told_apart(
    sets: Callable[..., MongoSet], answer: Any, kind: str, fate: Fate, broken: bool
) -> None:
    yard = sets()

    def answered(_: Document) -> Document:
        if isinstance(answer, Exception):
            raise answer
        found: Document = answer
        return found

    node = yard.nodes[0]
    node.peer.on["insert"] = answered
    with yard.provider() as provider:
        provider.topology()
        session = provider.connect(ProbePath(name="direct", host="127.0.0.1", port=node.peer.port), 0, 2.0)
        assert session.node == node.name
        with pytest.raises(ProbeError) as told:
            session.write(1)
        session.close()
    assert (told.value.kind, told.value.fate, told.value.broken) == (kind, fate, broken)
    assert len(node.peer.asked("insert")) == 1, "nothing is tried twice"


def _forced(yard: MongoSet, folder: Path, *, unsent: int = 0, deaf: bool = False) -> FailoverJob:
    """The operator kills the primary; `deaf`: the others receive nothing from a moment before. It comes back."""
    job = yard.job(folder, FORCED)

    def operator(asked: ActAsked) -> ActAnswer:
        old = yard.nodes[0]
        assert (asked.member, asked.host) == (old.name, "127.0.0.1")
        if deaf:
            for node in yard.replicas:
                node.deaf = True
            before = len(old.keys)
            eventually("some are acknowledged", lambda: len(old.keys) > before + 8)
        yard.kill(old, unsent=unsent)

        def back() -> None:
            eventually("another is primary", lambda: yard.primary is not None)
            new = yard.primary or old
            before = len(new.keys)
            eventually("it is written to", lambda: len(new.keys) > before + 3)
            for node in yard.nodes:
                node.deaf = False
            yard.revive(old)

        threading.Thread(target=back, daemon=True).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    return job


def _failing(yard: MongoSet) -> dict[str, Any]:
    with yard.provider() as provider:
        topology = provider.topology()
        guards = provider.examine(topology, provider.choose(topology, None))
        return {one.name: one for one in guards if not one.ok}
