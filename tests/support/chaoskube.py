"""A `KubePort` in front of the real client: counts writes, kills its operator at one of them or loses the answer.

It also makes some things so that tests need no kubelet and can let time pass: Jobs are created with `managedBy` and
Deployments paused, which keeps the cluster's controllers away from them (`agentsim` and `archiversim` do their part),
and creation times are those of the test's clock.
Logs come from the simulated agents, since no kubelet could serve them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from databosun.kube.errors import NotFound, Unreachable
from databosun.kube.port import Access, KubePort, Propagation
from databosun.kube.resources import DEPLOYMENTS, JOBS, Object, Resource
from databosun.runtime.clock import Clock

MANAGED_BY = "tests.databosun.io/agents"


class Killed(BaseException):
    """The process is gone: nothing in it may catch this."""


class Mode(StrEnum):
    """What happens at the chosen write."""

    KILL_BEFORE = "kill before"
    KILL_AFTER = "kill after"
    LOSE_ANSWER = "lose the answer"


@dataclass(frozen=True, slots=True)
class Fault:
    """At the n-th write from the start of an operator (the first is 1)."""

    write: int
    mode: Mode


@dataclass(slots=True)
class Births:
    """When objects were created, by the test's clock."""

    clock: Clock
    by_uid: dict[str, datetime] = field(default_factory=dict)

    def born(self, body: Object) -> Object:
        """Note a creation."""
        self.by_uid[body["metadata"]["uid"]] = self.clock.now()
        return self.seen(body)

    def seen(self, body: Object) -> Object:
        """The object as the test's clock would have it."""
        born = self.by_uid.get(body["metadata"].get("uid", ""))
        if born is not None:
            body["metadata"]["creationTimestamp"] = born.strftime("%Y-%m-%dT%H:%M:%SZ")
        return body


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was made."""

    verb: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


class ChaosKube:
    """One operator's way to the API server."""

    def __init__(
        self, real: KubePort, births: Births, logs: Mapping[tuple[str, str], bytes], fault: Fault | None = None
    ) -> None:
        self._real = real
        self._births = births
        self._logs = logs
        self.fault = fault
        self.dead = False
        self.writes: list[Write] = []

    def kill(self) -> None:
        """From now on nothing goes through."""
        self.dead = True

    def _alive(self) -> None:
        if self.dead:
            raise Killed

    async def _write(self, write: Write, do: Callable[[], Awaitable[Any]]) -> Any:
        self._alive()
        self.writes.append(write)
        mode = self.fault.mode if self.fault is not None and len(self.writes) == self.fault.write else None
        if mode is Mode.KILL_BEFORE:
            self.kill()
        self._alive()
        answer = await do()
        if mode is Mode.KILL_AFTER:
            self.kill()
        self._alive()
        if mode is Mode.LOSE_ANSWER:
            message = f"{write}: the answer was lost"
            raise Unreachable(message)
        return answer

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        self._alive()
        body = await self._real.get(resource, namespace, name)
        self._alive()
        return self._births.seen(body) if body is not None else None

    async def list(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        self._alive()
        async for body in self._real.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, page_size=page_size
        ):
            self._alive()
            yield self._births.seen(body)

    async def list_remembered(
        self, resource: Resource, namespace: str, *, label_selector: str = "", since: int = 0
    ) -> AsyncIterator[Object]:
        self._alive()
        remembered = self._real.list_remembered(resource, namespace, label_selector=label_selector, since=since)
        async for body in remembered:
            self._alive()
            yield self._births.seen(body)

    async def list_metadata(
        self,
        resource: Resource,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> AsyncIterator[Object]:
        self._alive()
        async for body in self._real.list_metadata(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, page_size=page_size
        ):
            self._alive()
            yield self._births.seen(body)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        body = _left_alone(resource, body)

        async def do() -> Object:
            return self._births.born(await self._real.create(resource, namespace, body))

        created: Object = await self._write(Write("create", resource.kind, body["metadata"]["name"]), do)
        return created

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        body = _left_alone(resource, body)

        async def do() -> Object:
            return self._births.seen(await self._real.replace(resource, namespace, name, body))

        replaced: Object = await self._write(Write("replace", resource.kind, name), do)
        return replaced

    async def patch_status(
        self, resource: Resource, namespace: str, name: str, status: Mapping[str, Any], resource_version: str
    ) -> Object:
        async def do() -> Object:
            return self._births.seen(await self._real.patch_status(resource, namespace, name, status, resource_version))

        patched: Object = await self._write(Write("status", resource.kind, name), do)
        return patched

    async def patch_metadata(
        self, resource: Resource, namespace: str, name: str, metadata: Mapping[str, Any], resource_version: str | None
    ) -> Object:
        async def do() -> Object:
            return self._births.seen(
                await self._real.patch_metadata(resource, namespace, name, metadata, resource_version)
            )

        patched: Object = await self._write(Write("metadata", resource.kind, name), do)
        return patched

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
        async def do() -> None:
            await self._real.delete(
                resource, namespace, name, uid=uid, resource_version=resource_version, propagation=propagation,
                grace_seconds=grace_seconds,
            )  # fmt: skip

        await self._write(Write("delete", resource.kind, name), do)

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
        self._alive()
        log = self._logs.get((namespace, name))
        if log is None:
            message = f"pod {namespace}/{name} has no log"
            raise NotFound(message)
        return b"\n".join(log.splitlines()[-(tail_lines or 10_000) :])

    async def denied(self, wanted: Sequence[Access]) -> tuple[Access, ...]:
        return await self._real.denied(wanted)

    async def discover(self, group: str, version: str) -> frozenset[str]:
        return await self._real.discover(group, version)


def _left_alone(resource: Resource, body: Object) -> Object:
    """The object as no controller of the cluster has a hand in it."""
    if resource == JOBS:
        return {**body, "spec": {**body["spec"], "managedBy": MANAGED_BY}}
    if resource == DEPLOYMENTS:
        return {**body, "spec": {**body["spec"], "paused": True}}
    return body
