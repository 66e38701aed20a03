"""What was acknowledged is in the store, without a hole: restored from nothing but a backup and the shipped oplog."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import bson
import pytest
import zstandard
from bson.timestamp import Timestamp

from databosun.api.drill import PointKind, RecoveryPoint, Verdict
from databosun.api.result import Outcome
from databosun.domain.wal import format_lsn, lsn_of
from support.agekeys import make_age_key
from support.archiving import Pod
from support.mongoarchiving import LATEST, Writer, restored
from support.mongosample import content, fill
from support.mongoserver import MongoServer
from support.mongoyard import MongoYard, followed
from support.pgserver import open_folder
from support.recoveryyard import check, drilled
from support.seaweed import Seaweed
from support.waiting import eventually

pytestmark = pytest.mark.servers

KILLS = 3
Servers = Callable[..., MongoServer]
Yards = Callable[[MongoServer], MongoYard]
Pods = Callable[..., Pod]


def test_every_acknowledged_write_survives_the_source(own_server: Servers, archiver: Pods, weed: Seaweed) -> None:
    """From a bucket, encrypted; also behind an Incremental."""
    server, folder = own_server(), open_folder("yard")
    fill(server)
    yard = MongoYard(folder, make_age_key(folder), weed, server=server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    full = yard.back_up("orders-1")
    yard.change()
    yard.back_up("orders-2", on=full)
    shop = server.client.shop
    shop.numbers.insert_many({"_id": number, "text": "x" * 20_000} for number in range(40))
    shop.numbers.update_many({"_id": {"$lt": 10}}, {"$set": {"text": "short", "more": [1, 2]}})
    shop.numbers.delete_many({"_id": {"$gte": 30}})
    pod.drained()
    after = content(server.client)
    server.kill()
    assert pod.stop().result.outcome is Outcome.SUCCEEDED
    assert not pod.gaps()
    assert restored(yard, "orders-1", LATEST) == after
    count = check("numbers", "Query", database="shop", query='{"count": "numbers"}', value="30")
    found = drilled(yard.drill("orders-2", until=LATEST, checks=[count]))
    assert found.verdict is Verdict.PASSED, found


def test_an_archiver_killed_again_and_again_leaves_no_hole(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard, max_lag_seconds=0.4)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    chance = random.Random(11)
    with Writer(server, width=20_000, pause=0.01) as writer:
        for _ in range(KILLS):
            lives = len(pod.positions())
            eventually("it has said something", lambda known=lives: len(pod.positions()) > known)  # type: ignore[misc]
            moment = writer.acknowledged + chance.randrange(60)
            eventually("a random moment", lambda until=moment: writer.acknowledged >= until)  # type: ignore[misc]
            pod.kill()
            pod.start()
        eventually("it has written meanwhile", lambda: writer.acknowledged > 100)
    pod.drained()
    after = content(server.client)
    server.kill()
    pod.stop()
    assert not pod.gaps()
    assert restored(yard, "orders-1", LATEST) == after


@dataclass(frozen=True, slots=True)
class Emptied:
    """A server one of whose collections was emptied, all of it in the store. `before`: what it held, up to `instant`;
    `position`: of the entry that did it."""

    yard: MongoYard
    before: object
    after: object
    instant: datetime
    position: str


@pytest.fixture(scope="module")
def emptied() -> Iterator[Emptied]:
    """Shared by those who bring it back."""
    server = MongoServer()
    fill(server)
    yard = MongoYard(open_folder("yard"), server=server)
    pod = yard.archiver()
    try:
        pod.start()
        pod.wait_until_streaming()
        yard.back_up("orders-1")
        yard.change()
        before = content(server.client)
        instant = pod.drained()
        eventually("another second has begun", lambda: (datetime.now(UTC) - instant).total_seconds() > 1.1)
        server.client.shop.customers.delete_many({})
        pod.drained()
        after = content(server.client)
        server.kill()
        pod.stop()
        yield Emptied(yard, before, after, instant, position_of(pod, instant))
    finally:
        pod.kill()
        server.remove()


def position_of(pod: Pod, since: datetime) -> str:
    """Where the first entry behind an instant begins."""
    line = pod.latest()
    assert line
    assert line.system_identifier
    log = pod.log(line.system_identifier)
    for number, one in sorted(log.segments[1].items()):
        unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        at = 0
        for entry in bson.decode_all(unzip.decompress(pod.store.get(one.key, limit=1 << 26))):
            if entry["ts"] > Timestamp(int(since.timestamp()) + 1, 0):
                return format_lsn(number * log.segment_bytes + at)
            at += len(bson.encode(entry))
    pytest.fail(f"no entry behind {since}")


def test_by_hand_the_shipped_oplog_is_one_with_that_of_the_backup(emptied: Emptied, tmp_path: Path) -> None:
    """By RESTORE.md. The stand-in takes no replay from mongorestore, so what it would have replayed is looked at."""
    volume = emptied.yard.place.paths.volume
    (manifest,) = volume.rglob("orders-1/manifest.json")
    for artefact in json.loads(manifest.read_bytes())["artefacts"]:
        whole = tmp_path / "orders-1" / artefact["name"]
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_bytes(b"".join((manifest.parent / "a1" / one["name"]).read_bytes() for one in artefact["parts"]))
    text = (manifest.parent / "RESTORE.md").read_text()
    own = text[text.index("## 5. Restore") :]
    first = re.search(r"from `([0-9A-F]{24})` on", own)
    assert first
    (tmp_path / "log").mkdir()
    for piece in volume.rglob("_log/mongodb/*/00000001/*.zst"):
        if piece.name >= first[1]:
            shutil.copy2(piece, tmp_path / "log")
    with followed(own, tmp_path):
        entries = bson.decode_all((tmp_path / "dump-restored/oplog.bson").read_bytes())
    gone = {one["o"]["_id"] for one in entries if (one["op"], one["ns"]) == ("d", "shop.customers")}
    assert len(gone) == 201


@pytest.mark.parametrize("by", ["time", "position"])
def test_a_collection_is_back_from_just_before_it_was_emptied(emptied: Emptied, by: str) -> None:
    until = {
        "time": RecoveryPoint(kind=PointKind.TIME, time=emptied.instant),
        "position": RecoveryPoint(kind=PointKind.LSN, lsn=emptied.position),
    }[by]
    assert restored(emptied.yard, "orders-1", until) == emptied.before


def test_the_newest_is_behind_it(emptied: Emptied) -> None:
    assert restored(emptied.yard, "orders-1", LATEST) == emptied.after != emptied.before


def test_a_point_behind_the_log_or_before_the_backup_is_refused(emptied: Emptied) -> None:
    for instant in (datetime(2001, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)):
        until = RecoveryPoint(kind=PointKind.TIME, time=instant)
        found = drilled(emptied.yard.drill("orders-1", id=f"drill-{instant.year}", until=until))
        assert (found.verdict, found.reason) == (Verdict.REFUSED, "PointNotCovered"), found
    until = RecoveryPoint(kind=PointKind.LSN, lsn=format_lsn(lsn_of(1)))
    found = drilled(emptied.yard.drill("orders-1", id="drill-lsn", until=until))
    assert (found.verdict, found.reason) == (Verdict.REFUSED, "PointNotCovered"), found
