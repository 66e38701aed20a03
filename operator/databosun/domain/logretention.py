"""Which part of a server's log is still needed: all of it from the oldest backup that the recovery window stands on.

Backups that are kept for longer (monthly, yearly, held ones) are self-contained and need none of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.domain.claims import RetentionRules
from databosun.domain.deletion import plan_hash
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


def log_window(rules: Iterable[RetentionRules]) -> timedelta | None:
    """How far back any instant must be recoverable: the longest window of any policy, so that another policy never
    makes it shorter. None: nothing of the log is let go."""
    windows = (one.recovery_window or (timedelta(days=one.daily) if one.daily else None) for one in rules)
    return max((one for one in windows if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Shown:
    """The plan that the status shows: the log before backup `base` goes; `since` when it has stood there."""

    base: str
    since: datetime


@dataclass(frozen=True, slots=True)
class ExpiryFacts:
    """What decides over a server's log. `begins`: its oldest position. `held`: a legal hold, a policy
    that rests, or one that cannot be understood.

    `approved`: hashes of plans that a person agrees to, in force now.
    """

    bases: tuple[LogBase, ...]
    window: timedelta | None
    grace: timedelta
    held: bool
    begins: WalPoint
    shown: Shown | None
    approved: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Show:
    """Show that the log before `keep` goes, and wait until it has stood for the grace."""

    keep: KeepFrom
    until: datetime


@dataclass(frozen=True, slots=True)
class Expire:
    """Delete the log before `keep` now."""

    keep: KeepFrom


@dataclass(frozen=True, slots=True)
class Stop:
    """The breaker: show the plan, and wait for a person, however long. `lost` of `of` backups would lose their log."""

    keep: KeepFrom
    hash: str
    lost: int
    of: int

    @property
    def message(self) -> str:
        """For people: what would be lost, and what to do."""
        return (
            f"the plan takes the log from {self.lost} of the {self.of} backups that it can be replayed onto; expected"
            f" at most half at once. Create an Approval of this Database with planHash {self.hash}, or raise"
            " retention.recoveryWindow"
        )


def log_plan_hash(base: str) -> str:
    """The hash that names the plan to delete the log before that backup."""
    return plan_hash(("log", base))


def decide_log_expiry(facts: ExpiryFacts, now: datetime) -> Show | Expire | Stop | None:
    """Whether a part of the log may go. None: nothing does, and nothing is shown.

    What is shown stays what it is while newer backups come, or no plan would ever stand for its grace; it falls where
    its backup goes, or where the log before it is needed after all.
    """
    needed = decide_log_retention(facts.bases, facts.window, now)
    if needed is None or facts.window is None or facts.held:
        return None
    shown = facts.shown
    if shown is not None and shown.since <= now:
        base = next((one for one in facts.bases if one.id == shown.base), None)
        if base is not None and base.start.lsn <= needed.start.lsn and base.start.timeline <= needed.start.timeline:
            keep = KeepFrom(base.id, base.start, base.at)
            if (stop := _breaks(facts, keep)) is not None:
                return stop
            return Expire(keep) if now >= shown.since + facts.grace else Show(keep, shown.since + facts.grace)
    whole = needed.since <= now - facts.window
    if not whole or needed.start.lsn <= facts.begins.lsn:
        return None
    base = next(one for one in facts.bases if one.id == needed.base)
    if base.start != needed.start:
        return None  # a later backup begins earlier: the next one settles it
    return _breaks(facts, needed) or Show(needed, now + facts.grace)


def _breaks(facts: ExpiryFacts, keep: KeepFrom) -> Stop | None:
    """A plan that takes the log from more than half of the backups, and more than one, without a person's consent."""
    served = [base for base in facts.bases if base.start.lsn >= facts.begins.lsn]
    lost = [base for base in served if base.at < keep.since and base.start.lsn < keep.start.lsn]
    name = log_plan_hash(keep.base)
    if len(lost) <= 1 or 2 * len(lost) <= len(served) or name in facts.approved:
        return None
    return Stop(keep, name, len(lost), len(served))


def may_go(timeline: int, end: int, keep: KeepFrom) -> bool:
    """Whether a segment of a timeline that ends at `end` is needed by no recovery any more.

    What is on a newer timeline stays, and so does what an old branch has beyond that position: it was kept on purpose.
    """
    return timeline <= keep.start.timeline and end <= keep.start.lsn
