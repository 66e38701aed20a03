"""A cron expression as a timetable of wall-clock minutes, walked both ways and counted without visiting every slot.

The language (names, ranges, steps, `L`, `LW`, `#`, and day-of-month AND or OR day-of-week as in Debian's cron) is
cronsim's. The walk is ours: cronsim's own goes slot by slot, loses slots after a clock change of half an hour, and
names midnights that a change skipped (2.7, tried on Lord Howe and Cairo).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from databosun.domain.zones import DAY, EPOCH_ORDINAL, HORIZON_DAYS

_FIELDS = "minute (0-59), hour (0-23), day of month (1-31), month (1-12), day of week (0-7, 0 and 7 are Sunday)"
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Wall-clock minutes (since 1970-01-01T00:00 on the wall) at which a cron expression matches.

    `minutes` are those of a matching day; `fixed` says that neither minute nor hour starts with a star (`schedule`
    says why it matters).
    """

    cron: CronSim
    minutes: array[int]
    daily: bool
    fixed: bool

    def at_or_after(self, wall: int) -> int | None:
        """The first matching minute not before `wall`; None where none comes within 41 years."""
        day, minute = divmod(wall, DAY)
        if minute > self.minutes[-1]:
            day, minute = day + 1, 0
        found = self._day_from(day, day + HORIZON_DAYS)
        if found is None:
            return None
        return found * DAY + self.minutes[bisect_left(self.minutes, minute) if found == day else 0]

    def at_or_before(self, wall: int, bound: int) -> int | None:
        """The last matching minute from `bound` to `wall`, both included."""
        day, minute = divmod(wall, DAY)
        if minute < self.minutes[0]:
            day, minute = day - 1, DAY
        found = self._day_back(day, bound // DAY)
        if found is None:
            return None
        last = found * DAY + self.minutes[bisect_right(self.minutes, minute) - 1 if found == day else -1]
        return last if last >= bound else None

    def count(self, low: int, high: int) -> int:
        """How many minutes match from `low` to `high`, both included; the cost grows with the days between."""
        if low > high:
            return 0
        (first, from_minute), (last, to_minute) = divmod(low, DAY), divmod(high, DAY)
        skipped = bisect_left(self.minutes, from_minute) if self.matches(first) else 0
        left = len(self.minutes) - bisect_right(self.minutes, to_minute) if self.matches(last) else 0
        days = last - first + 1 if self.daily else sum(map(self.matches, range(first, last + 1)))
        return days * len(self.minutes) - skipped - left

    def matches(self, day: int) -> bool:
        """Whether a day (counted from 1970-01-01) is in the timetable."""
        if self.daily:
            return True
        at = date.fromordinal(day + EPOCH_ORDINAL)
        return at.month in self.cron.months and self.cron.match_day(at)

    def longest_pause(self, day: int, days: int) -> int | None:
        """The most minutes on the wall from one slot to the next, of those in the `days` days from `day` on.

        None where the timetable has fewer than two slots within 41 years.
        """
        within = max((late - early for early, late in zip(self.minutes, self.minutes[1:], strict=False)), default=0)
        between = self._longest_days(day, day + days)
        if between is None:
            return within or None
        return max(within, between * DAY - (self.minutes[-1] - self.minutes[0]))

    def _longest_days(self, day: int, until: int) -> int | None:
        """The most days from a matching day that starts before `until` to the next one."""
        if self.daily:
            return 1
        longest, found = None, self._day_from(day, day + HORIZON_DAYS)
        while found is not None and (longest is None or found < until):
            following = self._day_from(found + 1, found + HORIZON_DAYS)
            if following is None:
                return longest
            longest, found = max(longest or 0, following - found), following
        return longest

    def _day_from(self, day: int, bound: int) -> int | None:
        while day <= bound:
            if self.matches(day):
                return day
            at = date.fromordinal(day + EPOCH_ORDINAL)
            day += 1 if at.month in self.cron.months else _days_left(at)
        return None

    def _day_back(self, day: int, bound: int) -> int | None:
        while day >= bound:
            if self.matches(day):
                return day
            at = date.fromordinal(day + EPOCH_ORDINAL)
            day -= 1 if at.month in self.cron.months else at.day
        return None


def _days_left(at: date) -> int:
    """Days to the first of the next month."""
    return ((at.replace(day=1) + timedelta(days=32)).replace(day=1) - at).days


def check_cron(cron: str) -> str | None:
    """Say what is wrong with a cron expression; None where it has five good fields that match some day."""
    fields = cron.split()
    if len(fields) != 5:
        return f"{cron!r} has {len(fields)} fields; expected five: {_FIELDS}"
    try:
        table = timetable(cron)
    except CronSimError as error:
        return f"{cron!r} is not a cron expression: {str(error)[:1].lower()}{str(error)[1:]}; expected {_FIELDS}"
    if table.at_or_after(0) is None:
        return f"{cron!r} matches no day of any year; expected a day of month that its months and days of week have"
    return None


@lru_cache(maxsize=2048)
def timetable(cron: str) -> Timetable:
    """Read a five-field cron expression, once. CronSimError where it is none."""
    parsed = CronSim(cron, _SOME_TIME)
    minute, hour, *days = cron.split()
    return Timetable(
        cron=parsed,
        minutes=array("H", (at * 60 + past for at in sorted(parsed.hours) for past in sorted(parsed.minutes))),
        daily=days == ["*", "*", "*"],
        fixed=not minute.startswith("*") and not hour.startswith("*"),
    )
