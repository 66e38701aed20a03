"""A person deletes a Backup whose finalizer lets its data go: the same guards as retention, and always an end."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from databosun.api.backuptasks import DeleteTask
from databosun.api.request import Request
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.covering import login_of
from databosun.controllers.facts import backup_fact, list_backups, lock_span, of_database
from databosun.controllers.matching import readers_of
from databosun.controllers.seen import SeenBackup
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.deletion import RetainInstead, person_delete
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import (
    FINALIZER_DATA,
    LABEL_DATABASE_UID,
    LABEL_HOLD,
    LABEL_STORAGE_UID,
    Action,
    PatchMetadata,
    Plan,
    PostEvent,
)
from databosun.domain.presets import effective
from databosun.domain.requests import storage_target
from databosun.domain.retention import RetentionRules
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, CRDS, NAMESPACES
from databosun.runtime.queue import Key

# A finalizer that never lets go hangs a namespace for ever.
MAX_TRIES = 3


async def reconcile(context: Context, applier: Applier, seen: SeenBackup) -> datetime | None:
    """One look at a Backup that is being deleted."""
    key = Key("Backup", seen.meta.namespace, seen.meta.name)
    context.cache.drop(key)
    if FINALIZER_DATA not in seen.meta.finalizers:
        return None
    try:
        reason = await _retain(context, seen)
    except UserFault as fault:
        # A rule that cannot be read protects everything; and what is being deleted must not hang on it.
        reason = f"the data stay in the store: {fault.message}"
    if reason is not None:
        await _let_go(applier, seen, PostEvent("DataRetained", reason))
        return None
    if readers_of(context, seen.meta.namespace, [seen.meta.name]):
        # A drill or a restore ends by its deadline at the latest, and looks as long at data that are whole.
        return context.clock.now() + errand.LOOK_AGAIN
    return await _delete_data(context, applier, key, seen)


async def _retain(context: Context, seen: SeenBackup) -> str | None:
    """Why the data stay although the object goes; None where they may go."""
    namespace = await context.kube.get(NAMESPACES, "", seen.meta.namespace)
    if namespace is None or "deletionTimestamp" in namespace["metadata"]:
        return "the namespace is being deleted: the data stay in the store"
    crd = await context.kube.get(CRDS, "", f"{BACKUPS.plural}.{BACKUPS.group}")
    if crd is None or "deletionTimestamp" in crd["metadata"]:
        return "the CRD is being deleted: the data stay in the store"
    if seen.status.checksum is None:
        return "it holds no backup; what a failed run left is swept with the garbage"
    holds, rules = await _policy(context, seen)
    database_uid = seen.meta.labels.get(LABEL_DATABASE_UID, "")
    everything = [
        seen,
        *(
            one
            for one in await list_backups(context, seen.meta.namespace, of_database(database_uid))
            if one.meta.uid != seen.meta.uid
        ),
    ]
    storage = await _storage(context, seen)
    lock = lock_span(storage)
    facts = [backup_fact(one, lock, governed=True, policy_holds=holds) for one in everything]
    verdict = person_delete(facts[0], facts, rules, context.clock.now())
    if isinstance(verdict, RetainInstead):
        return verdict.message
    if seen.meta.labels.get(LABEL_HOLD) == "true" or holds:
        # Admission refuses to delete a held one; where that policy is not installed, the data stay all the same.
        return "a legal hold lies on it: the data stay in the store"
    return None if storage is not None else "its BackupStorage is gone: the data stay in the store"


async def _policy(context: Context, seen: SeenBackup) -> tuple[bool, RetentionRules]:
    """Whether the policy holds all, and its rules; a policy that is gone has neither."""
    name = seen.spec.policy_ref.name if seen.spec.policy_ref else None
    body = await context.kube.get(BACKUP_POLICIES, seen.meta.namespace, name) if name else None
    if body is None:
        return False, RetentionRules()
    policy = read.policy(body)
    return policy.spec.legal_hold, effective(policy.spec, None).retention


async def _storage(context: Context, seen: SeenBackup) -> read.SeenStorage | None:
    """The storage that holds the data. Where the Backup leaves it to its policy, that must still name the same one."""
    if seen.spec.storage_ref is not None:
        return await _storage_named(context, seen.meta.namespace, seen.spec.storage_ref.name)
    policy = await _policy_of(context, seen)
    if policy is None:
        return None
    storage = await _storage_named(context, seen.meta.namespace, policy.spec.storage_ref.name)
    return storage if storage is not None and storage.meta.uid == seen.meta.labels.get(LABEL_STORAGE_UID) else None


async def _storage_named(context: Context, namespace: str, name: str) -> read.SeenStorage | None:
    body = context.cache.get(Key("BackupStorage", namespace, name)) or await context.kube.get(
        BACKUP_STORAGES, namespace, name
    )
    return read.storage(body) if body is not None else None


async def _policy_of(context: Context, seen: SeenBackup) -> read.SeenPolicy | None:
    if seen.spec.policy_ref is None:
        return None
    body = await context.kube.get(BACKUP_POLICIES, seen.meta.namespace, seen.spec.policy_ref.name)
    return read.policy(body) if body is not None else None


async def _delete_data(context: Context, applier: Applier, key: Key, seen: SeenBackup) -> datetime | None:
    now = context.clock.now()
    tried = 0
    while True:
        tried += 1
        name = task_job_name("delete", seen.meta.name, f"{seen.meta.uid}/{tried}")
        context.workers.setdefault(key, set()).add(f"Job/{name}")
        found = await errand.look(context, key, seen.meta, "delete", name)
        if found.job is None or found.ending is None or found.ending.succeeded:
            break
        if tried >= MAX_TRIES:
            why = f"{found.ending.reason}: {found.ending.message}"
            message = f"the data could not be deleted in {MAX_TRIES} tries ({why}); they stay in the store"
            await _let_go(applier, seen, PostEvent("DataRetained", message, warning=True))
            return None
    if found.ending is not None and found.job is not None:
        outcome = found.ending.result.deleted if found.ending.result is not None else None
        stuck = next((one for one in outcome or [] if not one.deleted), None)
        event = PostEvent("DataDeleted", "the data were deleted from the store")
        if any(one.absent for one in outcome or []):
            message = "nothing of it was in the store: an earlier try had deleted the data, or somebody else did"
            event = PostEvent("DataMissing", message, warning=True)
        if stuck is not None:
            event = PostEvent(
                "DataRetained", stuck.message or "the store refused to delete the data; they stay", warning=True
            )
        await _let_go(applier, seen, event, await errand.dismiss(context, seen.meta, found.job))
        return None
    if found.job is not None:
        return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
    return await _start(context, applier, seen, name, now)


async def _start(context: Context, applier: Applier, seen: SeenBackup, name: str, now: datetime) -> datetime | None:
    storage = await _storage(context, seen)
    image = context.images.any_runner()
    if storage is None or image is None:
        await _let_go(
            applier,
            seen,
            PostEvent(
                "DataRetained", "nothing is known that could delete the data; they stay in the store", warning=True
            ),
        )
        return None
    context.leadership.assert_fresh()
    target, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    policy = await _policy_of(context, seen)
    ref = seen.spec.database_ref or (policy.spec.database_ref if policy is not None else None)
    database = ref.name if ref is not None else ""
    login, more = login_of(context, seen.meta.namespace, database)
    request = Request(
        run=seen.meta.name,
        deadline=errand.deadline(now),
        database=login,
        storage=target,
        secrets=[*secrets, *more],
        image=image,
        job=DeleteTask(database=database, ids=[seen.meta.name]),
    )
    claim = storage.spec.claim
    job = errand.order(
        seen.meta, "Backup", name, request, image, pod_template=storage.spec.pod_template, storage_claim=claim
    )
    status = seen.status.model_copy(update={"phase": BackupPhase.DELETING}).dump()
    # Marked first: a backup whose data are half gone is never taken for a good one.
    meta = await applier.apply(seen.meta, seen.raw_status, Plan(status=status))
    try:
        await applier.apply(meta, seen.raw_status, Plan(after=(job,)))
    except (UserFault, QuotaExceeded) as fault:
        if not errand.given_up(meta, now):
            raise
        message = f"no Job could be started that deletes the data ({fault.message}); they stay in the store"
        await _let_go(applier, replace(seen, meta=meta), PostEvent("DataRetained", message, warning=True))
        return None
    return now + errand.LOOK_AGAIN


async def _let_go(applier: Applier, seen: SeenBackup, event: PostEvent, actions: tuple[Action, ...] = ()) -> None:
    left = [name for name in seen.meta.finalizers if name != FINALIZER_DATA]
    plan = Plan(after=(*actions, event, PatchMetadata({"finalizers": left})))
    await applier.apply(seen.meta, seen.raw_status, plan)
