"""What every engine does, whatever its database: the promises of `docs/concepts/safety.md`, one by one."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.drill import CheckOutcome, Level, PointKind, RecoveryPoint, Verdict
from databosun.api.restoretasks import DrillTask
from databosun.api.result import DrillResult, Outcome
from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Plan, RestoreDoc
from support.agekeys import make_age_key
from support.agentrun import NAMESPACE, Ran, backup_task
from support.archiving import Pod
from support.engineyard import EngineYard
from support.foldersink import FolderSink
from support.pgserver import free_port
from support.waiting import eventually

pytestmark = pytest.mark.servers


def drilled(ran: Ran) -> DrillResult:
    """What the drill found."""
    assert ran.result.drill is not None, ran.output[-6000:]
    return ran.result.drill


def manifest_of(yard: EngineYard, backup_id: str) -> tuple[Path, dict[str, Any]]:
    """A backup's folder in the store, and its manifest."""
    (path,) = [one for one in yard.place.paths.volume.rglob("manifest.json") if one.parent.name == backup_id]
    document: dict[str, Any] = json.loads(path.read_bytes())
    return path.parent, document


def laid_out(yard: EngineYard, backups: list[str], folder: Path) -> tuple[dict[str, Any], ...]:
    """Artefacts as the agent's part of RESTORE.md leaves them: whole, at `<backup>/<artefact>`."""
    manifests = []
    for backup_id in backups:
        root, manifest = manifest_of(yard, backup_id)
        for artefact in manifest["artefacts"]:
            whole = folder / backup_id / artefact["name"]
            whole.parent.mkdir(parents=True, exist_ok=True)
            whole.write_bytes(b"".join((root / "a1" / part["name"]).read_bytes() for part in artefact["parts"]))
        manifests.append(manifest)
    return tuple(manifests)


def plan_of(yard: EngineYard) -> Plan:
    """For the engine alone, without an agent."""
    scratch = yard.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return Plan(
        type=BackupType.FULL,
        method=yard.method,
        consistency="Strict",
        parent=None,
        scratch=scratch,
        scratch_bytes=None,
        deadline=datetime.now(UTC) + timedelta(hours=1),
        label="orders-1",
    )


def test_a_probe_of_a_server_that_is_ready_says_so(yard: EngineYard) -> None:
    found = yard.engine.probe(yard.target(), [yard.method], incremental=True)
    assert found.reachable
    assert [one for one in found.findings if one.blocks] == []
    assert found.engine_version
    assert found.system_identifier
    assert found.now


def test_a_wrong_password_is_the_users_to_mend_and_is_not_told(yard: EngineYard) -> None:
    with pytest.raises(UserFault) as caught:
        yard.engine.probe(yard.target(password="sw0rdfish-is-wrong"), [yard.method], incremental=False)
    assert caught.value.reason == "WrongPassword"
    assert "sw0rdfish" not in caught.value.message
    assert "Secret" in caught.value.message


def test_a_server_that_is_away_is_tried_again(yard: EngineYard) -> None:
    with pytest.raises(WorldFault) as caught:
        yard.engine.probe(yard.target(port=free_port()), [yard.method], incremental=False)
    assert caught.value.reason == "ConnectionRefused"


def test_a_backup_changes_nothing_at_the_source_and_leaves_no_session(yard: EngineYard) -> None:
    before = yard.contents()
    ran = yard.back_up()
    assert ran.result.backup
    assert ran.result.backup.engine == yard.name
    assert yard.contents() == before
    eventually("no session of the backup is left", lambda: yard.sessions() == 0)


def test_a_drill_proves_a_backup_and_changes_nothing_in_the_store(yard: EngineYard) -> None:
    key = make_age_key(yard.folder)
    yard.key = key
    yard.place.storage["age_recipients"] = [key.recipient]
    yard.back_up()
    before = yard.objects()
    found = drilled(yard.drill(checks=[yard.good_query()], negative_control=True))
    assert (found.verdict, found.level_reached, found.proven) == (Verdict.PASSED, Level.DEEP, True), found
    assert {one.outcome for one in found.checks} == {CheckOutcome.PASSED}
    assert found.rto
    phases = found.rto.fetch + found.rto.restore + found.rto.start
    assert found.rto.seconds > phases - 0.002  # each of the four is rounded to a millisecond
    assert found.rpo
    assert yard.objects() == before


