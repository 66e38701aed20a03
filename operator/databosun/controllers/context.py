"""What every controller works with: the API server, what the watches told, time, and the shared registers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from databosun.domain.capabilities import is_managed, series_of, series_order
from databosun.domain.interlock import Active
from databosun.kube.jobs import JobDefaults
from databosun.kube.port import KubePort
from databosun.runtime.cache import Cache, FinishedIndex
from databosun.runtime.clock import Clock
from databosun.runtime.queue import Key

AddKey = Callable[[Key, datetime | None], None]


class Leadership(Protocol):
    """Whether this process may delete."""

    def assert_fresh(self) -> None:
        """Raise unless the Lease was renewed within the last 5 s."""
        ...


class EventSink(Protocol):
    """Where Kubernetes Events go; never fails a reconcile."""

    async def post(self, involved: Mapping[str, Any], reason: str, message: str, *, warning: bool) -> None:
        """Say something of an object. Whoever it cannot be told to goes without; nothing is raised."""
        ...


@dataclass(frozen=True, slots=True)
class Images:
    """Runner images by engine and release series; the highest serves where the version is not known.

    `for_storage`: the engine whose image does the work that touches storage alone, where there is one.
    """

    by_engine: Mapping[str, Mapping[str, str]]
    for_storage: str = ""

    def runner(self, engine: str, version: str | None) -> str | None:
        """The image for a server version such as `15.20`; None where this installation has none.

        Where a cloud keeps the backups, a Job needs none of the server's programs: any image will do.
        """
        if is_managed(engine):
            return self.any_runner()
        known = self.by_engine.get(engine, {})
        if not known:
            return None
        if version is not None:
            return known.get(series_of(engine, version) or "")
        return known[max(known, key=series_order)]

    def any_runner(self) -> str | None:
        """An image for work that touches storage alone."""
        for images in (self.by_engine.get(self.for_storage, {}), *self.by_engine.values()):
            if images:
                return images[max(images, key=series_order)]
        return None


@dataclass(slots=True)
class Register:
    """Runs whose agent may be at work; claimed before their Job is created."""

    active: dict[Key, Active] = field(default_factory=dict)

    def claim(self, run: Key, active: Active) -> None:
        """Say that a run is about to work; kept until released."""
        self.active[run] = active

    def release(self, run: Key) -> bool:
        """Say that a run works no more; says whether it did."""
        return self.active.pop(run, None) is not None

    def others(self, run: Key) -> tuple[Active, ...]:
        """All active runs but this one."""
        return tuple(active for key, active in self.active.items() if key != run)


@dataclass(slots=True)
class Newborn:
    """Runs that this process created and has not looked at yet: they have neither Job nor pod."""

    uids: dict[Key, str] = field(default_factory=dict)

    def created(self, run: Key, uid: str) -> None:
        """The API server has just taken it, as new."""
        self.uids[run] = uid

    def first_look(self, run: Key, uid: str) -> bool:
        """Whether this is the first look at such a run; asked once, for whatever a look does may come after a Job."""
        return self.uids.pop(run, None) == uid


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all controllers."""

    kube: KubePort
    cache: Cache
    finished: FinishedIndex
    register: Register
    clock: Clock
    add: AddKey
    hint: Callable[[Key], None]
    leadership: Leadership
    events: EventSink
    images: Images
    jobs: JobDefaults
    cluster_id: str
    finished_others: Mapping[str, FinishedIndex] = field(default_factory=lambda: defaultdict(FinishedIndex))
    """Finished runs of other kinds than Backups, by kind."""
    waiting: dict[Key, set[Key]] = field(default_factory=lambda: defaultdict(set))
    """Who looks again when an object has changed that does not refer to it."""
    newborn: Newborn = field(default_factory=Newborn)
    workers: dict[Key, set[str]] = field(default_factory=dict)
    """Names of the Jobs and pods that are known to work for an object."""
    observe: Callable[[str, Key, Mapping[str, Any]], None] = lambda _kind, _key, _body: None
    """Told each object as it was last read (empty: it is gone), for metrics."""
    took: Callable[[str, Mapping[str, Any]], None] = lambda _kind, _body: None
    """Told each object as this process wrote it, so that the next look does not see the past."""

    def finished_of(self, kind: str) -> FinishedIndex:
        """The finished runs of one kind."""
        return self.finished if kind == "Backup" else self.finished_others[kind]


Reconciler = Callable[[Key], Awaitable[datetime | None]]
