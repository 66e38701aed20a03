"""Holds the Lease: one operator at a time acts, and one that cannot renew stops before another may start."""

from __future__ import annotations

import asyncio
import logging
import uuid
from datetime import datetime
from typing import Final, NoReturn, Protocol

from databosun.domain.errors import WorldFault
from databosun.domain.lease import LeaseRecord, LeaseTiming, may_take, released, renewed, taken
from databosun.runtime.clock import Clock

logger = logging.getLogger(__name__)

NOT_FRESH: Final = "LeaseNotFresh"


class LeasePort(Protocol):
    """One Lease object. WorldFault where the API server cannot be reached."""

    async def read(self) -> LeaseRecord | None:
        """The record as it is now; None where there is no Lease."""
        ...

    async def create(self, record: LeaseRecord) -> LeaseRecord | None:
        """Create the Lease; None where somebody was faster."""
        ...

    async def write(self, record: LeaseRecord) -> LeaseRecord | None:
        """Replace the record of that version; None where it has changed or is gone."""
        ...


class LeaseLost(Exception):
    """Another holds the Lease, or may soon: whoever runs under it must stop now."""


class Leader:
    """Takes, keeps and gives back the Lease. Acting is allowed between `acquire` and the end of `hold`.

    Spans are measured by the monotonic clock, from before a request was sent: a jump of the wall clock loses nothing,
    and a slow answer never makes a renewal look younger than it is.
    """

    def __init__(self, port: LeasePort, name: str, clock: Clock, timing: LeaseTiming | None = None) -> None:
        self._port = port
        self._clock = clock
        self._timing = timing or LeaseTiming()
        # A process started again under the same name must not take its predecessor's Lease for its own.
        self.identity = f"{name}_{uuid.uuid4().hex[:12]}"
        self._record: LeaseRecord | None = None
        self._beat: tuple[float, datetime] | None = None

    @property
    def leading(self) -> bool:
        """Whether the Lease is ours as far as we may assume."""
        return self._beat is not None and self._since_beat() < self._timing.give_up_after

    def assert_fresh(self) -> None:
        """Return only where the Lease was renewed within 5 s by both clocks; deletions ask this. WorldFault otherwise.

        Both, because the monotonic clock stands still while a virtual machine is paused, and others act meanwhile.
        """
        if self._beat is None:
            message = "the Lease is not held: nothing may be deleted"
            raise WorldFault(NOT_FRESH, message)
        age = max(self._since_beat(), (self._clock.now() - self._beat[1]).total_seconds())
        if age > self._timing.fresh_for:
            message = (
                f"the Lease was renewed {age:.1f} s ago, and a deletion asks for {self._timing.fresh_for:g} s at most: "
                f"another operator may be about to act. It is tried again once the API server has answered"
            )
            raise WorldFault(NOT_FRESH, message)

    async def acquire(self) -> None:
        """Return once the Lease is ours, however long another holds it."""
        seen: LeaseRecord | None = None
        since = self._clock.monotonic()
        while True:
            try:
                record = await self._port.read()
                if record is None or not record.same_beat(seen):
                    since = self._clock.monotonic()
                    if record is not None and (seen is None or seen.holder != record.holder):
                        logger.info("the Lease is another's", extra={"fields": {"holder": record.holder}})
                seen = record
                if await self._try_to_take(record, self._clock.monotonic() - since):
                    logger.info("the Lease is ours", extra={"fields": {"holder": self.identity}})
                    return
            except WorldFault as fault:
                logger.warning(
                    "cannot reach the Lease", extra={"fields": {"reason": fault.reason, "why": fault.message}}
                )
            await self._clock.sleep(self._timing.renew_every)

    async def hold(self) -> NoReturn:
        """Renew until the Lease is lost, and raise LeaseLost then."""
        ended = asyncio.Event()
        renewing = asyncio.ensure_future(self._keep_renewing())
        renewing.add_done_callback(lambda _: ended.set())
        try:
            # Not the renewing task itself counts the seconds: it may hang in a request that nobody answers.
            while not ended.is_set() and (left := self._timing.give_up_after - self._since_beat()) > 0:
                await self._clock.wait(ended, left)
        finally:
            renewing.cancel()
        self._beat = None
        if ended.is_set():
            renewing.result()
        message = f"the Lease could not be renewed for {self._timing.give_up_after:g} s: another operator may take over"
        raise LeaseLost(message)

    async def release(self) -> None:
        """Give the Lease back, so that the next one need not wait; call it when nothing acts any more.

        An unreachable API server is only logged: then the next one waits for the Lease to run out.
        """
        record, self._beat, self._record = self._record, None, None
        try:
            if record is not None and await self._port.write(released(record, self._clock.now())) is None:
                # A renewal that was on its way when `hold` was cancelled may have come first.
                record = await self._port.read()
                if record is not None and record.holder == self.identity:
                    await self._port.write(released(record, self._clock.now()))
        except WorldFault as fault:
            logger.warning("the Lease could not be given back", extra={"fields": {"why": fault.message}})

    async def _keep_renewing(self) -> NoReturn:
        while True:
            await self._clock.sleep(self._timing.renew_every)
            try:
                await self._renew()
            except WorldFault as fault:
                logger.warning("the Lease could not be renewed", extra={"fields": {"why": fault.message}})

    async def _renew(self) -> None:
        if self._record is not None and await self._write(renewed(self._record, self._clock.now())):
            return
        # Either somebody took the Lease, or an answer to us was lost, or a person deleted the object.
        record = await self._port.read()
        if record is not None and record.holder != self.identity:
            message = f"the Lease is held by {record.holder or 'nobody'} now"
            raise LeaseLost(message)
        await self._try_to_take(record, 0.0)

    async def _try_to_take(self, record: LeaseRecord | None, unchanged_for: float) -> bool:
        if record is not None and not may_take(record, self.identity, unchanged_for):
            return False
        return await self._write(taken(record, self.identity, self._clock.now(), self._timing))

    async def _write(self, record: LeaseRecord) -> bool:
        sent = (self._clock.monotonic(), self._clock.now())
        written = await (self._port.write(record) if record.version else self._port.create(record))
        if written is None:
            return False
        self._record, self._beat = written, sent
        return True

    def _since_beat(self) -> float:
        return self._clock.monotonic() - self._beat[0] if self._beat is not None else float("inf")
