"""An archiver that nobody asks for any more: its Deployment goes, then its replication slot, and always an end.

A slot that stands for nobody makes the server keep its log; a finalizer that never lets go hangs a namespace. So the
slot is dropped by a small Job, tried three times, and then the finalizer goes with an Event that names the slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import DropSlotTask
from databosun.api.request import Request
from databosun.api.targets import StorageTarget
from databosun.api.v1alpha1.recovery import Archiver
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.claims import lead_of
from databosun.controllers.context import Context
from databosun.controllers.jobs import Bench, observe
from databosun.controllers.ordering import runner_image
from databosun.controllers.probing import target_of
from databosun.controllers.seen import SeenDatabase
from databosun.domain.attempt import DEADLINE_MARGIN, JobSeen, judge
from databosun.domain.errors import UserFault
from databosun.domain.names import archiver_name, task_job_name
from databosun.domain.plan import (
    FINALIZER_SLOT,
    LABEL_ARCHIVER,
    LABEL_DATABASE_UID,
    Action,
    DeleteArchiver,
    DeleteJob,
    PatchMetadata,
    Plan,
    PostEvent,
    StartJob,
)
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import CRDS, DATABASES, DEPLOYMENTS, NAMESPACES, PODS
from databosun.runtime.queue import Key

TASK = "drop-slot"
MAX_TRIES = 3
PAUSES = (timedelta(seconds=15), timedelta(minutes=1))
LOOK_AGAIN = timedelta(seconds=5)
# A pod on a lost node never goes; the slot's Job ends its stream at the server then.
POD_GONE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Ending:
    """One step. `archiver` None: all is gone, once `after` is done."""

    archiver: Archiver | None
    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None


async def reconcile_going(context: Context, applier: Applier, key: Key, body: Mapping[str, Any]) -> datetime | None:
    """One look at a Database that is being deleted."""
    finalizers = body["metadata"].get("finalizers", ())
    if FINALIZER_SLOT not in finalizers:
        return None
    meta = read.read_meta(body)
    try:
        seen = read.database(body)
        left = await left_alone(context, meta.namespace)
        ending = _released(seen, left) if left else await let_go(context, key, seen, context.clock.now())
    except UserFault as fault:
        # What cannot be read must not hang.
        event = PostEvent("SlotLeft", f"a replication slot may be left at the server: {fault.message}", warning=True)
        ending = Ending(None, after=(event, _without(finalizers)))
    try:
        await applier.apply(meta, body.get("status") or {}, Plan(before=ending.before, after=ending.after))
    except (UserFault, QuotaExceeded) as fault:
        if not errand.given_up(meta, context.clock.now()):
            raise
        left = f"a replication slot may be left at the server, since no Job could be started: {fault.message}"
        event = PostEvent("SlotLeft", left, warning=True)
        await applier.apply(meta, body.get("status") or {}, Plan(after=(event, _without(finalizers))))
        return None
    return ending.wake_at


async def left_alone(context: Context, namespace: str) -> str | None:
    """Why no Job can be started any more."""
    body = await context.kube.get(NAMESPACES, "", namespace)
    if body is None or "deletionTimestamp" in body["metadata"]:
        return "the namespace is being deleted"
    crd = await context.kube.get(CRDS, "", f"{DATABASES.plural}.{DATABASES.group}")
    if crd is None or "deletionTimestamp" in crd["metadata"]:
        return "the CRD is being deleted"
    return None


async def let_go(context: Context, key: Key, seen: SeenDatabase, now: datetime) -> Ending:
    """The next step: Deployment, pods, slot, finalizer. Where another Database asks for the same log, it has them."""
    kept = seen.status.archiver or _guessed(seen, now)
    if kept is None:
        return Ending(None, after=(_without(seen.meta.finalizers),))
    other = lead_of(context, seen.meta.namespace, kept.system_identifier, None)
    if other is not None and other.database.uid != seen.meta.uid:
        return Ending(None, after=_finalizer(seen))
    body = await context.kube.get(DEPLOYMENTS, seen.meta.namespace, kept.name)
    if body is not None and LABEL_ARCHIVER in body["metadata"].get("labels", {}):
        delete = DeleteArchiver(seen.meta.namespace, kept.name, body["metadata"]["uid"])
        return Ending(kept, before=(delete,), wake_at=now + LOOK_AGAIN)
    if await _pods_left(context, seen.meta.namespace, kept.name, now):
        return Ending(kept, wake_at=now + LOOK_AGAIN)
    return await _drop(context, key, seen, kept, now)


def _guessed(seen: SeenDatabase, now: datetime) -> Archiver | None:
    """The archiver that was started a moment before its record could be written."""
    system = seen.status.system_identifier
    if not system:
        return None
    target, _ = target_of(seen)
    return Archiver(
        name=archiver_name(system),
        system_identifier=system,
        policy="",
        policy_uid="",
        storage="",
        hosts=list(target.hosts),
        port=target.port,
        started=now.replace(microsecond=0),
    )


async def _pods_left(context: Context, namespace: str, name: str, now: datetime) -> bool:
    async for pod in context.kube.list(PODS, namespace, label_selector=f"{LABEL_ARCHIVER}={name}"):
        since = pod["metadata"].get("deletionTimestamp")
        if since is None or now < datetime.fromisoformat(since) + POD_GONE:
            return True
    return False


async def _drop(context: Context, key: Key, seen: SeenDatabase, kept: Archiver, now: datetime) -> Ending:
    bench = await Bench.read(context.kube, seen.meta.namespace, seen.meta.uid)
    jobs = {job.name: job for job in await observe(context.kube, bench, TASK)}
    why, ended = "", now
    for number in range(1, MAX_TRIES + 1):
        name = task_job_name(TASK, seen.meta.name, f"{seen.meta.uid}/{kept.system_identifier}/{_mark(kept)}/{number}")
        job = jobs.get(name)
        if job is None:
            due = ended + PAUSES[number - 2] if number > 1 else now
            if now < due:
                return Ending(kept, wake_at=due)
            return _try(context, key, seen, kept, (name, number), now)
        verdict = judge(job, errand.LIMITS, now)
        if verdict is None:
            return Ending(kept, wake_at=min(now + errand.LOOK_AGAIN, job.deadline + DEADLINE_MARGIN))
        if verdict.succeeded:
            event = PostEvent("SlotDropped", f"replication slot {_slot(kept)}: {verdict.message or 'removed'}")
            return Ending(None, after=(event, *_dismissed(bench, jobs.values(), seen), *_finalizer(seen)))
        why, ended = f"{verdict.reason}: {verdict.message}", _ended(job)
    message = (
        f"replication slot {_slot(kept)} could not be removed from {', '.join(kept.hosts)} in {MAX_TRIES} tries "
        f"({why}); drop it there yourself (SELECT pg_drop_replication_slot(…)), or the server keeps log for it"
    )
    event = PostEvent("SlotLeft", message, warning=True)
    return Ending(None, after=(event, *_dismissed(bench, jobs.values(), seen), *_finalizer(seen)))


def _try(
    context: Context, key: Key, seen: SeenDatabase, kept: Archiver, named: tuple[str, int], now: datetime
) -> Ending:
    try:
        job = _order(context, seen, kept, named, now)
    except UserFault as fault:
        message = f"replication slot {_slot(kept)} is left at {', '.join(kept.hosts)}: {fault.message}"
        return Ending(None, after=(PostEvent("SlotLeft", message, warning=True), *_finalizer(seen)))
    context.workers.setdefault(key, set()).add(f"Job/{job.name}")
    return Ending(kept, before=(job,), wake_at=now + errand.LOOK_AGAIN)


def _order(context: Context, seen: SeenDatabase, kept: Archiver, named: tuple[str, int], now: datetime) -> StartJob:
    target, secrets = target_of(seen)
    image = runner_image(context, seen)
    where = {"hosts": list(kept.hosts), "port": kept.port} if kept.hosts else {}
    request = Request(
        run=seen.meta.name,
        attempt=named[1],
        deadline=errand.deadline(now),
        database=target.model_copy(update=where),
        storage=StorageTarget(namespace=seen.meta.namespace, name=kept.storage, cluster_id=context.cluster_id),
        secrets=secrets,
        image=image,
        job=DropSlotTask(system_identifier=kept.system_identifier),
    )
    return errand.order(seen.meta, "Database", named[0], request, image, labels={LABEL_DATABASE_UID: seen.meta.uid})


def _dismissed(bench: Bench, jobs: Any, seen: SeenDatabase) -> tuple[Action, ...]:
    names = {job.name for job in jobs}
    uids = {job.pod.uid for job in jobs if job.pod is not None}
    pods = [pod for pod in bench.pods if pod["metadata"]["uid"] in uids]
    gone = [job["metadata"] for job in bench.jobs if job["metadata"]["name"] in names]
    deletions = (DeleteJob(seen.meta.namespace, one["name"], one["uid"]) for one in gone)
    return (*Bench([], pods).releases(), *deletions)


def _ended(job: JobSeen) -> datetime:
    return job.pod.ended if job.pod is not None and job.pod.ended is not None else job.created


def _mark(kept: Archiver) -> str:
    return kept.started.isoformat() if kept.policy_uid else ""


def _slot(kept: Archiver) -> str:
    return kept.slot or f"databosun_… of server {kept.system_identifier}"


def _released(seen: SeenDatabase, why: str) -> Ending:
    kept = seen.status.archiver
    where = f"replication slot {_slot(kept)} at {', '.join(kept.hosts)}" if kept else "a replication slot"
    event = PostEvent("SlotLeft", f"{why}: {where} may be left; drop it there yourself", warning=True)
    return Ending(None, after=(event, *_finalizer(seen)))


def _finalizer(seen: SeenDatabase) -> tuple[Action, ...]:
    return (_without(seen.meta.finalizers),) if FINALIZER_SLOT in seen.meta.finalizers else ()


def _without(finalizers: Any) -> PatchMetadata:
    return PatchMetadata({"finalizers": [name for name in finalizers if name != FINALIZER_SLOT]})
