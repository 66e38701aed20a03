"""What only MySQL's log has, or has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.mysql.archiver.conftest import Servers
from agent.mysql.archiver.test_faults import write
from databosun.api.drill import PointKind, RecoveryPoint, Verdict
from support.archiving import Pod
from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.recoveryyard import drilled
from support.sqlarchiving import LATEST, counted, end_of, restored_rows
from support.waiting import eventually

pytestmark = pytest.mark.servers

Yards = Callable[[MariaServer], MariaYard]
Pods = Callable[..., Pod]


def test_without_gtids_a_log_is_told_by_when_its_files_were_begun(
    own_mysql: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_mysql(gtid_mode="OFF", enforce_gtid_consistency="OFF")
    yard = yard_of(server)
    server.sql("CREATE TABLE t (i INT PRIMARY KEY)", "shop")
    pod = archiver(yard)
    assert pod.preflight(allow_unbounded=False) == []
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    server.sql("INSERT INTO t VALUES (1)", "shop")
    pod.wait_for(end_of(server))
    pod.kill()  # goes on in the middle of a file
    server.sql("INSERT INTO t VALUES (2);\nFLUSH BINARY LOGS;\nINSERT INTO t VALUES (3)", "shop")
    pod.start()
    pod.wait_for(end_of(server))
    before = end_of(server)
    server.sql("DELETE FROM t", "shop")
    pod.wait_for(end_of(server))
    pod.kill()
    assert not pod.gaps()
    _, rows = restored_rows(yard, "orders-1", RecoveryPoint(kind=PointKind.LSN, lsn=before))
    assert rows == [1, 2, 3]
    named = RecoveryPoint(kind=PointKind.GTID, name="3e11fa47-71ca-11e1-9e33-c80aa9429562:1")
    missed = drilled(yard.drill("orders-1", until=named))
    assert (missed.verdict, missed.reason) == (Verdict.FAILED, "PointNotReached"), missed
    file, offset = server.position()
    server.begin_log_anew()
    while server.position() < (file, offset):
        server.sql("FLUSH BINARY LOGS" if server.position()[0] < file else "INSERT INTO nothing VALUES (9)", "shop")
    pod.start()
    process = pod.process
    assert process
    eventually("it ends by itself", lambda: process.poll() is not None)
    assert "SourceWentBack" in pod.own_output()
    assert "was begun at" in pod.own_output()


def test_what_a_server_had_before_its_log_is_no_other_log(own_mysql: Servers, yard_of: Yards, archiver: Pods) -> None:
    """A server that was made of a dump has executed what none of its files says: `gtid_purged`."""
    server = own_mysql()
    server.sql("SET GLOBAL gtid_purged = '+3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5'")
    server.sql("CREATE TABLE t (i INT PRIMARY KEY)", "shop")
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 1)
    pod.wait_for(end_of(server))
    pod.kill()
    server.sql("FLUSH BINARY LOGS;\nINSERT INTO t VALUES (2)", "shop")
    pod.start()
    pod.wait_for(end_of(server))
    pod.stop()
    assert not pod.gaps()
    everything = RecoveryPoint(kind=PointKind.GTID, name=server.transaction())
    for number, until in enumerate((LATEST, everything)):
        found = drilled(yard.drill("orders-1", id=f"drill-{number}", until=until, checks=[counted("all", 1)]))
        assert found.verdict is Verdict.PASSED, found
    held = RecoveryPoint(kind=PointKind.GTID, name="3e11fa47-71ca-11e1-9e33-c80aa9429562:3")
    behind = drilled(yard.drill("orders-1", id="held", until=held))
    assert (behind.verdict, behind.reason) == (Verdict.REFUSED, "PointNotCovered"), behind


def test_a_log_that_is_kept_for_good_is_not_warned_of(own_mysql: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_mysql(binlog_expire_logs_seconds="7200", binlog_expire_logs_auto_purge="OFF")
    assert archiver(yard_of(server)).preflight(allow_unbounded=False) == []
