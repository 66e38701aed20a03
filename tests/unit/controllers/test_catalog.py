"""A rebuild ends the same however often it is killed, writes nothing over, and starts nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pytest

from databosun.api.result import CatalogEntry, Outcome, Result
from databosun.controllers.catalog import CatalogController
from databosun.controllers.context import Context, Images, Register
from databosun.controllers.intake import Intake
from databosun.controllers.matching import INDEXERS
from databosun.kube.jobs import JobDefaults
from databosun.kube.resources import BACKUP_POLICIES, BACKUP_STORAGES, BACKUPS, DATABASES, JOBS, PODS, Object
from databosun.runtime.cache import Cache, FinishedIndex
from databosun.runtime.queue import Key
from support.catalogs import SYSTEM, Store, stored
from support.clock import FakeClock
from support.fakekube import FakeKube

KEY = Key("BackupStorage", "shop", "prod")
TOKEN = {"databosun.io/rebuild-catalog": "t1"}
READY = {"type": "Ready", "status": "True", "reason": "Validated", "message": ""}


class Killed(BaseException):
    """The process is gone."""


class Events:
    """Remembers what was posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str]] = []

    async def post(self, involved: Mapping[str, Any], reason: str, message: str, *, warning: bool) -> None:
        self.posted.append((reason, message))


class Operator:
    """One life of an operator: it knows only what it lists."""

    def __init__(self, kube: FakeKube) -> None:
        self.events = Events()
        self.queued: list[Key] = []
        self.context = Context(
            kube=kube,
            cache=Cache(INDEXERS),
            finished=FinishedIndex(),
            register=Register(),
            clock=FakeClock("2026-03-01T12:00:00Z"),
            add=self._add,
            hint=lambda key: self._add(key, None),
            leadership=self,
            events=self.events,
            images=Images({"PostgreSQL": {"15": "runner:15"}}),
            jobs=JobDefaults(),
            cluster_id="new",
            took=lambda kind, body: self.intake.own_write(kind, body),
        )
        self.intake = Intake(self.context, ())
        self.controller = CatalogController(self.context)

    def assert_fresh(self) -> None:
        """Nothing here deletes data."""

    def _add(self, key: Key, at: datetime | None) -> None:
        self.queued.append(key)

    async def work(self, kube: FakeKube, store: Store) -> None:
        """Look again and again, Jobs done at once in between, until nothing more comes of it."""
        await self.intake.fill()
        while True:
            before = len(kube.writes)
            await self.controller.reconcile(KEY)
            for kind, resource in (("Job", JOBS), ("Pod", PODS)):
                for body in kube.all(resource):
                    self.intake.worker(kind, body, gone=False)
            if not store.run_jobs(kube) and len(kube.writes) == before:
                return


def cluster(**storage: Any) -> FakeKube:
    kube = FakeKube()
    body = {
        "metadata": {"name": "prod", "annotations": TOKEN},
        "spec": {"s3": {"bucket": "backups"}},
        "status": {"conditions": [READY]},
    }
    kube.put(BACKUP_STORAGES, {**body, **storage})
    return kube


def backups(kube: FakeKube) -> dict[str, Object]:
    return {body["metadata"]["name"]: body for body in kube.all(BACKUPS)}


def catalog(kube: FakeKube) -> dict[str, Any]:
    status: dict[str, Any] = kube.one(BACKUP_STORAGES, "prod")["status"]
    return status


def some(count: int) -> list[CatalogEntry]:
    return [stored(f"orders-26020{number}0200-abcde") for number in range(1, count + 1)]


def essence(kube: FakeKube) -> list[Any]:
    """What a person sees of a cluster in the end; uids, versions and the order of creation apart."""
    kept = []
    for body in (*kube.all(BACKUPS), *kube.all(BACKUP_STORAGES)):
        metadata = {part: body["metadata"].get(part) for part in ("name", "labels", "annotations")}
        labels = {key: value for key, value in (metadata["labels"] or {}).items() if key != "databosun.io/storage-uid"}
        kept.append((body["kind"], {**metadata, "labels": labels}, body["spec"], body.get("status")))
    return kept


