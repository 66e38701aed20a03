"""What goes wrong at the source and on the way: named, survived, and never a hole that nobody is told of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from databosun.api.drill import CheckOutcome, Verdict
from databosun.api.result import Outcome
from databosun.domain.errors import WorldFault
from databosun.domain.wal import parse_lsn
from support.archiving import Pod
from support.recoveryyard import drilled
from support.redisarchiving import LATEST, restored, transferred, write
from support.redisserver import ADMIN, GRANTS, USER, Server
from support.redisyard import RedisYard
from support.sentinelyard import MASTER, SentinelYard
from support.slowlink import slow_link
from support.waiting import eventually

pytestmark = pytest.mark.servers

Servers = Callable[..., Server]
Yards = Callable[[Server], RedisYard]
Pods = Callable[..., Pod]


def trouble_of(pod: Pod) -> str | None:
    line = pod.latest()
    return line.trouble.reason if line and line.trouble else None


def test_a_backlog_that_was_overrun_is_a_gap_and_no_restore_crosses_it(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server(settings=["repl-backlog-size 1mb"])
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 0, 5)
    pod.drained()
    pod.kill()
    write(server, 5, 40, width=60_000)
    syncs = server.info("stats")["sync_full"]
    pod.start()
    pod.says("a gap", gaps=1)
    pod.drained()
    (gap,) = pod.gaps()
    assert gap.reason == "BacklogOverrun"
    assert parse_lsn(gap.end) > parse_lsn(gap.begin)
    assert "repl-backlog-size" in gap.message
    assert server.info("stats")["sync_full"] == syncs, "nothing was copied to find out"
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogGap"), found
    ran = yard.back_up("orders-2")
    assert ran.result.backup
    position = ran.result.backup.position
    assert position
    assert parse_lsn(position.start_lsn or "0/0") >= parse_lsn(gap.end)
    write(server, 45, 5)
    pod.drained()
    pod.stop()
    with restored(yard, "orders-2", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(50)), 50, 50)


def test_what_breaks_on_both_sides_costs_nothing_once_it_is_back(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Sessions that end; a store that is away; a session that ends while a file is on its way to that store."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(2):
        write(server, number * 10, 10)
        end_sessions(server)
    pod.drained()
    with pod.away():
        write(server, 20, 10)
        eventually("it says so", lambda: trouble_of(pod) is not None)
        eventually("it is behind, and says so", lambda: bool((line := pod.latest()) and line.behind_bytes))
        end_sessions(server)
        write(server, 30, 10)
        said = len(pod.positions())
        eventually("it has had the time to come back", lambda: len(pod.positions()) > said + 8)
    pod.drained()
    pod.stop()
    assert not pod.gaps()
    assert int(server.info("stats")["sync_partial_ok"]) >= 3
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(40)), 40, 40)


def end_sessions(server: Server) -> None:
    """The one that brings the log, which may not have come back since the last time, and the others."""
    eventually("the log's is ended", lambda: server.call("CLIENT", "KILL", "TYPE", "replica", "USER", USER) != 0)
    server.calls([("CLIENT", "KILL", "TYPE", "normal", "USER", USER)])


def test_the_replica_is_followed_and_a_failover_goes_on_in_the_same_log(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    master = own_server(settings=["min-replicas-to-write 1"])
    first, second = own_server(), own_server()
    first.follow(master)
    second.calls([
        ("CONFIG", "SET", "masteruser", ADMIN), ("CONFIG", "SET", "masterauth", ADMIN),
        ("REPLICAOF", "127.0.0.1", master.port),
    ])  # fmt: skip
    eventually("two follow", lambda: master.info("replication")["connected_slaves"] == "2")
    yard = yard_of(master)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    master.call("SET", "elsewhere", 1, db=7)
    eventually("all have it", lambda: first.call("GET", "elsewhere", db=7) == second.call("GET", "elsewhere", db=7))
    yard.back_up("orders-1")
    master.call("SET", "elsewhere", 2, db=7)
    write(master, 0, 10)
    pod.drained()
    assert master.info("replication")["connected_slaves"] == "2", "the archiver is no replica of the master's"
    line = pod.latest()
    assert line
    followed = first if f":{first.port}" in (line.host or "") else second
    other = second if followed is first else first
    followed.call("REPLICAOF", "NO", "ONE")
    other.call("REPLICAOF", "127.0.0.1", followed.port)
    master.stop()
    pod.port = followed.port
    pod.kill()
    pod.start()
    pod.wait_until_streaming()
    write(followed, 10, 10)
    pod.drained()
    assert not pod.gaps()
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(20)), 20, 20)
        wire.call("SELECT", 7)
        assert wire.call("GET", "elsewhere") == b"2"


def test_a_primary_that_sentinel_switches_leaves_no_hole_that_is_not_told(yard_of: Yards, archiver: Pods) -> None:
    """The archiver knows the Sentinels alone, and follows no master. Where its node is copied anew, since it heard more
    of the old primary than the new one had, the backlog is lost with that: a gap."""
    watched = SentinelYard()
    try:
        watched.start(sentinels=1)
        for node in watched.nodes:
            node.call("ACL", "SETUSER", USER, *GRANTS.split())
        old = watched.nodes[0]
        yard = yard_of(old)
        pod = archiver(yard)
        pod.port = watched.sentinels[0].port
        pod.start()
        pod.wait_until_streaming()
        yard.back_up("orders-1")
        write(old, 0, 10)
        pod.drained()
        watched.sentinels[0].call("SENTINEL", "FAILOVER", MASTER)
        eventually("it follows a new one", lambda: follows(old))
        new = watched.nodes[1] if watched.nodes[1].info("replication")["role"] == "master" else watched.nodes[2]
        write(new, 10, 5)
        pod.drained()
        yard.back_up("orders-2")
        write(new, 15, 5)
        pod.drained()
        pod.stop()
    finally:
        watched.remove()
    with restored(yard, "orders-2", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(20)), 20, 20)
    found = drilled(yard.drill("orders-1", until=LATEST))
    expected = (Verdict.FAILED, "LogGap") if pod.gaps() else (Verdict.PASSED, "Passed")
    assert (found.verdict, found.reason) == expected, found


def follows(server: Server) -> bool:
    """Whether it is a replica in step. Who makes a node a replica ends its sessions, this one too."""
    with suppress(WorldFault, OSError):
        return server.info("replication").get("master_link_status") == "up"
    return False


def test_how_far_a_replica_is_behind_is_asked_of_its_master(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """It hears its master all the time, and what it hears is four seconds old."""
    master, replica = own_server(), own_server()
    with slow_link(master.port) as link:
        replica.follow(master, port=link.port)
        link.seconds = 4.0
        eventually("what it hears is late", lambda: link.late)
        eventually("it hears of its master", lambda: silence(replica) <= 1)
        yard = yard_of(replica)
        pod = archiver(yard)
        pod.start()
        pod.wait_until_streaming()
        yard.back_up("orders-1")
        write(master, 0, 10)
        pod.drained()
        pod.kill()
        assert master.info("replication")["connected_slaves"] == "1", "the archiver is no replica of the master's"
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(10)), 10, 10)


def silence(replica: Server) -> int:
    return int(replica.info("replication")["master_last_io_seconds_ago"])


def test_what_the_copy_refuses_of_the_log_ends_a_restore_and_fails_a_drill(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Redis 6 can be told to send scripts by name to replicas that know them: no copy does."""
    master = own_server("redis6", settings=["lua-replicate-commands no"])
    yard = yard_of(own_server("redis6").follow(master))
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    name = master.call("SCRIPT", "LOAD", "return redis.call('INCR', 'n')")
    assert isinstance(name, bytes)
    master.call("EVALSHA", name, 0)
    pod.drained()
    yard.back_up("orders-1")
    master.call("EVALSHA", name, 0)
    pod.drained()
    pod.stop()
    ran = yard.restore("orders-1", until=LATEST)
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "DataDamaged")
    assert "1 (NOSCRIPT)" in ran.summary.message
    verdict = drilled(yard.drill("orders-1", until=LATEST))
    assert verdict.verdict is Verdict.FAILED, verdict
    assert [one.name for one in verdict.checks if one.outcome is CheckOutcome.FAILED] == ["server-ready"], verdict


