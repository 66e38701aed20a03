"""The names of a server's log in the bucket, built and parsed here and nowhere else (`docs/concepts/bucket.md`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from databosun.storage.names import whole

_TIMELINE = re.compile(r"[0-9A-F]{8}")
_HOUR = re.compile(r"[0-9]{8}T[0-9]{2}")
_BESIDE = re.compile(
    rf"log\.json|gaps/[0-9A-F]{{8}}-[0-9A-F]{{16}}-[0-9A-F]{{16}}\.json|times/{_TIMELINE.pattern}/{_HOUR.pattern}\.json"
    rf"|({_TIMELINE.pattern})/\1\.history"
)
_WAL = re.compile(r"([0-9A-F]{24})(?:\.(partial|last)\.([0-9A-F]{16})(?:-([0-9A-F]{16}))?)?\.zst(\.age)?")


@dataclass(frozen=True, slots=True)
class WalFile:
    """The name of a stored segment, understood. `end`: where an open one ends so far, or the last one of a file of the
    server; None for a full one. `following`: where the next file begins, if that is not the one of the next number."""

    segment: str
    end: int | None
    encrypted: bool
    last: bool = False
    following: int | None = None

    @property
    def open(self) -> bool:
        """Whether more of it may come."""
        return self.end is not None and not self.last


@dataclass(frozen=True, slots=True)
class WalFolder:
    """The log of one server: its segments by timeline, and beside them what says which instants they reach."""

    root: str

    @property
    def description(self) -> str:
        """What the log is of: system identifier, size of its segments. Written once, first."""
        return f"{self.root}/log.json"

    @property
    def gaps(self) -> str:
        """The folder of the gaps that are known."""
        return f"{self.root}/gaps"

    def gap(self, timeline: int, begin: int, end: int) -> str:
        """One gap: from where, to where."""
        return f"{self.gaps}/{timeline:08X}-{begin:016X}-{end:016X}.json"

    def timeline(self, timeline: int) -> str:
        """The folder of one timeline's segments."""
        return f"{self.root}/{timeline:08X}"

    def history(self, timeline: int) -> str:
        """A timeline's history file, as the server has it: never encrypted, since who archives must read it again."""
        return f"{self.timeline(timeline)}/{timeline:08X}.history"

    def segment(
        self, name: str, *, end: int | None, encrypted: bool, last: bool = False, following: int | None = None
    ) -> str:
        """A stored segment by its name in `pg_wal`: full, the open one as far as `end`, or the last one of a file."""
        part = "" if end is None else f".{'last' if last else 'partial'}.{end:016X}"
        skipping = "" if following is None else f"-{following:016X}"
        return f"{self.root}/{name[:8]}/{name}{part}{skipping}.zst{'.age' if encrypted else ''}"

    def times(self, timeline: int) -> str:
        """The folder of a timeline's pairs of wall clock and position."""
        return f"{self.root}/times/{timeline:08X}"

    def hour(self, timeline: int, hour: str) -> str:
        """The pairs of one hour (`20260301T03`, UTC), overwritten until the hour is over."""
        return f"{self.times(timeline)}/{whole(_HOUR, hour, 'an hour')}.json"


def parse_wal(key: str) -> WalFile | None:
    """What a key of a timeline's folder holds; None where it is no segment."""
    found = _WAL.fullmatch(key.rpartition("/")[2])
    if not found:
        return None
    segment, kind, end, following, encrypted = found.groups()
    if following and kind != "last":
        return None
    at, behind = (int(one, 16) if one else None for one in (end, following))
    return WalFile(segment, at, encrypted is not None, kind == "last", behind)


def parse_timeline_folder(name: str) -> int | None:
    """The timeline whose folder has that name; None where it is another folder."""
    return int(name, 16) if _TIMELINE.fullmatch(name) and int(name, 16) else None


def is_beside(folder: WalFolder, key: str) -> bool:
    """Whether an object of a log is one of those that stand beside the segments, and hold no row of anybody."""
    return _BESIDE.fullmatch(key.removeprefix(f"{folder.root}/")) is not None
