"""A logical backup: pg_dump of each database in a snapshot that is counted and hashed beside it, and the globals."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from databosun.api.v1alpha1.backup import ObjectCount, Position
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.base import Captured, Plan, Sink
from databosun.engines.postgresql import scratch
from databosun.engines.postgresql.connect import Session
from databosun.engines.postgresql.dumpcheck import DumpCheck, GlobalsCheck
from databosun.engines.postgresql.dumpfolder import DumpFolder
from databosun.engines.postgresql.environment import gather_environment
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.fingerprint import Table, expected_lines, verify_script
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts
from databosun.engines.postgresql.snapshot import Counting, Instant, Snapshot
from databosun.engines.postgresql.tools import Tool, tool_conninfo, tool_environment, tool_of_major

GLOBALS = "globals.sql.zst"
JOBS = 2
VERIFY_SCRIPT, VERIFY_EXPECTED = "verify.sql", "verify.expected"
_ZSTD_SINCE = 16
_CHUNK = 256 * 1024
_LOOK_SECONDS = 0.5
_LOCK_WAIT_MILLISECONDS = 60_000
_DATA_ENTRY = re.compile(r"^([0-9]+); [0-9]+ [0-9]+ TABLE DATA ", re.MULTILINE)
# Share of the free scratch that a dump may fill before it is made to wait for storage.
_FILL = 0.8


@dataclass(frozen=True, slots=True)
class _Dumped:
    """One database in the sink."""

    instant: Instant
    objects: tuple[ObjectCount, ...]
    schema_hash: str


@dataclass(slots=True)
class _Run:
    """What all databases of one backup share."""

    session: Session
    facts: ServerFacts
    plan: Plan
    sink: Sink
    versions: dict[str, str] = field(default_factory=dict)
    stage: str = "prepare"

    def tool(self, name: str) -> str:
        program, self.versions[name] = tool_of_major(name, self.facts.major)
        return str(program)

    def say(self, stage: str) -> None:
        self.stage = stage
        self.sink.progress(stage)

    def pulse(self) -> None:
        # The sink raises here once the agent is to stop; waiting for a database is not seen by it otherwise.
        self.sink.progress(self.stage)
        if datetime.now(UTC) >= self.plan.deadline:
            message = f"the run's deadline {self.plan.deadline.isoformat()} has passed; raise spec.deadline"
            raise WorldFault(Reason.DEADLINE_EXCEEDED, message)


def artefact_names(databases: Iterable[str]) -> dict[str, str]:
    """Database -> folder in its tar, the artefact being `<folder>.tar`: plain letters, never the same twice."""
    names: dict[str, str] = {}
    for database in databases:
        base = "db-" + re.sub(r"[^A-Za-z0-9_-]", "_", database)[:40]
        name, number = base, 2
        while name.lower() in (taken.lower() for taken in names.values()):
            name, number = f"{base}-{number}", number + 1
        names[database] = name
    return names


def back_up_logical(session: Session, facts: ServerFacts, plan: Plan, sink: Sink) -> Captured:
    """Dump the target's database, or every connectable one that is no template."""
    run = _Run(session, facts, plan, sink)
    run.say("prepare")
    only = session.target.database.database
    folders = artefact_names([only] if only else [database.name for database in facts.dumpable()])
    if not folders:
        raise UserFault(
            Reason.NO_DATABASE, f"{session.endpoint} has no database that may be connected to and is no template"
        )
    environment = gather_environment(session, facts)
    for entry in environment["databases"]:
        entry["folder"] = folders.get(entry["name"])
        entry["counted"] = plan.fingerprints
    _dump_globals(run)
    dumped = [_dump_database(run, name, folder) for name, folder in folders.items()]
    first = min((one.instant for one in dumped), key=lambda instant: instant.at)
    return Captured(
        type=BackupType.FULL,
        method=Method.LOGICAL,
        engine_version=facts.version,
        system_identifier=facts.system_identifier,
        position=Position(lsn=first.lsn, timeline=first.timeline),
        snapshot_time=first.at,
        parent=None,
        base=None,
        chain_length=0,
        environment=environment,
        objects=tuple(found for one in dumped for found in one.objects),
        schema_hash=hashlib.sha256("".join(one.schema_hash for one in dumped).encode()).hexdigest(),
        client_versions=dict(run.versions),
        notes=_notes(plan, len(dumped)),
    )


def _notes(plan: Plan, databases: int) -> tuple[str, ...]:
    notes = []
    if plan.type is not BackupType.FULL:
        notes.append(
            f"{Reason.INCREMENTAL_UNSUPPORTED}: a logical backup cannot be {plan.type.value}; a Full was taken instead"
        )
    if not plan.fingerprints:
        notes.append(
            f"{Reason.FINGERPRINTS_OFF}: no rows were counted or hashed (fingerprints: false in the policy), so that a "
            "restored copy cannot be compared row for row"
        )
    if databases > 1:
        notes.append(
            f"{Reason.SNAPSHOT_PER_DATABASE}: each database is consistent in itself; the databases follow each other "
            "by the time a dump takes"
        )
    return tuple(notes)