def test_a_restart_goes_on_in_the_log_where_the_server_kept_its_data_and_behind_a_gap_where_not(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 0, 5)
    with suppress(WorldFault):
        server.call("SHUTDOWN", "SAVE")
    server.process.wait()
    server.start()
    write(server, 5, 5)
    pod.drained()
    assert not pod.gaps()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(10)), 10, 10)
    server.stop()
    (server.folder / "dump.rdb").unlink()
    server.start()
    pod.says("a gap", gaps=1)
    (gap,) = pod.gaps()
    assert gap.reason == "HistoryChanged"
    pod.drained()
    yard.back_up("orders-2")
    write(server, 0, 7)
    pod.drained()
    pod.stop()
    with restored(yard, "orders-2", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(7)), 7, 7)


@pytest.mark.parametrize("missing", ["+psync", "+replconf"])
def test_a_missing_grant_is_named_with_the_command_that_mends_it(
    own_server: Servers, yard_of: Yards, archiver: Pods, missing: str
) -> None:
    server = own_server(grants=GRANTS.replace(missing, ""))
    (finding, *_) = archiver(yard_of(server)).preflight(allow_unbounded=False)
    assert (finding.reason, finding.blocks) == ("PermissionDenied", ["Continuous"])
    assert "ACL SETUSER" in (finding.fix or "")


def test_a_lone_master_that_counts_its_replicas_is_left_alone(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Else the archiver would be the replica that `min-replicas-to-write` asks for."""
    server = own_server(settings=["min-replicas-to-write 1"])
    pod = archiver(yard_of(server))
    (finding, *_) = pod.preflight(allow_unbounded=False)
    assert (finding.reason, finding.blocks) == ("CountedAsReplica", ["Continuous"])
    pod.start()
    eventually("it says so", lambda: trouble_of(pod) == "CountedAsReplica")
    assert server.info("replication")["connected_slaves"] == "0"


def test_a_small_backlog_is_told(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    found = archiver(yard_of(server)).preflight(allow_unbounded=False)
    assert [one.reason for one in found] == ["FromMaster", "BacklogSmall"]
    server.call("CONFIG", "SET", "repl-backlog-size", "64mb")
    found = archiver(yard_of(server)).preflight(allow_unbounded=False)
    assert [one.reason for one in found] == ["FromMaster"]


def test_an_idle_server_stores_nothing_and_a_wait_is_answered_by_what_the_store_has_alone(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Of a lone master the archiver is a replica: it acknowledges what is in the bucket, and nothing before."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    before = files_of(yard)
    pod.drained()
    pod.drained()
    assert pod.says("it is not behind", behind_bytes=0, trouble=None)
    assert files_of(yard) == before
    with server.connect() as wire:
        with pod.away():
            wire.call("SET", "a", 1)
            assert wire.call("WAIT", 1, 3000) == 0
        assert wire.call("WAIT", 1, 60_000) == 1


def files_of(yard: RedisYard) -> list[str]:
    """Those of the log."""
    return [path for path in yard.objects() if path.endswith(".zst")]
