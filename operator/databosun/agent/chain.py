"""The backups below an incremental: fetched, compared with the digests that were recorded, never trusted."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import ParentBackup
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.base import Parent
from databosun.storage.layout import BackupFolder
from databosun.storage.manifest import (
    MAX_MANIFEST_BYTES,
    Artefact,
    Manifest,
    demand_digest,
    read_manifest,
)
from databosun.storage.port import ObjectMissing

MAX_ENGINE_MANIFEST_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """One backup of a chain."""

    folder: BackupFolder
    manifest: Manifest
    sha256: str


def fetch_chain(ctx: Context, database: str, parent: ParentBackup) -> tuple[Member, ...]:
    """The chain from its base to the parent, base first.

    The parent's digest comes from Backup.status; each manifest holds the digest of its own parent, so one trusted
    digest vouches for all of the chain. SafetyStop where one differs, UserFault(ParentMissing) where one is gone.
    """
    members: list[Member] = []
    below: tuple[str, str] | None = (parent.id, parent.manifest_sha256)
    while below:
        if below[0] in {member.manifest.id for member in members}:
            message = f"the chain of {parent.id} comes back to {below[0]}; its manifests were forged"
            raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
        member = _fetch(ctx, database, *below)
        members.insert(0, member)
        below = _parent_of(member.manifest)
    return tuple(members)


def engine_parent(ctx: Context, members: tuple[Member, ...]) -> Parent:
    """What the engine must know of the parent, its own file manifest included, checked against its digest."""
    member = members[-1]
    manifest = member.manifest
    artefact = next((one for one in manifest.artefacts if one.role == "EngineManifest"), None)
    if artefact is None:
        message = f"backup {manifest.id} carries no file manifest of its engine; an incremental cannot stand on it"
        raise UserFault(AgentReason.PARENT_MISSING, message)
    return Parent(
        id=manifest.id,
        base=manifest.base or manifest.id,
        chain_length=manifest.chain_length,
        engine_manifest=_engine_manifest(ctx, member, artefact),
        position=manifest.position,
        system_identifier=manifest.database.system_identifier,
        engine_version=manifest.database.engine_version,
    )


def _engine_manifest(ctx: Context, member: Member, artefact: Artefact) -> bytes:
    keys = [member.folder.stored(member.manifest.attempt, part.name) for part in artefact.parts]
    try:
        data = b"".join(ctx.store.get(key, limit=MAX_ENGINE_MANIFEST_BYTES) for key in keys)
    except ObjectMissing as error:
        raise _gone(ctx, member.manifest.id, error) from error
    demand_digest(data, artefact.sha256, f"{keys[0]} in {ctx.store.describe()}")
    return data


def _fetch(ctx: Context, database: str, backup_id: str, sha256: str) -> Member:
    folder = ctx.layout.backup(database, backup_id)
    where = f"{folder.manifest} in {ctx.store.describe()}"
    try:
        data = ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES)
    except ObjectMissing as error:
        raise _gone(ctx, backup_id, error) from error
    demand_digest(data, sha256, where)
    manifest = read_manifest(data, where)
    if manifest.id != backup_id or manifest.database.name != database:
        message = f"{where} is the manifest of {manifest.database.name}/{manifest.id}; it was moved there"
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    return Member(folder, manifest, sha256)


def _parent_of(manifest: Manifest) -> tuple[str, str] | None:
    if manifest.parent is None:
        return None
    if manifest.parent_manifest_sha256 is None:
        message = (
            f"the manifest of {manifest.id} names parent {manifest.parent} without its digest; it cannot be trusted"
        )
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    return manifest.parent, manifest.parent_manifest_sha256


def _gone(ctx: Context, backup_id: str, error: ObjectMissing) -> UserFault:
    message = (
        f"backup {backup_id}, which this one was to stand on, is not whole in {ctx.store.describe()}: {error.message}"
    )
    return UserFault(AgentReason.PARENT_MISSING, message)
