"""The log of a server as a bucket has it: what is there, and whether it is whole.

Everything is read from names and small objects, so that the bucket alone proves it, in few requests: one for the
timelines, one a thousand segments from where the caller begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from databosun.api.archive import LogGap
from databosun.api.v1alpha1.common import Model
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import (
    FILE_SPAN,
    History,
    WalPoint,
    demand_segment_bytes,
    first_history,
    history_name,
    next_file,
    parse_history,
    parse_lsn,
    parse_segment,
    segment_name,
)
from databosun.storage.port import ObjectInfo, ObjectStore
from databosun.storage.reasons import StorageReason
from databosun.storage.walnames import WalFolder, parse_timeline_folder, parse_wal

MAX_SMALL_BYTES = 4 * 1024 * 1024
# User metadata of a stored segment.
DIGEST = "sha256"  # of the plaintext: age's output differs every time
LENGTH = "bytes"  # of the plaintext
INSTANT = "at"  # every commit up to then lies in this segment or before
MARK = "mark"  # where a stream that goes on from here may be resumed, in the engine's own terms


class LogDescription(Model):
    """`log.json`: what the log is of. Written once and first. `files`: positions count files (domain/wal)."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    system_identifier: str
    segment_bytes: int
    block_bytes: int = 8192
    files: bool = False

    def encode(self) -> bytes:
        """As stored."""
        return (json.dumps(self.dump(), sort_keys=True) + "\n").encode()


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One object of a log: bytes `start` to before `end`. `full`: the whole segment; else the open one, so far.

    The last one of a file is full, and ends where the next file begins, whichever number that has. `length`: bytes of
    log in it.
    """

    key: str
    timeline: int
    number: int
    start: int
    end: int
    full: bool
    encrypted: bool
    stored_bytes: int
    length: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a recovery from `begin` to `end` along a history needs, in the order it asks for it.

    `reached`: how far the log goes without a hole. `hole`: the first segment that is missing or not long enough.
    """

    begin: int
    end: int
    segments: tuple[StoredSegment, ...]
    reached: int
    hole: str | None

    @property
    def whole(self) -> bool:
        """Whether every byte is there."""
        return self.hole is None