def test_a_check_that_does_not_hold_fails_the_drill(yard: EngineYard) -> None:
    yard.back_up()
    found = drilled(yard.drill(checks=[yard.broken_query()]))
    assert (found.verdict, found.reason, found.proven) == (Verdict.FAILED, "CheckFailed", False), found


def test_a_restored_volume_holds_what_was_backed_up(yard: EngineYard) -> None:
    before = yard.contents()
    yard.back_up()
    yard.change()
    pod = yard.pod()
    ran = yard.restore(pod=pod)
    assert ran.result.restore, ran.output[-4000:]
    assert [one.name for one in pod.restored.iterdir() if one.name != "tablespaces"] == [
        ran.result.restore.data_directory
    ]
    assert len(ran.result.restore.hand_over) > 2
    with yard.served(pod.restored / ran.result.restore.data_directory) as found:
        assert found == before


def test_an_incremental_holds_what_was_written_since(yard: EngineYard) -> None:
    full = yard.back_up("orders-1")
    yard.change()
    after = yard.contents()
    # Of an engine without incrementals the operator names no parent.
    ran = yard.back_up("orders-2", on=full if yard.incremental else None, type=BackupType.INCREMENTAL)
    done = ran.result.backup
    assert done
    if not yard.incremental:
        assert done.type is BackupType.FULL
        assert any(note.startswith("IncrementalUnsupported") for note in done.notes)
    else:
        assert (done.type, done.parent, done.chain_length) == (BackupType.INCREMENTAL, "orders-1", 1)
    pod = yard.pod()
    restored = yard.restore("orders-2", pod=pod).result.restore
    assert restored
    with yard.served(pod.restored / restored.data_directory) as found:
        assert found == after


def test_the_commands_of_restore_md_restore_it(yard: EngineYard) -> None:
    before = yard.contents()
    yard.back_up()
    folder = yard.folder / "by-hand"
    (manifest,) = laid_out(yard, ["orders-1"], folder)
    document = yard.engine.restore_instructions(RestoreDoc(manifest, (manifest,)))
    assert yard.password not in document
    with yard.followed(document, folder) as found:
        assert found == before


def test_the_shipped_log_goes_on_from_a_backup_and_is_whole_or_refused(yard: EngineYard) -> None:
    with shipped(yard) as pod:
        yard.back_up()
        yard.change()
        yard.roll()
        written, after = datetime.now(UTC), yard.contents()
        eventually("what was written is in the store", lambda: recoverable(pod) > written)
    latest = RecoveryPoint(kind=PointKind.LATEST)
    recovery = yard.pod()
    restored = yard.restore(pod=recovery, until=latest).result.restore
    assert restored
    with yard.served(recovery.restored / restored.data_directory) as found:
        assert found == after
    max(path for path in log_of(yard).rglob("*.zst") if ".partial." not in path.name).unlink()
    refused = drilled(yard.drill(until=latest))
    assert (refused.verdict, refused.reason) == (Verdict.FAILED, "LogGap"), refused


@contextmanager
def shipped(yard: EngineYard) -> Iterator[Pod]:
    """An archiver that streams; stopped, so that all it has is in the store."""
    pod = yard.archiver()
    try:
        pod.start()
        pod.wait_until_streaming()
        yield pod
        pod.stop()
    finally:
        pod.kill()


def recoverable(pod: Pod) -> datetime:
    """The newest instant whose commits are all in the store."""
    line = pod.latest()
    return line.recoverable_at if line and line.recoverable_at else datetime.min.replace(tzinfo=UTC)


def log_of(yard: EngineYard) -> Path:
    """Where the log lies in the store."""
    (found,) = (yard.place.paths.volume / NAMESPACE / "_log").iterdir()
    return found


