"""A Redis Cluster: a manual failover loses nothing, a forced one just what the ledger says, and else nothing moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from databosun.agent.failovers.clients import Crowd
from databosun.agent.failovers.drive import Drive
from databosun.api.failover import FailbackWhen, FailoverMode, FailoverPlan, FailoverStep, FailoverVerdict
from databosun.domain.errors import WorldFault
from databosun.domain.ledger import Fate
from databosun.engines.failover import Declined
from databosun.engines.redis.cluster import key_slot
from databosun.engines.redis.failover import clusterswitch
from databosun.engines.redis.failover.clusterprovider import ClusterProvider
from databosun.engines.redis.resp import Reply, ReplyError, Wire
from support.clusteryard import ClusterYard
from support.failoverjob import LONG, FailoverJob, acknowledged_since, why
from support.redismoving import MOVER
from support.redisserver import Server
from support.waiting import eventually

pytestmark = pytest.mark.servers
UNSENT = 20
FORCED = FailoverMode.FORCED_FAILOVER


@pytest.fixture(scope="module")
def running() -> Iterator[ClusterYard]:
    """Of Redis 7.0, for all tests of this module."""
    with _started("redis") as yard:
        yield yard


@pytest.fixture
def yard(running: ClusterYard) -> Iterator[ClusterYard]:
    """In order, before and after."""
    running.turn()
    yield running
    running.await_order()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the agent tells nodes about their cluster."""
    told: list[tuple[object, ...]] = []
    call = Wire.call

    def noted(wire: Wire, *arguments: str | bytes | int, **more: float) -> Reply:
        if arguments[0] == "CLUSTER":
            told.append((wire.where, *arguments[1:]))
        return call(wire, *arguments, **more)

    monkeypatch.setattr(Wire, "call", noted)
    return told


@pytest.mark.usefixtures("each_writes")
def test_the_manual_failover_loses_nothing_and_leaves_nothing(
    yard: ClusterYard, tmp_path: Path, commands: list[tuple[object, ...]]
) -> None:
    _passes(yard, tmp_path)
    orders = [words for words in commands if words[1] not in ("NODES", "INFO")]
    assert [words[1:] for words in orders] == [("FAILOVER",)]


def test_a_shard_is_moved_there_and_back(yard: ClusterYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path)
    job.failback = FailbackWhen.WHEN_REJOINED
    plan = job.plan()
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    back = found.failback
    assert back
    assert back.measured
    assert (back.verdict, back.candidate) == (FailoverVerdict.PASSED, plan.primary), why(back)
    assert (back.measured.lost, back.measured.rejoin_lost, back.measured.split_brain) == (0, 0, [])
    assert found.topology_after
    assert found.topology_after.primary == plan.primary


@pytest.mark.usefixtures("each_writes")
def test_so_it_is_with_valkey(tmp_path: Path) -> None:
    with _started("valkey") as yard:
        _passes(yard, tmp_path)


