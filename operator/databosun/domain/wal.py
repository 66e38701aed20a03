"""Arithmetic of a server's log: positions, segments of any size, timelines and their history.

A position (LSN) of PostgreSQL is a number of bytes since the server was made. The names of files are those of its own
`pg_wal` (manual, "WAL Internals"). Of a server whose log is numbered files that end anywhere, the upper half of a
position is the file's number and the lower half an offset in it: the last segment of a file may end early, and the
position behind it is the beginning of the next file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import total_ordering

PAGE_HEADER = 24
SEGMENT_HEADER = 40
SMALLEST_SEGMENT = 1024**2
LARGEST_SEGMENT = 1024**3
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")
FILE_SPAN = 1 << 32  # positions of one file, of a log of files; a "log id" in a segment's name covers as much


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number. ValueError."""
    found = _LSN.fullmatch(text)
    if not found:
        msg = f"{text!r} is no position in the write-ahead log; expected two hexadecimal numbers such as 16/B374D848"
        raise ValueError(msg)
    return (int(found[1], 16) << 32) | int(found[2], 16)


def format_lsn(lsn: int) -> str:
    """A number as `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def demand_segment_bytes(size: int) -> int:
    """A size that PostgreSQL knows: a power of two from 1 MiB to 1 GiB. ValueError."""
    if not SMALLEST_SEGMENT <= size <= LARGEST_SEGMENT or size & (size - 1):
        msg = f"{size} is no size of a WAL segment; expected a power of two from 1 MiB to 1 GiB"
        raise ValueError(msg)
    return size


def segment_number(lsn: int, segment_bytes: int) -> int:
    """The segment that holds the byte at a position."""
    return lsn // segment_bytes


def segment_start(lsn: int, segment_bytes: int) -> int:
    """The first position of the segment that holds the byte at a position."""
    return lsn - lsn % segment_bytes


def lsn_of(number: int, offset: int = 0) -> int:
    """A position of a log of files: the file's number above, the offset in it below."""
    return number * FILE_SPAN + offset


def next_file(lsn: int) -> int:
    """Where the file after the one that holds a position begins, of a log of files."""
    return (lsn | 0xFFFFFFFF) + 1


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The file's name in `pg_wal`, such as `000000010000001600000B37`."""
    per_id = FILE_SPAN // segment_bytes
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def parse_segment(name: str, segment_bytes: int) -> tuple[int, int]:
    """Timeline and number of a segment by its file name. ValueError where no server of that size makes such a name."""
    found = _SEGMENT.fullmatch(name)
    per_id = FILE_SPAN // segment_bytes
    if not found or int(found[3], 16) >= per_id:
        msg = f"{name!r} is no name of a WAL segment of {segment_bytes} bytes"
        raise ValueError(msg)
    return int(found[1], 16), int(found[2], 16) * per_id + int(found[3], 16)


def history_name(timeline: int) -> str:
    """The name of a timeline's history file, such as `00000002.history`."""
    return f"{timeline:08X}.history"


def parse_history_name(name: str) -> int | None:
    """The timeline of a history file's name; None where it is no such name."""
    found = _HISTORY.fullmatch(name)
    return int(found[1], 16) if found else None


def end_of_written(lsn: int, *, block_bytes: int, segment_bytes: int) -> int:
    """The end of what was written, from the position of the *next* record.

    On an idle server that stands at the border of a page, the next record's position lies behind that page's header,
    which nobody has written yet: without this, an idle server would seem ahead of its own log for ever.
    """
    if lsn % segment_bytes == SEGMENT_HEADER:
        return lsn - SEGMENT_HEADER
    if lsn % block_bytes == PAGE_HEADER:
        return lsn - PAGE_HEADER
    return lsn


@total_ordering
@dataclass(frozen=True, slots=True)
class WalPoint:
    """A position on a timeline. Ordered by timeline, then position: newer timelines are later."""

    timeline: int
    lsn: int

    def __lt__(self, other: WalPoint) -> bool:
        return (self.timeline, self.lsn) < (other.timeline, other.lsn)

    def __str__(self) -> str:
        return f"{format_lsn(self.lsn)} on timeline {self.timeline}"


@dataclass(frozen=True, slots=True)
class Branch:
    """The part of a history that lies on one timeline: from `begin` to before `end` (None: it is the last one)."""

    timeline: int
    begin: int
    end: int | None


@dataclass(frozen=True, slots=True)
class History:
    """How a timeline came to be: its ancestors, oldest first, itself last."""

    branches: tuple[Branch, ...]

    @property
    def timeline(self) -> int:
        """The timeline that this is the history of."""
        return self.branches[-1].timeline

    def branch(self, timeline: int) -> Branch | None:
        """The part on one timeline; None where it is no ancestor."""
        return next((one for one in self.branches if one.timeline == timeline), None)

    def branch_at(self, lsn: int) -> Branch:
        """The part that holds the byte at a position."""
        return next(one for one in self.branches if one.end is None or lsn < one.end)

    def branches_in(self, number: int, segment_bytes: int) -> Iterator[Branch]:
        """The timelines whose file of that segment recovery can use, the newest first, as PostgreSQL looks for it."""
        for one in reversed(self.branches):
            if one.begin // segment_bytes <= number:
                yield one


def parse_history(timeline: int, text: str) -> History:
    """A history file: one line an ancestor, with the position at which it was left. ValueError."""
    branches: list[Branch] = []
    begin = 0
    for line in text.splitlines():
        fields = line.split("#", 1)[0].split(None, 2)
        if not fields:
            continue
        if len(fields) < 2 or not fields[0].isdigit():
            msg = f"{history_name(timeline)} has a line that is none of a timeline history: {line[:80]!r}"
            raise ValueError(msg)
        end = parse_lsn(fields[1])
        if end < begin or (branches and int(fields[0]) <= branches[-1].timeline):
            msg = f"{history_name(timeline)} is not in order at {line[:80]!r}"
            raise ValueError(msg)
        branches.append(Branch(int(fields[0]), begin, end))
        begin = end
    if branches and branches[-1].timeline >= timeline:
        msg = f"{history_name(timeline)} names timeline {branches[-1].timeline} as an ancestor of {timeline}"
        raise ValueError(msg)
    return History((*branches, Branch(timeline, begin, None)))


def first_history() -> History:
    """The history of timeline 1, which has no file."""
    return History((Branch(1, 0, None),))
