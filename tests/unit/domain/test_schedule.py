"""When schedules are due: clock changes, outages, odd expressions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from databosun.domain.schedule import check_cron, check_zone, count_due, interval, jitter_for, last_due, next_due

BERLIN = "Europe/Berlin"
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(instant: datetime, zone: str) -> str:
    return instant.astimezone(ZoneInfo(zone)).strftime("%d. %H:%M")


def slots(cron: str, zone: str, since: str, until: str) -> list[str]:
    """The slots of a span as a clock on the wall shows them."""
    found, at = [], utc(since)
    while (at := next_due(cron, zone, at)) <= utc(until):
        found.append(wall(at, zone))
    return found


# Clocks in Berlin: 29 March 2026, 02:00 -> 03:00 (01:00 UTC); 25 October 2026, 03:00 -> 02:00 (01:00 UTC).


def test_a_time_that_the_clock_skips_fires_when_the_gap_ends() -> None:
    assert slots("30 2 * * *", BERLIN, "2026-03-27T12:00", "2026-03-30T12:00") == [
        "28. 02:30",
        "29. 03:00",
        "30. 02:30",
    ]


def test_times_that_the_clock_skips_fire_together_once() -> None:
    assert slots("0,20,40 2,3 * * *", BERLIN, "2026-03-29T00:00", "2026-03-29T03:00") == [
        "29. 03:00",
        "29. 03:20",
        "29. 03:40",
    ]
    assert count_due("0,20,40 2,3 * * *", BERLIN, utc("2026-03-29T00:00"), utc("2026-03-29T03:00"), 99) == 3


def test_a_time_that_comes_twice_fires_the_first_time_only() -> None:
    found = slots("30 2 * * *", BERLIN, "2026-10-24T12:00", "2026-10-26T12:00")
    assert found == ["25. 02:30", "26. 02:30"]
    assert next_due("30 2 * * *", BERLIN, utc("2026-10-24T12:00")) == utc("2026-10-25T00:30")


def test_asked_in_the_second_pass_a_time_that_came_twice_is_past() -> None:
    second_pass = utc("2026-10-25T01:10")
    assert next_due("30 2 * * *", BERLIN, second_pass) == utc("2026-10-26T01:30")
    assert last_due("30 2 * * *", BERLIN, utc("2026-10-20T00:00"), second_pass) == utc("2026-10-25T00:30")


def test_an_hourly_schedule_follows_elapsed_time() -> None:
    for since in ("2026-03-28T20:00", "2026-10-24T20:00"):
        at = utc(since)
        found = [at := next_due("30 * * * *", BERLIN, at) for _ in range(10)]
        assert {later - earlier for earlier, later in pairwise(found)} == {HOUR}


def test_every_other_hour_fires_at_each_hour_that_exists() -> None:
    assert slots("0 */2 * * *", BERLIN, "2026-03-28T22:00", "2026-03-29T05:00") == [
        "29. 00:00",
        "29. 04:00",
        "29. 06:00",
    ]
    assert slots("0 */2 * * *", BERLIN, "2026-10-24T21:00", "2026-10-25T04:00") == [
        "25. 00:00",
        "25. 02:00",
        "25. 02:00",
        "25. 04:00",
    ]


def test_a_clock_that_moves_by_half_an_hour() -> None:
    """Lord Howe: 5 April 2026, 02:00 -> 01:30."""
    found = slots("*/15 1,2 * * *", "Australia/Lord_Howe", "2026-04-04T13:00", "2026-04-04T18:00")
    assert found == [
        *["05. 01:00", "05. 01:15", "05. 01:30", "05. 01:45"],
        *["05. 01:30", "05. 01:45", "05. 02:00", "05. 02:15", "05. 02:30", "05. 02:45"],
    ]


def test_a_clock_that_moves_at_midnight() -> None:
    """Havana: 8 March 2026, 00:00 -> 01:00; 1 November 2026, 01:00 -> 00:00."""
    assert slots("0 0 * * *", "America/Havana", "2026-03-07T12:00", "2026-03-09T12:00") == ["08. 01:00", "09. 00:00"]
    assert slots("30 0 * * *", "America/Havana", "2026-10-31T12:00", "2026-11-02T12:00") == ["01. 00:30", "02. 00:30"]


def test_an_instant_is_not_its_own_next_but_its_own_last() -> None:
    slot = utc("2026-03-01T02:00")
    assert next_due("0 2 * * *", "UTC", slot) == slot + timedelta(days=1)
    assert last_due("0 2 * * *", "UTC", slot - HOUR, slot) == slot
    assert last_due("0 2 * * *", "UTC", slot, slot + HOUR) is None
    assert last_due("0 2 * * *", "UTC", slot - HOUR, slot - timedelta(microseconds=1)) is None
    assert next_due("0 2 * * *", "UTC", slot - timedelta(microseconds=1)) == slot


def test_a_span_that_ends_before_it_begins_has_no_slot() -> None:
    assert last_due("* * * * *", BERLIN, utc("2026-03-02T00:00"), utc("2026-03-01T00:00")) is None
    assert count_due("* * * * *", BERLIN, utc("2026-03-02T00:00"), utc("2026-03-01T00:00"), 99) == 0


def test_a_year_of_minutes_is_counted_without_visiting_them() -> None:
    since, until = utc("2025-01-01T00:00"), utc("2026-01-01T00:00")
    assert count_due("* * * * *", BERLIN, since, until, 10**9) == 365 * 24 * 60
    assert count_due("* * * * *", BERLIN, since, until, 1000) == 1000
    assert last_due("* * * * *", BERLIN, since, until + timedelta(seconds=59)) == until


def test_a_rare_day_is_found_both_ways() -> None:
    """With a star in day of week both days must match: 29 February, and a Sunday."""
    cron = "0 0 29 2 */7"
    assert next_due(cron, "UTC", utc("2026-01-01T00:00")) == utc("2032-02-29T00:00")
    assert last_due(cron, "UTC", utc("2000-01-01T00:00"), utc("2026-01-01T00:00")) == utc("2004-02-29T00:00")


@pytest.mark.parametrize(
    ("cron", "zone", "longest"),
    [
        ("* * * * *", BERLIN, timedelta(minutes=1)),
        ("0 * * * *", BERLIN, HOUR),
        ("0,10 * * * *", "UTC", timedelta(minutes=50)),
        ("0 2 * * *", "UTC", timedelta(days=1)),
        ("0 2 * * *", BERLIN, timedelta(hours=25)),
        ("0 2 * * 0", "UTC", timedelta(days=7)),
        ("0 2,14 * * 1-5", "UTC", timedelta(hours=60)),
        ("0 2 1 * *", "UTC", timedelta(days=31)),
        ("0 2 31 * *", "UTC", timedelta(days=61)),
        ("0 0 1 1 *", "UTC", timedelta(days=366)),
        ("0 0 29 2 *", "UTC", timedelta(days=1461)),
    ],
)
def test_the_interval_is_the_longest_pause_in_a_year(cron: str, zone: str, longest: timedelta) -> None:
    assert interval(cron, zone, utc("2027-06-01T00:00")) == longest


@pytest.mark.parametrize(
    "good", ["0 2 * * *", "*/15 0-6 1,15 JAN-MAR mon-fri", "0 0 L * *", "0 0 LW * *", "0 0 * * 5L"]
)
def test_a_good_expression(good: str) -> None:
    assert check_cron(good) is None


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("0 2 * *", "4 fields; expected five"),
        ("0 0 2 * * *", "6 fields; expected five"),
        ("@daily", "1 fields; expected five"),
        ("60 2 * * *", "bad minute"),
        ("0 24 * * *", "bad hour"),
        ("0 2 0 * *", "bad day-of-month"),
        ("0 2 * 13 *", "bad month"),
        ("0 2 * * 8", "bad day-of-week"),
        ("*/0 2 * * *", "bad minute"),
        ("0 22-2 * * *", "bad hour"),
        ("0 2 30 2 *", "bad day-of-month"),
        ("0 2 */31 2 1#5", "matches no day"),
    ],
)
def test_a_bad_expression_is_named_with_what_is_expected(bad: str, why: str) -> None:
    problem = check_cron(bad)
    assert problem is not None
    assert bad in problem
    assert why in problem
    assert "expected" in problem


@pytest.mark.parametrize("good", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_a_good_zone(good: str) -> None:
    assert check_zone(good) is None


@pytest.mark.parametrize(
    "bad", ["", "Europe", "../UTC", "right/UTC", "localtime", "CEST", "europe/berlin", "+02:00", "a" * 64]
)
def test_a_bad_zone_is_named_with_what_is_expected(bad: str) -> None:
    problem = check_zone(bad)
    assert problem is not None
    assert repr(bad) in problem
    assert "expected an IANA name" in problem


def test_a_misspelt_zone_is_told_the_right_one() -> None:
    assert "did you mean Europe/Berlin?" in str(check_zone("Europe/Berlim"))


def test_jitter_is_spread_and_stays() -> None:
    offsets = [jitter_for(f"policy/{number}", timedelta(minutes=5)) for number in range(1000)]
    assert min(offsets) >= timedelta(0)
    assert max(offsets) < timedelta(minutes=5)
    # 1,000 seeds over 300 seconds: by chance alone about eleven seconds stay empty.
    assert len(set(offsets)) > 250
    assert offsets[7] == jitter_for("policy/7", timedelta(minutes=5))
    assert jitter_for("policy/7", timedelta(0)) == timedelta(0)
