"""A drill fails where it should, in pods and on a real store, each time with its own reason; what is well still passes.

All of it is of one server that may be spoiled. A drill is right to fail only where a plain restore would not have
noticed, or would have said something else: so each backup is whole until a test breaks it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from databosun.domain.sealing import canonical
from databosun.domain.wal import parse_lsn, segment_name
from support.agekeys import make_age_key
from support.clusterapi import Object
from support.stack import BUCKET
from support.stackplace import NEVER, Place, ask_for_drill, database_of, policy, secret, storage
from support.stacksource import CONTINUOUS, Shipping, Source

pytestmark = pytest.mark.e2e

SCHEDULES = [
    {"name": "full", "type": "Full", "cron": NEVER},
    {"name": "incr", "type": "Incremental", "cron": NEVER},
]
SEGMENT = 1 << 20
TABLES = """
create table customers as select i, md5(i::text) as name from generate_series(1, 2000) as i;
create table emptied as select * from customers;
truncate emptied;
create table beats as select now() - interval '2 hours' as at;
"""
SHOP = {"database": "orders"}
LATEST = {"from": "Latest", "pointInTime": "Latest"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is drilled, what is wrong with it, and what the drill has to say. `whole`: a drill that has to pass."""

    name: str
    database: str
    reason: str
    words: tuple[str, ...]
    spoil: Callable[[Yard], None] = lambda _: None
    spec: dict[str, Any] = field(default_factory=dict)
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Yard:
    """The server, the log that is shipped of it, and the backups."""

    place: Place
    source: Source
    keys: Path
    facts: dict[str, str] = field(default_factory=dict)

    def key(self, run: str, name: str) -> str:
        """The one key of a backup that ends so."""
        return self.one_of(lambda key: f"/backups/{run}/" in key and key.endswith(name))

    def one_of(self, wanted: Callable[[str], bool]) -> str:
        """The one key that is wanted."""
        keys = self.place.keys()
        (found,) = filter(wanted, keys)
        return found

    def put(self, key: str, data: bytes) -> None:
        """Overwrite an object."""
        self.place.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=data)


def _remove_the_middle(yard: Yard) -> None:
    yard.place.stack.purge([yard.key("chain-2", "base.tar.zst.0000")])


def _lose_the_manifest(yard: Yard) -> None:
    yard.place.stack.purge([yard.key("chain-2", "manifest.json")])


def _change_the_key(yard: Yard) -> None:
    other = make_age_key(yard.keys, "other.txt")
    yard.place.apply(secret("age", identity=other.identity.read_text()))


def _swap(yard: Yard) -> None:
    yard.put(yard.key("moved-1", "manifest.json"), yard.place.stack.download(yard.key("moved-2", "manifest.json")))


def _forge(yard: Yard) -> None:
    key = yard.key("moved-2", "manifest.json")
    document = json.loads(yard.place.stack.download(key))
    document["snapshotTime"] = "2026-01-01T00:00:00Z"
    yard.put(key, canonical(document))


def _lose_a_segment(yard: Yard) -> None:
    yard.place.stack.purge([yard.one_of(lambda key: yard.facts["segment"] in key and ".partial" not in key)])


def _counts(table: str, least: int) -> Object:
    return {"name": table, "type": "RowCount", **SHOP, "table": f"public.{table}", "min": least}


FRESH = {"name": "fresh", "type": "Freshness", **SHOP, "query": "select max(at) from beats", "maxAge": "1h"}
WRONG = {"name": "typo", "type": "Query", **SHOP, "query": "select count(*) from custmers", "value": "2000"}

CASES = (
    Case(
        "incremental-damaged", "chain", "ArtefactMissing", ("chain-2",), _remove_the_middle,
        {"backupRef": {"name": "chain-3"}},
    ),
    Case(
        "incremental-missing", "chain", "BackupMissing", ("chain-2",), _lose_the_manifest,
        {"backupRef": {"name": "chain-3"}}, after="incremental-damaged",
    ),
    Case("wrong-key", "sealed", "IdentityWrong", ("identitySecretRefs",), _change_the_key),
    Case("swapped", "moved", "ManifestForged", ("moved-1", "manifest.json"), _swap,
         {"backupRef": {"name": "moved-1"}}),
    Case("forged", "moved", "ManifestForged", ("moved-2", "manifest.json"), _forge, {"backupRef": {"name": "moved-2"}},
         after="swapped"),
    Case("emptied", "kept", "RowCountWrong", ("emptied has 0 rows",), spec={"checks": [_counts("emptied", 1)]}),
    Case("stale", "kept", "Stale", ("fresh",), spec={"checks": [FRESH]}, after="emptied"),
    Case("query", "kept", "QueryFailed", ("typo", "custmers"), spec={"checks": [WRONG]}, after="stale"),
    Case("damaged", "damaged", "DataDamaged", (), spec={"level": "Deep"}),
    Case("hole", "orders", "LogGap", (), _lose_a_segment, {"selection": LATEST}, after="no-hole"),
)  # fmt: skip
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "chain-whole": ("chain", {"backupRef": {"name": "chain-3"}}),
    "sealed-whole": ("sealed", {}),
    "kept-whole": ("kept", {"checks": [_counts("customers", 2000)]}),
    "no-hole": ("orders", {"selection": LATEST, "checks": [_counts("behind", 100)]}),
}
"""What passes before anything is broken: that the same drill fails afterwards is then the damage's doing."""


