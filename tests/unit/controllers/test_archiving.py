"""Continuous archiving end to end in memory: started, watched, told of, ended; the archiver itself is simulated."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from databosun.api.archive import Trouble
from databosun.api.backuptasks import ArchiveTask, BackupTask, ExpireLogTask
from databosun.api.request import REQUEST_ANNOTATION, Request
from databosun.api.result import Finding, Outcome, Result
from databosun.domain.plan import FINALIZER_SLOT
from databosun.kube.resources import Object, Resource
from support.archiversim import SYSTEM
from support.objects import approval_of, conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import Driver, all_done, ready

NAME = f"archiver-{SYSTEM}"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CONTINUOUS = {"enabled": True, "maxLag": "1m"}


@pytest.fixture
async def drive() -> AsyncIterator[Driver]:
    driver = Driver(Rig(None))
    yield driver
    await driver.rig.close()


async def archiving(drive: Driver, name: str = "orders") -> bool:
    body = await drive.rig.get("Database", name)
    return conditions(body).get("ContinuousHealthy") == ("True", "Archiving") and not await drive.rig.objects("Job")


async def start(drive: Driver, **spec: Any) -> None:
    await drive.rig.create(storage(), database(tier=1), policy(**{"continuous": CONTINUOUS, **spec}))
    await drive.until(lambda: archiving(drive))


async def health(drive: Driver, name: str = "orders") -> tuple[str, str]:
    return conditions(await drive.rig.get("Database", name)).get("ContinuousHealthy", ("", ""))


def age(drive: Driver, body: Object) -> timedelta:
    return drive.rig.clock.now() - datetime.fromisoformat(body["status"]["recovery"]["latest"])


async def deployments(drive: Driver) -> list[str]:
    return [body["metadata"]["name"] for body in await drive.rig.objects("Deployment")]


async def test_an_archiver_is_started_and_the_log_gets_a_backup_to_stand_on(drive: Driver) -> None:
    await start(drive)
    (deployment,) = await drive.rig.objects("Deployment")
    assert deployment["metadata"]["name"] == NAME
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]
    request = Request.model_validate_json(pod["metadata"]["annotations"][REQUEST_ANNOTATION])
    assert isinstance(request.job, ArchiveTask)
    assert {use.use for use in request.secrets} == {"database"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "finalizers" not in pod["metadata"]
    body = await drive.rig.get("Database", "orders")
    assert FINALIZER_SLOT in body["metadata"]["finalizers"]
    (backup,) = await drive.rig.objects("Backup")
    assert backup["spec"]["type"] == "Full"
    assert body["status"]["recovery"]["continuous"] is True
    assert body["status"]["archiver"]["slot"].startswith("databosun_")
    assert conditions(body)["RPOMet"] == ("True", "WithinObjective")


async def test_the_recovery_point_moves_on_and_an_idle_database_is_not_stale(drive: Driver) -> None:
    await start(drive)
    before = len(drive.writes)
    await drive.idle(HOUR)
    body = await drive.rig.get("Database", "orders")
    assert age(drive, body) <= timedelta(seconds=75 + 30)  # a quarter of the RPO of 5 min, and a look
    assert conditions(body)["RPOMet"] == ("True", "WithinObjective")
    assert conditions(body)["ContinuousHealthy"] == ("True", "Archiving")
    kinds = [write.kind for write in drive.writes[before:]]
    assert kinds.count("Database") <= 3600 / 75 + 2


async def test_a_quiet_hour_with_a_wide_objective_writes_little(drive: Driver) -> None:
    await drive.rig.create(storage(), database(tier=3), policy(continuous=CONTINUOUS))
    await drive.until(lambda: archiving(drive))
    before = len(drive.writes)
    await drive.idle(HOUR)
    assert [str(write) for write in drive.writes[before:] if write.kind == "Database"] == []


async def test_a_stalled_archive_is_seen_within_max_lag_and_30_s(drive: Driver) -> None:
    await start(drive)
    stopped = drive.rig.clock.now()
    drive.rig.agents.archivers.source.stored_until = stopped

    async def seen() -> bool:
        return (await health(drive))[0] == "False"

    await drive.until(seen)
    assert await health(drive) == ("False", "ArchiveStalled")
    assert drive.rig.clock.now() - stopped <= timedelta(seconds=60 + 30)
    assert "ArchiveStalled" in drive.rig.told.reasons("orders")
    assert conditions(await drive.rig.get("Database", "orders"))["RPOMet"][0] == "True"
    await drive.idle(5 * MINUTE)
    assert conditions(await drive.rig.get("Database", "orders"))["RPOMet"] == ("False", "RecoveryPointTooOld")
    drive.rig.agents.archivers.source.stored_until = None
    await drive.until(lambda: archiving(drive), limit=5 * MINUTE)
    assert conditions(await drive.rig.get("Database", "orders"))["RPOMet"] == ("True", "WithinObjective")
    assert "Archiving" in drive.rig.told.reasons("orders")


async def test_what_needs_a_person_is_seen_at_the_next_look(drive: Driver) -> None:
    await start(drive)
    since = drive.rig.clock.now()
    trouble = Trouble(reason="SourceWentBack", message="it went back", actor="Human", since=since)
    drive.rig.agents.archivers.source.trouble = trouble
    await drive.idle(MINUTE)
    assert await health(drive) == ("False", "SourceWentBack")
    body = await drive.rig.get("Database", "orders")
    assert body["status"]["archiver"]["trouble"]["reason"] == "SourceWentBack"


async def test_a_pod_that_is_gone_is_said_so(drive: Driver) -> None:
    await start(drive)
    drive.rig.agents.archivers.hold_pods = True
    gone = drive.rig.clock.now()
    for pod in await drive.rig.objects("Pod"):
        await drive.rig.delete("Pod", pod["metadata"]["name"])
    drive.rig.agents.logs.clear()

    async def seen() -> bool:
        return await health(drive) == ("False", "ArchiverNotRunning")

    await drive.until(seen)
    assert drive.rig.clock.now() - gone <= timedelta(seconds=90)
    drive.rig.agents.archivers.hold_pods = False
    await drive.until(lambda: archiving(drive), limit=5 * MINUTE)


async def test_a_deployment_that_a_person_deletes_or_scales_comes_back(drive: Driver) -> None:
    await start(drive)
    await drive.rig.delete("Deployment", NAME)
    await drive.idle(MINUTE)
    assert await deployments(drive) == [NAME]

    def scale(body: Object) -> None:
        body["spec"]["replicas"] = 0

    await drive.rig.edit("Deployment", NAME, scale)
    await drive.idle(MINUTE)
    assert (await drive.rig.get("Deployment", NAME))["spec"]["replicas"] == 1


async def test_a_gap_is_recorded_and_one_full_is_taken_behind_it(drive: Driver) -> None:
    await start(drive)
    await drive.idle(10 * MINUTE)
    now = drive.rig.clock.now()
    drive.rig.agents.script = lambda request: "hang" if request.job.task == "backup" else None
    drive.rig.agents.archivers.lose(now - 5 * MINUTE, now - MINUTE)
    await drive.idle(MINUTE)
    body = await drive.rig.get("Database", "orders")
    (gap,) = body["status"]["recovery"]["gaps"]
    assert gap["reason"] == "SlotLost"
    assert conditions(body)["Protected"] == ("False", "LogGap")
    assert await health(drive) == ("False", "LogGap")
    assert body["status"]["recovery"]["continuous"] is False
    assert len(await drive.rig.objects("Backup")) == 2
    drive.rig.agents.script = lambda _request: None
    await drive.until(lambda: archiving(drive))
    body = await drive.rig.get("Database", "orders")
    assert conditions(body)["Protected"][0] == "True"
    assert body["status"]["recovery"]["gaps"] == [gap]
    await drive.idle(HOUR)
    assert len(await drive.rig.objects("Backup")) == 2, "one full for each gap"


async def test_the_full_that_the_log_asks_for_is_told_where_it_has_to_begin(drive: Driver) -> None:
    """A replica's backup could begin before; and the same full is not asked for twice."""
    told: list[str | None] = []

    def script(request: Request) -> None:
        if isinstance(request.job, BackupTask):
            told.append(request.job.log_begin)

    drive.rig.agents.script = script
    await start(drive)
    begin = (await drive.rig.get("Database", "orders"))["status"]["archiver"]["logBegin"]
    assert told == [begin]
    await drive.idle(10 * MINUTE)
    now = drive.rig.clock.now()
    drive.rig.agents.archivers.lose(now - 5 * MINUTE, now - MINUTE)
    await drive.idle(5 * MINUTE)
    (gap,) = (await drive.rig.get("Database", "orders"))["status"]["recovery"]["gaps"]
    assert told == [begin, gap["resume"]]


