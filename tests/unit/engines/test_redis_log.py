"""The shipped log of Redis without a server: cut anywhere, and replayed to any point, it is whole commands in order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from databosun.api.drill import PointKind, RecoveryPoint
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.domain.wal import format_lsn, lsn_of, segment_name
from databosun.engines.base import LogPiece
from databosun.engines.filelog import SEGMENT_BYTES
from databosun.engines.recovery import RecoveryPlan
from databosun.engines.redis.connect import Endpoint
from databosun.engines.redis.log import files
from databosun.engines.redis.log.commands import Walker
from databosun.engines.redis.log.files import Cut, Cutter
from databosun.engines.redis.log.place import Mark, decide_resume, piece_of, read_mark
from databosun.engines.redis.recovery.facts import Backup
from databosun.engines.redis.recovery.log import write_commands
from databosun.engines.redis.resp import encode
from databosun.engines.redis.server import ServerFacts, parse_info

BEGAN = 1_700_000_000.0
SELECT_3 = encode("SELECT", 3)


def commands(count: int) -> list[bytes]:
    """Single ones, transactions, pings, values that look like commands or notes."""
    found = [encode("SELECT", 0)]
    for number in range(count):
        if number % 3 == 0:
            parts = [encode("MULTI"), encode("INCR", "n"), encode("SET", "k", b"#TS:1\r\n*1\r\n$4\r\nEXEC\r\n")]
            found.append(b"".join([*parts, encode("EXEC")]))
        elif number % 3 == 1:
            found.append(encode("SET", f"key {number}", "v" * (number * 7 % 300)))
        else:
            found.append(encode("PING") if number % 2 else encode("REPLCONF", "GETACK", "*"))
    return found


def real(groups: Sequence[bytes]) -> list[bytes]:
    return [one for one in groups if b"PING" not in one and b"GETACK" not in one]


class Shipped:
    """What a cutter made of a stream, one piece a second, as a supply for a replay."""

    def __init__(self, folder: Path, stream: bytes, pieces: Sequence[int], *, begin: int = 1000) -> None:
        self.cuts: list[Cut] = []
        self._folder = folder
        self._now = BEGAN
        cutter = Cutter(Mark("a" * 40, 0, begin), "a" * 40, self.cuts.append, lambda: self._now)
        cutter.begin()
        at = 0
        for number, size in enumerate(pieces):
            cutter.take(stream[at : at + size])
            at += size
            self._now += 1
            if number % 3 == 0:
                cutter.cut()
        cutter.take(stream[at:])
        cutter.cut()
        self.received = cutter.received

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(segment_name(1, number * 256, SEGMENT_BYTES) for number in range(1, len(self.cuts) + 1))

    def take(self, name: str) -> Path | None:
        target = self._folder / name
        target.write_bytes(self.cuts[int(name[8:16], 16) - 1].data)
        return target


def replayed(folder: Path, log: Any, offset: int, until: RecoveryPoint, **more: Any) -> bytes:
    """What would be loaded behind a backup that ends at an offset."""
    backup = Backup("b-1", "Redis", "7.0", "REDIS", 10, f"{'a' * 40}:{offset}", "1/0", "1/0", 0, 0, selected=3)
    plan = RecoveryPlan(({},), folder, until, datetime.now(UTC), log=log, **more)
    target = folder / "incr.aof"
    write_commands(plan, backup, target)
    data = target.read_bytes()
    assert data.startswith(SELECT_3)
    return data[len(SELECT_3) :]


def latest(log: Shipped) -> dict[str, Any]:
    return {"until": RecoveryPoint(kind=PointKind.LATEST), "expected": format_lsn(lsn_of(len(log.cuts) + 1))}


def chopped(chance: random.Random, size: int) -> list[int]:
    found = []
    while sum(found) < size:
        found.append(chance.choice([1, 2, 5, 17, 100, 900]))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_a_stream_cut_anywhere_is_replayed_whole_from_any_command(tmp_path: Path, seed: int) -> None:
    groups = commands(40)
    stream = b"".join(groups)
    log = Shipped(tmp_path, stream, chopped(random.Random(seed), len(stream)))
    assert log.received == 1000 + len(stream)
    assert [one.mark.begin for one in log.cuts[1:]] == [one.mark.end for one in log.cuts[:-1]]
    for after in range(0, len(groups), 7):
        offset = 1000 + sum(map(len, groups[:after]))
        assert replayed(tmp_path, log, offset, **latest(log)) == b"".join(real(groups[after:]))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_byte_is_asked_for_no_transaction_is_split(tmp_path: Path, seed: int) -> None:
    groups = commands(12)
    stream = b"".join(groups)
    log = Shipped(tmp_path, stream, chopped(random.Random(seed), len(stream)))
    whole = {b"".join(real(groups[:count])) for count in range(len(groups) + 1)}
    seen = set()
    for number, cut in enumerate(log.cuts, start=1):
        for at in range(len(cut.data) if number == 1 else 0, len(cut.data) + 1, 13):
            lsn = format_lsn(lsn_of(number, at))
            found = replayed(tmp_path, log, 1000, RecoveryPoint(kind=PointKind.LSN, lsn=lsn), expected=lsn)
            assert found in whole
            seen.add(found)
    assert len(seen) > 3


def test_a_time_takes_what_had_come_by_then(tmp_path: Path) -> None:
    groups = [encode("SET", "k", number) for number in range(5)]
    log = Shipped(tmp_path, b"".join(groups), [len(one) for one in groups])
    for taken in range(1, 5):
        at = datetime.fromtimestamp(BEGAN, UTC) + timedelta(seconds=taken - 1, milliseconds=500)
        until = RecoveryPoint(kind=PointKind.TIME, time=at)
        found = replayed(tmp_path, log, 1000, until, expected=format_lsn(lsn_of(len(log.cuts) + 1)))
        assert found == b"".join(groups[:taken])


def test_a_command_larger_than_a_file_is_cut_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FILE_BYTES", 300)
    groups = [
        encode("SET", "a", 1),
        encode("MULTI") + encode("SET", "b", "x" * 2000) + encode("EXEC"),
        encode("DEL", "a"),
    ]
    stream = b"".join(groups)
    log = Shipped(tmp_path, stream, [100] * (len(stream) // 100))
    assert any(not one.mark.headed for one in log.cuts)
    assert replayed(tmp_path, log, 1000, **latest(log)) == stream
    middle = next(number for number, one in enumerate(log.cuts) if one.mark.args or one.mark.multi)
    walker = read_mark(str(log.cuts[middle].mark))
    assert walker
    rest = b"".join(one.data for one in log.cuts[middle + 1 :])
    assert [step.name for step in walker.walker().walk(rest) if not step.note][-2:] == [b"EXEC", b"DEL"]


def test_pings_behind_the_last_change_wait_for_the_next() -> None:
    """So a node that got fewer of them before it was promoted has all that is in files."""
    cuts: list[Cut] = []
    cutter = Cutter(Mark("a" * 40, 0, 1000), "a" * 40, cuts.append, lambda: BEGAN)
    first, ping, second = encode("SET", "a", 1), encode("PING"), encode("SET", "b", 2)
    cutter.take(first + ping)
    cutter.take(ping)
    cutter.cut()
    assert [one.mark.end for one in cuts] == [1000 + len(first)]
    assert (cutter.idle, cutter.received) == (True, 1000 + len(first + ping + ping))
    waiting = cutter.pings()
    assert waiting
    assert (waiting.mark.begin, waiting.mark.end) == (1000 + len(first), cutter.received)
    assert [step.name for step in Walker().walk(waiting.data) if not step.note] == [b"PING", b"PING"]
    cutter.take(second)
    cutter.cut()
    assert (cuts[-1].mark.begin, cuts[-1].mark.end) == (waiting.mark.begin, cutter.received)
    assert cutter.pings() is None


def test_pings_that_go_on_for_long_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts: list[Cut] = []
    cutter = Cutter(Mark("a" * 40, 0, 0), "a" * 40, cuts.append, lambda: BEGAN)
    told = encode("PUBLISH", "__sentinel__:hello", "x" * 100)
    for _ in range(files.MOST_IDLE_BYTES // len(told) + 1):
        cutter.take(told)
    assert not cuts, "not so soon"
    monkeypatch.setattr(files, "IDLE_SECONDS", 0.0)
    cutter.take(told)
    (cut,) = cuts
    assert (cut.mark.end, cutter.idle) == (cutter.received, True)


def test_what_is_told_to_subscribers_is_no_change_but_where_it_is_large() -> None:
    small, large = encode("PUBLISH", "c", "x" * 1000), encode("PUBLISH", "c", "x" * 9000)
    walker = Walker()
    assert not list(walker.walk(small[:-1]))
    assert [step.idle for step in walker.walk(small)] == [True]
    assert not list(walker.walk(large[:5000]))
    assert [(step.idle, step.whole) for step in walker.walk(large[walker.used :])] == [(False, True)]


def test_a_piece_that_is_no_stream_in_its_middle_adds_nothing_to_what_is_kept() -> None:
    cuts: list[Cut] = []
    cutter = Cutter(Mark("a" * 40, 0, 1000), "a" * 40, cuts.append, lambda: BEGAN)
    good = encode("SET", "a", 1)
    cutter.take(good)
    with pytest.raises(WorldFault):
        cutter.take(encode("SET", "b", 1) + b"+OK\r\n" + b"x" * 100)
    cutter.cut()
    (cut,) = cuts
    assert cut.mark.end == 1000 + len(good)
    assert cut.data.endswith(good)


def test_a_file_that_is_missing_or_another_is_no_replay(tmp_path: Path) -> None:
    stream = b"".join(commands(20))
    log = Shipped(tmp_path, stream, [100] * 30)
    log.cuts[2] = log.cuts[3]
    with pytest.raises(SafetyStop) as caught:
        replayed(tmp_path, log, 1000, **latest(log))
    assert caught.value.reason == "LogGap"


def test_a_backup_within_a_command_or_before_the_log_is_of_another_history(tmp_path: Path) -> None:
    log = Shipped(tmp_path, b"".join(commands(20)), [100] * 30)
    for offset in (990, 1001):
        with pytest.raises(SafetyStop) as caught:
            replayed(tmp_path, log, offset, **latest(log))
        assert caught.value.reason == "LogConflict", offset


def test_what_is_no_command_is_refused() -> None:
    for data in (b"SET a b\r\n", b"*1\r\n:1\r\n", b"*x\r\n$4\r\nPING\r\n"):
        with pytest.raises(WorldFault):
            list(Walker().walk(data))


def test_who_a_replica_follows_is_read_of_it() -> None:
    assert facts().above is None
    above = facts(role="slave", master_host="m.example", master_port=6380).above
    assert (above and above.host, above and above.port) == ("m.example", 6380)


def facts(**more: Any) -> ServerFacts:
    said = {
        "role": "master", "redis_version": "7.0.15", "master_replid": "b" * 40, "master_repl_offset": 500,
        "master_replid2": "a" * 40, "second_repl_offset": 301, "repl_backlog_active": 1,
        "repl_backlog_first_byte_offset": 100, **more,
    }  # fmt: skip
    text = "".join(f"{name}:{value}\r\n" for name, value in said.items())
    return parse_info(text.encode(), Endpoint("h", 1, "h"))


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (Mark("b" * 40, 0, 400), None),
        (Mark("a" * 40, 0, 300), None),  # the history before the failover, up to it
        (Mark("a" * 40, 0, 301), "HistoryChanged"),  # what the new master never had
        (Mark("c" * 40, 0, 400), "HistoryChanged"),
        (Mark("b" * 40, 0, 99), None),
        (Mark("b" * 40, 0, 98), "BacklogOverrun"),
        (None, "HistoryChanged"),
    ],
)
def test_where_to_go_on_is_judged_by_history_and_backlog(mark: Mark | None, reason: str | None) -> None:
    found = decide_resume(lsn_of(8), mark, facts())
    assert found.gap_reason == reason
    assert found.number == (8 if reason is None else 9)
    assert found.mark == (mark if reason is None else Mark("b" * 40, 500, 500))


def test_a_replica_that_is_behind_what_is_archived_is_waited_for() -> None:
    with pytest.raises(WorldFault) as caught:
        decide_resume(lsn_of(8), Mark("b" * 40, 0, 501), facts())
    assert caught.value.reason == "ReplicaStale"


def test_a_backup_stands_on_the_newest_file_that_begins_before_it() -> None:
    def piece(number: int, begin: int, end: int, *, replid: str = "b", headed: bool = True) -> LogPiece:
        return LogPiece(lsn_of(number), lsn_of(number + 1), str(Mark(replid * 40, begin, end, headed)))

    newest_first = [
        piece(5, 480, 520),
        piece(4, 450, 480, headed=False),
        piece(3, 400, 450),
        piece(2, 200, 300, replid="a"),
    ]
    seen = facts()
    assert piece_of(newest_first, seen, "b" * 40, 600) == (lsn_of(5), lsn_of(6))
    assert piece_of(newest_first, seen, "b" * 40, 500) == (lsn_of(5), lsn_of(5))
    assert piece_of(newest_first, seen, "b" * 40, 470) == (lsn_of(3), lsn_of(4))
    assert piece_of(newest_first[3:], seen, "b" * 40, 500) == (lsn_of(2), lsn_of(3))
    assert piece_of(newest_first, seen, "c" * 40, 600) is None
    assert piece_of([], seen, "b" * 40, 600) is None
