"""What was committed is in the store, without a hole: restored from nothing but a backup and the shipped log."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import zstandard

from databosun.api.drill import PointKind, RecoveryPoint, Verdict
from databosun.api.result import Outcome
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.wal import parse_lsn
from databosun.engines.mysql.binlogstream import HEARTBEAT_SECONDS
from support.agekeys import make_age_key
from support.archiving import Pod
from support.mariaserver import MariaServer, wait_a_second
from support.mariayard import MariaYard
from support.recoveryyard import drilled
from support.sqlarchiving import LATEST, Writer, counted, end_of, restored_rows
from support.waiting import eventually

pytestmark = pytest.mark.servers

COMMITS = 300
KILLS = 6
Servers = Callable[..., MariaServer]
Yards = Callable[[MariaServer], MariaYard]
Pods = Callable[..., Pod]


def commit(server: MariaServer, first: int, count: int) -> None:
    connection = server.connect("shop")
    with connection.cursor() as cursor:
        for number in range(first, first + count):
            cursor.execute("INSERT INTO t VALUES (%s, REPEAT(SHA2(%s, 256), 10))", (number, number))


def reaches(pod: Pod, instant: datetime) -> bool:
    line = pod.latest()
    return line is not None and line.recoverable_at is not None and line.recoverable_at > instant


def says_more(pod: Pod) -> None:
    known = len(pod.positions())

    def more() -> bool:
        assert pod.running(), pod.own_output()[-3000:]
        return len(pod.positions()) > known

    eventually("it has said something", more)


def test_every_acknowledged_commit_survives_the_source(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    yard.key = make_age_key(yard.folder)
    yard.place.storage["age_recipients"] = [yard.key.recipient]
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v TEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    commit(server, 0, COMMITS // 2)
    server.sql("FLUSH BINARY LOGS")
    commit(server, COMMITS // 2, COMMITS - COMMITS // 2)
    pod.wait_for(end_of(server))
    server.kill()
    ran = pod.stop()
    assert ran.result.outcome is Outcome.SUCCEEDED, ran.output
    _, rows = restored_rows(yard, "orders-1", LATEST)
    assert rows == list(range(COMMITS))
    found = drilled(yard.drill("orders-1", until=LATEST, checks=[counted("all", COMMITS)]))
    assert found.verdict is Verdict.PASSED, found


def test_an_archiver_killed_again_and_again_leaves_no_hole(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """Files end all the time, and segments in their middle: the next life goes on without a hole."""
    server = own_server(max_binlog_size="1M")
    yard = yard_of(server)
    pod = archiver(yard, max_lag_seconds=0.3)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    chance = random.Random(11)
    with Writer(server, width=6000) as writer:
        for _ in range(KILLS):
            lives = len(pod.positions())
            eventually("it has said something", lambda known=lives: len(pod.positions()) > known)  # type: ignore[misc]
            moment = len(writer.acknowledged) + chance.randrange(300)
            eventually("a random moment", lambda until=moment: len(writer.acknowledged) >= until)  # type: ignore[misc]
            pod.kill()
            pod.start()
    pod.wait_for(end_of(server))
    server.kill()
    pod.stop()
    assert not pod.gaps()
    _, rows = restored_rows(yard, "orders-1", LATEST)
    assert rows == writer.acknowledged
    assert len(rows) > 200


def test_a_file_larger_than_a_segment_is_resumed_in_its_middle(
    own_maria: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Segments of 16 MiB are cut in the middle of events; a life that begins in the third does not read the first."""
    server = own_maria()
    yard = yard_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v MEDIUMTEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(24):
        server.sql(f"INSERT INTO t VALUES ({number}, REPEAT('{number:02}', {1024 * 900}))", "shop")
    pod.wait_for(end_of(server))
    pod.kill()
    pod.start()
    for number in range(24, 30):
        server.sql(f"INSERT INTO t VALUES ({number}, REPEAT('{number:02}', {1024 * 900}))", "shop")
    pod.wait_for(end_of(server))
    assert pod.peak_mib() <= 200
    pod.stop()
    assert not pod.gaps()
    _, rows = restored_rows(yard, "orders-1", LATEST)
    assert rows == list(range(30))