async def test_what_only_an_old_primary_had_stands_in_the_status(drive: Driver) -> None:
    await start(drive)
    assert "divergedBytes" not in (await drive.rig.get("Database", "orders"))["status"]["archiver"]
    drive.rig.agents.archivers.source.diverged_bytes = 4711
    await drive.idle(MINUTE)
    assert (await drive.rig.get("Database", "orders"))["status"]["archiver"]["divergedBytes"] == 4711


async def test_a_server_without_a_limit_for_slots_is_refused_with_the_statement(drive: Driver) -> None:
    source = drive.rig.agents.archivers.source
    fix = "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'"
    source.finding = Finding(reason="SlotUnbounded", message="it is -1", fix=fix, blocks=["Continuous"])
    await drive.rig.create(storage(), database(), policy(continuous=CONTINUOUS))

    async def refused() -> bool:
        return await health(drive) == ("False", "SlotUnbounded")

    await drive.until(refused)
    body = await drive.rig.get("Database", "orders")
    message = next(one["message"] for one in body["status"]["conditions"] if one["type"] == "ContinuousHealthy")
    assert fix in message
    assert conditions(body)["Ready"][0] == "True", "backups are not in its way"
    assert not await drive.rig.objects("Deployment")
    assert FINALIZER_SLOT not in body["metadata"].get("finalizers", [])
    source.finding = None
    await drive.until(lambda: archiving(drive), limit=HOUR)


