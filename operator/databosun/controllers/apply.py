"""Carry out a Plan: the only place that writes to the API server for a controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import Meta
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.plan import (
    FINALIZER_DATA,
    FINALIZER_RESULT,
    LABEL_ARCHIVER,
    LABEL_PROVEN,
    Action,
    CreateRun,
    DeleteArchiver,
    DeleteJob,
    DeleteObject,
    KeepArchiver,
    PatchMetadata,
    Plan,
    PostEvent,
    RecordProof,
    ReleasePod,
    StartJob,
)
from databosun.domain.proof import better_proof
from databosun.kube.archivers import build_archiver
from databosun.kube.errors import AlreadyExists, NotFound
from databosun.kube.jobs import build_job, owner_reference
from databosun.kube.merge import merge_patch
from databosun.kube.resources import BACKUPS, DEPLOYMENTS, JOBS, PODS, RUN_KINDS, Resource
from databosun.runtime.queue import Key

_RUNS = {resource.kind: resource for resource in RUN_KINDS}


class Applier:
    """Applies plans of one kind. A kill between any two writes leaves what the next look completes."""

    def __init__(self, context: Context, resource: Resource) -> None:
        self._context = context
        self._resource = resource

    async def apply(self, meta: Meta, raw_status: Mapping[str, Any], plan: Plan) -> Meta:
        """Do `before`, write the status where it differs, do `after`; returns the metadata as it is then."""
        for action in plan.before:
            meta = await self._act(meta, action)
        if plan.status is not None:
            meta = await self._write_status(meta, raw_status, plan.status)
        for action in plan.after:
            meta = await self._act(meta, action)
        return meta

    async def _write_status(self, meta: Meta, before: Mapping[str, Any], after: Mapping[str, Any]) -> Meta:
        patch = merge_patch(before, after)
        if not patch:
            return meta
        body = await self._context.kube.patch_status(
            self._resource, meta.namespace, meta.name, patch, meta.resource_version
        )
        return self._took(meta, body)

    def _took(self, meta: Meta, body: Mapping[str, Any]) -> Meta:
        self._context.took(self._resource.kind, body)
        return replace(meta, resource_version=body["metadata"]["resourceVersion"])

    async def _act(self, meta: Meta, action: Action) -> Meta:
        match action:
            case StartJob():
                await self._start(action)
            case DeleteJob():
                await self._context.kube.delete(JOBS, action.namespace, action.name, uid=action.uid)
            case KeepArchiver() | DeleteArchiver():
                await self._change_archiver(action)
            case ReleasePod():
                await self.release(action)
            case CreateRun():
                await self._create_run(action)
            case RecordProof():
                await self._record_proof(action)
            case DeleteObject():
                await self._delete(action)
            case PatchMetadata():
                body = await self._context.kube.patch_metadata(
                    self._resource, meta.namespace, meta.name, action.metadata, meta.resource_version
                )
                return self._took(meta, body)
            case PostEvent():
                await self.post(meta, action)
        return meta

    async def _start(self, action: StartJob) -> None:
        body = build_job(action, self._context.jobs, self._context.clock.now())
        try:
            await self._context.kube.create(JOBS, action.namespace, body)
        except AlreadyExists:
            found = await self._context.kube.get(JOBS, action.namespace, action.name)
            owners = (found or {}).get("metadata", {}).get("ownerReferences", [])
            if not any(owner.get("uid") == action.owner.uid for owner in owners):
                message = f"Job {action.namespace}/{action.name} belongs to another object; waiting until it is gone"
                raise WorldFault(Reason.NAME_TAKEN, message) from None

    async def _change_archiver(self, action: KeepArchiver | DeleteArchiver) -> None:
        if isinstance(action, KeepArchiver):
            await self._keep_archiver(action)
            return
        self._context.leadership.assert_fresh()
        await self._context.kube.delete(DEPLOYMENTS, action.namespace, action.name, uid=action.uid)
        self._context.cache.drop(Key(DEPLOYMENTS.kind, action.namespace, action.name))

    async def _keep_archiver(self, action: KeepArchiver) -> None:
        wanted = build_archiver(action, self._context.jobs)
        found = await self._context.kube.get(DEPLOYMENTS, action.namespace, action.name)
        if found is None:
            body = await self._context.kube.create(DEPLOYMENTS, action.namespace, wanted)
        else:
            metadata = found["metadata"]
            if LABEL_ARCHIVER not in metadata.get("labels", {}):
                message = f"Deployment {action.namespace}/{action.name} is not Databosun's; rename it or delete it"
                raise UserFault(Reason.NAME_TAKEN, message)
            wanted["metadata"] |= {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}
            body = await self._context.kube.replace(DEPLOYMENTS, action.namespace, action.name, wanted)
        self._context.cache.put(DEPLOYMENTS.kind, body)

    async def release(self, action: ReleasePod) -> None:
        """Let a pod go whose result was read; one that is gone already is fine."""
        left = [name for name in action.finalizers if name != FINALIZER_RESULT]
        try:
            await self._context.kube.patch_metadata(
                PODS, action.namespace, action.name, {"finalizers": left}, action.resource_version
            )
        except NotFound:
            return

    async def _create_run(self, action: CreateRun) -> None:
        resource = _RUNS[action.kind]
        metadata: dict[str, Any] = {"name": action.name, "namespace": action.namespace, "labels": dict(action.labels)}
        if action.finalizers:
            metadata["finalizers"] = list(action.finalizers)
        if action.owner is not None:
            metadata["ownerReferences"] = [owner_reference(action.owner)]
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "spec": dict(action.spec),
        }
        try:
            created = await self._context.kube.create(resource, action.namespace, body)
        except AlreadyExists:
            return
        key = Key(action.kind, action.namespace, action.name)
        self._context.newborn.created(key, created["metadata"]["uid"])
        self._context.took(action.kind, created)
        self._context.add(key, None)

    async def _record_proof(self, action: RecordProof) -> None:
        """The backup that was drilled, if it is still there, and still that one."""
        body = await self._context.kube.get(BACKUPS, action.namespace, action.backup)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return
        one = read.backup(body)
        if one.status.checksum != action.checksum:
            return
        status = one.status.model_copy(update={"proven": better_proof(one.status.proven, action.proof)}).dump()
        patch = merge_patch(one.raw_status, status)
        if patch:
            version = one.meta.resource_version
            body = await self._context.kube.patch_status(BACKUPS, action.namespace, action.backup, patch, version)
            self._context.took("Backup", body)
        if LABEL_PROVEN not in body["metadata"].get("labels", {}):
            # Coverage is counted from metadata alone, as finished runs are.
            mark, version = {"labels": {LABEL_PROVEN: "true"}}, body["metadata"]["resourceVersion"]
            body = await self._context.kube.patch_metadata(BACKUPS, action.namespace, action.backup, mark, version)
            self._context.took("Backup", body)

    async def _delete(self, action: DeleteObject) -> None:
        self._context.leadership.assert_fresh()
        kube, version, resource = self._context.kube, action.resource_version, _RUNS[action.kind]
        if FINALIZER_DATA in action.finalizers:
            left = [name for name in action.finalizers if name != FINALIZER_DATA]
            body = await kube.patch_metadata(resource, action.namespace, action.name, {"finalizers": left}, version)
            version = body["metadata"]["resourceVersion"]
        await kube.delete(resource, action.namespace, action.name, uid=action.uid, resource_version=version)
        self._context.add(Key(action.kind, action.namespace, action.name), None)

    async def post(self, meta: Meta, action: PostEvent) -> None:
        """Tell people of something about an object."""
        involved = {
            "apiVersion": self._resource.api_version,
            "kind": self._resource.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        }
        await self._context.events.post(involved, action.reason, action.message, warning=action.warning)
