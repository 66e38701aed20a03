"""What goes wrong at the source and on the way: named, survived, and never a hole that nobody is told of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pymysql
import pytest

from databosun.api.archive import PositionLine
from databosun.api.drill import Verdict
from databosun.domain.wal import format_lsn, parse_lsn
from support.archiving import Pod
from support.mariaserver import BACKUP_USER, MariaServer
from support.mariayard import MariaYard
from support.recoveryyard import drilled
from support.sqlarchiving import LATEST, end_of
from support.waiting import eventually

pytestmark = pytest.mark.servers

Servers = Callable[..., MariaServer]
Yards = Callable[[MariaServer], MariaYard]
Pods = Callable[..., Pod]


def says(pod: Pod, what: str, condition: Callable[[PositionLine], bool], seconds: float = 60) -> None:
    def found() -> bool:
        assert pod.running(), pod.log_file.read_text()[-3000:]
        line = pod.latest()
        return line is not None and condition(line)

    eventually(f"{what}; {pod.latest()}", found, seconds)


def purge(server: MariaServer) -> None:
    """Remove all but the newest file of the binary log."""

    def purged() -> bool:
        server.sql(f"PURGE BINARY LOGS TO '{server.position()[0]}'")
        return len(server.sql("SHOW BINARY LOGS")) == 1

    eventually("the old files are gone", purged)


def write(server: MariaServer, value: int) -> None:
    server.sql(f"INSERT INTO nothing VALUES ({value})", "shop")


def cut_off(server: MariaServer) -> None:
    """End every session of the archiver, as a network does."""
    for (number,) in server.sql(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{BACKUP_USER}'"):
        with suppress(pymysql.MySQLError):  # gone by itself
            server.sql(f"KILL {number}")


def shipped(pod: Pod, server: MariaServer) -> None:
    pod.wait_for(end_of(server))


def system_of(pod: Pod) -> str:
    line = pod.latest()
    assert line
    assert line.system_identifier
    return line.system_identifier


def test_what_was_purged_meanwhile_is_a_gap_and_no_restore_crosses_it(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 1)
    shipped(pod, server)
    end = end_of(server)
    pod.kill()
    write(server, 2)
    server.sql("FLUSH BINARY LOGS;\nFLUSH BINARY LOGS")
    purge(server)
    write(server, 3)
    pod.start()
    shipped(pod, server)
    (gap,) = pod.gaps()
    assert (gap.reason, gap.begin) == ("BinlogPurged", end)
    assert parse_lsn(gap.end) == parse_lsn(end_of(server)) >> 32 << 32
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogGap"), found
    yard.back_up("orders-2")
    write(server, 4)
    shipped(pod, server)
    pod.stop()
    assert drilled(yard.drill("orders-2", id="drill-2", until=LATEST)).verdict is Verdict.PASSED


def test_a_log_that_began_anew_is_not_written_over_the_old_one(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """The same file name with other transactions in it: a person is asked, and goes on behind a gap."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    server.sql("FLUSH BINARY LOGS")
    write(server, 1)
    shipped(pod, server)
    pod.kill()
    objects, file = yard.objects(), server.position()[0]
    server.begin_log_anew()
    while server.position()[0] < file:
        server.sql("FLUSH BINARY LOGS")
    while server.position()[1] < 5000:
        write(server, 2)
    pod.start()
    process = pod.process
    assert process
    eventually("it ends by itself", lambda: process.poll() is not None)
    assert "SourceWentBack" in pod.own_output()
    assert "FLUSH BINARY LOGS" in pod.own_output()
    assert objects.items() <= yard.objects().items()
    server.sql("FLUSH BINARY LOGS")
    pod.start()
    shipped(pod, server)
    assert [gap.reason for gap in pod.gaps()] == ["AnotherServer"]