async def test_a_look_that_was_not_asked_for_the_log_says_nothing_of_it(drive: Driver) -> None:
    """The policy comes while the first look at the database is under way."""
    rig = drive.rig
    fix = "ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'"
    rig.agents.archivers.source.finding = Finding(
        reason="SlotUnbounded", message="it is -1", fix=fix, blocks=["Continuous"]
    )
    rig.agents.script = lambda request: "hang" if request.job.task == "probe" else None
    await rig.create(storage(), database())
    process = await drive.process()
    await rig.rest(process)
    assert [body for body in await rig.objects("Job") if body["metadata"]["name"].startswith("probe-")]
    await rig.create(policy(continuous=CONTINUOUS))
    rig.agents.script = lambda _request: None

    async def refused() -> bool:
        return await health(drive) == ("False", "SlotUnbounded")

    await drive.until(refused, limit=5 * MINUTE)
    assert not await rig.objects("Deployment")
    assert rig.agents.archivers.started == 0


async def test_an_archiver_waits_for_its_storage(drive: Driver) -> None:
    away = Result(outcome=Outcome.FAILED, reason="StorageUnreachable", message="no answer", retryable=True)
    drive.rig.agents.script = lambda request: away if request.job.task == "validate" else None
    await drive.rig.create(storage(), database(), policy(continuous=CONTINUOUS))
    await drive.idle(10 * MINUTE)
    assert await health(drive) == ("Unknown", "StorageNotReady")
    assert not await drive.rig.objects("Deployment")
    drive.rig.agents.script = lambda _request: None
    await drive.until(lambda: archiving(drive), limit=HOUR)