@pytest.fixture(scope="module")
def yard(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A server without checksums, its log in the store, and a backup for each thing that can be wrong with one."""
    settings = "max_slot_wal_keep_size = '1GB'; autovacuum = off"
    source = Source(place).start(initdb="--no-data-checksums --wal-segsize=1", settings=settings)
    source.sql(TABLES)
    keys = tmp_path_factory.mktemp("keys")
    key = make_age_key(keys)
    age = {"recipients": [key.recipient], "identitySecretRefs": [{"name": "age", "key": "identity"}]}
    place.apply(
        secret("age", identity=key.identity.read_text()),
        storage("many", place.stack.endpoint, s3={"prefix": "fails"}, maxConcurrentRuns=10),
        storage("sealed", place.stack.endpoint, s3={"prefix": "sealed"}, encryption={"age": age}),
    )
    for name in ("orders", "chain", "sealed", "moved", "kept"):
        kept = {"storageRef": {"name": "sealed" if name == "sealed" else "many"}, "schedules": SCHEDULES}
        more = {"continuous": CONTINUOUS} if name == "orders" else {}
        place.apply(database_of(name, source.host), policy(name, **kept, **more))
    yard = Yard(place, source, keys)
    _back_up_all(yard)
    _fill_the_log(yard)
    _damage(yard)
    return yard


def _back_up_all(yard: Yard) -> None:
    place = yard.place
    for name in ("chain-1", "sealed-1", "moved-1", "kept-1"):
        place.back_up(name, name.partition("-")[0])
    place.succeeded("chain-1")
    for name, kind in (("chain-2", "Incremental"), ("chain-3", "Incremental"), ("moved-2", "Full")):
        place.back_up(name, name.partition("-")[0], type=kind)
        place.succeeded(name)
    for name in ("sealed-1", "moved-1", "kept-1"):
        place.succeeded(name)
    yard.source.sql("insert into beats values (now())")  # the database goes on, the backups do not


def _fill_the_log(yard: Yard) -> None:
    """Tables in segments of their own behind the backup; the name of one in the middle is kept."""
    shipping = Shipping(yard.place)
    shipping.wait_until_healthy()
    for table in ("before", "amid", "behind"):
        yard.source.sql(f"create table {table} as select i from generate_series(1, 100) as i")
        if table == "amid":
            lsn = parse_lsn(yard.source.sql("select pg_current_wal_insert_lsn()"))
            yard.facts["segment"] = segment_name(1, lsn // SEGMENT, SEGMENT)
        yard.source.sql("select pg_switch_wal()")
    shipping.drained(yard.source)


def _damage(yard: Yard) -> None:
    """Spoil a page of a table's file at the source, which has no checksums; then take a backup, well sealed."""
    source, place = yard.source, yard.place
    source.sql("create table spoiled as select * from customers")
    source.sql("checkpoint")
    file = source.sql("select pg_relation_filepath('spoiled')")
    yard.facts["file"] = file
    source.run("sh", "-c", f"head -c 8192 /dev/urandom | dd of=/data/pg/{file} conv=notrunc bs=8192 seek=1 status=none")
    place.apply(
        database_of("damaged", source.host),
        policy("damaged", storageRef={"name": "many"}),
    )
    place.back_up("damaged-1", "damaged")
    place.succeeded("damaged-1")


@pytest.fixture(scope="module")
def whole(yard: Yard) -> dict[str, Object]:
    """What was said before anything was broken."""
    for name, (database, spec) in GOOD.items():
        ask_for_drill(yard.place, name, database, **spec)
    return {name: yard.place.verdict(name) for name in GOOD}


@pytest.fixture(scope="module")
def drilled(yard: Yard, whole: dict[str, Object]) -> dict[str, Object]:
    """The verdicts, all drills asked for at once as far as they do not wait for one another."""
    found: dict[str, Object] = {}
    waiting = list(CASES)
    while waiting:
        ready = [case for case in waiting if case.after is None or case.after in found or case.after in whole]
        for case in ready:
            case.spoil(yard)
            ask_for_drill(yard.place, case.name, case.database, **case.spec)
        found |= {case.name: yard.place.verdict(case.name) for case in ready}
        waiting = [case for case in waiting if case.name not in found]
    return found


@pytest.mark.parametrize("name", GOOD)
def test_what_is_whole_passes(whole: dict[str, Object], name: str) -> None:
    assert whole[name]["phase"] == "Passed", whole[name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_broken_fails_by_its_own_reason(yard: Yard, drilled: dict[str, Object], case: Case) -> None:
    status = drilled[case.name]
    assert status["phase"] == "Failed", status
    assert status["failure"]["reason"] == case.reason, status["failure"]
    words = (*case.words, *({"hole": (yard.facts["segment"],), "damaged": (yard.facts["file"],)}.get(case.name, ())))
    assert [word for word in words if word not in status["failure"]["message"]] == [], status["failure"]
    assert status["proven"] is False
    key = yard.one_of(lambda key: key.endswith(f"/drills/{case.name}/evidence.json"))
    assert json.loads(yard.place.stack.download(key))["verdict"] == "Failed"


def test_the_database_says_that_it_is_not_proven(yard: Yard, drilled: dict[str, Object]) -> None:
    for name in ("chain", "moved", "kept", "damaged", "orders"):
        condition = yard.place.condition("databases", name, "Proven")
        assert (condition["status"], condition["reason"]) == ("False", "DrillFailed"), (name, condition)


def test_nothing_is_left(yard: Yard, drilled: dict[str, Object]) -> None:
    place = yard.place
    drills = "databosun.io/task=drill"
    place.wait("no pod of a drill is left", lambda: not place.stack.api.list("pods", place.namespace, drills))
    assert place.stack.api.list("jobs", place.namespace, drills) == []
