"""What retention deletes, and where: never what a hold came upon in time, nor elsewhere, nor by an old spec."""

from __future__ import annotations

from datetime import timedelta

from databosun.api.backuptasks import DeleteTask, HoldTask
from databosun.api.request import Request
from databosun.api.result import DeletedBackup, Outcome, Result
from databosun.domain.plan import LABEL_HOLD
from databosun.kube.resources import APPROVALS, BACKUPS, Object
from support.objects import conditions, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, all_done, phases
from support.operatorlife import Event
from support.operatorseeds import seeded

TWO_GO = {"keepLast": 2, "grace": "1h"}
SLOW = "tests.databosun.io/slow"
S3 = {"bucket": "backups", "endpoint": "http://store:8333"}


def hold(body: Object) -> None:
    """What a person who wants to keep a backup does."""
    body["metadata"].setdefault("labels", {})[LABEL_HOLD] = "true"


def release(body: Object) -> None:
    """And takes back."""
    del body["metadata"]["labels"][LABEL_HOLD]


class Errands:
    """Where agents are sent to delete and to hold; some of them never end."""

    def __init__(self, rig: Rig, *, hang: bool = False) -> None:
        self.hang = hang
        self.sent: list[tuple[str, str, list[str]]] = []
        rig.agents.script = self._script

    def _script(self, request: Request) -> Result | str | None:
        if not isinstance(request.job, DeleteTask | HoldTask):
            return None
        if self.hang and isinstance(request.job, DeleteTask):
            return "hang"
        assert request.storage is not None
        self.sent.append((request.job.task, request.storage.name, sorted(request.job.ids)))
        return None


async def _marked(rig: Rig) -> bool:
    return sorted(await phases(rig)) == ["Deleting", "Deleting", "Succeeded", "Succeeded"]


async def _healthy(rig: Rig) -> tuple[str, str]:
    return conditions(await rig.get("BackupPolicy", "nightly"))["RetentionHealthy"]


async def test_a_hold_that_comes_after_the_mark_takes_its_backup_out_of_the_plan(rig: Rig) -> None:
    drive, errands = Driver(rig), Errands(rig, hang=True)
    await seeded(drive, 4, retention=TWO_GO)
    await drive.until(lambda: _marked(rig), limit=4 * HOUR)
    await drive.idle(MINUTE)
    await rig.edit("Backup", "seed-0", hold)
    await drive.idle(MINUTE)
    errands.hang = False
    await drive.until(all_done(rig, *["Succeeded"] * 3))
    assert rig.agents.bucket.deleted == ["seed-1"]
    assert "seed-0" in rig.agents.bucket.held
    kept = await rig.get("Backup", "seed-0")
    assert (kept["status"]["phase"], "hold" in kept["status"]) == ("Succeeded", True)

    await rig.edit("Backup", "seed-0", release)
    await drive.until(all_done(rig, *["Succeeded"] * 2), limit=4 * HOUR)
    assert rig.agents.bucket.deleted == ["seed-1", "seed-0"]


async def test_what_a_held_backup_stands_on_is_given_back_with_it(rig: Rig) -> None:
    drive, errands = Driver(rig), Errands(rig, hang=True)
    await seeded(drive, 4, retention=TWO_GO)

    async def stands(name: str, on: str) -> None:
        body = await rig.get("Backup", name)
        status = {"parent": on, "base": on, "type": "Incremental", "chainLength": 1}
        version = body["metadata"]["resourceVersion"]
        await rig.kube.patch_status(BACKUPS, rig.namespace, name, status, version)

    await stands("seed-1", "seed-0")
    await drive.until(lambda: _marked(rig), limit=4 * HOUR)
    await rig.edit("Backup", "seed-1", hold)
    await drive.idle(MINUTE)
    errands.hang = False
    await drive.until(all_done(rig, *["Succeeded"] * 4))
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert not rig.agents.bucket.deleted


async def test_no_hold_is_written_while_an_agent_may_still_delete(rig: Rig) -> None:
    """A pod that takes its time to end."""
    drive, errands = Driver(rig), Errands(rig, hang=True)
    await seeded(drive, 4, retention=TWO_GO)

    async def running() -> bool:
        return any("delete" in pod["metadata"]["name"] for pod in await rig.objects("Pod"))

    await drive.until(running, limit=4 * HOUR)
    (pod,) = [one for one in await rig.objects("Pod") if "delete" in one["metadata"]["name"]]
    name = pod["metadata"]["name"]
    await rig.edit("Pod", name, lambda body: body["metadata"]["finalizers"].append(SLOW))
    for held in ("seed-0", "seed-1"):
        await rig.edit("Backup", held, hold)
    await drive.idle(5 * MINUTE)
    assert not rig.agents.bucket.held
    assert await _marked(rig)
    await rig.strip(await rig.get("Pod", name))
    await drive.until(all_done(rig, *["Succeeded"] * 4))
    assert {"seed-0", "seed-1"} <= set(rig.agents.bucket.held)
    assert not errands.sent or all(task == "hold" for task, *_ in errands.sent)


