"""Time zones as stretches of constant offset, in whole minutes since 1970-01-01T00:00Z.

`zoneinfo` maps one instant; schedules must walk both ways and count, which needs the instants where the offset changes.
"""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

DAY = 1440
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

# As far as a search goes: 29 February on a given day of the week comes every 28 years, 40 across a century without one.
HORIZON_DAYS = 41 * 366

_MINUTE = timedelta(minutes=1)
# Stretches are found and remembered by pages of about a year.
_PAGE = 366 * DAY
_FIRST_PAGE, _LAST_PAGE = ((date(year, 1, 1).toordinal() - EPOCH_ORDINAL) * DAY // _PAGE for year in (2, 9999))
# Not zones of places: they mean whatever the machine says.
_NOT_PLACES = frozenset({"localtime", "posixrules", "Factory"})


@dataclass(frozen=True, slots=True)
class Stretch:
    """Minutes `start` (in) to `end` (out) with local time at UTC plus `offset`; just before `start` it was `before`."""

    start: int
    end: int
    offset: int
    before: int


def to_minute(instant: datetime) -> int:
    """The minute that an aware instant falls into, rounded down."""
    return (instant - EPOCH) // _MINUTE


def from_minute(minute: int) -> datetime:
    """The instant, in UTC, at which a minute begins."""
    return EPOCH + timedelta(minutes=minute)


def check_zone(zone: str) -> str | None:
    """Say what is wrong with a time zone's name; None where it is one of the IANA database."""
    known = _known()
    if zone in known:
        return None
    near = difflib.get_close_matches(zone, known, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{zone!r} is not a time zone; expected an IANA name such as UTC or Europe/Berlin{hint}"


def stretches(zone: str, minute: int) -> Iterator[Stretch]:
    """The stretches of a zone in order, from the one that holds `minute` on, to the end of the calendar."""
    for number in range(minute // _PAGE, _LAST_PAGE):
        for stretch in _page(zone, number):
            if stretch.end > minute:
                yield stretch


def stretches_back(zone: str, minute: int) -> Iterator[Stretch]:
    """The stretches of a zone backwards in time, from the one that holds `minute`, to the start of the calendar."""
    for number in range(minute // _PAGE, _FIRST_PAGE, -1):
        for stretch in reversed(_page(zone, number)):
            if stretch.start <= minute:
                yield stretch


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - _NOT_PLACES | {"UTC"}


@lru_cache(maxsize=4096)
def _page(zone: str, number: int) -> tuple[Stretch, ...]:
    """The stretches of one page. A day's probe is enough: no zone changes its offset twice within one (tested)."""
    first, last = number * _PAGE, (number + 1) * _PAGE
    if zone == "UTC":
        return (Stretch(first, last, 0, 0),)
    info = zoneinfo.ZoneInfo(zone)
    found = []
    start, before, offset = first, _offset(info, first - 1), _offset(info, first)
    for probe in range(first, last, DAY):
        until = min(probe + DAY, last - 1)
        if _offset(info, until) != offset:
            change = _change(info, probe, until)
            found.append(Stretch(start, change, offset, before))
            start, before, offset = change, offset, _offset(info, change)
    return (*found, Stretch(start, last, offset, before))


def _offset(info: zoneinfo.ZoneInfo, minute: int) -> int:
    local = from_minute(minute).astimezone(info).utcoffset()
    return 0 if local is None else local // _MINUTE


def _change(info: zoneinfo.ZoneInfo, low: int, high: int) -> int:
    """The first minute in (low, high] with another offset than `low`."""
    offset = _offset(info, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(info, middle) == offset else (low, middle)
    return high
