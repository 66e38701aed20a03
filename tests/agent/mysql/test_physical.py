"""Copies of the data directory: of the very instant that they say, of the very server, and never half of one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Self

import pytest

from agent.mysql.conftest import back_up, target_of
from agent.mysql.test_consistency import BULK, writers
from databosun.api.drill import CheckOutcome, Verdict
from databosun.api.targets import Problem
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.base import Target
from databosun.engines.mysql import ENGINE
from databosun.engines.mysql.physical import directory, take
from databosun.engines.mysql.physical.doors import Doors
from databosun.engines.mysql.physical.program import PROGRAM
from databosun.engines.mysql.physical.spool import Spool
from support.mariasample import fill
from support.mariaserver import BACKUP_USER, MariaServer
from support.mariayard import MariaFilesYard
from support.pgserver import hand_over
from support.recoveryyard import drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers

MONEY = (
    "CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL);\n"
    "INSERT INTO account SELECT seq, 1000 FROM seq_1_to_200;\n"
    "CREATE TABLE journal (id BIGINT PRIMARY KEY AUTO_INCREMENT, amount INT)"
)
OTHERS = (
    "CREATE TABLE old (i INT) ENGINE = MyISAM;\nINSERT INTO old SELECT seq FROM seq_1_to_77;\n"
    "CREATE TABLE aria (i INT) ENGINE = Aria;\nINSERT INTO aria SELECT seq FROM seq_1_to_88;\n"
    "CREATE TABLE gone (i INT) ENGINE = MEMORY;\nINSERT INTO gone VALUES (1)"
)


def allow(server: MariaServer) -> None:
    """What the backup's account needs beyond a dump."""
    server.sql(f"GRANT RELOAD, PROCESS ON *.* TO '{BACKUP_USER}'@'%'")


@pytest.fixture(scope="module")
def shared(maria: MariaServer) -> MariaServer:
    """The server of the session, whose account may copy it; its data stay as they were."""
    allow(maria)
    return maria


@pytest.fixture
def files_of(workplace: Path) -> Callable[[MariaServer], MariaFilesYard]:
    """A store and pods around a server."""
    return lambda server: MariaFilesYard(workplace, server=server)


@pytest.fixture
def limited(shared: MariaServer) -> Iterator[Target]:
    """An account that may log in and nothing else."""
    yield target_of(shared, user="limited", mount=shared.folder)
    shared.sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM limited@'%'")


def running() -> list[int]:
    """Programs of ours that copy."""
    found = subprocess.run(["pgrep", "-x", PROGRAM], capture_output=True, text=True, check=False).stdout
    parents = {str(os.getpid())}
    return [pid for pid in map(int, found.split()) if parents & set(_parents(pid))]


def _parents(pid: int) -> list[str]:
    try:
        return [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]]
    except OSError:
        return []


def test_its_rows_are_those_of_its_instant_while_writers_go_on(
    own_maria: Callable[..., MariaServer], files_of: Callable[[MariaServer], MariaFilesYard]
) -> None:
    """Fingerprints are taken in a transaction of the moment in which nothing can be committed, so a drill compares
    exactly; and the binary log goes on from that very position."""
    server = own_maria()
    server.sql(f"{MONEY};\n{BULK};\n{OTHERS}", "shop")
    (server.data / "lost+found").mkdir()
    yard = files_of(server)
    with writers(server) as done:
        eventually("they write", lambda: done() > 50)
        full = yard.back_up("orders-1")
        then = done()
        eventually("they went on", lambda: done() > then + 50)
        yard.back_up("orders-2", on=full, type=BackupType.INCREMENTAL)
    result = full.result.backup
    assert result
    assert result.method is Method.PHYSICAL
    assert {"shop.account", "shop.journal", "shop.bulk"} <= {one.name for one in result.objects}
    assert not {"shop.old", "shop.aria", "shop.gone"} & {one.name for one in result.objects}
    assert [note.split(":")[0] for note in result.notes] == ["MemoryTables"]
    found = drilled(yard.drill())
    assert found.verdict is Verdict.PASSED, found
    assert {one.outcome for one in found.checks} == {CheckOutcome.PASSED}, found.checks
    pod = yard.pod()
    restored = yard.restore("orders-2", pod=pod).result.restore
    assert restored
    data = pod.restored / restored.data_directory
    assert not [one.name for one in data.iterdir() if one.name.startswith(("xtrabackup_", "backup-", "lost"))]
    query = (
        "SELECT (SELECT SUM(balance) FROM account), (SELECT COUNT(*) FROM old), (SELECT COUNT(*) FROM aria),"
        " (SELECT COUNT(*) FROM gone), (SELECT COUNT(*) FROM journal) > 50, (SELECT COUNT(*) FROM mysql.global_priv"
        " WHERE User LIKE 'databosun%')"
    )
    with served(data) as other:
        assert other.sql(query, "shop") == [(200_000, 77, 88, 0, 1, 0)]


