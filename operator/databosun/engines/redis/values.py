"""The value of a key as JSON, read in pieces that keep nobody waiting."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.engines.redis.resp import Reply, Wire

AT_ONCE = 500
# A list is handed over by places, which move when others take from it. One of so many bytes is asked for whole: with
# the smallest elements that takes a server some 50 ms, one of 128 MiB would stop it for seconds.
LIST_AT_ONCE_BYTES = 1024 * 1024
TRIES = 3


def plain(value: Reply) -> object:
    """A text where it is one, else its bytes as `{"base64": …}`."""
    if not isinstance(value, bytes):
        return value if isinstance(value, int) else None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def read_value(wire: Wire, name: bytes, kind: str, size: int | None) -> dict[str, Any] | None:
    """`type` and `value`; of a type of a module what DUMP says of it. None where the key is gone. `size`: its bytes, as
    the server says. UserFault where a large list never stood still."""
    if kind == "list" and (size is None or size > LIST_AT_ONCE_BYTES):
        found = [plain(one) for one in _large_list(wire, name)]
        return {"type": kind, "value": found} if found else None
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
    return [plain(one) for one in _listed(wire.call("LRANGE", name, 0, -1))] or None


def _large_list(wire: Wire, name: bytes) -> list[Reply]:
    """In pieces, and once more: where each place still holds what it held, nothing moved while the first pass went on.
    What was put behind its end meanwhile came later."""
    for _ in range(TRIES):
        found = _places(wire, name, 0, AT_ONCE)
        # A piece that is not full is the last: one who puts as fast as this reads would keep it here for ever.
        while found and len(found) % AT_ONCE == 0 and (part := _places(wire, name, len(found), len(found) + AT_ONCE)):
            found += part
        places = [(at, min(at + AT_ONCE, len(found))) for at in range(0, len(found), AT_ONCE)]
        if all(_places(wire, name, at, end) == found[at:end] for at, end in places):
            return found
    message = (
        f"a list of the person, of more than {LIST_AT_ONCE_BYTES} bytes, changed each of {TRIES} times that it was"
        " read, so that elements would be missing; ask again while nobody takes from it, or do it by hand"
    )
    raise UserFault(Reason.RULE_NOT_READABLE, message)


def _places(wire: Wire, name: bytes, at: int, end: int) -> list[Reply]:
    return _listed(wire.call("LRANGE", name, at, end - 1))


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
