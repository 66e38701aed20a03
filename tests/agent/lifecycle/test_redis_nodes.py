"""Rules on keys where there are several nodes: the master alone is worked at, and what it and its replicas can bear."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from databosun.agent.lifecycle.pacemaker import Pacemaker
from databosun.api.lifecycle import ThrottleOrder
from databosun.api.lifecycleresult import RuleOutcome, RuleState
from databosun.domain.errors import DatabosunError, UserFault
from databosun.engines.base import Credentials, Target
from databosun.engines.lifecycle import RuleFault, Trouble
from databosun.engines.redis.lifecycle import scan
from databosun.engines.redis.lifecycle.master import demand_idle_times, demand_same, open_master, read_strain
from databosun.engines.redis.lifecycle.scan import Scan
from databosun.engines.redis.resp import ReplyError, Wire
from support.agekeys import make_age_key
from support.agentrun import Workplace
from support.pgserver import PASSWORD, free_port
from support.redislifecycling import OTHERS, SESSIONS, SMALL, RedisKeeper, admit, after_steps, prepare, rule
from support.redisserver import Server
from support.rulekeeping import ROLE
from support.sentinelyard import MASTER, SentinelYard
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """A master with sessions, and its replica."""
    master, replica = Server("valkey"), Server("valkey")
    try:
        prepare(master)
        admit(replica)
        replica.follow(master)
        yield master, replica
    finally:
        master.remove()
        replica.remove()


@pytest.fixture
def watched() -> Iterator[SentinelYard]:
    """A master with sessions, a replica, a Sentinel; the keeper's login at each."""
    yard = SentinelYard()
    try:
        yard.start(replicas=1, sentinels=1)
        prepare(yard.nodes[0])
        admit(yard.nodes[1])
        admit(yard.sentinels[0], "+info +sentinel")
        yield yard
    finally:
        yard.remove()


def keeper_at(server: Server, folder: Path) -> RedisKeeper:
    """A pod whose Database names this server."""
    return RedisKeeper(server, Workplace(folder / "pod"), make_age_key(folder))


def target_of(keeper: RedisKeeper) -> Target:
    """As the agent has it."""
    return Target(keeper.database, Credentials(ROLE, PASSWORD))


def refusal(keeper: RedisKeeper) -> tuple[str, str]:
    """Of a look."""
    keeper.runs += 1
    ran = keeper.place.run(keeper.task(rule()), database=keeper.database)
    assert ran.code != 0
    return ran.result.reason, ran.result.message or ""


def test_a_replica_is_not_worked_at(pair: tuple[Server, Server], tmp_path: Path) -> None:
    reason, message = refusal(keeper_at(pair[1], tmp_path))
    assert reason == "ServerNotReady"
    assert "no master answers" in message


