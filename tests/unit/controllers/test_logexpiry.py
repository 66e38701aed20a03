"""Log is let go by what all policies say right now, and promised no more before the first of it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from databosun.api.backuptasks import ExpireLogTask
from databosun.api.request import Request
from databosun.kube.resources import Object
from support.objects import conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver
from support.operatorlife import Event

HOURLY = [{"name": "full", "type": "Full", "cron": "0 * * * *"}]
SHORT = {"recoveryWindow": "2h", "grace": "1h"}


class Log:
    """A server whose log is shipped, hourly fulls, and what agents were sent to delete of it."""

    def __init__(self) -> None:
        self.rig = Rig(None)
        self.dead: set[str] = set()
        self.drive = Driver(self.rig, deliver=self._deliver)
        self.orders: list[ExpireLogTask] = []
        self.says: str | None = None
        self.rig.agents.script = self._script

    def _deliver(self, events: list[Event]) -> list[Event]:
        return [one for one in events if one.kind not in self.dead]

    def _script(self, request: Request) -> str | None:
        if not isinstance(request.job, ExpireLogTask):
            return None
        if request.job not in self.orders:
            self.orders.append(request.job)
        return self.says

    async def start(self, *others: Object) -> None:
        continuous = {"enabled": True, "maxLag": "1m"}
        own = policy(continuous=continuous, schedules=HOURLY, retention=SHORT)
        await self.rig.create(storage(), database(tier=1), own, *others)

        async def so() -> bool:
            body = await self.rig.get("Database", "orders")
            return conditions(body).get("ContinuousHealthy") == ("True", "Archiving")

        await self.drive.until(so)

    async def database(self) -> dict[str, Any]:
        return (await self.rig.get("Database", "orders"))["status"]

    async def shown(self) -> bool:
        return "expiring" in (await self.database())["archiver"]

    async def ordered(self) -> bool:
        return bool(self.orders)

    async def expired(self) -> bool:
        return "logExpired" in (await self.database())["archiver"]


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    made = Log()
    yield made
    await made.rig.close()


async def test_nothing_is_promised_of_log_that_an_agent_may_delete(log: Log) -> None:
    log.says = "hang"
    await log.start()
    await log.drive.until(log.shown, limit=6 * HOUR)
    before = await log.database()
    await log.drive.until(log.ordered, limit=3 * HOUR)
    now = await log.database()
    assert now["archiver"]["logBegin"] == log.orders[0].keep_lsn != before["archiver"]["logBegin"]
    assert now["recovery"]["continuousFrom"] == before["archiver"]["expiring"]["before"]
    assert "logExpired" not in now["archiver"]

    await log.drive.idle(HOUR)
    ended = await log.database()
    assert "LogNotExpired" in log.rig.told.reasons("orders")
    assert ended["archiver"]["logBegin"] == log.orders[0].keep_lsn
    again = datetime.fromisoformat(ended["archiver"]["expiring"]["since"]) + HOUR

    log.says = None
    await log.drive.until(log.expired, limit=3 * HOUR)
    assert log.rig.clock.now() >= again


@pytest.mark.parametrize(
    "broken",
    [{"jitter": "2h", "retention": {"recoveryWindow": "90d"}}, {"retention": {"recoveryWindow": "for ever"}}],
    ids=["cannot be carried out", "cannot be read"],
)
async def test_no_log_goes_while_a_policy_is_not_understood(log: Log, broken: dict[str, Any]) -> None:
    await log.start(policy("long", **broken))
    await log.drive.idle(5 * HOUR)
    assert not await log.shown()


async def test_no_log_goes_that_a_policy_asks_for_which_was_not_seen_yet(log: Log) -> None:
    await log.start()
    await log.drive.until(log.shown, limit=6 * HOUR)
    log.dead = {"BackupPolicy"}
    await log.rig.create(policy("held", legalHold=True))
    await log.drive.idle(2 * HOUR)
    assert not log.orders


async def test_a_deletion_of_log_that_nobody_asks_for_any_more_leaves_nothing(log: Log) -> None:
    log.says = "hang"
    await log.start()
    await log.drive.until(log.ordered, limit=6 * HOUR)
    await log.rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["continuous"].update(enabled=False))
    await log.drive.idle(10 * MINUTE)
    left = [*await log.rig.objects("Job"), *await log.rig.objects("Pod")]
    assert not [one["metadata"]["name"] for one in left if one["metadata"]["name"].startswith("expire-log")]
