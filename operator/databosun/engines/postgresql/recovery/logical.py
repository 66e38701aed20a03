"""A dump becomes a running copy: a new server, roles and tablespaces, then each database by pg_restore in parallel."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backup import Position
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault
from databosun.engines.postgresql.faults import guarded
from databosun.engines.postgresql.fingerprint import quote
from databosun.engines.postgresql.logical import GLOBALS
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.copy import RunningCopy
from databosun.engines.postgresql.recovery.facts import Backup, demand_restorable, read_backup
from databosun.engines.postgresql.recovery.place import Place
from databosun.engines.postgresql.recovery.private import PrivateServer
from databosun.engines.postgresql.recovery.programs import environment, run_tool
from databosun.engines.postgresql.recovery.unpack import inflate, unpack
from databosun.engines.recovery import Reached, RecoveryPlan, Source

_SUPERUSER = "postgres"
_MOST_JOBS = 8
_MAINTENANCE = "postgres"
# A dump is restored into indexes and rows; how large they get is only known afterwards. Four times the compressed dump
# is what the least compressible tables take.
_GROWTH = 4


@contextmanager
def recover_logical(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backup, place = read_backup(plan.chain[-1]), Place(plan.place)
    if plan.until.kind is not PointKind.NONE:
        message = f"backup {backup.id} is a dump, which holds one instant only; {plan.until.kind} needs a physical one"
        raise UserFault(Reason.LOGICAL_HAS_NO_LOG, message)
    demand_restorable(backup)
    superuser = backup.superuser or _SUPERUSER
    seconds: dict[str, float] = {}
    before, began = source.waited, time.monotonic()
    dumps = place.root / "dump"
    _unpack(backup, source, dumps, plan)
    server = PrivateServer(place.data, backup.major, superuser)
    try:
        _new_server(server, backup, place, plan)
        started = time.monotonic()
        _restore(server, backup, place, dumps, plan)
        server.connect("template1").close()
        seconds["fetch"] = source.waited - before
        seconds["restore"] = time.monotonic() - began - seconds["fetch"]
        seconds["start"], seconds["replay"] = 0.0, 0.0
        shutil.rmtree(dumps)
        reached = Reached(Position(lsn=backup.end_lsn, timeline=backup.timeline))
        notes = (f"the server was started {started - began:.1f} s into the restore, before its data was there",)
        yield RunningCopy(server, backup, place, reached, seconds, notes, plan)
    finally:
        server.close()


def room_for_dump(backup: Backup) -> int:
    """Bytes at the place: the dump, and a guess at what becomes of it."""
    return backup.logical_bytes * (1 + _GROWTH) + 256 * 1024 * 1024


def _unpack(backup: Backup, source: Source, dumps: Path, plan: RecoveryPlan) -> None:
    with guarded(f"unpacking below {dumps}"):
        dumps.mkdir(parents=True, mode=0o700)
        for name in backup.artefacts:
            with source.open(backup.id, name) as reader:
                if name == GLOBALS:
                    (dumps / "globals.sql").write_bytes(inflate(reader))
                else:
                    unpack(reader, dumps, plan.pulse)


def _new_server(server: PrivateServer, backup: Backup, place: Place, plan: RecoveryPlan) -> None:
    arguments = [f"--pgdata={place.data}", f"--username={server.superuser}", "--auth=trust", "--encoding=UTF8"]
    arguments += ["--locale=C", "--no-sync", "--no-instructions"]
    env = environment(server.folder)
    run_tool("initdb", backup.major, arguments, plan.pulse, doing="making a new server", cwd=server.folder, env=env)
    (place.data / "postgresql.auto.conf").unlink(missing_ok=True)
    server.start({}, plan.pulse, more={"maintenance_work_mem": "256MB", "max_connections": "40"})


def _restore(server: PrivateServer, backup: Backup, place: Place, dumps: Path, plan: RecoveryPlan) -> None:
    """SafetyStop(RecoveryFailed) with the tool's own words: the dump does not restore."""
    try:
        globals_sql = dumps / "globals.sql"
        globals_sql.write_text(_own_globals(globals_sql.read_text(), server.superuser, backup, place))
        psql = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={globals_sql}", "--dbname=template1"]
        _run(server, "psql", psql, backup, plan, doing="restoring roles and tablespaces")
        for database in _dumped(backup):
            if database["name"] == _MAINTENANCE:
                # It exists in every new server; made anew so that its own properties come from the backup as well.
                _run(server, "dropdb", ["--maintenance-db=template1", _MAINTENANCE], backup, plan, doing="dropdb")
            jobs = min(_MOST_JOBS, len(os.sched_getaffinity(0)))
            arguments = ["--exit-on-error", f"--jobs={jobs}", "--create", "--dbname=template1", "--no-password"]
            folder = str(dumps / str(database["folder"]))
            doing = f"restoring database {database['name']}"
            _run(server, "pg_restore", [*arguments, folder], backup, plan, doing=doing)
    except DatabosunError as fault:
        if fault.reason in {Reason.SCRATCH_TOO_SMALL, Reason.TOOL_MISSING, Reason.WRONG_TOOL_VERSION, "Interrupted"}:
            raise
        raise SafetyStop(Reason.RECOVERY_FAILED, fault.message) from fault


def _run(
    server: PrivateServer, name: str, arguments: list[str], backup: Backup, plan: RecoveryPlan, *, doing: str
) -> None:
    env = server.tool_environment
    run_tool(name, backup.major, arguments, plan.pulse, doing=doing, cwd=server.folder, env=env)


def _dumped(backup: Backup) -> list[Mapping[str, Any]]:
    return [database for database in backup.databases if database.get("folder")]


def _own_globals(text: str, superuser: str, backup: Backup, place: Place) -> str:
    """Without the role that every server has, and with tablespaces below the place, wherever they were."""
    made = f"CREATE ROLE {quote(superuser)};"
    lines = [line for line in text.splitlines(keepends=True) if line.rstrip("\n") != made]
    out = "".join(lines)
    for oid, location in backup.tablespace_paths.items():
        folder = place.tablespaces / str(oid)
        folder.mkdir(parents=True, mode=0o700)
        was = "LOCATION '" + location.replace("'", "''") + "'"
        out = out.replace(was, "LOCATION '" + str(folder).replace("'", "''") + "'")
    return out
