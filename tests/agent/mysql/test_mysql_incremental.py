"""Incrementals of MySQL: the log since the last backup, proven by GTIDs to be the same one, or a Full instead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.mysql.conftest import target_of
from databosun.api.drill import Verdict
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.database import EngineName
from databosun.engines.base import RestoreDoc
from databosun.engines.mysql import ENGINE
from engines.test_conformance import laid_out
from support.agentrun import Ran
from support.mysqlsample import fill
from support.mysqlserver import MySQLServer, mysql_bin, new_server
from support.mysqlyard import MySQLYard
from support.recoveryyard import check, drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def yard(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MySQLYard]:
    """A filled server that a test may break, with a store."""
    monkeypatch.setenv("DATABOSUN_MYSQL_BIN", str(mysql_bin()))
    server = MySQLServer(origin=new_server())
    server.init()
    server.start()
    fill(server)
    yield MySQLYard(workplace, server=server)
    server.remove()


def full_instead(ran: Ran) -> str:
    """The note that says why it is a Full."""
    done = ran.result.backup
    assert done
    assert done.type is BackupType.FULL, done
    (note,) = [one for one in done.notes if one.endswith("a Full was taken instead")]
    return note


@contextmanager
def writing(server: MySQLServer) -> Iterator[list[int]]:
    """A journal without a hole, until the block ends."""
    server.sql("CREATE TABLE journal (id INT PRIMARY KEY, spent INT)", "shop")
    stop, done = threading.Event(), [0]

    def write() -> None:
        with server.connect("shop") as connection, connection.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO journal VALUES (%s, 1)", (done[0] + 1,))
                done[0] += 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def test_a_chain_over_several_files_schemas_and_accounts(yard: MySQLYard) -> None:
    backup = yard.back_up("orders-1")
    for number in (2, 3):
        yard.its.sql(
            "FLUSH BINARY LOGS;\n"
            f"CREATE DATABASE other{number};\n"
            f"CREATE TABLE other{number}.t (id INT PRIMARY KEY, v TEXT);\n"
            "BEGIN;\n"
            f"INSERT INTO other{number}.t VALUES (1, 'x\\0y');\n"
            f"INSERT INTO shop.nothing VALUES ({number});\n"
            "COMMIT;\n"
            "FLUSH BINARY LOGS;\n"
            f"CREATE USER late{number}@'%' IDENTIFIED BY 'secret {number}';\n"
            "UPDATE shop.customers SET balance = balance + 1 WHERE id < 100"
        )
        backup = yard.back_up(f"orders-{number}", on=backup)
        done = backup.result.backup
        assert done
        assert (done.type, done.chain_length) == (BackupType.INCREMENTAL, number - 1), done.notes
        executed = yard.its.sql("SELECT @@gtid_executed")[0][0].replace("\n", "")
        assert done.position.gtid == executed
    after = yard.contents()
    yard.its.sql("DELETE FROM shop.orders")
    accounts = check("accounts", "Query", database="mysql", value="2",
                     query="SELECT COUNT(*) FROM user WHERE User LIKE 'late%'")  # fmt: skip
    found = drilled(yard.drill("orders-3", checks=[accounts]))
    assert found.verdict is Verdict.PASSED, found
    folder = yard.folder / "by-hand"
    manifests = laid_out(yard, ["orders-1", "orders-2", "orders-3"], folder)
    document = ENGINE.restore_instructions(RestoreDoc(manifests[-1], manifests))
    with yard.followed(document, folder) as copy:
        assert copy == after


def test_the_log_goes_on_from_the_very_snapshot_while_a_writer_goes_on(yard: MySQLYard) -> None:
    with writing(yard.its) as done:
        eventually("it writes", lambda: done[0] > 20)
        full = yard.back_up("orders-1")
        between = done[0]
        eventually("it went on", lambda: done[0] > between + 20)
        second = yard.back_up("orders-2", on=full)
        assert second.result.backup
        assert second.result.backup.type is BackupType.INCREMENTAL, second.result.backup.notes
    whole = check("no hole", "Query", database="shop", value="1",
                  query=f"SELECT COUNT(*) = MAX(id) AND COUNT(*) > {between} FROM journal")  # fmt: skip
    found = drilled(yard.drill("orders-2", checks=[whole]))
    assert found.verdict is Verdict.PASSED, found


def test_a_log_that_was_begun_anew_is_another_however_alike_it_looks(yard: MySQLYard) -> None:
    """The same server, the same file and more transactions of the same numbers: only the log's own order tells."""
    yard.its.sql(
        "RESET BINARY LOGS AND GTIDS;\nINSERT INTO shop.nothing VALUES (1);\nINSERT INTO shop.nothing VALUES (2)"
    )
    full = yard.back_up("orders-1")
    yard.its.sql(
        "RESET BINARY LOGS AND GTIDS;\nINSERT INTO shop.nothing VALUES (31), (32);\n"
        "INSERT INTO shop.nothing VALUES (4);\nINSERT INTO shop.nothing VALUES (5)"
    )
    note = full_instead(yard.back_up("orders-2", on=full))
    assert note.startswith("AnotherServer"), note


