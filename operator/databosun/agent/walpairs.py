"""From what the source's clock said at which position, and what the store has, to the newest recoverable instant."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from databosun.agent.walstore import WalBucket
from databosun.api.archive import TimePair
from databosun.domain.wal import WalPoint, format_lsn

MOST_SAMPLES = 4096
PAIR_SECONDS = 30.0
QUICKEST_SECONDS = 5.0


class Recoverable:
    """Samples that wait for the store, and the pairs that came of them. Its owner's lock guards every call."""

    def __init__(self) -> None:
        self._samples: deque[tuple[datetime, WalPoint]] = deque()
        self._books: dict[tuple[int, str], PairBook] = {}
        self._loaded: set[tuple[int, str]] = set()
        self._written_at = float("-inf")
        self._newest: datetime | None = None
        self._timeline = 0

    def on(self, timeline: int) -> None:
        """Another stream begins: what was sampled on other timelines may never have happened on this one."""
        self._samples = deque(one for one in self._samples if one[1].timeline == timeline)
        if timeline != self._timeline:
            self._timeline, self._newest = timeline, None

    def sampled(self, at: datetime, point: WalPoint) -> None:
        """Take a sample; where the store stays away for long, every other one is let go."""
        self._samples.append((at, point))
        if len(self._samples) > MOST_SAMPLES:
            self._samples = deque(list(self._samples)[::2])

    def instant_of(self, end: WalPoint) -> datetime | None:
        """The newest instant whose commits all lie at or below a position."""
        fitting = [at for at, point in self._samples.copy() if point.timeline == end.timeline and point.lsn <= end.lsn]
        return max(fitting, default=self._newest)

    def reached(self, durable: WalPoint) -> datetime | None:
        """The store has everything up to there: the newest instant that this makes recoverable."""
        while self._samples and self._samples[0][1] <= durable:
            at, point = self._samples.popleft()
            pair = TimePair(at=at, timeline=point.timeline, lsn=format_lsn(point.lsn))
            self._books.setdefault((point.timeline, f"{at:%Y%m%dT%H}"), PairBook()).add(pair)
            self._newest = at
        return self._newest

    def due(self, now: float, interval: float, *, last: bool) -> bool:
        """Whether pairs are to be written."""
        waited = now - self._written_at >= max(interval, QUICKEST_SECONDS)
        return any(book.dirty for book in self._books.values()) and (waited or last)

    def write(self, bucket: WalBucket, lock: threading.Condition) -> None:
        """Write what is new; an hour that is over is forgotten afterwards."""
        with lock:
            found = list(self._books.items())
        for number, ((timeline, hour), book) in enumerate(found, start=1):
            before = () if (timeline, hour) in self._loaded else bucket.pairs(timeline, hour)
            with lock:
                book.load(before)
                self._loaded.add((timeline, hour))
                pairs, dirty = book.pairs, book.dirty
                book.dirty = False
            if dirty:
                try:
                    bucket.put_pairs(timeline, hour, pairs)
                except BaseException:  # also an interrupt: the pairs are to be written again
                    with lock:
                        book.dirty = True
                    raise
            with lock:
                if number < len(found) and not book.dirty:
                    del self._books[timeline, hour]
        with lock:
            self._written_at = time.monotonic()


class PairBook:
    """The pairs of the current hour, thinned: both ends of each idle stretch, else one every half minute."""

    def __init__(self) -> None:
        self._pairs: list[TimePair] = []
        self.dirty = False

    def load(self, before: Sequence[TimePair]) -> None:
        """Put what is in the store already in front."""
        first = self._pairs[0].at if self._pairs else None
        self._pairs = [pair for pair in before if first is None or pair.at < first] + self._pairs

    def add(self, pair: TimePair) -> None:
        """Take the newest pair."""
        self.dirty = True
        if len(self._pairs) >= 2 and self._replaceable(pair):
            self._pairs[-1] = pair
        else:
            self._pairs.append(pair)

    @property
    def pairs(self) -> tuple[TimePair, ...]:
        """Oldest first."""
        return tuple(self._pairs)

    def _replaceable(self, pair: TimePair) -> bool:
        """Whether the last pair lies within an idle stretch, or close to its neighbours."""
        before, last = self._pairs[-2:]
        return before.lsn == last.lsn == pair.lsn or (pair.at - before.at).total_seconds() < PAIR_SECONDS
