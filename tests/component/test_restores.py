"""Restores on an API server: into a volume of their own, once, and never later than they may start."""

from __future__ import annotations

from databosun.api.request import Request
from databosun.api.restoretasks import BridgeTask, RestoreTask
from databosun.api.result import Outcome, Result
from databosun.kube.resources import JOBS, Object
from support.objects import approval_of, backup, conditions, database, restore
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Condition, Driver, ready, runs_done
from support.operatorseeds import seeded


async def prepared(rig: Rig, backups: int = 3) -> Driver:
    drive = Driver(rig)
    await seeded(drive, backups)
    await drive.until(lambda: ready(rig))
    return drive


def asked(rig: Rig) -> list[RestoreTask]:
    found: list[RestoreTask] = []

    def script(request: Request) -> None:
        if isinstance(request.job, RestoreTask):
            found.append(request.job)

    rig.agents.script = script
    return found


async def test_the_newest_is_tried_first_and_the_status_says_what_to_do_next(rig: Rig) -> None:
    tasks = asked(rig)
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert [one.id for one in tasks[0].candidates] == ["seed-2", "seed-1", "seed-0"]
    assert not tasks[0].replace
    status = (await rig.get("Restore", "mine"))["status"]
    assert (status["backup"], status["handOver"]) == ("seed-2", ["Start a server on it."])
    assert conditions({"status": status}) == {"Ready": ("True", "Restored")}
    assert status["record"]["uri"].endswith("restores/mine/result.json")


async def test_the_volume_is_mounted_into_the_one_job_that_restores(rig: Rig) -> None:
    rig.agents.script = lambda request: "hang" if request.job.task == "restore" else None
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR))

    async def running() -> bool:
        return any(agent[0] == "restore" for agent in rig.agents.bucket.agents)

    await drive.until(running)
    job = await rig.kube.get(JOBS, rig.namespace, "mine-01")
    assert job is not None
    spec = job["spec"]["template"]["spec"]
    claims = {one["name"]: one.get("persistentVolumeClaim", {}).get("claimName") for one in spec["volumes"]}
    assert claims["restore"] == "new"
    assert {"name": "restore", "mountPath": "/restore"} in spec["containers"][0]["volumeMounts"]


async def test_only_backups_that_do_not_lie_behind_the_point_are_tried(rig: Rig) -> None:
    tasks = asked(rig)
    drive = await prepared(rig)
    taken = (await rig.get("Backup", "seed-1"))["status"]["snapshotTime"]
    await rig.create(restore("mine", rig.clock.now() + HOUR, pointInTime=taken))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert [one.id for one in tasks[0].candidates] == ["seed-1", "seed-0"]
    assert tasks[0].until.time is not None


async def test_a_name_that_its_engine_gives_to_no_point_is_refused(rig: Rig) -> None:
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, gtid="0-1-4711"))
    await drive.until(runs_done(rig, "Restore", "Refused"))
    failure = (await rig.get("Restore", "mine"))["status"]["failure"]
    assert failure["reason"] == "PointNotCovered"
    assert "gtid is of MariaDB, and this is PostgreSQL" in failure["message"]


async def test_what_is_over_its_not_after_starts_nothing(rig: Rig) -> None:
    drive = await prepared(rig)
    await rig.create(restore("late", rig.clock.now() - MINUTE), restore("far", rig.clock.now() + 48 * HOUR))
    await drive.until(runs_done(rig, "Restore", "Refused", "Refused"))
    found = {body["metadata"]["name"]: body["status"]["failure"]["reason"] for body in await rig.objects("Restore")}
    assert found == {"late": "NotStarted", "far": "InvalidSpec"}
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "restore"]


async def test_a_volume_that_holds_backups_is_nothing_to_restore_into(rig: Rig) -> None:
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, target={"volume": {"claimName": "backups"}}))
    await drive.until(runs_done(rig, "Restore", "Refused"))
    assert (await rig.get("Restore", "mine"))["status"]["failure"]["reason"] == "ProductionVolume"


