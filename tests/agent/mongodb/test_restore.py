"""What comes back: to the end of a chain, or to any time within it; and what is noticed before that."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
import zstandard
from bson.timestamp import Timestamp

from agent.mongodb.conftest import Workshop
from databosun.api.drill import Check, CheckOutcome, Level, PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.mongodb import ENGINE
from databosun.engines.recovery import Copy
from support.mongosample import ORDERS, content
from support.mongoserver import BACKUP_USER, PASSWORD, MongoServer, programs
from support.pgserver import open_folder
from support.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    """Shared, since a copy is only looked at; where the server's user can reach it."""
    folder = open_folder("workshop")
    yield Workshop(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def full(server: MongoServer, workshop: Workshop) -> dict[str, Any]:
    """A backup of the shared server."""
    return workshop.back_up(server)[1]


@pytest.fixture(scope="module")
def copy(full: dict[str, Any], workshop: Workshop) -> Iterator[Copy]:
    """A copy of the shared server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABOSUN_MONGODB_BIN", str(programs()))
        with ENGINE.recover(workshop.plan(full), workshop.source()) as copy:
            yield copy


def test_a_copy_holds_what_was_backed_up(copy: Copy, server: MongoServer) -> None:
    with copy.server.client() as client:  # type: ignore[attr-defined]
        assert content(client) == content(server.client)
    assert {"start", "fetch", "restore", "replay"} <= set(copy.seconds)
    assert any("FerretDB" in note or "ferretdb" in note for note in copy.notes)


def test_the_builtin_checks_pass(copy: Copy) -> None:
    found = {one.name: one for one in (copy.check(check) for check in copy.builtin(Level.DEEP))}
    assert set(found) == {"server-ready", "definitions", "documents", "structure"}
    assert {one.outcome for one in found.values()} == {CheckOutcome.PASSED}, found
    assert found["documents"].type == "RowHash"
    assert [one.type for one in copy.builtin(Level.RESTORE)] == ["ServerReady", "RowCount"]


@pytest.mark.parametrize(
    ("kind", "more", "outcome"),
    [
        ("RowCount", {"table": "orders", "database": "shop", "min": ORDERS, "max": ORDERS}, "Passed"),
        ("RowCount", {"table": "shop.orders", "min": ORDERS + 1}, "Failed"),
        ("Query", {"query": '{"count": "orders", "query": {"customer": 3}}', "value": "15"}, "Passed"),
        ("Query", {"query": '{"distinct": "orders", "key": "customer", "query": {"_id": 5}}', "value": "5"}, "Passed"),
        ("Query", {"query": '{"aggregate": "orders", "pipeline": [{"$match": {"_id": 1}}, {"$count": "n"}]}',
                   "value": "1"}, "Passed"),
        ("Canary", {"query": '{"find": "odd", "filter": {"_id": "text"}, "projection": {"empty": 1}}', "value": ""},
         "Passed"),
        ("Canary", {"query": '{"find": "orders", "filter": {"_id": 1}, "projection": {"note": 1}}', "value": "no"},
         "Failed"),
        ("Freshness", {"query": '{"find": "odd", "filter": {"_id": {"$numberLong": "7"}}, "projection": {"at": 1}}',
                       "max_age_seconds": 3600}, "Failed"),
        ("Query", {"query": '{"find": "orders", "limit": 2}', "value": "1"}, "Failed"),
        ("Query", {"query": '{"find": "orders", "limit": 1}', "value": "1"}, "Failed"),
        ("Query", {"query": '{"drop": "orders"}', "value": "1"}, "Failed"),
        ("Query", {"query": '{"aggregate": "orders", "pipeline": [{"$out": "x"}]}', "value": "1"}, "Failed"),
        ("Query", {"query": '{"aggregate": "orders", "pipeline": [{"$facet": {"a": [{"$merge": "x"}]}}]}'}, "Failed"),
        ("Query", {"query": "select 1", "value": "1"}, "Failed"),
        ("Query", {"query": '{"count": "orders"}', "database": "nowhere", "value": "0"}, "Passed"),
        ("Extensions", {}, "Skipped"),
    ],
)  # fmt: skip
def test_checks_say_what_is_there(copy: Copy, kind: str, more: dict[str, Any], outcome: str) -> None:
    given = {"database": "shop", **more} if kind != "Extensions" else more
    found = copy.check(Check(name="one", type=kind, **given))  # type: ignore[arg-type]
    assert found.outcome == outcome, found


def test_a_copy_that_differs_fails(full: dict[str, Any], workshop: Workshop) -> None:
    with ENGINE.recover(workshop.plan(full), workshop.source()) as copy:
        with copy.server.client() as client:  # type: ignore[attr-defined]
            client.shop.orders.update_one({"_id": 1}, {"$set": {"customer": 9}})
            client.shop.customers.drop_index("email_1")
        found = {one.name: one.reason for one in (copy.check(check) for check in copy.builtin(Level.DEEP))}
        assert found == {
            "server-ready": None, "definitions": "SchemaDiffers", "documents": "RowsDiffer", "structure": None,
        }  # fmt: skip
        with copy.server.client() as client:  # type: ignore[attr-defined]
            client.shop.orders.delete_one({"_id": 1})
        (rows,) = (one for one in copy.builtin(Level.RESTORE) if one.name == "documents")
        assert copy.check(rows).reason == "RowCountWrong"


def test_a_finished_folder_is_what_a_server_with_logins_starts_from(
    full: dict[str, Any], server: MongoServer, workshop: Workshop
) -> None:
    """Users come back with their passwords."""
    plan = workshop.plan(full)
    with ENGINE.recover(plan, workshop.source()) as copy:
        copy.flush()
        copy.finish()
        assert copy.seconds["sync"] > 0
    other = MongoServer(data=plan.place / "data")
    try:
        assert content(other.client) == content(server.client)
        with pymongo.MongoClient(
            "127.0.0.1", other.port, username=BACKUP_USER, password=PASSWORD, directConnection=True
        ) as client:
            assert client.shop.orders.count_documents({}) == ORDERS
    finally:
        other.remove()
    steps = " ".join(ENGINE.hand_over(full, "data"))
    assert "rs.initiate()" in steps
    assert "rs0" in steps


def test_a_chain_ends_at_any_time_that_is_asked_for(own_server: Callable[..., MongoServer], workshop: Workshop) -> None:
    server = own_server()
    orders = server.client.shop.orders
    states: list[tuple[datetime, Any]] = []

    def remember() -> None:
        """An instant that lies apart from the writes before and behind it."""
        states.append((after_now(), {one["_id"]: one for one in orders.find()}))
        after_now()

    orders.insert_many({"_id": n, "v": 0} for n in range(20))
    _, first = workshop.back_up(server, "pit-1")
    chain = [first]
    after_now(1.1)  # the end of a full is known to the second
    for step in range(1, 4):
        orders.insert_one({"_id": f"new {step}"})
        remember()
        orders.update_many({"_id": {"$lt": step}}, {"$set": {"v": step}})
        orders.delete_one({"_id": 10 + step})
        remember()
        after_now(1.1)  # and what an Incremental holds is known up to the second of its end
        server.noop()
        _, more = workshop.back_up(server, f"pit-{step + 1}", on=chain[-1])
        chain.append(more)
        remember()
    for at, wanted in states[:-1]:
        until = RecoveryPoint(kind=PointKind.TIME, time=at)
        with ENGINE.recover(workshop.plan(*chain, until=until), workshop.source()) as copy:
            with copy.server.client() as client:  # type: ignore[attr-defined]
                assert {one["_id"]: one for one in client.shop.orders.find()} == wanted, at
            assert copy.reached.last_commit
            assert copy.reached.last_commit <= at
    with ENGINE.recover(workshop.plan(*chain), workshop.source()) as copy:
        assert copy.reached.position.optime == chain[-1]["position"]["optime"]
        with copy.server.client() as client:  # type: ignore[attr-defined]
            assert {one["_id"]: one for one in client.shop.orders.find()} == states[-1][1]
        found = [copy.check(check) for check in copy.builtin(Level.DEEP)]
        assert {one.outcome for one in found} == {CheckOutcome.PASSED}, found
    for at in (states[0][0] - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)):
        with pytest.raises(UserFault, match="PointNotCovered"):
            ENGINE.recover(
                workshop.plan(*chain, until=RecoveryPoint(kind=PointKind.TIME, time=at)), workshop.source()
            ).__enter__()
    with pytest.raises(UserFault, match="PointNotCovered"):
        ENGINE.recover(
            workshop.plan(*chain, until=RecoveryPoint(kind=PointKind.LSN, lsn="0/1")), workshop.source()
        ).__enter__()


def after_now(seconds: float = 0.02) -> datetime:
    """The clock has gone on so far; the oplog knows milliseconds."""
    now = time.time()
    eventually("time goes on", lambda: time.time() > now + seconds)
    return datetime.now(UTC)


def test_definitions_of_the_oplog_happen_again(own_server: Callable[..., MongoServer], workshop: Workshop) -> None:
    """Entries as a mongod writes them, which the stand-in does not write itself."""
    server = own_server()
    shop = server.client.shop
    for name in ("kept", "old", "gone", "full"):
        shop[name].insert_one({"_id": 1})
    server.client.passed.one.insert_one({"_id": 1})
    shop.kept.create_index("a", name="a")
    shop.kept.create_index("b", name="b")
    _, first = workshop.back_up(server, "ddl-1")
    commands: list[tuple[str, dict[str, Any]]] = [
        ("shop", {"create": "made", "idIndex": {"v": 2, "key": {"_id": 1}, "name": "_id_"}}),
        ("shop", {"createIndexes": "made", "v": 2, "key": {"x": 1, "y": -1}, "name": "xy"}),
        ("shop", {"startIndexBuild": "kept", "indexes": []}),
        ("shop", {"commitIndexBuild": "kept", "indexes": [{"v": 2, "key": {"c": 1}, "name": "c", "unique": True}]}),
        ("shop", {"dropIndexes": "kept", "index": "a"}),
        ("shop", {"drop": "gone"}),
        ("shop", {"renameCollection": "shop.old", "to": "shop.new", "stayTemp": False}),
        ("shop", {"emptycapped": "full"}),
        ("passed", {"dropDatabase": 1}),
    ]
    inner = [{"op": "i", "ns": "shop.made", "o": {"_id": n}} for n in range(3)]
    added = {"op": "u", "ns": "shop.made", "o": {"$v": 2, "diff": {"i": {"v": 5}}}}
    entries: list[dict[str, Any]] = [
        *({"op": "c", "ns": f"{database}.$cmd", "o": command} for database, command in commands),
        {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": inner}, "lsid": {"id": 1}, "txnNumber": 1},
        {**added, "o2": {"_id": 2}},
        {**added, "o2": {"_id": 77}},
    ]
    _, second = workshop.back_up(server, "ddl-2", on=first)
    now = int(time.time()) + 5
    second = appended(workshop, second, *({**one, "ts": Timestamp(now, n)} for n, one in enumerate(entries, 1)))
    plan = workshop.plan(first, second)
    with ENGINE.recover(plan, workshop.source()) as copy, copy.server.client() as client:  # type: ignore[attr-defined]
        found = client.shop
        assert sorted(found.list_collection_names()) == ["full", "kept", "made", "new"]
        assert list(found.made.find()) == [{"_id": 0}, {"_id": 1}, {"_id": 2, "v": 5}]
        assert set(found.made.index_information()) == {"_id_", "xy"}
        kept = found.kept.index_information()
        assert set(kept) == {"_id_", "b", "c"}
        assert kept["c"]["unique"]
        assert found.full.count_documents({}) == 0
        assert list(found.new.find()) == [{"_id": 1}]
        assert "passed" not in client.list_database_names()


@pytest.mark.parametrize(
    "bad",
    [
        {"op": "u", "ns": "shop.orders", "o": {"$v": 2, "diff": {"b": {}}}, "o2": {"_id": 1}},
        {"op": "d", "ns": "shop.orders", "o": {"x": 1}},
        {"op": "c", "ns": "shop.$cmd", "o": {"importCollection": "orders"}},
        {"op": "c", "ns": "admin.$cmd", "o": {"commitTransaction": 1}, "lsid": {"id": 1}, "txnNumber": 1},
    ],
)
def test_what_is_not_understood_stops_a_restore(
    own_server: Callable[..., MongoServer], tmp_path: Path, bad: dict[str, Any]
) -> None:
    server, workshop = own_server(), Workshop(tmp_path)
    server.client.shop.orders.insert_one({"_id": 1})
    _, manifest = workshop.back_up(server)
    manifest = appended(workshop, manifest, {**bad, "ts": Timestamp(int(time.time()) + 5, 1)})
    with pytest.raises(SafetyStop, match="RecoveryFailed"), ENGINE.recover(workshop.plan(manifest), workshop.source()):
        pass


def appended(workshop: Workshop, manifest: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    """The backup with more entries in its oplog, as a mongod writes them: the stand-in stores no name with a `$`."""
    back = changed(workshop, manifest["id"], "oplog.bson.zst", lambda data: data + b"".join(map(bson.encode, entries)))
    assert back
    last = entries[-1]["ts"]
    oplog = {**manifest["environment"]["oplog"], "end": f"{last.time}:{last.inc}"}
    return {**manifest, "environment": {**manifest["environment"], "oplog": oplog}}


def changed(workshop: Workshop, backup: str, name: str, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    """Damage an artefact below its compression; what puts it back."""
    path = workshop.folder / backup / name
    good = path.read_bytes()
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(good)
    path.write_bytes(zstandard.ZstdCompressor().compress(change(plain)))
    return lambda: path.write_bytes(good) and None


def flipped(data: bytes) -> bytes:
    """One bit in the middle."""
    found = bytearray(data)
    found[len(found) // 2] ^= 1
    return bytes(found)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("dump/shop/orders.bson.zst", flipped),
        ("dump/shop/orders.bson.zst", lambda data: data[:-3]),
        ("dump/shop/orders.bson.zst", lambda data: data[int.from_bytes(data[:4], "little") :]),
        ("oplog.bson.zst", lambda data: data[:-3]),
        ("oplog.bson.zst", lambda data: b""),
        ("metadata.tar.zst", lambda data: data[:700]),
    ],
)
def test_damage_below_the_compression_is_noticed(
    full: dict[str, Any], workshop: Workshop, name: str, change: Callable[[bytes], bytes]
) -> None:
    back = changed(workshop, "orders-1", name, change)
    try:
        with pytest.raises(SafetyStop, match="ArtefactCorrupt"):
            ENGINE.inspect((full,), workshop.source(), lambda: None)
    finally:
        back()
    ENGINE.inspect((full,), workshop.source(), lambda: None)


def test_a_hole_between_two_backups_is_noticed(own_server: Callable[..., MongoServer], workshop: Workshop) -> None:
    server = own_server()
    chain = []
    for number in range(1, 4):
        server.client.shop.orders.insert_one({"_id": number})
        chain.append(workshop.back_up(server, f"hole-{number}", on=chain[-1] if chain else None)[1])
    assert "3 backups" in ENGINE.inspect(chain, workshop.source(), lambda: None)
    without = (chain[0], chain[2])
    with pytest.raises(SafetyStop, match="ArtefactCorrupt"):
        ENGINE.inspect(without, workshop.source(), lambda: None)
    with (
        pytest.raises(SafetyStop, match=r"LogCorrupt: the oplog of hole-3 begins at"),
        ENGINE.recover(workshop.plan(*without), workshop.source()),
    ):
        pass


def test_a_missing_collection_is_noticed(full: dict[str, Any], workshop: Workshop) -> None:
    name = "dump/shop/orders.bson.zst"
    without = {**full, "artefacts": [one for one in full["artefacts"] if one["name"] != name]}
    with pytest.raises(SafetyStop, match=f"ArtefactMissing: .*{name}"):
        ENGINE.inspect((without,), workshop.source(), lambda: None)
    with pytest.raises(SafetyStop, match="ArtefactMissing"), ENGINE.recover(workshop.plan(without), workshop.source()):
        pass


def test_no_other_product_stands_for_the_one_that_was_backed_up(
    full: dict[str, Any], workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    of_mongodb = {**full, "environment": {**full["environment"], "product": "MongoDB"}}
    with pytest.raises(UserFault, match=r"ToolMissing: .*MongoDB 7\.0, and mongod was found neither"):
        ENGINE.recover(workshop.plan(of_mongodb), workshop.source()).__enter__()
    program = tmp_path / "mongod"
    program.write_text("#!/bin/sh\necho db version v6.0.9\n")
    program.chmod(0o755)
    monkeypatch.setenv("DATABOSUN_MONGODB_BIN", str(tmp_path))
    with pytest.raises(UserFault, match=r"WrongToolVersion: .*into a server of MongoDB 7\.0 only"):
        ENGINE.recover(workshop.plan(of_mongodb), workshop.source()).__enter__()