def test_files_that_were_removed_are_named(yard: MySQLYard) -> None:
    full = yard.back_up("orders-1")
    yard.its.sql("FLUSH BINARY LOGS;\nINSERT INTO shop.nothing VALUES (1)")
    ((file, *_),) = yard.its.sql("SHOW BINARY LOG STATUS")
    yard.its.sql(f"PURGE BINARY LOGS TO '{file}'")
    note = full_instead(yard.back_up("orders-2", on=full))
    assert note.startswith("BinlogPurged: binary log bin."), note


def test_tagged_gtids_and_those_of_no_log_are_not_misread(yard: MySQLYard) -> None:
    """A server that was made of a dump has had transactions that none of its files says."""
    tagged = "SET SESSION gtid_next = 'AUTOMATIC:mine';\nINSERT INTO shop.nothing VALUES"
    yard.its.sql("SET GLOBAL gtid_purged = '+3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5'")
    yard.its.sql(f"{tagged} (1)")
    backup = yard.back_up("orders-1")
    for number in (2, 3):
        yard.its.sql(f"{tagged} ({number});\nSET SESSION gtid_next = 'AUTOMATIC';\nINSERT INTO shop.nothing VALUES (9)")
        backup = yard.back_up(f"orders-{number}", on=backup)
        done = backup.result.backup
        assert done
        assert done.type is BackupType.INCREMENTAL, done.notes
        assert done.position.gtid == yard.its.transaction()


def test_what_keeps_incrementals_away_is_named_with_what_mends_it(yard: MySQLYard) -> None:
    server = yard.its
    full = yard.back_up("orders-1")
    server.sql("REVOKE REPLICATION SLAVE ON *.* FROM backup@'%'")
    target = target_of(server, engine=EngineName.MYSQL)
    (found,) = ENGINE.probe(target, [Method.AUTO], incremental=True).findings
    assert (found.reason, found.blocks) == ("NoReplicationPrivilege", [])
    assert found.fix == "GRANT REPLICATION SLAVE ON *.* TO 'backup'@'%';"
    assert full_instead(yard.back_up("orders-2", on=full)).startswith("NoReplicationPrivilege")
    server.sql(found.fix)
    server.stop()
    server.configure(gtid_mode="OFF", enforce_gtid_consistency="OFF")
    server.start()
    (found,) = ENGINE.probe(target, [Method.AUTO], incremental=True).findings
    assert found.reason == "IncrementalUnsupported"
    assert "gtid_mode = ON" in str(found.fix)
    assert full_instead(yard.back_up("orders-3", on=full)).startswith("IncrementalUnsupported")