class served:
    """A server on a data directory."""

    def __init__(self, data: Path) -> None:
        self._server = MariaServer()
        self._server.data = data

    def __enter__(self) -> MariaServer:
        self._server.configure()
        hand_over(self._server.data)
        self._server.start()
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.remove()


def test_auto_copies_files_where_it_can_and_says_why(shared: MariaServer, workplace: Path) -> None:
    captured, sink = back_up(target_of(shared, mount=shared.folder), workplace, method=Method.AUTO)
    assert captured.method is Method.PHYSICAL
    assert captured.notes[0].startswith("AutoMethod: Physical, because")
    assert take.COPY in {one["name"] for one in sink.artefacts}
    probe = ENGINE.probe(target_of(shared, mount=shared.folder), [Method.AUTO], incremental=True)
    assert probe.findings == []


def test_auto_without_the_files_dumps_as_before_and_says_why(shared: MariaServer, workplace: Path) -> None:
    captured, _ = back_up(target_of(shared), workplace, method=Method.AUTO)
    assert captured.method is Method.LOGICAL
    assert "spec.dataVolume does not say which claim holds it" in captured.notes[0]
    assert ENGINE.probe(target_of(shared), [Method.AUTO], incremental=True).findings == []


def test_auto_dumps_where_the_operator_could_not_find_the_volume(shared: MariaServer, workplace: Path) -> None:
    target = target_of(shared)
    problem = Problem(reason="DataVolumeUnused", message="no running pod uses claim x of spec.dataVolume")
    target = Target(target.database.model_copy(update={"data_problem": problem}), target.credentials)
    captured, _ = back_up(target, workplace, method=Method.AUTO)
    assert captured.method is Method.LOGICAL
    assert "DataVolumeUnused: no running pod uses claim x" in captured.notes[0]
    with pytest.raises(UserFault, match="no running pod uses claim x") as caught:
        back_up(target, workplace, "second", method=Method.PHYSICAL)
    assert caught.value.reason == "DataVolumeUnused"


def test_each_grant_is_asked_for_and_no_more_is_needed(shared: MariaServer, limited: Target, workplace: Path) -> None:
    (missing,) = ENGINE.probe(limited, [Method.PHYSICAL], incremental=False).findings
    assert (missing.reason, missing.blocks) == ("PermissionDenied", ["Physical"])
    assert missing.fix == "GRANT RELOAD, PROCESS, BINLOG MONITOR, SELECT ON *.* TO 'limited'@'%';"
    shared.sql(missing.fix)
    assert ENGINE.probe(limited, [Method.PHYSICAL], incremental=False).findings == []
    captured, _ = back_up(limited, workplace, method=Method.PHYSICAL)
    assert captured.objects
    assert captured.position.binlog
    assert captured.position.gtid


