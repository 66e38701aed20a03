"""Object lock on a real server: it really refuses, the closure is locked as a whole, and the agent reports it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from databosun.api.backuptasks import DeleteTask, RecoverTask, ValidateTask
from databosun.api.drill import Level, Verdict
from databosun.api.recordtasks import RecordPlace
from databosun.api.restoretasks import BackupRef, DrillTask
from databosun.api.result import Outcome
from databosun.api.targets import Immutable, StorageTarget
from databosun.domain.errors import UserFault
from databosun.storage.port import AlreadyExists, Retention
from support.agentrun import Ran, Workplace, backup_task, child_of
from support.fakeengine import FakeEngine
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
FULL, INCR = "orders-a", "orders-b"


def pod(weed: Seaweed, folder: Path, *, lock: bool, seconds: int = 3600) -> tuple[Workplace, str]:
    bucket = weed.bucket(lock=lock)
    place = Workplace(folder, s3=weed.target(bucket))
    place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    place.storage["immutable"] = Immutable(mode="Compliance", seconds=seconds)
    return place, bucket


def until(weed: Seaweed, bucket: str, key: str) -> datetime:
    return weed.client.get_object_retention(Bucket=bucket, Key=key)["Retention"]["RetainUntilDate"]


def done(ran: Ran) -> Ran:
    assert ran.summary.outcome is Outcome.SUCCEEDED, ran.summary
    return ran


def test_a_locked_object_is_not_deleted_and_the_end_of_its_lock_is_said(weed: Seaweed) -> None:
    bucket = weed.bucket(lock=True)
    store = weed.store(bucket)
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    store.put("a/b", b"x", if_absent=True, retention=Retention("Compliance", end))
    store.put("a/c", b"x")
    refused = store.delete(["a/b", "a/c"])
    assert [(one.key, one.locked_until) for one in refused] == [("a/b", end)]
    assert weed.keys(bucket) == ["a/b"]
    version = weed.client.list_object_versions(Bucket=bucket)["Versions"][0]["VersionId"]
    with pytest.raises(ClientError):
        weed.client.delete_object(Bucket=bucket, Key="a/b", VersionId=version)
    with pytest.raises(AlreadyExists):
        store.put("a/b", b"y", if_absent=True, retention=Retention("Compliance", end))


def test_a_lock_is_lengthened_and_never_shortened(weed: Seaweed) -> None:
    bucket = weed.bucket(lock=True)
    store = weed.store(bucket)
    now = datetime.now(UTC).replace(microsecond=0)
    store.put("a", b"x")
    assert store.locked_until("a") is None
    for hours, expected in ((1, 1), (3, 3), (2, 3)):
        store.retain("a", Retention("Compliance", now + timedelta(hours=hours)))
        assert store.locked_until("a") == now + timedelta(hours=expected)


def test_a_bucket_without_object_lock_is_refused_at_validation(weed: Seaweed, tmp_path: Path) -> None:
    place, bucket = pod(weed, tmp_path, lock=False)
    ran = place.run(ValidateTask())
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.FAILED, "ObjectLockUnsupported"), ran.summary
    with pytest.raises(UserFault, match="ObjectLockUnsupported"):
        weed.store(bucket).put("a", b"x", retention=Retention("Compliance", datetime.now(UTC) + timedelta(hours=1)))


def test_validation_proves_the_lock(weed: Seaweed, tmp_path: Path) -> None:
    place, bucket = pod(weed, tmp_path, lock=True)
    done(place.run(ValidateTask()))
    (left,) = weed.keys(bucket, "prod/shop/_check/")
    assert "lock-" in left
    assert until(weed, bucket, left) <= datetime.now(UTC) + timedelta(minutes=2)


def test_a_child_lengthens_the_lock_of_its_whole_chain(weed: Seaweed, tmp_path: Path) -> None:
    place, bucket = pod(weed, tmp_path, lock=True, seconds=3600)
    full = done(place.run(backup_task(FULL)))
    folder = f"prod/shop/orders/backups/{FULL}"
    objects = weed.keys(bucket, folder)
    assert {key.rpartition("/")[2] for key in objects} == {
        "base.tar.zst.0000",
        "backup_manifest",
        "RESTORE.md",
        "manifest.json",
    }
    soon = datetime.now(UTC) + timedelta(hours=1, minutes=5)
    assert all(until(weed, bucket, key) < soon for key in objects)
    place.storage["immutable"] = Immutable(mode="Compliance", seconds=30 * 86400)
    done(place.run(child_of(full, INCR)))
    late = datetime.now(UTC) + timedelta(days=29)
    for key in (*objects, *weed.keys(bucket, f"prod/shop/orders/backups/{INCR}")):
        assert until(weed, bucket, key) > late, key


def test_a_locked_backup_stays_whole(weed: Seaweed, tmp_path: Path) -> None:
    place, bucket = pod(weed, tmp_path, lock=True)
    done(place.run(backup_task(FULL)))
    before = weed.keys(bucket)
    ran = done(place.run(DeleteTask(database="orders", ids=[FULL])))
    assert ran.summary.reason == "NotDeleted"
    assert ran.result.deleted is not None
    (outcome,) = ran.result.deleted
    assert not outcome.deleted
    assert outcome.locked_until
    assert weed.keys(bucket) == before


def test_a_backup_goes_when_its_lock_has_ended(weed: Seaweed, tmp_path: Path) -> None:
    place, bucket = pod(weed, tmp_path, lock=True, seconds=2)
    done(place.run(backup_task(FULL)))
    end = max(until(weed, bucket, key) for key in weed.keys(bucket, f"prod/shop/orders/backups/{FULL}"))
    eventually("the lock has ended", lambda: datetime.now(UTC) > end + timedelta(seconds=1))
    ran = done(place.run(DeleteTask(database="orders", ids=[FULL])))
    assert ran.result.deleted is not None
    assert ran.result.deleted[0].deleted
    assert weed.client.list_object_versions(Bucket=bucket, Prefix="prod/shop/orders").get("Versions", []) == []


def test_evidence_is_locked_as_long_as_asked_in_a_store_of_its_own(weed: Seaweed, tmp_path: Path) -> None:
    """Beside the backup for as long as that is locked; in another store, with other keys, for years."""
    place, bucket = pod(weed, tmp_path, lock=True)
    backup = done(place.run(backup_task(FULL))).result.backup
    assert backup is not None
    ref = BackupRef(id=FULL, database="orders", manifest_sha256=backup.checksum)
    beside = done(place.run(DrillTask(id="beside", backup=ref, level=Level.ARTIFACT), engine=Inspecting())).result.drill
    assert beside is not None
    assert (beside.verdict, beside.evidence_storage) == (Verdict.PASSED, "prod")
    key = "prod/shop/orders/drills/beside/evidence.json"
    assert until(weed, bucket, key) < datetime.now(UTC) + timedelta(hours=2)

    archive, key = weed.bucket(lock=True), "records/shop/orders/drills/apart/evidence.json"
    lock = Immutable(mode="Compliance", seconds=60)
    target = StorageTarget(
        namespace="shop", name="archive", cluster_id="c", prefix="records", s3=weed.target(archive), immutable=lock
    )
    place.secrets["evidence-storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    years = RecordPlace(storage=target, lock_seconds=7 * 365 * 86400)
    task = DrillTask(id="apart", backup=ref, level=Level.ARTIFACT, record=years)
    apart = done(place.run(task, engine=Inspecting())).result.drill
    assert apart is not None
    assert apart.evidence_storage == "archive"
    assert weed.keys(archive) == [key]
    assert until(weed, archive, key) > datetime.now(UTC) + timedelta(days=7 * 365 - 1)
    assert not [one for one in weed.keys(bucket) if "/apart/" in one]
    again = done(place.run(task, engine=Inspecting())).result
    assert (again.reason, again.drill) == ("AlreadyDone", apart)
    place.s3, place.storage = weed.target(archive), {"prefix": "records", "name": "archive"}
    recovered = done(place.run(RecoverTask(database="orders", id="apart", durable="evidence"))).result.drill
    assert recovered == apart


class Inspecting(FakeEngine):
    """An engine that finds nothing wrong with what it reads."""

    def inspect(self, *_: Any) -> str:
        return "all of it"
