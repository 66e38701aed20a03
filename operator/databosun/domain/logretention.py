"""Which part of a server's log is still needed: all of it from the oldest backup that the recovery window stands on.

Backups that are kept for longer (monthly, yearly, held ones) are self-contained and need none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.domain.wal import WalPoint


@dataclass(frozen=True, slots=True)
class LogBase:
    """A good physical backup: replay begins at `start`, and it is consistent from `at` on."""

    id: str
    start: WalPoint
    at: datetime


@dataclass(frozen=True, slots=True)
class KeepFrom:
    """The log is needed from the start of backup `base`; instants before `since` need it no more."""

    base: str
    start: WalPoint
    since: datetime


def decide_log_retention(bases: Iterable[LogBase], window: timedelta | None, now: datetime) -> KeepFrom | None:
    """Where the log that is needed begins. None: nothing may go, for want of a window or of a backup to begin with.

    To recover to any instant of the window, one needs the newest backup from before its beginning; where there is none,
    the oldest one of all. `bases`: of one server (system identifier), and staying: none that retention lets go of.
    """
    if window is None:
        return None
    begin = now - window
    known = sorted(bases, key=lambda base: (base.at, base.start))
    if not known:
        return None
    before = [base for base in known if base.at <= begin]
    anchor = before[-1] if before else known[0]
    # A later backup may begin earlier (it took longer, or runs on a timeline that was left behind): none loses its log.
    needed = [base for base in known if base.at >= anchor.at]
    lowest = min(needed, key=lambda base: base.start.lsn)
    timeline = min(base.start.timeline for base in needed)
    return KeepFrom(anchor.id, WalPoint(timeline, lowest.start.lsn), anchor.at)


def may_go(timeline: int, end: int, keep: KeepFrom) -> bool:
    """Whether a segment of a timeline that ends at `end` is needed by no recovery any more.

    What is on a newer timeline stays, and so does what an old branch has beyond that position: it was kept on purpose.
    """
    return timeline <= keep.start.timeline and end <= keep.start.lsn
