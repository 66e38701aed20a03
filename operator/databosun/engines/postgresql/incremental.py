"""May this backup be an incremental? Says no with a reason, and a full is taken instead."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.engines.base import Parent
from databosun.engines.postgresql.reasons import Reason
from databosun.engines.postgresql.server import ServerFacts

FIRST_MAJOR = 17
LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Chain:
    """What to take: on top of `parent`, or a full (None) with the note that says why."""

    parent: Parent | None
    note: str | None = None


def decide_chain(wanted: BackupType, parent: Parent | None, facts: ServerFacts, *, timeline: int) -> Chain:
    """Whether `parent` can carry this backup. The operator names the right parent: the chain's newest member for an
    Incremental, its full for a Differential. `timeline`: where the server stands now."""
    if wanted is BackupType.FULL:
        return Chain(None)
    said = _objection(wanted, parent, facts, timeline)
    return Chain(None, f"{said}; a Full was taken instead") if said else Chain(parent)


def _objection(wanted: BackupType, parent: Parent | None, facts: ServerFacts, timeline: int) -> str | None:
    unsupported = f"{Reason.INCREMENTAL_UNSUPPORTED}: "
    if facts.major < FIRST_MAJOR:
        return (
            f"{unsupported}PostgreSQL {facts.major} has no incremental backups, PostgreSQL {FIRST_MAJOR} was the first"
        )
    if facts.settings.get("summarize_wal") != "on":
        return f"{unsupported}summarize_wal is off; run `ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();`"
    if parent is None:
        return f"{unsupported}there is no backup that an {wanted.value} could stand on"
    if not parent.engine_manifest:
        return f"{unsupported}the parent {parent.id} has no backup_manifest"
    if parent.system_identifier != facts.system_identifier:
        return (
            f"{unsupported}{parent.id} is of system {parent.system_identifier}, this server is "
            f"{facts.system_identifier}"
        )
    if parent.engine_version.split(".")[0] != str(facts.major):
        return f"{unsupported}{parent.id} is of PostgreSQL {parent.engine_version}, this server is {facts.version}"
    if parent.position.timeline != timeline:
        return f"{unsupported}the timeline is {timeline}, {parent.id} is of timeline {parent.position.timeline}"
    if parent.chain_length >= LONGEST_CHAIN:
        return f"{unsupported}{parent.id} ends a chain of {parent.chain_length}, and {LONGEST_CHAIN} is the limit"
    return None