@dataclass(frozen=True, slots=True)
class WalLog:
    """A listing of a log; `since`: nothing before that position was looked at."""

    description: LogDescription
    segments: Mapping[int, Mapping[int, StoredSegment]]
    gaps: tuple[LogGap, ...]
    since: int = 0

    @property
    def segment_bytes(self) -> int:
        """The size of a full segment."""
        return self.description.segment_bytes

    @property
    def timelines(self) -> tuple[int, ...]:
        """The timelines that have WAL here, oldest first."""
        return tuple(sorted(timeline for timeline, found in self.segments.items() if found))

    def stored(self, timeline: int, number: int) -> StoredSegment | None:
        """The best object of a segment: the full one, else the longest open part."""
        return self.segments.get(timeline, {}).get(number)

    def end_of(self, timeline: int) -> WalPoint | None:
        """Where the newest WAL of a timeline ends."""
        found = self.segments.get(timeline)
        return WalPoint(timeline, found[max(found)].end) if found else None

    def end_along(self, history: History) -> WalPoint | None:
        """Where the newest WAL along a history ends; what an ancestor has beyond the fork does not count."""
        for branch in reversed(history.branches):
            end = self.end_of(branch.timeline)
            if end and end.lsn > branch.begin:
                return WalPoint(branch.timeline, end.lsn if branch.end is None else min(end.lsn, branch.end))
        return None

    def coverage(self, history: History, begin: int, end: int | None = None) -> Coverage:
        """Whether a recovery from `begin` (a backup's start) to `end` (None: as far as it goes) finds every byte.

        The open part of a segment counts only where the recovery ends in it: behind it, its rest would be missing.
        """
        size = self.segment_bytes
        if end is None:
            last = self.end_along(history)
            end = last.lsn if last else begin
        needed: list[StoredSegment] = []
        reached, number = begin, begin // size
        while number <= max(end - 1, begin) // size:
            found, covered = self._best(history, number)
            wanted = min(end, (number + 1) * size)
            if found is not None:
                needed.append(found)
                reached = max(reached, min(covered, end))
            if covered < wanted:
                name = segment_name(history.branch_at(max(reached, number * size)).timeline, number, size)
                return Coverage(begin, end, tuple(needed), reached, name)
            number = max(number + 1, covered // size)
        return Coverage(begin, end, tuple(needed), reached, None)

    def _best(self, history: History, number: int) -> tuple[StoredSegment | None, int]:
        """The object that recovery uses for a segment, and the position up to which it is right along the history."""
        for branch in history.branches_in(number, self.segment_bytes):
            found = self.stored(branch.timeline, number)
            if found is not None:
                return found, found.end if branch.end is None else min(found.end, branch.end)
        return None, 0


def read_description(store: ObjectStore, folder: WalFolder) -> LogDescription:
    """What the log is of. ObjectMissing where there is no log; SafetyStop where the object is none of ours."""
    data = store.get(folder.description, limit=MAX_SMALL_BYTES)
    try:
        found = LogDescription.model_validate_json(data)
        demand_segment_bytes(found.segment_bytes)
    except (ValidationError, ValueError) as error:
        raise unreadable(store, folder.description) from error
    return found


def read_log(store: ObjectStore, folder: WalFolder, *, since: int = 0) -> WalLog:
    """List a log from the segment that holds `since`. ObjectMissing where there is none."""
    description = read_description(store, folder)
    size = description.segment_bytes
    segments: dict[int, dict[int, StoredSegment]] = {}
    for name in store.folders(folder.root):
        timeline = parse_timeline_folder(name)
        if timeline is None:
            continue
        at = folder.timeline(timeline)
        first = segment_name(timeline, since // size, size)
        by_number = segments.setdefault(timeline, {})
        for one in store.list(at, after=f"{at}/{first}" if since else None):
            _keep_best(by_number, segment_of(one, size))
    return WalLog(description, segments, read_gaps(store, folder), since)


def read_history(store: ObjectStore, folder: WalFolder, timeline: int) -> History:
    """How a timeline came to be, by its history file in the log. ObjectMissing where that is not there."""
    if timeline == 1:
        return first_history()
    data = store.get(folder.history(timeline), limit=MAX_SMALL_BYTES)
    try:
        return parse_history(timeline, data.decode("utf-8", "replace"))
    except ValueError as error:
        message = f"{history_name(timeline)} in {store.describe()} cannot be read: {error}"
        raise SafetyStop(StorageReason.LOG_UNREADABLE, message) from error


def read_gaps(store: ObjectStore, folder: WalFolder) -> tuple[LogGap, ...]:
    """The gaps that were recorded, oldest first."""
    found = []
    for one in store.list(folder.gaps):
        try:
            found.append(LogGap.model_validate_json(store.get(one.key, limit=MAX_SMALL_BYTES)))
        except ValidationError as error:
            raise unreadable(store, one.key) from error
    return tuple(sorted(found, key=lambda gap: (gap.timeline, parse_lsn(gap.begin), parse_lsn(gap.end))))


def segment_of(one: ObjectInfo, size: int) -> StoredSegment | None:
    """What an object of a timeline's folder is; None where it is no segment of that size."""
    name = parse_wal(one.key)
    if name is None:
        return None
    try:
        timeline, number = parse_segment(name.segment, size)
    except ValueError:
        return None
    start = number * size
    end = start + size if name.end is None else name.end
    if not start + (not name.last) <= end <= start + size:
        return None
    length = end - start
    if name.last:
        end = name.following or next_file(start)
        if end < next_file(start) or end % FILE_SPAN:
            return None
    return StoredSegment(one.key, timeline, number, start, end, not name.open, name.encrypted, one.size, length)


def _keep_best(by_number: dict[int, StoredSegment], found: StoredSegment | None) -> None:
    if found is None:
        return
    known = by_number.get(found.number)
    if known is None or (found.full, found.end) > (known.full, known.end):
        by_number[found.number] = found


def unreadable(store: ObjectStore, key: str) -> SafetyStop:
    """An object that is not what its name says."""
    message = f"{key} in {store.describe()} cannot be read as what its name says; somebody else has written it"
    return SafetyStop(StorageReason.LOG_UNREADABLE, message)
