"""The RDB format: opcodes, types, lengths and strings, as servers up to Redis 7.2 and Valkey 9.0 write them.

Source: the servers' `rdb.h` and `rdb.c`. Versions: 9 (Redis 5 and 6), 10 (7.0), 11 (7.2, Valkey 7.2 to 8.1), 80 (Valkey
9.0, with a magic word of its own); 12 to 79 belong to later versions of Redis, whose types are others.
"""

from __future__ import annotations

from typing import Final

MAGICS: Final = {b"REDIS": range(1, 12), b"VALKEY": range(80, 81)}

SLOT_INFO: Final = 244
FUNCTION: Final = 245
MODULE_AUX: Final = 247
IDLE: Final = 248
FREQUENCY: Final = 249
AUX: Final = 250
RESIZE: Final = 251
EXPIRES_MS: Final = 252
EXPIRES: Final = 253
SELECT: Final = 254
EOF: Final = 255

# How long ago, or how often, the next key was used.
USED: Final = frozenset({IDLE, FREQUENCY})
MODULE_TYPES: Final = frozenset({6, 7})
ONE_STRING: Final = frozenset({0, 9, 10, 11, 12, 13, 16, 17, 20})
# By type: how many strings, and how many raw bytes behind them, each of its elements has.
ELEMENTS: Final = {1: (1, 0), 2: (1, 0), 4: (2, 0), 5: (1, 8), 14: (1, 0), 22: (2, 8)}
OLD_SORTED_SET: Final = 3
NODES: Final = 18
STREAMS: Final = frozenset({15, 19, 21})

_LZF: Final = 3
_INT_BYTES: Final = (1, 2, 4)


class Damaged(Exception):
    """Bytes that cannot be RDB."""


def length_at(buffer: bytes, at: int) -> tuple[int, int]:
    """A length and where it ends. Damaged where a string's encoding stands in its place."""
    first = buffer[at]
    kind = first >> 6
    if kind == 0:
        return first, at + 1
    if kind == 1:
        return (first & 63) << 8 | buffer[at + 1], at + 2
    if first == 0x80:
        return int.from_bytes(buffer[at + 1 : at + 5], "big"), at + 5
    if first == 0x81:
        return int.from_bytes(buffer[at + 1 : at + 9], "big"), at + 9
    msg = f"0x{first:02x} is no length"
    raise Damaged(msg)


def after_string(buffer: bytes, at: int) -> int:
    """Where the string that begins at `at` ends: perhaps behind the buffer, which holds its header."""
    first = buffer[at]
    if first < 64:
        return at + 1 + first
    if first < 128:
        return at + 2 + ((first & 63) << 8 | buffer[at + 1])
    if first < 192:
        size, at = length_at(buffer, at)
        return at + size
    kind = first & 63
    if kind < _LZF:
        return at + 1 + _INT_BYTES[kind]
    if kind > _LZF:
        msg = f"0x{first:02x} begins no string"
        raise Damaged(msg)
    packed, at = length_at(buffer, at + 1)
    _, at = length_at(buffer, at)
    return at + packed


def string_of(raw: bytes) -> bytes:
    """The value of a whole string as it is stored: plain, as a number, or packed."""
    first = raw[0]
    if first < 192:
        size, at = length_at(raw, 0)
        return raw[at : at + size]
    kind = first & 63
    if kind < _LZF:
        return b"%d" % int.from_bytes(raw[1 : 1 + _INT_BYTES[kind]], "little", signed=True)
    packed, at = length_at(raw, 1)
    size, at = length_at(raw, at)
    return unpack_lzf(raw[at : at + packed], size)


def unpack_lzf(packed: bytes, size: int) -> bytes:
    """Undo LZF: literal runs, and references to what came before (at most 8 KiB back). Damaged."""
    out = bytearray()
    at, end = 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            at += 1
            if control < 32:
                out += packed[at : at + control + 1]
                at += control + 1
                continue
            run = control >> 5
            if run == 7:
                run += packed[at]
                at += 1
            back = len(out) - ((control & 31) << 8 | packed[at]) - 1
            at += 1
            _copy_back(out, back, run + 2)
    except IndexError as error:
        msg = "a packed string is cut"
        raise Damaged(msg) from error
    if len(out) != size:
        msg = f"a packed string has {len(out)} bytes, not {size}"
        raise Damaged(msg)
    return bytes(out)


def _copy_back(out: bytearray, back: int, run: int) -> None:
    if back < 0:
        msg = "a packed string refers to what lies before it"
        raise Damaged(msg)
    if back + run <= len(out):
        out += out[back : back + run]
        return
    for place in range(back, back + run):  # what is copied is made while it is copied
        out.append(out[place])
