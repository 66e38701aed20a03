"""A full synchronisation: what a replica is given when it is new. The RDB alone is asked for, and never acknowledged.

`REPLCONF rdb-only` (Redis 6.2 and later) tells the server that no commands are to follow: it then keeps none for us,
does not count us as a replica that is in step, and hangs up by itself. `capa eof` lets it send from memory, without
writing a file on its own disk first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from databosun.domain.errors import WorldFault
from databosun.engines.redis.faults import reply_fault
from databosun.engines.redis.reasons import Reason
from databosun.engines.redis.resp import ReplyError, Wire
from databosun.engines.redis.server import ServerFacts

# What we say we are, to a server that would else write an older format, which cannot hold all that it has.
_VALKEY_LIKE = "9.0.0"
_MARK_BYTES = 40
_SPARE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Synced:
    """The point that the RDB shows: everything up to `offset` of the history `replid`. It lies between `asked` and
    `told`, instants of the monotonic clock: the server names it when it begins."""

    replid: str
    offset: int
    bytes: int
    asked: float = field(default=0.0, compare=False)
    told: float = field(default=0.0, compare=False)


def full_sync(
    wire: Wire, facts: ServerFacts, user: str, deadline: datetime, write: Callable[[memoryview], object]
) -> Synced:
    """Have the whole RDB written. WorldFault where it does not come whole, UserFault for a missing grant."""
    doing = f"copying from {facts.endpoint}"
    until = time.monotonic() + (deadline - datetime.now(UTC)).total_seconds() + _SPARE_SECONDS
    try:
        wire.call("REPLCONF", "capa", "eof", "capa", "psync2")
        with suppress(ReplyError):  # before 6.2
            wire.call("REPLCONF", "rdb-only", "1")
        if facts.product == "Valkey" and int(facts.version.split(".")[0]) >= int(_VALKEY_LIKE[0]):
            wire.call("REPLCONF", "version", _VALKEY_LIKE)
        asked = time.monotonic()
        said = wire.call("PSYNC", "?", "-1", seconds=until - time.monotonic())
        told = time.monotonic()
    except ReplyError as error:
        raise reply_fault(error, doing, user) from error
    words = said.split() if isinstance(said, bytes) else []
    if len(words) != 3 or words[0] != b"FULLRESYNC":
        raise WorldFault(Reason.PROTOCOL_ERROR, f"{doing}: it answered PSYNC with {said!r}; expected FULLRESYNC")
    header = b""
    while not header:
        header = wire.line(until)
    if header.startswith(b"$EOF:") and len(header) == 5 + _MARK_BYTES:
        count = _until_mark(wire, header[5:], until, write)
    elif header.startswith(b"$") and header[1:].isdigit():
        count = _sized(wire, int(header[1:]), until, write)
    else:
        raise WorldFault(Reason.PROTOCOL_ERROR, f"{doing}: it began the RDB with {header!r}; expected $ and a length")
    return Synced(words[1].decode(), int(words[2]), count, asked, told)


def _sized(wire: Wire, size: int, until: float, write: Callable[[memoryview], object]) -> int:
    done = 0
    while done < size:
        piece = wire.some(until)[: size - done]
        if not piece:
            raise _cut(wire, done)
        write(piece)
        done += len(piece)
    return done


def _until_mark(wire: Wire, mark: bytes, until: float, write: Callable[[memoryview], object]) -> int:
    """The last forty bytes are the mark once they equal it: till then they are data."""
    held, done = b"", 0
    while held != mark:
        piece = wire.some(until)
        if not piece:
            raise _cut(wire, done)
        if len(piece) >= _MARK_BYTES:
            ready, rest = (held, piece[:-_MARK_BYTES]), bytes(piece[-_MARK_BYTES:])
        else:
            joined = held + bytes(piece)
            cut = max(0, len(joined) - _MARK_BYTES)
            ready, rest = (joined[:cut], memoryview(b"")), joined[cut:]
        for part in ready:
            if part:
                write(memoryview(part))
                done += len(part)
        held = rest
    return done


def _cut(wire: Wire, done: int) -> WorldFault:
    message = (
        f"{wire.where} ended the copy after {done} bytes; its log says why (a save that failed, a full disk, "
        "repl-timeout, or CLIENT KILL); the next attempt starts anew"
    )
    return WorldFault(Reason.CONNECTION_LOST, message)
