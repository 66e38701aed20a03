"""The operator's controllers, wired as in the process, against a real API server, with time and agents of the test.

`Rig` is what outlives an operator: the namespace, the clock, the bucket, the agents. `Process` is one life of it.
"""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from databosun.controllers.context import Images
from databosun.controllers.intake import KINDS, RUNS
from databosun.controllers.wiring import Installation, Watchers, Wired, wire
from databosun.domain.errors import WorldFault
from databosun.domain.plan import FINALIZER_RESULT, LABEL_FINISHED
from databosun.kube.client import KubeClient
from databosun.kube.errors import NotFound
from databosun.kube.jobs import JobDefaults
from databosun.kube.resources import BACKUPS, DATABASES, DEPLOYMENTS, JOBS, OWN_KINDS, PODS, RUN_KINDS, Object, Resource
from databosun.kube.transport import Transport, TransportSettings, load_configuration
from support.agentsim import Agents
from support.chaoskube import Births, ChaosKube, Fault, Killed, Write
from support.looks import Looks
from support.memorykube import MemoryKube
from support.steppedclock import SteppedClock

RUNNER = "localhost/runner:18"
# Every server that is looked at says that it is 18.1.
IMAGES = {
    "PostgreSQL": {"18": RUNNER},
    "MariaDB": {"18.1": RUNNER},
    "Redis": {one: f"localhost/redis:{one}" for one in ("7", "18", "19")},
}
MEMORY_START = datetime(2026, 3, 1, 0, 2, tzinfo=UTC)
BY_KIND: Mapping[str, Resource] = {resource.kind: resource for resource in (*OWN_KINDS, JOBS, PODS, DEPLOYMENTS)}
WATCHED = (*KINDS, *RUN_KINDS, JOBS, PODS, DEPLOYMENTS)


At = tuple[str, str, str]
"""Kind, name and uid."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch tells."""

    kind: str
    body: Object
    gone: bool = False


Deliver = Callable[[list[Event]], Iterable[Event]]
"""What becomes of events on their way: lost, doubled, late, out of order."""


@dataclass(slots=True)
class Lease:
    """A Lease that is as fresh as the test says."""

    fresh: bool = True

    def assert_fresh(self) -> None:
        """Raise where another may have taken over."""
        if not self.fresh:
            raise WorldFault("LeaseNotFresh", "the Lease was renewed long ago")


@dataclass(slots=True)
class Told:
    """Events that the operator posted."""

    events: list[tuple[str, str, str]] = field(default_factory=list)

    async def post(self, involved: Mapping[str, Any], reason: str, message: str, *, warning: bool) -> None:
        """Remember."""
        self.events.append((involved["name"], reason, message))

    def reasons(self, name: str | None = None) -> list[str]:
        """The reasons told, of one object or of all."""
        return [reason for about, reason, _ in self.events if name in (None, about)]


