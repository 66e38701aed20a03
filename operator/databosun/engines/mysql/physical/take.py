"""A physical backup: mariadb-backup's stream into the sink, and what its tables held at the very instant of it."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from databosun.api.v1alpha1.backup import ObjectCount
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.base import Captured, Plan, Sink
from databosun.engines.mysql.connect import Session, one, opened, rows
from databosun.engines.mysql.environment import gather_environment
from databosun.engines.mysql.faults import guarded
from databosun.engines.mysql.fingerprint import list_tables
from databosun.engines.mysql.logical import Run, count_tables, fingerprint_notes
from databosun.engines.mysql.logplace import place_in_log
from databosun.engines.mysql.physical.directory import LOST_AND_FOUND, backup_trace, directory_of
from databosun.engines.mysql.physical.doors import Doors
from databosun.engines.mysql.physical.program import COMMON, PROGRAM, BackupTool, backup_program
from databosun.engines.mysql.physical.spool import Spool
from databosun.engines.mysql.physical.stream import CopyCheck
from databosun.engines.mysql.physical.unsaid import Unsaid
from databosun.engines.mysql.positions import BASE_FILE, Mark, backup_position
from databosun.engines.mysql.server import SYSTEM_SCHEMAS, ServerFacts
from databosun.engines.mysql.tools import environment_of
from databosun.engines.program import bound

COPY = "copy.mbstream.zst"
_FULL = "backup_type = full-backuped"
_CHUNK = 256 * 1024
_MOST_THREADS = 2
# The program would wait a year for a lock; all who come after it, and want it too, wait behind it.
_WAIT = re.compile(r"\s*SET SESSION lock_wait_timeout\s*=\s*\d+\s*", re.IGNORECASE)
_WAIT_SECONDS = 60
# The stages in which others wait, and for how many seconds at most: the server itself ends a session that is silent for
# longer, also where this process stands still or its node is gone, and goes on.
_FLUSH, _BLOCK_DDL = "BACKUP STAGE FLUSH", "BACKUP STAGE BLOCK_DDL"
_BLOCK_COMMIT, _END = "BACKUP STAGE BLOCK_COMMIT", "BACKUP STAGE END"
_MOST_SECONDS = {_FLUSH: 300, _BLOCK_DDL: 300, _BLOCK_COMMIT: 15, _END: 2147483}
_NOT_TRANSACTIONAL = (
    "who wrote to tables that follow no transactions (MyISAM, Aria) had to wait: turn large ones into InnoDB"
)
_WAITED = {
    _FLUSH: _NOT_TRANSACTIONAL,
    _BLOCK_DDL: _NOT_TRANSACTIONAL,
    _BLOCK_COMMIT: "nothing could be committed: see whether the disk of the server, the Job's scratch or its processor "
    "are overloaded",
}
_SNAPSHOT_SECONDS = 5.0
_KINDS = "SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), t.ENGINE FROM information_schema.TABLES AS t " \
    "WHERE t.TABLE_SCHEMA NOT IN %s AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')"  # fmt: skip
_UNLOGGED = frozenset({"Aria", "MyISAM"})
_BINLOG = re.compile(r"(\S+)\t(\d+)(?:\t(\S*))?")


def back_up_physical(session: Session, facts: ServerFacts, plan: Plan, sink: Sink) -> Captured:
    """Copy the data directory of the server; whatever `connection.database` says, all of it."""
    run = Run(session, facts, plan, sink)
    run.say("prepare")
    with Spool(plan.scratch, plan.scratch_bytes) as spool, opened(session) as connection:
        environment = gather_environment(connection, run.dialect, facts, facts.schemas)
        instant = _Instant(connection, directory_of(facts), spool)
        try:
            told = _copy(run, instant)
        except WorldFault as fault:
            raise instant.told(fault) from fault
        at = instant.demand() - ((facts.replica.lag if facts.replica else None) or timedelta(0))
        mark = _mark(run, connection, told.get("binlog_info"))
        objects, left = _count(run, connection) if plan.fingerprints else ((), ())
    sink.put_plain(BASE_FILE, mark.document() if mark else b"{}\n")
    if mark is not None:
        position, log = place_in_log(session, facts, mark, at)
    else:
        position, log = backup_position(None, archived=False), {}
    return Captured(
        type=BackupType.FULL,
        method=Method.PHYSICAL,
        engine_version=facts.version,
        system_identifier=facts.system_identifier,
        position=position,
        snapshot_time=at,
        parent=None,
        base=None,
        chain_length=0,
        environment={**environment, **log, "accounts": True, "counted": plan.fingerprints},
        objects=objects,
        client_versions=dict(run.versions),
        notes=(*fingerprint_notes(plan), *left),
    )


@dataclass
class _Instant:
    """The moment that the copy shows, as a session of ours saw it: it is in a transaction of that moment afterwards."""

    connection: Connection[Any]
    data: Path
    spool: Spool

    def __post_init__(self) -> None:
        self._before = backup_trace(self.data)
        self._unsaid = Unsaid(self.connection, self.data)
        self._at: datetime | None = None
        self._why = f"{PROGRAM} ended without `{_END}`"
        self._stage: tuple[str, float] = "", 0.0

    def before(self, statement: str) -> tuple[str, ...]:
        """What is sent to the server instead of a statement of the program."""
        if _WAIT.fullmatch(statement):
            return (f"SET SESSION lock_wait_timeout={_WAIT_SECONDS}",)
        stage = statement.strip().upper()
        if stage not in _MOST_SECONDS:
            return (statement,)
        if stage == _BLOCK_COMMIT:
            self.spool.hold()  # first: the store may take long over what it is given just now
        if stage == _END:
            if self._at is None:
                try:
                    self._look()
                except (pymysql.MySQLError, OSError) as error:  # the server must not be kept waiting for it
                    self._why = f"its instant could not be read: {' '.join(map(str, error.args))}"
            self.spool.let_go()
        self._stage = stage, time.monotonic()
        most = _MOST_SECONDS[stage]
        limits = f"SET SESSION wait_timeout={most}, lock_wait_timeout={min(_WAIT_SECONDS, most)}"
        return limits, statement

    def told(self, fault: WorldFault) -> WorldFault:
        """Why the copy failed: where the server has let itself go, that."""
        stage, since = self._stage
        late = stage in _WAITED and time.monotonic() - since >= _MOST_SECONDS[stage]
        if not late or fault.reason == Reason.LOCK_TIMEOUT:
            return fault
        message = (
            f"the copy had not got beyond `{stage}` after {_MOST_SECONDS[stage]} s, so the server was let go and it is "
            f"not kept; meanwhile {_WAITED[stage]}; the next attempt starts anew"
        )
        return WorldFault(Reason.LOCK_TIMEOUT, message)

    def demand(self) -> datetime:
        """When it was. SafetyStop where the directory that was copied did not show this server's backup."""
        if self._at is None:
            raise WorldFault(Reason.DATABASE_ERROR, f"{self._why}; the next attempt starts anew")
        if self._trace == self._before:
            message = (
                f"while the server was in a backup, nothing of that was seen in {self.data}: it is not the data "
                "directory of this server, so what was copied of it is not kept"
            )
            raise SafetyStop(Reason.DATA_VOLUME_FOREIGN, message)
        self._unsaid.demand_none(self._unlogged)
        return self._at

    def _look(self) -> None:
        self._trace = backup_trace(self.data)
        self.connection._read_timeout = _SNAPSHOT_SECONDS
        with self.connection.cursor() as cursor:
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        (now,) = one(self.connection, "SELECT UTC_TIMESTAMP(6)")
        self._unsaid.look()
        self.connection._read_timeout = None
        self._at = now.replace(tzinfo=UTC)

    def _unlogged(self) -> list[str]:
        with guarded("listing tables"):
            found = rows(self.connection, _KINDS, (SYSTEM_SCHEMAS,))
        return sorted(str(name) for name, engine in found if engine in _UNLOGGED)


