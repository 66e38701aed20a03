"""One life of the operator: its controllers, wired as in the process, and the events that it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from databosun.controllers.context import Images
from databosun.controllers.intake import KINDS, RUNS
from databosun.controllers.wiring import Installation, Watchers, Wired, wire
from databosun.domain.errors import WorldFault
from databosun.domain.plan import LABEL_FINISHED
from databosun.kube.jobs import JobDefaults
from databosun.kube.resources import DEPLOYMENTS, JOBS, PODS, RUN_KINDS, Object
from support.chaoskube import ChaosKube, Fault, Killed, Write

if TYPE_CHECKING:
    from support.operator import Rig

RUNNER = "localhost/runner:18"
# Every server that is looked at says that it is 18.1.
IMAGES = {
    "PostgreSQL": {"18": RUNNER},
    "MariaDB": {"18.1": RUNNER},
    "Redis": {one: f"localhost/redis:{one}" for one in ("7", "18", "19")},
}
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
            await asyncio.wait({settled, self._work}, return_when=asyncio.FIRST_COMPLETED, timeout=300)
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


def _version(body: Object | None) -> str | None:
    return body["metadata"]["resourceVersion"] if body is not None else None
