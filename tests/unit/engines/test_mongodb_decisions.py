"""What the engine of MongoDB decides without a server: formats, names, differences, meanings of errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import bson
import pytest
from bson.binary import Binary
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError

from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.engines.mongodb.bsonwalk import BsonWalk, OplogWalk
from databosun.engines.mongodb.delta import UnknownUpdate, updated
from databosun.engines.mongodb.faults import connect_fault, driver_fault
from databosun.engines.mongodb.namespaces import (
    Collection,
    Kind,
    artefact_of,
    file_name,
    metadata_json,
    metadata_path,
    plain,
    read_metadata,
    wanted,
)
from databosun.engines.mongodb.positions import Mark, parse_ts, read_mark
from databosun.engines.mongodb.replay.entries import Transactions, left_out, wall_of
from databosun.storage.names import artefact_name

DOCUMENTS = b"".join(bson.encode({"_id": n, "text": "x" * n}) for n in range(300))


def pieces(data: bytes, size: int) -> Iterator[memoryview]:
    """The same bytes in pieces."""
    for at in range(0, len(data), size):
        yield memoryview(data)[at : at + size]


def walked(data: bytes, size: int = 1 << 20) -> BsonWalk:
    """After the whole stream."""
    walk = BsonWalk("one.bson")
    for piece in pieces(data, size):
        walk.feed(piece)
    walk.close()
    return walk


@pytest.mark.parametrize("size", [1, 3, 7, 4096, 1 << 20])
def test_a_stream_is_counted_and_hashed_however_it_is_cut(size: int) -> None:
    walk = walked(DOCUMENTS, size)
    assert (walk.count, walk.fingerprint) == (300, walked(DOCUMENTS).fingerprint)


def test_a_fingerprint_knows_documents_and_not_their_order() -> None:
    one, two = bson.encode({"_id": 1, "a": 2}), bson.encode({"_id": 2, "a": 1})
    other = bson.encode({"_id": 1, "a": 1}) + bson.encode({"_id": 2, "a": 2})
    assert walked(one + two).fingerprint == walked(two + one).fingerprint
    assert walked(one + two).fingerprint != walked(other).fingerprint
    assert walked(b"").fingerprint != walked(one).fingerprint
    assert BsonWalk("x", hashes=False).fingerprint is None


@pytest.mark.parametrize(
    "damaged",
    [DOCUMENTS[:-1], DOCUMENTS[1:], DOCUMENTS + b"\0\0\0\0", DOCUMENTS[:-1] + b"\1", b"\xff\xff\xff\x7f" + DOCUMENTS],
)
def test_a_damaged_stream_is_noticed(damaged: bytes) -> None:
    with pytest.raises(WorldFault, match="FormatCheckFailed"):
        walked(damaged)


def entry(increment: int, op: str = "n", ns: str = "", o: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One of the oplog."""
    return {"ts": Timestamp(1000, increment), "op": op, "ns": ns, "o": o or {}, **more}


def oplog_of(*entries: dict[str, Any], begin: Timestamp | None = None) -> OplogWalk:
    """After the whole stream."""
    walk = OplogWalk("oplog.bson", begin)
    for piece in pieces(b"".join(bson.encode(one) for one in entries), 11):
        walk.feed(piece)
    walk.close()
    return walk


def test_an_oplog_tells_what_it_changes() -> None:
    walk = oplog_of(
        entry(1),
        entry(2, "i", "shop.orders", {"_id": 1}),
        entry(3, "c", "admin.$cmd", {"applyOps": [{"op": "u", "ns": "shop.a.b", "o": {}}]}),
        entry(4, "c", "shop.$cmd", {"drop": "gone"}),
        entry(5, "c", "old.$cmd", {"dropDatabase": 1}),
        begin=Timestamp(1000, 1),
    )
    assert walk.namespaces == {"shop.orders", "shop.a.b", "shop.gone", "old."}
    assert walk.commands == {"applyOps", "drop", "dropDatabase"}
    assert (walk.first, walk.last, walk.count) == (Timestamp(1000, 1), Timestamp(1000, 5), 5)


