"""The backups that a drill or a restore may read, and what reading one takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.proving import ChosenBackup
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenBackup, SeenDatabase, SeenStorage
from databosun.domain.conditions import find, is_true
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, LABEL_POLICY_UID, LABEL_STORAGE_UID
from databosun.domain.run import Blocked, Doomed
from databosun.domain.selection import Candidate
from databosun.kube.resources import BACKUP_STORAGES, BACKUPS
from databosun.runtime.queue import Key

Known = Mapping[str, Candidate]


async def candidates_of(context: Context, namespace: str, database: SeenDatabase | None, name: str) -> Known:
    """The good backups of a database, by name; of one whose Database is gone, those that bear its name.

    So also where its server was never seen since the Database was created, as after the loss of a cluster: nothing then
    says that they are of another one, and reading them harms nobody.
    """
    selector = f"{LABEL_FINISHED}=Succeeded"
    known = database is not None and database.status.system_identifier is not None
    if database is not None and known:
        selector += f",{LABEL_DATABASE_UID}={database.meta.uid}"
    found = {}
    async for body in context.kube.list(BACKUPS, namespace, label_selector=selector):
        one = candidate(context, read.backup(body))
        if one is not None and (known or one.database == name):
            found[one.name] = one
    return found


def candidate(context: Context, one: SeenBackup) -> Candidate | None:
    """One Backup as it may be chosen; None where it may not."""
    status, labels = one.status, one.meta.labels
    going = one.meta.deleting or status.phase is not BackupPhase.SUCCEEDED
    if going or status.checksum is None:
        return None
    completed = status.completion_time or one.meta.created
    uid = labels.get(LABEL_STORAGE_UID, "")
    storage = context.cache.key_of(uid) if uid else None
    named = one.spec.storage_ref.name if one.spec.storage_ref else None
    return Candidate(
        name=one.meta.name,
        database=read.database_name(one),
        at=status.shows or completed,
        completed=completed,
        checksum=status.checksum,
        attempt=status.attempts[-1].number if status.attempts else 1,
        type=status.type or BackupType.FULL,
        method=status.method or Method.AUTO,
        stored_bytes=status.size.stored if status.size else 0,
        logical_bytes=status.size.logical if status.size else 0,
        parent=status.parent,
        engine=status.engine,
        engine_version=status.engine_version,
        system_identifier=status.system_identifier,
        policy_uid=labels.get(LABEL_POLICY_UID, ""),
        storage=storage.name if storage is not None else named,
        storage_uid=uid,
        unverified=is_true(status.conditions, ConditionType.UNVERIFIED),
        end_lsn=status.position.lsn if status.position else None,
        start_lsn=status.position.start_lsn if status.position else None,
        gtid=status.position.gtid if status.position else None,
    )


async def storage_of(
    context: Context, namespace: str, chosen: ChosenBackup
) -> tuple[SeenStorage | None, Doomed | None]:
    """The storage that holds a backup, or why it cannot be read from there."""
    if chosen.storage is None:
        message = f"nothing says which BackupStorage holds Backup {namespace}/{chosen.name}"
        return None, Doomed(Reason.STORAGE_NOT_FOUND, message)
    key = Key(BACKUP_STORAGES.kind, namespace, chosen.storage)
    body = context.cache.get(key) or await context.kube.get(BACKUP_STORAGES, namespace, chosen.storage)
    if body is None:
        message = f"BackupStorage {namespace}/{chosen.storage}, which holds {chosen.name}, does not exist"
        return None, Doomed(Reason.STORAGE_NOT_FOUND, message)
    try:
        return read.storage(body), None
    except UserFault as fault:
        return None, Doomed(fault.reason, f"BackupStorage {chosen.storage} is not usable: {fault.message}")


def not_ready(storage: SeenStorage, until: datetime | None) -> Blocked | None:
    """Why the storage cannot be read from yet; the run looks again at `until` at the latest."""
    ready = find(storage.status.conditions, ConditionType.READY)
    if ready is not None and ready.status == "True":
        return None
    why = ready.message if ready else "it has not been validated yet"
    return Blocked("StorageNotReady", f"BackupStorage {storage.meta.name} is not ready: {why}", until)


async def still_there(context: Context, namespace: str, chosen: ChosenBackup) -> Doomed | None:
    """Whether the chosen backup is what it was when it was chosen; asked live, before anything reads it."""
    body = await context.kube.get(BACKUPS, namespace, chosen.name)
    if body is None:
        return Doomed(Reason.BACKUP_GONE, f"Backup {namespace}/{chosen.name} was deleted after it had been chosen")
    one = read.backup(body)
    if one.meta.deleting or one.status.phase is not BackupPhase.SUCCEEDED or one.status.checksum != chosen.checksum:
        message = f"Backup {namespace}/{chosen.name} is on its way out, or not the one that was chosen"
        return Doomed(Reason.BACKUP_GONE, message)
    return None


def reader_image(context: Context, database: SeenDatabase | None, engine: str, version: str | None) -> str:
    """The image that can start a backup of that version: an upgraded server's old backups need the old one."""
    if database is not None and database.spec.runner is not None:
        return database.spec.runner.image
    image = context.images.runner(engine, version)
    if image is None:
        known = ", ".join(sorted(context.images.by_engine.get(engine, {}))) or "none"
        message = (
            f"no runner image for {engine} {version or ''}: this installation has images for {known}; set"
            " spec.runner.image of the Database or the chart's runners"
        )
        raise UserFault(Reason.NO_RUNNER_IMAGE, message)
    return image
