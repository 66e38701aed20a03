"""Copy legal holds to the bucket, so that they outlive the cluster: `hold.json` beside each held backup."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.api.backuptasks import HoldTask
from databosun.api.request import Request
from databosun.api.v1alpha1.backup import Hold
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import Meta, SeenBackup, SeenStorage
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.names import task_job_name
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_HOLD, Action
from databosun.domain.requests import storage_target
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key

POLICY_HOLD = "legalHold of the policy"
MAX_PER_JOB = 200


@dataclass(frozen=True, slots=True)
class Settled:
    """What is to be done about holds now, and when to look again."""

    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    problem: str | None = None


def wanted_hold(one: SeenBackup, *, policy_holds: bool) -> Hold | None:
    """The hold that should lie on a backup: its own label's first, else its policy's."""
    if one.meta.labels.get(LABEL_HOLD) == "true":
        return Hold(reason=one.meta.annotations.get(ANNOTATION_HOLD_REASON))
    return Hold(reason=POLICY_HOLD) if policy_holds else None


async def settle(
    context: Context,
    key: Key,
    owner: Meta,
    kind: str,
    backups: Sequence[SeenBackup],
    storage: SeenStorage | None,
    *,
    policy_holds: bool,
    now: datetime,
) -> Settled:
    """Bring `hold.json` and `status.hold` of good backups in line with labels and policy, one Job at a time."""
    groups: defaultdict[tuple[str, str | None, bool], list[SeenBackup]] = defaultdict(list)
    for one in backups:
        wanted = wanted_hold(one, policy_holds=policy_holds)
        if one.status.checksum is not None and not one.meta.deleting and wanted != one.status.hold:
            groups[(read.database_name(one), wanted.reason if wanted else None, wanted is not None)].append(one)
    if not groups:
        found = await errand.look(context, key, owner, "hold", "")
        return Settled(after=found.leftovers)
    (database, reason, held), batch = min(
        groups.items(), key=lambda group: (group[0][0], group[0][1] or "", group[0][2])
    )
    batch = sorted(batch, key=lambda one: one.meta.name)[:MAX_PER_JOB]
    names = [one.meta.name for one in batch]
    job_name = task_job_name("hold", owner.name, "/".join([owner.uid, database, str(held), reason or "", *names]))
    found = await errand.look(context, key, owner, "hold", job_name)
    if found.ending is not None and found.job is not None:
        after = (*await errand.dismiss(context, owner, found.job), *found.leftovers)
        if not found.ending.succeeded:
            problem = f"holds could not be written to the bucket: {found.ending.reason}: {found.ending.message}"
            return Settled(after=after, wake_at=now + 10 * errand.LOOK_AGAIN, problem=problem)
        for one in batch:
            status = one.status.model_copy(update={"hold": Hold(reason=reason) if held else None}).dump()
            patch = merge_patch(one.raw_status, status)
            body = await context.kube.patch_status(
                BACKUPS, owner.namespace, one.meta.name, patch, one.meta.resource_version
            )
            context.took("Backup", body)
        return Settled(after=after, wake_at=now)
    if found.job is not None:
        return Settled((), found.leftovers, min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN))
    image = context.images.any_runner()
    if storage is None or image is None:
        return Settled(problem="holds cannot be written to the bucket: the BackupStorage or a runner image is missing")
    target, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    task = HoldTask(database=database, ids=names, reason=(reason or "") if held else None)
    request = Request(
        run=owner.name, deadline=errand.deadline(now), storage=target, secrets=list(secrets), image=image, job=task
    )
    claim = storage.spec.claim
    template = storage.spec.pod_template
    job = errand.order(owner, kind, job_name, request, image, pod_template=template, storage_claim=claim)
    context.workers.setdefault(key, set()).add(f"Job/{job_name}")
    return Settled((job,), found.leftovers, now + errand.LOOK_AGAIN)