def _copy(run: Run, instant: _Instant) -> dict[str, str]:
    """The stream in the sink; what the program said in it of the backup."""
    program, run.versions[PROGRAM] = backup_program(run.dialect, run.facts.series)
    run.say("copy")
    check = CopyCheck(COPY)
    with (
        tempfile.TemporaryDirectory(prefix="bosun-", dir=run.plan.scratch, ignore_cleanup_errors=True) as home,
        Doors(run.session, instant.before) as doors,
    ):
        argv = [str(program), *_arguments(run, Path(home), doors.socket_path)]

        def pulse() -> None:
            run.pulse()
            doors.demand_open()

        writer = run.sink.open(COPY, compress=True, check=lambda: check)
        with BackupTool(bound(argv), env=environment_of(Path(home), run.dialect), cwd=Path(home), capture=True) as tool:
            while data := tool.read(_CHUNK, pulse):
                instant.spool.put(data, writer.write)
                pulse()  # the program itself notices only in the end that the server is gone
            tool.require_completed(f"copying the data directory with {PROGRAM}")
        instant.spool.finish(writer.write)
        writer.finish()
    if _FULL not in check.told["checkpoints"]:
        raise SafetyStop(Reason.FORMAT_CHECK_FAILED, f"{COPY} says {check.told['checkpoints']!r}, and not {_FULL}")
    return dict(check.told)


def _arguments(run: Run, home: Path, socket: Path) -> list[str]:
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    data = directory_of(run.facts)
    excluded = (f"--databases-exclude={LOST_AND_FOUND}",) if (data / LOST_AND_FOUND).exists() else ()
    return [
        "--no-defaults",
        "--backup",
        "--stream=mbstream",
        f"--parallel={threads}",
        f"--datadir={data}",
        f"--target-dir={home}",
        f"--tmpdir={home}",
        "--protocol=socket",
        f"--socket={socket}",
        f"--user={run.session.user}",
        *excluded,
        *COMMON,
    ]


def _mark(run: Run, connection: Connection[Any], said: str | None) -> Mark | None:
    """Where the binary log was at the instant, with the transactions before it as a logical backup names them."""
    found = _BINLOG.match(said or "")
    if not found or not run.facts.logs_all:
        return None
    with guarded("asking for the transactions before the backup"):
        (gtid,) = one(connection, str(run.dialect.gtid_at), (found[1], int(found[2])))
    return Mark(found[1], int(found[2]), gtid=str(gtid or ""))


def _count(run: Run, connection: Connection[Any]) -> tuple[tuple[ObjectCount, ...], tuple[str, ...]]:
    """Of the tables whose rows that transaction shows, the others follow none; and what could not be counted."""
    with guarded("listing tables"):
        kinds = {str(name): str(engine) for name, engine in rows(connection, _KINDS, (SYSTEM_SCHEMAS,))}
    tables = [one for one in list_tables(connection, run.facts.schemas) if kinds.get(one.full_name) == "InnoDB"]
    volatile = sorted(name for name, engine in kinds.items() if engine == "MEMORY")
    notes = (
        [f"{Reason.MEMORY_TABLES}: the rows of {', '.join(volatile[:3])} are in no file, and so not in the backup"]
        if volatile
        else []
    )
    try:
        return count_tables(run, connection, tables), tuple(notes)
    except WorldFault as fault:
        if fault.reason != Reason.SCHEMA_CHANGED:
            raise
        notes.append(f"{fault.reason}: no rows are compared with a restored copy: {fault.message}")
        return (), tuple(notes)
