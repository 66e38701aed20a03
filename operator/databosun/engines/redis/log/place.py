"""Where the shipped log stands in a server's history, and where it goes on; pure.

A history has an id that changes with each failover, and an offset that goes on: bytes of commands since it began. A
file of the log is known by its number, and by the mark that it carries: what it holds of which history.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import WorldFault
from databosun.engines.base import LogPiece
from databosun.engines.redis.log.commands import Walker
from databosun.engines.redis.server import ServerFacts


@dataclass(frozen=True, slots=True)
class Mark:
    """One file: the offsets of `replid` from `begin` to before `end`, as numbers of bytes that lie before.

    `headed`: it begins where nothing is open. `args`, `skip`, `multi`: what is open at its end (`Walker`).
    """

    replid: str
    begin: int
    end: int
    headed: bool = True
    args: int = 0
    skip: int = 0
    multi: bool = False

    def __str__(self) -> str:
        flags = f"{int(self.headed)}:{self.args}:{self.skip}:{int(self.multi)}"
        return f"{self.replid}:{self.begin}:{self.end}:{flags}"

    def walker(self) -> Walker:
        """To go on behind it."""
        return Walker(self.args, self.skip, self.multi)


def read_mark(text: str | None) -> Mark | None:
    """What `str` wrote; None where that is nothing."""
    if text is None:
        return None
    replid, *numbers = text.split(":")
    begin, end, headed, args, skip, multi = map(int, numbers)
    return Mark(replid, begin, end, bool(headed), args, skip, bool(multi))


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on behind `mark`, in file `number`. `gap_reason`: what lies between the store's end and there is lost."""

    mark: Mark
    number: int
    fresh: bool = False
    gap_reason: Reason | None = None
    why: str = ""

    @property
    def overrun(self) -> bool:
        """Whether the server has let go of what comes next."""
        return self.gap_reason is Reason.BACKLOG_OVERRUN


def decide_resume(end: int | None, mark: Mark | None, facts: ServerFacts) -> Resume:
    """Where to go on at a server, from the store's end. WorldFault(ReplicaStale) where the server is not as far yet."""
    here = Mark(facts.replid, facts.offset, facts.offset)
    if end is None:
        return Resume(here, 1, fresh=True)
    number = (end + 0xFFFFFFFF) >> 32  # a file that was cut short counts as taken
    if mark is None or not _same_line(mark, facts):
        known = f"{mark.replid} up to {mark.end}" if mark else "none that could be read"
        why = (
            f"{facts.endpoint} has history {facts.replid} (offset {facts.offset}), which does not go on from the one "
            f"that was archived ({known}): it was started without its data, copied anew, or a failover lost writes"
        )
        return Resume(here, number + 1, fresh=True, gap_reason=Reason.HISTORY_CHANGED, why=why)
    if facts.offset < mark.end:
        message = f"{facts.endpoint} is at offset {facts.offset}, and {mark.end} are archived: it has to catch up first"
        raise WorldFault(Reason.REPLICA_STALE, message)
    oldest = facts.backlog_begin
    if oldest is None or mark.end + 1 < oldest:
        why = (
            f"the backlog of {facts.endpoint} begins at offset {oldest or facts.offset}, behind {mark.end}, where the "
            "store ends: raise repl-backlog-size"
        )
        return Resume(here, number + 1, fresh=True, gap_reason=Reason.BACKLOG_OVERRUN, why=why)
    return Resume(mark, number)


def _same_line(mark: Mark, facts: ServerFacts) -> bool:
    """Whether a server's history holds what was archived: its own, or the one before it up to the failover."""
    return mark.replid == facts.replid or (mark.replid == facts.replid2 and mark.end < facts.second_offset)


def piece_of(pieces: Iterable[LogPiece], facts: ServerFacts, replid: str, offset: int) -> tuple[int, int] | None:
    """From which position on the log holds all behind an offset of a history, and up to which it lies before it.

    None where the log does not hold it. `pieces`: the newest first; `facts`: of the server that was read.
    """
    for piece in pieces:
        mark = read_mark(piece.mark)
        if mark is None or not mark.headed or mark.begin > offset:
            continue
        ours = mark.replid == replid
        before = mark.replid == facts.replid2 and replid == facts.replid and mark.end < facts.second_offset
        if ours or before:
            return piece.begin, piece.end if mark.end <= offset else piece.begin
        return None
    return None
