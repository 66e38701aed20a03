"""Drills on an API server: what is proven is said everywhere, what is not is said louder, and nothing in use goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from databosun.api.backuptasks import DeleteTask
from databosun.api.drill import Level, Verdict
from databosun.api.request import Request
from databosun.api.restoretasks import DrillTask
from databosun.api.result import Outcome, Result
from databosun.domain.plan import ANNOTATION_RUN_NOW
from databosun.kube.resources import BACKUPS, Object
from support.objects import conditions, drill, drill_run, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, ready, runs_done
from support.operatorseeds import seeded, soon

DAY = timedelta(days=1)


async def only_run(rig: Rig) -> Object:
    (found,) = await rig.objects("RestoreDrillRun")
    return found


async def test_a_passed_drill_proves_its_backup_its_database_and_says_how_long_it_took(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await rig.create(drill(cron=soon(rig)))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    run = await only_run(rig)
    proof = (await rig.get("Backup", "seed-1"))["status"]["proven"]
    assert (proof["level"], proof["run"]) == ("Restore", run["metadata"]["name"])
    assert "proven" not in (await rig.get("Backup", "seed-0"))["status"]
    status = (await rig.get("Database", "orders"))["status"]
    assert (status["lastProven"]["backup"], status["lastProven"]["rtoSeconds"]) == ("seed-1", 90)
    assert status["estimate"]["restoreNowSeconds"] == 90
    assert conditions({"status": status})["Proven"] == ("True", "DrillPassed")
    assert conditions({"status": status})["RTOMet"] == ("True", "WithinObjective")
    summary = await rig.get("RestoreDrill", "weekly")
    assert summary["status"]["runs"]["passed"] == 1
    assert summary["status"]["databases"] == {"matched": 1, "proven": 1, "failing": 0}
    assert run["metadata"]["ownerReferences"][0]["uid"] == summary["metadata"]["uid"]
    assert not await rig.objects("Pod")


async def test_a_proof_wears_off_where_drills_end_in_errors(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await rig.create(drill(cron="30 * * * *", retries=0))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    assert conditions(await rig.get("Database", "orders"))["Proven"] == ("True", "DrillPassed")
    rig.agents.script = lambda request: "crash" if request.job.task == "drill" else None
    await drive.idle(2 * HOUR)
    assert conditions(await rig.get("Database", "orders"))["Proven"] == ("False", "ProofTooOld")
    found = [run["status"]["phase"] for run in await rig.objects("RestoreDrillRun")]
    assert sorted(found) == ["Error", "Error", "Passed"]


async def test_a_failed_drill_outweighs_one_that_passed_before(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2)
    await rig.create(drill(cron="30 * * * *"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    rig.agents.bucket.backups.pop(("orders", "seed-1"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Failed", "Passed"))
    assert conditions(await rig.get("Database", "orders"))["Proven"] == ("False", "DrillFailed")
    summary = await rig.get("RestoreDrill", "weekly")
    assert conditions(summary)["LastRunSucceeded"] == ("False", "DrillFailed")
    assert (await rig.get("Backup", "seed-1"))["status"]["proven"]["level"] == "Restore"


async def test_without_a_backup_a_drill_is_refused_and_starts_nothing(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 0)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Refused"))
    status = (await only_run(rig))["status"]
    assert status["failure"]["reason"] == "NoBackup"
    assert conditions({"status": status}) == {"Ready": ("False", "NoBackup"), "Stalled": ("True", "NoBackup")}
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "drill"]


async def test_a_drill_gets_no_credentials_of_the_source_but_the_identities_of_the_store(rig: Rig) -> None:
    asked: list[Request] = []

    def script(request: Request) -> None:
        asked.append(request)

    rig.agents.script = script
    drive = Driver(rig)
    await seeded(drive, 1)

    def encrypt(body: Object) -> None:
        age = {"recipients": ["age1" + "q" * 58], "identitySecretRefs": [{"name": "age", "key": "identity"}]}
        body["spec"]["encryption"] = {"age": age}

    await rig.edit("BackupStorage", "prod", encrypt)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR, level="Deep"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    (request,) = [one for one in asked if isinstance(one.job, DrillTask)]
    assert [use.use for use in request.secrets] == ["age-0"]
    assert [
        one for one in asked if one.job.task != "drill" and any(use.use.startswith("age-") for use in one.secrets)
    ] == []
    assert isinstance(request.job, DrillTask)
    assert request.job.level is Level.DEEP


async def test_evidence_names_the_one_before_it(rig: Rig) -> None:
    previous: list[Any] = []

    def script(request: Request) -> None:
        if isinstance(request.job, DrillTask):
            previous.append(request.job.previous)

    rig.agents.script = script
    drive = Driver(rig)
    await seeded(drive, 1)
    await drive.until(lambda: ready(rig))
    for number, name in enumerate(("first", "second"), 1):
        await rig.create(drill_run(name, rig.clock.now() + HOUR))
        await drive.until(runs_done(rig, "RestoreDrillRun", *["Passed"] * number))
        await drive.idle(MINUTE)
    assert previous[0] is None
    assert previous[1].run == "first"
    assert previous[1].sha256 == (await rig.get("RestoreDrillRun", "first"))["status"]["evidence"]["sha256"]


async def test_what_a_drill_reads_is_not_deleted_under_it(rig: Rig) -> None:
    rig.agents.script = lambda request: "hang" if request.job.task == "drill" else None
    drive = Driver(rig)
    await seeded(drive, 3, retention={"keepLast": 2, "grace": "0s"}, suspend=True)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR, backupRef={"name": "seed-0"}))

    async def running() -> bool:
        return any(agent[0] == "drill" for agent in rig.agents.bucket.agents)

    await drive.until(running)

    def resume(body: Object) -> None:
        body["spec"]["suspend"] = False

    await rig.edit("BackupPolicy", "nightly", resume)
    await drive.idle(2 * HOUR)
    policy_seen = await rig.get("BackupPolicy", "nightly")
    assert conditions(policy_seen)["RetentionHealthy"] == ("True", "InUse")
    assert (await rig.get("Backup", "seed-0"))["status"]["phase"] == "Succeeded"
    # The drill ends without a verdict: the backup is not proven, and goes.
    failure = Result(outcome=Outcome.FAILED, reason="IdentityWrong", message="no key")
    rig.agents.script = lambda request: failure if request.job.task == "drill" else None
    await drive.until(all_done(rig, "Succeeded", "Succeeded"), limit=2 * DAY)
    assert rig.agents.bucket.deleted == ["seed-0"]


async def test_what_was_marked_just_after_a_drill_had_chosen_it_goes_only_afterwards(rig: Rig) -> None:
    rig.agents.script = lambda request: "hang" if request.job.task == "drill" else None
    drive = Driver(rig)
    await seeded(drive, 2)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR, backupRef={"name": "seed-0"}))

    async def running() -> bool:
        return any(agent[0] == "drill" for agent in rig.agents.bucket.agents)

    await drive.until(running)
    version = (await rig.get("Backup", "seed-0"))["metadata"]["resourceVersion"]
    await rig.kube.patch_status(BACKUPS, rig.namespace, "seed-0", {"phase": "Deleting"}, version)
    await drive.idle(2 * HOUR)
    assert rig.agents.bucket.deleted == []
    rig.agents.script = lambda request: None
    await drive.until(all_done(rig, "Succeeded"), limit=2 * DAY)
    assert rig.agents.bucket.deleted == ["seed-0"]


async def test_a_person_who_deletes_what_a_drill_reads_waits_for_it(rig: Rig) -> None:
    deleting: list[str] = []

    def script(request: Request) -> str | None:
        if isinstance(request.job, DeleteTask):
            deleting.append(request.run)
        return "hang" if request.job.task == "drill" else None

    rig.agents.script = script
    drive = Driver(rig)
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR, backupRef={"name": "seed-0"}))

    async def running() -> bool:
        return any(agent[0] == "drill" for agent in rig.agents.bucket.agents)

    await drive.until(running)
    await rig.delete("Backup", "seed-0")
    await drive.idle(HOUR)
    assert deleting == []
    rig.agents.script = lambda request: None
    await drive.until(all_done(rig, "Succeeded"), limit=2 * DAY)
    assert rig.agents.bucket.deleted == ["seed-0"]


async def test_run_now_and_every_so_many_backups_start_a_drill(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 1, cron="0 * * * *")
    await rig.create(drill(trigger={"everyNBackups": 2}))
    await drive.until(lambda: ready(rig))

    def ask(body: Object) -> None:
        body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = "today"

    await rig.edit("RestoreDrill", "weekly", ask)
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed", "Passed"), limit=4 * HOUR)
    await drive.idle(MINUTE)
    assert len(await rig.objects("RestoreDrillRun")) == 2


async def test_old_runs_go_and_the_newest_of_each_sort_stay(rig: Rig) -> None:
    def script(request: Request) -> Result | None:
        if not isinstance(request.job, DrillTask) or rig.clock.now().hour % 2:
            return None
        found = rig.agents.drilled(request.job, Verdict.PARTIAL)
        return Result(outcome=Outcome.SUCCEEDED, reason="Stale", message="old", drill=found)

    rig.agents.script = script
    drive = Driver(rig)
    await seeded(drive, 1)
    await rig.create(drill(cron="30 * * * *", historyLimits={"passed": 2, "others": 1}))
    await drive.idle(9 * HOUR)
    phases = [run["status"]["phase"] for run in await rig.objects("RestoreDrillRun")]
    assert sorted(phases) == ["Partial", "Passed", "Passed"]


async def test_a_drill_over_labels_and_one_over_a_policy_cover_their_databases(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 1)
    await rig.create(drill("by-policy", cron=soon(rig), policyRef={"name": "nightly"}))
    await rig.create(drill("by-label", databaseSelector={"matchLabels": {"team": "shop"}}))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    matched = {
        body["metadata"]["name"]: body["status"]["databases"]["matched"] for body in await rig.objects("RestoreDrill")
    }
    assert matched == {"by-policy": 1, "by-label": 0}


async def test_a_drill_that_names_what_is_not_there_says_so(rig: Rig) -> None:
    await rig.create(storage(), drill("a"), drill("b", policyRef={"name": "nowhere"}), drill("c", "0 0 31 2 *"))

    async def stalled() -> bool:
        found = [conditions(body).get("Stalled", ("", ""))[1] for body in await rig.objects("RestoreDrill")]
        return found == ["DatabaseNotFound", "PolicyNotFound", "InvalidSpec"]

    await Driver(rig).until(stalled)


async def test_a_drill_that_came_back_with_a_clusters_backup_is_read_and_not_repeated(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 1)
    await drive.until(lambda: ready(rig))
    await rig.create(drill_run("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    spec = (await rig.get("RestoreDrillRun", "mine"))["spec"]
    await rig.delete("RestoreDrillRun", "mine")
    await drive.idle(2 * HOUR)
    await rig.create(drill_run("mine", **spec))
    await drive.until(runs_done(rig, "RestoreDrillRun", "Passed"))
    assert [agent for agent in rig.agents.bucket.agents if agent[0] == "drill"] == [("drill", "mine", 1)]
    assert (await rig.get("RestoreDrillRun", "mine"))["status"]["evidence"]["uri"].endswith("drills/mine/evidence.json")