def test_a_connection_that_breaks_is_made_again_without_a_hole(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(5):
        write(server, number)
        cut_off(server)
        write(server, 100 + number)
    shipped(pod, server)
    pod.stop()
    assert not pod.gaps()
    after = yard.contents()
    recovered = yard.pod()
    restored = yard.restore("orders-1", pod=recovered, until=LATEST).result.restore
    assert restored
    with yard.served(recovered.restored / restored.data_directory) as content:
        assert content == after


def test_a_server_that_restarts_is_followed(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """Killed, too: its next file begins where the one before it was cut off."""
    server = own_server(sync_binlog="1", innodb_flush_log_at_trx_commit="1")
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number, end in enumerate((server.stop, server.kill)):
        write(server, number)
        end()
        server.start()
        write(server, 10 + number)
    shipped(pod, server)
    pod.stop()
    assert not pod.gaps()
    assert drilled(yard.drill("orders-1", until=LATEST)).verdict is Verdict.PASSED


def test_a_piece_that_is_missing_in_the_middle_fails_the_drill(
    own_maria: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_maria()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(3):
        write(server, number)
        server.sql("FLUSH BINARY LOGS")
    write(server, 9)
    shipped(pod, server)
    pod.stop()
    log = pod.log(system_of(pod))
    middle = sorted(log.segments[1])[-2]
    pod.store.delete([log.segments[1][middle].key])
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogGap"), found


def test_the_log_of_another_server_is_not_replayed(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """A position that exists in it: only the transactions before it tell them apart."""
    server = own_server()
    yard = yard_of(server)
    yard.back_up("orders-1")
    name, offset = server.position()
    server.begin_log_anew()
    while server.position() < (name, offset):
        server.sql("UPDATE customers SET balance = balance + 1", "shop")
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    shipped(pod, server)
    pod.stop()
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogConflict"), found


def test_after_a_failover_the_log_of_the_new_primary_is_another_one(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Positions of its own, in files of its own: the old log stays as it was, and needs no writing."""
    server = own_server()
    other = own_server(bind_address="127.0.0.2", port=str(server.port))
    other.sql("SET GLOBAL read_only = ON")
    yard = yard_of(server)
    pod = archiver(yard)
    pod.hosts = ["127.0.0.2", "127.0.0.1"]
    pod.start()
    pod.wait_until_streaming()
    write(server, 1)
    shipped(pod, server)
    first, objects = system_of(pod), yard.objects()
    server.kill()
    other.sql("SET GLOBAL read_only = OFF")
    process = pod.process
    assert process
    eventually("it ends by itself", lambda: process.poll() is not None)
    assert "AnotherServer" in pod.own_output()
    pod.start()
    says(pod, "it has found the other one", lambda line: line.system_identifier not in (None, first))
    write(other, 2)
    shipped(pod, other)
    pod.stop()
    assert not pod.gaps()
    assert objects.items() <= yard.objects().items()


@pytest.mark.parametrize(
    ("settings", "statement", "reason", "fix"),
    [
        (
            {},
            f"REVOKE REPLICATION SLAVE ON *.* FROM '{BACKUP_USER}'@'%'",
            "NoReplicationPrivilege",
            "GRANT REPLICATION SLAVE ON *.*",
        ),
        ({}, "SET GLOBAL binlog_format = STATEMENT", "BinlogFormat", "SET GLOBAL binlog_format = 'ROW'"),
        ({"binlog_ignore_db": "shop"}, None, "BinlogOff", "remove binlog_do_db"),
        ({"skip_log_bin": ""}, None, "BinlogOff", "set log_bin"),
    ],
)
def test_what_is_missing_is_named_with_what_mends_it(
    settings: dict[str, str],
    statement: str | None,
    reason: str,
    fix: str,
    own_server: Servers,
    yard_of: Yards,
    archiver: Pods,
) -> None:
    server = own_server(**settings)
    if statement:
        server.sql(statement)
    pod = archiver(yard_of(server))
    (found,) = pod.preflight(allow_unbounded=False)
    assert (found.reason, found.blocks) == (reason, ["Continuous"])
    assert fix in (found.fix or "")
    pod.start()
    says(pod, "it says so", lambda line: line.trouble is not None and line.trouble.reason == reason)
    line = pod.latest()
    assert line
    assert line.trouble
    assert line.trouble.actor == "User"


def test_a_server_that_keeps_its_log_for_hours_only_is_warned_of(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server(binlog_expire_logs_seconds="7200")
    (found,) = archiver(yard_of(server)).preflight(allow_unbounded=False)
    assert (found.reason, found.blocks) == ("BinlogPurged", [])
    assert "2h" in found.message


def test_nothing_is_left_at_the_server(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    system = system_of(pod)
    pod.kill()
    eventually("its sessions are gone", lambda: yard.sessions() == 0)
    assert pod.drop_slot(system).result.message == "no host had it"


def test_positions_say_the_file_and_the_offset(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    ran = yard.back_up("orders-1")
    assert ran.result.backup
    position = ran.result.backup.position
    assert position
    name, _, offset = (position.binlog or "").partition(":")
    number = int(name.rpartition(".")[2])
    assert position.lsn == format_lsn((number << 32) | int(offset))
    assert position.start_lsn == format_lsn(number << 32)
    assert position.timeline == 1
