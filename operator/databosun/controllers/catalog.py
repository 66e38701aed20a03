"""Carry out a rebuild of the catalog: ask a Job for the backups in the store, page by page, and create what is missing.

The storage's status says how far it has come; it is written once every entry of a page has its object. A kill between
any two writes makes the same page be asked for again, and what was created stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import CatalogTask
from databosun.api.request import Request
from databosun.api.result import CatalogPage
from databosun.api.v1alpha1.backupstorage import CatalogRebuild
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.errand import Errand
from databosun.controllers.matching import policy_keys_of, selects
from databosun.controllers.seen import SeenStorage
from databosun.domain.attempt import DEADLINE_MARGIN, Ending, JobSeen
from databosun.domain.catalog import (
    KnownDatabase,
    Rebuilt,
    may_fill,
    obstacle,
    page_done,
    page_failed,
    page_of,
    rebuilt,
    relabelled,
    under_way,
    waiting,
)
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import Action, Plan, PostEvent
from databosun.domain.requests import storage_target
from databosun.kube.errors import AlreadyExists, NotFound
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUP_STORAGES, BACKUPS, Object
from databosun.runtime.queue import Key

TASK = "catalog"
# One page reads up to 200 manifests, each a request to the store.
PAGE_DEADLINE = timedelta(minutes=30)


class CatalogController:
    """Rebuilds of all storages; looked at after each look at the storage itself."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, BACKUP_STORAGES)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one storage's rebuild, where one is asked for."""
        body = self._context.cache.get(key)
        if body is None:
            return None
        seen = read.storage(body)
        catalog = under_way(seen.status, seen.meta.annotations)
        if catalog is None:
            await self._sweep(key, seen)
            return None
        now = self._context.clock.now()
        name = task_job_name(TASK, seen.meta.name, _token(seen, catalog))
        found = await errand.look(self._context, key, seen.meta, TASK, name)
        if found.job is not None and found.ending is not None:
            return await self._take(seen, catalog, found, found.job, found.ending)
        if found.job is not None:
            await self._apply(seen, Plan(after=found.leftovers))
            return min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        why = obstacle(seen.status, self._databases(seen))
        if why is not None:
            await self._apply(seen, Plan(status=waiting(seen.status, catalog, why), after=found.leftovers))
            return now + errand.LOOK_AGAIN
        return await self._ask(key, seen, catalog, name, found.leftovers)

    async def _sweep(self, key: Key, seen: SeenStorage) -> None:
        """Let go of the last page's Job, where its end was recorded and the process died then."""
        names = (name.rpartition("/")[2] for name in self._context.workers.get(key, ()))
        if any(name.startswith(f"{TASK}-") for name in names):
            found = await errand.look(self._context, key, seen.meta, TASK, "")
            await self._apply(seen, Plan(after=found.leftovers))

    async def _ask(
        self, key: Key, seen: SeenStorage, catalog: CatalogRebuild, name: str, leftovers: tuple[Action, ...]
    ) -> datetime:
        now = self._context.clock.now()
        try:
            target, secrets = storage_target(seen.meta.named, seen.spec, self._context.cluster_id)
            image = self._context.images.any_runner()
            if image is None:
                message = "this installation names no runner image; set runners.images of the chart"
                raise UserFault(Reason.NO_RUNNER_IMAGE, message)
        except UserFault as fault:
            status = page_failed(seen.status, catalog, fault.reason, fault.message, now, retryable=False)
            await self._apply(seen, Plan(status=status, after=leftovers))
            return now
        request = Request(
            run=seen.meta.name,
            deadline=errand.deadline(now, PAGE_DEADLINE),
            storage=target,
            secrets=list(secrets),
            image=image,
            job=CatalogTask(after=catalog.next),
        )
        claim = seen.spec.claim
        job = errand.order(
            seen.meta, "BackupStorage", name, request, image, pod_template=seen.spec.pod_template, storage_claim=claim
        )
        self._context.workers.setdefault(key, set()).add(f"Job/{name}")
        await self._apply(seen, Plan(before=(job,), after=leftovers))
        return now + errand.LOOK_AGAIN

    async def _take(
        self, seen: SeenStorage, catalog: CatalogRebuild, found: Errand, job: JobSeen, ending: Ending
    ) -> datetime:
        """Carry out what a Job brought; only then record it, and only then let go of the Job that brought it."""
        page, now = page_of(ending), self._context.clock.now()
        if page is None:
            retryable = ending.retryable or ending.succeeded or ending.reason == Reason.RESULT_UNREADABLE
            status = page_failed(seen.status, catalog, ending.reason, ending.message, now, retryable=retryable)
        else:
            created, skipped = await self._create_missing(seen, catalog.token, page)
            status = page_done(seen.status, catalog, page, created, skipped, now)
        after = (*await errand.dismiss(self._context, seen.meta, job), *found.leftovers, *_events(status))
        await self._apply(seen, Plan(status=status, after=after))
        return now

    async def _create_missing(self, seen: SeenStorage, token: str, page: CatalogPage) -> tuple[int, int]:
        """Every entry gets its object; how many this rebuild made, and how many entries fit no folder."""
        databases, now = self._databases(seen), self._context.clock.now()
        created = skipped = 0
        for entry in page.entries:
            one = rebuilt(entry, seen.meta.named, databases, token, now)
            if one is None:
                skipped += 1
            else:
                created += await self._ensure(seen.meta.namespace, one, token)
        return created, skipped

    async def _ensure(self, namespace: str, one: Rebuilt, token: str) -> bool:
        """Make sure that the Backup is there with a status; says whether this rebuild made it."""
        metadata = {
            "name": one.name,
            "namespace": namespace,
            "labels": dict(one.labels),
            "annotations": dict(one.annotations),
        }
        wanted = {
            "apiVersion": BACKUPS.api_version,
            "kind": BACKUPS.kind,
            "metadata": metadata,
            "spec": dict(one.spec),
        }
        try:
            body = await self._context.kube.create(BACKUPS, namespace, wanted)
        except AlreadyExists:
            body = await self._found(namespace, one)
        if may_fill(body["metadata"].get("labels", {}), body.get("status") or {}):
            patch = merge_patch(body.get("status") or {}, one.status)
            version = body["metadata"]["resourceVersion"]
            body = await self._context.kube.patch_status(BACKUPS, namespace, one.name, patch, version)
            self._context.took("Backup", body)
        made_by: Mapping[str, Any] = body["metadata"].get("annotations", {})
        return made_by.items() >= one.annotations.items()

    async def _found(self, namespace: str, one: Rebuilt) -> Object:
        """The object that bears the name already, its references put right where an earlier rebuild made it."""
        body = await self._context.kube.get(BACKUPS, namespace, one.name)
        if body is None:
            message = f"Backup {namespace}/{one.name} was deleted just now; looking again"
            raise NotFound(message)
        metadata = body["metadata"]
        labels = relabelled(metadata.get("annotations", {}), metadata.get("labels", {}), one.labels)
        if not labels:
            return body
        version = metadata["resourceVersion"]
        body = await self._context.kube.patch_metadata(BACKUPS, namespace, one.name, {"labels": labels}, version)
        self._context.took("Backup", body)
        return body

    def _databases(self, seen: SeenStorage) -> dict[str, KnownDatabase]:
        """The Databases of the namespace, by name, each with the policies that cover it."""
        found: dict[str, KnownDatabase] = {}
        for key in self._context.cache.keys("Database", seen.meta.namespace):
            body = self._context.cache.get(key)
            if body is None:
                continue
            try:
                database = read.database(body)
            except UserFault:
                continue  # said on the Database itself; its backups keep the uids of old
            status = database.status
            found[key.name] = KnownDatabase(
                uid=database.meta.uid,
                system_identifier=status.system_identifier,
                looked_at=status.probed_generation is not None or status.last_probe_time is not None,
                policies=self._policies(database),
            )
        return found

    def _policies(self, database: read.SeenDatabase) -> dict[str, str]:
        covering: dict[str, str] = {}
        for key in policy_keys_of(self._context, database.meta.namespace, database.meta.name):
            body = self._context.cache.get(key)
            if body is None:
                continue
            try:
                policy = read.policy(body)
            except UserFault:
                continue  # said on the policy itself
            if selects(policy, database):
                covering[key.name] = policy.meta.uid
        return covering

    async def _apply(self, seen: SeenStorage, plan: Plan) -> None:
        await self._applier.apply(seen.meta, seen.raw_status, plan)


def _token(seen: SeenStorage, catalog: CatalogRebuild) -> str:
    """What makes one try at one page another Job than all others."""
    return f"{seen.meta.uid}/{catalog.token}/{catalog.next or ''}/{catalog.tries}"


def _events(status: Mapping[str, Any]) -> tuple[PostEvent, ...]:
    """Said once, when the rebuild has ended."""
    catalog = status["catalog"]
    if "at" not in catalog:
        return ()
    if "error" in catalog:
        return (PostEvent(Reason.CATALOG_NOT_REBUILT, catalog["error"], warning=True),)
    counts = f"{catalog['found']} backups found in the store, {catalog['created']} of them given an object"
    return (PostEvent(Reason.CATALOG_REBUILT, counts),)
