"""Gather what a Backup's Jobs must be told (policy, database, storage, image, parent), and what stands in its way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.candidates import not_ready
from databosun.controllers.context import Context
from databosun.controllers.datavolumes import with_data
from databosun.controllers.handmade import hand_made
from databosun.controllers.lookup import find
from databosun.controllers.seen import SeenBackup, SeenDatabase, SeenPolicy, SeenStorage
from databosun.controllers.turns import Ordering
from databosun.domain.attempt import Limits
from databosun.domain.backup import Order
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.chain import DEFAULT_MAX_CHAIN, Done, choose_parent, previous_bytes
from databosun.domain.errors import UserFault
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, LABEL_HOLD, LABEL_STORAGE_UID
from databosun.domain.presets import effective
from databosun.domain.recovery import log_begin
from databosun.domain.requests import database_target, storage_target
from databosun.domain.run import Blocked, Doomed
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, DATABASES

LIMITS_WITHOUT_POLICY = Limits(retries=2, deadline=timedelta(hours=6), start_deadline=timedelta(minutes=30))
STARTING_DEADLINE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered(Ordering):
    """What was found. `order` is None where the storage is not known."""

    database_name: str
    order: Order | None = None


async def gather_order(context: Context, seen: SeenBackup, *, with_history: bool) -> Ordered:
    """Look up all that the Backup refers to. Reads the cache, and live where the cache has nothing."""
    namespace, spec = seen.meta.namespace, seen.spec
    policy, broken = await _policy(context, namespace, spec.policy_ref.name if spec.policy_ref else None)
    database_ref = spec.database_ref or (policy.spec.database_ref if policy else None)
    storage_ref = spec.storage_ref or (policy.spec.storage_ref if policy else None)
    try:
        name = database_ref.name if database_ref else None
        database = await find(context, DATABASES, namespace, name, read.database)
        name = storage_ref.name if storage_ref else None
        storage = await find(context, BACKUP_STORAGES, namespace, name, read.storage)
    except UserFault as fault:
        database, storage, broken = None, None, broken or fault
    doomed = _doomed(context, seen, policy, database, storage)
    if broken is not None:
        doomed = Doomed(broken.reason, broken.message)
    order = None
    if storage is not None:
        try:
            order = await _order(context, seen, policy, database, storage, with_history=with_history and doomed is None)
        except UserFault as fault:
            doomed = doomed or Doomed(fault.reason, fault.message)
    return Ordered(
        database_name=database_ref.name if database_ref else "",
        limits=_limits(policy),
        order=order,
        blocked=_blocked(database, storage, seen.spec.not_after),
        doomed=doomed,
        database_uid=seen.meta.labels.get(LABEL_DATABASE_UID) or (database.meta.uid if database else None),
        policy_uid=policy.meta.uid if policy else None,
        storage_uid=seen.meta.labels.get(LABEL_STORAGE_UID) or (storage.meta.uid if storage else None),
        storage_limit=storage.spec.max_concurrent_runs if storage else 1,
        allow_same=policy is not None and policy.spec.concurrency_policy == "Allow",
        starting_deadline=_starting_deadline(policy),
    )


async def _policy(context: Context, namespace: str, name: str | None) -> tuple[SeenPolicy | None, UserFault | None]:
    """The policy, and what is wrong with it; one that cannot be carried out is as good as none."""
    try:
        policy = await find(context, BACKUP_POLICIES, namespace, name, read.policy)
        if policy is not None:
            effective(policy.spec, None)
    except UserFault as fault:
        return None, UserFault(fault.reason, f"BackupPolicy {namespace}/{name} is not usable: {fault.message}")
    return policy, None


def _limits(policy: SeenPolicy | None) -> Limits:
    if policy is None:
        return LIMITS_WITHOUT_POLICY
    spec = policy.spec
    return Limits(
        retries=spec.retries, deadline=parse_duration(spec.deadline), start_deadline=parse_duration(spec.start_deadline)
    )


def _starting_deadline(policy: SeenPolicy | None) -> timedelta:
    if policy is None:
        return STARTING_DEADLINE
    return parse_duration(policy.spec.starting_deadline) + parse_duration(policy.spec.jitter)


def _doomed(
    context: Context,
    seen: SeenBackup,
    policy: SeenPolicy | None,
    database: SeenDatabase | None,
    storage: SeenStorage | None,
) -> Doomed | None:
    spec, namespace = seen.spec, seen.meta.namespace
    if spec.policy_ref is not None and policy is None:
        return Doomed(
            "PolicyNotFound", f"BackupPolicy {namespace}/{spec.policy_ref.name} named in spec.policyRef does not exist"
        )
    if database is None:
        found = f"Database {namespace}/{spec.database_ref.name}" if spec.database_ref else "spec.databaseRef"
        return Doomed("DatabaseNotFound", f"{found} does not exist; name a Database of the same namespace")
    if storage is None:
        named = spec.storage_ref or (policy.spec.storage_ref if policy else None)
        return Doomed("StorageNotFound", f"BackupStorage {namespace}/{named.name if named else '?'} does not exist")
    wanted_uid = seen.meta.labels.get(LABEL_DATABASE_UID)
    if wanted_uid is not None and wanted_uid != database.meta.uid:
        message = f"Database {namespace}/{database.meta.name} was created anew; this Backup is of the one before"
        return Doomed("DatabaseReplaced", message)
    if spec.scheduled_for is None:
        tried = bool(seen.status.attempts)
        return hand_made("Backup", seen.meta, spec.not_after, tried=tried, now=context.clock.now())
    return None


def _blocked(database: SeenDatabase | None, storage: SeenStorage | None, until: datetime | None) -> Blocked | None:
    if storage is not None and (waits := not_ready(storage, until)) is not None:
        return waits
    if database is not None and database.status.probed_generation is None and database.status.last_probe_time is None:
        return Blocked("DatabaseNotProbed", f"Database {database.meta.name} has not been looked at yet", until)
    return None


async def _order(
    context: Context,
    seen: SeenBackup,
    policy: SeenPolicy | None,
    database: SeenDatabase | None,
    storage: SeenStorage,
    *,
    with_history: bool,
) -> Order:
    target, storage_secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    image = runner_image(context, database)
    common: dict[str, Any] = {
        "storage": target,
        "storage_secrets": tuple(storage_secrets),
        "storage_uid": storage.meta.uid,
        "storage_claim": storage.spec.claim,
        "schedule": seen.spec.schedule,
    }
    if database is None:
        return Order(database=None, secrets=(), image=image, type=seen.spec.type, method=seen.spec.method, **common)
    version = database.status.engine_version
    database_seen, secrets = database_target(
        database.meta.named, database.spec, CAPABILITIES[database.spec.engine].port, version
    )
    done = await history(context, seen.meta.namespace, database.meta.uid) if with_history else ()
    on = CAPABILITIES[database.spec.engine].incremental_on
    footing = choose_parent(seen.spec.type, on, done, storage.meta.uid, _max_chain(seen, policy))
    # A Backup made by hand that says nothing of it leaves the method to its policy.
    method = policy.spec.method if policy is not None and seen.spec.method is Method.AUTO else seen.spec.method
    data = None
    if with_history:
        database_seen, data = await with_data(context, database, database_seen, [method])
    return Order(
        database=database_seen,
        data=data,
        secrets=tuple(secrets),
        image=image,
        type=footing.type,
        method=method,
        parent=footing.parent,
        previous_bytes=previous_bytes(footing.type, method, done),
        notes=(footing.note,) if footing.note else (),
        held=_held(seen, policy),
        log_begin=log_begin(database.status.archiver, database.status.recovery, storage.meta.name),
        **common,
        **(_from_policy(policy) if policy else {}),
    )


def _from_policy(policy: SeenPolicy) -> dict[str, Any]:
    spec = policy.spec
    return {
        "policy": policy.meta.name,
        "policy_uid": policy.meta.uid,
        "consistency": spec.consistency,
        "fingerprints": spec.fingerprints,
        "pod_template": spec.pod_template,
        "hooks": spec.hooks,
    }


def _held(seen: SeenBackup, policy: SeenPolicy | None) -> str | None:
    if seen.meta.labels.get(LABEL_HOLD) == "true":
        return seen.meta.annotations.get("databosun.io/hold-reason", "")
    return "legalHold of the policy" if policy is not None and policy.spec.legal_hold else None


def _max_chain(seen: SeenBackup, policy: SeenPolicy | None) -> int:
    rows = policy.spec.schedules if policy else []
    return next((row.max_chain for row in rows if row.name == seen.spec.schedule), DEFAULT_MAX_CHAIN)


def runner_image(context: Context, database: SeenDatabase | None) -> str:
    """The image of a Job: that of the Database's spec, else the installation's. NoRunnerImage without one."""
    if database is None:
        image = context.images.any_runner()
    elif database.spec.runner is not None:
        return database.spec.runner.image
    else:
        image = context.images.runner(database.spec.engine, database.status.engine_version or database.spec.version)
    if image is None:
        engine = database.spec.engine if database else "any engine"
        version = database.status.engine_version or database.spec.version if database else None
        known = ", ".join(sorted(context.images.by_engine.get(engine, {}))) or "none"
        message = (
            f"no runner image for {engine} {version or ''}: this installation has images for {known}; "
            "set spec.runner.image or the chart's runners"
        )
        raise UserFault(Reason.NO_RUNNER_IMAGE, message)
    return image


async def history(context: Context, namespace: str, database_uid: str) -> tuple[Done, ...]:
    """The successful backups of a database, from their records; read only where there are any."""
    if not any(run.succeeded for run in context.finished.of_database(database_uid)):
        return ()
    selector = f"{LABEL_DATABASE_UID}={database_uid},{LABEL_FINISHED}=Succeeded"
    found = []
    async for body in context.kube.list(BACKUPS, namespace, label_selector=selector):
        one = read.backup(body)
        status = one.status
        deleting = one.meta.deleting or status.phase is BackupPhase.DELETING
        if deleting or status.checksum is None or status.size is None or status.method is None:
            continue
        found.append(
            Done(
                id=one.meta.name,
                type=status.type or BackupType.FULL,
                method=status.method,
                completed=status.completion_time or one.meta.created,
                attempt=status.attempts[-1].number if status.attempts else 1,
                checksum=status.checksum,
                base=status.base or one.meta.name,
                chain_length=status.chain_length or 0,
                system_identifier=status.system_identifier,
                storage_uid=one.meta.labels.get(LABEL_STORAGE_UID, ""),
                logical_bytes=status.size.logical,
            )
        )
    return tuple(found)
