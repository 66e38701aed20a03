"""Where the record of a run goes: beside the backup, or into a storage of its own; locked as asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from databosun.api.recordtasks import PreviousEvidence, RecordPlace
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.lookup import demand
from databosun.controllers.seen import Seen, SeenDrill, SeenDrillRun, SeenStorage
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_FINISHED
from databosun.domain.requests import storage_target
from databosun.domain.run import Blocked
from databosun.kube.resources import BACKUP_STORAGES, Resource


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
    storage = await evidence_storage(context, drill.meta.namespace, wanted.storage_ref.name)
    if storage.spec.s3 is None:
        name = storage.meta.name
        message = f"spec.evidence.storageRef names BackupStorage {name}, which is a volume; expected a bucket"
        raise UserFault(Reason.INVALID_SPEC, message)
    demand_lock(storage, seconds)
    place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    blocked = found_backups.not_ready(storage, None)
    return Records(RecordPlace(storage=place, lock_seconds=seconds), tuple(secrets), blocked)


async def evidence_storage(context: Context, namespace: str, name: str) -> SeenStorage:
    """The storage that a policy's evidence goes to. UserFault where there is none of that name."""
    of = "named in spec.evidence.storageRef"
    return await demand(context, BACKUP_STORAGES, namespace, name, read.storage, of)


def evidence(run: SeenDrillRun) -> str | None:
    """The digest of the record that a drill left."""
    return run.status.evidence.sha256 if run.status.evidence is not None else None


R = TypeVar("R", bound=Seen[Any, Any])


async def newest_record(
    context: Context,
    resource: Resource,
    namespace: str,
    of: str,
    parse: Callable[[Mapping[str, Any]], R],
    digest: Callable[[R], str | None],
) -> PreviousEvidence | None:
    """The newest record that a finished run left: each record names the one before it. `of`: their label."""
    newest: tuple[datetime, PreviousEvidence] | None = None
    async for body in context.kube.list(resource, namespace, label_selector=f"{of},{LABEL_FINISHED}"):
        one = parse(body)
        at, found = one.status.completion_time, digest(one)
        if at is not None and found is not None and (newest is None or at > newest[0]):
            newest = at, PreviousEvidence(run=one.meta.name, sha256=found)
    return newest[1] if newest is not None else None


def demand_lock(storage: SeenStorage, seconds: int | None) -> None:
    """What is asked to be kept must be kept by something."""
    if seconds is not None and storage.spec.immutability is None:
        message = (
            f"spec.evidence.retention asks for a lock, and BackupStorage {storage.meta.name} locks nothing; set its "
            "spec.immutability, or leave retention out: Databosun deletes no evidence"
        )
        raise UserFault(Reason.INVALID_SPEC, message)
