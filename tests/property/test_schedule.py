"""Slots against an oracle that looks at every minute, and decisions over any sequence of wake-ups."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.schedule import (
    ScheduleRow,
    check_cron,
    check_zone,
    count_due,
    decide_slots,
    interval,
    last_due,
    next_due,
    skip_to,
)
from databosun.domain.zones import from_minute, stretches, stretches_back, to_minute

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ANY_COUNT = 10**9
# Whole and half hours, changes at midnight, winter time as the exception, odd offsets, no change at all.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Europe/Dublin",
    "Asia/Kathmandu",
]
CRONS = st.builds(
    lambda *fields: " ".join(fields),
    st.sampled_from(["*", "0", "30", "*/15", "5,35", "7-9", "59", "0-59/20"]),
    st.sampled_from(["*", "*/2", "0", "1", "2", "3", "23", "1,2,3", "0-4", "22-23"]),
    st.sampled_from(["*", "*", "*", "1", "29-31", "L", "LW", "*/10"]),
    st.sampled_from(["*", "*", "*", "3,4,10,11", "2"]),
    st.sampled_from(["*", "*", "*", "0", "1-5", "SUN#1", "5L", "*/2"]),
).filter(lambda cron: check_cron(cron) is None)


@lru_cache(maxsize=64)
def changes(zone: str) -> list[datetime]:
    """The instants from 2024 to 2027 at which a zone's offset changes, to the minute."""
    info, found = ZoneInfo(zone), []
    at = datetime(2024, 1, 1, tzinfo=UTC)
    while at.year < 2028:
        if (at + DAY).astimezone(info).utcoffset() != at.astimezone(info).utcoffset():
            minutes = (at + MINUTE * number for number in range(1, 1441))
            offset = at.astimezone(info).utcoffset()
            found.append(next(minute for minute in minutes if minute.astimezone(info).utcoffset() != offset))
        at += DAY
    return found


