"""Redis under Sentinel: the safe move loses nothing, and the plain command exactly what the ledger says it lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverStep, FailoverVerdict, MemberRole
from databosun.api.injection import FaultKind, InjectedFault
from databosun.api.result import Outcome
from databosun.domain.errors import WorldFault
from databosun.domain.ledger import Fate
from databosun.engines.redis.failover import switch
from databosun.engines.redis.failover.provider import SentinelProvider
from databosun.engines.redis.resp import Reply, ReplyError, Wire
from support.failoverjob import LONG, RUN, FailoverJob, why
from support.redismoving import MOVER, TABLE
from support.redisserver import Server
from support.sentinelyard import SentinelYard
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.mark.usefixtures("each_writes")
def test_the_safe_move_loses_nothing_and_leaves_nothing(sentinel: SentinelYard, tmp_path: Path) -> None:
    job = sentinel.job(tmp_path)
    plan = job.plan()
    assert sentinel.leftovers() == []  # looking makes nothing
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert measured.split_brain == []
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert measured.write_downtime_seconds
    assert (found.settled, found.plan_hash, found.primary) == (True, plan.hash, plan.primary)
    assert [one.event for one in found.timeline][:3] == ["WritesBegan", "SwitchOrdered", "PrimaryChanged"]
    assert all(client.first_success_seconds for client in found.clients)
    assert sentinel.named(plan.primary).info("replication")["role"] == "slave"
    eventually("the replicas have followed", lambda: sentinel.leftovers() == [])
    _the_record_says_the_same(job)
    assert job.run(FailoverStep.SWITCH, plan).reason == "AlreadyDone"  # a test is never repeated under its name
    assert sentinel.named(plan.primary).info("replication")["role"] == "slave"


def _the_record_says_the_same(job: FailoverJob) -> None:
    evidence = job.evidence
    assert (evidence["kind"], evidence["result"]["verdict"]) == ("Failover", "Passed")
    history, backs, claims = job.ledger()
    assert sum(one.fate is Fate.ACKNOWLEDGED for one in history) == evidence["result"]["measured"]["acknowledged"]
    assert len(backs) == 2
    assert len({claim.node for claim in claims}) == 2
    recovered = job.recovered()
    assert recovered
    assert recovered.verdict is FailoverVerdict.PASSED
    assert recovered.plan_hash == evidence["plan"]["hash"]


def test_the_plain_command_loses_just_what_the_ledger_says(
    sentinel: SentinelYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentinelProvider, "remove_probe", lambda _: None)
    job = sentinel.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan = job.plan()
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    measured = found.measured
    assert measured
    history, backs, _ = job.ledger()
    assert len(backs) == 2
    promoted = sentinel.named(found.candidate or "")
    missing = [
        (one.client, one.seq)
        for one in history
        if one.fate is Fate.ACKNOWLEDGED
        if promoted.call("GETBIT", f"{TABLE}:{RUN}:{one.client.rpartition('-')[2]}", one.seq) == 0
    ]
    assert measured.lost == len(missing) > 0
    assert measured.split_brain
    assert plan.primary in measured.split_brain[0]
    assert found.settled


def test_a_fault_to_the_master_shows_whom_the_sentinels_promote_and_that_it_stays_away(
    sentinel: SentinelYard, tmp_path: Path
) -> None:
    """Nothing is ordered of anybody: the Sentinels find out by themselves. What was acknowledged all nodes have."""
    for node in sentinel.nodes:
        node.keep()
    job = sentinel.job(tmp_path, FailoverMode.FAULT_INJECTION)
    job.fault = InjectedFault(kind=FaultKind.POD_DELETE)
    plan = job.plan()
    master, stopped = sentinel.named(plan.primary), list[float]()

    def operator(asked: ActAsked) -> ActAnswer:
        assert (asked.member, asked.host) == (plan.primary, "127.0.0.1")
        sentinel.notice()
        master.call("CLIENT", "PAUSE", 600_000, "WRITE")
        eventually("the replicas have it all", lambda: _offset(master) == min(map(_offset, sentinel.nodes)))
        master.stop()
        stopped.append(time.monotonic())
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="stopped")

    job.operator = operator
    found = job.switch(plan, rejoin_seconds=1.0)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "NotRejoined"), why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.split_brain, measured.recovered_seconds) == (0, [], None)
    assert found.candidate != plan.primary
    assert measured.promotion_seconds
    assert measured.write_downtime_seconds
    assert measured.write_downtime_seconds > job.outage(stopped[0]) - 0.001
    assert _is_master(sentinel.named(found.candidate or ""))
    assert found.settled


def test_a_master_that_would_forget_is_not_struck_for_its_replicas_would_copy_that(
    sentinel: SentinelYard, tmp_path: Path
) -> None:
    """Ended and started again before a Sentinel misses it, it is master, and empty, and so are all soon."""
    job = sentinel.job(tmp_path, FailoverMode.FAULT_INJECTION)
    job.fault = InjectedFault(kind=FaultKind.POD_DELETE)
    plan = job.plan()
    master = sentinel.named(plan.primary)
    for number in range(500):
        master.call("SET", f"kept:{number}", "1")

    def operator(asked: ActAsked) -> ActAnswer:
        master.stop()
        master.start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="started again")

    job.operator = operator
    found = job.switch(plan, rejoin_seconds=1.0)
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed"), why(found)
    (failing,) = [one for one in found.guards if not one.ok]
    assert (failing.name, failing.observed) == ("appendOnly", "appendonly no")
    assert master.call("EXISTS", "kept:0") == 1
    eventually("all have it", lambda: [node.call("EXISTS", "kept:0") for node in sentinel.nodes] == [1, 1, 1])
    assert found.ordered_at is None


def test_topology_names_who_is_what(sentinel: SentinelYard) -> None:
    with sentinel.provider() as provider:
        topology = provider.topology()
        assert topology.primary == sentinel.name(sentinel.nodes[0])
        roles = {one.name: (one.role, one.healthy, one.promotable, one.problems) for one in topology.members}
        assert roles == {
            sentinel.name(sentinel.nodes[0]): (MemberRole.PRIMARY, True, False, []),
            sentinel.name(sentinel.nodes[1]): (MemberRole.REPLICA, True, True, []),
            sentinel.name(sentinel.nodes[2]): (MemberRole.REPLICA, True, True, []),
        }
        assert all(guard.ok for guard in provider.examine(topology, provider.choose(topology, None)))


@pytest.mark.parametrize("moment", ["writes are stopped", "another one is promoted"])
def test_an_agent_that_is_killed_in_the_middle_leaves_nothing_that_is_not_put_in_order(
    sentinel: SentinelYard, tmp_path: Path, moment: str
) -> None:
    job = sentinel.job(tmp_path)
    plan = job.plan()
    stopped = moment == "writes are stopped"
    agent = job.start(plan, before=switch.Switch._catch_up if stopped else switch.Switch._demote)
    job.await_hold(agent)
    assert _is_master(sentinel.named(plan.candidate)) is not stopped
    assert not _writable(sentinel.named(plan.primary))
    agent.kill()
    agent.wait()
    assert sentinel.leftovers()
    result = job.run(FailoverStep.SETTLE, plan)
    found = result.failover
    assert found, why(result)
    assert (found.verdict, found.reason, found.settled) == (FailoverVerdict.INCONCLUSIVE, "Settled", True), why(found)
    eventually("the replicas have followed", lambda: sentinel.leftovers() == [])
    masters = [node for node in sentinel.nodes if node.info("replication")["role"] == "master"]
    assert [_writable(node, LONG) for node in masters] == [True]
    assert job.evidence["result"]["verdict"] == "Inconclusive"
    again = job.run(FailoverStep.SETTLE, plan).failover
    assert again
    assert (again.verdict, again.settled) == (FailoverVerdict.INCONCLUSIVE, True)


def test_without_a_quorum_nothing_is_moved(sentinel: SentinelYard, tmp_path: Path) -> None:
    job = sentinel.job(tmp_path)
    plan = job.plan()
    for one in sentinel.sentinels[1:]:
        one.stop()
    sentinel.notice()
    eventually("the one that is left notices", lambda: _quorum(sentinel) is False)
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed")
    assert "guard quorum" in found.message
    assert found.ordered_at is None
    assert sentinel.nodes[0].info("replication")["role"] == "master"
    assert sentinel.leftovers() == []


def test_a_login_that_may_not_move_is_said_before_anything_is(sentinel: SentinelYard, tmp_path: Path) -> None:
    for node in sentinel.nodes:
        node.call("ACL", "SETUSER", MOVER, "-client|pause")
    job = sentinel.job(tmp_path)
    result = job.run(FailoverStep.DISCOVER)
    assert result.outcome is Outcome.SUCCEEDED
    assert result.failover
    (failing,) = [one for one in result.failover.guards if not one.ok]
    assert failing.name == "grants"
    assert failing.message
    assert f"ACL SETUSER {MOVER}" in failing.message
    assert "NOPERM" in failing.observed
    assert TABLE not in str(sentinel.leftovers())


@pytest.mark.parametrize("obeyed", [True, False])
def test_an_order_that_is_not_answered_may_stand_so_nothing_is_written_to_the_old_master(
    sentinel: SentinelYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeyed: bool
) -> None:
    plan = sentinel.job(tmp_path).plan()
    old, call = sentinel.named(plan.primary), Wire.call
    told: list[str] = []

    def unanswered(wire: Wire, *arguments: str | bytes | int, **more: float) -> Reply:
        if arguments[:2] != ("SENTINEL", "FAILOVER"):
            return call(wire, *arguments, **more)
        told.append(wire.where)
        if obeyed:
            call(wire, *arguments, **more)
        raise WorldFault("ConnectionLost", "it hung up")

    with sentinel.provider() as provider, _writing(old) as written:
        provider.topology()
        monkeypatch.setattr(Wire, "call", unanswered)
        monkeypatch.setattr(switch, "PROMOTION_SECONDS", LONG if obeyed else 2.0)
        if obeyed:
            new = sentinel.named(provider.move(plan, lambda: None))
            assert _is_master(new)
            assert old.info("replication")["role"] == "slave"
        else:
            with pytest.raises(WorldFault, match="which it did not answer: it hung up"):
                provider.move(plan, lambda: None)
            new = old
            assert not _writable(old), "the Sentinel may still be at it"
            old.call("CLIENT", "UNPAUSE")
    assert len(told) == 1, "a second order would be another failover"
    assert written
    assert [key for key in written if new.call("EXISTS", key) != 1] == []


@contextmanager
def _writing(node: Server) -> Iterator[list[str]]:
    """A client that goes on writing keys until it is refused; those that were acknowledged."""
    acknowledged: list[str] = []
    ended = threading.Event()

    def write() -> None:
        with suppress(WorldFault, ReplyError), node.connect() as wire:
            while not ended.is_set():
                key = f"databosun_test:{len(acknowledged)}"
                wire.call("SET", key, "1")
                acknowledged.append(key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually("it writes", lambda: len(acknowledged) > 10)
        yield acknowledged
    finally:
        ended.set()
        writer.join()


def _quorum(yard: SentinelYard) -> bool:
    with yard.provider() as provider:
        topology = provider.topology()
        return next(one.ok for one in provider.examine(topology, None) if one.name == "quorum")


def _offset(node: Server) -> int:
    """How much of the stream it has; a master, how much it wrote."""
    said = node.info("replication")
    return int(said["slave_repl_offset" if said["role"] == "slave" else "master_repl_offset"])


def _writable(node: Server, seconds: float = 0.5) -> bool:
    """Whether it acknowledges a write of the administrator within a moment."""
    with node.connect() as wire:
        try:
            wire.call("SET", "databosun_test", "1", seconds=seconds)
        except (WorldFault, ReplyError):
            return False
    return True


def _is_master(node: Server) -> bool:
    """As far as it answers: who promotes it ends all its sessions."""
    try:
        return node.info("replication")["role"] == "master"
    except (WorldFault, OSError):
        return False