async def test_what_the_agent_refuses_is_refused_and_what_fails_has_failed(rig: Rig) -> None:
    refusal = Result(outcome=Outcome.REFUSED, reason="TargetNotEmpty", message="the volume holds data")
    failure = Result(outcome=Outcome.FAILED, reason="RecoveryFailed", message="it does not come up")
    said = {"full": refusal, "broken": failure}
    rig.agents.script = lambda request: said.get(request.run)
    drive = await prepared(rig)
    await rig.create(restore("full", rig.clock.now() + HOUR), restore("broken", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Restore", "Failed", "Refused"))
    assert (await rig.get("Restore", "full"))["status"]["phase"] == "Refused"
    assert "Stalled" in conditions(await rig.get("Restore", "broken"))


async def test_an_agent_that_is_lost_leaves_word_of_the_targets_state(rig: Rig) -> None:
    rig.agents.script = lambda request: "crash" if request.job.task == "restore" else None
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, retries=0))
    await drive.until(runs_done(rig, "Restore", "Failed"))
    failure = (await rig.get("Restore", "mine"))["status"]["failure"]
    assert ".databosun-restore-mine" in failure["message"]


async def test_it_works_when_the_database_object_is_gone(rig: Rig) -> None:
    tasks = asked(rig)
    drive = await prepared(rig)
    await rig.delete("Database", "orders")
    await rig.create(restore("mine", rig.clock.now() + HOUR))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert tasks[0].candidates[0].id == "seed-2"


async def test_replace_reaches_the_agent_only_where_it_was_asked_for(rig: Rig) -> None:
    tasks = asked(rig)
    drive = await prepared(rig)
    body: Object = restore("mine", rig.clock.now() + HOUR, overwrite="Replace", confirm="new")
    await rig.create(body)
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert tasks[0].replace


async def test_a_restore_whose_result_was_lost_is_read_from_its_record(rig: Rig) -> None:
    def script(request: Request) -> str | None:
        if not isinstance(request.job, RestoreTask):
            return None
        rig.agents.work(request)
        return "crash"

    rig.agents.script = script
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, retries=0))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert (await rig.get("Restore", "mine"))["status"]["backup"] == "seed-2"


# --- into running servers

IN_PLACE = {"target": {"databaseRef": {"name": "orders"}}, "selection": {"databases": ["shop"]}}


def bridges(rig: Rig) -> list[BridgeTask]:
    found: list[BridgeTask] = []

    def script(request: Request) -> None:
        if isinstance(request.job, BridgeTask):
            assert {use.use for use in request.secrets} >= {"database"}
            found.append(request.job)

    rig.agents.script = script
    return found


def in_phase(rig: Rig, phase: str) -> Condition:
    async def so() -> bool:
        return (await rig.get("Restore", "mine")).get("status", {}).get("phase") == phase

    return so


async def test_in_place_names_what_is_wanted_and_logs_in_to_the_target(rig: Rig) -> None:
    tasks = bridges(rig)
    drive = await prepared(rig)
    body = restore("mine", rig.clock.now() + HOUR, overwrite="Replace", confirm="orders", **IN_PLACE)
    await rig.create(body)
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    seen = await rig.get("Restore", "mine")
    (task,) = tasks
    assert (task.mode, task.uid, task.replace) == ("Restore", seen["metadata"]["uid"], True)
    assert (task.target.name, task.selection.databases) == ("orders", ["shop"])
    assert seen["status"]["placed"] == [{"database": "shop", "at": "shop"}]
    assert "staged" not in seen["status"]


async def test_another_database_is_restored_into_by_its_name_and_has_to_be_there(rig: Rig) -> None:
    tasks = bridges(rig)
    drive = await prepared(rig)
    await rig.create(database("other"))
    there = {"target": {"databaseRef": {"name": "other"}}}
    gone = {"target": {"databaseRef": {"name": "gone"}}}
    await rig.create(restore("into-other", rig.clock.now() + HOUR, **there))
    await rig.create(restore("into-gone", rig.clock.now() + HOUR, **gone))
    await drive.until(runs_done(rig, "Restore", "Refused", "Succeeded"))
    assert [task.target.name for task in tasks] == ["other"]
    assert (await rig.get("Restore", "into-gone"))["status"]["failure"]["reason"] == "DatabaseNotFound"


