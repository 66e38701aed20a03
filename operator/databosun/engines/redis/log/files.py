"""The stream cut into files: each holds what the server sent, with notes in between of where and when that was.

A file begins where nothing is open and says so in its first line, but where one command is larger than a file. All that
is in it is what an append-only file of Redis 7 and later may hold.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.engines.redis.log.commands import Walker
from databosun.engines.redis.log.place import Mark

FILE_BYTES = 8 * 1024 * 1024
# Pings change nothing, but count as bytes: unless they are kept now and then, a resume would need ever older ones.
MOST_IDLE_BYTES, IDLE_SECONDS, HURRIED_BYTES = 16 * 1024, 10.0, 1024 * 1024
HEAD, CAME, SECOND = b"#databosun ", b"#came:", b"#TS:"


def head_line(replid: str, offset: int) -> bytes:
    """The first line of a file: which history, and how many bytes of it lie before."""
    return HEAD + f"{replid} {offset}\r\n".encode()


def read_head(note: bytes) -> tuple[str, int]:
    """What `head_line` wrote. SafetyStop(LogConflict)."""
    words = note.removeprefix(HEAD).decode("ascii", "replace").split()
    if len(words) != 2 or not words[1].isdigit():
        raise SafetyStop(Reason.LOG_CONFLICT, f"a file of the log begins with {note[:80]!r}; somebody else wrote it")
    return words[0], int(words[1])


def read_came(note: bytes) -> datetime | None:
    """When what follows had come, by the server's clock; None of another note."""
    digits = note.removeprefix(CAME)
    return datetime.fromtimestamp(int(digits) / 1000, UTC) if note.startswith(CAME) and digits.isdigit() else None


@dataclass(frozen=True, slots=True)
class Cut:
    """One file, ready."""

    data: bytes
    mark: Mark


class _Edge(NamedTuple):
    """Where a file may end: so many bytes of what waits, up to an offset of the history."""

    size: int
    offset: int


class Cutter:
    """Gathers a stream that goes on behind `mark`; `keep` is given each file. `clock`: the server's, in seconds."""

    def __init__(self, mark: Mark, replid: str, keep: Callable[[Cut], None], clock: Callable[[], float]) -> None:
        self._walker = mark.walker()
        self._replid = replid
        self._keep = keep
        self._clock = clock
        self._rest = b""
        self._body = bytearray()
        self._begin = self._end = mark.end
        self._headed = self._walker.whole
        self._safe = self._whole = _Edge(0, mark.end)
        self._came = self._second = -1
        self._since: float | None = None
        self._filed = time.monotonic()
        self._changes = False

    @property
    def received(self) -> int:
        """The offset up to which all was received and understood."""
        return self._end + len(self._rest)

    @property
    def filed(self) -> int:
        """The offset up to which all is in files."""
        return self._begin

    @property
    def waiting(self) -> float:
        """Seconds since the oldest change that is in no file yet; 0 where there is none."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    @property
    def idle(self) -> bool:
        """Whether nothing but pings waits."""
        return not self._changes and self._walker.whole and not self._rest

    def take(self, piece: bytes) -> None:
        """What came next."""
        data = self._rest + piece
        walker = self._walker
        if walker.whole:
            self._note()
        base, before = self._end, len(self._body)
        # Nothing counts before all of the piece is understood: a fault in its middle leaves what was there before.
        safe, whole, changes = self._safe, self._whole, self._changes
        for step in walker.walk(data):
            if step.whole:
                whole = _Edge(before + step.end, base + step.end)
                safe = safe if step.idle else whole
            changes = changes or not step.idle
        self._safe, self._whole, self._changes = safe, whole, changes or not walker.whole
        self._body += data[: walker.used]
        self._end, self._rest = base + walker.used, data[walker.used :]
        if self._changes and self._since is None:
            self._since = time.monotonic()
        if len(self._body) >= FILE_BYTES:
            self.cut(anywhere=True)
        elif not self._changes and len(self._body) >= self._most_idle() and (pings := self.pings()):
            self._file(pings, self._whole, Walker())

    def cut(self, *, anywhere: bool = False) -> None:
        """End a file behind the last change that is whole; `anywhere`: in the middle of one, where it is so large.

        The pings behind it wait for the next change: a replica may have got more of them than the one that is promoted.
        """
        if self._safe.size:
            edge, walker = self._safe, Walker()
        elif anywhere:
            edge, walker = _Edge(len(self._body), self._end), self._walker
        else:
            return
        self._file(self._cut(edge, walker), edge, walker)

    def pings(self) -> Cut | None:
        """A file of what waits, where that is nothing but pings."""
        return self._cut(self._whole, Walker()) if self.idle and self._whole.size else None

    def _most_idle(self) -> int:
        return MOST_IDLE_BYTES if time.monotonic() - self._filed >= IDLE_SECONDS else HURRIED_BYTES

    def _cut(self, edge: _Edge, walker: Walker) -> Cut:
        first = head_line(self._replid, self._begin) if self._headed else b""
        mark = Mark(self._replid, self._begin, edge.offset, self._headed, walker.args, walker.skip, walker.multi)
        return Cut(first + bytes(self._body[: edge.size]), mark)

    def _file(self, cut: Cut, edge: _Edge, walker: Walker) -> None:
        self._keep(cut)
        self._filed = time.monotonic()
        del self._body[: edge.size]
        self._begin, self._headed = edge.offset, walker.whole
        self._whole = _Edge(max(0, self._whole.size - edge.size), max(self._whole.offset, edge.offset))
        self._safe = _Edge(0, edge.offset)
        self._changes = not self._walker.whole
        self._since = time.monotonic() if self._changes else None
        if self._body and self._headed and self._came >= 0:  # each file says by itself when what is in it had come
            note = CAME + b"%d\r\n" % self._came
            self._body[:0] = note
            self._whole = _Edge(self._whole.size + len(note) if self._whole.size else 0, self._whole.offset)
        self._came = self._second = -1

    def begin(self) -> None:
        """A file that holds nothing but where the log begins."""
        self._keep(Cut(head_line(self._replid, self._begin), Mark(self._replid, self._begin, self._begin)))

    def _note(self) -> None:
        """When what comes next has come, to a millisecond, and in the server's own way to the second."""
        now = self._clock()
        came, second = math.ceil(now * 1000), int(now)
        if came > self._came:
            self._came = came
            self._body += CAME + b"%d\r\n" % came
        if second > self._second:
            self._second = second
            self._body += SECOND + b"%d\r\n" % second
