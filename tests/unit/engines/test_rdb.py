"""The check of an RDB stream: what is whole passes however it is cut into pieces, what is not never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.errors import UserFault, WorldFault
from databosun.engines.redis.rdb import RdbCheck
from databosun.engines.redis.rdbfacts import RdbFacts, name_hash
from databosun.engines.redis.rdbformat import Damaged, unpack_lzf


def crc64(data: bytes) -> int:
    """As the server's documentation gives it, bit by bit: an implementation of its own."""
    value = 0
    for byte in data:
        for bit in range(8):
            top = bool(value & 1 << 63)
            value = (value << 1) & ((1 << 64) - 1)
            if top ^ bool(byte & 1 << bit):
                value ^= 0xAD93D23594C935A9
    return int(f"{value:064b}"[::-1], 2)


def sealed(body: bytes) -> bytes:
    """A stream with its end and its checksum."""
    whole = body + b"\xff"
    return whole + crc64(whole).to_bytes(8, "little")


def text(value: bytes) -> bytes:
    """A plain string."""
    size = len(value)
    head = bytes([size]) if size < 64 else bytes([0x40 | size >> 8, size & 255])
    return head + value


LZF_30_A = b"\xc3\x05\x1e\x00a\xe0\x14\x00"
KEYS = b"".join(
    [
        b"\x00", text(b"plain"), text(b"v"),
        b"\x00\xc0\x05\xc1\xe8\x03",  # the name 5, the value 1000
        b"\x00", LZF_30_A, text(b"packed name"),
        b"\xfc", (99).to_bytes(8, "little"), b"\x00", text(b"expires"), text(b"x" * 500),
        b"\xf8\x09\x00", text(b"idle"), text(b"v"), b"\xf9\x01\x00", text(b"often"), text(b"v"),
        b"\x01", text(b"list"), b"\x03", text(b"a"), text(b"b"), b"\xc2\x01\x02\x03\x04",
        b"\x03", text(b"old zset"), b"\x02", text(b"a"), b"\x031.5", text(b"b"), b"\xfe",
        b"\x05", text(b"zset"), b"\x01", text(b"a"), bytes(8),
        b"\x04", text(b"hash"), b"\x01", text(b"f"), text(b"v"),
        b"\x12", text(b"quicklist"), b"\x02", b"\x02", text(b"node"), b"\x01", text(b"item"),
        b"\x15", text(b"stream"), b"\x01", text(b"i" * 16), text(b"pack"), b"\x01\x02\x03\x04\x05\x06\x07\x08",
        b"\x01", text(b"group"), b"\x01\x02\x03", b"\x01", bytes(24), b"\x01", b"\x01", text(b"consumer"), bytes(16),
        b"\x01", bytes(16),
    ]
)  # fmt: skip
WHOLE = sealed(
    b"REDIS0011\xfa" + text(b"redis-ver") + text(b"7.2.0") + b"\xf5" + text(b"#!lua") + b"\xfe\x00\xfb\x0d\x01" + KEYS
    + b"\xfe\x80\x00\x00\x00\x07\x00" + text(b"other") + text(b"1")
)  # fmt: skip


def read(data: bytes, *cuts: int, names: bool = True) -> RdbFacts:
    """Feed it in pieces."""
    check = RdbCheck("dump.rdb", names=names)
    at = 0
    for cut in [*sorted(cuts), len(data)]:
        check.feed(memoryview(data)[at:cut])
        at = cut
    assert check.close() == len(data)
    return check.facts


def test_what_a_stream_holds_is_counted() -> None:
    facts = read(WHOLE)
    names = [
        b"plain",
        b"5",
        b"a" * 30,
        b"idle",
        b"often",
        b"list",
        b"old zset",
        b"zset",
        b"hash",
        b"quicklist",
        b"stream",
    ]
    assert {number: (one.keys, one.expires) for number, one in facts.databases.items()} == {0: (12, 1), 7: (1, 0)}
    assert facts.databases[0].names == sum(map(name_hash, names)) % (1 << 64)
    assert (facts.version, facts.functions, facts.checksummed, facts.aux) == (11, 1, True, {"redis-ver": "7.2.0"})
    assert read(WHOLE, names=False).databases[0].names is None


@given(st.lists(st.integers(0, len(WHOLE)), max_size=60))
def test_pieces_of_any_size_say_the_same(cuts: list[int]) -> None:
    assert read(WHOLE, *cuts) == read(WHOLE)


def test_single_bytes_say_the_same() -> None:
    assert read(WHOLE, *range(len(WHOLE))) == read(WHOLE)


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_cut_stream_is_refused(size: int) -> None:
    with pytest.raises(WorldFault, match="FormatCheckFailed"):
        read(WHOLE[:size])


@given(st.integers(9, len(WHOLE) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_noticed(at: int, bit: int) -> None:
    spoiled = bytearray(WHOLE)
    spoiled[at] ^= 1 << bit
    with pytest.raises((WorldFault, UserFault)):
        read(bytes(spoiled))


def test_what_follows_the_end_is_refused() -> None:
    for more in (b"\x00", b"*1\r\n$4\r\nPING\r\n" * 20):
        with pytest.raises(WorldFault, match="FormatCheckFailed"):
            read(WHOLE + more)
        with pytest.raises(WorldFault, match="FormatCheckFailed"):
            read(WHOLE + more, len(WHOLE))


def test_a_stream_without_a_checksum_says_so() -> None:
    facts = read(WHOLE[:-8] + bytes(8))
    assert not facts.checksummed
    assert facts.databases == read(WHOLE).databases


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"REDIS0012" + WHOLE[9:], "RdbVersionUnsupported"),
        (b"VALKEY081" + WHOLE[9:], "RdbVersionUnsupported"),
        (sealed(b"REDIS0010\xfe\x00\x07" + text(b"key") + bytes(80)), "ModulesUnsupported"),
        (sealed(b"REDIS0010\xf7" + bytes(80)), "ModulesUnsupported"),
    ],
)
def test_what_no_server_here_reads_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UserFault) as caught:
        read(data)
    assert caught.value.reason == reason


def test_something_else_is_refused() -> None:
    with pytest.raises(WorldFault, match="FormatCheckFailed"):
        read(b"-NOPERM this user has no permissions" + bytes(100))


def test_valkeys_own_format_is_read() -> None:
    hashed = b"\x16" + text(b"hash") + b"\x01" + text(b"f") + text(b"v") + bytes(8)
    facts = read(sealed(b"VALKEY080\xf4\x01\x02\x03\xfe\x00" + hashed))
    assert (facts.magic, facts.version, facts.databases[0].keys) == ("VALKEY", 80, 1)


def test_packed_strings_repeat_what_they_just_made() -> None:
    assert unpack_lzf(b"\x00a\xe0\x14\x00", 30) == b"a" * 30
    assert unpack_lzf(b"\x02abc\x40\x02", 7) == b"abcabca"[:7]
    for packed, size in ((b"\x00a\xe0\x14", 30), (b"\x00a\xe0\x14\x00", 31), (b"\x00a\xe0\x14\x09", 30)):
        with pytest.raises(Damaged):
            unpack_lzf(packed, size)
