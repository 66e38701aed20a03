"""A bucket of a real server is looked through for what no Backup object stands for, to the last page of its listing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.backuptasks import DeleteTask, ValidateTask
from databosun.api.remains import RemainsTask
from databosun.api.result import Outcome
from databosun.domain.remains import copy_mark
from databosun.domain.sealing import canonical
from support.agentrun import UID, Ran, Workplace, backup_task
from support.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers
MANY = 1200


@pytest.fixture
def place(weed: Seaweed, tmp_path: Path) -> Workplace:
    made = Workplace(tmp_path, s3=weed.target(weed.bucket()))
    made.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    assert made.run(ValidateTask()).summary.outcome is Outcome.SUCCEEDED
    return made


def look(place: Workplace, until: datetime, **more: Any) -> Ran:
    return place.run(RemainsTask(database="orders", database_uid=UID, until=until, **more), database=None)


def take(weed: Seaweed, place: Workplace, backup_id: str) -> dict[str, Any]:
    """A backup that shows the instant at which it was begun, and its manifest."""
    place.run(backup_task(backup_id))
    at = {"Bucket": bucket_of(place), "Key": f"prod/shop/orders/backups/{backup_id}/manifest.json"}
    manifest: dict[str, Any] = json.loads(weed.client.get_object(**at)["Body"].read())
    manifest["snapshotTime"] = manifest["startedAt"]
    weed.client.put_object(**at, Body=canonical(manifest))
    return manifest


def bucket_of(place: Workplace) -> str:
    assert place.s3 is not None
    return place.s3.bucket


def test_a_backup_counts_as_long_as_its_data_are_there(weed: Seaweed, place: Workplace) -> None:
    take(weed, place, "orders-a")
    erased = datetime.now(UTC)
    # The store's clock tells whole seconds.
    eventually("the next second has begun", lambda: datetime.now(UTC) > erased + timedelta(seconds=1))
    take(weed, place, "orders-b")
    found = look(place, erased).result.remains
    assert found is not None
    assert (found.copies, found.named) == (1, ["orders/orders-a"])
    counted = look(place, erased, marks=[copy_mark("orders", "orders-a")]).result.remains
    assert counted is not None
    assert counted.copies == 0
    place.run(DeleteTask(database="orders", ids=["orders-a"]))
    gone = look(place, erased).result.remains
    assert gone is not None
    assert (gone.copies, gone.leftovers, gone.looked_at) == (0, 0, 1)
    weed.client.delete_object(Bucket=bucket_of(place), Key="prod/shop/orders/backups/orders-b/manifest.json")
    left = look(place, erased).result.remains
    assert left is not None
    assert (left.copies, left.leftovers) == (0, 1)


def test_no_page_of_a_long_listing_is_left_out(weed: Seaweed, place: Workplace) -> None:
    bucket, manifest = bucket_of(place), take(weed, place, "orders-a")

    def put(number: int) -> None:
        backup_id = f"orders-{number:05}"
        body = canonical({**manifest, "id": backup_id})
        weed.client.put_object(Bucket=bucket, Key=f"prod/shop/orders/backups/{backup_id}/manifest.json", Body=body)

    with ThreadPoolExecutor(8) as writers:
        list(writers.map(put, range(MANY)))
    marks = [copy_mark("orders", f"orders-{number:05}") for number in range(MANY - 1)]
    found = look(place, datetime.now(UTC), marks=marks).result.remains
    assert found is not None
    assert (found.copies, found.named) == (2, ["orders/orders-01199", "orders/orders-a"])
    all_of_them = look(place, datetime.now(UTC) - timedelta(hours=1)).result.remains
    assert all_of_them is not None
    assert (all_of_them.copies, all_of_them.looked_at) == (0, MANY + 1)


def test_a_store_that_refuses_or_is_away_says_nothing_of_copies(weed: Seaweed, place: Workplace) -> None:
    place.run(backup_task("orders-a"))
    place.secrets["storage"] = {"accessKeyId": ACCESS_KEY, "secretAccessKey": "another-secret-0000"}
    ran = look(place, datetime.now(UTC))
    assert ran.summary.outcome is not Outcome.SUCCEEDED
    assert ran.result.remains is None
    assert ran.summary.reason == "StorageCredentialsInvalid"
    assert "secret-storage" in ran.summary.message


def test_an_empty_bucket_that_nobody_claimed_proves_nothing(weed: Seaweed, place: Workplace) -> None:
    place.s3 = weed.target(weed.bucket())
    ran = look(place, datetime.now(UTC))
    assert (ran.summary.outcome, ran.summary.reason) == (Outcome.REFUSED, "StorageOwnedByAnother")
    assert "no owner marker" in ran.summary.message
