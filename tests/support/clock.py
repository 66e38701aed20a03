"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

# Enough turns of the event loop for a chain of woken tasks to come to rest; without I/O each takes microseconds.
SETTLING_TURNS = 50


class FakeClock:
    """A `Clock` whose time is moved by `advance` (both clocks) and `jump` (the wall clock alone)."""

    def __init__(self, start: datetime | str = "2026-03-01T00:00:00Z") -> None:
        self._now = datetime.fromisoformat(start) if isinstance(start, str) else start
        self._now = self._now.astimezone(UTC)
        self._monotonic = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """The fake instant."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that `advance` has let pass."""
        return self._monotonic

    @property
    def sleepers(self) -> int:
        """How many tasks wait for this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced that far; a sleep of nothing gives way once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._alarm(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return when the event is set or the clock was advanced that far; say whether the event is set."""
        if event.is_set() or seconds is None:
            return await event.wait()
        if seconds <= 0:
            await asyncio.sleep(0)
            return event.is_set()
        alarm = self._alarm(seconds)
        setting = asyncio.ensure_future(event.wait())
        setting.add_done_callback(lambda _: None if alarm.done() else alarm.set_result(None))
        try:
            await alarm
        finally:
            alarm.cancel()
            setting.cancel()
        return event.is_set()

    async def advance(self, span: timedelta | float) -> None:
        """Let time pass: everyone due is woken in the order due, and each wake-up has its effects before the next."""
        seconds = span.total_seconds() if isinstance(span, timedelta) else span
        target = self._monotonic + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._move(max(due, self._monotonic))
            if not future.done():
                future.set_result(None)
                await self.settle()
        self._move(target)
        await self.settle()

    async def advance_to(self, instant: datetime | str) -> None:
        """Let time pass until the wall clock says this."""
        goal = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
        await self.advance(goal - self._now)

    def jump(self, span: timedelta) -> None:
        """Move the wall clock alone, as a time server may: nobody who sleeps is woken."""
        self._now += span

    @staticmethod
    async def settle() -> None:
        """Let tasks that can go on do so."""
        for _ in range(SETTLING_TURNS):
            await asyncio.sleep(0)

    def _alarm(self, seconds: float) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), future))
        return future

    def _move(self, monotonic: float) -> None:
        self._now += timedelta(seconds=monotonic - self._monotonic)
        self._monotonic = monotonic
