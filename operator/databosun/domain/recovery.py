"""What could be restored now: backups, and the log that can be replayed onto them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.archive import LogGap
from databosun.api.v1alpha1.recovery import Archiver, Gap, ManagedRecovery, Recovery
from databosun.domain.protection import Success
from databosun.domain.wal import format_lsn, parse_lsn

MOST_GAPS = 50
SLOWEST_RATE = timedelta(seconds=30)
_MOVING = ("recoverable_at", "position", "timeline", "lag_seconds", "behind_bytes", "retained_bytes")


@dataclass(frozen=True, slots=True)
class LogReach:
    """The log in the store: whole from `begin` on, gaps apart; every commit up to `recoverable_at` is in it."""

    system_identifier: str
    storage: str
    begin: int | None
    recoverable_at: datetime | None
    gaps: tuple[Gap, ...]

    @property
    def fence(self) -> int | None:
        """A backup must start here or later for the newest part of the log to be of use."""
        if self.begin is None:
            return None
        return max([self.begin, *(parse_lsn(gap.resume) for gap in self.gaps)])


def log_reach(archiver: Archiver, gaps: Sequence[Gap]) -> LogReach:
    """The log as an archiver's state tells of it."""
    begin = parse_lsn(archiver.log_begin) if archiver.log_begin else None
    return LogReach(archiver.system_identifier, archiver.storage, begin, archiver.recoverable_at, tuple(gaps))


def log_begin(archiver: Archiver | None, recovery: Recovery | None, storage: str) -> str | None:
    """Where a backup in that storage must start for the newest part of the log to be replayed onto it; None: no log."""
    if archiver is None or archiver.storage != storage:
        return None
    fence = log_reach(archiver, recovery.gaps if recovery is not None else ()).fence
    return format_lsn(fence) if fence is not None else None


def replayable(start_lsn: str, log: LogReach) -> datetime | None:
    """The instant up to which the log can be replayed onto a backup that starts there: the next gap, or the log's end.

    None: not at all, as far as is known.
    """
    start = parse_lsn(start_lsn)
    if log.begin is None or start < log.begin:
        return None
    ahead = [gap for gap in log.gaps if parse_lsn(gap.resume) > start]
    return min(ahead, key=lambda gap: parse_lsn(gap.resume)).begin if ahead else log.recoverable_at


def merge_gaps(known: Sequence[Gap], told: Sequence[LogGap]) -> tuple[Gap, ...]:
    """The gaps known and told of, each once, oldest first; the newest fifty."""
    fresh = [
        Gap.model_validate(
            {
                "from": gap.begin_time.replace(microsecond=0) if gap.begin_time else None,
                "to": _up(gap.end_time),
                "reason": gap.reason,
                "position": f"{gap.begin} on timeline {gap.timeline}",
                "resume": gap.end,
            }
        )
        for gap in told
    ]
    merged = {(gap.position, gap.resume): gap for gap in (*fresh, *known)}
    return tuple(sorted(merged.values(), key=lambda gap: (gap.end, parse_lsn(gap.resume)))[-MOST_GAPS:])


def decide_recovery(
    old: Recovery | None, successes: Sequence[Success] | None, log: LogReach | None, now: datetime
) -> Recovery | None:
    """What storage holds. `successes` None: those that `old` was made from, and a log whose fence has not moved."""
    if successes is None:
        if old is None:
            return None
        start = old.continuous_from if log is not None else None
        found = old
    elif successes:
        start = min((one.at for one in _bases(successes, log)), default=None)
        found = Recovery(earliest=successes[0].at, latest=successes[-1].at, backups=len(successes))
    else:
        return None
    latest = min(found.latest, now).replace(microsecond=0) if found.latest is not None else None
    if log is not None and start is not None and log.recoverable_at is not None:
        reached = min(log.recoverable_at, now).replace(microsecond=0)
        latest = max(latest, reached) if latest is not None else reached
    gaps = list(log.gaps) if log is not None else []
    update = {"latest": latest, "continuous": start is not None, "continuous_from": start, "gaps": gaps}
    return found.model_copy(update=update)


def with_managed(found: Recovery | None, managed: ManagedRecovery | None, now: datetime) -> Recovery | None:
    """The same with what a cloud says that it can restore by itself: every instant from its earliest to its latest."""
    if managed is None or managed.earliest is None or managed.latest is None:
        return found
    found = found or Recovery()
    latest = min(managed.latest, now).replace(microsecond=0)
    earliest = managed.earliest
    return found.model_copy(
        update={
            "earliest": min(found.earliest or earliest, earliest),
            "latest": max(found.latest or latest, latest),
            "continuous": True,
            "continuous_from": earliest,
        }
    )


def with_archived(
    found: Recovery | None, old: Recovery | None, successes: Sequence[Success] | None, until: datetime | None
) -> Recovery | None:
    """The same with what lies in an archive class, and so is not there at once. It is not forgotten with the policy
    that moved it; `successes` None: those that `old` was made from."""
    known = [one for one in (until, old.archived_until if old is not None else None) if one is not None]
    if found is None or not known:
        return found
    newest, at_once = max(known), old.earliest_at_once if old is not None else None
    if successes is not None:
        at_once = min((one.at for one in successes if one.at > newest), default=None)
    return found.model_copy(update={"archived_until": newest, "earliest_at_once": at_once})


def open_gap(recovery: Recovery | None, log: LogReach) -> Gap | None:
    """The newest gap, where no backup bridges it."""
    if log.begin is None or (recovery is not None and recovery.continuous):
        return None
    behind = [gap for gap in log.gaps if parse_lsn(gap.resume) > log.begin]
    return behind[-1] if behind else None


def cause_of_full(recovery: Recovery | None, log: LogReach) -> str | None:
    """What asks for a full backup beside the schedules: a log that none can be replayed onto. The same log, the same
    words."""
    if log.fence is None or (recovery is not None and recovery.continuous):
        return None
    return f"log:{log.system_identifier}/{format_lsn(log.fence)}"


def _bases(successes: Sequence[Success], log: LogReach | None) -> list[Success]:
    fence = log.fence if log is not None else None
    if log is None or fence is None:
        return []
    return [
        one
        for one in successes
        if one.start_lsn is not None
        and (one.system_identifier, one.storage) == (log.system_identifier, log.storage)
        and parse_lsn(one.start_lsn) >= fence
    ]


def calm(old: Recovery | None, new: Recovery | None, rpo: timedelta, *, flipped: bool) -> tuple[Recovery | None, bool]:
    """The recovery point to write: `latest` moves by a fair step only, or together with a condition; whether it did."""
    if old is None or new is None or old.latest is None or new.latest is None or flipped:
        return new, True
    if old.model_copy(update={"latest": None}) != new.model_copy(update={"latest": None}):
        return new, True
    if new.latest < old.latest or new.latest - old.latest >= max(SLOWEST_RATE, rpo / 4):
        return new, True
    return old, False


def calm_archiver(old: Archiver | None, new: Archiver | None, *, moved: bool) -> Archiver | None:
    """The archiver's state to write: what moves all the time stays as it was, unless the rest is written too."""
    if old is None or new is None or moved:
        return new
    still = new.model_copy(update={name: getattr(old, name) for name in _MOVING})
    return old if still == old else new


def _up(at: datetime) -> datetime:
    """The next whole second: a gap never seems shorter than it is."""
    whole = at.replace(microsecond=0)
    return whole if whole == at else whole + timedelta(seconds=1)
