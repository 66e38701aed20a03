"""Whatever breaks, a backup ends with a reason that a person can act on, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.postgresql.conftest import Workshop, plan_of, target_of
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import DatabosunError, UserFault, WorldFault
from databosun.engines import program
from databosun.engines.base import Target
from databosun.engines.postgresql import ENGINE, connect, wire
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.scratch import used
from support.foldersink import FolderSink
from support.heldlink import HeldLink, held_link
from support.pgsample import BACKUP_ROLE, NOISE, ROLES
from support.pgserver import PASSWORD, Server, free_port
from support.waiting import eventually

pytestmark = pytest.mark.servers

BOTH = pytest.mark.parametrize("method", [Method.PHYSICAL, Method.LOGICAL])


# Bytes of one connection: more than pg_dump reads of the catalogs, and less than a dump or a copy of `noise` takes.
SOME = 4 * 1024 * 1024


class Alarm(BaseException):
    """What a signal handler of the agent would raise."""


@pytest.fixture
def noisy(own_server: Callable[..., Server]) -> Callable[..., Server]:
    """A server of the test's own with 26 MB that do not compress."""

    def make(major: int, rows: int = 4000) -> Server:
        server = own_server(major)
        server.sql(ROLES)
        server.sql("CREATE DATABASE shop")
        server.sql(NOISE.format(rows=rows), "shop")
        server.sql("CREATE TABLE small AS SELECT generate_series(1, 10) AS i", "shop")
        return server

    return make


def over(link: HeldLink, target: Target) -> Target:
    """The same database, reached over the link: a dump of its large table does not end before the link lets it."""
    return replace(target, database=target.database.model_copy(update={"port": link.port}))


def soon() -> datetime:
    """A deadline, so that a test which holds its backup for good ends where nothing else ends it."""
    return datetime.now(UTC) + timedelta(minutes=2)


def fault_of(call: Callable[[], Any]) -> DatabosunError:
    """The error that the call ends with."""
    with pytest.raises(DatabosunError) as caught:
        call()
    assert PASSWORD not in str(caught.value)
    return caught.value


def nothing_left(server: Server, folder: Path) -> None:
    """No session of the backup role, no slot, no program of ours, an empty scratch folder."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{BACKUP_ROLE}'"
    eventually("the server ended all sessions", lambda: server.sql(query) == [(0,)])
    assert server.sql("SELECT slot_name FROM pg_replication_slots") == []
    assert list((folder / "scratch").iterdir()) == []
    eventually("all programs ended", lambda: children() == [])


def children(name: str = "pg_") -> list[int]:
    """Programs that this process (or one of its children) started."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    text = file.read()
            except OSError:
                continue
            comm, rest = text.split("(", 1)[1].rsplit(")", 1)
            state, parent = rest.split()[:2]
            if comm.startswith(name) and state != "Z" and _mine(int(parent)):
                found.append(int(entry.name))
    return sorted(found)


def _mine(pid: int) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            with open(f"/proc/{pid}/stat") as file:
                pid = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return False
    return False


@BOTH
def test_a_wrong_password(workshop_of: Callable[[int], Workshop], method: Method) -> None:
    workshop = workshop_of(18)
    fault = fault_of(lambda: workshop.back_up("b", method, target=target_of(workshop.server, password="wrong")))
    assert isinstance(fault, UserFault)
    assert fault.reason == "WrongPassword"
    assert "credentialsSecretRef" in fault.message