async def test_looks_ask_the_api_server_for_little(drive: Driver) -> None:
    await start(drive)
    await drive.idle(5 * MINUTE)
    drive.rig.agents.archivers.lose(drive.rig.clock.now() - MINUTE, drive.rig.clock.now())
    await drive.until(all_done(drive.rig, "Succeeded", "Succeeded"))
    await drive.until(lambda: archiving(drive))
    reads: Counter[str] = Counter()
    kube = drive.rig.lives[-1].kube
    for verb in ("get", "list"):
        asked = getattr(kube, verb)

        def count(resource: Resource, *args: Any, _asked: Any = asked, **kwargs: Any) -> Any:
            reads.update([resource.kind])
            return _asked(resource, *args, **kwargs)

        setattr(kube, verb, count)
    await drive.idle(HOUR)
    assert reads["Pod"] <= 150, "one list of pods a look, each 30 s"
    assert reads["Backup"] + reads["Deployment"] + reads["Database"] <= 5


async def test_one_database_of_a_server_has_no_log_of_its_own(drive: Driver) -> None:
    one = database()
    one["spec"]["connection"]["database"] = "orders"
    await drive.rig.create(storage(), one, policy(continuous=CONTINUOUS))
    await drive.until(lambda: ready(drive.rig))
    assert await health(drive) == ("False", "OneDatabaseOnly")
    assert not await drive.rig.objects("Deployment")


async def test_only_one_policy_owns_the_log(drive: Driver) -> None:
    await start(drive)
    await drive.rig.create(policy("second", continuous=CONTINUOUS))
    await drive.idle(2 * MINUTE)
    second = conditions(await drive.rig.get("BackupPolicy", "second"))
    assert second["Stalled"] == ("True", "Conflict")
    assert conditions(await drive.rig.get("BackupPolicy", "nightly"))["Ready"][0] == "True"
    assert (await drive.rig.get("Database", "orders"))["status"]["archiver"]["policy"] == "nightly"
    await drive.rig.delete("BackupPolicy", "nightly")
    await drive.idle(2 * MINUTE)
    assert (await drive.rig.get("Database", "orders"))["status"]["archiver"]["policy"] == "second"
    assert "Stalled" not in conditions(await drive.rig.get("BackupPolicy", "second"))
    assert drive.rig.agents.archivers.source.slots == {"orders.db"}


async def test_two_databases_on_one_server_share_one_archiver(drive: Driver) -> None:
    await drive.rig.create(storage(), database("orders"), database("billing"))
    await drive.rig.create(policy("a", continuous=CONTINUOUS))
    await drive.rig.create(policy("b", databaseRef={"name": "billing"}, continuous=CONTINUOUS))

    async def both() -> bool:
        return await archiving(drive, "orders") and await archiving(drive, "billing")

    await drive.until(both)
    assert await deployments(drive) == [NAME]
    owner = (await drive.rig.get("Deployment", NAME))["metadata"]["ownerReferences"][0]["name"]
    other = ({"orders", "billing"} - {owner}).pop()
    await drive.rig.delete("Database", owner)
    await drive.idle(3 * MINUTE)
    assert await archiving(drive, other)
    assert (await drive.rig.get("Deployment", NAME))["metadata"]["ownerReferences"][0]["name"] == other
    assert [body["metadata"]["name"] for body in await drive.rig.objects("Database")] == [other]


