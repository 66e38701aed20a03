"""An API server in memory, as far as the operator uses one, so that thousands of lives of it can be tried.

It keeps the rules that decide over data: resourceVersions and uids as conditions, finalizers, the status apart from the
spec, garbage collection by owner. `tests/chaos` runs the same scenarios against it and against a real one.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from databosun.kube.errors import AlreadyExists, Conflict, NamespaceTerminating, NotFound
from databosun.kube.port import Access, Propagation
from databosun.kube.resources import CRDS, NAMESPACES, Object, Resource

At = tuple[str, str, str]


class MemoryKube:
    """A `KubePort` without a server behind it."""

    def __init__(self, now: Callable[[], datetime], wrote: Callable[[str], None]) -> None:
        self._now = now
        self._wrote = wrote
        self._objects: dict[At, Object] = {}
        self._versions = itertools.count(1)
        self._history: list[tuple[int, At, Object | None]] = []
        self._gone: set[str] = set()
        self.terminating: set[str] = set()
        """Namespaces and CRDs that are being deleted."""
        self.served: dict[tuple[str, str], frozenset[str]] = {}
        """Kinds of others, by group and version."""
        self.forbidden: set[tuple[str, str]] = set()
        """Verbs and plurals that the operator may not."""

    def close(self) -> None:
        """Nothing to close."""

    # --- reads

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """As the real one."""
        await self._turn()
        if resource in (NAMESPACES, CRDS):
            going = {"deletionTimestamp": self._stamp()} if name in self.terminating else {}
            return {"kind": resource.kind, "metadata": {"name": name, "uid": name, **going}}
        return copy.deepcopy(self._objects.get((resource.kind, namespace, name)))

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        """As the real one; by name."""
        await self._turn()
        wanted = [
            at
            for at, body in sorted(self._objects.items())
            if at[0] == resource.kind
            and namespace in (None, at[1])
            and _selected(body["metadata"].get("labels", {}), label_selector)
            and _of_fields(body, field_selector)
        ]
        for at in wanted:
            if at in self._objects:
                yield copy.deepcopy(self._objects[at])

    async def list_remembered(
        self, resource: Resource, namespace: str, *, label_selector: str = "", since: int = 0
    ) -> AsyncIterator[Object]:
        """As a real one whose memory is as old as the caller allows."""
        await self._turn()
        then: dict[At, Object | None] = {}
        for version, at, body in self._history:
            if version <= since and at[:2] == (resource.kind, namespace):
                then[at] = body
        for _, body in sorted(then.items()):
            if body is not None and _selected(body["metadata"].get("labels", {}), label_selector):
                yield copy.deepcopy(body)

    async def list_metadata(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        """As the real one."""
        async for body in self.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, page_size=page_size
        ):
            yield {"kind": resource.kind, "metadata": body["metadata"]}

    async def pod_log(self, namespace: str, name: str, **_: Any) -> bytes:
        """There are no logs here."""
        raise NotFound(f"pod {namespace}/{name} has no log")

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        """Those that a test forbids."""
        return tuple(one for one in wanted if (one.verb, one.resource.plural) in self.forbidden)

    async def discover(self, group: str, version: str) -> frozenset[str]:
        """Those of a test."""
        return self.served.get((group, version), frozenset())

    # --- writes

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """As the real one, defaults and validation apart."""
        await self._turn()
        at = (resource.kind, namespace, body["metadata"]["name"])
        if namespace in self.terminating:
            raise NamespaceTerminating(f"namespace {namespace} is being deleted")
        if at in self._objects:
            raise AlreadyExists(f"{resource.kind} {namespace}/{at[2]} is there already")
        made = copy.deepcopy(body)
        made |= {"apiVersion": resource.api_version, "kind": resource.kind}
        made.pop("status", None)
        made["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": self._stamp(),
        }
        if resource.kind == "Pod":
            made["status"] = {"phase": "Pending"}
        stored = self._store(at, made)
        owners = [owner["uid"] for owner in made["metadata"].get("ownerReferences", ())]
        if owners and self._gone.issuperset(owners):
            self._delete(at)  # nothing else would: they went before it came
        return stored

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """As the real one: all but the status."""
        await self._turn()
        known = self._known(resource, namespace, name, body["metadata"].get("resourceVersion"))
        made = copy.deepcopy(body)
        if "status" in known:
            made["status"] = known["status"]
        if made.get("spec") != known.get("spec"):
            made["metadata"]["generation"] = known["metadata"]["generation"] + 1
        return self._store((resource.kind, namespace, name), made)

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> Object:
        """As the real one."""
        await self._turn()
        known = self._known(resource, namespace, name, resource_version)
        known["status"] = _merged(known.get("status", {}), status)
        return self._store((resource.kind, namespace, name), known)

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Mapping[str, Any], resource_version: str | None
    ) -> Object:
        """As the real one: an object whose last finalizer goes while it is being deleted is gone."""
        await self._turn()
        known = self._known(resource, namespace, name, resource_version)
        known["metadata"] = _merged(known["metadata"], metadata)
        return self._store((resource.kind, namespace, name), known)

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
        """As the real one, with its garbage collector."""
        await self._turn()
        at = (resource.kind, namespace, name)
        if at not in self._objects:
            return
        known = self._known(resource, namespace, name, resource_version)
        if known["metadata"]["uid"] != uid:
            raise Conflict(f"{resource.kind} {namespace}/{name} is another one by now")
        self._delete(at)

    # --- inside

    @staticmethod
    async def _turn() -> None:
        """As at any call over a network, others may work meanwhile."""
        await asyncio.sleep(0)

    def _delete(self, at: At) -> None:
        body = copy.deepcopy(self._objects[at])
        if body["metadata"].get("finalizers"):
            if "deletionTimestamp" not in body["metadata"]:
                body["metadata"]["deletionTimestamp"] = self._stamp()
                self._store(at, body)
            return
        self._remove(at)

    def _remove(self, at: At) -> None:
        uid = self._objects.pop(at)["metadata"]["uid"]
        self._gone.add(uid)
        self._wrote(at[0])
        self._history.append((next(self._versions), at, None))
        for other, body in list(self._objects.items()):
            if other in self._objects and any(
                owner["uid"] == uid for owner in body["metadata"].get("ownerReferences", ())
            ):
                self._delete(other)

    def _known(self, resource: Resource, namespace: str, name: str, version: str | None) -> Object:
        body = self._objects.get((resource.kind, namespace, name))
        if body is None:
            raise NotFound(f"{resource.kind} {namespace}/{name} is not there")
        if version is not None and body["metadata"]["resourceVersion"] != version:
            raise Conflict(f"{resource.kind} {namespace}/{name} has changed")
        return copy.deepcopy(body)

    def _store(self, at: At, body: Object) -> Object:
        known = self._objects.get(at)
        if known is not None and _plain(known) == _plain(body):
            return copy.deepcopy(known)  # a write that changes nothing is none
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self._objects[at] = copy.deepcopy(body)
        self._wrote(at[0])
        self._history.append((int(body["metadata"]["resourceVersion"]), at, self._objects[at]))
        if "deletionTimestamp" in body["metadata"] and not body["metadata"].get("finalizers"):
            self._remove(at)
        return body

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(body: Object) -> Object:
    return body | {"metadata": {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}}


def _merged(before: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    merged = dict(before)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = _merged(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _selected(labels: Mapping[str, str], selector: str) -> bool:
    """The selectors that the operator uses: `key`, `!key`, `key=value`."""
    for term in filter(None, selector.split(",")):
        key, equals, value = term.removeprefix("!").partition("=")
        met = labels.get(key) == value if equals else (key in labels) is not term.startswith("!")
        if not met:
            return False
    return True


def _of_fields(body: Object, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for step in path.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if found != value:
            return False
    return True