def test_a_role_that_is_not_there(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    fault = fault_of(lambda: workshop.back_up("b", Method.AUTO, target=target_of(workshop.server, user="nobody_here")))
    assert (type(fault), fault.reason) == (UserFault, "WrongPassword")


def test_a_database_that_is_not_there(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    fault = fault_of(lambda: workshop.back_up("b", Method.AUTO, target=target_of(workshop.server, database="shopp")))
    assert (type(fault), fault.reason) == (UserFault, "NoSuchDatabase")


def test_nobody_listens(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    target = target_of(workshop.server)
    target = type(target)(target.database.model_copy(update={"port": free_port()}), target.credentials)
    fault = fault_of(lambda: workshop.back_up("b", Method.AUTO, target=target))
    assert (type(fault), fault.reason) == (WorldFault, "ConnectionRefused")


def test_a_host_without_an_address(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    fault = fault_of(
        lambda: ENGINE.probe(target_of(workshop.server, hosts=("nowhere.invalid",)), [], incremental=False)
    )
    assert (type(fault), fault.reason) == (WorldFault, "UnknownHost")
    assert "nowhere.invalid" in fault.message


def test_one_host_away_does_not_matter_while_another_answers(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(18)
    found = ENGINE.probe(target_of(workshop.server, hosts=("nowhere.invalid", "127.0.0.1")), [], incremental=False)
    assert found.host == f"127.0.0.1:{workshop.server.port}"


def test_a_grant_lost_midway(workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server]) -> None:
    server = noisy(16, rows=10)

    def revoke(name: str, _count: int) -> None:
        if name.startswith("globals"):
            server.sql(f"REVOKE pg_read_all_data FROM {BACKUP_ROLE}")

    workshop = workshop_of(server)
    fault = fault_of(lambda: workshop.back_up("b", Method.LOGICAL, trap=revoke))
    assert (type(fault), fault.reason) == (UserFault, "PermissionDenied")
    nothing_left(server, workshop.folder)


@pytest.mark.parametrize("which", ["leader", "worker"])
def test_pg_dump_killed_midway(
    workshop_of: Callable[[int | Server], Workshop],
    noisy: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    which: str,
) -> None:
    monkeypatch.setattr(program, "GRACE_SECONDS", 0.5)  # workers, of which one waits for the link, outlive the leader
    server = noisy(18)
    killed: list[int] = []

    def kill(name: str, _count: int) -> None:
        if name == "db-shop.tar" and not killed:
            programs = children("pg_dump")
            killed.append(programs[0] if which == "leader" else programs[-1])
            os.kill(killed[0], signal.SIGKILL)

    workshop = workshop_of(server)
    with held_link(server.port, SOME) as link:
        target = over(link, target_of(server))
        fault = fault_of(lambda: workshop.back_up("b", Method.LOGICAL, target=target, trap=kill, deadline=soon()))
    assert killed
    assert isinstance(fault, WorldFault)
    assert fault.reason in ("ToolKilled", "DatabaseError", "ConnectionLost")
    nothing_left(server, workshop.folder)


@BOTH
def test_the_server_killed_midway(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server], method: Method
) -> None:
    server = noisy(17)
    killed: list[str] = []
    workshop = workshop_of(server)
    with held_link(server.port, SOME) as link:

        def kill(name: str, _count: int) -> None:
            if name in ("base.tar.zst", "db-shop.tar") and not killed:
                killed.append(name)
                server.kill()
                link.cut()

        target = over(link, target_of(server))
        fault = fault_of(lambda: workshop.back_up("b", method, target=target, trap=kill, deadline=soon()))
    assert killed
    assert isinstance(fault, WorldFault)
    assert fault.reason in ("ConnectionLost", "ServerStopped")
    assert list((workshop.folder / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("major", "method"), [(14, Method.PHYSICAL), (15, Method.PHYSICAL), (18, Method.PHYSICAL), (18, Method.LOGICAL)]
)
def test_storage_that_fails_midway(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server], major: int, method: Method
) -> None:
    server = noisy(major)

    def refuse(name: str, count: int) -> None:
        if name in ("base.tar.zst", "db-shop.tar") and count > 100_000:
            raise WorldFault("StorageFailed", "the bucket is away")

    workshop = workshop_of(server)
    fault = fault_of(lambda: workshop.back_up("b", method, trap=refuse))
    assert fault.reason == "StorageFailed"
    nothing_left(server, workshop.folder)


def test_scratch_too_small_for_a_copy_of_14_is_refused_at_once(workshop_of: Callable[[int], Workshop]) -> None:
    workshop = workshop_of(14)
    fault = fault_of(lambda: workshop.back_up("b", Method.PHYSICAL, scratch_bytes=1024 * 1024))
    assert (type(fault), fault.reason) == (UserFault, "ScratchTooSmall")
    assert "1MiB of scratch is free" in fault.message.replace("1.0MiB", "1MiB")
    assert "podTemplate.scratch.size" in fault.message
    assert list((workshop.folder / "b").iterdir()) == []


def test_scratch_that_fills_up_while_dumping(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server]
) -> None:
    """Compressed rows are taken to be half of the table; these are not."""
    server = noisy(18)
    size = server.sql("SELECT pg_table_size('noise')", "shop")[0][0]
    workshop = workshop_of(server)
    full: list[int] = []
    with held_link(server.port, SOME) as link:

        def wait_until_full(name: str, _count: int) -> None:
            """While the small table is moved out, the large one grows over the limit, and does not end there: over
            the wire it takes twice its size."""
            if not full and name == "db-shop.tar":
                link.allow(size * 3 // 2)
                eventually("scratch fills", lambda: used(workshop.folder / "scratch") > size // 2)
                full.append(used(workshop.folder / "scratch"))

        target = over(link, target_of(server, database="shop"))
        plan = {"scratch_bytes": int(size * 0.55), "deadline": soon()}
        fault = fault_of(lambda: workshop.back_up("b", Method.LOGICAL, target=target, trap=wait_until_full, **plan))
    assert full
    assert (type(fault), fault.reason) == (UserFault, "ScratchTooSmall")
    assert "the tables being dumped fill scratch" in fault.message
    nothing_left(server, workshop.folder)


def test_a_client_of_another_major(
    workshop_of: Callable[[int], Workshop], monkeypatch: pytest.MonkeyPatch, servers: Callable[[int], Server]
) -> None:
    workshop = workshop_of(18)
    monkeypatch.setattr(workshop.server, "bin", servers(17).bin)
    fault = fault_of(lambda: workshop.back_up("b", Method.LOGICAL))
    assert (type(fault), fault.reason) == (UserFault, "WrongToolVersion")
    assert "runner image of PostgreSQL 18" in fault.message


@contextmanager
def alarm_after(event: threading.Event) -> Iterator[None]:
    """Interrupt the main thread, as the agent's SIGTERM does, once the event is set."""

    def raise_alarm(_number: int, _frame: object) -> None:
        raise Alarm

    def send() -> None:
        event.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, raise_alarm)
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        event.set()
        thread.join()
        signal.signal(signal.SIGUSR1, previous)


@contextmanager
def frozen_walsender(server: Server) -> Iterator[Callable[[str, int], None]]:
    """A trap that stops the server's sending process in the middle, so that the engine waits."""
    stopped: list[int] = []

    def freeze(name: str, _count: int) -> None:
        if name == "base.tar.zst" and not stopped:
            stopped.append(server.sql("SELECT pid FROM pg_stat_replication")[0][0])
            os.kill(stopped[0], signal.SIGSTOP)

    try:
        yield freeze
        assert stopped, "the trap was never reached"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def test_an_interrupt_while_the_server_sends_nothing(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server]
) -> None:
    server = noisy(18)
    workshop = workshop_of(server)
    waiting = threading.Event()
    with frozen_walsender(server) as freeze:

        def trap(name: str, count: int) -> None:
            freeze(name, count)
            waiting.set()

        with alarm_after(waiting), pytest.raises(Alarm):
            workshop.back_up("b", Method.PHYSICAL, trap=trap)
    nothing_left(server, workshop.folder)


def test_an_interrupt_while_a_lock_is_awaited(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server]
) -> None:
    server = noisy(18, rows=10)
    workshop = workshop_of(server)
    waiting = threading.Event()
    with closing(server.connect("shop")) as holder:
        holder.execute("BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE")

        def watch() -> None:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            eventually("the backup waits for the lock", lambda: server.sql(query)[0][0] > 0)
            waiting.set()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        with alarm_after(waiting), pytest.raises(Alarm):
            workshop.back_up("b", Method.LOGICAL)
        thread.join()
        nothing_left(server, workshop.folder)


def test_a_table_that_somebody_keeps_locked_is_named_not_waited_for(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_PATIENCE", {"lock_timeout": "1s"})
    server = noisy(18, rows=10)
    with closing(server.connect("shop")) as holder:
        holder.execute("BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(WorldFault) as failed:
            workshop_of(server).back_up("b", Method.LOGICAL)
    assert failed.value.reason == Reason.LOCK_TIMEOUT


def test_the_deadline_passes(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = noisy(18)
    workshop = workshop_of(server)
    late = datetime.now(UTC) + timedelta(hours=2)
    with frozen_walsender(server) as freeze:

        def trap(name: str, count: int) -> None:
            freeze(name, count)
            monkeypatch.setattr(wire, "datetime", SimpleNamespace(now=lambda _zone: late))

        fault = fault_of(lambda: workshop.back_up("b", Method.PHYSICAL, trap=trap))
    assert (type(fault), fault.reason) == (WorldFault, "DeadlineExceeded")
    nothing_left(server, workshop.folder)


def test_logical_backups_are_always_full(workshop_of: Callable[[int], Workshop]) -> None:
    captured, _ = workshop_of(18).back_up("b", Method.LOGICAL, type=BackupType.INCREMENTAL)
    assert captured.type is BackupType.FULL
    assert any(note.startswith("IncrementalUnsupported: a logical backup") for note in captured.notes)


def test_a_sink_that_is_told_to_stop_while_the_server_sends_nothing(
    workshop_of: Callable[[int | Server], Workshop], noisy: Callable[..., Server]
) -> None:
    """The agent's sink raises from `progress` once it is to stop; an engine that waits must look there."""
    server = noisy(18)
    workshop = workshop_of(server)
    told: list[str] = []

    class Stopping(FolderSink):
        def progress(self, stage: str, *, total_bytes: int | None = None) -> None:
            if told:
                raise WorldFault("Interrupted", "the pod is being deleted")
            super().progress(stage, total_bytes=total_bytes)

    with frozen_walsender(server) as freeze:

        def trap(name: str, count: int) -> None:
            freeze(name, count)
            told.append(name)

        plan = plan_of(workshop.folder / "scratch", Method.PHYSICAL)
        sink = Stopping(workshop.folder / "b", trap)
        fault = fault_of(lambda: ENGINE.backup(target_of(server), plan, sink))
    assert fault.reason == "Interrupted"
    nothing_left(server, workshop.folder)
