"""Which backup a new one stands on, and what it is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from databosun.api.backuptasks import ParentBackup
from databosun.api.v1alpha1.backuppolicy import BackupType, Method

DEFAULT_MAX_CHAIN = 8


@dataclass(frozen=True, slots=True)
class Done:
    """A successful backup of the same database and policy."""

    id: str
    type: BackupType
    method: Method
    completed: datetime
    attempt: int
    checksum: str
    base: str
    chain_length: int
    system_identifier: str | None
    storage_uid: str
    logical_bytes: int


@dataclass(frozen=True, slots=True)
class Footing:
    """What a backup of the wanted type will really be: its parent, or a full with the reason why."""

    type: BackupType
    parent: ParentBackup | None = None
    note: str | None = None


def choose_parent(
    wanted: BackupType,
    methods: Collection[Method],
    done: Iterable[Done],
    storage_uid: str,
    max_chain: int = DEFAULT_MAX_CHAIN,
) -> Footing:
    """The parent of an incremental (the newest backup, or its full once the chain is long) or differential (a full).

    Only backups of the same storage count, and of the methods that incrementals of this engine stand on. Without a
    full, a full is taken and said.
    """
    if wanted is BackupType.FULL:
        return Footing(BackupType.FULL)
    if not methods:
        note = "IncrementalUnsupported: this release takes no incremental backups of this engine, so a Full is taken"
        return Footing(BackupType.FULL, note=note)
    fit = sorted(
        (one for one in done if one.method in methods and one.storage_uid == storage_uid),
        key=lambda one: (one.completed, one.id),
    )
    fulls = {one.id: one for one in fit if one.type is BackupType.FULL}
    newest = fit[-1] if fit else None
    base = fulls.get(newest.base) if newest is not None else None
    if newest is None or base is None:
        known = " or ".join(sorted(methods)).lower()
        note = f"NoParent: no {known} full backup to take an {wanted} against, so a Full is taken"
        return Footing(BackupType.FULL, note=note.replace("an Differential", "a Differential"))
    if wanted is BackupType.DIFFERENTIAL:
        return Footing(wanted, _as_parent(base))
    if newest.chain_length + 1 > max_chain:
        note = (
            f"ChainFull: the chain on {base.id} has {newest.chain_length} links of at most {max_chain}, "
            "so this one stands on the full"
        )
        return Footing(wanted, _as_parent(base), note)
    return Footing(wanted, _as_parent(newest))


def previous_bytes(wanted: BackupType, method: Method, done: Iterable[Done]) -> int | None:
    """Logical size of the newest backup of the same type and method (any method for Auto)."""
    alike = [one for one in done if one.type is wanted and method in (Method.AUTO, one.method)]
    return max(alike, key=lambda one: (one.completed, one.id)).logical_bytes if alike else None


def _as_parent(one: Done) -> ParentBackup:
    return ParentBackup(
        id=one.id, attempt=one.attempt, manifest_sha256=one.checksum, chain_length=one.chain_length, base=one.base
    )