@pytest.mark.parametrize("how", ["policy deleted", "switched off", "database deleted", "storage changed"])
async def test_nobody_asks_any_more(drive: Driver, how: str) -> None:
    await start(drive)
    rig = drive.rig
    if how == "policy deleted":
        await rig.delete("BackupPolicy", "nightly")
    elif how == "database deleted":
        await rig.delete("Database", "orders")
    elif how == "switched off":
        await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["continuous"].update(enabled=False))
    else:
        await rig.create(storage("other"))
        await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"].update(storageRef={"name": "other"}))
        await drive.idle(5 * MINUTE)
        assert await archiving(drive)
        assert len(await rig.objects("Backup")) == 2, "the log in the other store needs a backup to stand on"
        return
    await drive.idle(5 * MINUTE)
    assert not await rig.objects("Deployment")
    assert rig.agents.archivers.source.slots == set()
    assert "SlotDropped" in rig.told.reasons("orders")
    if how == "database deleted":
        assert not await rig.objects("Database")
        return
    body = await rig.get("Database", "orders")
    assert "archiver" not in body["status"]
    assert FINALIZER_SLOT not in body["metadata"].get("finalizers", [])
    assert "ContinuousHealthy" not in conditions(body)


async def test_a_suspended_policy_goes_on_archiving(drive: Driver) -> None:
    await start(drive)
    await drive.rig.edit("BackupPolicy", "nightly", lambda body: body["spec"].update(suspend=True))
    await drive.idle(HOUR)
    assert await archiving(drive)
    assert await deployments(drive) == [NAME]


async def test_a_policy_that_cannot_be_read_stops_nothing(drive: Driver) -> None:
    await start(drive)
    await drive.rig.edit("BackupPolicy", "nightly", lambda body: body["spec"].update(timeZone="Europe/Nowhere"))
    await drive.idle(HOUR)
    assert await health(drive) == ("Unknown", "ArchiverUnknown")
    assert await deployments(drive) == [NAME]
    assert drive.rig.agents.archivers.source.slots == {"orders.db"}


async def test_a_slot_that_cannot_be_dropped_holds_nothing_up(drive: Driver) -> None:
    await start(drive)
    refused = Result(outcome=Outcome.FAILED, reason="Unreachable", message="no answer", retryable=True)
    drive.rig.agents.script = lambda request: refused if request.job.task == "drop-slot" else None
    await drive.rig.delete("Database", "orders")
    await drive.idle(10 * MINUTE)
    assert not await drive.rig.objects("Database")
    tries = [agent for agent in drive.rig.agents.bucket.agents if agent[0] == "drop-slot"]
    assert len(tries) == 3
    (told,) = [message for name, reason, message in drive.rig.told.events if reason == "SlotLeft"]
    assert "orders.db" in told
    assert "databosun_" in told


async def test_a_namespace_that_goes_is_not_held_up(drive: Driver) -> None:
    await start(drive)
    drive.rig.memory.terminating.add("shop")
    await drive.rig.delete("Database", "orders")
    await drive.idle(MINUTE)
    assert not await drive.rig.objects("Database")
    assert "SlotLeft" in drive.rig.told.reasons("orders")


async def test_a_recreated_server_gets_an_archiver_of_its_own(drive: Driver) -> None:
    await start(drive)
    source = drive.rig.agents.archivers.source
    source.system = "7300000000000000002"
    await drive.idle(10 * MINUTE)
    assert await deployments(drive) == ["archiver-7300000000000000002"]
    body = await drive.rig.get("Database", "orders")
    assert body["status"]["archiver"]["systemIdentifier"] == source.system
    # The look at the server counts, not what an older backup says of the one before.
    assert body["status"]["systemIdentifier"] == source.system
    assert await archiving(drive)


