"""Gather what decides over one BackupStorage: validate it at once, then every `validationInterval`."""

from __future__ import annotations

from datetime import datetime

from databosun.api.backuptasks import ValidateTask
from databosun.api.quantities import parse_duration
from databosun.api.request import Request
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand
from databosun.controllers.apply import Applier
from databosun.controllers.catalog import CatalogController
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenStorage
from databosun.controllers.seen import storage as parse_storage
from databosun.controllers.strays import let_go_of_pods
from databosun.controllers.sweeping import Sweeper
from databosun.domain.attempt import DEADLINE_MARGIN
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.requests import storage_target
from databosun.domain.storage import StorageFacts, invalid, validated, validating, validation_due
from databosun.kube.resources import BACKUP_STORAGES
from databosun.runtime.queue import Key


class StorageController:
    """Keeps the answer to "can backups be written there?" true."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, BACKUP_STORAGES)
        self._catalog = CatalogController(context)
        self._sweeper = Sweeper(context)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one storage, at the rebuild of its catalog where one is asked for, and at its daily sweep."""
        wakes = (
            await self._validate(key),
            await self._catalog.reconcile(key),
            await self._sweeper.reconcile(key),
        )
        return min((at for at in wakes if at is not None), default=None)

    async def _validate(self, key: Key) -> datetime | None:
        body = self._context.cache.get(key) or await self._context.kube.get(BACKUP_STORAGES, key.namespace, key.name)
        if body is None:
            self._context.observe("BackupStorage", key, {})
            let_go_of_pods(self._context, key)
            return None
        seen = parse_storage(body)
        self._context.observe("BackupStorage", key, body)
        if seen.meta.deleting:
            return None
        now = self._context.clock.now()
        try:
            facts = self._facts(seen)
            target, secrets = storage_target(seen.meta.named, seen.spec, self._context.cluster_id)
            image = self._image()
        except UserFault as fault:
            broken = StorageFacts(seen.meta.generation, seen.status, errand.LOOK_AGAIN, self._context.cluster_id)
            await self._applier.apply(
                seen.meta, seen.raw_status, Plan(status=invalid(broken, fault.reason, fault.message, now))
            )
            return None
        name = task_job_name("validate", seen.meta.name, self._token(seen))
        found = await errand.look(self._context, key, seen.meta, "validate", name)
        if found.ending is not None and found.job is not None:
            status = validated(facts, found.ending, now)
            after = (
                *await errand.dismiss(self._context, seen.meta, found.job),
                *found.leftovers,
                *self._events(seen, status),
            )
            await self._applier.apply(seen.meta, seen.raw_status, Plan(status=status, after=after))
            return now
        if found.job is not None:
            await self._applier.apply(
                seen.meta, seen.raw_status, Plan(status=validating(facts, now), after=found.leftovers)
            )
            return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        due = validation_due(facts, now)
        if now < due:
            await self._applier.apply(seen.meta, seen.raw_status, Plan(after=found.leftovers))
            return due
        request = Request(
            run=seen.meta.name,
            deadline=errand.deadline(now),
            storage=target,
            secrets=list(secrets),
            image=image,
            job=ValidateTask(),
        )
        claim = seen.spec.claim
        job = errand.order(
            seen.meta, "BackupStorage", name, request, image, pod_template=seen.spec.pod_template, storage_claim=claim
        )
        self._context.workers.setdefault(key, set()).add(f"Job/{name}")
        plan = Plan(before=(job,), status=validating(facts, now), after=found.leftovers)
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return now + errand.LOOK_AGAIN

    def _facts(self, seen: SeenStorage) -> StorageFacts:
        try:
            interval = parse_duration(seen.spec.validation_interval)
        except ValueError as error:
            raise UserFault(Reason.INVALID_SPEC, f"spec.validationInterval: {error}") from error
        return StorageFacts(seen.meta.generation, seen.status, interval, self._context.cluster_id)

    def _image(self) -> str:
        image = self._context.images.any_runner()
        if image is None:
            message = "this installation names no runner image; set runners.images of the chart"
            raise UserFault(Reason.NO_RUNNER_IMAGE, message)
        return image

    @staticmethod
    def _token(seen: SeenStorage) -> str:
        last = seen.status.last_attempt_time
        return f"{seen.meta.uid}/{seen.meta.generation}/{last.isoformat() if last else ''}"

    @staticmethod
    def _events(seen: SeenStorage, status: dict[str, object]) -> tuple[PostEvent, ...]:
        error = status.get("error")
        if error is not None and error != seen.status.error:
            return (PostEvent("StorageNotReady", str(error), warning=True),)
        return ()
