"""What people do with Databosun, as scenarios that an operator must see through however often it dies on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from databosun.api.backuptasks import BackupTask
from databosun.api.request import Request
from databosun.api.result import Outcome, Result
from databosun.domain.plan import (
    ANNOTATION_RUN_NOW,
)
from databosun.kube.resources import Object
from support.failoverscenarios import (
    failed_over,
    failed_over_with_consent,
    failover_lost,
    failover_refused,
)
from support.lifecyclescenarios import (
    erased,
    exported,
    lifecycle_changed,
    lifecycle_enforced,
)
from support.objects import (
    backup,
    conditions,
    database,
    policy,
    storage,
)
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, ready
from support.operatorseeds import seeded, soon
from support.provingscenarios import (
    drill_by_hand,
    drill_fails,
    drill_retried,
    drilled,
    drilled_together,
    promoted,
    restored,
)


async def create_policy(drive: Driver) -> None:
    """A storage, a database and a policy are applied; nothing is due."""
    await drive.rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(drive.rig))


async def scheduled(drive: Driver) -> None:
    """A slot comes and its backup succeeds."""
    await drive.rig.create(storage(), database(), policy(cron=soon(drive.rig)))
    await drive.until(all_done(drive.rig, "Succeeded"))


async def retried(drive: Driver) -> None:
    """The first attempt fails in a way that may pass, the second ends without a word, the third succeeds."""

    def script(request: Request) -> Result | str | None:
        if not isinstance(request.job, BackupTask) or request.attempt > 2:
            return None
        if request.attempt == 2:
            return "crash"
        return Result(outcome=Outcome.FAILED, reason="StorageAway", message="no answer", retryable=True)

    drive.rig.agents.script = script
    await drive.rig.create(storage(), database(), policy(cron=soon(drive.rig)))
    await drive.until(all_done(drive.rig, "Succeeded"))


async def failed(drive: Driver) -> None:
    """No attempt says a word, and storage holds nothing: the run fails after all."""
    drive.rig.agents.script = lambda request: "crash" if isinstance(request.job, BackupTask) else None
    await drive.rig.create(storage(), database(), policy(cron=soon(drive.rig), retries=1))
    await drive.until(all_done(drive.rig, "Failed"))


async def retention(drive: Driver) -> None:
    """Of four backups the two oldest are let go, shown for an hour, and deleted."""
    await seeded(drive, 4, retention={"keepLast": 2, "grace": "1h"})
    await drive.until(all_done(drive.rig, "Succeeded", "Succeeded"), limit=4 * HOUR)


async def retention_with_data_policy(drive: Driver) -> None:
    """The same for backups whose objects carry the finalizer."""
    await seeded(drive, 4, retention={"keepLast": 2, "grace": "1h"}, deletionPolicy="Delete")
    await drive.until(all_done(drive.rig, "Succeeded", "Succeeded"), limit=4 * HOUR)


async def person_deletes(drive: Driver) -> None:
    """A person deletes the older of two backups, and its data with it."""
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(drive.rig))
    await drive.rig.delete("Backup", "seed-0")
    await drive.until(all_done(drive.rig, "Succeeded"))


async def run_now(drive: Driver) -> None:
    """A person asks for a backup at once."""
    await drive.rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(drive.rig))

    def ask(body: Object) -> None:
        body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = "today"

    await drive.rig.edit("BackupPolicy", "nightly", ask)
    await drive.until(all_done(drive.rig, "Succeeded"))


async def by_hand(drive: Driver) -> None:
    """A person creates a Backup that names only its policy."""
    await drive.rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(drive.rig))
    made = backup("mine", drive.rig.clock.now() + 12 * HOUR)
    del made["spec"]["databaseRef"]
    await drive.rig.create(made)
    await drive.until(all_done(drive.rig, "Succeeded"))


async def policy_deleted(drive: Driver) -> None:
    """The policy goes: its backups stay, its timetable ends."""
    await seeded(drive, 2, cron="*/10 * * * *", deletionPolicy="Delete")
    await drive.until(all_done(drive.rig, "Succeeded", "Succeeded", "Succeeded"))
    await drive.rig.delete("BackupPolicy", "nightly")
    await drive.idle(HOUR)


async def backup_deleted_while_running(drive: Driver) -> None:
    """A person deletes a Backup whose agent is at work; the next one starts all the same."""
    rig = drive.rig
    rig.agents.script = lambda request: "hang" if request.run == "first" else None
    await rig.create(storage(), database(), policy())
    await drive.until(lambda: ready(rig))
    await rig.create(backup("first", rig.clock.now() + 12 * HOUR))

    async def running() -> bool:
        at_work = any(agent[0] == "backup" for agent in rig.agents.bucket.agents)
        return at_work and (await rig.get("Backup", "first")).get("status", {}).get("phase") == "Running"

    await drive.until(running)
    await rig.delete("Backup", "first")
    await rig.create(backup("second", rig.clock.now() + 12 * HOUR))
    await drive.until(all_done(rig, "Succeeded"))


async def archived(drive: Driver) -> None:
    """A policy asks for the log; an archiver ships it, loses some of it once, and goes when nobody asks any more."""
    rig = drive.rig
    await rig.create(storage(), database(), policy(continuous={"enabled": True, "maxLag": "1m"}))
    await drive.until(lambda: _log_is(rig, "Archiving"))
    begin = rig.clock.now()
    await drive.idle(5 * MINUTE)
    rig.agents.archivers.lose(begin, begin + 2 * MINUTE)
    await drive.until(all_done(rig, "Succeeded", "Succeeded"))
    await drive.until(lambda: _log_is(rig, "Archiving"))
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["continuous"].update(enabled=False))

    async def over() -> bool:
        body = await rig.get("Database", "orders")
        return "archiver" not in body["status"] and not await rig.objects("Job")

    await drive.until(over)


async def archived_database_deleted(drive: Driver) -> None:
    """The Database goes while its log is shipped; the first try to drop its slot fails."""
    rig = drive.rig
    failed = Result(outcome=Outcome.FAILED, reason="Unreachable", message="no answer", retryable=True)
    rig.agents.script = lambda request: failed if request.job.task == "drop-slot" and request.attempt == 1 else None
    await rig.create(storage(), database(), policy(continuous={"enabled": True, "maxLag": "1m"}))
    await drive.until(lambda: _log_is(rig, "Archiving"))
    await rig.delete("Database", "orders")

    async def over() -> bool:
        return not await rig.objects("Database") and not await rig.objects("Job")

    await drive.until(over)


async def _log_is(rig: Rig, reason: str) -> bool:
    body = await rig.get("Database", "orders")
    return conditions(body).get("ContinuousHealthy", ("", ""))[1] == reason and not await rig.objects("Job")


SCENARIOS: dict[str, Callable[[Driver], Awaitable[None]]] = {
    scenario.__name__: scenario
    for scenario in (
        create_policy,
        scheduled,
        retried,
        failed,
        retention,
        retention_with_data_policy,
        person_deletes,
        run_now,
        by_hand,
        policy_deleted,
        backup_deleted_while_running,
        drilled,
        drill_retried,
        drill_fails,
        drill_by_hand,
        drilled_together,
        restored,
        promoted,
        failed_over,
        failed_over_with_consent,
        failover_lost,
        failover_refused,
        archived,
        archived_database_deleted,
        lifecycle_enforced,
        lifecycle_changed,
        erased,
        exported,
    )
}
