"""Once a day, have what failed runs left in a storage removed: never under an active run, never what is young."""

from __future__ import annotations

from datetime import datetime, timedelta

from databosun.api.backuptasks import SweepTask
from databosun.api.quantities import parse_duration
from databosun.api.request import Request
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenStorage
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.conditions import is_true
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.requests import storage_target
from databosun.kube.resources import BACKUP_STORAGES
from databosun.runtime.queue import Key

EVERY = timedelta(days=1)
YOUNGEST = timedelta(hours=48)
SWEEP_DEADLINE = timedelta(hours=1)


class Sweeper:
    """The daily sweep of each storage."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, BACKUP_STORAGES)

    async def reconcile(self, key: Key) -> datetime | None:
        """Start, watch or record the sweep of one storage."""
        body = self._context.cache.get(key)
        if body is None:
            return None
        try:
            seen = read.storage(body)
        except UserFault:
            return None  # said by the validation
        if seen.meta.deleting or not is_true(seen.status.conditions, ConditionType.READY):
            return None
        now = self._context.clock.now()
        last = seen.status.last_sweep_time
        name = task_job_name("sweep", seen.meta.name, f"{seen.meta.uid}/{last.isoformat() if last else ''}")
        found = await errand.look(self._context, key, seen.meta, "sweep", name)
        if found.ending is not None and found.job is not None:
            status = seen.status.model_copy(update={"last_sweep_time": now.replace(microsecond=0)}).dump()
            after = (*await errand.dismiss(self._context, seen.meta, found.job), *found.leftovers)
            if not found.ending.succeeded:
                after = (
                    *after,
                    PostEvent("SweepFailed", f"{found.ending.reason}: {found.ending.message}", warning=True),
                )
            await self._applier.apply(seen.meta, seen.raw_status, Plan(status=status, after=after))
            return now + EVERY
        if found.job is not None:
            return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        # The first sweep comes a day after the storage, so that a new one costs nothing at first sight.
        due = (last or seen.meta.created) + EVERY
        if now < due:
            await self._applier.apply(seen.meta, seen.raw_status, Plan(after=found.leftovers))
            return due
        await self._start(key, seen, name, now)
        return now + errand.LOOK_AGAIN

    async def _start(self, key: Key, seen: SeenStorage, name: str, now: datetime) -> None:
        image = self._context.images.any_runner()
        if image is None:
            return
        self._context.leadership.assert_fresh()
        target, secrets = storage_target(seen.meta.named, seen.spec, self._context.cluster_id)
        task = SweepTask(older_than_seconds=int(self._old(seen).total_seconds()), active=self._active(seen))
        deadline = errand.deadline(now, SWEEP_DEADLINE)
        request = Request(
            run=seen.meta.name, deadline=deadline, storage=target, secrets=list(secrets), image=image, job=task
        )
        claim = seen.spec.claim
        template = seen.spec.pod_template
        job = errand.order(seen.meta, "BackupStorage", name, request, image, pod_template=template, storage_claim=claim)
        self._context.workers.setdefault(key, set()).add(f"Job/{name}")
        await self._applier.apply(seen.meta, seen.raw_status, Plan(before=(job,)))

    def _old(self, seen: SeenStorage) -> timedelta:
        """What is older belongs to no run: 48 hours, or twice the longest deadline of a policy that writes here."""
        longest = YOUNGEST
        for key in self._context.cache.referring("BackupPolicy", seen.meta.namespace, f"storage:{seen.meta.name}"):
            body = self._context.cache.get(key)
            if body is not None:
                longest = max(longest, 2 * parse_duration(body["spec"].get("deadline", "6h")))
        return longest

    def _active(self, seen: SeenStorage) -> list[str]:
        found = []
        for key in self._context.cache.keys("Backup", seen.meta.namespace):
            body = self._context.cache.get(key)
            if body is not None and (database := read.database_name(read.backup(body))):
                found.append(f"{database}/{key.name}")
        return sorted(found)