async def test_log_that_the_window_needs_no_more_is_shown_then_deleted(drive: Driver) -> None:
    rig = drive.rig
    retention = {"recoveryWindow": "2h", "grace": "1h"}
    await start(drive, schedules=[{"name": "full", "type": "Full", "cron": "0 * * * *"}], retention=retention)
    orders: list[ExpireLogTask] = []

    def script(request: Request) -> None:
        if isinstance(request.job, ExpireLogTask):
            orders.append(request.job)

    rig.agents.script = script
    first = (await rig.get("Database", "orders"))["status"]["archiver"]["logBegin"]

    async def shown() -> bool:
        return "expiring" in (await rig.get("Database", "orders"))["status"]["archiver"]

    await drive.until(shown, limit=6 * HOUR)
    assert not orders
    plan = (await rig.get("Database", "orders"))["status"]["archiver"]["expiring"]
    assert datetime.fromisoformat(plan["before"]) <= rig.clock.now() - 2 * HOUR

    async def gone() -> bool:
        return "logExpired" in (await rig.get("Database", "orders"))["status"]["archiver"]

    await drive.until(gone, limit=2 * HOUR)
    assert rig.clock.now() - datetime.fromisoformat(plan["since"]) >= HOUR
    (order,) = orders
    assert (order.base, order.system_identifier) == (plan["base"], SYSTEM)
    body = await rig.get("Database", "orders")
    assert body["status"]["archiver"]["logBegin"] == order.keep_lsn != first
    assert body["status"]["recovery"]["continuousFrom"] == plan["before"]
    assert "LogExpired" in rig.told.reasons("orders")


async def test_a_log_that_most_backups_need_waits_for_a_person(drive: Driver) -> None:
    rig = drive.rig
    hourly = [{"name": "full", "type": "Full", "cron": "0 * * * *"}]
    await start(drive, schedules=hourly, retention={"recoveryWindow": "30d", "grace": "1h", "keepLast": 100})
    await drive.idle(9 * HOUR)
    assert "expiring" not in (await rig.get("Database", "orders"))["status"]["archiver"]

    def cut(body: Object) -> None:
        body["spec"]["retention"]["recoveryWindow"] = "1h"

    await rig.edit("BackupPolicy", "nightly", cut)

    async def stopped() -> bool:
        return "stopped" in (await rig.get("Database", "orders"))["status"]["archiver"].get("expiring", {})

    await drive.until(stopped, limit=3 * HOUR)
    assert "MassDeletion" in rig.told.reasons("orders")
    await drive.idle(5 * HOUR)
    body = await rig.get("Database", "orders")
    plan = body["status"]["archiver"]["expiring"]
    assert "logExpired" not in body["status"]["archiver"]
    assert plan["hash"] in plan["stopped"]

    await rig.create(approval_of(body, rig.clock.now() + HOUR, plan["hash"]))

    async def gone() -> bool:
        return "logExpired" in (await rig.get("Database", "orders"))["status"]["archiver"]

    await drive.until(gone, limit=HOUR)
    assert (await rig.get("Database", "orders"))["status"]["archiver"]["logBase"] == plan["base"]


async def test_a_legal_hold_keeps_the_whole_log(drive: Driver) -> None:
    hourly = [{"name": "full", "type": "Full", "cron": "0 * * * *"}]
    await start(drive, schedules=hourly, retention={"recoveryWindow": "1h", "grace": "30m"}, legalHold=True)
    await drive.idle(4 * HOUR)
    assert "expiring" not in (await drive.rig.get("Database", "orders"))["status"]["archiver"]


async def test_the_truth_is_back_a_minute_after_the_operator_was_down(drive: Driver) -> None:
    await start(drive)
    process = await drive.process()
    await process.stop()
    now = drive.rig.clock.now()
    drive.rig.clock.advance(HOUR)
    drive.rig.agents.archivers.lose(now + 10 * MINUTE, now + 20 * MINUTE)
    for pod in await drive.rig.objects("Pod"):
        drive.rig.agents.archivers._say(pod)
    again = Driver(drive.rig)
    await again.idle(MINUTE)
    body = await drive.rig.get("Database", "orders")
    assert len(body["status"]["recovery"]["gaps"]) == 1
    await again.until(lambda: archiving(again))
    assert age(again, await drive.rig.get("Database", "orders")) <= 2 * MINUTE
