"""Scenarios of drills and restores."""

from __future__ import annotations

from databosun.api.request import Request
from databosun.api.restoretasks import BridgeTask, DrillTask
from databosun.api.result import Outcome, Result
from support.objects import (
    approval_of,
    drill,
    drill_run,
    restore,
)
from support.operatordriver import HOUR, Driver, phases, ready, runs_done
from support.operatorseeds import seeded, several, soon


async def drilled(drive: Driver) -> None:
    """A slot of a drill comes: the newest backup is restored, and proven."""
    await seeded(drive, 2)
    await drive.rig.create(drill(cron=soon(drive.rig)))
    await drive.until(runs_done(drive.rig, "RestoreDrillRun", "Passed"))


async def drill_retried(drive: Driver) -> None:
    """The first attempt at a drill fails in a way that may pass, the second ends without a word."""

    def script(request: Request) -> Result | str | None:
        if not isinstance(request.job, DrillTask) or request.attempt > 2:
            return None
        if request.attempt == 2:
            return "crash"
        return Result(outcome=Outcome.FAILED, reason="StorageAway", message="no answer", retryable=True)

    drive.rig.agents.script = script
    await seeded(drive, 2)
    await drive.rig.create(drill(cron=soon(drive.rig)))
    await drive.until(runs_done(drive.rig, "RestoreDrillRun", "Passed"))


async def drill_fails(drive: Driver) -> None:
    """The newest backup is not in the store any more: the drill fails, and nothing is proven."""
    await seeded(drive, 2)
    drive.rig.agents.bucket.backups.pop(("orders", "seed-1"))
    await drive.rig.create(drill(cron=soon(drive.rig)))
    await drive.until(runs_done(drive.rig, "RestoreDrillRun", "Failed"))


async def drill_by_hand(drive: Driver) -> None:
    """A person has the oldest of three backups drilled, which was about to expire: as the only proven one it stays."""
    await seeded(drive, 3, retention={"keepLast": 2, "grace": "1h"})
    await drive.until(lambda: ready(drive.rig))
    by_hand = {"selection": {"from": "Oldest"}}
    await drive.rig.create(drill_run("mine", drive.rig.clock.now() + 12 * HOUR, **by_hand))
    await drive.until(runs_done(drive.rig, "RestoreDrillRun", "Passed"))
    await drive.idle(3 * HOUR)
    assert await phases(drive.rig) == ["Succeeded"] * 3


async def drilled_together(drive: Driver) -> None:
    """Two databases are drilled as after a disaster, one of them at the second attempt: one verdict for both."""

    def script(request: Request) -> Result | str | None:
        first = isinstance(request.job, DrillTask) and request.attempt == 1
        return "crash" if first and request.database and request.database.name == "orders" else None

    drive.rig.agents.script = script
    await several(drive, names=("users", "orders"))
    await drive.until(runs_done(drive.rig, "RestoreDrillRun", *["Passed"] * 3))


async def restored(drive: Driver) -> None:
    """A person restores the newest backup into a volume; the first attempt is lost."""
    lost = "crash"
    drive.rig.agents.script = lambda request: lost if request.job.task == "restore" and request.attempt == 1 else None
    await seeded(drive, 2)
    await drive.until(lambda: ready(drive.rig))
    await drive.rig.create(restore("mine", drive.rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(drive.rig, "Restore", "Succeeded"))


async def promoted(drive: Driver) -> None:
    """A restore into the running server stages first; a person consents; its promotion is lost once."""
    rig = drive.rig

    def script(request: Request) -> str | None:
        lost = isinstance(request.job, BridgeTask) and request.job.mode == "Promote" and request.attempt == 2
        return "crash" if lost else None

    rig.agents.script = script
    await seeded(drive, 2)
    await drive.until(lambda: ready(rig))
    wish = {"target": {"databaseRef": {"name": "orders"}}, "selection": {"databases": ["shop"]}, "stageFirst": True}
    await rig.create(restore("mine", rig.clock.now() + 12 * HOUR, **wish))

    async def staged() -> bool:
        return (await rig.get("Restore", "mine")).get("status", {}).get("phase") == "Staged"

    await drive.until(staged)
    await rig.create(approval_of(await rig.get("Restore", "mine"), rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
