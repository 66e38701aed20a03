"""What people do with Databosun, as scenarios that an operator must see through however often it dies on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.backuptasks import BackupTask
from databosun.api.failover import FailoverStep, FailoverTask
from databosun.api.lifecycle import TriggerFact
from databosun.api.lifecycletasks import EraseTask, ExportTask, LifecycleTask
from databosun.api.request import Request
from databosun.api.restoretasks import BridgeTask, DrillTask
from databosun.api.result import Outcome, Result
from databosun.domain.plan import (
    ANNOTATION_RUN_NOW,
    LABEL_DATABASE_UID,
    LABEL_FINISHED,
    LABEL_POLICY_UID,
    LABEL_SCHEDULE,
    LABEL_STORAGE_UID,
)
from databosun.kube.resources import APPROVALS, BACKUPS, Object
from support.archiversim import SYSTEM
from support.chaoskube import Fault, Killed, Write
from support.operator import (
    RUNNER,
    Deliver,
    Pair,
    Process,
    Rig,
    backup,
    conditions,
    database,
    dataexport,
    drill,
    drill_run,
    erasure,
    failover_run,
    failover_test,
    lifecycle,
    policy,
    restore,
    storage,
)

PLANS = ("Database", "BackupStorage", "BackupPolicy", "FailoverTest", "RestoreDrill", "LifecyclePolicy")
KEYED: dict[str, Any] = {"erasure": {"keySecretRef": {"name": "erasure-key", "key": "key"}}}
WORK = ("backup", "bridge", "drill", "erase", "export", "failover", "joint", "lifecycle", "restore")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
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


# --- conditions


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


# --- scenarios


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


SENTINEL = {"provider": "Sentinel", "masterName": "mine", "endpoints": ["s1:26379", "s2:26379", "s3:26379"]}


def two_nodes(**spec: Any) -> Object:
    """A Redis with one replica, under Sentinel."""
    redis = {"engine": "Redis", "runner": {"image": RUNNER}, "replication": SENTINEL, "environment": "Staging"}
    return database(**{**redis, **spec})


async def replicated(drive: Driver, environment: str = "Staging", **spec: Any) -> None:
    """A database of two nodes, and a test of its failover."""
    made = two_nodes(environment=environment)
    await drive.rig.create(storage(), made, policy(), failover_test(**spec))
    await drive.until(lambda: ready(drive.rig))


def failover_is(rig: Rig, name: str, phase: str) -> Condition:
    """Until a test stands there."""

    async def so() -> bool:
        found: str = (await rig.get("FailoverTestRun", name)).get("status", {}).get("phase", "")
        return found == phase

    return so


async def failed_over(drive: Driver) -> None:
    """A slot comes: the database fails over, and whoever looks sees it."""
    await replicated(drive, schedule={"cron": soon(drive.rig)})
    await drive.until(runs_done(drive.rig, "FailoverTestRun", "Passed"))
    assert drive.rig.agents.bucket.nodes.moves == 1


async def failed_over_with_consent(drive: Driver) -> None:
    """In production a person agrees to the plan first."""
    rig = drive.rig
    await replicated(drive, "Production")
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(failover_is(rig, "mine", "AwaitingApproval"))
    assert rig.agents.bucket.nodes.moves == 0
    run = await rig.get("FailoverTestRun", "mine")
    await rig.create(approval_of(run, rig.clock.now() + 12 * HOUR, run["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, "FailoverTestRun", "Passed"))
    assert rig.agents.bucket.nodes.moves == 1


async def failover_lost(drive: Driver) -> None:
    """The agent dies in the middle of its switch, and leaves a mess: it is put in order, and never switched again."""
    rig = drive.rig
    nodes = rig.agents.bucket.nodes

    def script(request: Request) -> str | None:
        if not (isinstance(request.job, FailoverTask) and request.job.step is FailoverStep.SWITCH):
            return None
        nodes.move()
        nodes.left_behind = True
        return "crash"

    rig.agents.script = script
    await replicated(drive)
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "FailoverTestRun", "Inconclusive"), limit=4 * HOUR)
    assert (nodes.moves, nodes.left_behind) == (1, False)


async def failover_refused(drive: Driver) -> None:
    """The replica is gone when it comes to the switch: nothing is moved."""
    rig = drive.rig

    def script(request: Request) -> None:
        if isinstance(request.job, FailoverTask):
            rig.agents.bucket.nodes.healthy = request.job.step is FailoverStep.DISCOVER

    rig.agents.script = script
    await replicated(drive)
    await rig.create(failover_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "FailoverTestRun", "Refused"))
    assert rig.agents.bucket.nodes.moves == 0


def approval_of(body: Object, not_after: datetime, plan_hash: str | None = None) -> Object:
    """Somebody's consent to what a Restore has staged, or to the plan with that hash."""
    name = body["metadata"]["name"]
    spec = {
        "ref": {"kind": body["kind"], "name": name},
        "planHash": plan_hash or body["status"]["staged"]["planHash"],
        "approvedBy": "somebody",
        "notAfter": not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    metadata = {"name": f"{name}-{spec['planHash'][:4]}"}
    return {"apiVersion": APPROVALS.api_version, "kind": "Approval", "metadata": metadata, "spec": spec}


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


async def ruled(drive: Driver, bucket: Mapping[str, Any] | None = None, **spec: Any) -> None:
    """A database with a proven backup, and a policy that enforces; a first run has looked. `bucket`: in place of the
    storage's volume."""
    rig = drive.rig
    await seeded(drive, 2, store=storage(**bucket) if bucket else None)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    await rig.create(lifecycle(**{"mode": "Enforce", **spec}))
    await drive.until(lambda: _policy_has(rig, "cursor"))
    await asked_now(rig, "LifecyclePolicy", "old-orders", "look")
    await drive.until(runs_done(rig, "LifecycleRun", "Succeeded"))
    await drive.until(lambda: _policy_has(rig, "plan"))


async def asked_now(rig: Rig, kind: str, name: str, token: str) -> None:
    """A person asks for a run at once."""
    await rig.edit(
        kind, name, lambda body: body["metadata"].setdefault("annotations", {}).update({ANNOTATION_RUN_NOW: token})
    )


async def approved(drive: Driver) -> None:
    """A person consents to the plan that the policy shows."""
    body = await drive.rig.get("LifecyclePolicy", "old-orders")
    plan_hash = body["status"]["plan"]["hash"]
    await drive.rig.create(approval_of(body, drive.rig.clock.now() + 12 * HOUR, plan_hash))
    await drive.until(lambda: _policy_has(drive.rig, "approval"))


async def lifecycle_enforced(drive: Driver) -> None:
    """A dry run shows a plan, a person approves it, and a run carries it out; its first attempt is lost."""
    lost = "crash"
    drive.rig.agents.script = lambda request: (
        lost if isinstance(request.job, LifecycleTask) and request.job.approved and request.attempt == 1 else None
    )
    await ruled(drive)
    await approved(drive)
    await asked_now(drive.rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(drive.rig, "LifecycleRun", "Succeeded", "Succeeded"))


async def lifecycle_changed(drive: Driver) -> None:
    """Between approval and run the table gets a trigger: nothing is done, and the new plan is shown."""
    await ruled(drive)
    await approved(drive)
    old = drive.rig.agents.bucket.old
    trigger = TriggerFact(name="audit", table="public.orders", events=["DELETE"], definition_sha256="0" * 64)
    old.table = old.table.model_copy(update={"triggers": [trigger]})
    await asked_now(drive.rig, "LifecyclePolicy", "old-orders", "go")
    await drive.until(runs_done(drive.rig, "LifecycleRun", "Refused", "Succeeded"))


async def erased(drive: Driver) -> None:
    """A look finds a person, somebody consents, and they are erased; the first attempt at that is lost."""
    rig = drive.rig
    rig.agents.script = lambda request: (
        "crash" if isinstance(request.job, EraseTask) and request.job.approved and request.attempt == 2 else None
    )
    await seeded(drive, 2)
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    await drive.until(lambda: ready(rig))
    await rig.create(erasure("mine", rig.clock.now() + 12 * HOUR))

    async def waits() -> bool:
        return (await rig.get("ErasureRequest", "mine")).get("status", {}).get("phase") == "AwaitingApproval"

    await drive.until(waits)
    body = await rig.get("ErasureRequest", "mine")
    await rig.create(approval_of(body, rig.clock.now() + 12 * HOUR, body["status"]["plan"]["hash"]))
    await drive.until(runs_done(rig, "ErasureRequest", "Succeeded"))


async def exported(drive: Driver) -> None:
    """A person's data are handed over; nobody hears what the first attempt came to."""
    rig = drive.rig
    rig.agents.script = lambda request: (
        "crash" if isinstance(request.job, ExportTask) and request.attempt == 1 else None
    )
    await seeded(drive, 1)
    await rig.edit("BackupStorage", "prod", lambda body: body["spec"].update(KEYED))
    await drive.until(lambda: ready(rig))
    await rig.create(dataexport("mine", rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "DataExport", "Succeeded"))


async def _policy_has(rig: Rig, field: str) -> bool:
    return field in (await rig.get("LifecyclePolicy", "old-orders")).get("status", {})


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


def soon(rig: Rig) -> str:
    """A cron expression that matches once a day, some minutes from now."""
    due = rig.clock.now() + 5 * MINUTE
    return f"{due.minute} {due.hour} * * *"


async def seeded(
    drive: Driver, number: int, *, cron: str = "0 0 1 1 *", store: Object | None = None, **spec: Any
) -> None:
    """Objects as they are after so many daily backups; the newest is a day old."""
    rig = drive.rig
    await rig.create(store or storage(), database(), policy(cron=cron, **spec))
    uids = {
        kind: (await rig.objects(kind))[0]["metadata"]["uid"] for kind in ("Database", "BackupStorage", "BackupPolicy")
    }
    for index in range(number):
        await seed(rig, f"seed-{index}", uids, rig.clock.now() - timedelta(days=number - index), spec)


THREE = ("users", "orders", "reports")


async def several(
    drive: Driver, *, names: tuple[str, ...] = THREE, drilled: tuple[str, ...] | None = None, **spec: Any
) -> None:
    """Databases with one backup each (or those of `drilled`), `users` in a group of its own, and a drill of all."""
    rig = drive.rig
    made = [database(name, labels={"team": "shop", "stage": "base" if name == "users" else "apps"}) for name in names]
    shared = policy("nightly", databaseSelector={"matchLabels": {"team": "shop"}})
    await rig.create(storage(maxConcurrentRuns=4), *made, shared)
    for name in names if drilled is None else drilled:
        of = await rig.get("Database", name)
        uids = {
            "Database": of["metadata"]["uid"],
            "BackupStorage": (await rig.get("BackupStorage", "prod"))["metadata"]["uid"],
            "BackupPolicy": (await rig.get("BackupPolicy", "nightly"))["metadata"]["uid"],
        }
        await seed(rig, f"seed-{name}", uids, rig.clock.now() - timedelta(days=1), {}, of=name)
    order = [{"databaseSelector": {"matchLabels": {"stage": "base"}}}]
    together = {"databaseSelector": {"matchLabels": {"team": "shop"}}, "order": order}
    await rig.create(drill("disaster", **{"cron": soon(rig), **together, **spec}))


async def seed(
    rig: Rig, name: str, uids: dict[str, str], at: datetime, spec: dict[str, Any], of: str = "orders"
) -> None:
    """One finished backup, its record and its data."""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {
        LABEL_FINISHED: "Succeeded",
        LABEL_SCHEDULE: "full",
        LABEL_DATABASE_UID: uids["Database"],
        LABEL_STORAGE_UID: uids["BackupStorage"],
        LABEL_POLICY_UID: uids["BackupPolicy"],
    }
    keeps = spec.get("deletionPolicy", "Retain")
    body = backup(
        name,
        storageRef={"name": "prod"},
        schedule="full",
        scheduledFor=stamp,
        type="Full",
        method="Auto",
        deletionPolicy=keeps,
        databaseRef={"name": of},
    )
    body["metadata"] |= {"labels": labels} | ({"finalizers": ["databosun.io/data"]} if keeps == "Delete" else {})
    created = await rig.kube.create(BACKUPS, rig.namespace, body)
    rig.births.by_uid[created["metadata"]["uid"]] = at
    status = {
        "phase": "Succeeded",
        "startTime": stamp,
        "completionTime": stamp,
        "snapshotTime": stamp,
        "checksum": "0" * 64,
        "type": "Full",
        "method": "Physical",
        "systemIdentifier": SYSTEM,
        "engineVersion": "18.1",
        "size": {"logical": 1000, "stored": 500, "human": "500B"},
        "base": name,
        "chainLength": 0,
        "location": f"{of}/backups/{name}",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "lastTransitionTime": stamp}],
    }
    await rig.kube.patch_status(BACKUPS, rig.namespace, name, status, created["metadata"]["resourceVersion"])
    rig.agents.stored(of, name)