async def test_data_are_deleted_and_held_in_the_storage_that_they_are_in(rig: Rig) -> None:
    drive, errands = Driver(rig), Errands(rig)
    await seeded(drive, 4, retention=TWO_GO)
    await rig.create(storage("other"))
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["storageRef"].update(name="other"))
    await rig.edit("Backup", "seed-3", hold)
    await drive.until(all_done(rig, *["Succeeded"] * 2), limit=4 * HOUR)
    assert sorted(errands.sent) == [("delete", "prod", ["seed-0", "seed-1"]), ("hold", "prod", ["seed-3"])]


async def test_a_lock_counts_of_the_storage_that_a_backup_is_in(rig: Rig) -> None:
    drive = Driver(rig)
    locked = storage(s3=S3, volume=None, immutability={"retention": "30d"})
    await seeded(drive, 4, store=locked, retention=TWO_GO)
    await rig.create(storage("other"))
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["storageRef"].update(name="other"))
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert not rig.agents.bucket.deleted


async def test_nothing_is_let_go_whose_storage_nobody_knows(rig: Rig) -> None:
    drive, errands = Driver(rig), Errands(rig)
    await seeded(drive, 4, retention=TWO_GO)
    await rig.create(storage("other"))
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"]["storageRef"].update(name="other"))
    await rig.delete("BackupStorage", "prod")
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert errands.sent == []
    assert await _healthy(rig) == ("False", "DeletionFailed")


def _absent(request: Request) -> Result | None:
    """An agent that finds an empty folder."""
    if not isinstance(request.job, DeleteTask):
        return None
    found = [DeletedBackup(id=id, deleted=True, absent=True) for id in request.job.ids]
    return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", deleted=found)


async def test_data_that_were_not_there_are_told_of(rig: Rig) -> None:
    drive = Driver(rig)
    rig.agents.script = _absent
    await seeded(drive, 4, retention=TWO_GO)
    await drive.until(all_done(rig, *["Succeeded"] * 2), limit=4 * HOUR)
    assert "DataMissing" in rig.told.reasons("nightly")


async def test_data_that_are_not_in_a_storage_made_anew_keep_their_record(rig: Rig) -> None:
    drive = Driver(rig)
    rig.agents.script = _absent
    await seeded(drive, 4, retention=TWO_GO)
    await rig.delete("BackupStorage", "prod")
    await rig.create(storage(volume={"claimName": "elsewhere", "path": "/"}))
    await drive.idle(4 * HOUR)
    assert len(await rig.objects("Backup")) == 4
    assert await _healthy(rig) == ("False", "DeletionFailed")


async def test_a_hold_that_the_store_does_not_have_is_not_claimed(rig: Rig) -> None:
    drive = Driver(rig)
    orders = []

    def empty(request: Request) -> Result | None:
        if not isinstance(request.job, HoldTask):
            return None
        orders.append(request.job.ids)
        held = [id for id in request.job.ids if id != "seed-0"]
        return Result(outcome=Outcome.SUCCEEDED, reason="Succeeded", held=held)

    rig.agents.script = empty
    await seeded(drive, 3, retention={"keepLast": 9})
    for name in ("seed-0", "seed-1"):
        await rig.edit("Backup", name, hold)
    await drive.idle(30 * MINUTE)
    assert "hold" not in (await rig.get("Backup", "seed-0"))["status"]
    assert "hold" in (await rig.get("Backup", "seed-1"))["status"]
    assert await _healthy(rig) == ("False", "DeletionFailed")
    assert len(orders) == 1, "not one Job after the other"


class Watch:
    """A watch that dies without a word, for some kinds."""

    def __init__(self) -> None:
        self.dead: set[str] = set()

    def __call__(self, events: list[Event]) -> list[Event]:
        return [one for one in events if one.kind not in self.dead]


async def test_a_policy_that_changed_unseen_deletes_nothing_by_what_it_was(rig: Rig) -> None:
    watch = Watch()
    drive = Driver(rig, deliver=watch)
    await seeded(drive, 4, retention=TWO_GO)
    await drive.idle(30 * MINUTE)
    assert "pendingDeletions" in (await rig.get("BackupPolicy", "nightly"))["status"]
    watch.dead = {"BackupPolicy"}
    await rig.edit("BackupPolicy", "nightly", lambda body: body["spec"].update(suspend=True))
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 4
    assert not rig.agents.bucket.deleted


async def test_a_consent_that_was_taken_back_unseen_releases_nothing(rig: Rig) -> None:
    watch = Watch()
    drive = Driver(rig, deliver=watch)
    await seeded(drive, 5, retention={"keepLast": 1, "grace": "1h"})
    await drive.idle(10 * MINUTE)
    plan = (await rig.get("BackupPolicy", "nightly"))["status"]["pendingDeletions"]["hash"]
    late = (rig.clock.now() + timedelta(hours=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ref = {"kind": "BackupPolicy", "name": "nightly"}
    spec = {"ref": ref, "planHash": plan, "notAfter": late, "approvedBy": "somebody"}
    await rig.create(
        {"apiVersion": APPROVALS.api_version, "kind": "Approval", "metadata": {"name": "yes"}, "spec": spec}
    )
    await drive.idle(10 * MINUTE)
    watch.dead = {"Approval"}
    await rig.delete("Approval", "yes")
    await drive.idle(4 * HOUR)
    assert await phases(rig) == ["Succeeded"] * 5
    assert not rig.agents.bucket.deleted
