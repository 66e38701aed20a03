"""What was acknowledged is in the store, without a hole: restored from nothing but a backup and the shipped log."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from databosun.api.drill import Level, PointKind, RecoveryPoint, Verdict
from databosun.api.restoretasks import DrillTask
from databosun.api.result import Outcome
from databosun.domain.wal import format_lsn, parse_lsn
from support.agekeys import make_age_key
from support.archiving import Pod
from support.pgserver import open_folder
from support.recoveryyard import check, drilled
from support.redisarchiving import LATEST, Writer, restored, transferred, write
from support.redisdoc import followed, tools_of
from support.redisserver import PRODUCTS, Server, content, open_socket
from support.redisyard import RedisYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

WRITES = 60
KILLS = 3
Servers = Callable[..., Server]
Yards = Callable[[Server], RedisYard]
Pods = Callable[..., Pod]


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_acknowledged_write_survives_the_source(
    own_server: Servers, yard_of: Yards, archiver: Pods, tmp_path: Path, product: str
) -> None:
    """By the agent, and by hand: the commands of RESTORE.md, up to an instant before the last write."""
    server = own_server(product)
    yard = yard_of(server)
    yard.key = make_age_key(yard.folder)
    yard.place.storage["age_recipients"] = [yard.key.recipient]
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    write(server, 0, WRITES // 3)
    server.call("SET", "elsewhere", 1, db=5)
    yard.back_up("orders-1")
    server.call("SET", "elsewhere", 2, db=5)
    write(server, WRITES // 3, WRITES - WRITES // 3)
    pod.drained()
    instant = datetime.now(UTC)
    server.call("SET", "later", 1)
    pod.drained()
    server.stop()
    assert pod.stop().result.outcome is Outcome.SUCCEEDED
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(WRITES)), WRITES, WRITES)
        assert wire.call("GET", "later") == b"1"
    counter = check("all", "Query", database="3", query="GET count", value=str(WRITES))
    found = drilled(yard.drill("orders-1", until=LATEST, checks=[counter]))
    assert found.verdict is Verdict.PASSED, found
    commands = lay_out(yard, instant, tmp_path)
    with followed(commands, tmp_path, tools_of(product, tmp_path / "tools")) as (place, _), open_socket(place) as wire:
        assert transferred(wire) == (list(range(WRITES)), WRITES, WRITES)
        assert wire.call("GET", "later") is None
        wire.call("SELECT", 5)
        assert wire.call("GET", "elsewhere") == b"2"


def lay_out(yard: RedisYard, until: datetime, folder: Path) -> str:
    """Have a backup and its log lie decrypted in a folder, as RESTORE.md asks for; its commands from there on."""
    assert yard.key
    (document,) = yard.place.paths.volume.rglob("RESTORE.md")
    text = document.read_text()
    first = re.search(r"from `([0-9A-F]{24})` on", text)
    assert first
    log = sorted(one for one in yard.place.paths.volume.rglob("00000001/*.zst.age") if one.name >= first[1])
    for path, name in (*((one, "orders-1") for one in yard.stored("orders-1")), *((one, "log") for one in log)):
        (folder / name).mkdir(exist_ok=True)
        target = "dump.rdb.zst" if name == "orders-1" else path.name.removesuffix(".age")
        (folder / name / target).write_bytes(yard.key.decrypt(path.read_bytes()))
    own = text[text.index("## 5. Restore") :]
    return own.replace("set -euo pipefail\n", f"set -euo pipefail\nUNTIL={int(until.timestamp() * 1000)}\n", 1)


def test_an_archiver_killed_again_and_again_leaves_no_hole(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server(settings=["repl-backlog-size 256mb"])
    yard = yard_of(server)
    pod = archiver(yard, max_lag_seconds=0.4)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    chance = random.Random(11)
    with Writer(server, width=2000, pause=0.002) as writer:
        for _ in range(KILLS):
            lives = len(pod.positions())
            eventually("it has said something", lambda known=lives: len(pod.positions()) > known)  # type: ignore[misc]
            moment = writer.acknowledged + chance.randrange(300)
            eventually("a random moment", lambda until=moment: writer.acknowledged >= until)  # type: ignore[misc]
            pod.kill()
            pod.start()
        eventually("it has written meanwhile", lambda: writer.acknowledged > 200)
    pod.drained()
    server.stop()
    pod.stop()
    assert not pod.gaps()
    count = writer.acknowledged
    with restored(yard, "orders-1", LATEST) as (_, wire):
        numbers, first, second = transferred(wire)
    assert numbers[:count] == list(range(count))
    assert first == second == len(numbers) <= count + 1


@dataclass(frozen=True, slots=True)
class Flushed:
    """A server whose data was flushed away, all of it in the store. `before`: what it held, up to `instant`;
    `position`: of the command that did it."""

    yard: RedisYard
    pod: Pod
    before: dict[str, tuple[int, int]]
    instant: datetime
    position: str


@pytest.fixture(scope="module")
def flushed() -> Iterator[Flushed]:
    """With what a replay into a running server would spoil: a key that would have expired before the restore, but for
    what came after it; and commands that go to the database of the last one before the backup."""
    server = Server()
    yard = RedisYard(open_folder("yard"), server=server)
    pod = yard.archiver()
    try:
        pod.start()
        pod.wait_until_streaming()
        server.call("SET", "elsewhere", 1, db=7)
        yard.back_up("orders-1")
        brief = 5000  # milliseconds: enough for three commands that come together
        server.calls([("SET", "ctr", 41, "PX", brief), ("INCR", "ctr"), ("PERSIST", "ctr")], db=7)
        server.calls([("SET", "old", 1, "PX", brief), ("RENAME", "old", "new"), ("PERSIST", "new")])
        expired = datetime.now(UTC) + timedelta(milliseconds=brief)
        yard.change()
        write(server, 0, 30)
        with server.connect() as wire:
            before = content(wire)
        pod.drained()
        instant = datetime.now(UTC)
        server.call("FLUSHALL")
        server.call("SET", "after", 1)
        pod.drained()
        server.stop()
        pod.stop()
        eventually("a replay would come too late", lambda: datetime.now(UTC) > expired)
        yield Flushed(yard, pod, before, instant, position_of(pod, b"FLUSHALL"))
    finally:
        pod.kill()
        server.remove()
        shutil.rmtree(yard.folder, ignore_errors=True)


def position_of(pod: Pod, word: bytes) -> str:
    """Where a command lies in the log, as `grep --byte-offset` finds it."""
    line = pod.latest()
    assert line
    assert line.system_identifier
    log = pod.log(line.system_identifier)
    for number, one in sorted(log.segments[1].items()):
        unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
        text = unzip.decompress(pod.store.get(one.key, limit=1 << 26))
        if (at := text.find(word)) >= 0:
            return format_lsn((number * log.segment_bytes) | at)
    pytest.fail(f"{word!r} is not in the log")


def test_a_flush_of_everything_is_undone_by_time_and_by_position(flushed: Flushed) -> None:
    for until in (
        RecoveryPoint(kind=PointKind.TIME, time=flushed.instant),
        RecoveryPoint(kind=PointKind.LSN, lsn=flushed.position),
    ):
        with restored(flushed.yard, "orders-1", until) as (found, wire):
            assert content(wire) == flushed.before, found
            wire.call("SELECT", 7)
            assert wire.call("GET", "ctr") == b"42"
    with restored(flushed.yard, "orders-1", LATEST) as (_, wire):
        assert (wire.call("DBSIZE"), wire.call("GET", "after")) == (1, b"1")


@pytest.mark.parametrize(("back", "whole"), [(0, 29), (350, 28)])
def test_a_transaction_is_never_split(flushed: Flushed, back: int, whole: int) -> None:
    """A position in the midst of one: none of its commands is there."""
    end = parse_lsn(position_of(flushed.pod, b"29:xxx"))
    until = RecoveryPoint(kind=PointKind.LSN, lsn=format_lsn(end - back))
    with restored(flushed.yard, "orders-1", until) as (_, wire):
        assert transferred(wire) == (list(range(whole)), whole, whole)


def test_a_command_larger_than_a_file_goes_through(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server(settings=["repl-backlog-size 128mb"])
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    server.call("SET", "large", b"l" * (20 << 20))
    server.call("SET", "small", 1)
    pod.drained()
    assert pod.peak_mib() <= 200
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert (wire.call("STRLEN", "large"), wire.call("GET", "small")) == (20 << 20, b"1")
    # All of the log lies on the disk beside what becomes of it: 64 MiB to spare, and twice 20 MiB.
    task = DrillTask(id="drill-1", backup=yard.refs["orders-1"], level=Level.RESTORE, until=LATEST)
    found = drilled(yard.pod().run(task, scratch_bytes=95_000_000))
    assert (found.verdict, found.reason) == (Verdict.REFUSED, "ScratchTooSmall"), found