# --- how it ended


@dataclass(frozen=True, slots=True)
class End:
    """What must not depend on when the operator died."""

    backups: tuple[Any, ...]
    others: tuple[Any, ...]
    agents: tuple[Any, ...]
    stored: tuple[str, ...]
    jobs: int
    pods: int
    archivers: int
    slots: tuple[str, ...]
    statuses: tuple[Any, ...]
    taken: int


async def end_of(rig: Rig) -> End:
    """The end state, with names that depend on uids left out."""
    seen = await rig.everything()
    bodies = [body for at, body in sorted(seen.items())]
    backups = [body for body in bodies if body["kind"] == "Backup"]
    work = Counter((task, attempt) for (task, _, attempt), _ in rig.agents.bucket.agents.items() if task in WORK)
    runs = ("FailoverTestRun", "RestoreDrillRun", "Restore", "LifecycleRun", "ErasureRequest", "DataExport")
    others = [body for body in bodies if body["kind"] in runs]
    return End(
        backups=tuple(sorted(_backup(body) for body in backups)),
        others=tuple(sorted(_run(body) for body in others)),
        agents=tuple(sorted(work.items())),
        stored=tuple(sorted(_alias(name) for _, name in rig.agents.bucket.backups)),
        jobs=sum(body["kind"] == "Job" for body in bodies),
        pods=sum(body["kind"] == "Pod" for body in bodies),
        archivers=sum(body["kind"] == "Deployment" for body in bodies),
        slots=tuple(sorted(rig.agents.archivers.source.slots)),
        taken=rig.agents.bucket.old.taken + rig.agents.bucket.people.erased,
        statuses=tuple(
            (body["kind"], body["metadata"]["name"], _status(body)) for body in bodies if body["kind"] in PLANS
        ),
    )


