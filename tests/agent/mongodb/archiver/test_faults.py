"""What goes wrong around an oplog that is shipped: entries that are gone, stores and servers that are away, damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bson.timestamp import Timestamp

from databosun.api.archive import LogGap
from databosun.api.drill import Verdict
from databosun.domain.wal import parse_lsn
from databosun.engines.mongodb.positions import FILE_SECONDS
from support.archiving import Pod
from support.mongoarchiving import LATEST, restored
from support.mongosample import content
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard
from support.recoveryyard import drilled
from support.waiting import eventually

pytestmark = pytest.mark.servers

Servers = Callable[..., MongoServer]
Yards = Callable[[MongoServer], MongoYard]
Pods = Callable[..., Pod]


def few(server: MongoServer) -> None:
    """Documents; every look at its oplog reads all of that."""
    server.client.shop.orders.insert_many({"_id": number, "customer": number % 5} for number in range(50))


def newest(server: MongoServer) -> Timestamp:
    """Of the entries in the oplog."""
    found: Any = next(iter(server.client.local["oplog.rs"].find().sort("$natural", -1).limit(1)))["ts"]
    return found


def overrun(server: MongoServer) -> None:
    """Have the oplog lose all but its newest entry, as one does that is too small for what is written."""
    server.client.local["oplog.rs"].delete_many({"ts": {"$lt": newest(server)}})


def the_gap(pod: Pod) -> LogGap:
    """The only one, once it is told."""
    eventually("it says a gap", lambda: bool(pod.gaps()), 2 * FILE_SECONDS)
    (gap,) = {one.end: one for one in pod.gaps()}.values()
    return gap


def test_entries_that_are_gone_are_a_gap_at_once_and_no_restore_crosses_it(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """Nothing more needs to be written for that; a full backup that is taken then has the log behind it."""
    server = own_server()
    few(server)
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    pod.drained()
    pod.kill()
    yard.change()
    yard.roll()
    overrun(server)
    pod.start()
    gap = the_gap(pod)
    assert gap.reason == "OplogOverrun"
    assert "oplog" in gap.message
    pod.says("it goes on", gaps=1, trouble=None)
    ran = yard.back_up("orders-2")
    assert ran.result.backup
    assert ran.result.backup.position
    assert parse_lsn(ran.result.backup.position.start_lsn or "0/0") >= parse_lsn(gap.end)
    server.client.shop.orders.insert_one({"_id": "behind the gap"})
    pod.drained()
    after = content(server.client)
    pod.stop()
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogGap"), found
    assert restored(yard, "orders-2", LATEST) == after


def trouble_of(pod: Pod) -> str | None:
    """The reason of what keeps it from being up to date."""
    line = pod.latest()
    return line.trouble.reason if line and line.trouble else None


def test_what_breaks_on_both_sides_costs_nothing_once_it_is_back(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    """A server that is killed and comes back; a store that is away, and the server meanwhile."""
    server = own_server()
    few(server)
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(2):
        server.client.shop.orders.insert_one({"_id": f"before {number}"})
        server.kill()
        eventually("it says so", lambda: trouble_of(pod) is not None)
        server.start()
    pod.drained()
    with pod.away():
        server.client.shop.orders.insert_one({"_id": "meanwhile"})
        eventually("it says so", lambda: trouble_of(pod) is not None)
        server.kill()
        server.start()
        server.client.shop.orders.insert_one({"_id": "and again"})
    pod.drained()
    after = content(server.client)
    pod.stop()
    assert not pod.gaps()
    assert restored(yard, "orders-1", LATEST) == after


def test_memory_stays_bounded_and_a_file_goes_over_several_pieces(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    for number in range(5):
        server.client.shop.large.insert_one({"_id": number, "text": bytes([number]) * (5 << 20)})
    pod.drained()
    after = content(server.client)
    assert pod.peak_mib() <= 256
    pod.kill()
    pod.start()
    pod.drained()
    server.kill()
    pod.stop()
    assert not pod.gaps()
    assert restored(yard, "orders-1", LATEST) == after


def test_a_damaged_piece_fails_a_drill(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    few(server)
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    yard.change()
    pod.drained()
    pod.stop()
    piece = max(path for path in yard.place.paths.volume.rglob("*.zst") if "_log" in path.parts)
    data = bytearray(piece.read_bytes())
    data[len(data) // 2] ^= 1
    piece.write_bytes(data)
    found = drilled(yard.drill("orders-1", until=LATEST))
    assert (found.verdict, found.reason) == (Verdict.FAILED, "LogCorrupt"), found


def test_preflight_says_what_is_missing(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    lone, ready = own_server(oplog=False), own_server()
    (found,) = archiver(yard_of(lone)).preflight(allow_unbounded=False)
    assert (found.reason, found.blocks) == ("NoOplog", ["Continuous"])
    assert "rs.initiate()" in (found.fix or "")
    assert archiver(yard_of(ready)).preflight(allow_unbounded=False) == []
    ready.client.local["system.replset"].delete_many({})
    (found,) = archiver(yard_of(ready)).preflight(allow_unbounded=False)
    assert (found.reason, found.blocks) == ("PermissionDenied", ["Continuous"])
    assert 'role: "backup"' in (found.fix or "")
