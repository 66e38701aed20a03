"""What each retention rule says of each backup: that it still needs it, or since when it no longer does.

Every rule counts what is there, never the calendar alone: `daily: 7` means the seven newest days that have a backup. So
nothing is let go because time passes while backups fail. The recovery window alone moves with the clock, and it too
lets a backup go only where a newer one reaches back to the window's start.

**Which backup stands for a day (week, month, year): its first full, or where it has none its first of any type.** The
first, not the last: it is known the moment it is taken and nothing newer displaces it, so that its expiry does not
move, and a copy to be kept for ever can be locked at once; the last would change with every backup until the period is
over. A full, because what is kept longest should stand on nothing else. Periods are those of the policy's time zone;
weeks are ISO weeks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Literal
from zoneinfo import ZoneInfo

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.closure import BackupFact


class Reason(StrEnum):
    """Why a backup is kept."""

    NEWEST = "Newest"
    NEWEST_PROVEN = "NewestProven"
    KEEP_LAST = "KeepLast"
    DAILY = "Daily"
    WEEKLY = "Weekly"
    MONTHLY = "Monthly"
    YEARLY = "Yearly"
    FOREVER = "Forever"
    RECOVERY_WINDOW = "RecoveryWindow"
    HELD = "Held"
    LOCKED = "Locked"
    NEEDED = "Needed"
    IN_FLIGHT = "InFlight"
    DELETING = "Deleting"
    NOT_GOVERNED = "NotGoverned"
    NO_RULES = "NoRules"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """A policy's retention, parsed. A count of 0 is no rule; `grace` is how long a plan is shown first."""

    keep_last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    recovery_window: timedelta | None = None
    keep_forever: Literal["None", "Monthly", "Yearly"] = "None"
    grace: timedelta = timedelta(days=1)

    @property
    def limit_anything(self) -> bool:
        """Whether there is any rule that can let a backup go; `keepForever` alone only adds to what is kept."""
        return bool(
            self.keep_last
            or self.daily
            or self.weekly
            or self.monthly
            or self.yearly
            or self.recovery_window is not None
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """One rule's word on one backup.

    Where it `holds`, `until` is when it is expected to let go: exact where `timed`, else a guess that backups go on as
    the rule counts them, None where nobody can say. Where it has lapsed, `until` is when.
    """

    reason: Reason
    holds: bool
    until: datetime | None
    timed: bool = False


Named = tuple[str, Claim]


def claims(group: Sequence[BackupFact], rules: RetentionRules, now: datetime, zone: str) -> Iterator[Named]:
    """Every rule's claims on one group's good backups, oldest first; a rule that never wanted a backup is silent."""
    yield from _newest(group)
    yield from _newest_proven(group)
    yield from _marked(group, now)
    if rules.keep_last:
        yield from _last(group, rules.keep_last)
    if rules.recovery_window is not None:
        yield from _window(group, rules.recovery_window, now)
    for period, limit in _periods(rules):
        yield from _firsts(group, period, limit, now, ZoneInfo(zone))


def _newest(group: Sequence[BackupFact]) -> Iterator[Named]:
    for fact, later in _with_later(group):
        yield fact.id, Claim(Reason.NEWEST, holds=later is None, until=later)


def _newest_proven(group: Sequence[BackupFact]) -> Iterator[Named]:
    proven = [fact for fact in group if fact.proven]
    for fact, later in _with_later(proven, lambda fact: fact.proven_at or fact.arrived):
        yield fact.id, Claim(Reason.NEWEST_PROVEN, holds=later is None, until=later)


def _marked(group: Sequence[BackupFact], now: datetime) -> Iterator[Named]:
    for fact in group:
        if fact.held:
            yield fact.id, Claim(Reason.HELD, holds=True, until=None)
        if fact.locked_until is not None:
            yield fact.id, Claim(Reason.LOCKED, holds=fact.locked_until > now, until=fact.locked_until, timed=True)


def _last(group: Sequence[BackupFact], limit: int) -> Iterator[Named]:
    for place, fact in enumerate(group):
        holds = place + limit >= len(group)
        yield fact.id, Claim(Reason.KEEP_LAST, holds, until=None if holds else group[place + limit].arrived)


def _window(group: Sequence[BackupFact], window: timedelta, now: datetime) -> Iterator[Named]:
    """The newest backup not later than the start of the window is needed to reach that start, and all after it."""
    for place, fact in enumerate(group):
        newest = place + 1 == len(group)
        until = (fact if newest else group[place + 1]).at + window
        if newest:
            yield fact.id, Claim(Reason.RECOVERY_WINDOW, holds=True, until=until if until > now else None)
        else:
            yield fact.id, Claim(Reason.RECOVERY_WINDOW, holds=until > now, until=until, timed=True)


@dataclass(frozen=True, slots=True)
class _Period:
    """Days, weeks, months or years as a run of numbers."""

    reason: Reason
    number: Callable[[date], int]
    first_day: Callable[[int], date]


def _day_of_month(number: int) -> date:
    year, month = divmod(number, 12)
    return date(year, month + 1, 1)


_DAY = _Period(Reason.DAILY, date.toordinal, date.fromordinal)
_WEEK = _Period(Reason.WEEKLY, lambda day: (day.toordinal() - 1) // 7, lambda number: date.fromordinal(number * 7 + 1))
_MONTH = _Period(Reason.MONTHLY, lambda day: day.year * 12 + day.month - 1, _day_of_month)
_YEAR = _Period(Reason.YEARLY, lambda day: day.year, lambda number: date(number, 1, 1))


def _periods(rules: RetentionRules) -> Iterator[tuple[_Period, int | None]]:
    """The periods that are asked for, with how many of them; None for all."""
    for period, limit in ((_DAY, rules.daily), (_WEEK, rules.weekly), (_MONTH, rules.monthly), (_YEAR, rules.yearly)):
        if limit:
            yield period, limit
    forever = {"None": None, "Monthly": _MONTH, "Yearly": _YEAR}[rules.keep_forever]
    if forever is not None:
        yield forever, None


def _firsts(
    group: Sequence[BackupFact], period: _Period, limit: int | None, now: datetime, zone: ZoneInfo
) -> Iterator[Named]:
    buckets: defaultdict[int, list[BackupFact]] = defaultdict(list)
    for fact in group:
        buckets[period.number(fact.at.astimezone(zone).date())].append(fact)
    reason = period.reason if limit is not None else Reason.FOREVER
    numbers = sorted(buckets)
    for place, number in enumerate(numbers):
        chosen = next((fact for fact in buckets[number] if fact.type is BackupType.FULL), buckets[number][0])
        if limit is None:
            yield chosen.id, Claim(reason, holds=True, until=None)
            continue
        if place + limit >= len(numbers):
            yield chosen.id, Claim(reason, holds=True, until=_start_of(period, number + limit, now, zone))
        else:
            left = min(fact.arrived for fact in buckets[numbers[place + limit]])
            yield chosen.id, Claim(reason, holds=False, until=left)
        for fact in buckets[number]:
            if fact.arrived < chosen.arrived:
                yield fact.id, Claim(reason, holds=False, until=chosen.arrived)


def _start_of(period: _Period, number: int, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When a period begins; None where that is past (backups stopped coming) or beyond the calendar."""
    try:
        start = datetime.combine(period.first_day(number), time(), tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return start if start > now else None


def _with_later(
    group: Sequence[BackupFact], known: Callable[[BackupFact], datetime] = lambda fact: fact.arrived
) -> Iterator[tuple[BackupFact, datetime | None]]:
    """Each backup with the instant from which one newer than it was known; None for the newest."""
    later: datetime | None = None
    for fact in reversed(group):
        yield fact, later
        later = known(fact) if later is None else min(later, known(fact))