def test_what_a_dump_begins_with_had_happened_unless_it_is_part_of_an_open_transaction() -> None:
    after = entry(2, "i", "shop.after", {"_id": 1})
    assert oplog_of(entry(1, "i", "shop.before", {"_id": 1}), after).namespaces == {"shop.after"}
    part = {"applyOps": [{"op": "i", "ns": "shop.open", "o": {}}], "partialTxn": True}
    assert oplog_of(entry(1, "c", "admin.$cmd", part), after).namespaces == {"shop.open", "shop.after"}
    # Not so what cannot be applied twice.
    assert oplog_of(entry(1, "c", "a.$cmd", {"renameCollection": "a.b"}), after).commands == {"renameCollection"}


def test_an_oplog_with_a_hole_before_it_or_out_of_order_is_none() -> None:
    with pytest.raises(WorldFault, match="begins at"):
        oplog_of(entry(2), begin=Timestamp(1000, 1))
    with pytest.raises(WorldFault, match="behind one of"):
        oplog_of(entry(2), entry(2))
    with pytest.raises(WorldFault, match="that is none"):
        oplog_of({"op": "n"})


@pytest.mark.parametrize(
    ("before", "update", "after"),
    [
        ({"_id": 1, "a": 1}, {"b": 2}, {"_id": 1, "b": 2}),
        ({"_id": 1, "a": 1}, {"$v": 1, "$set": {"a": 2, "b.c": 3}}, {"_id": 1, "a": 2, "b": {"c": 3}}),
        ({"_id": 1, "a": 1, "b": 2}, {"$unset": {"a": True, "z.y": True}}, {"_id": 1, "b": 2}),
        ({"_id": 1, "a": [1, 2]}, {"$set": {"a.1": 5, "a.3": 6}}, {"_id": 1, "a": [1, 5, None, 6]}),
        ({"_id": 1, "a": [{"x": 1}]}, {"$set": {"a.0.x": 5}}, {"_id": 1, "a": [{"x": 5}]}),
        ({"_id": 1, "a": [{"x": 1}]}, {"$unset": {"a.0": True}}, {"_id": 1, "a": [None]}),
        ({"_id": 1, "a": 1, "b": 2}, {"$v": 2, "diff": {"d": {"a": False}, "u": {"b": 3}, "i": {"c": 4}}},
         {"_id": 1, "b": 3, "c": 4}),
        ({"_id": 1, "o": {"x": 1, "y": 2}}, {"$v": 2, "diff": {"so": {"d": {"x": False}, "i": {"z": 3}}}},
         {"_id": 1, "o": {"y": 2, "z": 3}}),
        ({"_id": 1, "l": [1, 2, 3]}, {"$v": 2, "diff": {"sl": {"a": True, "l": 2, "u0": 9}}}, {"_id": 1, "l": [9, 2]}),
        ({"_id": 1, "l": [1]}, {"$v": 2, "diff": {"sl": {"a": True, "u2": 9}}}, {"_id": 1, "l": [1, None, 9]}),
        ({"_id": 1, "l": [{"x": 1}]}, {"$v": 2, "diff": {"sl": {"a": True, "s0": {"u": {"x": 2}}}}},
         {"_id": 1, "l": [{"x": 2}]}),
        ({"_id": 1, "s": 1}, {"$v": 2, "diff": {"u": {"s": 2}}}, {"_id": 1, "s": 2}),
        # A later state that has something else there keeps it: the entry behind says what it becomes.
        ({"_id": 1, "o": 5}, {"$v": 2, "diff": {"so": {"u": {"x": 1}}}}, {"_id": 1, "o": 5}),
        ({"_id": 1, "o": {}}, {"$v": 2, "diff": {"so": {"a": True, "u0": 1}}}, {"_id": 1, "o": {}}),
    ],
)  # fmt: skip
def test_an_update(before: dict[str, Any], update: dict[str, Any], after: dict[str, Any]) -> None:
    kept = bson.encode(before)
    found = updated(before, update)
    assert found == after
    assert list(found) == list(after)
    assert bson.encode(before) == kept
    # Applied once more, as a dump of a later instant has it done.
    assert updated(found, update) == after


