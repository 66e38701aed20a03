"""A backup becomes a running copy: its RDB on disk, loaded whole, counted, then made a master."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backup import Position
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.filelog import TIMELINE
from databosun.engines.inflate import inflated
from databosun.engines.recovery import Reached, RecoveryPlan, Source
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.copy import Loaded, RunningCopy
from databosun.engines.redis.recovery.facts import Backup, demand_memory, read_backup, relative_times, same_format
from databosun.engines.redis.recovery.handover import appended, lay_out_commands
from databosun.engines.redis.recovery.log import write_commands
from databosun.engines.redis.recovery.private import APPEND_FOLDER, APPEND_NAME, FILE, PrivateServer
from databosun.engines.redis.recovery.programs import check_rdb, find_program
from databosun.engines.replaying import demand_log

_SPARE_BYTES = 64 * 1024 * 1024
_DATA = "data"
_BY_LOG = (PointKind.LATEST, PointKind.TIME, PointKind.LSN)


@contextmanager
def recover_rdb(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backup = read_backup(plan.chain[-1])
    replay = plan.until.kind in _BY_LOG
    if not replay and plan.until.kind not in (PointKind.NONE, PointKind.IMMEDIATE):
        message = f"Redis is restored to a time, a position or the newest, not to {plan.until.kind}"
        raise UserFault(Reason.POINT_NOT_COVERED, message)
    if replay:
        demand_log(plan, backup.id, positioned=backup.offset is not None)
    program = find_program(backup, replay=replay)
    demand_memory(backup)
    data = plan.place / _DATA
    seconds: dict[str, float] = {"replay": 0.0}
    before, began = source.waited, time.monotonic()
    lay_out(backup, source, data, plan)
    seconds["fetch"] = source.waited - before
    seconds["restore"] = max(0.0, time.monotonic() - began - seconds["fetch"])
    reached = Reached(Position(offset=backup.offset, lsn=backup.lsn, timeline=TIMELINE if backup.lsn else None))
    server = PrivateServer(program, data, replay=replay)
    try:
        if plan.verify:
            began = time.monotonic()
            verify(server, data / FILE, backup, plan)
            seconds["verify"] = time.monotonic() - began
        if replay:
            began = time.monotonic()
            reached = _lay_out_log(backup, data, plan)
            seconds["replay"] = time.monotonic() - began
        began = time.monotonic()
        server.start(max(backup.counts, default=0) + 1, plan.pulse)
        loaded, refused = server.keyspace(), server.refused() if replay else ""
        if replay:
            server.keep()
        server.promote()
        seconds["start"] = time.monotonic() - began
        yield RunningCopy(server, backup, Loaded(loaded, reached, refused), seconds, _notes(backup, server), plan)
    finally:
        server.close()


def room_for(backup: Backup) -> int:
    """Bytes at the place: the file. What becomes of it is in memory."""
    return backup.logical_bytes + _SPARE_BYTES


def lay_out(backup: Backup, source: Source, data: Path, plan: RecoveryPlan) -> None:
    """The RDB as a file in a folder that is not there yet."""
    with guarded(f"writing below {data}"):
        data.mkdir(parents=True, mode=0o700)
        with source.open(backup.id, backup.artefact) as reader, (data / FILE).open("wb") as file:
            (data / FILE).chmod(0o600)
            for piece in inflated(reader, plan.pulse):
                file.write(piece)


def _lay_out_log(backup: Backup, data: Path, plan: RecoveryPlan) -> Reached:
    """The RDB and the commands behind it as the two parts of one append-only file."""
    with guarded(f"writing below {data}"):
        lay_out_commands(data, b"")
    return write_commands(plan, backup, data / APPEND_FOLDER / f"{APPEND_NAME}.1.incr.aof")


def verify(server: PrivateServer, file: Path, backup: Backup, plan: RecoveryPlan) -> None:
    """The server's own checker reads every object. SafetyStop(ArtefactCorrupt)."""
    code, said = check_rdb(server.program, file, server.folder, plan.pulse)
    if code:
        words = " | ".join(said.split("\n")[-6:]).strip()
        message = f"{server.program.label} finds {backup.artefact} of backup {backup.id} damaged: {words}"
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)


def _notes(backup: Backup, server: PrivateServer) -> tuple[str, ...]:
    found = []
    if server.program.product != backup.product:
        found.append(f"loaded by {server.program.label}, which reads the RDB of {backup.label}")
    if server.replay and not same_format(backup, server.data / FILE):
        found.append(appended(server.program, backup))
    if server.replay and relative_times(backup):
        found.append(
            f"{backup.label} sends times to live as they were given, without saying since when: keys that were set "
            "after the backup live on for all of theirs"
        )
    return tuple(found)
