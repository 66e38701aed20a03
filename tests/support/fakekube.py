"""An API server in memory: `KubePort` with the rules that its users rely on, and nothing else.

Names, resourceVersions, uids, finalizers, merge patches, label and field selectors, paging order. No validation, no
defaults, no watches. `before_write` is called before every write and may raise: so a test kills whoever writes.
"""

from __future__ import annotations

import copy
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from databosun.kube.answers import Call
from databosun.kube.errors import AlreadyExists, BadRequest, Conflict, NotFound
from databosun.kube.port import Access, Propagation
from databosun.kube.resources import Object, Resource

Place = tuple[str, str, str]
Review = Callable[[Object], Mapping[str, Any]]


def _start() -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC)


class FakeKube:
    """The server. `reviews` answer what is created and not kept, by kind; `broken` raises for a plural, on any call."""

    def __init__(self, now: Callable[[], datetime] = _start) -> None:
        self.objects: dict[Place, Object] = {}
        self.logs: dict[tuple[str, str], bytes] = {}
        self.reviews: dict[str, Review] = {}
        self.broken: dict[str, Exception] = {}
        self.served: dict[tuple[str, str], frozenset[str]] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.writes: list[str] = []
        self.before_write: Callable[[str], None] = lambda _what: None
        self.closed = False
        self._now = now
        self._versions = itertools.count(1000)

    # --- for tests

    def put(self, resource: Resource, body: Mapping[str, Any]) -> Object:
        """Place an object as somebody else would have created it, status and all."""
        made = copy.deepcopy(dict(body))
        metadata = made["metadata"]
        metadata.setdefault("namespace", "shop" if resource.namespaced else "")
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata.setdefault("creationTimestamp", f"{self._now():%Y-%m-%dT%H:%M:%SZ}")
        metadata.setdefault("generation", 1)
        metadata["resourceVersion"] = str(next(self._versions))
        made |= {"apiVersion": resource.api_version, "kind": resource.kind}
        self.objects[(resource.plural, metadata["namespace"], metadata["name"])] = made
        return copy.deepcopy(made)

    def all(self, resource: Resource) -> list[Object]:
        """Every object of a kind, by namespace and name."""
        return [copy.deepcopy(self.objects[place]) for place in sorted(self.objects) if place[0] == resource.plural]

    def one(self, resource: Resource, name: str, namespace: str = "shop") -> Object:
        """One object; a KeyError where it is not there."""
        return copy.deepcopy(self.objects[(resource.plural, namespace, name)])

    def amend(self, resource: Resource, name: str, namespace: str = "shop", **parts: Mapping[str, Any]) -> None:
        """Merge into `metadata`, `spec` or `status` as somebody else would."""
        body = self.objects[(resource.plural, namespace, name)]
        _merge(body, parts)
        body["metadata"]["resourceVersion"] = str(next(self._versions))

    # --- KubePort

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self._raise(resource)
        body = self.objects.get((resource.plural, namespace, name))
        return copy.deepcopy(body) if body is not None else None

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        self._raise(resource)
        for body in self.all(resource):
            metadata = body["metadata"]
            if namespace is not None and metadata["namespace"] != namespace:
                continue
            if _labelled(metadata.get("labels", {}), label_selector) and _fields(body, field_selector):
                yield body

    async def list_remembered(
        self, resource: Resource, namespace: str, *, label_selector: str = "", since: int = 0
    ) -> AsyncIterator[Object]:
        """It remembers all."""
        async for body in self.list(resource, namespace, label_selector=label_selector):
            yield body

    async def list_metadata(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        async for body in self.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, page_size=page_size
        ):
            yield {"metadata": body["metadata"]}

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        self._raise(resource)
        if resource.kind in self.reviews:
            return {**body, "status": dict(self.reviews[resource.kind](body))}
        name = body["metadata"]["name"]
        self._write(f"create {resource.plural}/{name}")
        if (resource.plural, namespace, name) in self.objects:
            raise AlreadyExists(f"{resource.plural} {name} already exists")
        kept = {part: value for part, value in json.loads(json.dumps(body)).items() if part != "status"}
        kept["metadata"]["namespace"] = namespace
        return self.put(resource, kept)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        self._raise(resource)
        self._write(f"replace {resource.plural}/{name}")
        before = self._demand(resource, namespace, name, body["metadata"]["resourceVersion"])
        kept = {"uid": before["metadata"]["uid"], "creationTimestamp": before["metadata"]["creationTimestamp"]}
        return self.put(resource, {**body, "metadata": {**body["metadata"], **kept, "namespace": namespace}})

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> Object:
        return self._patch(resource, namespace, name, "status", {"status": status}, resource_version)

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Mapping[str, Any], resource_version: str | None
    ) -> Object:
        body = self._patch(resource, namespace, name, "metadata", {"metadata": metadata}, resource_version)
        if "deletionTimestamp" in body["metadata"] and not body["metadata"].get("finalizers"):
            del self.objects[(resource.plural, namespace, name)]
        return body

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
        self._raise(resource)
        self._write(f"delete {resource.plural}/{name}")
        body = self.objects.get((resource.plural, namespace, name))
        if body is None:
            return
        metadata = body["metadata"]
        if metadata["uid"] != uid or resource_version not in (None, metadata["resourceVersion"]):
            raise Conflict(f"{resource.plural} {name} is not the one that was read")
        if metadata.get("finalizers"):
            self.amend(resource, name, namespace, metadata={"deletionTimestamp": f"{self._now():%Y-%m-%dT%H:%M:%SZ}"})
        else:
            del self.objects[(resource.plural, namespace, name)]

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
        if ("pods", namespace, name) not in self.objects:
            raise NotFound(f"pods {name} is not there")
        pod = self.objects[("pods", namespace, name)]
        if container is None and len(pod.get("status", {}).get("containerStatuses", [])) > 1:
            raise BadRequest(f"a container name must be specified for pod {name}")
        return self.logs.get((namespace, name), b"")

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        return ()

    async def discover(self, group: str, version: str) -> frozenset[str]:
        return self.served.get((group, version), frozenset())

    # --- plain requests

    async def request(
        self, call: Call, method: str, path: str, *, query: Any = (), body: Any = None, **headers: str
    ) -> Any:
        """Answer from `answers`; a write counts as one."""
        if method != "GET":
            self._write(f"{method.lower()} {path} {json.dumps(body)}")
        if (method, path) not in self.answers:
            raise NotFound(f"{call}: not found")
        return self.answers[(method, path)]

    def close(self) -> None:
        """Remember that the caller let go."""
        self.closed = True

    # --- inside

    def _raise(self, resource: Resource) -> None:
        if resource.plural in self.broken:
            raise self.broken[resource.plural]

    def _write(self, what: str) -> None:
        self.before_write(what)
        self.writes.append(what)

    def _demand(self, resource: Resource, namespace: str, name: str, version: str | None) -> Object:
        body = self.objects.get((resource.plural, namespace, name))
        if body is None:
            raise NotFound(f"{resource.plural} {name} is not there")
        if version not in (None, body["metadata"]["resourceVersion"]):
            raise Conflict(f"{resource.plural} {name} has changed")
        return body

    def _patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        what: str,
        parts: Mapping[str, Any],
        version: str | None,
    ) -> Object:
        self._raise(resource)
        self._write(f"patch {resource.plural}/{name} {what}")
        body = self._demand(resource, namespace, name, version)
        _merge(body, json.loads(json.dumps(parts)))
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        return copy.deepcopy(body)


def _merge(target: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping):
            inner = target.setdefault(key, {})
            if not isinstance(inner, dict):
                inner = target[key] = {}
            _merge(inner, value)
        else:
            target[key] = copy.deepcopy(value)


def _labelled(labels: Mapping[str, str], selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        key, equals, value = term.partition("=")
        if equals and labels.get(key) != value:
            return False
        if not equals and (key.removeprefix("!") in labels) is key.startswith("!"):
            return False
    return True


def _fields(body: Mapping[str, Any], selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        found: Any = body
        for part in path.split("."):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        if found != value:
            return False
    return True
