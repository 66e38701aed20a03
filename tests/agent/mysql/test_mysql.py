"""What is MySQL's own: its grants, accounts, positions, locks and tablespaces, on a real server."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from agent.mysql.conftest import back_up, target_of
from databosun.api.result import Finding
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.mysql import ENGINE
from databosun.engines.mysql.connect import Endpoint, Session, open_sql, rows
from databosun.engines.mysql.dialect import MYSQL
from support.mariaserver import PASSWORD, MariaServer
from support.mysqlsample import PRIVILEGES, fill, numbers
from support.mysqlserver import MySQLServer, mysql_bin, new_server
from support.mysqlyard import MySQLYard
from support.pgserver import hand_over
from support.waiting import eventually

pytestmark = pytest.mark.servers

_RUNNING = "SELECT STATE FROM information_schema.PROCESSLIST WHERE ID = {}"
BULK = f"CREATE TABLE aa (id INT PRIMARY KEY, v CHAR(200));\nINSERT INTO aa SELECT seq, seq FROM {numbers(20000)}"


@pytest.fixture(scope="module")
def mysql() -> Iterator[MySQLServer]:
    """A filled server, shared by tests that leave its data as it was."""
    server = MySQLServer(origin=new_server())
    server.init()
    server.start()
    fill(server)
    yield server
    server.remove()


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's, which are not on the machine's PATH."""
    monkeypatch.setenv("DATABOSUN_MYSQL_BIN", str(mysql_bin()))


def findings_of(server: MySQLServer, user: str = "limited", **more: str) -> dict[str, Finding]:
    """What blocks a dump, by the statement that mends it."""
    target = target_of(server, user=user, engine=EngineName.MYSQL, **more)
    found = ENGINE.probe(target, [Method.LOGICAL], incremental=False).findings
    return {str(one.fix): one for one in found if one.blocks}


@pytest.fixture
def limited(mysql: MySQLServer) -> Iterator[MySQLServer]:
    """A server whose account `limited` may log in and nothing else."""
    yield mysql
    mysql.sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM limited@'%'")


@pytest.mark.parametrize("lost", PRIVILEGES)
def test_a_privilege_that_is_lost_is_refused_beforehand_with_the_grant(
    limited: MySQLServer, workplace: Path, lost: str
) -> None:
    limited.sql(f"GRANT {', '.join(one for one in PRIVILEGES if one != lost)} ON *.* TO limited@'%'")
    found = findings_of(limited)
    fix = f"GRANT {lost} ON *.* TO 'limited'@'%';"
    assert fix in found, found
    assert found[fix].reason == "PermissionDenied"
    with pytest.raises(UserFault, match=f"GRANT {lost} ON") as caught:
        back_up(target_of(limited, user="limited", engine=EngineName.MYSQL), workplace)
    assert caught.value.reason == "PermissionDenied"
    limited.sql(fix)
    assert findings_of(limited) == {}


def test_flush_tables_does_for_reload_and_a_role_that_is_in_force_counts(limited: MySQLServer, workplace: Path) -> None:
    kept = ", ".join(one for one in PRIVILEGES if one != "RELOAD")
    limited.sql(
        f"CREATE ROLE dumper;\nGRANT {kept} ON *.* TO dumper;\nGRANT FLUSH_TABLES ON *.* TO dumper;\n"
        "GRANT dumper TO limited@'%'"
    )
    assert len(findings_of(limited)) > 1, "a role that is not in force does not count"
    limited.sql("SET DEFAULT ROLE dumper TO limited@'%'")
    try:
        assert findings_of(limited) == {}
        captured, _ = back_up(target_of(limited, user="limited", engine=EngineName.MYSQL), workplace)
        assert captured.position.gtid
    finally:
        limited.sql("DROP ROLE dumper")


def test_what_is_revoked_of_one_schema_is_missing(limited: MySQLServer) -> None:
    limited.sql(
        f"GRANT {', '.join(PRIVILEGES)} ON *.* TO limited@'%';\n"
        "SET GLOBAL partial_revokes = ON;\nREVOKE TRIGGER ON shop.* FROM limited@'%'"
    )
    try:
        (found,) = findings_of(limited).values()
        assert "lacks TRIGGER" in found.message
    finally:
        limited.sql("REVOKE ALL PRIVILEGES ON *.* FROM limited@'%';\nSET GLOBAL partial_revokes = OFF")


def test_one_schema_needs_its_routines_shown(limited: MySQLServer, workplace: Path) -> None:
    limited.sql(
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON shop.* TO limited@'%';\n"
        "GRANT RELOAD, PROCESS, REPLICATION CLIENT ON *.* TO limited@'%'"
    )
    assert set(findings_of(limited, database="shop")) == {"GRANT SHOW_ROUTINE ON *.* TO 'limited'@'%';"}
    limited.sql("GRANT SHOW_ROUTINE ON *.* TO limited@'%'")
    target = target_of(limited, user="limited", engine=EngineName.MYSQL, database="shop")
    captured, sink = back_up(target, workplace)
    assert {found.name.split(".")[0] for found in captured.objects} == {"shop"}
    assert "users.sql.zst" not in {artefact["name"] for artefact in sink.artefacts}