def test_another_servers_directory_is_refused_before_anything_is_read_of_it(
    shared: MariaServer, own_maria: Callable[..., MariaServer], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that were only just installed have one checkpoint, so that this alone does not tell them apart."""
    other = own_maria()
    monkeypatch.setattr(directory, "directory_of", lambda _: other.data)
    monkeypatch.setattr(directory, "_checkpoint_said", lambda _: directory._checkpoint_in(other.data / "ib_logfile0"))
    with pytest.raises(UserFault, match="is not the data directory of") as caught:
        back_up(target_of(shared, mount=other.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "DataVolumeForeign"
    assert not list((workplace / "b").iterdir())


def test_a_directory_that_is_behind_its_server_is_refused(
    own_maria: Callable[..., MariaServer], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older snapshot of the very volume."""
    server = own_maria()
    allow(server)
    old = workplace / "old"
    shutil.copytree(server.data, old)
    server.stop()
    server.start()
    monkeypatch.setattr(directory, "directory_of", lambda _: old)
    with pytest.raises(UserFault, match="the checkpoint in its ib_logfile0 is"):
        back_up(target_of(server, mount=workplace), workplace, method=Method.PHYSICAL)


def test_a_directory_elsewhere_than_the_claim_is_refused(shared: MariaServer, workplace: Path) -> None:
    with pytest.raises(UserFault, match="is not in it") as caught:
        back_up(target_of(shared, mount=workplace), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "DataVolumeForeign"


def test_a_copy_of_the_directory_as_it_stands_is_not_taken_for_the_servers(
    own_maria: Callable[..., MariaServer], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of an idle server has its checkpoint, too. Only a backup's own trace is missing in it."""
    server = own_maria()
    allow(server)
    clone = workplace / "clone"
    shutil.copytree(server.data, clone)
    monkeypatch.setattr(directory, "_another", lambda *_: None)
    for module in (directory, take):
        monkeypatch.setattr(module, "directory_of", lambda _: clone)
    with pytest.raises(SafetyStop, match="not the data directory of this server") as caught:
        back_up(target_of(server, mount=workplace), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "DataVolumeForeign"


def test_what_cannot_be_read_is_named_with_its_user_and_mode(shared: MariaServer) -> None:
    """Found by a process of another user, as a Job is one."""
    code = (
        "import os, sys, pathlib\n"
        "from databosun.engines.mysql.physical.directory import _cannot_read, _unreadable\n"
        "os.setgroups([]); os.setgid(65000); os.setuid(65000)\n"
        f"path = next(_unreadable(pathlib.Path({str(shared.data)!r})))\n"
        "found = _cannot_read(path); print(found.message); print(found.fix)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    about = shared.data.stat()
    assert f"owner {about.st_uid}:" in said
    assert "mode 0" in said
    assert "runs as 65000 with the groups 65000" in said
    assert f"set spec.dataVolume.runAsUser to {about.st_uid}" in said


def test_a_program_that_is_killed_leaves_no_backup_and_nothing_that_runs(shared: MariaServer, workplace: Path) -> None:
    def kill(_name: str, count: int) -> None:
        if count > 1_000_000:
            for pid in running():
                with suppress(ProcessLookupError):  # it was killed before, and is forgotten by now
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises(WorldFault) as caught:
        back_up(target_of(shared, mount=shared.folder), workplace, trap=kill, method=Method.PHYSICAL)
    assert caught.value.reason == "ToolKilled"
    assert running() == []
    eventually("no session is left", lambda: sessions(shared) == 0)


def test_a_server_that_stops_in_the_middle_ends_it_at_once(
    own_maria: Callable[..., MariaServer], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its volume may have to move with it; the program would go on to the end of the files."""
    server = own_maria()
    allow(server)
    opened: list[Doors] = []

    class Watched(Doors):
        """Known to the test."""

        def __enter__(self) -> Self:
            opened.append(self)
            return super().__enter__()

    monkeypatch.setattr(take, "Doors", Watched)
    after: list[int] = []

    def stop(_name: str, count: int) -> None:
        if count > 1_000_000:
            after.append(count)
            server.kill()
            eventually("the session is known to be gone", lambda: opened[0]._fault is not None)

    with pytest.raises(WorldFault) as caught:
        back_up(target_of(server, mount=server.folder), workplace, trap=stop, method=Method.PHYSICAL)
    assert caught.value.reason == "ConnectionLost"
    assert len(after) == 1
    assert running() == []


def test_a_program_that_ends_well_without_its_word_is_no_success(
    shared: MariaServer, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 and a whole stream are not enough."""
    folder = workplace / "bin"
    folder.mkdir()
    fake = folder / PROGRAM
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec /usr/bin/{PROGRAM} "$@";; esac\n'
        f'/usr/bin/{PROGRAM} "$@" 2> "$0.said"; code=$?\ngrep -v "completed OK" "$0.said" >&2\nexit $code\n'
    )
    fake.chmod(0o755)
    for name in ("mariadb", "mbstream"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("DATABOSUN_MARIADB_BIN", str(folder))
    with pytest.raises(WorldFault, match="without `completed OK!`") as caught:
        back_up(target_of(shared, mount=shared.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "ToolFailed"


def test_it_waits_no_longer_for_a_lock_than_other_backups(shared: MariaServer, workplace: Path) -> None:
    """The program itself would wait a year, and all DDL behind it."""
    seen: list[str] = []
    with seeing(lambda _, sent: seen.extend(sent)):
        back_up(target_of(shared, mount=shared.folder), workplace, method=Method.PHYSICAL)
    waits = [int(one.rpartition("=")[2]) for one in seen if "lock_wait_timeout" in one]
    assert len(waits) == 5
    assert max(waits) == 60
    assert seen[seen.index("BACKUP STAGE BLOCK_COMMIT") - 1].endswith("lock_wait_timeout=15")


@contextmanager
def seeing(see: Callable[[str, Sequence[str]], object]) -> Iterator[None]:
    """Told of each statement of the program, and what is sent for it, before it is."""
    before = take._Instant.before

    def spy(instant: take._Instant, statement: str) -> tuple[str, ...]:
        sent = before(instant, statement)
        see(statement, sent)
        return sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(take._Instant, "before", spy)
        yield


class Commits:
    """`stopped`: the server has no commit go through just now."""

    def __init__(self, server: MariaServer) -> None:
        self._server = server
        self._last = ""
        self.stopped = False
        server.sql("CREATE OR REPLACE TABLE tick (i INT)", "shop")

    def see(self, statement: str, _: Sequence[str]) -> None:
        """A statement that follows says that BLOCK_COMMIT has been answered."""
        self.stopped = statement != take._END and (self.stopped or self._last == take._BLOCK_COMMIT)
        self._last = statement

    def demand(self, seconds: float) -> None:
        """One that goes through within so long."""
        with self._server.connect("shop", read_timeout=seconds) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO tick VALUES (1)")


@pytest.fixture(scope="module")
def talkative() -> Iterator[MariaServer]:
    """A server that logs to a table, which is copied while nothing can be committed: more than is kept in memory."""
    server = MariaServer(settings={"log-output": "TABLE", "slow-query-log": "ON", "long-query-time": "0"})
    server.init()
    server.start()
    fill(server)
    allow(server)
    for _ in range(6):
        server.sql(f"SELECT '{'x' * 1_000_000}'")
    yield server
    server.remove()


def test_no_commit_waits_for_the_store(talkative: MariaServer, workplace: Path) -> None:
    """It may take minutes over what it is given."""
    commits = Commits(talkative)

    def trap(_name: str, _count: int) -> None:
        if commits.stopped:
            commits.demand(seconds=60)  # as long as this lasts the store takes nothing

    with seeing(commits.see):
        captured, sink = back_up(
            target_of(talkative, mount=talkative.folder), workplace, trap=trap, method=Method.PHYSICAL
        )
    assert captured.objects
    assert {one["name"] for one in sink.artefacts} >= {take.COPY}
    assert list((workplace / "scratch").iterdir()) == []


def test_a_scratch_that_is_too_small_for_it_is_said(talkative: MariaServer, workplace: Path) -> None:
    with pytest.raises(UserFault, match=r"raise podTemplate\.scratch\.size") as caught:
        back_up(
            target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL, scratch_bytes=1_000_000
        )
    assert caught.value.reason == "ScratchTooSmall"
    Commits(talkative).demand(seconds=60)
    eventually("no session is left", lambda: sessions(talkative) == 0)


def test_the_server_does_not_wait_for_a_copy_that_stands_still(
    talkative: MariaServer, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where this process is stopped, or its node is gone: the server itself ends it."""
    commits = Commits(talkative)
    monkeypatch.setitem(take._MOST_SECONDS, take._BLOCK_COMMIT, 2)
    put = Spool.put

    def stuck(spool: Spool, data: bytes, write: Callable[[bytes], object]) -> None:
        if commits.stopped:
            commits.demand(seconds=300)
            commits.stopped = False
        put(spool, data, write)

    monkeypatch.setattr(Spool, "put", stuck)
    with seeing(commits.see), pytest.raises(WorldFault, match="nothing could be committed") as caught:
        back_up(target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "LockTimeout"
    eventually("no session is left", lambda: sessions(talkative) == 0)


def changing(server: MariaServer, statements: str) -> AbstractContextManager[None]:
    """Once the program has copied tables that follow no transactions and are not in use, and DDL is possible still."""
    return seeing(lambda _, sent: server.sql(statements, "shop") if sent[-1] == take._FLUSH else None)


def test_tables_that_go_while_they_are_copied_are_gone(
    talkative: MariaServer, files_of: Callable[[MariaServer], MariaFilesYard]
) -> None:
    """Those that follow no transactions are copied first, and what became of them is told at the end of the stream."""
    make = "CREATE OR REPLACE TABLE {} (i INT) ENGINE = Aria;\nINSERT INTO {} VALUES (1)"
    talkative.sql(";\n".join(make.replace("{}", name) for name in ("a_goes", "a_changes", "a_stays", "a_anew")), "shop")
    yard = files_of(talkative)
    statements = (
        "DROP TABLE a_goes;\nALTER TABLE a_changes ADD COLUMN j INT DEFAULT 4;\nDROP TABLE a_anew;\n"
        "CREATE TABLE a_anew (i INT) ENGINE = Aria;\nINSERT INTO a_anew VALUES (5), (6)"
    )
    with changing(talkative, statements):
        yard.back_up("orders-1")
    pod = yard.pod()
    done = yard.restore("orders-1", pod=pod)
    assert done.result.restore, done.output[-3000:]
    with served(pod.restored / done.result.restore.data_directory) as other:
        assert other.sql("SHOW TABLES LIKE 'a\\_%'", "shop") == [("a_anew",), ("a_changes",), ("a_stays",)]
        query = "SELECT i, j, (SELECT i FROM a_stays), (SELECT SUM(i) FROM a_anew) FROM a_changes"
        assert other.sql(query, "shop") == [(1, 4, 1, 11)]


def test_a_table_that_is_emptied_while_it_is_copied_is_no_backup(talkative: MariaServer, workplace: Path) -> None:
    """Seen with 10.11.19: all rows of an Aria table are back in the copy, and nothing tells of it."""
    talkative.sql("CREATE OR REPLACE TABLE emptied (i INT) ENGINE = Aria;\nINSERT INTO emptied VALUES (1)", "shop")
    with changing(talkative, "TRUNCATE TABLE emptied"), pytest.raises(WorldFault, match="was emptied") as caught:
        back_up(target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "SchemaChanged"
    talkative.sql("DROP TABLE emptied", "shop")


PARTED = "PARTITION BY LIST (i) (PARTITION p VALUES IN (1, 11), PARTITION q VALUES IN (2))"
TO_TABLE = "ALTER TABLE parted CONVERT PARTITION p TO TABLE single"


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE parted EXCHANGE PARTITION p WITH TABLE lone",
        TO_TABLE,
        f"{TO_TABLE};\nALTER TABLE parted REMOVE PARTITIONING",
        "ALTER TABLE parted DROP PARTITION p;\nALTER TABLE parted CONVERT TABLE lone TO PARTITION p VALUES IN (1, 11)",
    ],
)
def test_partitions_that_change_their_table_while_they_are_copied_are_no_backup(
    talkative: MariaServer, workplace: Path, change: str
) -> None:
    """Seen with 10.11.19: an exchange of an Aria table is not in the copy, a partition that became a table is not
    whole there, and nothing tells of either."""
    make = "CREATE OR REPLACE TABLE {} (i INT) ENGINE = Aria {};\nINSERT INTO {} VALUES {}"
    talkative.sql("DROP TABLE IF EXISTS single", "shop")
    talkative.sql(make.format("parted", PARTED, "parted", "(1), (2)"), "shop")
    talkative.sql(make.format("lone", "", "lone", "(11)"), "shop")
    with changing(talkative, change), pytest.raises(WorldFault, match=r"was altered.*shop/parted") as caught:
        back_up(target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "SchemaChanged"
    talkative.sql("DROP TABLE IF EXISTS parted, lone, single", "shop")


def test_a_table_that_waited_to_be_emptied_when_the_copy_began_is_no_backup(
    talkative: MariaServer, workplace: Path
) -> None:
    """The server counts a statement when it begins, and this one does its work once files are copied."""
    talkative.sql("CREATE OR REPLACE TABLE emptied (i INT) ENGINE = Aria;\nINSERT INTO emptied VALUES (1)", "shop")
    emptying = threading.Thread(target=talkative.sql, args=("/* a */ TRUNCATE emptied", "shop"))
    with talkative.connect("shop") as reader, reader.cursor() as cursor:
        reader.begin()
        cursor.execute("SELECT * FROM emptied")

        def let_through(_: str, sent: Sequence[str]) -> None:
            if sent[-1] == take._FLUSH:
                reader.rollback()
                emptying.join()

        emptying.start()
        eventually("it waits", lambda: waiting(talkative) == 1)
        with seeing(let_through), pytest.raises(WorldFault, match="was emptied") as caught:
            back_up(target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "SchemaChanged"
    talkative.sql("DROP TABLE emptied", "shop")


def waiting(server: MariaServer) -> int:
    """Sessions that wait for the definition of a table."""
    found = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock'"
    return int(server.sql(found)[0][0])


@pytest.mark.parametrize(
    ("engine", "change"),
    [
        ("Aria", "RENAME TABLE moves TO moved;\nRENAME TABLE moved TO moves"),
        ("MyISAM", "DROP TABLE moves;\nCREATE TABLE moves (i INT) ENGINE = MyISAM"),
    ],
)
def test_what_the_program_would_lose_or_break_is_no_backup(
    talkative: MariaServer, workplace: Path, engine: str, change: str
) -> None:
    """Seen with 10.11.19, which says `completed OK!`: the one is marked as crashed then, the other is not there."""
    talkative.sql(f"CREATE OR REPLACE TABLE moves (i INT) ENGINE = {engine};\nINSERT INTO moves VALUES (1)", "shop")
    with changing(talkative, change), pytest.raises(WorldFault, match="shop/moves was copied") as caught:
        back_up(target_of(talkative, mount=talkative.folder), workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "SchemaChanged"
    eventually("no session is left", lambda: sessions(talkative) == 0)


def test_tables_of_engines_that_it_does_not_copy_are_refused_and_auto_dumps(
    own_maria: Callable[..., MariaServer], workplace: Path
) -> None:
    server = own_maria()
    allow(server)
    outside = server.folder / "outside"
    outside.mkdir()
    hand_over(outside)
    server.sql(f"CREATE TABLE far (i INT) DATA DIRECTORY '{outside}'", "shop")
    target = target_of(server, mount=server.folder)
    with pytest.raises(UserFault, match="shop/far") as caught:
        back_up(target, workplace, method=Method.PHYSICAL)
    assert caught.value.reason == "StorageEngineUnsupported"
    captured, _ = back_up(target, workplace, "auto", method=Method.AUTO)
    assert captured.method is Method.LOGICAL
    assert "StorageEngineUnsupported" in captured.notes[0]


def sessions(server: MariaServer) -> int:
    """Of the backup's account."""
    return int(server.sql(f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{BACKUP_USER}'")[0][0])
