"""A Database whose drills make instances of a cloud goes: what they have left there goes first, and always an end.

An instance that stands for nobody costs money; a finalizer that never lets go hangs a namespace. So a small Job removes
what is left, it is tried three times, and then the finalizer goes with an Event that says where to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.api.backuptasks import ManagedLook, ProbeTask
from databosun.api.request import Request
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.ordering import runner_image
from databosun.controllers.probing import target_of
from databosun.controllers.seen import SeenDatabase
from databosun.controllers.slots import left_alone
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import (
    FINALIZER_INSTANCES,
    LABEL_DATABASE_UID,
    Action,
    PatchMetadata,
    Plan,
    PostEvent,
    StartJob,
)
from databosun.kube.errors import QuotaExceeded
from databosun.runtime.queue import Key

MAX_TRIES = 3
ADVICE = "look in the account for instances whose name begins with databosun-drill-, and delete those of this Database"


def bind(seen: SeenDatabase) -> tuple[Action, ...]:
    """Hold a Database whose drills may make instances."""
    makes = seen.spec.rds is not None and seen.spec.rds.drill is not None
    if not makes or FINALIZER_INSTANCES in seen.meta.finalizers:
        return ()
    return (PatchMetadata({"finalizers": [*seen.meta.finalizers, FINALIZER_INSTANCES]}),)


async def part(context: Context, applier: Applier, key: Key, body: Mapping[str, Any]) -> datetime | None:
    """One look at a Database that is being deleted and still held; when to look again."""
    try:
        seen = read.database(body)
        why = await left_alone(context, seen.meta.namespace)
        if why is not None:
            raise UserFault(Reason.INSTANCE_LEFT, f"{why}: {ADVICE}")
        return await _part(context, applier, key, seen)
    except UserFault as fault:
        # What cannot be read, or looked after, must not hang.
        event = PostEvent(Reason.INSTANCE_LEFT, f"a temporary instance may be left: {fault.message}", warning=True)
        meta = read.read_meta(body)
        await applier.apply(meta, body.get("status") or {}, Plan(after=(event, _without(meta.finalizers))))
        return None


async def _part(context: Context, applier: Applier, key: Key, seen: SeenDatabase) -> datetime | None:
    now, why = context.clock.now(), ""
    for number in range(1, MAX_TRIES + 1):
        name = task_job_name("probe", seen.meta.name, f"{seen.meta.uid}/part/{number}")
        context.workers.setdefault(key, set()).add(f"Job/{name}")
        found = await errand.look(context, key, seen.meta, "probe", name)
        if found.job is None:
            context.leadership.assert_fresh()
            plan = Plan(before=(_order(context, seen, name, now),))
            try:
                await applier.apply(seen.meta, seen.raw_status, plan)
            except QuotaExceeded as fault:
                if not errand.given_up(seen.meta, now):
                    raise
                raise UserFault(Reason.INSTANCE_LEFT, f"no Job could be started: {fault.message}; {ADVICE}") from fault
            return now + errand.LOOK_AGAIN
        if found.ending is None:
            return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        if found.ending.succeeded:
            done = await errand.dismiss(context, seen.meta, found.job)
            plan = Plan(after=(*done, *found.leftovers, _without(seen.meta.finalizers)))
            await applier.apply(seen.meta, seen.raw_status, plan)
            return None
        why = f"{found.ending.reason}: {found.ending.message}"
    raise UserFault(Reason.INSTANCE_LEFT, f"it could not be looked after in {MAX_TRIES} tries ({why}); {ADVICE}")


def _order(context: Context, seen: SeenDatabase, name: str, now: datetime) -> StartJob:
    target, secrets = target_of(seen)
    image = runner_image(context, seen)
    request = Request(
        run=seen.meta.name,
        deadline=errand.deadline(now),
        database=target,
        secrets=secrets,
        image=image,
        job=ProbeTask(managed=ManagedLook(cluster_id=context.cluster_id)),
    )
    return errand.order(seen.meta, "Database", name, request, image, labels={LABEL_DATABASE_UID: seen.meta.uid})


def _without(finalizers: Any) -> PatchMetadata:
    return PatchMetadata({"finalizers": [name for name in finalizers if name != FINALIZER_INSTANCES]})
