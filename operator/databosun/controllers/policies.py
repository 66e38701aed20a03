"""Policies of every kind: read, decided over, and rid of the runs beyond their history.

A kind says what its objects are, and decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.seen import Meta, Seen
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.plan import DeleteObject
from databosun.kube.resources import Resource
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

P = TypeVar("P", bound=Seen[Any, Any])


class PolicyKind(ABC, Generic[P]):
    """Policies of one kind."""

    resource: ClassVar[Resource]
    runs: ClassVar[Resource]

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, self.resource)

    @abstractmethod
    def parse(self, body: Mapping[str, Any]) -> P:
        """The object."""

    @abstractmethod
    async def look(self, key: Key, seen: P, now: datetime) -> datetime | None:
        """Decide over one that is there, and carry the decision out."""

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one policy."""
        context = self._context
        body = context.cache.get(key) or await context.kube.get(self.resource, key.namespace, key.name)
        if body is None:
            context.observe(key.kind, key, {})
            let_go_of_pods(context, key)
            return None
        seen = self.parse(body)
        context.observe(key.kind, key, body)
        return None if seen.meta.deleting else await self.look(key, seen, context.clock.now())

    def finished(self, seen: P) -> list[FinishedRun]:
        """Its finished runs, oldest first."""
        return self._context.finished_of(self.runs.kind).of_policy(seen.meta.uid)

    def let_go(self, runs: Iterable[FinishedRun], over: Collection[str]) -> tuple[DeleteObject, ...]:
        """Delete those beyond the history; what people hold, or wrote notes on, stays."""
        return tuple(
            DeleteObject(self.runs.kind, run.namespace, run.name, run.uid, str(run.version))
            for run in runs
            if run.name in over and not run.deleting and not run.held and not run.noted
        )

    async def still_so(self, seen: P) -> bool:
        """Whether it is as the cache has it; asked before anything is created."""
        return await still_so(self._context, [(self.resource, seen.meta)])


async def still_so(context: Context, seen: Iterable[tuple[Resource, Meta]]) -> bool:
    """Whether all of these are as the cache has them; what is found otherwise is taken in."""
    still = True
    for resource, meta in seen:
        body = await context.kube.get(resource, meta.namespace, meta.name)
        if body is None:
            context.cache.drop(Key(resource.kind, meta.namespace, meta.name))
        else:
            context.cache.put(resource.kind, body)
        found = (body or {}).get("metadata", {})
        same = found.get("uid") == meta.uid and found.get("generation", 1) == meta.generation
        still = still and same and "deletionTimestamp" not in found
    return still


async def nothing_new(context: Context, namespace: str, resource: Resource) -> bool:
    """Whether all objects of a kind are there as the cache has them, and no others; what is found otherwise is taken
    in."""
    unseen = set(context.cache.keys(resource.kind, namespace))
    still = True
    async for body in context.kube.list(resource, namespace):
        key = Key(resource.kind, namespace, body["metadata"]["name"])
        unseen.discard(key)
        still = still and _told(context.cache.get(key)) == _told(body)
        context.cache.put(resource.kind, body)
    for key in unseen:
        context.cache.drop(key)
    return still and not unseen


def _told(body: Mapping[str, Any] | None) -> tuple[object, ...]:
    """What people say of an object: its spec and labels, and whether it is to go."""
    metadata = (body or {}).get("metadata", {})
    labels = metadata.get("labels") or {}
    return metadata.get("uid"), metadata.get("generation", 1), labels, "deletionTimestamp" in metadata