class Process:
    """One life of the operator, from its first list to its end."""

    def __init__(self, rig: Rig, fault: Fault | None, deliver: Deliver, workers: int, resync: timedelta | None) -> None:
        self.rig = rig
        self._resync = resync
        self._next_resync = rig.clock.now() + resync if resync else None
        self.kube = ChaosKube(rig.kube, rig.births, rig.agents.logs, fault)
        installation = Installation("tests", Images(IMAGES), JobDefaults(), (rig.namespace,), workers)
        self.reconciled: Counter[str] = Counter()
        watchers = Watchers(reconciled=lambda kind, _outcome, _seconds: self.reconciled.update([kind]))
        self.wired: Wired = wire(self.kube, rig.clock, rig.lease, rig.told, installation, watchers)
        self._deliver = deliver
        self._known: dict[At, Object] = {}
        self._refreshed: Mapping[str, int] | None = None
        self._work: asyncio.Task[None] | None = None

    @property
    def writes(self) -> list[Write]:
        """The writes of this life."""
        return self.kube.writes

    async def start(self) -> None:
        """List everything, then work."""
        await self.wired.intake.fill()
        self._work = asyncio.create_task(self.wired.queue.run())
        self._known = await self.rig.everything()
        await self.settle()

    async def stop(self) -> None:
        """End it, as SIGKILL does."""
        self.kube.kill()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    @property
    def dead(self) -> bool:
        """Whether it was killed."""
        return self.kube.dead

    async def settle(self) -> None:
        """Wait until nothing is ready or running."""
        if self._work is None:
            return
        settled = asyncio.ensure_future(self.wired.queue.settled())
        try:
            await asyncio.wait({settled, self._work}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
            assert self._work.done() or settled.done(), "the queue does not come to rest"
        finally:
            settled.cancel()
        if self._work.done():
            self._raise(self._work.exception())

    @staticmethod
    def _raise(error: BaseException | None) -> None:
        if isinstance(error, BaseExceptionGroup) and error.split(Killed)[1] is None:
            raise Killed
        if error is not None:
            raise error

    @property
    def next_wake(self) -> datetime | None:
        """When it will look again by itself."""
        known = [wake for wake in (self.wired.queue.next_wake, self._next_resync) if wake is not None]
        return min(known, default=None)

    async def refresh(self) -> bool:
        """List what watches leave out, where it changed, and everything where that is due; says whether it wrote."""
        before, runs = len(self.writes), self.rig.looks.runs()
        if self._resync and self._next_resync and self.rig.clock.now() >= self._next_resync:
            self._next_resync = self.rig.clock.now() + self._resync
            await self.wired.intake.resync()
        elif runs is None or runs != self._refreshed:
            await self.wired.intake.refresh_finished()
        self._refreshed = runs
        await self.settle()
        return len(self.writes) > before

    async def watch(self, seen: Mapping[At, Object]) -> bool:
        """Deliver what changed since the last look; says whether anything did."""
        now = {at: body for at, body in seen.items() if self._watches(at[0], body)}
        events = [Event(at[0], body) for at, body in now.items() if _version(self._known.get(at)) != _version(body)]
        events += [Event(at[0], body, gone=True) for at, body in self._known.items() if at not in now]
        self._known = now
        for event in self._deliver(events):
            if event.kind in ("Job", "Pod"):
                self.wired.intake.worker(event.kind, event.body, gone=event.gone)
            elif event.gone:
                self.wired.intake.deleted(event.kind, event.body)
            else:
                self.wired.intake.changed(event.kind, event.body)
        await self.settle()
        return bool(events)

    @staticmethod
    def _watches(kind: str, body: Object) -> bool:
        """The watches of runs leave finished ones out."""
        return kind not in RUNS or LABEL_FINISHED not in body["metadata"].get("labels", {})


class Pair:
    """Two operators that both believe to be the leader; each sees what the other does only as events."""

    def __init__(self, *both: Process) -> None:
        self._both = both

    @property
    def writes(self) -> list[Write]:
        """The writes of both."""
        return [write for one in self._both for write in one.writes]

    @property
    def next_wake(self) -> datetime | None:
        """When the first of them will look again."""
        return min((wake for one in self._both if (wake := one.next_wake) is not None), default=None)

    async def watch(self, seen: Mapping[At, Object]) -> bool:
        """Deliver to both at once."""
        return any(await asyncio.gather(*(one.watch(seen) for one in self._both)))

    async def refresh(self) -> bool:
        """Both at once."""
        return any(await asyncio.gather(*(one.refresh() for one in self._both)))

    async def settle(self) -> None:
        """Wait for both."""
        await asyncio.gather(*(one.settle() for one in self._both))

    async def stop(self) -> None:
        """End both."""
        for one in self._both:
            await one.stop()


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
            seen = await self.everything()
            moved = await process.watch(seen)
            moved = await self.agents.step(seen) or moved
            if not moved:
                moved = await process.refresh()

    async def wait(self, process: Process | Pair, span: timedelta) -> None:
        """Let time pass; who is due is woken."""
        self.clock.advance(span)
        # Two turns: the queue's watch of the clock first, its workers then.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await process.settle()


def _version(body: Object | None) -> str | None:
    return body["metadata"]["resourceVersion"] if body is not None else None


# --- objects


def storage(name: str = "prod", **spec: Any) -> Object:
    """A BackupStorage on a volume."""
    values = {"volume": {"claimName": "backups", "path": "/"}, **spec}
    return _object("BackupStorage", name, {key: value for key, value in values.items() if value is not None})


def database(name: str = "orders", labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    """A PostgreSQL Database."""
    connection = {"host": f"{name}.db", "credentialsSecretRef": {"name": f"{name}-backup"}}
    return _object("Database", name, {"engine": "PostgreSQL", "connection": connection, **spec}, labels)


def policy(name: str = "nightly", cron: str = "0 0 1 1 *", **spec: Any) -> Object:
    """A BackupPolicy of one full schedule; by default one that is not due."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "schedules": [{"name": "full", "type": "Full", "cron": cron}],
    }
    if "databaseSelector" in spec:
        del base["databaseRef"]
    return _object("BackupPolicy", name, {**base, **spec})


def backup(name: str, not_after: datetime | None = None, **spec: Any) -> Object:
    """A Backup made by hand."""
    late = {"notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")} if not_after is not None else {}
    return _object(
        "Backup", name, {"policyRef": {"name": "nightly"}, "databaseRef": {"name": "orders"}, **late, **spec}
    )


def drill(name: str = "weekly", cron: str = "0 0 1 1 *", **spec: Any) -> Object:
    """A RestoreDrill of one database; by default one that is not due."""
    base = {"databaseRef": {"name": "orders"}, "schedule": {"cron": cron}}
    if "databaseSelector" in spec or "policyRef" in spec:
        del base["databaseRef"]
    return _object("RestoreDrill", name, {**base, **spec})


def drill_run(name: str, not_after: datetime | None = None, **spec: Any) -> Object:
    """A RestoreDrillRun made by hand."""
    late = {"notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")} if not_after is not None else {}
    return _object("RestoreDrillRun", name, {"databaseRef": {"name": "orders"}, **late, **spec})


def failover_test(name: str = "monthly", **spec: Any) -> Object:
    """A FailoverTest without a schedule, which asks for no backups."""
    guards = {"requireRecentBackup": "0s", "requireProvenBackup": "0s"}
    base = {"databaseRef": {"name": "orders"}, "evidence": {"storageRef": {"name": "prod"}}, "guards": guards}
    return _object("FailoverTest", name, {**base, **spec})


def failover_run(name: str, not_after: datetime, **spec: Any) -> Object:
    """A FailoverTestRun made by hand."""
    refs = {"testRef": {"name": "monthly"}, "databaseRef": {"name": "orders"}}
    return _object("FailoverTestRun", name, {**refs, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"), **spec})


def restore(name: str, not_after: datetime, **spec: Any) -> Object:
    """A Restore into an empty volume."""
    base = {
        "from": {"databaseRef": {"name": "orders"}},
        "target": {"volume": {"claimName": "new"}},
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("Restore", name, {**base, **spec})


def inquiry(name: str, not_after: datetime, **spec: Any) -> Object:
    """A question; by default for the records in the storage."""
    base: dict[str, Any] = {} if "comparison" in spec else {"records": {"storageRef": {"name": "prod"}}}
    return _object("Inquiry", name, {**base, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"), **spec})


def lifecycle(name: str = "old-orders", cron: str | None = "0 0 1 1 *", **spec: Any) -> Object:
    """A LifecyclePolicy that deletes orders after a year; by default one that is not due."""
    rule = {
        "name": "old",
        "target": {"table": "public.orders"},
        "match": {"column": "created_at", "olderThan": "365d"},
        "action": {"type": "Delete"},
        "limits": {"maxRowsPerRun": 100},
    }
    base: dict[str, Any] = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "rules": [rule],
        "preconditions": {"backupWithin": "2d"},
    }
    if cron is not None:
        base["schedule"] = {"cron": cron}
    return _object("LifecyclePolicy", name, {**base, **spec})


def lifecycle_run(name: str, not_after: datetime, **spec: Any) -> Object:
    """A LifecycleRun made by hand; by default a dry one."""
    late = {"policyRef": {"name": "old-orders"}, "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return _object("LifecycleRun", name, {**late, **spec})


def dataexport(name: str, not_after: datetime, **spec: Any) -> Object:
    """All rows of one person, who stands in one table."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "subjectSecretRef": {"name": name, "key": "subject"},
        "rules": [{"name": "customers", "table": "public.customers", "column": "email", "along": ["orders"]}],
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("DataExport", name, {**base, **spec})


def erasure(name: str, not_after: datetime, **spec: Any) -> Object:
    """One person, who stands in one table."""
    base = {
        "databaseRef": {"name": "orders"},
        "storageRef": {"name": "prod"},
        "subjectSecretRef": {"name": name, "key": "subject"},
        "rules": [{"name": "customers", "table": "public.customers", "column": "email", "action": {"type": "Delete"}}],
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return _object("ErasureRequest", name, {**base, **spec})


def _object(kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Object:
    return {
        "apiVersion": "databosun.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, **({"labels": dict(labels)} if labels else {})},
        "spec": dict(spec),
    }


def conditions(body: Object) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    found = body.get("status", {}).get("conditions", ())
    return {one["type"]: (one["status"], one["reason"]) for one in found}