async def test_every_backup_in_the_store_gets_a_record_page_by_page() -> None:
    kube, store = cluster(), Store(some(5), limit=2)
    operator = Operator(kube)
    await operator.work(kube, store)
    assert store.asked == [None, "orders/orders-2602020200-abcde", "orders/orders-2602040200-abcde"]
    assert sorted(backups(kube)) == [entry.id for entry in store.entries]
    assert all(body["status"]["phase"] == "Succeeded" for body in backups(kube).values())
    found = catalog(kube)
    assert found["catalogToken"] == "t1"
    assert (found["catalog"]["found"], found["catalog"]["created"]) == (5, 5)
    assert [reason for reason, _ in operator.events.posted] == ["CatalogRebuilt"]
    assert kube.all(JOBS) == []
    assert not any(body["metadata"]["finalizers"] for body in kube.all(PODS))


async def test_the_same_comes_of_it_when_killed_before_any_write() -> None:
    undisturbed = cluster()
    await Operator(undisturbed).work(undisturbed, Store(some(3), limit=2))
    writes = len(undisturbed.writes)
    assert writes > 10
    for fatal in range(writes):
        kube, store = cluster(), Store(some(3), limit=2)
        kube.before_write = _mortal(kube, fatal)
        with pytest.raises(Killed):
            await Operator(kube).work(kube, store)
        kube.before_write = lambda _what: None
        await Operator(kube).work(kube, store)
        assert essence(kube) == essence(undisturbed), f"killed before write {fatal}: {undisturbed.writes[fatal]}"
        assert kube.all(JOBS) == []
        assert not any(body["metadata"]["finalizers"] for body in kube.all(PODS))


def _mortal(kube: FakeKube, last: int) -> Any:
    def before_write(_what: str) -> None:
        if len(kube.writes) >= last:
            raise Killed

    return before_write


async def test_records_that_are_there_are_left_as_they_are() -> None:
    kube = cluster()
    mine = {
        "metadata": {"name": "orders-2602010200-abcde", "labels": {"databosun.io/finished": "Succeeded", "team": "a"}},
        "spec": {"databaseRef": {"name": "orders"}, "storageRef": {"name": "elsewhere"}},
        "status": {"phase": "Succeeded", "checksum": "cd" * 32},
    }
    before = kube.put(BACKUPS, mine)
    running = kube.put(BACKUPS, {"metadata": {"name": "orders-2602020200-abcde"}, "spec": {}, "status": {}})
    await Operator(kube).work(kube, Store(some(3)))
    assert kube.one(BACKUPS, "orders-2602010200-abcde") == before
    assert kube.one(BACKUPS, "orders-2602020200-abcde") == running
    assert catalog(kube)["catalog"]["created"] == 1


async def test_a_record_that_was_restored_without_its_status_gets_it_back() -> None:
    kube = cluster()
    bare = {
        "metadata": {"name": "orders-2602010200-abcde", "labels": {"databosun.io/finished": "Succeeded"}},
        "spec": {},
    }
    kube.put(BACKUPS, bare)
    await Operator(kube).work(kube, Store(some(1)))
    assert kube.one(BACKUPS, "orders-2602010200-abcde")["status"]["checksum"] == "ab" * 32
    assert catalog(kube)["catalog"]["created"] == 0


async def test_a_rebuilt_backup_starts_no_run() -> None:
    kube = cluster()
    operator = Operator(kube)
    await operator.work(kube, Store(some(2)))
    assert operator.context.cache.keys("Backup") == []
    assert {run.name for run in operator.context.finished.all()} == set(backups(kube))
    assert all("databosun.io/finished" in body["metadata"]["labels"] for body in _as_created(kube))


def _as_created(kube: FakeKube) -> Iterable[Object]:
    """Nothing was labelled later: the label is that of the creation."""
    assert not any(what.endswith("metadata") and "backups/" in what for what in kube.writes)
    return kube.all(BACKUPS)


def database(uid: str, **status: Any) -> dict[str, Any]:
    connection = {"host": "orders", "credentialsSecretRef": {"name": "orders"}}
    metadata = {"name": "orders", "uid": uid}
    return {"metadata": metadata, "spec": {"engine": "PostgreSQL", "connection": connection}, "status": status}


