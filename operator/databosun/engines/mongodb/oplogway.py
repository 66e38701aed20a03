"""Where to go on in a server's oplog, from what the store has of it and what the server has left; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.timestamp import Timestamp

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.mongodb.oplog import settles
from databosun.engines.mongodb.positions import FILE_SECONDS, Mark, file_of, first_in, format_ts

# Entries are written side by side: their clocks are in order to within so much.
_DISORDER = timedelta(seconds=1)
# A primary notices by missing answers that it is cut off, which come as often as this.
_HEARTBEATS = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the shipped log where a stream may begin: a file, an offset, and the entry that stands there."""

    number: int
    offset: int
    entry: Mark

    def __str__(self) -> str:
        return f"{self.number}:{self.offset}:{format_ts(self.entry.ts)}:{self.entry.term}"


def read_place(text: str | None) -> Place | None:
    """What `str` wrote, such as `29932:4711:1795947246:5:1`; None where that is nothing."""
    if text is None:
        return None
    number, offset, seconds, increment, term = (int(part) for part in text.split(":"))
    return Place(number, offset, Mark(Timestamp(seconds, increment), term))


@dataclass(frozen=True, slots=True)
class Break:
    """The server's oplog does not go on from what the store has, and why."""

    reason: Reason
    why: str


def goes_on(place: Place, oldest: Timestamp | None, term: int | None, host: str) -> Break | None:
    """None where the oplog has the very entry that a stream is to begin with. `term`: of that of its time, if any."""
    if oldest is None or oldest > place.entry.ts:
        began = format_ts(oldest) if oldest else "nothing"
        why = f"the oplog of {host} begins at {began}, behind {place.entry}, where the store goes on"
        return Break(Reason.OPLOG_OVERRUN, why)
    if term != place.entry.term:
        found = "has no such entry" if term is None else f"has it of term {term}"
        why = f"the store goes on with entry {place.entry} of term {place.entry.term}, and {host} {found}"
        return Break(Reason.OPLOG_DIVERGED, why)
    return None


def first_file(newest: Timestamp, oldest: Timestamp) -> int:
    """The file to begin with where the store has nothing: that of the newest entry."""
    return max(file_of(newest), file_of(oldest))


def file_behind(lost: Break, end: int, newest: Timestamp, oldest: Timestamp) -> int:
    """The file to go on with behind a gap: the first that the oplog has from its beginning, if it has one.

    One number is always left out behind where the store's log ends (`end`, a file): a listing shows the hole by that.
    WorldFault where the server has not written into such a file yet.
    """
    partly = file_of(oldest)
    whole = partly + 1 if oldest > first_in(partly) else partly
    number = max(end + 1, whole if file_of(newest) >= whole else partly)
    if file_of(newest) < number:
        message = (
            f"{lost.why}; the log goes on, behind a gap, with what is written from {first_in(number).as_datetime()} on "
            f"(within {FILE_SECONDS} s), and the server's newest entry is {format_ts(newest)} yet"
        )
        raise WorldFault(lost.reason, message)
    return number


def settled_at(hello: Mapping[str, Any], election: float) -> datetime:
    """Up to when a primary knows all that was acknowledged in its set to be in what a majority has.

    Now, unless some of it waits for a majority. But a primary that is cut off, while another one takes writes already,
    finds out after `election` seconds only: of these it vouches for entries that a majority has, and for no silence.
    """
    now = clock_of(hello)
    if not settles(hello):
        return now
    written = hello["lastWrite"]
    told = _aware(written.get("majorityWriteDate")) or written["majorityOpTime"]["ts"].as_datetime()
    known = min(now, told - _DISORDER)
    if written.get("opTime") != written["majorityOpTime"]:
        return known
    if len(hello.get("hosts") or ()) <= 1:  # those that may be elected
        return now
    return max(known, now - timedelta(seconds=election) - _HEARTBEATS)


def clock_of(hello: Mapping[str, Any]) -> datetime:
    """What a member's clock showed."""
    return _aware(hello.get("localTime")) or datetime.now(UTC)


def _aware(at: object) -> datetime | None:
    """A time of the driver's, with its zone; None of anything else."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) if isinstance(at, datetime) else None
