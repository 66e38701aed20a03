"""Many databases drilled together on an API server: in their order, each by a run of its own, with one verdict."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from databosun.api.backuptasks import ProbeTask
from databosun.api.recordtasks import JointTask
from databosun.api.request import Request
from databosun.api.restoretasks import DrillTask
from databosun.api.result import Outcome, Result
from databosun.domain.plan import ANNOTATION_RUN_NOW, LABEL_DATABASE_UID
from databosun.kube.resources import BACKUPS, Object
from support.objects import conditions, database, drill, drill_run, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, ready, runs_done
from support.operatorseeds import several


async def whole(rig: Rig) -> Object:
    (found,) = [body for body in await rig.objects("RestoreDrillRun") if "databaseRef" not in body["spec"]]
    return found


async def members(rig: Rig) -> dict[str, Object]:
    found = await rig.objects("RestoreDrillRun")
    return {body["spec"]["databaseRef"]["name"]: body for body in found if "databaseRef" in body["spec"]}


async def test_all_are_drilled_in_their_order_with_one_verdict_and_the_time_until_the_last_was_back(rig: Rig) -> None:
    begun: list[str] = []
    rig.agents.script = lambda request: _note(begun, request)
    drive = Driver(rig)
    await several(drive)
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4))
    assert begun[0] == "users"
    assert sorted(begun[1:]) == ["orders", "reports"]
    run, parts = await whole(rig), await members(rig)
    status = run["status"]
    assert [(one["database"], one["group"], one["phase"]) for one in status["members"]] == [
        ("users", 1, "Passed"),
        ("orders", 2, "Passed"),
        ("reports", 2, "Passed"),
    ]
    first, second = status["groups"]
    # A member's own time is 90 s in this world; a group's starts when it was ordered.
    assert first["milliseconds"] >= 90_000
    assert status["rto"]["milliseconds"] == first["milliseconds"] + second["milliseconds"]
    assert status["rto"]["met"] is True
    ready_at = {one["database"]: one["readyMilliseconds"] for one in status["members"]}
    assert ready_at["users"] == first["milliseconds"]
    assert max(ready_at["orders"], ready_at["reports"]) == status["rto"]["milliseconds"]
    assert status["evidence"]["uri"].endswith(f"_drills/{run['metadata']['name']}/evidence.json")
    for name, part in parts.items():
        assert part["spec"]["partOf"] == {"name": run["metadata"]["name"]}
        assert part["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]
        assert conditions(await rig.get("Database", name))["Proven"] == ("True", "DrillPassed")
    summary = (await rig.get("RestoreDrill", "disaster"))["status"]
    assert summary["runs"]["passed"] == 1
    assert summary["databases"] == {"matched": 3, "proven": 3, "failing": 0}
    assert (summary["coverage"]["backupsTotal"], summary["coverage"]["backupsDrilled"]) == (3, 3)
    assert summary["trend"]["runs"] == 1
    assert not await rig.objects("Pod")


def _note(begun: list[str], request: Request) -> None:
    if isinstance(request.job, DrillTask) and request.database:
        begun.append(request.database.name)


async def test_a_group_waits_for_the_verdicts_of_the_one_before_it(rig: Rig) -> None:
    def script(request: Request) -> str | None:
        drills = isinstance(request.job, DrillTask) and request.database is not None
        return "hang" if drills and request.database.name == "users" else None  # type: ignore[union-attr]

    rig.agents.script = script
    drive = Driver(rig)
    await several(drive)
    await drive.idle(HOUR)
    assert set(await members(rig)) == {"users"}
    run = await whole(rig)
    assert run["status"]["phase"] == "Running"
    assert "startedAt" not in run["status"]["groups"][1]
    message = next(one["message"] for one in run["status"]["conditions"] if one["type"] == "Ready")
    assert message == "group 1 of 2 is drilled; 0 of 3 databases have a verdict"


async def test_one_that_does_not_restore_fails_the_whole_which_drills_the_others_all_the_same(rig: Rig) -> None:
    drive = Driver(rig)
    await several(drive)
    rig.agents.bucket.backups.pop(("users", "seed-users"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Failed", "Failed", "Passed", "Passed"))
    status = (await whole(rig))["status"]
    assert (status["phase"], status["failure"]["reason"]) == ("Failed", "BackupMissing")
    assert "users" in status["failure"]["message"]
    assert "rto" not in status, "not all came back: there is no time after which they had"
    assert "evidence" in status
    assert conditions({"status": status})["Stalled"] == ("True", "BackupMissing")
    assert conditions(await rig.get("RestoreDrill", "disaster"))["LastRunSucceeded"] == ("False", "DrillFailed")


async def test_a_database_without_a_backup_keeps_the_whole_from_passing(rig: Rig) -> None:
    drive = Driver(rig)
    await several(drive, drilled=("users", "orders"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed", "Passed", "Refused", "Refused"))
    status = (await whole(rig))["status"]
    assert (status["phase"], status["failure"]["reason"]) == ("Refused", "NoBackup")
    assert "Refused for 1 of 3 databases: reports (NoBackup)" in status["failure"]["message"]


async def test_where_no_drill_said_anything_there_is_a_verdict_and_no_evidence(rig: Rig) -> None:
    drive = Driver(rig)
    await several(drive, drilled=())
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Refused"] * 4))
    assert "evidence" not in (await whole(rig))["status"]
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "joint"]


async def test_evidence_that_is_not_what_a_member_wrote_ends_in_an_error(rig: Rig) -> None:
    def script(request: Request) -> Result | None:
        if isinstance(request.job, JointTask):
            message = "users/drills/x/evidence.json is no record of this run"
            return Result(outcome=Outcome.FAILED, reason="EvidenceInvalid", message=message)
        return None

    rig.agents.script = script
    drive = Driver(rig)
    await several(drive)
    await drive.until(runs_done(rig, "RestoreDrillRun", "Error", "Passed", "Passed", "Passed"))
    status = (await whole(rig))["status"]
    assert status["failure"]["reason"] == "EvidenceInvalid"
    assert [one["phase"] for one in status["members"]] == ["Passed"] * 3


async def test_each_run_of_all_names_the_evidence_of_the_one_before(rig: Rig) -> None:
    previous: list[Any] = []

    def script(request: Request) -> None:
        if isinstance(request.job, JointTask):
            previous.append(request.job.previous)

    rig.agents.script = script
    drive = Driver(rig)
    await several(drive, cron="0 0 1 1 *")
    await drive.until(lambda: ready(rig))
    for number, name in enumerate(("first", "second"), 1):
        hand = {"databaseRef": None, "drillRef": {"name": "disaster"}}
        body = drill_run(name, rig.clock.now() + HOUR, **hand)
        del body["spec"]["databaseRef"]
        await rig.create(body)
        await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4 * number))
        await drive.idle(MINUTE)
    assert previous[0] is None
    assert previous[1].run == "first"
    assert previous[1].sha256 == (await rig.get("RestoreDrillRun", "first"))["status"]["evidence"]["sha256"]


async def test_run_now_starts_one_run_for_all(rig: Rig) -> None:
    drive = Driver(rig)
    await several(drive, cron="0 0 1 1 *")
    await drive.until(lambda: ready(rig))

    def ask(body: Object) -> None:
        body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = "today"

    await rig.edit("RestoreDrill", "disaster", ask)
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4))
    await drive.idle(HOUR)
    assert len(await rig.objects("RestoreDrillRun")) == 4


async def test_what_members_wait_for_each_other_is_in_the_time_until_all_are_back(rig: Rig) -> None:
    """The storage lets one run at a time, so the second application waits until the first one's drill is over."""
    since: dict[str, datetime] = {}

    def script(request: Request) -> str | None:
        if not isinstance(request.job, DrillTask) or request.database is None or request.database.name == "users":
            return None
        begun = since.setdefault(request.database.name, rig.clock.now())
        return "hang" if rig.clock.now() < begun + 10 * MINUTE else None

    rig.agents.script = script
    drive = Driver(rig)
    await several(drive)

    def narrow(body: Object) -> None:
        body["spec"]["maxConcurrentRuns"] = 1

    await rig.edit("BackupStorage", "prod", narrow)
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4))
    status = (await whole(rig))["status"]
    waited = sorted(one["readyMilliseconds"] for one in status["members"][1:])
    assert waited[1] - waited[0] >= 10 * 60 * 1000
    assert status["rto"]["milliseconds"] == waited[1]
    assert [one["rto"]["milliseconds"] for one in status["members"]] == [90_000] * 3


