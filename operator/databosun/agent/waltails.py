"""How far the store is, timeline by timeline: read once, then kept by what is shipped."""

from __future__ import annotations

from collections.abc import Callable

from databosun.agent.walencode import Encoded, Known
from databosun.agent.walstore import PARTS_KEPT, Tail
from databosun.domain.wal import History, WalPoint


class Tails:
    """The ends of the timelines in the store. `read` asks the store; the owner's lock guards what changes.

    `garbage`: open parts that something longer has replaced.
    """

    def __init__(self, read: Callable[[int], Tail]) -> None:
        self._read = read
        self._known: dict[int, Tail] = {}
        self.garbage: list[str] = []

    def of(self, timeline: int) -> Tail:
        """The end of one timeline; asks the store the first time."""
        if timeline not in self._known:
            found = self._read(timeline)
            self._known[timeline] = found
            self.garbage += found.replaced
        return self._known[timeline]

    def end_along(self, history: History) -> WalPoint | None:
        """Where the newest WAL along a history ends."""
        for branch in reversed(history.branches):
            end = self.of(branch.timeline).end
            if end and end.lsn > branch.begin:
                return WalPoint(branch.timeline, end.lsn if branch.end is None else min(end.lsn, branch.end))
        return None

    def beyond(self, history: History) -> int:
        """Bytes that the store has of ancestors beyond the points where the history left them."""
        surplus = 0
        for branch in history.branches:
            end = self.of(branch.timeline).end
            if end and branch.end is not None:
                surplus += max(0, end.lsn - branch.end)
        return surplus

    def known(self, timeline: int, number: int) -> Known | None:
        """What the store has of an open segment."""
        return self.of(timeline).known.get(number)

    def has(self, point: WalPoint) -> bool:
        """Whether the store has a timeline up to a point."""
        tail = self._known.get(point.timeline)
        return tail is not None and tail.end is not None and tail.end >= point

    def stored(self, encoded: Encoded, key: str) -> None:
        """One more object is there."""
        tail = self.of(encoded.timeline)
        parts = tail.parts.setdefault(encoded.number, [])
        if encoded.full:
            tail.known.pop(encoded.number, None)
            self.garbage += tail.parts.pop(encoded.number)
        else:
            tail.known = {encoded.number: Known(encoded.end.lsn, encoded.sha256)}
            if key not in parts:
                parts.append(key)
            parts.sort()
            self.garbage += parts[:-PARTS_KEPT]
            del parts[:-PARTS_KEPT]
        tail.mark = encoded.mark
        tail.end = encoded.end if tail.end is None else max(tail.end, encoded.end)
