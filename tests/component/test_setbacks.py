"""What cannot be deleted, held or released holds up nothing else, is tried again after growing pauses, and is said."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta

from databosun.api.backuptasks import DeleteTask, HoldTask
from databosun.api.request import Request
from databosun.api.result import DeletedBackup, Outcome, Result
from databosun.domain.plan import ANNOTATION_HOLD_REASON, LABEL_HOLD, LABEL_STORAGE_UID
from databosun.kube.resources import BACKUPS, Object
from support.objects import database, policy, storage
from support.operator import Rig
from support.operatordriver import HOUR, MINUTE, Driver, phases
from support.operatorseeds import seed, seeded

WHY = "AccessDenied: DeleteObject"
ONE_STAYS = {"retention": {"keepLast": 1, "grace": "1h"}}


class Store:
    """What agents were sent to do, and when; and what the store refuses."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.refuses: set[str] = set()
        self.no_releases = False
        self.no_holds = False
        self.sent: list[tuple[datetime, str, list[str]]] = []
        rig.agents.script = self._script

    def _script(self, request: Request) -> Result | None:
        job = request.job
        if isinstance(job, DeleteTask):
            self.sent.append((self._rig.clock.now(), "delete", job.ids))
            if self.refuses & set(job.ids):
                return self._deleted(job.ids)
        if isinstance(job, HoldTask):
            self.sent.append((self._rig.clock.now(), "release" if job.reason is None else "hold", job.ids))
            if self.no_releases if job.reason is None else self.no_holds:
                return Result(outcome=Outcome.FAILED, reason="NotDeleted", message=WHY, retryable=False)
        return None

    def _deleted(self, ids: list[str]) -> Result:
        done = [
            DeletedBackup(id=id, deleted=False, message=f"a legal hold lies on {id}")
            if id in self.refuses
            else DeletedBackup(id=id, deleted=True)
            for id in ids
        ]
        self._rig.agents.bucket.deleted += [one.id for one in done if one.deleted]
        return Result(outcome=Outcome.SUCCEEDED, reason="NotDeleted", deleted=done)

    def times(self, task: str, name: str) -> list[datetime]:
        """When a Job was sent for it."""
        return [at for at, what, ids in self.sent if what == task and name in ids]


def held(why: str = "") -> Callable[[Object], None]:
    """What a person does who wants to keep a backup."""

    def hold(body: Object) -> None:
        body["metadata"].setdefault("labels", {})[LABEL_HOLD] = "true"
        body["metadata"].setdefault("annotations", {})[ANNOTATION_HOLD_REASON] = why

    return hold


def release(body: Object) -> None:
    """And takes back."""
    del body["metadata"]["labels"][LABEL_HOLD]


