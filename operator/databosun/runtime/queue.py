"""The work queue: dirty keys, one run per key at a time, wake-ups, bounded back-off. The only retry loop there is."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.runtime.clock import Clock

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=5)
# The wall clock may jump, so no wake-up is slept for in one piece.
LONGEST_NAP = 5.0
# Beyond what a time server corrects by slewing.
JUMP = timedelta(seconds=2)
# Of so many turns one is for hints, however much else waits.
TURNS = 10

logger = logging.getLogger(__name__)


class Key(NamedTuple):
    """One object of one kind."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(slots=True)
class Counters:
    """What the queue did so far; read by metrics and the liveness probe."""

    done: int = 0
    faults: int = 0
    refusals: int = 0
    panics: int = 0
    last_progress: float = 0.0


Reconcile = Callable[[Key], Awaitable[datetime | None]]


class Queue:
    """Runs `reconcile(key)` for every key that was added, on `workers` tasks, never twice at once for one key.

    The reconcile returns when it wants to be called again. A WorldFault is retried with back-off (1 s doubling to
    5 min, with jitter); any other exception is a bug: logged with its stack, counted, and retried the same way.
    """

    def __init__(
        self, reconcile: Reconcile, clock: Clock, *, workers: int = 20, rng: random.Random | None = None
    ) -> None:
        self._reconcile = reconcile
        self._clock = clock
        self._workers = workers
        self._rng = rng or random.Random()  # noqa: S311 (spreads retries; nothing secret)
        # A key is in one of them at most.
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._hinted: OrderedDict[Key, None] = OrderedDict()
        self._turn = 0
        self._dirty: dict[Key, bool] = {}
        self._running: set[Key] = set()
        self._wakes: list[tuple[datetime, int, Key]] = []
        self._wake_of: dict[Key, datetime] = {}
        self._due: dict[Key, datetime] = {}
        self._failures: dict[Key, int] = {}
        self._woke: Callable[[float], None] = lambda _seconds_late: None
        self._panicked: Callable[[str], None] = lambda _kind: None
        self._order = itertools.count()
        self._work = asyncio.Event()
        self._alarm = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.counters = Counters(last_progress=clock.monotonic())

    def add(self, key: Key, at: datetime | None = None) -> None:
        """Ask for a reconcile of `key`, now or at an instant; an earlier wake-up of the same key stays."""
        if at is not None and at > self._clock.now():
            known = self._wake_of.get(key)
            if known is None or at < known:
                self._wake_of[key] = at
                heapq.heappush(self._wakes, (at, next(self._order), key))
                self._alarm.set()
            return
        if not self._dirty.get(key, True):
            return
        self._dirty[key] = False
        if key not in self._running:
            self._hinted.pop(key, None)
            self._push(key, hinted=False)

    def hint(self, key: Key) -> None:
        """Ask for a reconcile of `key` because something that it looks at has changed: where more is to be done than
        can be, it waits behind what was added."""
        if key in self._dirty:
            return
        self._dirty[key] = True
        if key not in self._running:
            self._push(key, hinted=True)

    def forget(self, key: Key) -> None:
        """Drop the wake-ups and the failure count of an object that is gone."""
        self._wake_of.pop(key, None)
        self._failures.pop(key, None)

    @property
    def next_wake(self) -> datetime | None:
        """The next instant at which a key wakes up by itself."""
        return min(self._wake_of.values(), default=None)

    @property
    def depth(self) -> int:
        """Keys waiting for a worker."""
        return len(self._ready) + len(self._hinted)

    @property
    def running(self) -> int:
        """Keys being reconciled right now."""
        return len(self._running)

    def stuck_for(self) -> float:
        """Seconds since a reconcile ended while keys were waiting; 0 when nothing waits."""
        return self._clock.monotonic() - self.counters.last_progress if self.depth or self._running else 0.0

    async def settled(self) -> None:
        """Return when nothing is ready and nothing is running (wake-ups may be pending)."""
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_the_clock())
            for _ in range(self._workers):
                group.create_task(self._worker())

    def _push(self, key: Key, *, hinted: bool) -> None:
        if not self.depth and not self._running:
            self.counters.last_progress = self._clock.monotonic()
        (self._hinted if hinted else self._ready)[key] = None
        self._idle.clear()
        self._work.set()

    def tell(self, woke: Callable[[float], None], panicked: Callable[[str], None]) -> None:
        """Say how many seconds after its instant a wake-up's reconcile starts, and which kind's ended in a bug."""
        self._woke, self._panicked = woke, panicked

    def _next(self) -> Key:
        self._turn += 1
        waiting = self._ready if self._ready and (self._turn % TURNS or not self._hinted) else self._hinted
        key, _ = waiting.popitem(last=False)
        del self._dirty[key]
        return key

    async def _worker(self) -> None:
        while True:
            while not self.depth:
                self._work.clear()
                await self._work.wait()
            key = self._next()
            self._running.add(key)
            try:
                await self._once(key)
            finally:
                self._running.discard(key)
                self.counters.last_progress = self._clock.monotonic()
                if key in self._dirty:
                    self._push(key, hinted=self._dirty[key])
                elif not self.depth and not self._running:
                    self._idle.set()
            # A look that asks nobody anything never suspends: 20,000 of them would keep the loop from the Lease.
            await asyncio.sleep(0)

    async def _once(self, key: Key) -> None:
        self._wake_of.pop(key, None)
        due = self._due.pop(key, None)
        if due is not None:
            self._woke((self._clock.now() - due).total_seconds())
        try:
            wake_at = await self._reconcile(key)
        except WorldFault as fault:
            self.counters.faults += 1
            delay = self._delay(key)
            logger.warning(
                "will try again",
                extra={
                    "fields": {
                        "key": str(key),
                        "reason": fault.reason,
                        "message": fault.message,
                        "seconds": delay.total_seconds(),
                    }
                },
            )
            self.add(key, at=self._clock.now() + delay)
        except (UserFault, SafetyStop) as fault:
            self.counters.refusals += 1
            delay = LONGEST_DELAY * self._rng.uniform(0.8, 1.2)
            fields = {"key": str(key), "reason": fault.reason, "why": fault.message}
            logger.warning("waiting for a person", extra={"fields": fields})
            self.add(key, at=self._clock.now() + delay)
        except Exception:
            # A bug of ours in one kind must not stop the others; it is counted and alerted on.
            self.counters.panics += 1
            self._panicked(key.kind)
            delay = self._delay(key)
            logger.exception(
                "reconcile failed unexpectedly", extra={"fields": {"key": str(key), "seconds": delay.total_seconds()}}
            )
            self.add(key, at=self._clock.now() + delay)
        else:
            self.counters.done += 1
            self._failures.pop(key, None)
            if wake_at is not None:
                self.add(key, at=wake_at)

    def _delay(self, key: Key) -> timedelta:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(LONGEST_DELAY, FIRST_DELAY * float(2 ** min(failures, 20)))
        return delay * self._rng.uniform(0.8, 1.2)

    async def _watch_the_clock(self) -> None:
        last = self._clock.now(), self._clock.monotonic()
        while True:
            now = self._clock.now()
            passed = timedelta(seconds=self._clock.monotonic() - last[1])
            if now - last[0] < passed - JUMP:
                # Set back: what was to wait a second by the old time would now wait for as long as the jump.
                for key in tuple(self._wake_of):
                    self.add(key)
            last = now, self._clock.monotonic()
            while self._wakes and self._wakes[0][0] <= now:
                at, _, key = heapq.heappop(self._wakes)
                if self._wake_of.get(key) == at:
                    del self._wake_of[key]
                    self._due.setdefault(key, at)
                    self.add(key)
            nap = LONGEST_NAP
            if self._wakes:
                nap = min(nap, max(0.0, (self._wakes[0][0] - now).total_seconds()))
            self._alarm.clear()
            await self._clock.wait(self._alarm, nap)
