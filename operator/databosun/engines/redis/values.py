"""The value of a key as JSON, read in pieces that keep nobody waiting."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from databosun.engines.redis.resp import Reply, Wire

AT_ONCE = 500


def plain(value: Reply) -> object:
    """A text where it is one, else its bytes as `{"base64": …}`."""
    if not isinstance(value, bytes):
        return value if isinstance(value, int) else None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def read_value(wire: Wire, name: bytes, kind: str) -> dict[str, Any] | None:
    """`type` and `value`; of a type of a module what DUMP says of it. None where the key is gone."""
    read = _READERS.get(kind)
    if read is None:
        dumped = wire.call("DUMP", name)
        if not isinstance(dumped, bytes):
            return None
        return {"type": kind, "dump": base64.b64encode(dumped).decode()}
    value = read(wire, name)
    return None if value is None else {"type": kind, "value": value}


def _string(wire: Wire, name: bytes) -> object:
    return plain(wire.call("GET", name))


def _list(wire: Wire, name: bytes) -> object:
    found: list[object] = []
    while part := _listed(wire.call("LRANGE", name, len(found), len(found) + AT_ONCE - 1)):
        found += map(plain, part)
    return found or None


def _set(wire: Wire, name: bytes) -> object:
    return [plain(one) for one in dict.fromkeys(_scanned(wire, "SSCAN", name))] or None


def _pairs(command: str) -> Callable[[Wire, bytes], object]:
    def read(wire: Wire, name: bytes) -> object:
        flat = iter(_scanned(wire, command, name))
        # What comes twice in a pass was written meanwhile: the later one counts.
        found = dict(zip(flat, flat, strict=True))
        return [[plain(one), plain(value)] for one, value in found.items()] or None

    return read


def _stream(wire: Wire, name: bytes) -> object:
    found: list[object] = []
    begin = b"-"
    while part := _listed(wire.call("XRANGE", name, begin, "+", "COUNT", AT_ONCE)):
        for entry in part:
            identity, fields = _listed(entry)
            flat = iter(_listed(fields))
            found.append([plain(identity), [[plain(one), plain(value)] for one, value in zip(flat, flat, strict=True)]])
        last = _listed(part[-1])[0]
        if not isinstance(last, bytes):
            break
        milliseconds, _, number = last.partition(b"-")
        begin = b"%b-%d" % (milliseconds, int(number) + 1)
    return found


def _scanned(wire: Wire, command: str, name: bytes) -> Iterator[bytes]:
    cursor: Reply = None
    while cursor != b"0":
        cursor, part = _listed(wire.call(command, name, cursor or b"0", "COUNT", AT_ONCE))  # type: ignore[arg-type]
        yield from (one for one in _listed(part) if isinstance(one, bytes))


def _listed(reply: Reply) -> list[Reply]:
    if not isinstance(reply, list):
        msg = f"expected a list, got {type(reply).__name__}"
        raise TypeError(msg)
    return reply


_READERS: dict[str, Callable[[Wire, bytes], object]] = {
    "string": _string,
    "list": _list,
    "set": _set,
    "hash": _pairs("HSCAN"),
    "zset": _pairs("ZSCAN"),
    "stream": _stream,
}