def pauses(times: list[datetime]) -> list[timedelta]:
    """What lay between them."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def growing(times: list[datetime], most: timedelta) -> bool:
    """Whether it was tried several times, each pause as long as the one before or longer, none short."""
    between = pauses(times)
    return (
        len(between) > 3 and between == sorted(between) and all(5 * MINUTE <= one <= most + MINUTE for one in between)
    )


async def _said(rig: Rig) -> str:
    found = (await rig.get("BackupPolicy", "nightly"))["status"]["conditions"]
    (one,) = [one for one in found if one["type"] == "RetentionHealthy"]
    return f"{one['status']} {one['reason']}: {one['message']}"


async def _two_databases(rig: Rig, number: int = 2) -> None:
    made = [database(name, labels={"team": "shop"}) for name in ("orders", "users")]
    covering = policy("nightly", cron="0 0 1 1 *", databaseSelector={"matchLabels": {"team": "shop"}}, **ONE_STAYS)
    await rig.create(storage(maxConcurrentRuns=4), *made, covering)
    for of in ("orders", "users"):
        uids = await _uids(rig, of)
        for index in range(number):
            at = rig.clock.now() - timedelta(days=number - index)
            await seed(rig, f"{of}-{index}", uids, at, ONE_STAYS, of=of)


async def _uids(rig: Rig, of: str) -> dict[str, str]:
    at = {"Database": of, "BackupStorage": "prod", "BackupPolicy": "nightly"}
    return {kind: (await rig.get(kind, name))["metadata"]["uid"] for kind, name in at.items()}


async def test_a_backup_that_cannot_be_deleted_keeps_those_of_no_other_database(rig: Rig) -> None:
    drive, store = Driver(rig), Store(rig)
    store.refuses = {"orders-0"}
    await _two_databases(rig)
    await drive.idle(3 * HOUR)
    assert rig.agents.bucket.deleted == ["users-0"]
    left = {one["metadata"]["name"]: one["status"]["phase"] for one in await rig.objects("Backup")}
    assert left == {"orders-0": "Deleting", "orders-1": "Succeeded", "users-1": "Succeeded"}
    said = await _said(rig)
    assert said.startswith(
        "False DeletionFailed: 1 backups could not be deleted; orders-0: a legal hold lies on orders-0"
    )
    assert "1 of 1 backups that are to go wait, of orders; next try: " in said
    assert len(store.times("delete", "users-0")) == 1

    await drive.idle(48 * HOUR)
    assert growing(store.times("delete", "orders-0"), 6 * HOUR)
    store.refuses = set()
    await drive.idle(7 * HOUR)
    assert rig.agents.bucket.deleted == ["users-0", "orders-0"]
    assert (await _said(rig)).startswith("True ")


async def test_two_that_cannot_be_deleted_are_both_told_of(rig: Rig) -> None:
    drive, store = Driver(rig), Store(rig)
    store.refuses = {"orders-0", "users-0"}
    await _two_databases(rig)
    await drive.idle(2 * HOUR)
    said = await _said(rig)
    assert "a legal hold lies on orders-0" in said
    assert "a legal hold lies on users-0" in said
    assert "2 of 2 backups that are to go wait, of orders, users" in said


async def test_what_a_stuck_backup_stands_on_and_what_stands_on_it_rest_with_it(rig: Rig) -> None:
    """Also where they lie in storages of their own; and what is another chain goes."""
    drive, store = Driver(rig), Store(rig)
    store.refuses = {"seed-1"}
    await seeded(drive, 6, retention={"keepLast": 2, "grace": "1h"})
    other = {}
    for name in ("below", "above"):
        await rig.create(storage(name))
        other[name] = (await rig.get("BackupStorage", name))["metadata"]["uid"]
    for name, on, lies in (("seed-0", None, "below"), ("seed-1", "seed-0", None), ("seed-2", "seed-1", "above")):
        if lies is not None:
            await rig.edit("Backup", name, lambda body, at=lies: _lies(body, other[at]))
        if on is not None:
            body = await rig.get("Backup", name)
            status = {"parent": on, "base": "seed-0", "type": "Incremental", "chainLength": int(name[-1])}
            version = body["metadata"]["resourceVersion"]
            await rig.kube.patch_status(BACKUPS, rig.namespace, name, status, version)
    await drive.idle(4 * HOUR)
    assert rig.agents.bucket.deleted == ["seed-3"]
    assert "3 of 3 backups that are to go wait, of orders" in await _said(rig)
    store.refuses = set()
    await drive.idle(6 * HOUR)
    assert sorted(rig.agents.bucket.deleted) == ["seed-0", "seed-1", "seed-2", "seed-3"]
    assert await phases(rig) == ["Succeeded"] * 2


def _lies(body: Object, storage_uid: str) -> None:
    body["metadata"]["labels"][LABEL_STORAGE_UID] = storage_uid


async def test_a_hold_that_cannot_be_taken_off_keeps_no_other_from_the_bucket(rig: Rig) -> None:
    drive, store = Driver(rig), Store(rig)
    await seeded(drive, 3, retention={"keepLast": 9})
    await rig.edit("Backup", "seed-0", held())
    await drive.idle(10 * MINUTE)
    store.no_releases = True
    await rig.edit("Backup", "seed-0", release)
    await drive.idle(10 * MINUTE)
    await rig.edit("Backup", "seed-2", held("court"))
    await drive.idle(MINUTE)
    assert rig.agents.bucket.held["seed-2"] == "court"
    assert "hold" in (await rig.get("Backup", "seed-2"))["status"]
    said = await _said(rig)
    assert said.startswith(
        f"False DeletionFailed: the hold of seed-0 was taken off, but is still in the bucket: NotDeleted: {WHY}"
    )
    await drive.idle(12 * HOUR)
    assert growing(store.times("release", "seed-0"), HOUR)
    store.no_releases = False
    await drive.idle(HOUR + MINUTE)
    assert rig.agents.bucket.held["seed-0"] is None
    assert "hold" not in (await rig.get("Backup", "seed-0"))["status"]
    assert (await _said(rig)).startswith("True ")


async def test_a_hold_that_is_not_in_the_bucket_is_said_and_tried_again_also_by_the_next_operator(rig: Rig) -> None:
    drive, store = Driver(rig), Store(rig)
    store.no_holds = True
    await seeded(drive, 3, retention={"keepLast": 9})
    await rig.edit("Backup", "seed-0", held("court"))
    await rig.edit("Backup", "seed-1", held("court"))
    await drive.idle(2 * HOUR)
    said = await _said(rig)
    assert said.startswith(
        f"False DeletionFailed: the hold of seed-0 and of 1 more is not in the bucket: NotDeleted: {WHY}"
    )
    before = store.times("hold", "seed-0")
    assert growing(before, HOUR)

    await (await drive.process()).stop()
    drive = Driver(rig)
    await drive.idle(4 * MINUTE)
    assert len(store.times("hold", "seed-0")) == len(before) + 1, "one try more, and no second one at once"
    store.no_holds = False
    await drive.idle(2 * MINUTE)
    assert {"seed-0", "seed-1"} <= set(rig.agents.bucket.held)
    assert await phases(rig) == ["Succeeded"] * 3
