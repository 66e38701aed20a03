"""What watches and lists tell goes in here: into cache and indexes, and whoever it concerns into the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from databosun.controllers.context import Context
from databosun.controllers.matching import database_keys_of, drill_keys_of, policy_keys_of, same_server
from databosun.domain.interlock import OPERATIONS, Active, Operation
from databosun.domain.plan import (
    ANNOTATION_FOR,
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

logger = logging.getLogger(__name__)

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
READERS = ("RestoreDrillRun", "Restore", "Inquiry", "FailoverTestRun", "ErasureRequest", "DataExport")
LASTING = frozenset({"Inquiry", "ErasureRequest"})
"""Finished ones that are looked at again: an answer goes, and what an erasure left behind expires."""
APPROVABLE = frozenset({"BackupPolicy", "Database", "ErasureRequest", "FailoverTestRun", "LifecyclePolicy", "Restore"})
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
        for other in self._concerned(kind, key, body):
            self._context.hint(other)

    def _concerned(self, kind: str, key: Key, body: Body) -> Iterable[Key]:
        cache, namespace = self._context.cache, key.namespace
        policies: Iterable[Key]
        if kind == "Database":
            yield from self._of_database(key, body)
        elif kind == "Deployment":
            owner = owner_of(body["metadata"])
            yield from [owner] if owner is not None else []
        elif kind == "BackupStorage":
            policies = cache.referring("BackupPolicy", namespace, f"storage:{key.name}")
            yield from policies
            yield from self._not_begun("Backup", namespace, f"storage:{key.name}")
            yield from self._context.waiting.pop(key, ())
            for kind in READERS:
                yield from cache.keys(kind, namespace)
            yield from self._of_lifecycles(namespace, f"storage:{key.name}")
            yield from self._of_policies(policies)
        elif kind == "BackupPolicy":
            yield from database_keys_of(self._context, namespace, body)
            yield from self._not_begun("Backup", namespace, f"policy:{key.name}")
            yield from cache.referring("RestoreDrill", namespace, f"policy:{key.name}")
        else:
            yield from self._concerned_beside(kind, key, body)

    def _concerned_beside(self, kind: str, key: Key, body: Body) -> Iterable[Key]:
        """The same of what no backup needs."""
        cache, namespace = self._context.cache, key.namespace
        if kind == "RestoreDrill":
            named = body.get("spec", {}).get("databaseRef", {}).get("name")
            yield from [Key("Database", namespace, named)] if named else cache.keys("Database", namespace)
            yield from self._not_begun("RestoreDrillRun", namespace, f"drill:{key.name}")
        elif kind == "FailoverTest":
            yield from cache.referring("FailoverTestRun", namespace, f"test:{key.name}")
        elif kind == "LifecyclePolicy":
            yield from self._not_begun("LifecycleRun", namespace, f"lifecycle:{key.name}")
            if body.get("status", {}).get("archivedUntil"):  # what the Database can bring back at once
                yield Key("Database", namespace, body.get("spec", {}).get("databaseRef", {}).get("name", ""))
        elif kind == "Approval":
            yield from self._approved(namespace, body.get("spec", {}).get("ref", {}))

    def _of_database(self, key: Key, body: Body) -> Iterable[Key]:
        """Whoever refers to a Database."""
        namespace = key.namespace
        policies = policy_keys_of(self._context, namespace, key.name)
        yield from policies
        yield from drill_keys_of(self._context, namespace, key.name)
        yield from self._context.cache.referring("FailoverTest", namespace, f"database:{key.name}")
        yield from self._of_lifecycles(namespace, f"database:{key.name}")
        for resource in RUN_KINDS:
            yield from self._not_begun(resource.kind, namespace, f"database:{key.name}")
        yield from self._of_policies(policies)
        yield from same_server(self._context, key, body)

    def _approved(self, namespace: str, ref: Body) -> Iterable[Key]:
        """What an Approval is about, and what waits for it."""
        if ref.get("kind") in APPROVABLE:
            yield Key(ref["kind"], namespace, ref["name"])
        if ref.get("kind") == "LifecyclePolicy":
            yield from self._not_begun("LifecycleRun", namespace, f"lifecycle:{ref['name']}")

    def _of_policies(self, policies: Iterable[Key]) -> Iterable[Key]:
        """Unfinished Backups that name a policy: one made by hand may name nothing else."""
        for policy in policies:
            yield from self._not_begun("Backup", policy.namespace, f"policy:{policy.name}")

    def _of_lifecycles(self, namespace: str, name: str) -> Iterable[Key]:
        """LifecyclePolicies that refer to it, and their runs that have not begun."""
        for policy in self._context.cache.referring("LifecyclePolicy", namespace, name):
            yield policy
            yield from self._not_begun("LifecycleRun", namespace, f"lifecycle:{policy.name}")

    def _not_begun(self, kind: str, namespace: str, name: str) -> Iterable[Key]:
        """Runs that refer to it and have not begun; one that has begun goes by its Jobs and its deadlines."""
        for key in self._context.cache.referring(kind, namespace, name):
            known = self._context.cache.get(key) or {}
            if not known.get("status", {}).get("attempts"):
                yield key

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


def owner_of(metadata: Body) -> Key | None:
    """The object that a Job or pod works for."""
    mark = metadata.get("annotations", {}).get(ANNOTATION_FOR, "")
    parts = mark.split("/")
    return Key(*parts) if len(parts) == 3 else None


def owners_of(context: Context, run: FinishedRun) -> list[Key]:
    """Database and policy of a finished run, where they are still the same ones."""
    found = (context.cache.key_of(uid) for uid in (run.database_uid, run.policy_uid) if uid)
    return [key for key in found if key is not None]
