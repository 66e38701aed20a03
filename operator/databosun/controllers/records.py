"""Where the record of a drill goes: beside the backup, or into a storage of its own; locked as asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from databosun.api.request import RecordPlace, SecretUse
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDrill, SeenStorage
from databosun.domain.errors import UserFault
from databosun.domain.requests import storage_target
from databosun.domain.run import Blocked
from databosun.kube.resources import BACKUP_STORAGES
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True)
class Records:
    """`blocked`: the storage of its own is not ready yet."""

    place: RecordPlace
    secrets: tuple[SecretUse, ...] = ()
    blocked: Blocked | None = None


async def records_of(context: Context, drill: SeenDrill | None, lock: timedelta | None, beside: SeenStorage) -> Records:
    """Where the evidence of a drill goes. UserFault where it cannot go there, or nothing would lock it."""
    wanted = drill.spec.evidence if drill is not None else None
    seconds = int(lock.total_seconds()) if lock is not None else None
    if drill is None or wanted is None or wanted.storage_ref is None or wanted.storage_ref.name == beside.meta.name:
        demand_lock(beside, seconds)
        return Records(RecordPlace(lock_seconds=seconds))
    name, namespace = wanted.storage_ref.name, drill.meta.namespace
    key = Key(BACKUP_STORAGES.kind, namespace, name)
    body = context.cache.get(key) or await context.kube.get(BACKUP_STORAGES, namespace, name)
    if body is None:
        message = f"BackupStorage {namespace}/{name} named in spec.evidence.storageRef does not exist"
        raise UserFault(Reason.STORAGE_NOT_FOUND, message)
    storage = read.storage(body)
    if storage.spec.s3 is None:
        message = f"spec.evidence.storageRef names BackupStorage {name}, which is a volume; expected a bucket"
        raise UserFault(Reason.INVALID_SPEC, message)
    demand_lock(storage, seconds)
    place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    blocked = found_backups.not_ready(storage, None)
    return Records(RecordPlace(storage=place, lock_seconds=seconds), tuple(secrets), blocked)


def demand_lock(storage: SeenStorage, seconds: int | None) -> None:
    """What is asked to be kept must be kept by something."""
    if seconds is not None and storage.spec.immutability is None:
        message = (
            f"spec.evidence.retention asks for a lock, and BackupStorage {storage.meta.name} locks nothing; set its "
            "spec.immutability, or leave retention out: Databosun deletes no evidence"
        )
        raise UserFault(Reason.INVALID_SPEC, message)