@pytest.mark.parametrize(
    "update",
    [{"$inc": {"a": 1}}, {"$v": 2, "diff": {"b": {"a": 1}}}, {"$v": 2, "diff": {"sl": {"a": True, "x0": 1}}}],
)
def test_an_update_that_is_not_understood_is_refused(update: dict[str, Any]) -> None:
    with pytest.raises(UnknownUpdate):
        updated({"_id": 1, "a": 1, "l": [1]}, update)


def raw(document: dict[str, Any]) -> RawBSONDocument:
    """As it is read back."""
    return RawBSONDocument(bson.encode(document))


def test_a_transaction_counts_at_its_commit_and_an_aborted_one_never() -> None:
    def part(number: int, *spaces: str, **more: Any) -> RawBSONDocument:
        inner = [{"op": "i", "ns": space, "o": {"_id": 1}} for space in spaces]
        whose = {"lsid": {"id": number}, "txnNumber": 1}
        return raw(entry(number, "c", "admin.$cmd", {"applyOps": inner, **more}, **whose))

    def end(number: int, command: str) -> RawBSONDocument:
        return raw(entry(9, "c", "admin.$cmd", {command: 1}, lsid={"id": number}, txnNumber=1))

    work = Transactions()
    spaces = [[str(one["ns"]) for one in work.operations(item)] for item in (
        part(1, "a.a", partialTxn=True), part(2, "b.b", prepare=True), part(3, "c.c", prepare=True),
        part(1, "a.b"), end(3, "abortTransaction"), end(2, "commitTransaction"),
    )]  # fmt: skip
    assert spaces == [[], [], [], ["a.a", "a.b"], [], ["b.b"]]
    assert not work.open
    with pytest.raises(SafetyStop, match="not in the backup"):
        list(work.operations(end(3, "commitTransaction")))


def test_operations_that_count_at_once() -> None:
    inner = [{"op": "i", "ns": "a.a", "o": {}}, {"op": "c", "ns": "a.$cmd", "o": {"applyOps": [
        {"op": "d", "ns": "a.b", "o": {}}]}}]  # fmt: skip
    found = list(Transactions().operations(raw(entry(1, "c", "admin.$cmd", {"applyOps": inner}))))
    assert [one["op"] for one in found] == ["i", "d"]


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        (entry(1), True),
        (entry(1, "i", "config.transactions"), True),
        (entry(1, "i", "admin.system.version"), True),
        (entry(1, "i", "admin.system.users"), False),
        (entry(1, "c", "shop.$cmd", {"startIndexBuild": "a"}), True),
        (entry(1, "c", "shop.$cmd", {"commitIndexBuild": "a"}), False),
    ],
)
def test_what_is_the_originals_own_affair(operation: dict[str, Any], left: bool) -> None:
    assert left_out(operation) is left


def test_when_an_entry_was_written() -> None:
    assert wall_of(entry(1)) == datetime.fromtimestamp(1000, UTC)
    wall = datetime(2026, 1, 1, 0, 0, 0, 5000, UTC)
    assert wall_of(entry(1, wall=wall)) == wall


def test_what_is_dumped_of_a_database() -> None:
    listed = [
        {"name": "plain", "type": "collection", "options": {}, "info": {"uuid": UUID(int=1)}},
        {"name": "binary", "type": "collection", "options": {}, "info": {"uuid": Binary(b"\1" * 16, 4)}},
        {"name": "seen", "type": "view", "options": {"viewOn": "plain", "pipeline": []}, "info": {"readOnly": True}},
        {"name": "weather", "type": "timeseries", "options": {"timeseries": {"timeField": "at"}}},
        {"name": "system.buckets.weather", "type": "collection"},
        {"name": "system.views", "type": "collection"},
        {"name": "system.profile", "type": "collection"},
        {"name": "system.js", "type": "collection"},
    ]
    found = wanted("shop", listed)
    assert [one.name for one in found] == ["binary", "plain", "seen", "system.js", "weather"]
    by_name = {one.name: one for one in found}
    assert by_name["binary"].uuid == "01" * 16
    assert not by_name["seen"].has_data
    assert by_name["weather"].data_name == "system.buckets.weather"
    assert metadata_path(by_name["weather"]) == "shop/weather.metadata.json"
    assert artefact_of(by_name["weather"]) == "dump/shop/system.buckets.weather.bson.zst"
    own = [{"name": "system.users"}, {"name": "system.keys"}, {"name": "system.version"}]
    assert [one.name for one in wanted("admin", own)] == ["system.users", "system.version"]


