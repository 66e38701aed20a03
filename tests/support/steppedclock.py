"""A clock that stands still until it is told to move, for a queue that works against a real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class SteppedClock:
    """A `Clock`. Whoever waits by it is woken by every step and looks again, so a year passes as fast as a second."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = (start or datetime.now(UTC)).replace(microsecond=0)
        self._monotonic = 1000.0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """The instant."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that `advance` has let pass."""
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was advanced that far."""
        until = self._monotonic + seconds
        while self._monotonic < until:
            await self._moved.wait()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Return when the event is set or the clock moved; say whether the event is set."""
        if seconds is not None and seconds <= 0:
            await asyncio.sleep(0)
            return event.is_set()
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._moved.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        return event.is_set()

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        self._now += span
        self._monotonic += span.total_seconds()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Sleepers(SteppedClock):
    """Knows who sleeps by it, so that a test steps on only when all have done what they woke for."""

    def __init__(self) -> None:
        super().__init__()
        self._until: list[float] = []
        self._turned = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """The same."""
        until = self.monotonic() + seconds
        self._until.append(until)
        self._turned.set()
        try:
            await super().sleep(seconds)
        finally:
            self._until.remove(until)
            self._turned.set()

    async def asleep(self, number: int) -> None:
        """Return once so many sleep, and none of them is due."""
        while len(self._until) != number or min(self._until) <= self.monotonic():
            self._turned.clear()
            await self._turned.wait()
