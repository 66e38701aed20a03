"""The real `KubePort`: each call is one HTTP request, lists apart, which are one per page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from databosun.kube.answers import Call
from databosun.kube.errors import BadRequest, NotFound, ResourceAbsent
from databosun.kube.port import PAGE, Access, Propagation
from databosun.kube.ratelimit import TokenBucket
from databosun.kube.resources import PODS, Object, Resource
from databosun.kube.transport import Endpoint, Transport

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
FIELD_MANAGER: Final = ("fieldManager", "databosun")
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)


class KubeClient:
    """The API server over a `Transport`; writes wait for a token of `writes` first (None: no limit)."""

    def __init__(self, transport: Transport, writes: TokenBucket | None = None) -> None:
        self._transport = transport
        self._writes = writes

    def endpoint(self) -> Endpoint:
        """What another client needs to reach the same server as the same account."""
        return self._transport.endpoint()

    def close(self) -> None:
        """Drop idle connections and waiting requests."""
        self._transport.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read one object live; None where it is not there. ResourceAbsent where its kind is not served."""
        call = Call("get", resource, namespace, name)
        try:
            return _tidy(resource, await self._transport.request(call, "GET", resource.path(namespace, name)))
        except NotFound:
            return None

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE,
    ) -> AsyncIterator[Object]:
        """Read all objects of a kind, page by page, in the server's order; None: all namespaces. Expired."""
        query = _selectors(label_selector, field_selector, page_size)
        async for item in self._pages(resource, namespace, query, JSON):
            yield _tidy(resource, item)

    async def list_remembered(
        self, resource: Resource, namespace: str, *, label_selector: str = "", since: int = 0
    ) -> AsyncIterator[Object]:
        """Read objects from the server's watch cache, in one answer: with a limit it would ask etcd."""
        query = [
            *_selectors(label_selector, "", 0),
            ("resourceVersion", str(since)),
            ("resourceVersionMatch", "NotOlderThan"),
        ]
        async for item in self._pages(resource, namespace, query, JSON):
            yield _tidy(resource, item)

    async def list_metadata(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE,
    ) -> AsyncIterator[Object]:
        """As `list`, but only `metadata` of each object is sent (PartialObjectMetadata)."""
        query = _selectors(label_selector, field_selector, page_size)
        async for item in self._pages(resource, namespace, query, METADATA_ONLY):
            yield _tidy(resource, item)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create one object. AlreadyExists; QuotaExceeded, AdmissionRefused, NamespaceTerminating, Invalid."""
        name = body["metadata"].get("name") or body["metadata"].get("generateName")
        call = Call("create", resource, namespace, name)
        return await self._write(call, "POST", resource.path(namespace), body, JSON)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Write a whole object that was read before, `metadata.resourceVersion` included. Conflict, NotFound."""
        call = Call("update", resource, namespace, name)
        if not body["metadata"].get("resourceVersion"):
            message = f"{call}: without a resourceVersion this would overwrite what others wrote meanwhile"
            raise BadRequest(message)
        return await self._write(call, "PUT", resource.path(namespace, name), body, JSON)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> Object:
        """Merge `status` into the object's status (None removes a field). Conflict, NotFound."""
        call = Call("patch", resource, namespace, name, "status")
        body = {"metadata": {"resourceVersion": resource_version}, "status": dict(status)}
        return await self._write(call, "PATCH", resource.path(namespace, name, "status"), body, MERGE_PATCH)

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Mapping[str, Any], resource_version: str | None
    ) -> Object:
        """Merge into `metadata` (labels, annotations, finalizers); None as a value removes. Conflict, NotFound."""
        call = Call("patch", resource, namespace, name)
        condition = {"resourceVersion": resource_version} if resource_version is not None else {}
        body = {"metadata": {**metadata, **condition}}
        return await self._write(call, "PATCH", resource.path(namespace, name), body, MERGE_PATCH)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_seconds: int | None = None,
    ) -> None:
        """Delete exactly this object: Conflict where another bears the name or it has changed. Gone already is fine."""
        call = Call("delete", resource, namespace, name)
        condition = {"uid": uid} | ({"resourceVersion": resource_version} if resource_version is not None else {})
        if not uid:
            message = f"{call}: without a uid this could delete another object of the same name"
            raise BadRequest(message)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": condition,
            "propagationPolicy": propagation,
        } | ({"gracePeriodSeconds": grace_seconds} if grace_seconds is not None else {})
        try:
            await self._write(call, "DELETE", resource.path(namespace, name), body, JSON)
        except NotFound:
            return

    async def pod_log(
        self,
        namespace: str,
        name: str,
        *,
        container: str | None = None,
        since_seconds: int | None = None,
        tail_lines: int | None = None,
        limit_bytes: int | None = None,
    ) -> bytes:
        """A container's log as it is now; empty while it has not started. NotFound. The caller checks the pod's uid."""
        call = Call("get", PODS, namespace, name, "log")
        asked = {
            "container": container,
            "sinceSeconds": since_seconds,
            "tailLines": tail_lines,
            "limitBytes": limit_bytes,
        }
        query = [(key, str(value)) for key, value in asked.items() if value is not None]
        try:
            return await self._transport.read(call, PODS.path(namespace, name, "log"), query=query)
        except BadRequest as error:
            if any(sign in str(error) for sign in ("waiting to start", "does not have a host assigned")):
                return b""
            raise

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        """Those of `wanted` that this program may not do (SelfSubjectAccessReview each), in the order given."""
        allowed = await asyncio.gather(*(self._allowed(access) for access in wanted))
        return tuple(access for access, yes in zip(wanted, allowed, strict=True) if not yes)

    async def discover(self, group: str, version: str) -> frozenset[str]:
        """Plurals of the resources that the server serves for a group and version; empty where it knows none."""
        served = Resource(group, version, "*", "APIResourceList", namespaced=False)
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await self._transport.request(Call("discover", served), "GET", path)
        except ResourceAbsent:
            return frozenset()
        return frozenset(entry["name"] for entry in answer.get("resources", ()) if "/" not in entry["name"])

    async def _allowed(self, access: Access) -> bool:
        attributes = {
            "verb": access.verb,
            "group": access.resource.group,
            "resource": access.resource.plural,
            "subresource": access.subresource,
            "namespace": access.namespace or "",
        }
        body = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": attributes},
        }
        call = Call("create", ACCESS_REVIEWS)
        answer = await self._transport.request(call, "POST", ACCESS_REVIEWS.path(None), body=body, content_type=JSON)
        return bool(answer.get("status", {}).get("allowed", False))

    async def _pages(
        self, resource: Resource, namespace: str | None, query: Sequence[tuple[str, str]], accept: str
    ) -> AsyncIterator[Object]:
        call = Call("list", resource, namespace)
        path, token = resource.path(namespace), ""
        while True:
            page = await self._transport.request(
                call, "GET", path, query=[*query, ("continue", token)] if token else query, accept=accept
            )
            # Reversed and popped, so that what the caller has dropped is freed before the next page comes.
            items = page["items"] or []
            items.reverse()
            while items:
                yield items.pop()
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def _write(self, call: Call, method: str, path: str, body: Object, content_type: str) -> Object:
        if self._writes is not None:
            await self._writes.acquire()
        query = () if method == "DELETE" else (FIELD_MANAGER,)
        answer: Object = await self._transport.request(
            call, method, path, query=query, body=body, content_type=content_type
        )
        return _tidy(call.resource, answer)


def _selectors(label_selector: str, field_selector: str, page_size: int) -> Sequence[tuple[str, str]]:
    asked = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(page_size or "")}
    return [(key, value) for key, value in asked.items() if value]


def _tidy(resource: Resource, item: Object) -> Object:
    """An object as everybody here expects it: with its kind, which lists leave out, and without field ownership."""
    item.setdefault("apiVersion", resource.api_version)
    item.setdefault("kind", resource.kind)
    item.get("metadata", {}).pop("managedFields", None)
    return item