async def test_it_waits_until_the_database_was_looked_at_and_then_counts_for_it() -> None:
    kube, store = cluster(), Store(some(1))
    kube.put(DATABASES, database("uid-of-new"))
    spec = {"databaseRef": {"name": "orders"}, "storageRef": {"name": "prod"}, "preset": "Production"}
    kube.put(BACKUP_POLICIES, {"metadata": {"name": "daily", "uid": "uid-of-policy"}, "spec": spec})
    await Operator(kube).work(kube, store)
    assert store.asked == []
    assert "orders" in catalog(kube)["catalog"]["error"]
    kube.amend(DATABASES, "orders", status={"probedGeneration": 1, "systemIdentifier": SYSTEM})
    await Operator(kube).work(kube, store)
    labels = kube.one(BACKUPS, "orders-2602010200-abcde")["metadata"]["labels"]
    assert labels["databosun.io/database-uid"] == "uid-of-new"
    assert labels["databosun.io/policy-uid"] == "uid-of-policy"
    assert "error" not in catalog(kube)["catalog"]


async def test_a_second_rebuild_links_what_the_first_could_not() -> None:
    kube = cluster()
    kube.put(DATABASES, database("uid-of-new", probedGeneration=1))
    await Operator(kube).work(kube, Store(some(1)))
    assert (
        kube.one(BACKUPS, "orders-2602010200-abcde")["metadata"]["labels"]["databosun.io/database-uid"] == "uid-of-old"
    )
    kube.amend(DATABASES, "orders", status={"systemIdentifier": SYSTEM})
    kube.amend(BACKUP_STORAGES, "prod", metadata={"annotations": {"databosun.io/rebuild-catalog": "t2"}})
    await Operator(kube).work(kube, Store(some(1)))
    assert (
        kube.one(BACKUPS, "orders-2602010200-abcde")["metadata"]["labels"]["databosun.io/database-uid"] == "uid-of-new"
    )
    assert catalog(kube)["catalog"] | {"at": ""} == {
        "token": "t2",
        "found": 1,
        "created": 0,
        "skipped": 0,
        "tries": 0,
        "at": "",
    }


async def test_it_waits_for_a_storage_that_is_not_ready() -> None:
    kube, store = cluster(status={}), Store(some(1))
    await Operator(kube).work(kube, store)
    assert store.asked == []
    assert "not been validated" in catalog(kube)["catalog"]["error"]


async def test_a_job_that_fails_is_tried_again() -> None:
    evicted = Result(outcome=Outcome.FAILED, reason="StorageUnreachable", message="no route", retryable=True)
    kube, store = cluster(), Store(some(1), outcomes=[evicted])
    await Operator(kube).work(kube, store)
    assert store.asked == [None, None]
    assert len(backups(kube)) == 1
    assert "error" not in catalog(kube)["catalog"]


async def test_a_refusal_ends_it_with_its_message() -> None:
    refused = Result(outcome=Outcome.REFUSED, reason="SecretMissing", message="Secret s3 is not there")
    kube, store = cluster(), Store(some(1), outcomes=[refused])
    operator = Operator(kube)
    await operator.work(kube, store)
    assert backups(kube) == {}
    assert catalog(kube)["catalogToken"] == "t1"
    assert catalog(kube)["catalog"]["error"] == "SecretMissing: Secret s3 is not there"
    assert operator.events.posted == [("CatalogNotRebuilt", "SecretMissing: Secret s3 is not there")]


async def test_what_was_done_is_not_done_again() -> None:
    kube, store = cluster(), Store(some(2))
    await Operator(kube).work(kube, store)
    writes = len(kube.writes)
    await Operator(kube).work(kube, store)
    assert len(kube.writes) == writes


async def test_nothing_is_touched_where_nothing_is_asked_for() -> None:
    kube, store = cluster(), Store(some(2))
    kube.amend(BACKUP_STORAGES, "prod", metadata={"annotations": {"databosun.io/rebuild-catalog": None}})
    await Operator(kube).work(kube, store)
    assert kube.writes == []
