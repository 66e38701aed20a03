"""What several tasks do."""

from __future__ import annotations

import json
from dataclasses import dataclass

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.domain.errors import SafetyStop
from databosun.domain.sealing import digest_of
from databosun.storage.layout import BackupFolder
from databosun.storage.manifest import MAX_MANIFEST_BYTES, Manifest, demand_signature, read_manifest
from databosun.storage.port import ObjectMissing


@dataclass(frozen=True, slots=True)
class DurableBackup:
    """A backup that is in the store, manifest and all."""

    folder: BackupFolder
    manifest: Manifest
    sha256: str
    where: str


def read_durable(ctx: Context, database: str, backup_id: str) -> DurableBackup | None:
    """The backup of that id, if its manifest is there. SafetyStop where its signature is wrong or it is of another."""
    folder = ctx.layout.backup(database, backup_id)
    where = f"{folder.manifest} in {ctx.store.describe()}"
    try:
        data = ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES)
    except ObjectMissing:
        return None
    if ctx.public_key is not None:
        demand_signature(data, ctx.public_key, where)
    manifest = read_manifest(data, where)
    if (manifest.database.name, manifest.id) != (database, backup_id):
        message = f"{where} is the manifest of {manifest.database.name}/{manifest.id}; somebody has moved it there"
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    return DurableBackup(folder, manifest, digest_of(data), where)


def put_hold(ctx: Context, folder: BackupFolder, reason: str) -> None:
    """Write `hold.json`: what the delete task obeys, whoever asks it."""
    hold = {"reason": ctx.log.redactor.document(reason), "since": ctx.clock().isoformat()}
    ctx.store.put(folder.hold, (json.dumps(hold, sort_keys=True) + "\n").encode())


def read_hold(ctx: Context, folder: BackupFolder) -> str | None:
    """The reason in `hold.json`; empty where that cannot be read (a hold is a hold), None where there is none."""
    try:
        hold = json.loads(ctx.store.get(folder.hold, limit=MAX_MANIFEST_BYTES))
    except ObjectMissing:
        return None
    except ValueError:
        return ""
    return str(hold.get("reason") or "") if isinstance(hold, dict) else ""
