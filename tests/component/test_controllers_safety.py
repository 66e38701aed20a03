"""Nothing good is deleted by accident, nothing is started twice, and nothing hangs."""

from __future__ import annotations

from datetime import timedelta

from databosun.domain.plan import ANNOTATION_RUN_NOW, FINALIZER_DATA, LABEL_FINISHED
from databosun.kube.resources import APPROVALS, BACKUPS, Object
from support.objects import backup, conditions, database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, phases, ready
from support.operatorseeds import seeded


def deletions(rig: Rig) -> list[str]:
    """Agents that were started to delete data, and data that is gone."""
    return [str(agent) for agent in rig.agents.bucket.agents if agent[0] == "delete"] + rig.agents.bucket.deleted


async def test_a_deleted_policy_leaves_objects_and_data(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 3, deletionPolicy="Delete", retention={"keepLast": 1, "grace": "0s"}, suspend=True)
    await drive.until(lambda: ready(rig))
    await rig.delete("BackupPolicy", "nightly")
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 3
    assert not deletions(rig)
    assert conditions(await rig.get("Database", "orders"))["Protected"] == ("False", "NoPolicy")


async def test_a_database_created_anew_expires_nothing_of_the_one_before_and_takes_over_no_run(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 3, deletionPolicy="Delete", retention={"keepLast": 3, "grace": "0s"})
    await drive.until(lambda: ready(rig))
    await rig.delete("Database", "orders")
    await rig.create(database())

    def ask(body: Object) -> None:
        body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = "today"

    await drive.until(lambda: ready(rig))
    await rig.edit("BackupPolicy", "nightly", ask)
    await drive.until(all_done(rig, *["Succeeded"] * 4))
    await drive.idle(3 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert not deletions(rig)
    assert (await rig.get("Database", "orders"))["status"]["recovery"]["backups"] == 1


async def test_objects_restored_without_their_status_start_nothing(rig: Rig) -> None:
    drive = Driver(rig)
    await rig.create(storage(), database(), policy(cron="0 0 1 1 *"))
    old = (rig.clock.now() - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await rig.create(
        backup("lost", scheduledFor=old, schedule="full", storageRef={"name": "prod"}, type="Full", method="Auto"),
        backup("kept", scheduledFor=old, schedule="full", storageRef={"name": "prod"}, type="Full", method="Auto"),
        backup("mine", rig.clock.now() - MINUTE),
    )
    result = rig.agents.stored("orders", "kept")
    await drive.until(all_done(rig, "Failed", "Failed", "Succeeded"))
    assert not [agent for agent in rig.agents.bucket.agents if agent[0] == "backup"]
    assert (await rig.get("Backup", "kept"))["status"]["checksum"] == result.checksum
    assert (await rig.get("Backup", "lost"))["status"]["failure"]["reason"] == "NotStarted"
    assert (await rig.get("Backup", "mine"))["status"]["failure"]["reason"] == "NotStarted"


async def test_a_run_now_token_that_is_there_at_first_sight_is_noted_not_run(rig: Rig) -> None:
    asked = policy()
    asked["metadata"]["annotations"] = {ANNOTATION_RUN_NOW: "yesterday"}
    await rig.create(storage(), database(), asked)
    drive = Driver(rig)
    await drive.idle(HOUR)
    assert not await rig.objects("Backup")
    assert (await rig.get("Database", "orders"))["status"]["policies"][0]["runNowToken"] == "yesterday"


async def test_in_a_namespace_that_is_going_backups_let_go_and_data_stay() -> None:
    rig = Rig(None)
    drive = Driver(rig)
    await seeded(drive, 3, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    rig.memory.terminating.add(rig.namespace)
    for name in ("seed-0", "seed-1", "seed-2"):
        await rig.delete("Backup", name)
    await drive.idle(5 * MINUTE)
    assert not await rig.objects("Backup"), "the namespace would hang"
    assert not deletions(rig)
    await rig.close()


async def test_while_the_kind_itself_is_going_backups_let_go_and_data_stay() -> None:
    rig = Rig(None)
    drive = Driver(rig)
    await seeded(drive, 3, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    rig.memory.terminating.add(f"{BACKUPS.plural}.{BACKUPS.group}")
    for name in ("seed-0", "seed-1", "seed-2"):
        await rig.delete("Backup", name)
    await drive.idle(5 * MINUTE)
    assert not await rig.objects("Backup"), "the CRD would hang"
    assert not deletions(rig)
    await rig.close()


async def test_agents_pods_do_not_hold_a_namespace_that_is_going() -> None:
    rig = Rig(None)
    rig.agents.script = lambda _request: "hang"
    await rig.create(storage(), database(), policy())
    drive = Driver(rig)
    await drive.idle(MINUTE)
    assert await rig.objects("Pod")
    rig.memory.terminating.add(rig.namespace)
    for pod in await rig.objects("Pod"):
        await rig.delete("Pod", pod["metadata"]["name"])
    await drive.idle(MINUTE)
    assert not await rig.objects("Pod")
    await rig.close()


async def test_a_person_who_deletes_the_newest_backup_keeps_its_data(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    await rig.delete("Backup", "seed-1")
    await drive.idle(5 * MINUTE)
    assert [body["metadata"]["name"] for body in await rig.objects("Backup")] == ["seed-0"]
    assert not deletions(rig)
    assert "DataRetained" in rig.told.reasons("seed-1")


async def test_a_held_backup_is_not_let_go_whoever_asks(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 5, deletionPolicy="Delete", retention={"keepLast": 2, "grace": "0s"}, suspend=True)

    def hold(body: Object) -> None:
        body["metadata"]["labels"]["databosun.io/hold"] = "true"

    def resume(body: Object) -> None:
        body["spec"]["suspend"] = False

    await rig.edit("Backup", "seed-0", hold)
    await rig.edit("Backup", "seed-1", hold)
    await rig.edit("BackupPolicy", "nightly", resume)
    await drive.until(all_done(rig, *["Succeeded"] * 4))
    await drive.idle(3 * HOUR)
    assert rig.agents.bucket.deleted == ["seed-2"]
    await rig.delete("Backup", "seed-0")
    await drive.idle(5 * MINUTE)
    assert rig.agents.bucket.deleted == ["seed-2"], "the data of a held backup stay, even where admission let it go"


async def test_a_legal_hold_of_the_policy_holds_all(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 4, deletionPolicy="Delete", retention={"keepLast": 2, "grace": "0s"}, legalHold=True)
    await drive.idle(4 * HOUR)
    await rig.delete("Backup", "seed-0")
    await drive.idle(5 * MINUTE)
    assert not deletions(rig)
    assert set(rig.agents.bucket.held) >= {"seed-1", "seed-2", "seed-3"}


async def test_mass_deletion_waits_for_an_approval_of_that_very_plan(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 5, retention={"keepLast": 1, "grace": "1h"})
    await drive.idle(3 * HOUR)
    seen = await rig.get("BackupPolicy", "nightly")
    assert conditions(seen)["RetentionHealthy"] == ("False", "MassDeletion")
    assert not deletions(rig)
    plan = seen["status"]["pendingDeletions"]["hash"]

    def approval(name: str, planHash: str) -> Object:
        late = (rig.clock.now() + 12 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
        spec = {"ref": {"kind": "BackupPolicy", "name": "nightly"}, "planHash": planHash, "notAfter": late}
        return {
            "apiVersion": APPROVALS.api_version,
            "kind": "Approval",
            "metadata": {"name": name},
            "spec": spec | {"approvedBy": "somebody"},
        }

    await rig.create(approval("wrong", "0" * len(plan)))
    await drive.idle(3 * HOUR)
    assert not deletions(rig)
    await rig.create(approval("right", plan))
    await drive.until(all_done(rig, "Succeeded"))
    assert sorted(rig.agents.bucket.deleted) == ["seed-0", "seed-1", "seed-2", "seed-3"]


async def test_without_a_fresh_lease_nothing_is_deleted(rig: Rig) -> None:
    rig.lease.fresh = False
    drive = Driver(rig)
    await seeded(drive, 4, deletionPolicy="Delete", retention={"keepLast": 2, "grace": "0s"})
    await drive.idle(HOUR)
    await rig.delete("Backup", "seed-0")
    await drive.idle(HOUR)
    assert not deletions(rig)
    assert await phases(rig) == ["Succeeded"] * 4
    rig.lease.fresh = True
    await drive.until(all_done(rig, "Succeeded", "Succeeded"))


async def test_retention_lets_nothing_go_by_time_alone_while_backups_fail(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 3, cron="0 0 1 1 *", retention={"daily": 3, "recoveryWindow": "2d", "grace": "0s"})
    await drive.until(lambda: ready(rig))
    rig.clock.advance(timedelta(days=400))
    await drive.idle(2 * HOUR)
    assert "seed-2" in [body["metadata"]["name"] for body in await rig.objects("Backup")]
    assert await phases(rig) == ["Succeeded"] * 3


async def test_a_broken_policy_does_not_hang_a_persons_delete(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2, deletionPolicy="Delete", jitter="2h")
    await drive.idle(MINUTE)
    await rig.delete("Backup", "seed-0")
    await drive.idle(5 * MINUTE)
    assert [body["metadata"]["name"] for body in await rig.objects("Backup")] == ["seed-1"]
    assert not deletions(rig)


async def test_data_that_cannot_be_deleted_are_given_up_after_three_tries_and_nothing_hangs(rig: Rig) -> None:
    drive = Driver(rig)
    await seeded(drive, 2, deletionPolicy="Delete")
    await drive.until(lambda: ready(rig))
    rig.agents.script = lambda request: "crash" if request.job.task == "delete" else None
    await rig.delete("Backup", "seed-0")
    await drive.until(all_done(rig, "Succeeded"))
    assert "DataRetained" in rig.told.reasons("seed-0")
    tries = [times for agent, times in rig.agents.bucket.agents.items() if agent[0] == "delete"]
    assert sum(tries) == 3


async def test_new_backups_carry_the_finalizer_only_where_data_may_go(rig: Rig) -> None:
    drive = Driver(rig)
    for name, keeps in (("keeps", "Retain"), ("drops", "Delete")):
        await rig.create(database(name), policy(name, databaseRef={"name": name}, deletionPolicy=keeps))
    await rig.create(storage())
    await drive.until(lambda: ready(rig))

    def ask(body: Object) -> None:
        body["metadata"].setdefault("annotations", {})[ANNOTATION_RUN_NOW] = "today"

    for name in ("keeps", "drops"):
        await rig.edit("BackupPolicy", name, ask)
    await drive.until(all_done(rig, "Succeeded", "Succeeded"))
    found = {
        body["spec"]["databaseRef"]["name"]: body["metadata"].get("finalizers", [])
        for body in await rig.objects("Backup")
        if LABEL_FINISHED in body["metadata"]["labels"]
    }
    assert found == {"keeps": [], "drops": [FINALIZER_DATA]}


async def test_backups_that_name_only_their_policy_expire_with_their_data(rig: Rig) -> None:
    drive = Driver(rig)
    retention = {"keepLast": 1, "grace": "0s"}
    await rig.create(storage(), database(), policy(retention=retention, deletionPolicy="Delete"))
    await drive.until(lambda: ready(rig))
    for name in ("first", "second"):
        made = backup(name, rig.clock.now() + 12 * HOUR)
        del made["spec"]["databaseRef"]
        await rig.create(made)
        await drive.until(all_done(rig, "Succeeded"))
        assert (await rig.get("Backup", name))["status"]["database"] == "orders"
    assert rig.agents.bucket.deleted == ["first"]
    assert set(rig.agents.bucket.backups) == {("orders", "second")}