def test_a_master_that_became_a_replica_is_not_worked_at_any_longer(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    """Also where replicas take writes: what is deleted there comes back, or stays gone at one of them alone."""
    master, other = pair
    master.call("CONFIG", "SET", "replica-read-only", "no")
    opened = open_master(target_of(keeper_at(master, tmp_path)), 0, lambda: None)
    demand_same(opened)
    other.call("REPLICAOF", "NO", "ONE")
    master.follow(other)
    with pytest.raises(RuleFault, match="no longer the master") as caught:
        demand_same(opened)
    assert caught.value.trouble is Trouble.LOST
    opened.wire.close()


def test_a_server_that_reads_its_data_is_not_worked_at(pair: tuple[Server, Server], tmp_path: Path) -> None:
    master = pair[0]
    large = random.randbytes(1000)
    master.calls([("SET", f"large:{number}", large) for number in range(5000)])  # it reads for minutes
    master.call("CONFIG", "REWRITE")
    master.call("SAVE")
    master.stop()
    with master.config.open("a") as config:
        config.write("key-load-delay 50000\nloading-process-events-interval-bytes 1024\n")
    master.start_process()
    eventually("it reads its data", lambda: b"loading:1" in _info(master))
    reason, message = refusal(keeper_at(master, tmp_path))
    assert reason == "ServerNotReady"
    assert "reads its data" in message


def test_a_cluster_is_refused(tmp_path: Path) -> None:
    server = Server("redis", settings=["cluster-enabled yes", f"cluster-port {free_port()}"])
    try:
        admit(server)
        reason, message = refusal(keeper_at(server, tmp_path))
    finally:
        server.remove()
    assert reason == "ClusterUnsupported"
    assert "node of a Cluster" in message


def test_a_rule_goes_on_at_the_new_master_from_the_start(
    watched: SentinelYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = watched.nodes
    keeper = keeper_at(watched.sentinels[0], tmp_path)

    def fail_over(number: int) -> None:
        if number == 3:
            eventually("the replica has it all", lambda: new.call("DBSIZE") == old.call("DBSIZE"))
            eventually("the Sentinel finds the replica good", lambda: _moved(watched.sentinels[0]))
            eventually("the replica leads", lambda: new.info("replication")["role"] == "master")
            eventually("the old master follows", lambda: old.info("replication")["role"] == "slave")

    after_steps(monkeypatch, fail_over)
    begun = cursors(monkeypatch)
    done = keeper.carry_out(rule(), batch=SMALL)["sessions"]
    assert {where: found[0] for where, found in begun.items()} == dict.fromkeys(begun, b"0")
    assert len(begun) == 2
    assert done.state is RuleState.COMPLETED, done
    assert new.call("DBSIZE") == OTHERS
    assert SESSIONS - 20 <= done.deleted <= SESSIONS
    _demand_idle_times_of_the_master(keeper)


def cursors(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[bytes]]:
    """Those that each server was given."""
    original, found = Scan.next, dict[str, list[bytes]]()

    def stepped(self: Scan, wire: Wire) -> list[bytes]:
        found.setdefault(wire.where, []).append(self.cursor)
        return original(self, wire)

    monkeypatch.setattr(Scan, "next", stepped)
    monkeypatch.setattr(scan, "AT_ONCE", 40)
    return found


def _demand_idle_times_of_the_master(keeper: RedisKeeper) -> None:
    """As a replica it heard of no reads: how long it has been the master, the Sentinel knows."""
    master = open_master(target_of(keeper), 0, lambda: None)
    try:
        with pytest.raises(UserFault, match="is known to have been the master for") as caught:
            demand_idle_times(master, "sessions", 3600)
        assert caught.value.reason == "IdleTimeUnknown"
        eventually("it has been the master for a second", lambda: _trusted(master, 1))
        alone = target_of(keeper_alone(keeper, master.endpoint.port))
        with pytest.raises(UserFault):
            demand_idle_times(open_master(alone, 0, lambda: None), "sessions", 1)
    finally:
        master.wire.close()


def keeper_alone(keeper: RedisKeeper, port: int) -> RedisKeeper:
    """One whose Database names the master, and no Sentinel."""

    class Alone(RedisKeeper):
        @property
        def database(self) -> Any:
            return super().database.model_copy(update={"port": port})

    return Alone(keeper.server, keeper.place)


def _trusted(master: Any, seconds: int) -> bool:
    try:
        demand_idle_times(master, "sessions", seconds)
    except DatabosunError:
        return False
    return True


def test_a_replica_that_falls_behind_is_waited_for(
    pair: tuple[Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, replica = pair
    master.call("CONFIG", "SET", "repl-timeout", 3600)  # however long this takes, it stays a replica
    waited, wait = threading.Event(), Pacemaker.wait

    def waiting(self: Pacemaker, seconds: float) -> None:
        wait(self, seconds)
        waited.set()

    monkeypatch.setattr(Pacemaker, "wait", waiting)
    keeper = keeper_at(master, tmp_path)
    hash_of = keeper.look(rule()).plan_hash
    found: list[RuleOutcome] = []
    throttle = ThrottleOrder(max_replica_lag_seconds=1.5)

    def work() -> None:
        found.append(keeper.carry_out(rule(), approved=hash_of, batch=SMALL, throttle=throttle)["sessions"])

    replica.process.send_signal(signal.SIGSTOP)
    try:
        eventually("it is behind", lambda: _lag(master) >= 3)
        thread = threading.Thread(target=work)
        thread.start()
        assert waited.wait(300), "the agent waits"
        assert len(keeper.names("session:*")) == SESSIONS
    finally:
        replica.process.send_signal(signal.SIGCONT)
    thread.join()
    (done,) = found
    assert done.state is RuleState.COMPLETED
    assert done.throttled_seconds >= 0.9
    assert not keeper.names("session:*")


def test_what_a_replica_could_not_be_sent_any_more_is_not_made_longer(
    pair: tuple[Server, Server], tmp_path: Path
) -> None:
    master, replica = pair
    master.call("CONFIG", "SET", "repl-backlog-size", 16384)
    opened = open_master(target_of(keeper_at(master, tmp_path)), 0, lambda: None)
    replica.process.send_signal(signal.SIGSTOP)
    try:
        assert read_strain(opened).replicas == 1
        master.call("SET", "large", "x" * 12_000)
        assert "the backlog keeps 16384" in read_strain(opened).busy
    finally:
        replica.process.send_signal(signal.SIGCONT)
        opened.wire.close()


def _moved(sentinel: Server) -> bool:
    try:
        return sentinel.call("SENTINEL", "FAILOVER", MASTER) == b"OK"
    except ReplyError:
        return False


def _info(server: Server) -> bytes:
    try:
        said = server.call("INFO", "persistence")
    except (OSError, DatabosunError):
        return b""
    return said if isinstance(said, bytes) else b""


def _lag(master: Server) -> int:
    """Seconds since its replica was heard of."""
    said = re.search(r"lag=(\d+)", master.info("replication")["slave0"])
    assert said
    return int(said[1])
