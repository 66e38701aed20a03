"""The operator against a real API server, with time and agents of the test.

`Rig` is what outlives an operator: namespace, clock, bucket, agents. One life of it is in `operatorlife.py`.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databosun.domain.plan import FINALIZER_RESULT
from databosun.kube.client import KubeClient
from databosun.kube.errors import NotFound
from databosun.kube.resources import BACKUPS, DATABASES, DEPLOYMENTS, JOBS, OWN_KINDS, PODS, Object, Resource
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from support.agentsim import Agents
from support.chaoskube import Births, Fault
from support.looks import Looks
from support.memorykube import MemoryKube
from support.operatorlife import WATCHED, At, Deliver, Lease, Pair, Process, Told
from support.steppedclock import SteppedClock

MEMORY_START = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
BY_KIND: Mapping[str, Resource] = {resource.kind: resource for resource in (*OWN_KINDS, JOBS, PODS, DEPLOYMENTS)}
COLLECTED_WITHIN = 300.0
"""Seconds; the cluster's garbage collector stands still while it learns of kinds that came or went."""


class Rig:
    """A namespace with simulated agents and a clock of its own: on a real API server, or on one in memory."""

    def __init__(self, kubeconfig: Path | None, namespace: str = "shop") -> None:
        self.clock = SteppedClock(None if kubeconfig else MEMORY_START)
        self.looks = Looks(told_all=kubeconfig is None)
        self.memory = MemoryKube(self.clock.now, self.looks.wrote)
        self.kube: KubeClient | MemoryKube = self.memory
        if kubeconfig is not None:
            settings = TransportSettings(threads=8, read_timeout=60, total_timeout=120)
            self.kube = KubeClient(Transport(load_configuration(str(kubeconfig)), settings, self.looks.told))
        self.namespace = namespace
        self.births = Births(self.clock)
        self.agents = Agents(self.kube, namespace, self.clock, self.births)
        self.lease = Lease()
        self.told = Told()
        self.lives: list[Process] = []

    # --- the API server, as a person uses it

    async def everything(self) -> dict[At, Object]:
        """All objects of ours in the namespace, with Jobs and pods, by kind, name and uid."""
        lists = await asyncio.gather(*(self._look(resource.kind) for resource in WATCHED))
        bodies = (body for bodies in lists for body in bodies)
        return {(body["kind"], body["metadata"]["name"], body["metadata"]["uid"]): body for body in bodies}

    async def objects(self, kind: str) -> list[Object]:
        """All objects of one kind, by name."""
        return copy.deepcopy(await self._look(kind))

    async def _look(self, kind: str) -> list[Object]:
        known = self.looks.last(kind)
        if known is None:
            self.looks.begin(kind)
            known = await self._list(kind)
            self.looks.listed(kind, known)
        return known

    async def _list(self, kind: str) -> list[Object]:
        return [self.births.seen(body) async for body in self.kube.list(BY_KIND[kind], self.namespace)]

    async def get(self, kind: str, name: str) -> Object:
        """One object; fails where it is not there."""
        body = await self.kube.get(BY_KIND[kind], self.namespace, name)
        assert body is not None, f"{kind} {name} is not there"
        return self.births.seen(body)

    async def create(self, *bodies: Object) -> None:
        """Create objects of ours."""
        for body in bodies:
            resource = BY_KIND[body["kind"]]
            self.births.born(await self.kube.create(resource, self.namespace, body))

    async def edit(self, kind: str, name: str, change: Callable[[Object], None]) -> None:
        """Change a spec or metadata."""
        body = await self.get(kind, name)
        change(body)
        await self.kube.replace(BY_KIND[kind], self.namespace, name, body)

    async def delete(self, kind: str, name: str) -> None:
        """Delete, as kubectl does."""
        body = await self.get(kind, name)
        await self.kube.delete(BY_KIND[kind], self.namespace, name, uid=body["metadata"]["uid"])

    async def strip(self, body: Object) -> None:
        """Take all finalizers off, by force."""
        metadata = body["metadata"]
        resource = BY_KIND[body["kind"]]
        await self.kube.patch_metadata(resource, self.namespace, metadata["name"], {"finalizers": []}, None)

    # --- lives

    async def start(
        self,
        fault: Fault | None = None,
        deliver: Deliver = lambda events: events,
        workers: int = 1,
        resync: timedelta | None = None,
    ) -> Process:
        """Start an operator. Killed where the fault strikes while it starts."""
        process = Process(self, fault, deliver, workers, resync)
        self.lives.append(process)
        await process.start()
        return process

    async def close(self) -> None:
        """End all lives, and leave nothing that would hold the namespace."""
        for process in self.lives:
            await process.stop()
        missed = [await self._missed(resource.kind) for resource in WATCHED]
        for pod in await self.objects("Pod"):
            if FINALIZER_RESULT in pod["metadata"].get("finalizers", ()):
                await self._quietly(
                    self.kube.patch_metadata(PODS, self.namespace, pod["metadata"]["name"], {"finalizers": []}, None)
                )
        for backup in await self.objects("Backup"):
            if backup["metadata"].get("finalizers"):
                name = backup["metadata"]["name"]
                await self._quietly(self.kube.patch_metadata(BACKUPS, self.namespace, name, {"finalizers": []}, None))
        for database in await self.objects("Database"):
            if database["metadata"].get("finalizers"):
                name = database["metadata"]["name"]
                call = self.kube.patch_metadata(DATABASES, self.namespace, name, {"finalizers": []}, None)
                await self._quietly(call)
        self.kube.close()
        assert not any(missed), "; ".join(filter(None, missed))

    async def _missed(self, kind: str) -> str | None:
        """What the looks of this test did not see; a kind that they list anew anyway needs no second list."""
        return self.looks.differences(kind, await self._list(kind)) if self.looks.last(kind) is not None else None

    @staticmethod
    async def _quietly(call: Awaitable[Any]) -> None:
        try:
            await call
        except NotFound:
            return

    # --- time

    async def run(
        self,
        process: Process | Pair,
        until: Callable[[], Awaitable[bool]],
        *,
        limit: timedelta = timedelta(hours=2),
    ) -> None:
        """Let agents and operator work, and time pass while nothing moves, until the condition holds at rest."""
        end = self.clock.now() + limit
        while True:
            await self.rest(process)
            if await until():
                return
            wake = process.next_wake
            assert wake is not None, "nobody will ever look again"
            assert wake < end, f"nothing more happens before {wake}, and it is not so: {until}"
            await self.wait(process, max(wake - self.clock.now(), timedelta(seconds=1)))

    async def rest(self, process: Process | Pair) -> None:
        """Let agents and operator work until nothing moves, without any time passing."""
        moved = True
        while moved:
            seen = await self._collected()
            moved = await process.watch(seen)
            moved = await self.agents.step(seen) or moved
            if not moved:
                moved = await process.refresh()

    async def _collected(self) -> dict[At, Object]:
        """Everything, once the garbage collector has seen to what lost its owner: hours of a test are moments to it."""
        limit = time.monotonic() + COLLECTED_WITHIN
        while left := _ownerless(seen := await self.everything()):
            assert time.monotonic() < limit, f"not collected within {COLLECTED_WITHIN:.0f} s: {left}"
            await asyncio.sleep(0.02)
        return seen

    async def wait(self, process: Process | Pair, span: timedelta) -> None:
        """Let time pass; who is due is woken."""
        self.clock.advance(span)
        # Two turns: the queue's watch of the clock first, its workers then.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await process.settle()


def _ownerless(seen: Mapping[At, Object]) -> list[str]:
    """What only lost owners had, and nobody is deleting yet."""
    uids = {uid for _, _, uid in seen}
    return [
        f"{kind} {name}"
        for (kind, name, _), body in seen.items()
        if "deletionTimestamp" not in body["metadata"]
        and (owners := body["metadata"].get("ownerReferences"))
        and all(owner["kind"] in BY_KIND and owner["uid"] not in uids for owner in owners)
    ]
