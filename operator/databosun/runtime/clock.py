"""Time as a dependency, so that a test can let a year pass."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall clock, monotonic clock, and waiting by them. The wall clock may jump; the monotonic one only goes on."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some start; for measuring spans."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of `monotonic`."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for the event, at most so many seconds of `monotonic` (None: for ever); say whether it is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some start; for measuring spans."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait for the event, at most so many seconds (None: for ever); say whether it is set."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
