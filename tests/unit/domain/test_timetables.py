"""What one policy asks of one database, from its schedules and its run-now token."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.database import PastRun, PolicyFacts, TimetableFacts, decide_timetable, slot_of
from databosun.domain.presets import effective
from databosun.domain.requests import Named

CREATED = datetime(2026, 3, 1, 0, 30, tzinfo=UTC)
TWO = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


def facts(**policy: object) -> TimetableFacts:
    """A policy with a full at two and an incremental every hour, seen for the first time."""
    spec = BackupPolicySpec.model_validate(
        {
            "databaseRef": {"name": "orders"},
            "storageRef": {"name": "prod"},
            "schedules": [
                {"name": "full", "type": "Full", "cron": "0 2 * * *"},
                {"name": "hourly", "type": "Incremental", "cron": "0 * * * *"},
            ],
        }
    )
    known = PolicyFacts(
        ref=Named("shop", "orders", "policy-uid"),
        created=CREATED,
        effective=effective(spec, EngineName.POSTGRESQL),
        suspended=False,
        forbid_overlap=True,
    )
    known = replace(known, **policy)  # type: ignore[arg-type]
    return TimetableFacts(Named("shop", "orders", "db-uid"), CREATED, known, None, ())


def ran(name: str, created: datetime, *, active: bool = False) -> PastRun:
    """A run of the full schedule."""
    return PastRun(name, "full", created, slot_of(name), active=active, succeeded=not active)


def test_nothing_is_due_at_first_sight() -> None:
    decided = decide_timetable(facts(), CREATED + timedelta(minutes=1))
    assert decided.start == ()
    assert decided.wake_at == datetime(2026, 3, 1, 1, 0, tzinfo=UTC)


def test_a_full_due_with_an_incremental_runs_the_full_alone() -> None:
    decided = decide_timetable(facts(), TWO)
    assert [(one.schedule, one.scheduled_for) for one in decided.start] == [("full", TWO)]
    assert {cursor.slot for cursor in decided.entry.schedules} == {TWO}


def test_a_kill_after_the_full_was_created_does_not_run_what_it_covered() -> None:
    before = facts()
    name = decide_timetable(before, TWO).start[0].name
    after = replace(before, runs=(ran(name, TWO),))
    decided = decide_timetable(after, TWO + timedelta(minutes=1))
    assert decided.start == ()
    assert {cursor.slot for cursor in decided.entry.schedules} == {TWO}


def test_a_slot_waits_while_a_run_goes_on() -> None:
    name = decide_timetable(facts(), TWO).start[0].name
    busy = replace(facts(), runs=(ran(name, TWO, active=True),))
    decided = decide_timetable(busy, TWO + timedelta(hours=1))
    assert decided.start == ()
    assert decided.wake_at == TWO + timedelta(hours=2)


def test_a_suspended_policy_owes_nothing_for_the_time_it_slept() -> None:
    asleep = decide_timetable(facts(suspended=True), TWO)
    assert asleep.start == ()
    woken = replace(facts(), entry=asleep.entry)
    decided = decide_timetable(woken, TWO + timedelta(hours=3, minutes=1))
    assert decided.start == ()
    assert decided.wake_at == TWO + timedelta(hours=4)


def test_a_token_that_is_there_at_first_sight_is_recorded_and_not_run() -> None:
    first = decide_timetable(facts(run_now="hourly/a"), CREATED)
    assert first.start == ()
    again = decide_timetable(replace(facts(run_now="hourly/a"), entry=first.entry), CREATED)
    assert again.start == ()
    fresh = decide_timetable(replace(facts(run_now="hourly/b"), entry=first.entry), CREATED)
    assert [one.schedule for one in fresh.start] == ["hourly"]


def test_a_cause_starts_one_run_however_often_it_is_seen() -> None:
    entry = decide_timetable(facts(), CREATED).entry
    known = replace(facts(cause="tenth"), entry=entry)
    (order,) = decide_timetable(known, CREATED).start
    after = replace(known, runs=(PastRun(order.name, "", CREATED, None, active=False, succeeded=True),))
    assert decide_timetable(after, CREATED).start == ()
    busy = replace(known, runs=(PastRun("other", "", CREATED, None, active=True, succeeded=False),))
    assert decide_timetable(busy, CREATED).start == ()


def test_an_added_schedule_owes_nothing_for_the_past() -> None:
    entry = decide_timetable(facts(), CREATED).entry
    only_full = entry.model_copy(update={"schedules": [one for one in entry.schedules if one.name == "full"]})
    decided = decide_timetable(replace(facts(), entry=only_full), TWO - timedelta(minutes=10))
    assert decided.start == ()


def test_the_slot_of_a_run_is_read_from_its_name() -> None:
    name = decide_timetable(facts(), TWO).start[0].name
    assert slot_of(name) == TWO
    assert slot_of("orders-now-mv0vkyfv") is None
