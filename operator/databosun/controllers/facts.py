"""Backups as retention sees them."""

from __future__ import annotations

from datetime import timedelta

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backup import FINAL_PHASES, BackupPhase
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenBackup, SeenStorage
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_HOLD, LABEL_POLICY_UID, LABEL_STORAGE_UID
from databosun.domain.retention import BackupFact
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key


def backup_fact(one: SeenBackup, lock: timedelta | None, *, governed: bool, policy_holds: bool) -> BackupFact:
    """One Backup object as a fact."""
    status = one.status
    completed = status.completion_time
    return BackupFact(
        id=one.meta.name,
        database_uid=one.meta.labels.get(LABEL_DATABASE_UID, ""),
        system_identifier=status.system_identifier,
        type=status.type or one.spec.type,
        at=status.shows or completed or one.spec.scheduled_for or one.meta.created,
        succeeded=status.checksum is not None,
        proven=status.proven is not None,
        proven_at=status.proven.at if status.proven else None,
        held=one.meta.labels.get(LABEL_HOLD) == "true" or policy_holds,
        locked_until=completed + lock if lock is not None and completed is not None else None,
        parent=status.parent,
        base=status.base,
        deletion_policy=one.spec.deletion_policy,
        finished_at=completed,
        in_flight=status.phase not in FINAL_PHASES
        and status.phase is not BackupPhase.DELETING
        and not one.meta.deleting,
        deleting=one.meta.deleting or status.phase is BackupPhase.DELETING,
        governed=governed,
    )


def lock_span(storage: SeenStorage | None) -> timedelta | None:
    """How long the storage locks what is written, if it does."""
    if storage is None or storage.spec.immutability is None:
        return None
    return parse_duration(storage.spec.immutability.retention)


def cached_storage(context: Context, namespace: str, name: str) -> SeenStorage | None:
    """A storage as last seen."""
    body = context.cache.get(Key("BackupStorage", namespace, name))
    return read.storage(body) if body is not None else None


def storage_holding(context: Context, one: SeenBackup) -> SeenStorage | None:
    """The storage that a backup was written to, whatever its policy names by now; one of that name where it was made
    anew. None: nobody knows where the data are."""
    known = context.cache.key_of(one.meta.labels.get(LABEL_STORAGE_UID, ""))
    named = one.spec.storage_ref.name if one.spec.storage_ref is not None else None
    name = known.name if known is not None else named
    try:
        return cached_storage(context, one.meta.namespace, name) if name is not None else None
    except UserFault:
        return None  # said on the storage itself


async def list_backups(context: Context, namespace: str, selector: str) -> list[SeenBackup]:
    """Backups by label, read live and whole."""
    return [read.backup(body) async for body in context.kube.list(BACKUPS, namespace, label_selector=selector)]


def of_policy(policy_uid: str) -> str:
    """The selector of a policy's runs."""
    return f"{LABEL_POLICY_UID}={policy_uid}"


def of_database(database_uid: str) -> str:
    """The selector of a database's runs, whatever policy they are of."""
    return f"{LABEL_DATABASE_UID}={database_uid}"
