"""Log retention: what the recovery window needs never goes, whatever the backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from databosun.domain.claims import RetentionRules
from databosun.domain.logretention import (
    Expire,
    ExpiryFacts,
    LogBase,
    Show,
    Shown,
    Stop,
    decide_log_expiry,
    decide_log_retention,
    log_plan_hash,
    log_window,
    may_go,
)
from databosun.domain.wal import WalPoint

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SEGMENT = 100

minutes = st.integers(0, 100_000)
windows = st.builds(lambda many: timedelta(minutes=many), st.integers(1, 90_000))


@st.composite
def histories(draw: st.DrawFn) -> list[LogBase]:
    """Backups of one server; later ones mostly begin later, on the same timeline or a newer one."""
    found: list[LogBase] = []
    lsn, timeline = draw(st.integers(0, 1000)), 1
    for number, age in enumerate(sorted(draw(st.sets(minutes, max_size=8)), reverse=True)):
        lsn = max(0, lsn + draw(st.integers(-50, 2000)))
        timeline += draw(st.sampled_from([0, 0, 0, 1]))
        found.append(LogBase(f"b{number}", WalPoint(timeline, lsn), NOW - timedelta(minutes=age)))
    return draw(st.permutations(found))


@given(histories(), windows, st.integers(0, 100_000))
def test_every_instant_of_the_window_keeps_its_backup_and_log(
    bases: list[LogBase], window: timedelta, ago: int
) -> None:
    keep = decide_log_retention(bases, window, NOW)
    instant = NOW - min(timedelta(minutes=ago), window)
    reaching = [base for base in bases if base.at <= instant]
    if not reaching:
        return
    assert keep is not None
    base = max(reaching, key=lambda one: one.at)
    for start in range(base.start.lsn // SEGMENT, base.start.lsn // SEGMENT + 50):
        assert not may_go(base.start.timeline, (start + 1) * SEGMENT, keep)


@given(histories(), windows, windows)
def test_a_longer_window_never_lets_more_go(bases: list[LogBase], one: timedelta, other: timedelta) -> None:
    short, long = sorted((one, other))
    few, many = decide_log_retention(bases, long, NOW), decide_log_retention(bases, short, NOW)
    if few is None or many is None:
        assert few is many
        return
    assert few.since <= many.since
    for end in range(0, 5000, SEGMENT):
        for timeline in range(1, 5):
            assert may_go(timeline, end, many) or not may_go(timeline, end, few)


@given(histories(), windows)
def test_one_more_backup_never_makes_an_older_instant_of_the_window_lose_its_log(
    bases: list[LogBase], window: timedelta
) -> None:
    newest = LogBase("new", WalPoint(9, 10**6), NOW)
    assert decide_log_retention([*bases, newest], window, NOW) is not None
    before = decide_log_retention(bases, window, NOW)
    after = decide_log_retention([*bases, newest], window, NOW)
    if before is not None:
        assert after == before


@given(histories())
def test_nothing_goes_without_a_window_or_a_backup(bases: list[LogBase]) -> None:
    assert decide_log_retention(bases, None, NOW) is None
    assert decide_log_retention([], timedelta(days=1), NOW) is None


def test_the_log_before_the_windows_backup_goes() -> None:
    bases = [
        LogBase("old", WalPoint(1, 100), NOW - timedelta(days=9)),
        LogBase("anchor", WalPoint(1, 500), NOW - timedelta(days=8)),
        LogBase("new", WalPoint(2, 900), NOW - timedelta(days=1)),
    ]
    keep = decide_log_retention(bases, timedelta(days=7), NOW)
    assert keep is not None
    assert (keep.base, keep.since) == ("anchor", NOW - timedelta(days=8))
    assert may_go(1, 500, keep)
    assert not may_go(1, 501, keep)
    assert not may_go(2, 500, keep)


GRACE = timedelta(hours=1)


def expiry(bases: list[LogBase], window: timedelta, shown: Shown | None, *, held: bool = False) -> ExpiryFacts:
    return ExpiryFacts(tuple(bases), window, GRACE, held, WalPoint(1, 0), shown)


@given(histories(), windows, st.integers(-120, 120), st.data())
def test_log_goes_only_after_it_was_shown_for_the_grace_and_never_what_is_needed(
    bases: list[LogBase], window: timedelta, minutes_shown: int, data: st.DataObject
) -> None:
    names = [base.id for base in bases] + ["gone"]
    shown = Shown(data.draw(st.sampled_from(names)), NOW - timedelta(minutes=minutes_shown))
    decision = decide_log_expiry(expiry(bases, window, shown), NOW)
    needed = decide_log_retention(bases, window, NOW)
    if decision is None:
        return
    assert needed is not None
    assert decision.keep.start.lsn <= needed.start.lsn
    assert decision.keep.start.timeline <= needed.start.timeline
    if isinstance(decision, Expire):
        assert decision.keep.base == shown.base
        assert shown.since + GRACE <= NOW
    elif isinstance(decision, Show):
        assert decision.until > NOW


@given(histories(), windows, st.data())
def test_a_log_that_most_backups_need_goes_by_consent_to_that_very_plan_only(
    bases: list[LogBase], window: timedelta, data: st.DataObject
) -> None:
    shown = Shown(data.draw(st.sampled_from([base.id for base in bases])), NOW - 2 * GRACE) if bases else None
    facts = expiry(bases, window, shown)
    decision = decide_log_expiry(facts, NOW)
    if isinstance(decision, Stop):
        assert decision.lost > 1
        assert 2 * decision.lost > decision.of
        other = replace(facts, approved=frozenset({log_plan_hash("another")}))
        assert decide_log_expiry(other, NOW) == decision
        agreed = decide_log_expiry(replace(facts, approved=frozenset({decision.hash})), NOW)
        assert isinstance(agreed, Expire | Show)
        assert agreed.keep == decision.keep
    elif isinstance(decision, Expire):
        going = [base for base in bases if base.at < decision.keep.since and base.start.lsn < decision.keep.start.lsn]
        assert len(going) <= max(1, len(bases) // 2)


def test_a_window_that_was_cut_to_a_tenth_stops_the_plan() -> None:
    bases = [LogBase(f"day{age}", WalPoint(1, 1000 - age), NOW - timedelta(days=age)) for age in range(30)]
    decision = decide_log_expiry(expiry(bases, timedelta(days=3), None), NOW)
    assert isinstance(decision, Stop)
    assert (decision.keep.base, decision.lost, decision.of) == ("day3", 26, 30)
    assert log_plan_hash("day3") in decision.message
    steady = decide_log_expiry(expiry(bases[:5], timedelta(days=3), None), NOW)
    assert isinstance(steady, Show)


@given(histories(), windows)
def test_a_plan_that_is_shown_stands_until_it_is_carried_out(bases: list[LogBase], window: timedelta) -> None:
    approved = frozenset(log_plan_hash(base.id) for base in bases)
    first = decide_log_expiry(replace(expiry(bases, window, None), approved=approved), NOW)
    if first is None:
        return
    assert isinstance(first, Show)
    later = NOW + GRACE
    newest = LogBase("new", WalPoint(9, 10**6), later)
    facts = expiry([*bases, newest], window, Shown(first.keep.base, NOW))
    due = decide_log_expiry(replace(facts, approved=approved), later)
    assert due == Expire(first.keep)


@given(histories(), windows)
def test_a_hold_lets_nothing_go(bases: list[LogBase], window: timedelta) -> None:
    shown = Shown(bases[0].id, NOW - 2 * GRACE) if bases else None
    assert decide_log_expiry(expiry(bases, window, shown, held=True), NOW) is None


def test_the_window_of_a_log() -> None:
    days = timedelta(days=1)
    assert log_window([RetentionRules(daily=30, monthly=84)]) == 30 * days
    assert log_window([RetentionRules(daily=30, recovery_window=7 * days)]) == 7 * days
    assert log_window([RetentionRules(recovery_window=7 * days), RetentionRules(daily=30)]) == 30 * days
    assert log_window([RetentionRules(recovery_window=7 * days), RetentionRules(recovery_window=9 * days)]) == 9 * days
    assert log_window([RetentionRules(keep_last=3)]) is None
    assert log_window([]) is None
