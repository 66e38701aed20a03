"""The server's log on its way to a replay: segments are fetched ahead, several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from databosun.agent.walfetch import WalFetcher
from databosun.domain.wal import parse_history_name, segment_name
from databosun.storage.port import ObjectMissing
from databosun.storage.walnames import WalFolder
from databosun.storage.walog import MAX_SMALL_BYTES, StoredSegment, WalLog, read_log

FETCHES = 8
AHEAD_BYTES = 256 * 1024 * 1024
FEWEST_AHEAD, MOST_AHEAD = 4, 64


@dataclass
class WalSupply:
    """`LogSupply` of `engines/base.py`. `spool`: an empty folder on the data's own file system, so that a move is free.

    Only the segments of `segments` exist to the replay: what an archiver adds meanwhile does not move the goal.
    """

    fetcher: WalFetcher
    folder: WalFolder
    log: WalLog
    segments: Sequence[StoredSegment]
    spool: Path
    check: Callable[[], None]
    _order: dict[str, int] = field(default_factory=dict)
    _ahead: dict[int, Future[Path]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.log.segment_bytes
        self._order = {segment_name(one.timeline, one.number, size): at for at, one in enumerate(self.segments)}
        self._count = max(FEWEST_AHEAD, min(MOST_AHEAD, AHEAD_BYTES // size))

    def __enter__(self) -> Self:
        self.spool.mkdir(parents=True, mode=0o700)
        self._pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="wal")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The segments that the goal needs, in order."""
        return tuple(self._order)

    def take(self, name: str) -> Path | None:
        """A verified file with that segment or history, the caller's to move away; None where the log has none."""
        timeline = parse_history_name(name)
        if timeline is not None:
            return self._history(timeline, name)
        at = self._order.get(name)
        if at is None:
            return None
        for number in range(at, min(at + self._count, len(self.segments))):
            if number not in self._ahead:
                self._ahead[number] = self._pool.submit(self._fetch, self.segments[number])
        # Those behind are never asked for again, but after a second start, which asks from its own beginning.
        for number in [number for number in self._ahead if number < at - 1]:
            del self._ahead[number]
        return self._ahead.pop(at).result()

    def _fetch(self, segment: StoredSegment) -> Path:
        self.check()
        size = self.log.segment_bytes
        target = self.spool / segment_name(segment.timeline, segment.number, size)
        try:
            self._get(segment, target)
        except ObjectMissing:
            # An open part gave way to a longer one, or to the full segment.
            again = read_log(self.fetcher.store, self.folder, since=segment.start)
            newer = again.stored(segment.timeline, segment.number)
            if newer is None or newer.end < segment.end:
                raise
            self._get(newer, target)
        return target

    def _get(self, segment: StoredSegment, target: Path) -> None:
        padded = not self.log.description.files
        self.fetcher.fetch(segment, self.log.segment_bytes, target, padded=padded)

    def _history(self, timeline: int, name: str) -> Path | None:
        try:
            data = self.fetcher.store.get(self.folder.history(timeline), limit=MAX_SMALL_BYTES)
        except ObjectMissing:
            return None
        target = self.spool / name
        target.write_bytes(data)
        return target