def test_the_position_is_that_of_the_snapshot(mysql: MySQLServer, workplace: Path) -> None:
    captured, _ = back_up(target_of(mysql, engine=EngineName.MYSQL), workplace)
    ((file, position, _, _, gtids),) = mysql.sql("SHOW BINARY LOG STATUS")
    assert captured.position.binlog == f"{file}:{position}"
    assert captured.position.gtid == gtids.replace("\n", "")
    assert captured.system_identifier == "mysql-" + mysql.sql("SELECT @@server_uuid")[0][0]
    number = int(file.rpartition(".")[2])
    assert captured.position.lsn == f"{number:X}/{int(position):X}", "where a replay of its log begins"
    assert captured.position.start_lsn == f"{number:X}/0"


def test_a_server_without_gtids_is_dumped_whole_with_its_position(workplace: Path) -> None:
    """As MySQL comes. Asked for GTIDs, mysqldump would end well with a dump of nothing."""
    with own(workplace) as yard:
        yard.its.stop()
        yard.its.configure(gtid_mode="OFF", enforce_gtid_consistency="OFF")
        yard.its.start()
        backup = yard.back_up().result.backup
        assert backup
        ((file, position, *_),) = yard.its.sql("SHOW BINARY LOG STATUS")
        assert (backup.position.binlog, backup.position.gtid) == (f"{file}:{position}", None)
        found = yard.drill().result.drill
        assert found
        assert str(found.verdict) == "Passed", found


def test_fingerprints_are_those_of_the_snapshot_while_a_writer_goes_on(workplace: Path) -> None:
    with own(workplace) as yard:
        server = yard.its
        server.sql(f"CREATE TABLE journal (id INT PRIMARY KEY AUTO_INCREMENT, n INT);\n{BULK}", "shop")
        stop, done = threading.Event(), [0]

        def write() -> None:
            connection = server.connect("shop")
            with connection.cursor() as cursor:
                while not stop.is_set():
                    done[0] += 1
                    cursor.execute("INSERT INTO journal (n) VALUES (%s)", (done[0],))
                    cursor.execute("UPDATE customers SET balance = %s WHERE id = %s", (done[0], done[0] % 2000))
            connection.close()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            eventually("it writes", lambda: done[0] > 20)
            before = done[0]
            backup = yard.back_up().result.backup
        finally:
            stop.set()
            writer.join()
        assert backup
        counted = {found.name: found.rows or 0 for found in backup.objects}["shop.journal"]
        assert before - 1 <= counted < done[0]
        found = yard.drill().result.drill
        assert found
        assert {one.name: str(one.outcome) for one in found.checks}["rows"] == "Passed", found
        # How many transactions lie before the position, the server that wrote them says.
        executed = server.sql(f"SELECT GTID_SUBTRACT(@@gtid_executed, '{backup.position.gtid}')")[0][0]
        assert executed, "what was written after the snapshot is not in its GTIDs"


def test_accounts_log_in_to_a_restored_copy_as_before(workplace: Path) -> None:
    with own(workplace) as yard:
        backup = yard.back_up().result.backup
        assert backup
        assert any(note.startswith("AccountsLeft") and "gone" in note for note in backup.notes), backup.notes
        pod = yard.pod()
        restored = yard.restore(pod=pod).result.restore
        assert restored
        data = pod.restored / restored.data_directory
        copy = MySQLServer()
        try:
            copy.data = data
            copy.configure()
            hand_over(data)
            copy.start()
            login = {"host": "127.0.0.1", "port": copy.port, "ssl_disabled": True, "charset": "utf8mb4"}
            with pymysql.connect(user="app", password="app secret", **login) as app, app.cursor() as cursor:
                cursor.execute("SELECT CURRENT_ROLE()")
                assert cursor.fetchall() == (("`reader`@`%`",),)
                cursor.execute("SELECT COUNT(*) FROM shop.customers")
                assert cursor.fetchall() == ((2000,),)
            with pytest.raises(pymysql.OperationalError, match="Access denied"):
                pymysql.connect(user="app", password="another", **login)
            pymysql.connect(user="backup", password=PASSWORD, **login).close()
            assert not copy.sql("SELECT User FROM mysql.user WHERE User LIKE 'databosun%'")
            assert copy.sql("SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE NAME = 'a room'")
        finally:
            copy.remove()


