"""The few calls to the API server that Databosun makes. `kube/client.py` is the real one; tests wrap or replace it.

Objects are plain dicts. Errors are those of `kube/errors.py`; a reconcile may let any of them pass, the queue knows
what to do. Nothing is retried here: the queue does that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from databosun.kube.resources import Object, Resource

PAGE = 200
"""Objects an answer: several kinds are listed at once, and each page is held twice, as text and as objects."""

Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class Access:
    """One right: a verb on a resource (or subresource), in one namespace or in all (None)."""

    verb: str
    resource: Resource
    subresource: str = ""
    namespace: str | None = None


class KubePort(Protocol):
    """The API server. Every call may raise WorldFault (away, busy, unreachable) and UserFault (Forbidden)."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Read one object live; None where it is not there. ResourceAbsent where its kind is not served."""
        ...

    def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE,
    ) -> AsyncIterator[Object]:
        """Read all objects of a kind, page by page, in the server's order; None: all namespaces. Expired."""
        ...

    def list_remembered(
        self, resource: Resource, namespace: str, *, label_selector: str = "", since: int = 0
    ) -> AsyncIterator[Object]:
        """Read objects as the server remembers them (its watch cache), from a state no older than version `since`.

        Cheap where a live list must read a whole namespace from etcd; good to look with, never to delete by.
        """
        ...

    def list_metadata(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE,
    ) -> AsyncIterator[Object]:
        """As `list`, but only `metadata` of each object is sent (PartialObjectMetadata)."""
        ...

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create one object. AlreadyExists; QuotaExceeded, AdmissionRefused, NamespaceTerminating, Invalid."""
        ...

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Write a whole object that was read before, `metadata.resourceVersion` included. Conflict, NotFound."""
        ...

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> Object:
        """Merge `status` into the object's status (RFC 7386: None removes a field, lists are replaced whole).

        Conflict unless the object still has `resource_version`; NotFound. `kube.merge.merge_patch` gives the smallest
        patch from what was read to what is wanted.
        """
        ...

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Mapping[str, Any], resource_version: str | None
    ) -> Object:
        """Merge into `metadata` (labels, annotations, finalizers); None as a value removes. Conflict, NotFound.

        A list of finalizers is replaced whole, so changing it asks for the `resource_version` that was read.
        """
        ...

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
        """Delete exactly this object: Conflict where another bears the name or it has changed. Gone already is fine.
        `grace_seconds`: how long a pod's containers may take to end; None: as long as it says itself."""
        ...

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
        ...

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        """Those of `wanted` that this program may not do (SelfSubjectAccessReview each), in the order given."""
        ...

    async def discover(self, group: str, version: str) -> frozenset[str]:
        """Plurals of the resources that the server serves for a group and version; empty where it knows none."""
        ...
