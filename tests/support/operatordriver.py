"""Sees a scenario through an operator that dies on the way, and says when it is where it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from databosun.domain.plan import (
    LABEL_FINISHED,
)
from support.chaoskube import Fault, Killed, Write
from support.objects import (
    conditions,
)
from support.operator import Rig
from support.operatorlife import Deliver, Pair, Process

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
Condition = Callable[[], Awaitable[bool]]


class Driver:
    """Sees a scenario through: starts an operator, and another one whenever it was killed."""

    def __init__(
        self,
        rig: Rig,
        fault: Fault | None = None,
        deliver: Deliver = lambda events: events,
        workers: int = 1,
        resync: timedelta | None = None,
        pair: bool = False,
    ) -> None:
        self.rig = rig
        self._fault = fault
        self._resync = resync
        self._pair = pair
        self._deliver = deliver
        self._workers = workers
        self._process: Process | Pair | None = None
        self.kills = 0

    @property
    def writes(self) -> list[Write]:
        """All writes of all lives."""
        return [write for life in self.rig.lives for write in life.writes]

    async def process(self) -> Process | Pair:
        """The operator that lives, or the two."""
        if self._process is None:
            fault, self._fault = self._fault, None
            self._process = await self.rig.start(fault, self._deliver, self._workers, self._resync)
            if self._pair:
                self._process = Pair(self._process, await self.rig.start(None, self._deliver, self._workers))
        return self._process

    async def until(self, condition: Condition, limit: timedelta = 2 * HOUR) -> None:
        """Go on until it is so."""
        await self._survive(lambda process: self.rig.run(process, condition, limit=limit))

    async def idle(self, span: timedelta) -> None:
        """Let time pass, and whatever comes with it happen."""
        end = self.rig.clock.now() + span

        async def over() -> bool:
            return self.rig.clock.now() >= end

        async def go(process: Process | Pair) -> None:
            while not await over():
                await self.rig.rest(process)
                wake = process.next_wake or end
                left = min(wake, end) - self.rig.clock.now()
                await self.rig.wait(process, max(left, timedelta(seconds=1)))
            await self.rig.rest(process)

        await self._survive(go)

    async def _survive(self, work: Callable[[Process | Pair], Awaitable[None]]) -> None:
        while True:
            try:
                await work(await self.process())
            except Killed:
                self.kills += 1
                if self._process is not None:
                    await self._process.stop()
                self._process = None
            else:
                return


async def ready(rig: Rig) -> bool:
    """Whether all that was applied is ready, and no Job is left."""
    bodies = [body for at, body in (await rig.everything()).items() if at[0] in ("Database", "BackupStorage")]
    policies = await rig.objects("BackupPolicy")
    found = [conditions(body).get("Ready", ("", ""))[0] for body in (*bodies, *policies)]
    return all(status == "True" for status in found) and not await rig.objects("Job")


async def phases(rig: Rig) -> list[str]:
    """Phases of all Backups that are wholly done, and `?` for each other."""
    return sorted(
        body["status"]["phase"] if LABEL_FINISHED in body["metadata"].get("labels", {}) else "?"
        for body in await rig.objects("Backup")
    )


def all_done(rig: Rig, *wanted: str) -> Condition:
    """Until the Backups have come to these verdicts."""

    async def so() -> bool:
        return await phases(rig) == sorted(wanted) and not await rig.objects("Job")

    return so


def runs_done(rig: Rig, kind: str, *wanted: str) -> Condition:
    """Until the runs of that kind have come to these verdicts."""

    async def so() -> bool:
        found = sorted(
            body["status"]["phase"] if LABEL_FINISHED in body["metadata"].get("labels", {}) else "?"
            for body in await rig.objects(kind)
        )
        return found == sorted(wanted) and not await rig.objects("Job")

    return so
