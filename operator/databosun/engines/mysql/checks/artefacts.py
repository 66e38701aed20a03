"""Artefacts as they are, without a server: whole dumps and whole pieces of the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.base import StreamCheck
from databosun.engines.inflate import inflated
from databosun.engines.mysql.accounts import ENDING
from databosun.engines.mysql.binlogfile import BinlogWalk
from databosun.engines.mysql.dumpcheck import DumpCheck, ScriptCheck
from databosun.engines.mysql.logical import DUMP, USERS
from databosun.engines.mysql.physical.stream import CopyCheck
from databosun.engines.mysql.physical.take import COPY
from databosun.engines.mysql.positions import BASE_FILE, PIECES
from databosun.engines.mysql.recovery.facts import Backup
from databosun.engines.recovery import Source


def inspect_artefacts(backups: Sequence[Backup], source: Source, pulse: Callable[[], None]) -> str:
    """SafetyStop(ArtefactCorrupt) where one is not what it should be. Says how much was read."""
    total = 0
    for backup in backups:
        try:
            for name in _expected(backup):
                total += _inspect(backup, name, source, pulse)
        except WorldFault as fault:
            if fault.reason != Reason.FORMAT_CHECK_FAILED:
                raise
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"backup {backup.id}: {fault.message}") from fault
    count = sum(len(backup.artefacts) for backup in backups)
    return f"{count} artefacts of {len(backups)} backups, {humanize_bytes(total)}"


def _expected(backup: Backup) -> tuple[str, ...]:
    """All of them; SafetyStop where the one that matters is not there."""
    needed = COPY if backup.method is Method.PHYSICAL else DUMP
    if backup.type is BackupType.FULL and needed not in backup.artefacts:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"backup {backup.id} has no {needed}")
    return backup.artefacts


def _inspect(backup: Backup, name: str, source: Source, pulse: Callable[[], None]) -> int:
    if name == BASE_FILE:
        return len(source.read_plain(backup.id, name))
    check = _check_of(name)
    total = 0
    with source.open(backup.id, name) as reader:
        for data in inflated(reader):
            if check:
                check.feed(memoryview(data))
            total += len(data)
            pulse()
        if check:
            check.close()
    return total


def _check_of(name: str) -> StreamCheck | None:
    if name == DUMP:
        return DumpCheck(name)
    if name == COPY:
        return CopyCheck(name)
    if name == USERS:
        return ScriptCheck(name, ENDING.encode())
    return BinlogWalk(name) if name.startswith(PIECES) else None
