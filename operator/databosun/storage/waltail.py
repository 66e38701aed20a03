"""A log as the one who writes or expires it sees it: its newest objects, or every object, replaced ones included."""

from __future__ import annotations

from collections.abc import Iterator

from databosun.domain.wal import parse_lsn, segment_name
from databosun.storage.port import ObjectMissing, ObjectStore
from databosun.storage.walnames import WalFolder
from databosun.storage.walog import MARK, StoredSegment, read_description, segment_of
from databosun.storage.waltimes import hours_of, read_pairs

TAIL_SEGMENTS = 64
TAIL_FILES = 64


def timeline_tail(store: ObjectStore, folder: WalFolder, segment_bytes: int, timeline: int) -> Iterator[StoredSegment]:
    """The newest objects of a timeline, from a little before its newest pair; all of it where that finds nothing."""
    at = folder.timeline(timeline)
    hours = hours_of(store, folder, timeline)
    pairs = read_pairs(store, hours[-1]) if hours else ()
    found: list[StoredSegment] = []
    if pairs:
        first = max(0, parse_lsn(pairs[-1].lsn) // segment_bytes - TAIL_SEGMENTS)
        found = _segments(store, at, segment_bytes, after=f"{at}/{segment_name(timeline, first, segment_bytes)}")
    yield from found or _segments(store, at, segment_bytes)


def newest_files(store: ObjectStore, folder: WalFolder, timeline: int) -> Iterator[tuple[StoredSegment, str | None]]:
    """The newest files of a log of files with what the archiver marked them with, the newest first; few are asked for.

    Nothing where there is no log.
    """
    try:
        size = read_description(store, folder).segment_bytes
    except ObjectMissing:
        return
    hours = hours_of(store, folder, timeline)
    pairs = read_pairs(store, hours[-1]) if hours else ()
    number = parse_lsn(pairs[-1].lsn) >> 32 if pairs else 0
    first = segment_name(timeline, (max(0, number - TAIL_FILES) << 32) // size, size)
    at = folder.timeline(timeline)
    found = _segments(store, at, size, after=f"{at}/{first}")
    for one in sorted(found, key=lambda one: one.number, reverse=True):
        yield one, store.head(one.key).metadata.get(MARK)


def segments_of(store: ObjectStore, folder: WalFolder, segment_bytes: int, timeline: int) -> list[StoredSegment]:
    """Every object with WAL of a timeline, open parts that were replaced included."""
    return _segments(store, folder.timeline(timeline), segment_bytes)


def _segments(store: ObjectStore, at: str, size: int, *, after: str | None = None) -> list[StoredSegment]:
    return [found for one in store.list(at, after=after) if (found := segment_of(one, size)) is not None]