async def test_a_drill_of_many_that_covers_none_says_so(rig: Rig) -> None:
    nobody = {"databaseSelector": {"matchLabels": {"team": "nobody"}}}
    body = drill_run("of-none", rig.clock.now() + HOUR, drillRef={"name": "none"})
    del body["spec"]["databaseRef"]
    await rig.create(database(), drill("none", **nobody), body)
    drive = Driver(rig)
    await drive.until(runs_done(rig, "RestoreDrillRun", "Refused"))
    assert (await rig.get("RestoreDrillRun", "of-none"))["status"]["failure"]["reason"] == "DatabaseNotFound"


async def test_databases_that_were_lost_with_their_cluster_are_drilled_by_name_from_what_the_bucket_holds(
    rig: Rig,
) -> None:
    """The records were rebuilt, the servers are gone: nothing says that the backups are of others."""
    away = Result(outcome=Outcome.FAILED, reason="Unreachable", message="no such host")
    rig.agents.script = lambda request: away if isinstance(request.job, ProbeTask) else None
    drive = Driver(rig)
    await several(drive)
    for body in await rig.objects("Backup"):
        labels = {"labels": {LABEL_DATABASE_UID: "of-the-cluster-that-is-gone"}}
        version = body["metadata"]["resourceVersion"]
        await rig.kube.patch_metadata(BACKUPS, rig.namespace, body["metadata"]["name"], labels, version)
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4), limit=4 * HOUR)
    assert {part["status"]["backup"]["name"] for part in (await members(rig)).values()} == {
        "seed-users",
        "seed-orders",
        "seed-reports",
    }


