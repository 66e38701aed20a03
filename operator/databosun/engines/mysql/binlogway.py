"""Where to go on in a server's binary log, from what the store has of it and what the server has left; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import SafetyStop
from databosun.domain.wal import lsn_of
from databosun.engines.mysql.binlogevents import FIRST
from databosun.engines.mysql.positions import number_of_file


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log where a stream may begin: the file's number, an offset, and what is logged before it, as
    logged.py writes it; None: not known, as at the first file of all."""

    number: int
    offset: int = FIRST
    logged: str | None = None

    def __str__(self) -> str:
        return f"{self.number}:{self.offset}" + ("" if self.logged is None else f":{self.logged}")


def read_place(text: str | None) -> Place | None:
    """What `str` wrote, such as `7:4711:0-7-12,3-1-4`; None where that is nothing."""
    if text is None:
        return None
    number, offset, *logged = text.split(":", 2)
    return Place(int(number), int(offset), logged[0] if logged else None)


@dataclass(frozen=True, slots=True)
class File:
    """One file that the server has."""

    name: str
    size: int

    @property
    def number(self) -> int:
        """By which positions count it."""
        return number_of_file(self.name)


@dataclass(frozen=True, slots=True)
class Resume:
    """Stream from `place`. `gap_reason`: the log between the store's end and there is lost, and that is why."""

    place: Place
    gap_reason: Reason | None = None
    why: str = ""


def first_place(files: Sequence[File]) -> Resume:
    """The store has nothing: from the beginning of the newest file on, which says how to read it."""
    return Resume(Place(files[-1].number))


def may_resume(place: Place, end: int, files: Sequence[File]) -> bool:
    """Whether the server has what the store is to go on from; whether it is the same log, its transactions must say."""
    found = next((one for one in files if one.number == place.number), None)
    if found is None or found.size < place.offset:
        return False
    last = next((one for one in files if one.number == end >> 32), None)
    return last is not None and last.size >= end & 0xFFFFFFFF


def behind_gap(end: int, files: Sequence[File], why: str) -> Resume:
    """Where to go on if the store's end is not in the server's log: at the first file that is numbered higher.

    SafetyStop(SourceWentBack) where there is none: what it writes would stand where the store has something else.
    """
    ended = end >> 32
    free = [one for one in files if lsn_of(one.number, 0) > end]
    if not free:
        newest = files[-1]
        message = (
            f"the store has the binary log up to file {ended}, offset {end & 0xFFFFFFFF}, and the server's newest file "
            f"is {newest.name}: {why}. What it writes now would stand where the store has something else, so nothing "
            f"is written. To go on, behind a gap: `FLUSH BINARY LOGS;` until its newest file has a number above {ended}"
        )
        raise SafetyStop(Reason.SOURCE_WENT_BACK, message)
    purged = files[0].number > ended and free[0] is files[0]
    return Resume(Place(free[0].number), Reason.BINLOG_PURGED if purged else Reason.ANOTHER_SERVER, why)
