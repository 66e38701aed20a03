"""Failover of the source: the new primary is followed, the old branch kept, and the surplus of the old one counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databosun.domain.wal import WalPoint, first_history, parse_lsn
from databosun.engines.postgresql.slots import slot_name
from databosun.storage.walog import read_history
from support.agekeys import AgeKey
from support.agentrun import CLUSTER, NAMESPACE
from support.archiving import Pod, Writer, base_of, beside, current_lsn, recover, system_identifier, write_log
from support.pgserver import Server
from support.waiting import eventually

pytestmark = pytest.mark.servers
Servers = Callable[..., Server]
Pods = Callable[..., Pod]
HOSTS = ["127.0.0.1", "127.0.0.2"]


@pytest.fixture
def stand_by() -> Iterator[Callable[[Server], Server]]:
    """Streaming standbys at the other address."""
    made: list[Server] = []

    def make(primary: Server) -> Server:
        made.append(beside(primary))
        return made[-1]

    yield make
    for server in made:
        server.remove()


def make_table(server: Server) -> None:
    server.sql("CREATE TABLE t (i int PRIMARY KEY, v text)")


def rows(server: Server) -> list[int]:
    return [row[0] for row in server.sql("SELECT i FROM t ORDER BY i")]


def caught_up(primary: Server, standby: Server) -> bool:
    lsn = current_lsn(primary)
    return standby.sql(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'") == [(True,)]


def held(pod: Pod) -> bool:
    line = pod.latest()
    return line is not None and any(one.held for one in line.siblings)


def on_timeline(pod: Pod, timeline: int) -> bool:
    assert pod.running(), pod.log_file.read_text()[-3000:]
    line = pod.latest()
    return line is not None and line.timeline == timeline and line.trouble is None


@pytest.mark.parametrize("major", [15, 18])
def test_a_promotion_is_followed_with_every_commit_of_the_new_primary(
    major: int, make_server: Servers, stand_by: Callable[[Server], Server], pods: Pods, key: AgeKey, workplace: Path
) -> None:
    primary = make_server(major)
    system = system_identifier(primary)
    make_table(primary)
    standby = stand_by(primary)
    pod = pods(primary, key=key, hosts=HOSTS)
    pod.start()
    pod.wait_until_streaming()
    base_of(primary, workplace / "base")
    start = parse_lsn(current_lsn(primary))
    eventually("a slot is kept on the standby", lambda: held(pod))
    assert [row[0] for row in standby.sql("SELECT slot_name FROM pg_replication_slots")] == [
        slot_name(CLUSTER, NAMESPACE, system)
    ]
    with Writer(primary) as writer:
        eventually("commits", lambda: len(writer.acknowledged) > 500)
    eventually("the standby has them", lambda: caught_up(primary, standby))
    primary.kill()
    standby.run("pg_ctl", f"--pgdata={standby.data}", "--wait", "promote")
    with Writer(standby, first=10_000) as more:
        eventually("commits on the new primary", lambda: len(more.acknowledged) > 500)
    eventually("it follows", lambda: on_timeline(pod, 2), 120)
    pod.wait_for(current_lsn(standby))
    pod.stop()
    history = read_history(pod.store, pod.layout.wal(system), 2)
    log = pod.log(system)
    assert not log.gaps
    assert log.coverage(history, start - 1).whole
    standby.kill()
    pod.fetch_all(system, workplace / "wal", timeline=2)
    copy = recover(primary, workplace / "base", workplace / "wal", timeline="2")
    try:
        assert rows(copy) == [*writer.acknowledged, *more.acknowledged]
    finally:
        copy.remove()


def test_what_only_the_old_primary_had_is_kept_and_counted(
    make_server: Servers, stand_by: Callable[[Server], Server], pods: Pods, key: AgeKey, workplace: Path
) -> None:
    primary = make_server(18)
    system = system_identifier(primary)
    make_table(primary)
    standby = stand_by(primary)
    pod = pods(primary, key=key, hosts=HOSTS)
    pod.start()
    pod.wait_until_streaming()
    base_of(primary, workplace / "base")
    eventually("a slot is kept on the standby", lambda: held(pod))
    with Writer(primary) as writer:
        eventually("commits", lambda: len(writer.acknowledged) > 100)
    eventually("the standby has them", lambda: caught_up(primary, standby))
    standby.stop()
    write_log(primary, 3)
    with Writer(primary, first=5_000) as lost:
        eventually("commits that the standby never sees", lambda: len(lost.acknowledged) > 100)
    ahead = current_lsn(primary)
    pod.wait_for(ahead)
    primary.kill()
    standby.start()
    standby.run("pg_ctl", f"--pgdata={standby.data}", "--wait", "promote")
    standby.sql("INSERT INTO t VALUES (20000, 'after')")
    eventually("it follows", lambda: on_timeline(pod, 2), 120)
    pod.wait_for(current_lsn(standby))
    line = pod.latest()
    folder = pod.layout.wal(system)
    fork = read_history(pod.store, folder, 2).branches[0].end
    assert fork is not None
    assert line is not None
    end = pod.log(system).end_of(1)
    assert end is not None
    assert end >= WalPoint(1, parse_lsn(ahead))
    assert line.diverged_bytes == end.lsn - fork
    pod.stop()
    assert not pod.log(system).gaps
    pod.fetch_all(system, workplace / "new", timeline=2)
    pod.fetch_all(system, workplace / "old", timeline=1)
    standby.kill()
    for timeline, expected in (("2", [*writer.acknowledged, 20000]), ("1", [*writer.acknowledged, *lost.acknowledged])):
        copy = recover(
            primary, workplace / "base", workplace / ("new" if timeline == "2" else "old"), timeline=timeline
        )
        try:
            assert rows(copy) == expected
        finally:
            copy.remove()


def test_without_a_slot_on_the_new_primary_the_loss_is_a_gap(
    make_server: Servers, stand_by: Callable[[Server], Server], pods: Pods, key: AgeKey
) -> None:
    """Patroni drops slots that it does not know: the log between is gone, which is said, and archiving goes on."""
    primary = make_server(15)
    system = system_identifier(primary)
    make_table(primary)
    standby = stand_by(primary)
    pod = pods(primary, key=key)  # knows only the primary's address, so that none is kept on the standby
    pod.start()
    pod.wait_until_streaming()
    pod.wait_for(current_lsn(primary))
    pod.kill()
    with Writer(primary) as writer:
        eventually("commits", lambda: len(writer.acknowledged) > 100)
    write_log(primary, 8)
    eventually("the standby has them", lambda: caught_up(primary, standby))
    primary.kill()
    standby.configure(min_wal_size="'2MB'", max_wal_size="'4MB'", wal_keep_size="0")
    standby.run("pg_ctl", f"--pgdata={standby.data}", "--wait", "promote")
    write_log(standby, 8)
    standby.sql("CHECKPOINT")
    write_log(standby, 8)
    standby.sql("CHECKPOINT")
    pod.hosts = HOSTS
    pod.start()
    eventually("the gap is said", lambda: bool(pod.gaps()), 120)
    eventually("it follows", lambda: on_timeline(pod, 2), 120)
    pod.wait_for(current_lsn(standby))
    pod.stop()
    (gap,) = pod.log(system).gaps
    assert (gap.timeline, gap.end_timeline) == (1, 2)
    history = read_history(pod.store, pod.layout.wal(system), 2)
    assert pod.log(system).coverage(history, parse_lsn(gap.end)).whole
    assert not pod.log(system).coverage(history, parse_lsn(gap.begin) - 1).whole
    assert pod.log(system).coverage(first_history(), parse_lsn(gap.begin) - 1, parse_lsn(gap.begin)).whole


def test_a_standby_alone_is_waited_for(make_server: Servers, stand_by: Callable[[Server], Server], pods: Pods) -> None:
    primary = make_server(18)
    stand_by(primary)
    primary.kill()
    pod = pods(primary, hosts=HOSTS)
    pod.start()

    def said() -> bool:
        line = pod.latest()
        return line is not None and line.trouble is not None and line.trouble.reason == "NoPrimary"

    eventually("it says that there is no primary", said)
