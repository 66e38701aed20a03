"""A backup becomes a running copy: its RDB on disk, loaded whole, counted, then made a master."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from databosun.api.drill import PointKind
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.base import RecoveryPlan, Source
from databosun.engines.inflate import inflated
from databosun.engines.redis.faults import guarded
from databosun.engines.redis.full import ARTEFACT
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.copy import RunningCopy
from databosun.engines.redis.recovery.facts import Backup, demand_memory, read_backup
from databosun.engines.redis.recovery.private import FILE, PrivateServer
from databosun.engines.redis.recovery.programs import check_rdb, find_program

_SPARE_BYTES = 64 * 1024 * 1024
_DATA = "data"


@contextmanager
def recover_rdb(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backup = read_backup(plan.chain[-1])
    if plan.until.kind not in (PointKind.NONE, PointKind.IMMEDIATE):
        message = f"backup {backup.id} holds one instant only, and this release ships no log of Redis: ask for no point"
        raise UserFault(Reason.LOGICAL_HAS_NO_LOG, message)
    program = find_program(backup)
    demand_memory(backup)
    data = plan.place / _DATA
    seconds: dict[str, float] = {"replay": 0.0}
    before, began = source.waited, time.monotonic()
    _lay_out(backup, source, data, plan)
    seconds["fetch"] = source.waited - before
    seconds["restore"] = max(0.0, time.monotonic() - began - seconds["fetch"])
    server = PrivateServer(program, data)
    try:
        if plan.verify:
            began = time.monotonic()
            _verify(server, data / FILE, backup, plan)
            seconds["verify"] = time.monotonic() - began
        began = time.monotonic()
        server.start(max(backup.counts, default=0) + 1, plan.pulse)
        loaded = server.keyspace()
        server.promote()
        seconds["start"] = time.monotonic() - began
        yield RunningCopy(server, backup, loaded, seconds, _notes(backup, server), plan)
    finally:
        server.close()


def room_for(backup: Backup) -> int:
    """Bytes at the place: the file. What becomes of it is in memory."""
    return backup.logical_bytes + _SPARE_BYTES


def _lay_out(backup: Backup, source: Source, data: Path, plan: RecoveryPlan) -> None:
    with guarded(f"writing below {data}"):
        data.mkdir(parents=True, mode=0o700)
        with source.open(backup.id, ARTEFACT) as reader, (data / FILE).open("wb") as file:
            (data / FILE).chmod(0o600)
            for piece in inflated(reader, plan.pulse):
                file.write(piece)


def _verify(server: PrivateServer, file: Path, backup: Backup, plan: RecoveryPlan) -> None:
    """The server's own checker reads every object. SafetyStop(ArtefactCorrupt)."""
    code, said = check_rdb(server.program, file, server.folder, plan.pulse)
    if code:
        words = " | ".join(said.split("\n")[-6:]).strip()
        message = f"{server.program.label} finds {ARTEFACT} of backup {backup.id} damaged: {words}"
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)


def _notes(backup: Backup, server: PrivateServer) -> tuple[str, ...]:
    if server.program.product == backup.product:
        return ()
    return (f"loaded by {server.program.label}, which reads the RDB of {backup.label}",)