def test_a_table_is_back_from_just_before_it_was_dropped(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v TEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    commit(server, 0, 10)
    wait_a_second()
    ((before,),) = server.sql("SELECT UTC_TIMESTAMP()")
    position = end_of(server)
    transaction = server.transaction()
    server.sql("DROP TABLE t", "shop")
    wait_a_second()
    wait_a_second()
    pod.wait_for(end_of(server))
    instant = before.replace(tzinfo=UTC)
    eventually("the instant is recoverable", lambda: reaches(pod, instant))
    pod.stop()
    for until in (
        RecoveryPoint(kind=PointKind.TIME, time=instant),
        RecoveryPoint(kind=PointKind.LSN, lsn=position),
        RecoveryPoint(kind=PointKind.GTID, name=transaction),
    ):
        restored, rows = restored_rows(yard, "orders-1", until)
        assert rows == list(range(10)), restored
    latest = drilled(yard.drill("orders-1", until=LATEST, checks=[counted("gone", 0)]))
    assert latest.verdict is Verdict.FAILED, latest
    never = RecoveryPoint(kind=PointKind.GTID, name=f"{transaction}0")
    missed = drilled(yard.drill("orders-1", id="never", until=never, checks=[counted("gone", 0)]))
    assert (missed.verdict, missed.reason) == (Verdict.FAILED, "PointNotReached"), missed
    assert f"({never.name})" in missed.message


def test_few_commits_that_never_stop_are_not_held_back(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """The server has no time for a heartbeat then, and a buffer of 64 KiB takes minutes to fill."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard, max_lag_seconds=2.0)
    pod.start()
    pod.wait_until_streaming()
    begin = end_of(server)
    with Writer(server, width=10, pause=HEARTBEAT_SECONDS / 2) as writer:
        eventually("a few are acknowledged", lambda: len(writer.acknowledged) >= 5)
        some = end_of(server)
        pod.wait_for(some)
        assert parse_lsn(end_of(server)) - parse_lsn(begin) < 60 * 1024


def test_an_incremental_takes_the_log_as_well(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v TEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    full = yard.back_up("orders-1")
    commit(server, 0, 10)
    second = yard.back_up("orders-2", on=full)
    assert second.result.backup
    assert second.result.backup.type is BackupType.INCREMENTAL
    commit(server, 10, 10)
    pod.wait_for(end_of(server))
    pod.stop()
    _, rows = restored_rows(yard, "orders-2", LATEST)
    assert rows == list(range(20))


def test_an_idle_server_is_not_behind(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    pod = archiver(yard_of(server))
    pod.start()
    pod.wait_until_streaming()
    pod.wait_for(end_of(server))

    def instants() -> set[object]:
        lines = [line for line in pod.positions() if line.recoverable_at]
        newest = lines[-1].lsn if lines else None
        return {line.recoverable_at for line in lines if line.lsn == newest}

    eventually("time passes, the position stays", lambda: len(instants()) >= 5)
    last = pod.latest()
    assert last
    assert (last.behind_bytes, last.lsn, last.trouble) == (0, end_of(server), None)
    assert last.begin
    assert parse_lsn(last.begin) & 0xFFFFFFFF == 0


def test_accounts_triggers_and_ddl_are_in_the_log(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """All that is written, whatever it is, comes back: compared by the plainest means."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    yard.change()
    yard.write_all_sorts()
    pod.wait_for(end_of(server))
    after = yard.contents()
    server.kill()
    pod.stop()
    recovered = yard.pod()
    restored = yard.restore("orders-1", pod=recovered, until=LATEST).result.restore
    assert restored
    with yard.served(recovered.restored / restored.data_directory) as content:
        assert content == after


def test_the_pieces_of_a_file_are_the_servers_file(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """By hand, `zstd -dc` of one after the other is what mariadb-binlog reads."""
    server = own_server()
    yard = yard_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v MEDIUMTEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    name, _ = server.position()
    for number in range(10):
        server.sql(f"INSERT INTO t VALUES ({number}, REPEAT('{number:02}', {1024 * 900}))", "shop")
    server.sql("FLUSH BINARY LOGS")
    pod.wait_for(end_of(server))
    pod.stop()
    line = pod.latest()
    assert line
    assert line.system_identifier
    log = pod.log(line.system_identifier)
    pieces = [one for number, one in sorted(log.segments[1].items()) if number // 256 == int(name[-6:])]
    assert len(pieces) == 2
    unzip = zstandard.ZstdDecompressor
    text = b"".join(
        unzip().decompressobj(read_across_frames=True).decompress(pod.store.get(one.key, limit=1 << 26))
        for one in pieces
    )
    theirs = bytearray((server.data / name).read_bytes())
    theirs[4 + 17] &= 0xFE  # the mark that it is being written
    assert text == theirs