def test_metadata_comes_back_with_its_types_and_order() -> None:
    options = {"capped": True, "size": bson.Int64(4096), "validator": {"b": {"$gt": 1.0}, "a": 1}}
    collection = Collection("shop", "a b", Kind.COLLECTION, options, "0" * 32)
    indexes = [{"v": 2, "key": {"b": 1, "a": -1}, "name": "b_1_a_-1"}]
    data = metadata_json(collection, indexes)
    found = read_metadata(metadata_path(collection), data)
    assert found.collection == collection
    assert list(found.indexes[0]["key"]) == ["b", "a"]
    assert b'"$numberInt"' in data


@given(st.text(min_size=1, max_size=120))
def test_every_name_has_an_artefact_that_stores_take_and_that_comes_back(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    artefact = artefact_of(Collection("db", name))
    assert artefact_name(artefact) == artefact
    assert len(artefact) < 900
    shown = plain(name)
    parts = shown.split("_")
    back = parts[0].encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in parts[1:])
    assert back.decode() == name


def test_long_names_are_cut_as_mongodump_cuts_them() -> None:
    name = file_name("ä" * 100)
    assert len(name) == 238
    assert name.startswith("%C3%A4")
    assert name[208:211] == "%24"
    assert file_name("a b/c") == "a+b%2Fc"


def test_positions() -> None:
    mark = Mark(Timestamp(1764368417, 3), 7)
    assert str(mark) == "1764368417:3"
    assert read_mark(mark.document()) == mark
    assert read_mark(b"{}\n") is None
    assert parse_ts(str(mark)) == mark.ts
    assert mark.at == datetime(2025, 11, 28, 22, 20, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "kind", "reason", "says"),
    [
        (OperationFailure("no", 18), UserFault, "WrongPassword", "Secret"),
        (OperationFailure("not authorized", 13), UserFault, "PermissionDenied", 'grantRolesToUser("bk", [{role: "b'),
        (OperationFailure("stepped down", 10107), WorldFault, "ServerStopped", "election"),
        (OperationFailure("lost", 136), WorldFault, "OplogOverrun", "replSetResizeOplog"),
        (OperationFailure("dropped", 175), WorldFault, "SchemaChanged", "dropped or renamed"),
        (OperationFailure("odd", 4711), WorldFault, "DatabaseError", "odd"),
        (AutoReconnect("connection closed"), WorldFault, "ConnectionLost", "hung up"),
        (ServerSelectionTimeoutError("certificate verify failed"), UserFault, "TLSFailure", "spec.connection.tls"),
        (ServerSelectionTimeoutError("nobody"), WorldFault, "ConnectFailed", "nobody"),
    ],
)  # fmt: skip
def test_what_errors_mean(error: Exception, kind: type[Exception], reason: str, says: str) -> None:
    found = driver_fault(error, "reading", "bk")
    assert type(found) is kind
    assert found.reason == reason
    assert says in found.message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), "ConnectTimeout"),
        (ConnectionRefusedError(), "ConnectionRefused"),
        (OSError(113, "No route to host"), "HostUnreachable"),
        (OSError(1, "odd"), "ConnectFailed"),
    ],
)
def test_what_a_connection_that_is_not_made_means(error: OSError, reason: str) -> None:
    assert connect_fault(error, "db:27017").reason == reason
