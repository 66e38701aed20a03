"""Walks a stream of commands as a replica is sent it: where each ends, and where nothing is open any more.

A command is an array of strings. Between `MULTI` and `EXEC` all is one. A line that begins with `#` is a note of the
log's own, such as a server of Redis 7 and later writes into its append-only file and passes over when it reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault

# What a master sends to keep its replicas awake, or to ask how far they are, and what is told to subscribers, as each
# Sentinel does every two seconds: no data.
IDLE = frozenset({b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH"})
# Such a command is waited for until it is whole, but for one so large, which is taken for any other.
_LARGE = 4096
_LONGEST_NAME = 64
_NOTE = ord("#")


@dataclass(frozen=True, slots=True)
class Step:
    """A command or a note, from `begin` to `end` of the piece that was fed; `begin` is 0 where it began before.

    `whole`: nothing is open behind it. `name`: in capitals; of a note, its text.
    """

    begin: int
    end: int
    name: bytes
    whole: bool
    note: bool = False

    @property
    def idle(self) -> bool:
        """Whether it changes nothing."""
        return not self.note and self.name in IDLE


@dataclass
class Walker:
    """Fed with pieces of any size. `args` and `skip`: strings, and bytes of one, that are left of a command.

    `used`: how much of the last piece was understood; give the rest again in front of the next one.
    """

    args: int = 0
    skip: int = 0
    multi: bool = False
    used: int = 0
    _name: bytes = b""

    @property
    def whole(self) -> bool:
        """Whether nothing is open."""
        return not (self.args or self.multi)

    def walk(self, data: bytes) -> Iterator[Step]:
        """What ends in a piece. WorldFault(ProtocolError) where it is no stream of commands."""
        self.used, begin = 0, 0
        while True:
            if not self.args:
                begin = self.used
                if data[begin : begin + 1] == b"#":
                    end = data.find(b"\r\n", begin) + 2
                    if end < 2:
                        return
                    self.used = end
                    yield Step(begin, end, data[begin : end - 2], not self.multi, note=True)
                    continue
                if not self._open(data):
                    return
            if self.args and not self._pass(data):
                return
            if self._name == b"EXEC":
                self.multi = False
            yield Step(begin, self.used, self._name, not self.multi)

    def _open(self, data: bytes) -> bool:
        """Take a command's beginning, up to and with its name; False where that is not all there."""
        at = self.used
        if at >= len(data):
            return False
        head = data.find(b"\r\n", at)
        second = data.find(b"\r\n", head + 2) if head >= 0 else -1
        if second < 0:
            if len(data) - at > _LONGEST_NAME or data[at : at + 1] != b"*":
                raise _strange(data[at:])
            return False
        count, size = _number(data, at, head, b"*"), _number(data, head + 2, second, b"$")
        end = second + 2 + size + 2
        if size > _LONGEST_NAME:
            raise _strange(data[at:])
        if end > len(data):
            return False
        name = data[second + 2 : end - 2].upper()
        if name in IDLE and not _all_there(data, end, count - 1):
            if len(data) - at < _LARGE:
                return False
            name = b""
        self._name, self.args, self.used = name, count - 1, end
        self.multi = self.multi or name == b"MULTI"
        return True

    def _pass(self, data: bytes) -> bool:
        """Pass over what follows a command's name; False where it does not end in this piece."""
        at, args, skip, size = self.used, self.args, self.skip, len(data)
        while args:
            if not skip:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                skip, at = _number(data, at, end, b"$") + 2, end + 2
            step = min(skip, size - at)
            at, skip = at + step, skip - step
            if skip:
                break
            args -= 1
        self.used, self.args, self.skip = at, args, skip
        return not args


def _all_there(data: bytes, at: int, args: int) -> bool:
    for _ in range(args):
        end = data.find(b"\r\n", at)
        if end < 0:
            return False
        at = end + 4 + _number(data, at, end, b"$")
    return at <= len(data)


def _number(data: bytes, begin: int, end: int, sign: bytes) -> int:
    digits = data[begin + 1 : end]
    if data[begin : begin + 1] != sign or not digits.isdigit():
        raise _strange(data[begin:])
    return int(digits)


def _strange(data: bytes) -> WorldFault:
    return WorldFault(Reason.PROTOCOL_ERROR, f"{bytes(data[:40])!r} stands in the stream where a command is expected")