def _alias(name: str) -> str:
    return name if name.startswith(("seed-", "mine", "first", "second")) else "run"


def _run(body: Object) -> Any:
    status = body.get("status", {})
    chosen = status.get("backup")
    took = status.get("rto", {}).get("took", "")
    if "databaseRef" not in body["spec"] and took:
        took = "by the clock"  # of many databases: it depends on when the operator looked
    return (
        *_backup(body),
        chosen["name"] if isinstance(chosen, dict) else chosen or "",
        status.get("proven", False),
        took,
        status.get("evidence", {}).get("sha256", "") != "",
        status.get("processed", 0),
    )


def _backup(body: Object) -> Any:
    status, metadata = body.get("status", {}), body["metadata"]
    attempts = tuple((one["number"], one.get("reason"), "endedAt" in one) for one in status.get("attempts", ()))
    return (
        _alias(metadata["name"]),
        status.get("phase"),
        attempts,
        status.get("failure", {}).get("reason", ""),
        metadata["labels"].get(LABEL_FINISHED, ""),
        status.get("proven", {}).get("level", "") if body["kind"] == "Backup" else "",
        tuple(metadata.get("finalizers", ())),
        tuple(sorted(conditions(body).items())),
    )


def _status(body: Object) -> Any:
    status = body.get("status", {})
    cursors = tuple(
        (entry.get("consecutiveFailures", 0), entry.get("missedSlots", 0), entry.get("runNowToken"))
        for entry in (*status.get("policies", ()), *status.get("drills", ()))
    )
    counts = status.get("backups", {})
    return (
        tuple(sorted(conditions(body).items())),
        cursors,
        status.get("recovery", {}).get("backups"),
        (counts.get("total"), counts.get("held"), counts.get("bytes")) if counts else None,
        status.get("databases", {}).get("matched"),
        status.get("lastProven", {}).get("rto"),
        status.get("estimate", {}).get("restoreNowSeconds"),
        tuple(sorted(status.get("runs", {}).items())),
        "pendingDeletions" in status,
        len(status.get("recovery", {}).get("gaps", ())),
        "archiver" in status,
        tuple((rule["remaining"], rule["processed"], rule["state"]) for rule in status.get("rules", ())),
        tuple(body["metadata"].get("finalizers", ())),
    )
