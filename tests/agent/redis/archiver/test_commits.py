"""What was acknowledged is in the store, without a hole: restored from nothing but a backup and the shipped log."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zstandard

from databosun.api.drill import PointKind, RecoveryPoint, Verdict
from databosun.api.result import Outcome
from databosun.domain.wal import format_lsn, parse_lsn
from support.agekeys import make_age_key
from support.archiving import Pod
from support.recoveryyard import check, drilled
from support.redisarchiving import LATEST, Writer, drained, restored, transfer, transferred
from support.redisdoc import followed, tools_of
from support.redisserver import PRODUCTS, Server, content, open_socket
from support.redisyard import RedisYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

WRITES = 300
KILLS = 4
Servers = Callable[..., Server]
Yards = Callable[[Server], RedisYard]
Pods = Callable[..., Pod]


def write(server: Server, first: int, count: int) -> None:
    with server.connect() as wire:
        for number in range(first, first + count):
            transfer(wire, number)


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_acknowledged_write_survives_the_source(
    own_server: Servers, yard_of: Yards, archiver: Pods, product: str
) -> None:
    server = own_server(product)
    yard = yard_of(server)
    yard.key = make_age_key(yard.folder)
    yard.place.storage["age_recipients"] = [yard.key.recipient]
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    write(server, 0, WRITES // 3)
    yard.back_up("orders-1")
    write(server, WRITES // 3, WRITES - WRITES // 3)
    drained(pod)
    server.stop()
    assert pod.stop().result.outcome is Outcome.SUCCEEDED
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert transferred(wire) == (list(range(WRITES)), WRITES, WRITES)
    counter = check("all", "Query", database="3", query="GET count", value=str(WRITES))
    found = drilled(yard.drill("orders-1", until=LATEST, checks=[counter]))
    assert found.verdict is Verdict.PASSED, found


def test_an_archiver_killed_again_and_again_leaves_no_hole(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server(settings=["repl-backlog-size 64mb"])
    yard = yard_of(server)
    pod = archiver(yard, max_lag_seconds=0.4)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    chance = random.Random(11)
    with Writer(server, width=2000) as writer:
        for _ in range(KILLS):
            lives = len(pod.positions())
            eventually("it has said something", lambda known=lives: len(pod.positions()) > known)  # type: ignore[misc]
            moment = writer.acknowledged + chance.randrange(300)
            eventually("a random moment", lambda until=moment: writer.acknowledged >= until)  # type: ignore[misc]
            pod.kill()
            pod.start()
        pod.wait_until_streaming()
    drained(pod)
    server.stop()
    pod.stop()
    assert not pod.gaps()
    count = writer.acknowledged
    assert count > 200
    with restored(yard, "orders-1", LATEST) as (_, wire):
        numbers, first, second = transferred(wire)
    assert numbers[:count] == list(range(count))
    assert first == second == len(numbers) <= count + 1


def test_a_flush_of_everything_is_undone_by_time_and_by_offset(
    own_server: Servers, yard_of: Yards, archiver: Pods
) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 0, 20)
    instant = drained(pod)
    eventually("the clock has moved on", lambda: datetime.now(UTC) > instant)
    before = time.time_ns()
    server.call("FLUSHALL")
    server.call("SET", "after", 1)
    drained(pod)
    pod.stop()
    position = position_before(yard, pod, b"FLUSHALL")
    for until in (
        RecoveryPoint(kind=PointKind.TIME, time=datetime.fromtimestamp(before / 1e9, UTC)),
        RecoveryPoint(kind=PointKind.LSN, lsn=position),
    ):
        with restored(yard, "orders-1", until) as (found, wire):
            assert transferred(wire) == (list(range(20)), 20, 20), found
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert (wire.call("DBSIZE"), wire.call("GET", "after")) == (1, b"1")


def position_before(yard: RedisYard, pod: Pod, word: bytes) -> str:
    """Where a command lies in the log, as `grep --byte-offset` finds it."""
    line = pod.latest()
    assert line
    assert line.system_identifier
    log = pod.log(line.system_identifier)
    for number, one in sorted(log.segments[1].items()):
        text = decompressed(pod, one.key)
        if (at := text.find(word)) >= 0:
            return format_lsn((number * log.segment_bytes) | at)
    pytest.fail(f"{word!r} is not in the log")


def decompressed(pod: Pod, key: str) -> bytes:
    unzip = zstandard.ZstdDecompressor().decompressobj(read_across_frames=True)
    return unzip.decompress(pod.store.get(key, limit=1 << 26))


def test_a_transaction_is_never_split(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """Whatever byte of the log is asked for, the three commands of each transaction are there or none of them is."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    write(server, 0, 30)
    drained(pod)
    pod.stop()
    end = parse_lsn(position_before(yard, pod, b"29:xxx"))
    seen = set()
    for back in (0, 90, 350, 700):
        until = RecoveryPoint(kind=PointKind.LSN, lsn=format_lsn(end - back))
        with restored(yard, "orders-1", until) as (_, wire):
            numbers, first, second = transferred(wire)
        assert len(numbers) == first == second, (back, numbers)
        assert numbers == list(range(first))
        seen.add(first)
    assert max(seen) == 29
    assert len(seen) > 1