def test_a_dump_that_is_killed_is_tried_again_and_leaves_no_session(mysql: MySQLServer, workplace: Path) -> None:
    killed: list[int] = []

    def kill(name: str, _count: int) -> None:
        if name == "dump.sql.zst" and not killed:
            killed.extend(_dumps())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorldFault) as caught:
        back_up(target_of(mysql, engine=EngineName.MYSQL), workplace, trap=kill)
    assert killed
    assert caught.value.reason in ("ToolKilled", "ConnectionLost")
    eventually("no session of the backup is left", lambda: MySQLYard(workplace, server=mysql).sessions() == 0)


def test_writers_wait_for_the_snapshots_lock_for_no_longer_than_it_may_wait(
    mysql: MySQLServer, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that goes on for long keeps the lock out, and the lock all writers: it gives up, and says why."""
    assert MYSQL.session["lock_wait_timeout"] == 10
    monkeypatch.setitem(MYSQL.session, "lock_wait_timeout", 1)  # type: ignore[arg-type]
    reader = mysql.connect("shop")
    thread = threading.Thread(target=_read, args=(reader,), daemon=True)
    thread.start()
    try:
        eventually("the query runs", lambda: mysql.sql(_RUNNING.format(reader.thread_id())) == [("User sleep",)])
        with pytest.raises(WorldFault) as caught:
            back_up(target_of(mysql, engine=EngineName.MYSQL), workplace)
        assert caught.value.reason == "LockTimeout"
        assert mysql.sql(_RUNNING.format(reader.thread_id())) == [("User sleep",)], "it is not what was waited for"
        mysql.sql("INSERT INTO shop.keyless VALUES ('z');\nDELETE FROM shop.keyless WHERE v = 'z'")
    finally:
        mysql.sql(f"KILL {reader.thread_id()}")
        thread.join()


def test_a_server_of_the_other_product_is_refused(mysql: MySQLServer, maria: MariaServer) -> None:
    for server, engine in ((mysql, EngineName.MARIADB), (maria, EngineName.MYSQL)):
        with pytest.raises(UserFault, match=f"which is no {engine.value}") as caught:
            ENGINE.probe(target_of(server, engine=engine), [Method.LOGICAL], incremental=False)
        assert caught.value.reason == "UnsupportedVersion"


@pytest.mark.parametrize("mode", [TLSMode.DISABLE, TLSMode.REQUIRE, TLSMode.VERIFY_CA])
def test_a_password_is_given_encrypted_in_every_mode(mysql: MySQLServer, workplace: Path, mode: TLSMode) -> None:
    """`caching_sha2_password` asks for it whole: within TLS, else under the server's own key."""
    mysql.sql("FLUSH PRIVILEGES")  # forgets who logged in before
    ca = workplace / "ca.pem"
    ca.write_bytes((mysql.data / "ca.pem").read_bytes())
    target = target_of(mysql, engine=EngineName.MYSQL, tls=mode, ca=ca)
    connection = open_sql(Session(target, Endpoint("127.0.0.1", mysql.port, "127.0.0.1")))
    try:
        ((_, cipher),) = rows(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    finally:
        connection.close()
    assert bool(cipher) is (mode is not TLSMode.DISABLE)
    captured, _ = back_up(target, workplace)
    assert captured.objects


def test_a_hook_that_writes_for_too_long_is_ended_at_the_server(mysql: MySQLServer) -> None:
    """No limit of MySQL's own ends a statement that writes."""
    mysql.sql("GRANT SELECT, DELETE ON shop.* TO backup@'%'")
    hook = Hook(name="slow", sql="DELETE FROM shop.orders WHERE id = 1", timeout="1s")
    with mysql.connect("shop") as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM orders WHERE id = 1 FOR UPDATE")
        with pytest.raises(UserFault) as caught:
            ENGINE.run_hook(target_of(mysql, engine=EngineName.MYSQL), hook)
        query = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'backup' AND INFO LIKE 'DELETE%'"
        eventually("it runs no longer", lambda: mysql.sql(query) == [(0,)])
        cursor.execute("COMMIT")
    assert caught.value.reason == "HookTimeout"
    assert mysql.sql("SELECT COUNT(*) FROM shop.orders") == [(500,)]
    mysql.sql("REVOKE SELECT, DELETE ON shop.* FROM backup@'%'")


def _read(connection: pymysql.connections.Connection[pymysql.cursors.Cursor]) -> None:
    with connection.cursor() as cursor, pytest.raises(pymysql.MySQLError):
        cursor.execute("SELECT SLEEP(600) FROM customers LIMIT 1")


def _dumps() -> list[int]:
    """Children of this process that dump."""
    children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if b"--single-transaction" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def own(folder: Path) -> Iterator[MySQLYard]:
    """A filled server that a test may write to, with a store."""
    server = MySQLServer(origin=new_server())
    try:
        server.init()
        server.start()
        fill(server)
        yield MySQLYard(folder, server=server)
    finally:
        server.remove()
