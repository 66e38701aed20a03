"""A Lease in memory, with the API server's rule (a write needs the version that was read) and its faults."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from databosun.domain.errors import WorldFault
from databosun.domain.lease import LeaseRecord


class SharedLease:
    """The object itself, as the API server keeps it."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.history: list[str] = []
        self._version = 0

    def store(self, record: LeaseRecord) -> LeaseRecord:
        self._version += 1
        self.record = replace(record, version=str(self._version))
        self.history.append(record.holder)
        return self.record


class MemoryLease:
    """One contender's way to it.

    `away` refuses, `silent` never answers, `deaf` does the write and loses the answer, `slow` waits before it gives it.
    """

    def __init__(self, shared: SharedLease) -> None:
        self.shared = shared
        self.away = False
        self.silent = False
        self.deaf = False
        self.slow: Callable[[], Awaitable[None]] | None = None

    async def _reach(self) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise WorldFault("ApiUnreachable", "no answer")

    async def read(self) -> LeaseRecord | None:
        await self._reach()
        return self.shared.record

    async def create(self, record: LeaseRecord) -> LeaseRecord | None:
        await self._reach()
        return None if self.shared.record is not None else await self._stored(record)

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        await self._reach()
        known = self.shared.record
        return await self._stored(record) if known is not None and known.version == record.version else None

    async def _stored(self, record: LeaseRecord) -> LeaseRecord:
        stored = self.shared.store(record)
        if self.slow is not None:
            await self.slow()
        if self.deaf:
            raise WorldFault("ApiUnreachable", "the answer was lost")
        return stored
