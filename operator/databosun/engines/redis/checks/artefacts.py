"""The artefact as it is, without a server: a whole RDB that holds the keys which the manifest names."""

from __future__ import annotations

from collections.abc import Callable

from databosun.api.quantities import humanize_bytes
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.engines.inflate import inflated
from databosun.engines.recovery import Source
from databosun.engines.redis.cluster import range_text
from databosun.engines.redis.rdb import RdbCheck
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.recovery.facts import Backup


def inspect_artefacts(backup: Backup, source: Source, pulse: Callable[[], None]) -> str:
    """SafetyStop(ArtefactCorrupt) where it is not what it should be. Says how much was read."""
    check = RdbCheck(f"{backup.artefact} of backup {backup.id}", names=False, slots=backup.slots)
    try:
        with source.open(backup.id, backup.artefact) as reader:
            for piece in inflated(reader, pulse):
                check.feed(piece)
        size = check.close() or 0
    except WorldFault as fault:
        if fault.reason != Reason.FORMAT_CHECK_FAILED:
            raise
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, fault.message) from fault
    found = {number: (one.keys, one.expires) for number, one in check.facts.databases.items()}
    if found != backup.counts:
        message = f"{backup.artefact} of backup {backup.id} holds {found}, but its manifest says {backup.counts}"
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)
    if check.facts.strays != backup.strays:
        message = (
            f"{backup.artefact} of backup {backup.id} holds {check.facts.strays} keys outside of slots "
            f"{range_text(backup.slots)}, but its manifest says {backup.strays}"
        )
        raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)
    keys = sum(count for count, _ in found.values())
    return f"{keys} keys in {len(found)} databases, {humanize_bytes(size)}"
