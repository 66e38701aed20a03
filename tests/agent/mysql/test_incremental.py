"""Incrementals are the log since the last backup, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.api.drill import Verdict
from databosun.api.v1alpha1.backuppolicy import BackupType
from support.agentrun import Ran
from support.mariaserver import MariaServer
from support.mariayard import MariaYard
from support.recoveryyard import check, drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers

Yards = Callable[[MariaServer], MariaYard]


def notes_of(ran: Ran) -> set[str]:
    """The reasons of a backup's notes."""
    assert ran.result.backup
    return {note.split(":")[0] for note in ran.result.backup.notes}


def test_a_chain_over_several_files_schemas_and_accounts(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    server = own_maria()
    yard = yard_of(server)
    last = yard.back_up("orders-1")
    for number in (2, 3, 4):
        server.sql(
            "FLUSH BINARY LOGS;\n"
            f"CREATE DATABASE IF NOT EXISTS other{number};\n"
            f"CREATE TABLE other{number}.t (id INT PRIMARY KEY, v TEXT);\n"
            "BEGIN;\n"
            f"INSERT INTO other{number}.t VALUES (1, 'x\\0y');\n"
            f"INSERT INTO shop.nothing VALUES ({number});\n"
            "COMMIT;\n"
            "FLUSH BINARY LOGS;\n"
            f"CREATE USER late{number}@'%' IDENTIFIED BY 'secret {number}';\n"
            "UPDATE shop.customers SET balance = balance + 1 WHERE id < 100"
        )
        last = yard.back_up(f"orders-{number}", on=last)
        done = last.result.backup
        assert done
        assert (done.type, done.chain_length) == (BackupType.INCREMENTAL, number - 1)
    after = yard.contents()
    server.sql("DELETE FROM shop.orders")
    accounts = check("accounts", "Query", database="mysql", value="3",
                     query="SELECT COUNT(*) FROM global_priv WHERE User LIKE 'late%'")  # fmt: skip
    found = drilled(yard.drill("orders-4", checks=[accounts]))
    assert found.verdict is Verdict.PASSED, found
    assert found.rpo
    pod = yard.pod()
    restored = yard.restore("orders-4", pod=pod).result.restore
    assert restored
    assert restored.last_commit
    with yard.served(pod.restored / restored.data_directory) as content:
        assert content == after


def test_a_differential_stands_on_the_full(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    server = own_maria()
    yard = yard_of(server)
    full = yard.back_up("orders-1")
    for number in (2, 3):
        yard.change()
        ran = yard.back_up(f"orders-{number}", on=full, type=BackupType.DIFFERENTIAL)
        assert ran.result.backup
        assert (ran.result.backup.type, ran.result.backup.parent) == (BackupType.DIFFERENTIAL, "orders-1")
    after = yard.contents()
    pod = yard.pod()
    restored = yard.restore("orders-3", pod=pod).result.restore
    assert restored
    with yard.served(pod.restored / restored.data_directory) as content:
        assert content == after


def test_an_incremental_of_an_idle_server_is_one_too(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    yard = yard_of(own_maria())
    second = yard.back_up("orders-2", on=yard.back_up("orders-1"))
    third = yard.back_up("orders-3", on=second)
    assert third.result.backup
    assert third.result.backup.type is BackupType.INCREMENTAL
    assert drilled(yard.drill("orders-3")).verdict is Verdict.PASSED


def test_a_purged_log_becomes_a_full_and_is_said(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    server = own_maria()
    yard = yard_of(server)
    full = yard.back_up("orders-1")
    server.sql("FLUSH BINARY LOGS;\nFLUSH BINARY LOGS")

    def purged() -> bool:
        """A file stays until the storage engine needs it no more."""
        server.sql(f"PURGE BINARY LOGS TO '{server.position()[0]}'")
        return len(server.sql("SHOW BINARY LOGS")) == 1

    eventually("the old files are gone", purged)
    ran = yard.back_up("orders-2", on=full)
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert ran.result.backup.parent is None
    assert "BinlogPurged" in notes_of(ran)
    assert drilled(yard.drill("orders-2")).verdict is Verdict.PASSED


def test_a_log_that_began_anew_is_not_taken_for_the_old_one(
    own_maria: Callable[..., MariaServer], yard_of: Yards
) -> None:
    """The same file name, and a position that exists in it: only the transactions before it tell them apart."""
    server = own_maria()
    yard = yard_of(server)
    full = yard.back_up("orders-1")
    server.sql("RESET MASTER")
    yard.change()
    while server.position()[1] < 200_000:
        server.sql("UPDATE customers SET name = CONCAT('x', name)", "shop")
    ran = yard.back_up("orders-2", on=full)
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert "AnotherServer" in notes_of(ran)


def test_another_server_becomes_a_full(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    yard = yard_of(own_maria())
    full = yard.back_up("orders-1")
    other = own_maria()
    other.sql("ALTER TABLE mysql.help_topic FORCE;\nALTER TABLE mysql.db FORCE")
    yard.server = other
    ran = yard.back_up("orders-2", on=full)
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert "AnotherServer" in notes_of(ran)


def test_without_a_log_each_is_a_full_and_has_no_position(
    own_maria: Callable[..., MariaServer], yard_of: Yards
) -> None:
    server = own_maria()
    server.stop()
    server.settings.pop("log-bin")
    server.configure()
    server.start()
    yard = yard_of(server)
    full = yard.back_up("orders-1")
    assert full.result.backup
    assert full.result.backup.position
    assert full.result.backup.position.binlog is None
    ran = yard.back_up("orders-2", on=full)
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert "BinlogOff" in notes_of(ran)


def test_a_log_that_leaves_schemas_out_becomes_a_full(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    server = own_maria()
    server.stop()
    server.configure(binlog_ignore_db="shop")
    server.start()
    yard = yard_of(server)
    ran = yard.back_up("orders-2", on=yard.back_up("orders-1"))
    assert ran.result.backup
    assert ran.result.backup.type is BackupType.FULL
    assert "BinlogOff" in notes_of(ran)


def test_a_missing_link_fails_the_drill_by_name(own_maria: Callable[..., MariaServer], yard_of: Yards) -> None:
    yard = yard_of(own_maria())
    full = yard.back_up("orders-1")
    yard.change()
    second = yard.back_up("orders-2", on=full)
    yard.change()
    yard.back_up("orders-3", on=second)
    piece: Path = next(path for path in yard.stored("orders-2") if "binlog/" in str(path))
    piece.unlink()
    found = drilled(yard.drill("orders-3"))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "ArtefactMissing"), found
    assert "orders-2" in found.message
