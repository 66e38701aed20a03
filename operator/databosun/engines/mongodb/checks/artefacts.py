"""Artefacts as they are, without a server: whole documents, the counts of the manifest, an oplog without a hole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bson.timestamp import Timestamp

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.base import StreamCheck
from databosun.engines.inflate import inflated
from databosun.engines.mongodb.bsonwalk import BsonWalk, OplogWalk
from databosun.engines.mongodb.namespaces import METADATA, Described, artefact_of
from databosun.engines.mongodb.positions import BASE_FILE, OPLOG
from databosun.engines.mongodb.recovery.facts import Backup
from databosun.engines.mongodb.recovery.load import read_described
from databosun.engines.recovery import Source

Pulse = Callable[[], None]


def inspect_artefacts(backups: Sequence[Backup], source: Source, pulse: Pulse) -> str:
    """SafetyStop(ArtefactCorrupt, ArtefactMissing) where one is not what it should be. Says how much was read."""
    total = _base(backups[0], source, pulse)
    end: Timestamp | None = None
    for backup in backups:
        if BASE_FILE in backup.artefacts:
            total += len(source.read_plain(backup.id, BASE_FILE))
        if backup.begin is not None:
            total += _oplog(backup, end, source, pulse)
            end = backup.end
    count = sum(len(backup.artefacts) for backup in backups)
    return f"{count} artefacts of {len(backups)} backups, {humanize_bytes(total)}"


def _base(base: Backup, source: Source, pulse: Pulse) -> int:
    """Every collection that is described has its documents, as many as were counted."""
    if METADATA not in base.artefacts:
        raise SafetyStop(Reason.ARTEFACT_MISSING, f"backup {base.id} has no {METADATA}")
    with source.open(base.id, METADATA) as reader:
        described = read_described(reader, pulse)
    with_data = [one for one in described if one.collection.has_data]
    unknown = sorted(set(base.data) - {artefact_of(one.collection) for one in with_data})
    if unknown:
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"{METADATA} of backup {base.id} does not describe {unknown[0]}")
    return sum(_documents(base, one, source, pulse) for one in with_data)


def _documents(base: Backup, one: Described, source: Source, pulse: Pulse) -> int:
    name = artefact_of(one.collection)
    if name not in base.artefacts:
        raise SafetyStop(Reason.ARTEFACT_MISSING, f"backup {base.id} has no {name}")
    known = base.objects.get(f"{one.collection.database}.{one.collection.data_name}")
    check = BsonWalk(name, hashes=known is not None and known[1] is not None)
    size = _walk(base, name, check, source, pulse)
    if known is not None and known != (check.count, check.fingerprint):
        message = (
            f"{name} of backup {base.id} holds {check.count} documents ({check.fingerprint}), but its manifest says "
            f"{known[0]} ({known[1]})"
        )
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)
    return size


def _oplog(backup: Backup, end: Timestamp | None, source: Source, pulse: Pulse) -> int:
    """From where the backup before it ends, to where its manifest says."""
    if OPLOG not in backup.artefacts:
        raise SafetyStop(Reason.ARTEFACT_MISSING, f"backup {backup.id} has no {OPLOG}")
    check = OplogWalk(OPLOG, end)
    size = _walk(backup, OPLOG, check, source, pulse)
    if check.last != backup.end:
        message = f"{OPLOG} of backup {backup.id} ends at {check.last}, but its manifest says {backup.end}"
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)
    return size


def _walk(backup: Backup, name: str, check: StreamCheck, source: Source, pulse: Pulse) -> int:
    try:
        with source.open(backup.id, name) as reader:
            for piece in inflated(reader, pulse):
                check.feed(piece)
            return check.close() or 0
    except WorldFault as fault:
        if fault.reason != Reason.FORMAT_CHECK_FAILED:
            raise
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, f"backup {backup.id}: {fault.message}") from fault
