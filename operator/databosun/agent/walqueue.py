"""What the server has sent and the store has not: full segments in order, and the open one behind them."""

from __future__ import annotations

from collections import deque

from databosun.agent.walencode import Encoded, OpenSegment
from databosun.agent.walretry import Drained
from databosun.agent.waltails import Tails
from databosun.domain.wal import WalPoint, next_file


class WalQueue:
    """Segments on their way to the store. Its owner's lock guards every call but `mark`."""

    def __init__(self, tails: Tails) -> None:
        self._tails = tails
        self._size = 0
        self._timeline = 0
        self._mark: object = None
        self.open: OpenSegment | None = None
        self.full: deque[Encoded] = deque()
        self.written: WalPoint | None = None

    def begin(self, at: WalPoint, segment_bytes: int, *, keep: int) -> None:
        """Start at the first byte of a segment, behind the first `keep` that wait; the others are sent again."""
        known = self._tails.known(at.timeline, at.lsn // segment_bytes)
        while len(self.full) > keep:
            self.full.pop()
        self.open = OpenSegment(at, segment_bytes, known, self._said())
        self._size, self._timeline = segment_bytes, at.timeline
        self.written = None

    def write(self, data: memoryview) -> None:
        """Take the next bytes. Drained before the first `begin`."""
        segment = self._opened()
        rest = data
        while len(rest):
            piece = rest[: segment.room]
            segment.write(piece)
            rest = rest[len(piece) :]
            if not segment.room:
                segment = self._follow(segment.encode(mark=self._said()))
        self.written = WalPoint(self._timeline, segment.end)

    def end_file(self, mark: object, *, next_at: int | None = None) -> None:
        """The server's file ends here; the next one begins."""
        segment = self._opened()
        self._mark = mark
        following = WalPoint(self._timeline, next_at or next_file(segment.begin))
        opened = self._follow(segment.encode(next_at=following, mark=self._said()))
        self.written = WalPoint(self._timeline, opened.end)

    def mark(self, mark: object) -> None:
        """A stream may be resumed at what was written so far."""
        self._mark = mark

    @property
    def waiting_bytes(self) -> int:
        """Encoded bytes that wait, the open segment's among them."""
        held = self.open.encoded_bytes if self.open else 0
        return held + sum(len(one.data) for one in self.full)

    def _opened(self) -> OpenSegment:
        if self.open is None:
            raise Drained
        return self.open

    def _follow(self, done: Encoded) -> OpenSegment:
        """One segment is full: open the next."""
        self.full.append(done)
        known = self._tails.known(self._timeline, done.end.lsn // self._size)
        self.open = OpenSegment(done.end, self._size, known, self._said())
        return self.open

    def _said(self) -> str | None:
        return None if self._mark is None else str(self._mark)
