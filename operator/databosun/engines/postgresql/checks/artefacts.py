"""Artefacts as they are, without a server: whole archives that hold what the server's own manifest names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import Method
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.base import StreamCheck
from databosun.engines.postgresql.dumpcheck import DumpCheck, GlobalsCheck
from databosun.engines.postgresql.filemanifest import demand_covered, demand_whole
from databosun.engines.postgresql.logical import GLOBALS
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.recovery.facts import Backup
from databosun.engines.postgresql.recovery.place import MANIFEST
from databosun.engines.postgresql.recovery.unpack import inflate
from databosun.engines.postgresql.tarcheck import TarCheck
from databosun.engines.recovery import ArtefactReader, Source

_DEFAULT_SEGMENT = 16 * 1024 * 1024


def inspect_artefacts(backups: Sequence[Backup], source: Source, pulse: Callable[[], None]) -> str:
    """SafetyStop(ArtefactCorrupt) where one is not what it should be. Says how much was read."""
    total = 0
    for backup in backups:
        try:
            total += _inspect(backup, source, pulse)
        except WorldFault as fault:
            if fault.reason != Reason.FORMAT_CHECK_FAILED:
                raise
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"backup {backup.id}: {fault.message}") from fault
    count = sum(len(backup.artefacts) for backup in backups)
    return f"{count} artefacts of {len(backups)} backups, {humanize_bytes(total)}"


def _inspect(backup: Backup, source: Source, pulse: Callable[[], None]) -> int:
    if backup.method is Method.LOGICAL:
        return sum(_inspect_dump(backup, name, source, pulse) for name in backup.artefacts)
    sizes: dict[str, dict[str, int]] = {}
    total = 0
    for name in backup.artefacts:
        if name == MANIFEST:
            continue
        check = TarCheck(name, compressed=True)
        try:
            with source.open(backup.id, name) as reader:
                _feed(reader, check, pulse)
        finally:
            check.stop()
        sizes[name.split(".", 1)[0]] = check.sizes
        total += check.logical_bytes
    manifest = source.read_plain(backup.id, MANIFEST)
    demand_whole(manifest)
    segment = int(backup.settings.get("wal_segment_size") or _DEFAULT_SEGMENT)
    demand_covered(manifest, sizes, segment_bytes=segment)
    return total


def _inspect_dump(backup: Backup, name: str, source: Source, pulse: Callable[[], None]) -> int:
    with source.open(backup.id, name) as reader:
        if name == GLOBALS:
            check = GlobalsCheck()
            text = inflate(reader)
            check.feed(memoryview(text))
            check.close()
            return len(text)
        return _feed(reader, DumpCheck(name), pulse)


def _feed(reader: ArtefactReader, check: StreamCheck, pulse: Callable[[], None]) -> int:
    total = 0
    while data := reader.read():
        check.feed(memoryview(data))
        total += len(data)
        pulse()
    check.close()
    return total