def _passes(yard: ClusterYard, folder: Path) -> None:
    job = yard.job(folder)
    old, new = yard.pair()
    plan = job.plan()
    assert (plan.primary, plan.candidate, plan.shard) == (yard.name(old), yard.name(new), yard.shard().slots)
    assert plan.members == sorted((yard.name(old), yard.name(new)))
    assert yard.leftovers() == []  # looking makes nothing
    found = job.switch(plan, rate=100.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert (measured.split_brain, found.settled, found.candidate) == ([], True, plan.candidate)
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert [one.event for one in found.timeline][:3] == ["WritesBegan", "SwitchOrdered", "PrimaryChanged"]
    assert all(client.first_success_seconds for client in found.clients)
    assert (old.info("replication")["role"], new.info("replication")["role"]) == ("slave", "master")
    eventually("the replica has followed", lambda: yard.leftovers() == [])


def test_a_forced_one_loses_just_what_the_ledger_says(
    yard: ClusterYard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands: list[tuple[object, ...]],
    crowds: list[Crowd],
) -> None:
    monkeypatch.setattr(ClusterProvider, "remove_probe", lambda _: None)
    job = yard.job(tmp_path, FORCED)
    plan = job.plan()
    old, new = yard.named(plan.primary), yard.named(plan.candidate)
    with _at_the_order(monkeypatch, lambda: _behind(yard, old, crowds)):
        found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    assert found.candidate == plan.candidate
    measured = found.measured
    assert measured
    history, backs, _ = job.ledger()
    assert len(backs) == 2
    missing = [
        (one.client, one.seq)
        for one in history
        if one.fate is Fate.ACKNOWLEDGED
        if new.call("GETBIT", yard.key(one.client.rpartition("-")[2]), one.seq) == 0
    ]
    assert measured.lost == len(missing) >= UNSENT
    assert (measured.rejoin_seconds is not None, found.settled) == (True, True)
    assert [words[1:] for words in commands if words[1] == "FAILOVER"] == [("FAILOVER", "FORCE")]
    yard.await_order()
    new.call("DEL", *(yard.key(client) for client in (*range(64), "watch")))


@contextmanager
def _behind(yard: ClusterYard, old: Server, crowds: list[Crowd]) -> Iterator[None]:
    """The replica lacks some writes that the master has acknowledged."""
    with yard.parted(old):
        since = time.monotonic()
        eventually("more is acknowledged", lambda: acknowledged_since(crowds[-1], since) >= UNSENT)
        yield


@contextmanager
def _at_the_order(monkeypatch: pytest.MonkeyPatch, done: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Something holds from right before the order until its end."""
    order = clusterswitch.ClusterSwitch._order

    def after(switch: clusterswitch.ClusterSwitch, *more: object) -> object:
        with done():
            return order(switch, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(clusterswitch.ClusterSwitch, "_order", after)
        yield


@pytest.mark.parametrize("gone", ["a replica of another shard", "the nodes of all other shards"])
def test_a_cluster_that_is_not_whole_is_left_alone(yard: ClusterYard, tmp_path: Path, gone: str) -> None:
    job = yard.job(tmp_path)
    plan = job.plan()
    others = [node for node in yard.nodes if yard.name(node) not in plan.members]
    if gone == "a replica of another shard":
        others = [next(node for node in others if node.info("replication")["role"] == "slave")]
    with ExitStack() as stack:
        for node in others:
            stack.callback(node.start)
            node.stop()
        # The agent is let in by a node that is still there, as by a Service.
        job.database = job.database.model_copy(update={"port": int(plan.primary.rpartition(":")[2])})
        found = job.switch(plan)
    assert (found.verdict, found.reason, found.ordered_at) == (FailoverVerdict.REFUSED, "GuardFailed", None), why(found)
    assert "guard clusterOk" in found.message
    assert yard.named(plan.primary).info("replication")["role"] == "master"
    yard.await_order()
    assert yard.leftovers() == []


def test_a_slot_that_is_on_its_way_is_let_finish(yard: ClusterYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path)
    plan = job.plan()
    source, target, slot = _two_masters(yard)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
    try:
        found = job.switch(plan)
    finally:
        source.call("CLUSTER", "SETSLOT", slot, "STABLE")
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed"), why(found)
    assert f"guard noMigration: found slots {slot} are being moved" in found.message


def test_a_login_that_may_not_move_is_said_before_anything_is(yard: ClusterYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path)
    plan = job.plan()
    for node in yard.nodes:
        node.call("ACL", "SETUSER", MOVER, "-cluster|failover")
    try:
        found = job.switch(plan)
    finally:
        for node in yard.nodes:
            node.call("ACL", "SETUSER", MOVER, "+cluster|failover")
    assert (found.verdict, found.reason, found.ordered_at) == (FailoverVerdict.REFUSED, "GuardFailed", None), why(found)
    assert f"ACL SETUSER {MOVER} +info" in found.message
    assert "NOPERM" in found.message


def test_a_replica_that_gets_nothing_is_no_candidate_and_is_not_waited_for_with_writes_stopped(
    yard: ClusterYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusterswitch, "CATCH_UP_SECONDS", 0.5)
    job = yard.job(tmp_path)
    plan = job.plan()
    old, new = yard.named(plan.primary), yard.named(plan.candidate)
    ordered: list[str] = []
    with yard.parted(old), yard.provider() as provider:
        old.call("SET", yard.key("more"), "1", "EX", "600")
        provider.topology()
        eventually("the link is down", lambda: new.info("replication")["master_link_status"] == "down")
        with pytest.raises(Declined, match=r"has no link to it; nothing was moved"):
            provider.move(plan, lambda: ordered.append("ordered"))
        found = job.switch(plan)
    assert ordered == []
    assert (found.verdict, found.reason, found.ordered_at) == (FailoverVerdict.REFUSED, "GuardFailed", None), why(found)
    assert old.info("replication")["role"] == "master"
    old.call("DEL", yard.key("more"))


def test_an_order_that_a_node_refuses_has_moved_nothing(yard: ClusterYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path, FORCED)
    plan = job.plan()
    _, other, _ = _two_masters(yard)
    wrong = plan.model_copy(update={"candidate": yard.name(other)})
    with yard.provider(FORCED) as provider, pytest.raises(Declined, match="refused CLUSTER FAILOVER FORCE"):
        provider.move(wrong, lambda: None)


@pytest.mark.parametrize("moment", ["it is ordered", "another one is promoted"])
def test_an_agent_that_is_killed_in_the_middle_leaves_a_cluster_in_order(
    yard: ClusterYard, tmp_path: Path, moment: str
) -> None:
    job = yard.job(tmp_path)
    plan = job.plan()
    new = yard.named(plan.candidate)
    ordered = moment == "it is ordered"
    agent = job.start(plan, before=clusterswitch.ClusterSwitch._promoted if ordered else Drive._observe)
    job.await_hold(agent)
    assert ordered or new.info("replication")["role"] == "master"
    agent.kill()
    agent.wait()
    _settles(yard, job, plan)


def test_writes_that_an_order_has_stopped_are_waited_for(yard: ClusterYard, tmp_path: Path) -> None:
    """What an agent leaves that was killed after its order, where the replica does not get what it waits for."""
    plan = yard.job(tmp_path).plan()
    old, new = yard.named(plan.primary), yard.named(plan.candidate)
    with yard.provider() as provider, yard.parted(old):
        assert _writable(yard, old, LONG)  # and its replica does not hear of it

        def stopped() -> bool:
            """Until five seconds after the order, which is why it is given anew."""
            new.call("CLUSTER", "FAILOVER")
            return not _writable(yard, old)

        eventually("writes are stopped", stopped)
        assert list(provider.settle(plan, 30.0)) == []
        assert provider.topology().primary == plan.primary
        assert _writable(yard, old, LONG)
        provider.remove_probe()
    eventually("the replica has followed", lambda: yard.leftovers() == [])


def _settles(yard: ClusterYard, job: FailoverJob, plan: FailoverPlan) -> None:
    result = job.run(FailoverStep.SETTLE, plan)
    found = result.failover
    assert found, why(result)
    assert (found.verdict, found.reason, found.settled) == (FailoverVerdict.INCONCLUSIVE, "Settled", True), why(found)
    assert found.topology_after
    assert found.topology_after.primary
    assert _writable(yard, yard.named(found.topology_after.primary), LONG)
    yard.await_order()
    eventually("the replica has followed", lambda: yard.leftovers() == [])


@pytest.mark.parametrize("obeyed", [True, False])
def test_an_order_that_is_not_answered_is_given_once(
    yard: ClusterYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeyed: bool
) -> None:
    plan = yard.job(tmp_path).plan()
    call = Wire.call
    told: list[str] = []

    def unanswered(wire: Wire, *arguments: str | bytes | int, **more: float) -> Reply:
        if arguments[:2] != ("CLUSTER", "FAILOVER"):
            return call(wire, *arguments, **more)
        told.append(wire.where)
        if obeyed:
            call(wire, *arguments, **more)
        raise WorldFault("ConnectionLost", "it hung up")

    with yard.provider() as provider:
        provider.topology()
        monkeypatch.setattr(Wire, "call", unanswered)
        monkeypatch.setattr(clusterswitch, "PROMOTION_SECONDS", LONG if obeyed else 1.0)
        if obeyed:
            assert provider.move(plan, lambda: None) == plan.candidate
        else:
            with pytest.raises(WorldFault, match="which it did not answer: it hung up"):
                provider.move(plan, lambda: None)
    assert len(told) == 1


def test_a_client_that_is_asked_to_ask_elsewhere_does_so_for_once(yard: ClusterYard) -> None:
    """As while a slot is moved: the key that is not there yet is made where the slot goes."""
    with yard.provider() as provider:
        provider.topology()
        session = provider.connect(None, 7, LONG)
        key = yard.key(7)
        slot, source = key_slot(key.encode()), yard.pair()[0]
        target = next(node for node in _masters(yard) if node is not source)
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))
        try:
            session.write(3)
            with target.connect() as wire:
                wire.call("ASKING")
                assert wire.call("GETBIT", key, 3) == 1
                wire.call("ASKING")
                assert wire.call("TTL", key) != -1
                wire.call("ASKING")
                assert wire.call("DEL", key) == 1
        finally:
            for node in (source, target):
                node.call("CLUSTER", "SETSLOT", slot, "STABLE")
        session.write(4)  # and goes on where it was
        assert source.call("GETBIT", key, 4) == 1
        session.close()
        source.call("DEL", key)


@contextmanager
def _started(product: str) -> Iterator[ClusterYard]:
    yard = ClusterYard(product)
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


def _masters(yard: ClusterYard) -> list[Server]:
    return [node for node in yard.nodes if node.info("replication")["role"] == "master"]


def _two_masters(yard: ClusterYard) -> tuple[Server, Server, int]:
    """Of other shards than that of the run, and a slot of the first."""
    own = yard.shard().master.port
    source, target = (node for node in _masters(yard) if node.port != own)
    view = yard.view(source)
    assert view.myself
    return source, target, view.myself.slots[0][0]


def _id(node: Server) -> bytes:
    said = node.call("CLUSTER", "MYID")
    assert isinstance(said, bytes)
    return said


def _writable(yard: ClusterYard, node: Server, seconds: float = 0.5) -> bool:
    """Whether it acknowledges a write of the administrator within a moment."""
    with node.connect() as wire:
        try:
            wire.call("SET", yard.key("watched"), "1", "PX", "500", seconds=seconds)
        except (WorldFault, ReplyError):
            return False
    return True