@st.composite
def zones_and_instants(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone and an instant in it: any, or within hours of a change."""
    zone = draw(st.sampled_from(ZONES))
    moments, near = changes(zone), draw(st.booleans())
    if moments and near:
        return zone, draw(st.sampled_from(moments)) + draw(st.integers(-300, 300)) * MINUTE
    return zone, datetime(2024, 1, 1, tzinfo=UTC) + draw(st.integers(0, 4 * 365 * 86400)) * timedelta(seconds=1)


def oracle(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Every slot in (after, until], by looking at each minute or, of fixed ones, at each time."""
    sim, info = CronSim(cron, after), ZoneInfo(zone)
    minute, hour, *_ = cron.split()

    def matches(wall: datetime) -> bool:
        return (
            wall.minute in sim.minutes and wall.hour in sim.hours and wall.month in sim.months and sim.match_day(wall)
        )

    first = after.replace(second=0, microsecond=0) - 2 * HOUR
    span = int((until - first) / MINUTE) + 240
    if minute.startswith("*") or hour.startswith("*"):
        ticks = (first + MINUTE * number for number in range(span))
        found = {tick for tick in ticks if matches(tick.astimezone(info))}
    else:
        wall = first.astimezone(info).replace(tzinfo=None)
        walls = (wall + MINUTE * number for number in range(span))
        found = {settle(wall, info) for wall in walls if matches(wall)}
    return sorted(slot for slot in found if after < slot <= until)


def settle(wall: datetime, info: ZoneInfo) -> datetime:
    """The instant of a time on the wall: the first where it comes twice, the end of the gap where it does not come."""
    while True:
        instant = wall.replace(tzinfo=info).astimezone(UTC)
        if instant.astimezone(info).replace(tzinfo=None) == wall:
            return instant
        wall += MINUTE


@settings(max_examples=150, deadline=None)
@given(CRONS, zones_and_instants(), st.integers(1, 2000))
def test_slots_are_those_that_a_look_at_every_minute_finds(
    cron: str, place: tuple[str, datetime], minutes: int
) -> None:
    zone, after = place
    until = after + minutes * MINUTE
    slots = oracle(cron, zone, after, until)
    assert count_due(cron, zone, after, until, ANY_COUNT) == len(slots)
    assert last_due(cron, zone, after, until) == (slots[-1] if slots else None)
    coming = next_due(cron, zone, after)
    assert coming == slots[0] if slots else coming > until


@settings(max_examples=150, deadline=None)
@given(CRONS, zones_and_instants())
def test_walking_back_meets_the_slots_of_walking_forth(cron: str, place: tuple[str, datetime]) -> None:
    zone, start = place
    forth, at = [], start
    for _ in range(12):
        at = next_due(cron, zone, at)
        forth.append(at)
    back, at = [], forth[-1]
    while (found := last_due(cron, zone, start, at)) is not None:
        back.append(found)
        at = found - timedelta(microseconds=1)
    assert back == forth[::-1]
    assert len(set(forth)) == 12
    assert count_due(cron, zone, start, forth[-1], ANY_COUNT) == 12


@settings(max_examples=60, deadline=None)
@given(CRONS, zones_and_instants())
def test_slots_are_those_of_the_library_where_it_is_right(cron: str, place: tuple[str, datetime]) -> None:
    """It names times that do not exist where clocks move at midnight, and misses some where by half an hour."""
    zone, start = place
    assume(zone not in ("Australia/Lord_Howe", "America/Havana", "Africa/Cairo"))
    sim = CronSim(cron, start.astimezone(ZoneInfo(zone)))
    theirs: list[datetime] = []
    while len(theirs) < 8:
        slot = next(sim).astimezone(UTC)
        if slot > start and slot not in theirs:  # it yields skipped times one by one, at the same instant
            theirs.append(slot)
    at, ours = start, []
    for _ in theirs:
        at = next_due(cron, zone, at)
        ours.append(at)
    assert ours == theirs


@settings(max_examples=60, deadline=None)
@given(CRONS, zones_and_instants())
def test_no_pause_is_longer_than_the_interval(cron: str, place: tuple[str, datetime]) -> None:
    zone, start = place
    longest, at = interval(cron, zone, start), next_due(cron, zone, start)
    checked = 0
    while checked == 0 or (checked < 100 and at < start + timedelta(days=399)):
        following = next_due(cron, zone, at)
        assert following - at <= longest
        at, checked = following, checked + 1


@given(
    st.text(max_size=40)
    | st.lists(st.text("0123456789*,-/#LWMONJAN", max_size=8), min_size=5, max_size=6).map(" ".join)
)
def test_checking_an_expression_never_fails(text: str) -> None:
    problem = check_cron(text)
    if problem is None:
        assert next_due(text, "UTC", datetime(2026, 1, 1, tzinfo=UTC)).year < 2070
    else:
        assert "expected" in problem


@given(st.text(max_size=80))
def test_checking_a_zone_never_fails(text: str) -> None:
    problem = check_zone(text)
    assert problem is None or "expected" in problem


@pytest.mark.parametrize("number", range(4))
def test_every_zone_is_cut_where_its_offset_changes(number: int) -> None:
    """Whatever the next release of the zone database brings: a zone that moves twice a day would show."""
    first, last = to_minute(datetime(2026, 1, 1, tzinfo=UTC)), to_minute(datetime(2027, 1, 1, tzinfo=UTC))
    for zone in sorted(zoneinfo.available_timezones())[number::4]:
        if check_zone(zone) is not None:
            continue
        info, walk = ZoneInfo(zone), stretches(zone, first)
        stretch = next(walk)
        for minute in range(first, last, 331):
            while minute >= stretch.end:
                following = next(walk)
                assert (following.start, following.before) == (stretch.end, stretch.offset)
                stretch = following
            assert from_minute(minute).astimezone(info).utcoffset() == stretch.offset * MINUTE, zone
        backwards = stretches_back(zone, stretch.start)
        assert next(backwards) == stretch


TYPES = st.sampled_from(list(BackupType))


@st.composite
def rows(draw: st.DrawFn) -> list[ScheduleRow]:
    zone, start = draw(zones_and_instants())
    crons = draw(st.lists(CRONS, min_size=1, max_size=4))
    return [ScheduleRow(f"s{number}", draw(TYPES), cron, zone, start) for number, cron in enumerate(crons)]


class Ledger:
    """What became of each slot, schedule by schedule, over a sequence of decisions."""

    def __init__(self, start: Sequence[ScheduleRow]) -> None:
        self.rows = list(start)
        self.started: list[tuple[str, datetime]] = []
        self.covered: list[tuple[str, datetime]] = []
        self.uncounted: Counter[str] = Counter()

    def move(self, cursors: dict[str, datetime]) -> None:
        for row in self.rows:
            assert cursors[row.name] >= row.cursor, "a cursor moved back"
        self.rows = [replace(row, cursor=cursors[row.name]) for row in self.rows]

    def wake(self, now: datetime, deadline: timedelta, jitter: timedelta, *, take: bool) -> None:
        decision = decide_slots(self.rows, now, deadline, jitter)
        assert len(decision.run) <= 1
        assert decision.next is not None
        assert decision.next > now, "nothing that is due may be left lying"
        for due in decision.run:
            assert now - deadline <= due.slot <= now - jitter
        if take:
            self.started += [(due.schedule, due.slot) for due in decision.run]
            self.covered += [(slot.schedule, slot.slot) for slot in decision.covered]
            self.uncounted.update(decision.missed)
            self.move(dict(decision.cursors))

    def skip(self, now: datetime) -> None:
        decision = skip_to(self.rows, now)
        self.uncounted.update(decision.skipped)
        self.move(dict(decision.cursors))


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "take", "take", "blocked", "skip"]), st.integers(-600, 3000)), max_size=25
)


@settings(max_examples=150, deadline=None)
@given(rows(), STEPS, st.integers(1, 300), st.integers(0, 60))
def test_every_slot_is_run_or_covered_or_counted_and_only_one_of_them(
    start: list[ScheduleRow], steps: list[tuple[str, int]], deadline: int, jitter: int
) -> None:
    """Whenever the operator wakes, whatever its clock does, and whether or not it could start what was due."""
    ledger, now = Ledger(start), start[0].cursor
    for what, minutes in steps:
        now += minutes * MINUTE
        if what == "skip":
            ledger.skip(now)
        else:
            ledger.wake(now, deadline * MINUTE, jitter * MINUTE, take=what == "take")
    answered = ledger.started + ledger.covered
    assert len(set(answered)) == len(answered), "a slot was answered twice"
    for before, after in zip(start, ledger.rows, strict=True):
        own = [slot for name, slot in answered if name == before.name]
        passed = count_due(before.cron, before.zone, before.cursor, after.cursor, ANY_COUNT)
        assert len(own) + ledger.uncounted[before.name] == passed
        assert all(before.cursor < slot <= after.cursor for slot in own)


@settings(max_examples=40, deadline=None)
@given(rows(), st.integers(0, 30))
def test_an_operator_that_wakes_when_told_misses_nothing(start: list[ScheduleRow], jitter: int) -> None:
    """Following `next` alone, every slot is run or covered in time."""
    ledger, now = Ledger(start), start[0].cursor
    for _ in range(15):
        decision = decide_slots(ledger.rows, now, HOUR, jitter * MINUTE)
        ledger.wake(now, HOUR, jitter * MINUTE, take=True)
        assert decision.next is not None
        now = decision.next
    assert not ledger.uncounted
    assert ledger.started