def test_a_damaged_artefact_fails_the_drill_whichever_it_is(yard: EngineYard) -> None:
    yard.back_up()
    for number, path in enumerate(yard.stored("orders-1")):
        good = path.read_bytes()
        damaged = bytearray(good)
        damaged[len(damaged) // 2] ^= 1
        path.write_bytes(damaged)
        found = drilled(yard.drill(id=f"drill-{number}", level=Level.ARTIFACT))
        assert found.verdict is Verdict.FAILED, (path, found)
        assert not found.proven
        path.write_bytes(good)
    assert drilled(yard.drill(id="drill-good", level=Level.ARTIFACT)).verdict is Verdict.PASSED


def test_a_missing_artefact_fails_the_drill(yard: EngineYard) -> None:
    yard.back_up()
    max(yard.stored("orders-1"), key=lambda path: path.stat().st_size).unlink()
    found = drilled(yard.drill())
    assert (found.verdict, found.reason) == (Verdict.FAILED, "ArtefactMissing"), found


def test_a_store_that_fails_in_the_middle_ends_the_backup_and_all_it_started(yard: EngineYard) -> None:
    class StoreAway(Exception):
        """Raised by the store."""

    def trap(_name: str, _count: int) -> None:
        raise StoreAway

    before = set(_descendants(os.getpid()))
    with pytest.raises(StoreAway):
        yard.engine.backup(yard.target(), plan_of(yard), FolderSink(yard.folder / "broken", trap))
    eventually("no session of the backup is left", lambda: yard.sessions() == 0)
    # Servers are below this process, too, and one that forks for a backup has to notice first that nobody wants it.
    eventually("nothing of what it started is left", lambda: set(_descendants(os.getpid())) <= before)


def test_no_secret_is_in_store_log_or_process_list(yard: EngineYard) -> None:
    """Encrypted, so that at least `age` runs beside: not every engine starts programs of its own."""
    yard.place.storage["age_recipients"] = [make_age_key(yard.folder).recipient]
    with _watching() as seen:
        ran = yard.back_up()
    secret = yard.password.encode()
    assert yard.password not in ran.output
    assert secret not in ran.termination
    assert seen, "the backup was over before anybody looked"
    assert not [line for line in seen if secret in line]
    assert not [path for path, data in yard.objects().items() if secret in data]


def test_nothing_of_a_copy_can_be_reached_and_nothing_outlives_its_agent(yard: EngineYard) -> None:
    yard.back_up()
    ready = '"name":"server-ready"'  # some drills are over a moment later
    task = DrillTask(id="drill-1", backup=yard.refs["orders-1"], level=Level.DEEP)
    process = yard.pod().start(task, halt=ready)
    try:
        assert process.stdout
        said = list(itertools.takewhile(lambda line: ready not in line, process.stdout))
        servers = _servers(process.pid)
        assert servers, "".join(said)[-3000:]
        assert not [pid for pid in servers if _listens(pid)], "a copy listens on the network"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    eventually("the copy's server is gone", lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in servers))


def test_a_deadline_ends_the_backup(yard: EngineYard) -> None:
    ran = yard.run(backup_task("orders-1", method=yard.method), deadline=datetime.now(UTC) - timedelta(seconds=1))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "DeadlineExceeded")
    assert not [path for path in yard.objects() if path.endswith("manifest.json")]


@contextmanager
def _watching() -> Iterator[set[bytes]]:
    """Arguments and environments of this process's children, as long as the block runs."""
    seen: set[bytes] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for pid in _descendants(os.getpid()):
                with suppress(OSError):
                    seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                    seen.add(Path(f"/proc/{pid}/environ").read_bytes())
            time.sleep(0.002)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _servers(root: int) -> list[int]:
    """Processes below an agent that have a listening socket of any kind: the copy's server."""
    return [pid for pid in _descendants(root) if _sockets(pid) & _listening("/proc/net/unix")]


def _listens(pid: int) -> bool:
    return bool(_sockets(pid) & (_listening("/proc/net/tcp") | _listening("/proc/net/tcp6")))


def _sockets(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                link = os.readlink(entry)
                if link.startswith("socket:["):
                    found.add(link[8:-1])
    return found


def _listening(table: str) -> set[str]:
    """Inodes of sockets that accept connections: state 0A of TCP, flag 10000 of Unix sockets."""
    lines = [line.split() for line in Path(table).read_text().splitlines()[1:]]
    if table.endswith("unix"):
        return {line[6] for line in lines if line[3] == "00010000"}
    return {line[9] for line in lines if line[3] == "0A"}
