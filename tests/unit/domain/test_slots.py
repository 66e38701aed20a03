"""Which slot is run, which are covered, which are missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from databosun.api.v1alpha1.backuppolicy import BackupType
from databosun.domain.schedule import ScheduleRow, SlotDecision, decide_slots, skip_to

HOUR = timedelta(hours=1)
NONE = timedelta(0)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def row(name: str, kind: str, cron: str, cursor: str) -> ScheduleRow:
    return ScheduleRow(name, BackupType(kind), cron, "UTC", utc(cursor))


def ran(decision: SlotDecision) -> list[tuple[str, str]]:
    return [(due.schedule, due.slot.isoformat()[:16]) for due in decision.run]


def test_nothing_is_due_before_its_time() -> None:
    decision = decide_slots([row("full", "Full", "0 2 * * *", "2026-03-01T02:00")], utc("2026-03-02T01:59"), HOUR, NONE)
    assert decision.run == ()
    assert decision.cursors == {"full": utc("2026-03-01T02:00")}
    assert decision.missed == {}
    assert decision.next == utc("2026-03-02T02:00")


def test_a_slot_is_run_when_it_comes() -> None:
    decision = decide_slots([row("full", "Full", "0 2 * * *", "2026-03-01T02:00")], utc("2026-03-02T02:00"), HOUR, NONE)
    assert ran(decision) == [("full", "2026-03-02T02:00")]
    assert decision.run[0].start_until == utc("2026-03-02T03:00")
    assert decision.cursors == {"full": utc("2026-03-02T02:00")}
    assert decision.next == utc("2026-03-03T02:00")


def test_after_an_outage_the_newest_slot_runs_and_the_others_are_counted() -> None:
    decision = decide_slots(
        [row("full", "Full", "0 * * * *", "2026-03-01T00:00")], utc("2026-03-01T06:20"), timedelta(hours=3), NONE
    )
    assert ran(decision) == [("full", "2026-03-01T06:00")]
    assert decision.missed == {"full": 5}


def test_a_slot_past_its_deadline_is_missed() -> None:
    rows = [row("full", "Full", "0 2 * * *", "2026-03-01T02:00")]
    assert ran(decide_slots(rows, utc("2026-03-02T03:00"), HOUR, NONE)) == [("full", "2026-03-02T02:00")]
    late = decide_slots(rows, utc("2026-03-02T03:00") + timedelta(seconds=1), HOUR, NONE)
    assert late.run == ()
    assert late.missed == {"full": 1}
    assert late.cursors == {"full": utc("2026-03-02T02:00")}
    assert late.next == utc("2026-03-03T02:00")


def test_a_full_answers_the_incremental_that_is_due_with_it() -> None:
    rows = [
        row("incr", "Incremental", "0 * * * *", "2026-03-02T01:00"),
        row("diff", "Differential", "0 2 * * *", "2026-03-01T02:00"),
        row("full", "Full", "0 2 * * *", "2026-03-01T02:00"),
    ]
    decision = decide_slots(rows, utc("2026-03-02T02:00"), HOUR, NONE)
    assert ran(decision) == [("full", "2026-03-02T02:00")]
    assert [(covered.schedule, covered.by) for covered in decision.covered] == [("incr", "full"), ("diff", "full")]
    assert set(decision.cursors.values()) == {utc("2026-03-02T02:00")}
    assert decision.missed == {}
    assert decision.next == utc("2026-03-02T03:00")


def test_a_full_that_still_waits_answers_a_later_incremental() -> None:
    rows = [
        row("incr", "Incremental", "*/15 * * * *", "2026-03-02T02:00"),
        row("full", "Full", "0 2 * * *", "2026-03-01T02:00"),
    ]
    decision = decide_slots(rows, utc("2026-03-02T02:31"), HOUR, NONE)
    assert ran(decision) == [("full", "2026-03-02T02:00")]
    assert decision.cursors["incr"] == utc("2026-03-02T02:30")
    assert decision.missed == {"incr": 1}


def test_a_full_past_its_deadline_answers_nothing() -> None:
    rows = [
        row("incr", "Incremental", "0 * * * *", "2026-03-02T01:00"),
        row("full", "Full", "0 2 * * *", "2026-03-01T02:00"),
    ]
    decision = decide_slots(rows, utc("2026-03-02T05:10"), HOUR, NONE)
    assert ran(decision) == [("incr", "2026-03-02T05:00")]
    assert decision.missed == {"incr": 3, "full": 1}


def test_jitter_moves_the_start_and_not_the_slot() -> None:
    rows = [row("full", "Full", "0 2 * * *", "2026-03-01T02:00")]
    jitter = timedelta(minutes=4)
    early = decide_slots(rows, utc("2026-03-02T02:03"), HOUR, jitter)
    assert early.run == ()
    assert early.next == utc("2026-03-02T02:04")
    due = decide_slots(rows, utc("2026-03-02T02:04"), HOUR, jitter)
    assert ran(due) == [("full", "2026-03-02T02:00")]
    assert due.run[0].start_at == utc("2026-03-02T02:04")


def test_a_clock_set_back_runs_nothing_again() -> None:
    decision = decide_slots([row("full", "Full", "0 2 * * *", "2026-03-02T02:00")], utc("2026-03-01T02:00"), HOUR, NONE)
    assert decision.run == ()
    assert decision.cursors == {"full": utc("2026-03-02T02:00")}
    assert decision.next == utc("2026-03-03T02:00")


def test_a_policy_without_schedules_never_wakes() -> None:
    decision = decide_slots([], utc("2026-03-01T02:00"), HOUR, NONE)
    assert decision == SlotDecision((), (), {}, {}, None)


def test_slots_of_a_suspended_span_are_skipped_not_run() -> None:
    rows = [row("full", "Full", "0 * * * *", "2026-03-01T00:00"), row("new", "Full", "0 2 * * *", "2026-03-01T02:00")]
    resumed = skip_to(rows, utc("2026-03-01T06:20"))
    assert resumed.skipped == {"full": 6}
    assert resumed.cursors == {"full": utc("2026-03-01T06:00"), "new": utc("2026-03-01T02:00")}
    moved = [row("full", "Full", "0 * * * *", "2026-03-01T06:00")]
    assert decide_slots(moved, utc("2026-03-01T06:20"), HOUR, NONE).run == ()
