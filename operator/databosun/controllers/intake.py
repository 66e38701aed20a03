"""What watches and lists tell goes in here: into cache and indexes, and whoever it concerns into the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from databosun.controllers.concerned import concerned, owner_of, owners_of
from databosun.controllers.context import Context
from databosun.domain.interlock import OPERATIONS, Active, Operation
from databosun.domain.plan import (
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_STORAGE_UID,
    LABEL_TASK,
    TASK_ARCHIVE,
)
from databosun.kube.resources import (
    APPROVALS,
    BACKUP_POLICIES,
    BACKUP_STORAGES,
    DATABASES,
    DEPLOYMENTS,
    FAILOVER_TESTS,
    JOBS,
    LIFECYCLE_POLICIES,
    PODS,
    RESTORE_DRILLS,
    RUN_KINDS,
    Resource,
)
from databosun.runtime.cache import FinishedRun, finished_run
from databosun.runtime.queue import Key

KINDS = (
    DATABASES,
    BACKUP_STORAGES,
    BACKUP_POLICIES,
    RESTORE_DRILLS,
    FAILOVER_TESTS,
    LIFECYCLE_POLICIES,
    APPROVALS,
)
RUNS = frozenset(resource.kind for resource in RUN_KINDS)
LASTING = frozenset({"Inquiry", "ErasureRequest"})
"""Finished ones that are looked at again: an answer goes, and what an erasure left behind expires."""
# More at once would each be slower, and come nearer to the time that a request may take.
LISTS_AT_ONCE = 3
OPERATION_OF = {
    "Backup": Operation.BACKUP,
    "RestoreDrillRun": Operation.DRILL,
    "Restore": Operation.RESTORE,
    "Inquiry": Operation.DRILL,
    "FailoverTestRun": Operation.FAILOVER,
    "LifecycleRun": Operation.LIFECYCLE,
    "ErasureRequest": Operation.LIFECYCLE,
    "DataExport": Operation.DRILL,
}
UNFINISHED = f"!{LABEL_FINISHED}"
FINISHED = LABEL_FINISHED
OURS = "app.kubernetes.io/managed-by=databosun"

Body = Mapping[str, Any]


class Intake:
    """Keeps cache and indexes in step with the API server. Lost, doubled or late news costs only time."""

    def __init__(self, context: Context, namespaces: Sequence[str]) -> None:
        self._context = context
        self._namespaces: Sequence[str | None] = list(namespaces) or [None]

    # --- events

    def changed(self, kind: str, body: Body) -> None:
        """An object of ours was listed, added or modified."""
        metadata = body["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        if kind in RUNS and (run := finished_run(metadata)) is not None:
            self._finished(kind, run)
            return
        if self._context.cache.put(kind, body):
            self._context.add(key, None)
            self._tell(kind, key, body)

    def deleted(self, kind: str, body: Body) -> None:
        """An object is gone, or left the watch's selector: look at it with a GET, and so does whoever refers to it."""
        metadata = body["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        known = self._context.cache.version(key)
        if known is not None and known[0] == metadata["uid"]:
            self._context.cache.drop(key)
        self._context.add(key, None)
        self._tell(kind, key, body)

    def own_write(self, kind: str, body: Body) -> None:
        """An object as this process has just written it: taken in at once; others that depend on it are told."""
        metadata = body["metadata"]
        key = Key(kind, metadata["namespace"], metadata["name"])
        if kind in RUNS and (run := finished_run(metadata)) is not None:
            self._context.cache.drop(key)
            self._finished(kind, run)
        elif self._context.cache.put(kind, body):
            self._tell(kind, key, body)

    def worker(self, kind: str, body: Body, *, gone: bool) -> None:
        """A Job or pod of an agent was seen; its owner looks again."""
        metadata = body["metadata"]
        owner = owner_of(metadata)
        if owner is None:
            return
        if metadata["labels"].get(LABEL_TASK) == TASK_ARCHIVE:
            self._context.hint(owner)  # it has no result to be read, and nothing to be let go of
            return
        if kind == "Pod" and (gone or "deletionTimestamp" in metadata):
            self._context.add(Key(kind, metadata["namespace"], metadata["name"]), None)
        name = f"{kind}/{metadata['name']}"
        known = self._context.workers.setdefault(owner, set())
        if gone:
            known.discard(name)
        else:
            known.add(name)
        self._context.hint(owner)

    def _finished(self, kind: str, run: FinishedRun) -> None:
        if self._context.finished_of(kind).put(run):
            for key in owners_of(self._context, run):
                self._context.hint(key)
            if run.deleting or kind in LASTING:
                self._context.add(Key(kind, run.namespace, run.name), None)

    def _tell(self, kind: str, key: Key, body: Body) -> None:
        for other in concerned(self._context, kind, key, body):
            self._context.hint(other)

    # --- lists

    async def fill(self) -> None:
        """List everything once, before the first decision: half of the objects could claim what is not so."""
        await self.resync()
        for resource in RUN_KINDS:
            for key in self._context.cache.keys(resource.kind):
                known = self._context.cache.get(key) or {}
                if known.get("status", {}).get("attempts"):
                    self._claim(key, OPERATION_OF[resource.kind], known["metadata"].get("labels", {}))

    def _claim(self, run: Key, operation: Operation, labels: Body) -> None:
        active = Active(operation, labels.get(LABEL_DATABASE_UID), labels.get(LABEL_STORAGE_UID), run.name)
        self._context.register.claim(run, active)

    async def resync(self) -> None:
        """List every kind, and sweep what is gone: watches do not report what went while they were cut."""
        gate = asyncio.Semaphore(LISTS_AT_ONCE)

        async def one_of_few(resource: Resource, selector: str) -> None:
            async with gate:
                await self._mark_and_sweep(resource, selector)

        wanted = [(resource, "") for resource in KINDS]
        wanted += [(resource, UNFINISHED) for resource in RUN_KINDS]
        tasks = [asyncio.ensure_future(one_of_few(*one)) for one in (*wanted, (DEPLOYMENTS, OURS))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        await self.refresh_finished()
        await self._list_workers()

    async def _list_workers(self) -> None:
        unseen = {(key, name) for key, names in self._context.workers.items() for name in names}
        for namespace in self._namespaces:
            for resource in (JOBS, PODS):
                async for body in self._context.kube.list_metadata(resource, namespace, label_selector=OURS):
                    metadata, run = body["metadata"], owner_of(body["metadata"])
                    self.worker(resource.kind, body, gone=False)
                    if run is None:
                        continue
                    unseen.discard((run, f"{resource.kind}/{metadata['name']}"))
                    operation = OPERATIONS.get(metadata["labels"].get(LABEL_TASK, ""))
                    if resource is JOBS and operation is not None:
                        # An agent may be at work, whatever its run's status says yet; a run that is over says so.
                        self._claim(run, operation, metadata["labels"])
        for key, name in unseen:
            self._context.workers.get(key, set()).discard(name)

    async def _mark_and_sweep(self, resource: Resource, selector: str) -> None:
        for namespace in self._namespaces:
            before = {
                key: self._context.cache.version(key) for key in self._context.cache.keys(resource.kind, namespace)
            }
            seen = set()
            async for body in self._context.kube.list(resource, namespace, label_selector=selector):
                self.changed(resource.kind, body)
                seen.add(Key(resource.kind, body["metadata"]["namespace"], body["metadata"]["name"]))
            for key in before.keys() - seen:
                # Only what has not changed since the list began: a younger object was created beside it.
                if self._context.cache.version(key) == before[key]:
                    ghost = self._context.cache.get(key)
                    if ghost is not None:
                        self.deleted(resource.kind, ghost)

    async def refresh_finished(self) -> None:
        """List the metadata of finished runs: for deletions, holds, and those that finished elsewhere."""
        for resource in RUN_KINDS:
            for namespace in self._namespaces:
                await self._refresh_finished(resource, namespace)

    async def _refresh_finished(self, resource: Resource, namespace: str | None) -> None:
        index = self._context.finished_of(resource.kind)
        known = {(run.namespace, run.name): run for run in index.all() if namespace in (None, run.namespace)}
        seen = set()
        async for body in self._context.kube.list_metadata(resource, namespace, label_selector=FINISHED):
            run = finished_run(body["metadata"])
            if run is not None:
                seen.add((run.namespace, run.name))
                self._finished(resource.kind, run)
        for at in known.keys() - seen:
            if index.get(*at) is known[at]:
                self._context.add(Key(resource.kind, *at), None)
