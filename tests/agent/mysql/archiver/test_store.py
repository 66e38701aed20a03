"""The log in a real S3 server: one that fails or hangs gets everything in the end, and damage in it is found out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from databosun.api.archive import PositionLine
from databosun.api.drill import PointKind, RecoveryPoint, Verdict
from databosun.domain.wal import parse_lsn
from databosun.storage.walog import StoredSegment
from support import mariaplugins, mysqlplugins
from support.agekeys import make_age_key
from support.archiving import Pod
from support.faultproxy import Act, Fault, fault_proxy
from support.mariaserver import MariaServer, wait_a_second
from support.mariayard import MariaYard
from support.mysqlserver import MySQLServer
from support.mysqlyard import MySQLYard
from support.recoveryyard import drilled
from support.seaweed import Seaweed
from support.sqlarchiving import LATEST, Writer, counted, end_of, restored_rows
from support.waiting import eventually

pytestmark = pytest.mark.servers
Servers = Callable[..., MariaServer]
Yards = Callable[[MariaServer], MariaYard]
Pods = Callable[..., Pod]


@pytest.fixture
def bucket_of(weed: Seaweed, workplace: Path) -> Yards:
    """A bucket that is encrypted to a key, and pods around a server."""

    def make(server: MariaServer) -> MariaYard:
        kind = MySQLYard if isinstance(server, MySQLServer) else MariaYard
        return kind(workplace, make_age_key(workplace), weed, server=server)

    return make


def says(pod: Pod, what: str, condition: Callable[[PositionLine], bool]) -> None:
    def found() -> bool:
        assert pod.running(), pod.log_file.read_text()[-3000:]
        line = pod.latest()
        return line is not None and condition(line)

    eventually(f"{what}; {pod.latest()}", found, 60)


def written(writer: Writer, more: int) -> None:
    known = len(writer.acknowledged)
    eventually(f"{more} more commits are acknowledged", lambda: len(writer.acknowledged) >= known + more, 60)


def pieces(pod: Pod) -> list[StoredSegment]:
    """What the bucket has of the log, in order."""
    line = pod.latest()
    assert line
    assert line.system_identifier
    return [one for _, one in sorted(pod.log(line.system_identifier).segments[1].items())]


def test_a_bucket_that_refused_and_hung_has_every_commit_and_the_table_that_was_dropped(
    own_maria: Servers, bucket_of: Yards, archiver: Pods, weed: Seaweed
) -> None:
    """The source writes all the time, is killed in the end, and nothing but the bucket is left."""
    server = own_maria(max_binlog_size="256K")
    yard = bucket_of(server)
    with fault_proxy(weed.endpoint) as proxy:
        pod = archiver(yard, endpoint=proxy.endpoint, max_lag_seconds=0.4)
        pod.start()
        pod.wait_until_streaming()
        yard.back_up("orders-1")
        with Writer(server, width=3000) as writer:
            refused = proxy.add(Fault(Act.REFUSE))
            says(pod, "the bucket's refusal is said", lambda line: line.trouble is not None)
            written(writer, 200)
            pod.kill()  # with all of it unsaved
            refused.times = 0
            pod.start()
            hung = proxy.add(Fault(Act.HANG, method="PUT", times=1))
            eventually("a write hangs", lambda: hung.hit == 1, 60)
            pod.kill()
            pod.start()
            cut = proxy.add(Fault(Act.CUT, method="PUT", times=3))
            eventually("three writes were cut", lambda: cut.hit == 3, 60)
            swallowed = proxy.add(Fault(Act.SWALLOW, method="PUT", times=3))
            written(writer, 200)
            eventually("the bucket took what the archiver was not told of", lambda: swallowed.hit == 3, 60)
        pod.wait_for(end_of(server))
        wait_a_second()
        ((before,),) = server.sql("SELECT UTC_TIMESTAMP()")
        server.sql("DROP TABLE t", "shop")
        instant = before.replace(tzinfo=UTC)
        pod.wait_for(end_of(server))
        says(pod, "the instant is recoverable", lambda line: (line.recoverable_at or instant) > instant)
        server.kill()
        pod.stop()
    assert not pod.gaps()
    assert len(pieces(pod)) > 3
    _, rows = restored_rows(yard, "orders-1", RecoveryPoint(kind=PointKind.TIME, time=instant))
    assert rows == writer.acknowledged
    assert len(rows) > 400
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert found.verdict is Verdict.PASSED, found


def test_a_damaged_piece_in_the_bucket_fails_the_drill_of_whatever_needs_it(
    own_server: Servers, bucket_of: Yards, archiver: Pods, weed: Seaweed
) -> None:
    server = own_server()
    yard = bucket_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    server.sql("INSERT INTO t VALUES (1)", "shop")
    before = end_of(server)
    for number in (2, 3):
        server.sql("FLUSH BINARY LOGS")
        server.sql(f"INSERT INTO t VALUES ({number})", "shop")
    pod.wait_for(end_of(server))
    pod.stop()
    assert drilled(yard.drill("orders-1", until=LATEST, checks=[counted("all", 3)])).verdict is Verdict.PASSED
    key = next(one.key for one in pieces(pod) if one.start > parse_lsn(before))
    there = weed.client.get_object(Bucket=yard.bucket, Key=key)
    body = bytearray(there["Body"].read())
    body[len(body) // 2] ^= 1
    weed.client.put_object(Bucket=yard.bucket, Key=key, Body=bytes(body), Metadata=there["Metadata"])
    found = drilled(yard.drill("orders-1", id="drill-2", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogCorrupt"), found
    assert key in found.message
    _, rows = restored_rows(yard, "orders-1", RecoveryPoint(kind=PointKind.LSN, lsn=before))
    assert rows == [1]


def test_a_log_that_the_server_encrypts_is_shipped_and_restored(
    own_server: Servers, bucket_of: Yards, archiver: Pods
) -> None:
    """The server decrypts what it sends: what the store shows is up to the store's own encryption."""
    server = own_server()
    if isinstance(server, MySQLServer):
        mysqlplugins.encrypt_log(server)
    else:
        mariaplugins.encrypt_log(server)
    yard = bucket_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY, v TEXT)", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    full = yard.back_up("orders-1")
    server.sql("INSERT INTO t VALUES (1, 'the very words')", "shop")
    assert b"the very words" not in (server.data / server.position()[0]).read_bytes()
    pod.wait_for(end_of(server))
    pod.kill()  # goes on in the middle of a file
    server.sql("INSERT INTO t VALUES (2, 'more')", "shop")
    pod.start()
    server.sql("FLUSH BINARY LOGS;\nINSERT INTO shop.t VALUES (3, 'even more')")
    pod.wait_for(end_of(server))
    yard.back_up("orders-2", on=full)
    server.kill()
    pod.stop()
    assert not pod.gaps()
    for backup in ("orders-1", "orders-2"):
        _, rows = restored_rows(yard, backup, LATEST)
        assert rows == [1, 2, 3]
