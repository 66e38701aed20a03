"""What goes wrong at the source and on the way: named, survived, and never a hole that nobody is told of."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from databosun.api.drill import Verdict
from databosun.domain.wal import parse_lsn
from support.archiving import Pod
from support.recoveryyard import drilled
from support.redisarchiving import LATEST, drained, restored, says, transfer, transferred
from support.redisserver import ADMIN, GRANTS, USER, Server
from support.redisyard import RedisYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

Servers = Callable[..., Server]
Yards = Callable[[Server], RedisYard]
Pods = Callable[..., Pod]


def write(server: Server, first: int, count: int, width: int = 200) -> None:
    with server.connect() as wire:
        for number in range(first, first + count):
            transfer(wire, number, width)


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
    drained(pod)
    pod.kill()
    write(server, 5, 40, width=60_000)
    syncs = server.info("stats")["sync_full"]
    pod.start()
    says(pod, "a gap", gaps=1)
    drained(pod)
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
    drained(pod)
    pod.stop()
    with restored(yard, "orders-2", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(50)), 50, 50)


def test_a_connection_that_breaks_is_made_again_without_a_hole(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(3):
        write(server, number * 10, 10)
        eventually("its sessions are ended", lambda: server.call("CLIENT", "KILL", "USER", USER) != 0)
    drained(pod)
    pod.stop()
    assert not pod.gaps()
    assert int(server.info("stats")["sync_partial_ok"]) >= 2
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(30)), 30, 30)


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
    yard.back_up("orders-1")
    write(master, 0, 10)
    drained(pod)
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
    drained(pod)
    assert not pod.gaps()
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(20)), 20, 20)


def test_a_server_that_lost_its_data_begins_anew_behind_a_gap(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    write(server, 0, 5)
    drained(pod)
    server.stop()
    server.start()
    says(pod, "a gap", gaps=1)
    (gap,) = pod.gaps()
    assert gap.reason == "HistoryChanged"
    drained(pod)
    yard.back_up("orders-1")
    write(server, 0, 7)
    drained(pod)
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(7)), 7, 7)


def test_a_store_that_is_away_costs_nothing_once_it_is_back(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    volume = yard.place.paths.volume
    away = volume.with_name("away")
    shutil.move(volume, away)
    write(server, 0, 20)
    eventually("it says so", lambda: trouble_of(pod) is not None)
    assert pod.running()
    if volume.exists():
        shutil.rmtree(volume)
    shutil.move(away, volume)
    drained(pod)
    pod.stop()
    assert not pod.gaps()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(20)), 20, 20)


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


def test_a_wait_is_answered_by_what_the_store_has_alone(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """Of a lone master the archiver is a replica: it acknowledges what is in the bucket, and nothing before."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    away = yard.place.paths.volume.with_name("away")
    shutil.move(yard.place.paths.volume, away)
    with server.connect() as wire:
        wire.call("SET", "a", 1)
        assert wire.call("WAIT", 1, 4000) == 0
        if yard.place.paths.volume.exists():
            shutil.rmtree(yard.place.paths.volume)
        shutil.move(away, yard.place.paths.volume)
        assert wire.call("WAIT", 1, 60_000) == 1
