"""Which instants a log in a bucket reaches: pairs of an instant and a position, an object of them for each hour."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from databosun.api.archive import TimePair
from databosun.domain.wal import format_lsn, parse_lsn
from databosun.storage.port import ObjectMissing, ObjectStore
from databosun.storage.walnames import WalFolder
from databosun.storage.walog import INSTANT, MAX_SMALL_BYTES, StoredSegment, WalLog, unreadable

_PAIRS = TypeAdapter(list[TimePair])


def read_pairs(store: ObjectStore, key: str) -> tuple[TimePair, ...]:
    """The pairs of one hour, oldest first."""
    try:
        return tuple(_PAIRS.validate_json(store.get(key, limit=MAX_SMALL_BYTES)))
    except ValidationError as error:
        raise unreadable(store, key) from error


def write_pairs(pairs: Sequence[TimePair]) -> bytes:
    """The pairs of one hour as stored."""
    return (json.dumps([pair.dump() for pair in pairs], separators=(",", ":")) + "\n").encode()


def newest_pair(store: ObjectStore, folder: WalFolder, log: WalLog, timeline: int) -> TimePair | None:
    """The newest instant whose commits are all in the bucket, on one timeline; None where nothing says so.

    A pair counts only where the listing holds WAL up to its position, so a log that lost its end claims nothing.
    """
    end = log.end_of(timeline)
    return newest_pair_up_to(store, folder, log.segments[timeline][max(log.segments[timeline])]) if end else None


def newest_pair_up_to(store: ObjectStore, folder: WalFolder, last: StoredSegment) -> TimePair | None:
    """The same, where the newest object of the timeline is known."""
    best: TimePair | None = None
    for key in reversed(hours_of(store, folder, last.timeline)):
        pairs = [pair for pair in read_pairs(store, key) if parse_lsn(pair.lsn) <= last.end]
        if pairs:
            best = pairs[-1]
            break
    return max((one for one in (best, _said_by(store, last)) if one), key=lambda one: one.at, default=None)


def latest_pair(store: ObjectStore, folder: WalFolder, timeline: int) -> TimePair | None:
    """The last pair that was written of a timeline, whatever became of the log since."""
    for key in reversed(hours_of(store, folder, timeline)):
        if pairs := read_pairs(store, key):
            return pairs[-1]
    return None


def pairs_around(
    store: ObjectStore, folder: WalFolder, timeline: int, at: datetime
) -> tuple[TimePair | None, TimePair | None]:
    """The newest pair at or before an instant, and the oldest at or after it, on one timeline.

    Where both name one position, nothing was committed between them: that position is the state at `at`. Else every
    commit up to `at` lies at or below the second one's position.
    """
    before: TimePair | None = None
    for key in _hours_from(hours_of(store, folder, timeline), at):
        pairs = read_pairs(store, key)
        times = [pair.at for pair in pairs]
        if (left := bisect_right(times, at)) > 0:
            before = pairs[left - 1]
        if (right := bisect_left(times, at)) < len(pairs):
            return before, pairs[right]
    return before, None


def _hours_from(keys: Sequence[str], at: datetime) -> Iterator[str]:
    """The objects that may hold the pairs around an instant: the one before its hour, and all from there on."""
    names = [key.rpartition("/")[2] for key in keys]
    first = bisect_left(names, f"{at:%Y%m%dT%H}.json")
    yield from keys[max(0, first - 1) :]


def hours_of(store: ObjectStore, folder: WalFolder, timeline: int) -> list[str]:
    """The objects with a timeline's pairs, oldest first."""
    return sorted(one.key for one in store.list(folder.times(timeline)))


def _said_by(store: ObjectStore, segment: StoredSegment) -> TimePair | None:
    try:
        said = store.head(segment.key).metadata.get(INSTANT)
    except ObjectMissing:  # an open part that a longer one has replaced meanwhile
        return None
    if said is None:
        return None
    return TimePair(at=datetime.fromisoformat(said), timeline=segment.timeline, lsn=format_lsn(segment.end))