def test_what_a_running_server_would_have_spoiled_is_exact(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    """A key that would have expired before the restore, but for what came after; commands of another database."""
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    server.call("SET", "elsewhere", 1, db=7)
    yard.back_up("orders-1")
    server.calls([("SET", "ctr", 41, "PX", 1500), ("INCR", "ctr"), ("PERSIST", "ctr")], db=7)
    server.calls([("SET", "old", 1, "PX", 1500), ("RENAME", "old", "new"), ("PERSIST", "new")])
    yard.change()
    drained(pod)
    with server.connect() as wire:
        after = content(wire)
    server.stop()
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert content(wire) == after
        wire.call("SELECT", 7)
        assert wire.call("GET", "ctr") == b"42"


def test_a_command_larger_than_a_file_goes_through(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server(settings=["repl-backlog-size 128mb"])
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    yard.back_up("orders-1")
    server.call("SET", "large", b"l" * (20 << 20))
    server.call("SET", "small", 1)
    drained(pod)
    assert pod.peak_mib() <= 200
    pod.stop()
    with restored(yard, "orders-1", LATEST) as (_, wire):
        assert (wire.call("STRLEN", "large"), wire.call("GET", "small")) == (20 << 20, b"1")


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_commands_of_restore_md_replay_the_log_up_to_an_instant(
    own_server: Servers, yard_of: Yards, archiver: Pods, tmp_path: Path, product: str
) -> None:
    server = own_server(product)
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    server.call("SET", "elsewhere", 1, db=5)
    yard.back_up("orders-1")
    server.call("SET", "elsewhere", 2, db=5)
    write(server, 0, 10)
    drained(pod)
    instant = datetime.now(UTC)
    server.call("FLUSHALL")
    drained(pod)
    pod.stop()
    (document,) = yard.place.paths.volume.rglob("RESTORE.md")
    (artefact,) = yard.stored("orders-1")
    (tmp_path / "orders-1").mkdir()
    shutil.copy(artefact, tmp_path / "orders-1/dump.rdb.zst")
    text = document.read_text()
    first = re.search(r"from `([0-9A-F]{24})` on", text)
    assert first
    (tmp_path / "log").mkdir()
    for path in sorted(yard.place.paths.volume.rglob("00000001/*.zst")):
        if path.name >= first[1]:
            shutil.copy(path, tmp_path / "log")
    own = text[text.index("## 5. Restore") :]
    commands = own.replace("set -euo pipefail\n", f"set -euo pipefail\nUNTIL={int(instant.timestamp() * 1000)}\n", 1)
    with followed(commands, tmp_path, tools_of(product, tmp_path / "tools")) as (place, _), open_socket(place) as wire:
        assert transferred(wire) == (list(range(10)), 10, 10)
        wire.call("SELECT", 5)
        assert wire.call("GET", "elsewhere") == b"2"


def test_an_idle_server_is_not_behind_and_stores_nothing(own_server: Servers, yard_of: Yards, archiver: Pods) -> None:
    server = own_server()
    yard = yard_of(server)
    pod = archiver(yard)
    pod.start()
    pod.wait_until_streaming()
    objects = len([path for path in yard.objects() if path.endswith(".zst")])
    drained(pod)
    drained(pod)
    line = pod.latest()
    assert line
    assert (line.behind_bytes, line.trouble) == (0, None)
    assert len([path for path in yard.objects() if path.endswith(".zst")]) == objects
    server.stop()