async def test_more_may_be_needed_than_the_backups_role_has(rig: Rig) -> None:
    secrets: list[str] = []

    def script(request: Request) -> None:
        if isinstance(request.job, BridgeTask):
            secrets.extend(use.secret for use in request.secrets if use.use == "database")

    rig.agents.script = script
    drive = await prepared(rig)
    target = {"databaseRef": {"name": "orders"}, "credentialsSecretRef": {"name": "restorer"}}
    await rig.create(restore("mine", rig.clock.now() + HOUR, target=target))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert secrets == ["restorer"]


async def test_a_server_without_an_object_is_described_in_the_restore(rig: Rig) -> None:
    tasks = bridges(rig)
    drive = await prepared(rig)
    connection = {"host": "elsewhere", "credentialsSecretRef": {"name": "login"}}
    await rig.create(restore("mine", rig.clock.now() + HOUR, target={"connection": connection}))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert (tasks[0].target.name, tasks[0].target.hosts, tasks[0].target.uid) == ("elsewhere", ["elsewhere"], "")


async def test_what_is_staged_waits_for_its_approval_and_keeps_no_backup_waiting(rig: Rig) -> None:
    tasks = bridges(rig)
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, stageFirst=True, **IN_PLACE))
    await drive.until(in_phase(rig, "Staged"))
    seen = await rig.get("Restore", "mine")
    assert conditions(seen) == {"Ready": ("False", "Staged")}
    await rig.create(approval_of(seen, rig.clock.now() + 12 * HOUR, "0" * 16))
    await drive.idle(2 * HOUR)
    assert (await rig.get("Restore", "mine"))["status"]["phase"] == "Staged"
    await rig.create(backup("meanwhile", rig.clock.now() + HOUR))
    await drive.idle(HOUR)
    assert (await rig.get("Backup", "meanwhile"))["status"]["phase"] == "Succeeded"
    await rig.create(approval_of(seen, rig.clock.now() + 12 * HOUR))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert [task.mode for task in tasks] == ["Restore", "Promote"]
    assert (await rig.get("Restore", "mine"))["status"]["staged"]["decision"] == "Promote"


async def test_what_nobody_approves_is_removed_in_the_end(rig: Rig) -> None:
    tasks = bridges(rig)
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, stageFirst=True, stageFor="2h", **IN_PLACE))
    await drive.until(in_phase(rig, "Staged"))
    await drive.idle(3 * HOUR)
    assert [task.mode for task in tasks] == ["Restore", "Discard"]
    seen = await rig.get("Restore", "mine")
    assert seen["status"]["failure"]["reason"] == "NotPromoted"
    assert seen["status"]["staged"]["decision"] == "Discard"


async def test_a_webhook_is_mounted_where_it_is_asked_for(rig: Rig) -> None:
    seen: list[dict[str, str]] = []

    def script(request: Request) -> None:
        if isinstance(request.job, RestoreTask):
            seen.extend({use.secret: use.keys["url"]} for use in request.secrets if use.use == "notify")

    rig.agents.script = script
    drive = await prepared(rig)
    notify = {"urlSecretRef": {"name": "hooks", "key": "on-call"}}
    await rig.create(restore("mine", rig.clock.now() + HOUR, notify=notify))
    await drive.until(runs_done(rig, "Restore", "Succeeded"))
    assert seen == [{"hooks": "on-call"}]


async def test_a_lost_agent_leaves_word_of_what_may_be_at_the_server(rig: Rig) -> None:
    rig.agents.script = lambda request: "crash" if request.job.task == "bridge" else None
    drive = await prepared(rig)
    await rig.create(restore("mine", rig.clock.now() + HOUR, retries=0, **IN_PLACE))
    await drive.until(runs_done(rig, "Restore", "Failed"))
    message = (await rig.get("Restore", "mine"))["status"]["failure"]["message"]
    assert "_restore_" in message
    assert "_before_" in message
