"""A token bucket, so that a thousand runs due at once do not press on the API server all in one second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class TokenBucket:
    """Lets `burst` calls pass at once and `rate` per second from then on, in the order in which they came."""

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if rate <= 0 or burst < 1:
            message = f"a rate of {rate}/s with a burst of {burst} would let nothing pass"
            raise ValueError(message)
        self._gap = 1 / rate
        self._slack = (burst - 1) * self._gap
        self._monotonic = monotonic
        self._sleep = sleep
        # The instant at which the next caller would pass, were the bucket not allowed to run ahead by its slack.
        self._next = monotonic()

    async def acquire(self) -> float:
        """Wait for a token; give the seconds waited. A caller that is cancelled while it waits has used its token."""
        now = self._monotonic()
        due = max(self._next, now)
        self._next = due + self._gap
        wait = due - self._slack - now
        if wait <= 0:
            return 0.0
        await self._sleep(wait)
        return wait