def _dump_database(run: _Run, dbname: str, folder: str) -> _Dumped:
    run.say(f"dump {dbname}")
    work = _new_folder(run.plan.scratch)
    try:
        with (
            Snapshot(run.session, dbname) as snapshot,
            Counting(snapshot, dbname, rows=run.plan.fingerprints) as counting,
        ):
            _demand_room(run, dbname, snapshot)
            writer = run.sink.open(f"{folder}.tar", compress=False, check=lambda: DumpCheck(f"{folder}.tar"))
            limit = int(scratch.available(run.plan.scratch, run.plan.scratch_bytes) * _FILL)
            dump = DumpFolder(work / "out", folder, writer, limit=limit)
            with Tool(
                _dump_command(run, dbname, snapshot.name, work / "out"),
                env=tool_environment(run.session, work),
                cwd=work,
            ) as tool:
                dump.follow(tool, lambda: _pulse(run, counting))
            _demand_listed_files(run, work, dump)
            run.say(f"count {dbname}")
            while not counting.done:
                counting.wait(_LOOK_SECONDS)
                run.pulse()
            objects, digest = counting.result()
            dump.complete(_comparison(snapshot.tables, objects) if run.plan.fingerprints else {})
            writer.finish()
            return _Dumped(snapshot.instant, objects, digest)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _comparison(tables: Sequence[Table], objects: Sequence[ObjectCount]) -> dict[str, bytes]:
    """What RESTORE.md compares a copy with."""
    return {
        VERIFY_SCRIPT: verify_script(tables).encode(),
        VERIFY_EXPECTED: expected_lines(tables, objects).encode(),
    }


def _dump_command(run: _Run, dbname: str, snapshot: str, out: Path) -> list[str]:
    return [
        run.tool("pg_dump"),
        f"--dbname={tool_conninfo(run.session, dbname)}",
        f"--file={out}",
        "--format=directory",
        f"--jobs={JOBS}",
        "--compress=zstd:1" if run.facts.major >= _ZSTD_SINCE else "--compress=1",
        f"--snapshot={snapshot}",
        f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
        "--no-password",
        "--no-sync",
    ]


def _pulse(run: _Run, counting: Counting) -> None:
    run.pulse()
    fault = counting.failed()
    if fault:
        raise fault


def _demand_room(run: _Run, dbname: str, snapshot: Snapshot) -> None:
    """A file leaves scratch when its table is done, so the largest count; compressed rows take half their disk."""
    largest = sorted((table.bytes for table in snapshot.tables), reverse=True)[:JOBS]
    why = f"the dump of the {JOBS} largest tables of {dbname}"
    scratch.demand(run.plan.scratch, run.plan.scratch_bytes, sum(largest) // 2, why)


def _demand_listed_files(run: _Run, work: Path, dump: DumpFolder) -> None:
    """pg_restore reads the table of contents, and every table that it lists has its file."""
    listing = _output(run, [run.tool("pg_restore"), "--list", str(work / "out")], work)
    present = {name.split(".")[0] for name in (*dump.moved, *(path.name for path in (work / "out").iterdir()))}
    missing = [entry for entry in _DATA_ENTRY.findall(listing) if entry not in present]
    if missing:
        raise WorldFault(
            Reason.FORMAT_CHECK_FAILED,
            f"the dump's table of contents lists data that is in no file: entries {', '.join(missing[:5])}",
        )


def _output(run: _Run, argv: list[str], work: Path) -> str:
    parts: list[bytes] = []
    with Tool(argv, env=tool_environment(run.session, work), cwd=work, capture=True) as tool:
        _pump(tool, parts.append, run.pulse)
        tool.require_success(tool.name)
    return b"".join(parts).decode("utf-8", "replace")


def _dump_globals(run: _Run) -> None:
    """Roles without passwords, tablespaces, and settings of roles; the backup role need not read pg_authid."""
    run.say("dump globals")
    work = _new_folder(run.plan.scratch)
    argv = [
        run.tool("pg_dumpall"),
        f"--dbname={tool_conninfo(run.session, None)}",
        f"--database={_entry_database(run)}",
        "--globals-only",
        "--no-role-passwords",
        "--no-password",
    ]
    try:
        writer = run.sink.open(GLOBALS, compress=True, check=GlobalsCheck)
        with Tool(argv, env=tool_environment(run.session, work), cwd=work, capture=True) as tool:
            _pump(tool, writer.write, run.pulse)
            tool.require_success("pg_dumpall --globals-only")
        writer.finish()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _entry_database(run: _Run) -> str:
    only = run.session.target.database.database
    names = [database.name for database in run.facts.dumpable()]
    return only or ("postgres" if "postgres" in names else names[0])


def _pump(tool: Tool, write: Callable[[bytes], object], pulse: Callable[[], None]) -> None:
    """Everything that the program prints."""
    while data := tool.read(_CHUNK, pulse):
        write(data)


def _new_folder(parent: Path) -> Path:
    with guarded("writing to scratch"):
        return Path(tempfile.mkdtemp(prefix="dump-", dir=parent))
