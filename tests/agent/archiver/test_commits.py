"""What was committed is in the bucket, without a hole: recovered from nothing but a base backup and the bucket."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.api.result import Outcome
from databosun.domain.wal import first_history, parse_lsn
from databosun.storage.walnames import parse_wal
from databosun.storage.waltimes import newest_pair
from support.agekeys import AgeKey
from support.archiving import Pod, Writer, base_of, current_lsn, recover, system_identifier, write_log
from support.faultproxy import Act, Fault, fault_proxy
from support.pgserver import Server
from support.seaweed import Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
COMMITS = 300
KILLS = 15
Servers = Callable[..., Server]
Pods = Callable[..., Pod]


def make_table(server: Server) -> None:
    server.sql("CREATE TABLE t (i int PRIMARY KEY, v text)")


def commit(server: Server, first: int, count: int) -> None:
    with server.connect() as connection:
        for number in range(first, first + count):
            connection.execute("INSERT INTO t VALUES (%s, repeat(md5(%s::text), 20))", (number, number))


def rows(server: Server) -> list[int]:
    return [row[0] for row in server.sql("SELECT i FROM t ORDER BY i")]


def recovered_rows(server: Server, pod: Pod, system: str, workplace: Path) -> list[int]:
    pod.fetch_all(system, workplace / "wal")
    copy = recover(server, workplace / "base", workplace / "wal")
    try:
        return rows(copy)
    finally:
        copy.remove()


@pytest.mark.parametrize("major", [14, 15, 18])
def test_every_acknowledged_commit_survives_the_source(
    major: int, make_server: Servers, pods: Pods, key: AgeKey, workplace: Path
) -> None:
    server = make_server(major)
    system = system_identifier(server)
    pod = pods(server, key=key)
    pod.start()
    pod.wait_until_streaming()
    base_of(server, workplace / "base")
    make_table(server)
    commit(server, 0, COMMITS)
    pod.wait_for(current_lsn(server))
    server.kill()
    ran = pod.stop()
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.output
    assert recovered_rows(server, pod, system, workplace) == list(range(COMMITS))


@pytest.mark.parametrize(("major", "segment"), [(15, 1), (18, 16)])
def test_an_archiver_killed_again_and_again_leaves_no_hole(
    major: int, segment: int, make_server: Servers, pods: Pods, key: AgeKey, workplace: Path
) -> None:
    server = make_server(major, f"--wal-segsize={segment}")
    system = system_identifier(server)
    make_table(server)
    pod = pods(server, key=key, task={"max_lag_seconds": 0.3})
    pod.start()
    pod.wait_until_streaming()
    base_of(server, workplace / "base")
    start = parse_lsn(current_lsn(server))
    chance = random.Random(major)
    with Writer(server, width=4000) as writer:
        for _ in range(KILLS):
            lives = len(pod.positions())
            eventually("it has said something", lambda known=lives: len(pod.positions()) > known)  # type: ignore[misc]
            moment = len(writer.acknowledged) + chance.randrange(400)
            eventually("a random moment", lambda until=moment: len(writer.acknowledged) >= until)  # type: ignore[misc]
            pod.kill()
            pod.start()
    pod.wait_for(current_lsn(server))
    server.kill()
    pod.stop()
    log = pod.log(system)
    assert not log.gaps
    assert log.coverage(first_history(), start - 1).whole
    assert recovered_rows(server, pod, system, workplace) == writer.acknowledged


@pytest.mark.parametrize("major", [15, 18])
def test_a_synchronous_archiver_loses_nothing_whatever_dies(
    major: int, make_server: Servers, pods: Pods, key: AgeKey, workplace: Path
) -> None:
    server = make_server(major)
    system = system_identifier(server)
    make_table(server)
    pod = pods(server, key=key, task={"synchronous": True})
    pod.start()
    pod.wait_until_streaming()
    base_of(server, workplace / "base")
    server.configure(synchronous_standby_names="'databosun'")
    server.reload()
    eventually(
        "it counts as a standby", lambda: server.sql("SELECT sync_state FROM pg_stat_replication") == [("sync",)]
    )
    with Writer(server) as writer:
        eventually("commits", lambda: len(writer.acknowledged) >= COMMITS // 3, 120)
        server.kill()
        pod.kill()
    assert set(recovered_rows(server, pod, system, workplace)) >= set(writer.acknowledged)


def test_memory_is_bounded_while_the_store_is_away_and_catches_up(
    weed: Seaweed, make_server: Servers, pods: Pods, key: AgeKey
) -> None:
    server = make_server(18, "--wal-segsize=16")
    with fault_proxy(weed.endpoint) as proxy:
        pod = pods(server, key=key, endpoint=proxy.endpoint)
        pod.start()
        pod.wait_until_streaming()
        fault = proxy.add(Fault(Act.REFUSE))
        write_log(server, 160)  # random, so that it does not compress
        fault.times = 0
        pod.wait_for(current_lsn(server))
        peak = pod.peak_mib()
    assert peak <= 150


def test_a_signal_ships_what_is_open_and_ends_in_time(make_server: Servers, pods: Pods, key: AgeKey) -> None:
    server = make_server(18)
    make_table(server)
    pod = pods(server, key=key, task={"max_lag_seconds": 3600})
    pod.start()
    eventually("it streams", lambda: server.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'") != [])
    commit(server, 0, 10)
    lsn = parse_lsn(current_lsn(server))

    received = "SELECT write_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication"
    eventually("it has received all", lambda: server.sql(received) == [(True,)])
    ran = pod.stop()
    assert ran.result.outcome is Outcome.SUCCEEDED
    assert ran.result.message == ""
    last = pod.latest()
    assert last is not None
    assert last.lsn is not None
    assert parse_lsn(last.lsn) >= lsn


def test_a_server_that_stops_is_not_held_up(make_server: Servers, pods: Pods) -> None:
    """It waits for its archiver's word that all is flushed: that comes at once, whatever `maxLag` is."""
    server = make_server(18)
    make_table(server)
    pod = pods(server, task={"max_lag_seconds": 3600})
    pod.start()
    eventually("it streams", lambda: server.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'") != [])
    commit(server, 0, 10)
    server.stop("fast")
    server.start()
    commit(server, 10, 10)
    system = system_identifier(server)
    pod.stop()
    end = pod.log(system).end_of(1)
    assert end is not None


def test_an_idle_server_is_not_behind(make_server: Servers, pods: Pods) -> None:
    server = make_server(15)
    system = system_identifier(server)
    server.sql("SELECT pg_switch_wal()")  # its next record stands behind a page header that nobody wrote
    pod = pods(server)
    pod.start()
    pod.wait_until_streaming()

    def instants() -> set[object]:
        lines = [line for line in pod.positions() if line.recoverable_at]
        newest = lines[-1].lsn if lines else None
        return {line.recoverable_at for line in lines if line.lsn == newest}

    eventually("time passes, the position stays", lambda: len(instants()) >= 5)
    pod.stop()
    log = pod.log(system)
    pair = newest_pair(pod.store, pod.folder(server), log, 1)
    last = pod.latest()
    assert pair is not None
    assert last is not None
    assert last.behind_bytes == 0
    assert pair.at == last.recoverable_at


def test_a_heartbeat_commits_without_a_table_or_a_grant(make_server: Servers, pods: Pods) -> None:
    server = make_server(18)
    pod = pods(server, task={"heartbeat_seconds": 0.5})
    pod.start()
    pod.wait_until_streaming()
    before = parse_lsn(current_lsn(server))
    eventually("the log moves by itself", lambda: parse_lsn(current_lsn(server)) > before + 100)
    line = pod.latest()
    assert line is not None
    assert line.trouble is None


def test_open_parts_are_swept_once_the_segment_is_there(make_server: Servers, pods: Pods, key: AgeKey) -> None:
    server = make_server(15)
    system = system_identifier(server)
    make_table(server)
    pod = pods(server, key=key, task={"max_lag_seconds": 0.3})
    pod.start()
    pod.wait_until_streaming()
    with Writer(server, width=3000):
        eventually("segments close", lambda: len(pod.log(system).segments[1]) >= 6)
    pod.wait_for(current_lsn(server))
    pod.stop()
    names = [parse_wal(one.key) for one in pod.store.list(pod.folder(server).timeline(1))]
    full = {name.segment for name in names if name and name.end is None}
    parts = [name.segment for name in names if name and name.end is not None]
    assert not full & set(parts)
    assert len(parts) <= 2


def test_a_volume_serves_as_well(make_server: Servers, pods: Pods, key: AgeKey, workplace: Path) -> None:
    server = make_server(18)
    system = system_identifier(server)
    pod = pods(server, key=key, volume=True)
    pod.start()
    pod.wait_until_streaming()
    base_of(server, workplace / "base")
    make_table(server)
    commit(server, 0, 50)
    pod.wait_for(current_lsn(server))
    pod.kill()
    pod.start()
    commit(server, 50, 50)
    pod.wait_for(current_lsn(server))
    pod.stop()
    server.kill()
    assert recovered_rows(server, pod, system, workplace) == list(range(100))