async def test_backups_of_another_server_are_no_backups_of_a_database_that_was_seen(rig: Rig) -> None:
    drive = Driver(rig)
    await several(drive, cron="0 0 1 1 *")
    await drive.until(lambda: ready(rig))
    for body in await rig.objects("Backup"):
        labels = {"labels": {LABEL_DATABASE_UID: "another"}}
        version = body["metadata"]["resourceVersion"]
        await rig.kube.patch_metadata(BACKUPS, rig.namespace, body["metadata"]["name"], labels, version)
    await rig.create(drill_run("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Refused"))
    assert (await rig.get("RestoreDrillRun", "mine"))["status"]["failure"]["reason"] == "NoBackup"


def vault(**spec: Any) -> Object:
    """A bucket that locks."""
    s3 = {"bucket": "evidence", "region": "r", "credentialsSecretRef": {"name": "auditor"}}
    lock = {"mode": "Compliance", "retention": "30d"}
    return storage("vault", **{"s3": s3, "immutability": lock, "volume": None, **spec})


async def test_evidence_goes_into_a_storage_of_its_own_and_is_locked_as_long_as_asked(rig: Rig) -> None:
    asked: list[Request] = []

    def script(request: Request) -> None:
        if isinstance(request.job, DrillTask | JointTask):
            asked.append(request)

    rig.agents.script = script
    await rig.create(vault())
    drive = Driver(rig)
    await several(drive, evidence={"storageRef": {"name": "vault"}, "retention": "7y"})
    await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * 4))
    seven_years = 7 * 365 * 86400
    for request in asked:
        uses = [use.use for use in request.secrets]
        if isinstance(request.job, DrillTask):
            assert uses == ["evidence-storage"]
            record = request.job.record
            assert record.storage is not None
            assert (record.storage.name, record.lock_seconds) == ("vault", seven_years)
            assert request.storage is not None
            assert request.storage.name == "prod"
        elif isinstance(request.job, JointTask):
            assert uses == ["storage"]
            assert request.storage is not None
            assert (request.storage.name, request.job.lock_seconds) == ("vault", seven_years)
            assert all(one.here for group in request.job.groups for one in group.members)
    assert {one["storage"] for one in (await whole(rig))["status"]["members"]} == {"vault"}


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"storageRef": {"name": "nowhere"}}, "StorageNotFound"),
        ({"storageRef": {"name": "other"}}, "InvalidSpec"),
        ({"retention": "7y"}, "InvalidSpec"),
    ],
    ids=["not there", "a volume", "nothing locks it"],
)
async def test_evidence_that_could_not_be_kept_as_asked_refuses_the_drill(
    rig: Rig, evidence: dict[str, Any], reason: str
) -> None:
    drive = Driver(rig)
    await rig.create(storage("other"))
    await several(drive, names=("users",), evidence=evidence)
    await drive.until(runs_done(rig, "RestoreDrillRun", "Refused", "Refused"))
    assert (await members(rig))["users"]["status"]["failure"]["reason"] == reason
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] in ("drill", "joint")]
