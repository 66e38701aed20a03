"""Which backups are kept, and why."""

from __future__ import annotations

from datetime import timedelta

import pytest

from databosun.domain.closure import BackupFact, chains, children_first
from databosun.domain.retention import Reason, RetentionPlan, RetentionRules, decide_retention, failed_records_to_trim
from support.backups import DIFFERENTIAL, INCREMENTAL, at, backup

NOW = at("2026-06-01T12:00")
LAST_ONE = RetentionRules(keep_last=1)


def dailies(number: int, start: str = "2026-05-01T02:00") -> list[BackupFact]:
    """One full a day: d00, d01, …"""
    return [backup(f"d{day:02d}", at(start) + timedelta(days=day)) for day in range(number)]


def decide(facts: list[BackupFact], rules: RetentionRules, zone: str = "UTC") -> RetentionPlan:
    return decide_retention(facts, rules, NOW, zone)


def test_without_a_rule_everything_is_kept() -> None:
    for rules in (RetentionRules(), RetentionRules(keep_forever="Yearly")):
        plan = decide(dailies(5), rules)
        assert plan.delete == ()
        assert all(Reason.NO_RULES in reasons for reasons in plan.keep.values())


def test_keep_last_lets_the_oldest_go_first() -> None:
    plan = decide(dailies(5), RetentionRules(keep_last=3))
    assert plan.delete == ("d00", "d01")
    assert plan.keep["d02"] == (Reason.KEEP_LAST,)
    assert plan.keep["d04"] == (Reason.NEWEST, Reason.KEEP_LAST)


def test_one_that_was_let_go_says_since_when() -> None:
    plan = decide(dailies(5), RetentionRules(keep_last=3))
    assert plan.expires["d00"] == at("2026-05-04T02:00")
    assert plan.announced == {"d00": at("2026-05-04T02:00"), "d01": at("2026-05-05T02:00")}


def test_days_are_counted_where_there_are_backups() -> None:
    """A week without backups expires nothing."""
    facts = [*dailies(3), backup("late", "2026-05-20T02:00")]
    assert decide(facts, RetentionRules(daily=4)).delete == ()
    assert decide(facts, RetentionRules(daily=3)).delete == ("d00",)


def test_the_first_full_stands_for_its_day() -> None:
    evening = backup("evening", "2026-05-01T18:00")
    midnight = backup("midnight", "2026-05-02T00:00", on=evening)
    one = backup("one", "2026-05-02T01:00", on=evening)
    morning = backup("morning", "2026-05-02T02:00")
    noon = backup("noon", "2026-05-02T12:00")
    newest = backup("newest", "2026-05-03T02:00")
    plan = decide([evening, midnight, one, morning, noon, newest], RetentionRules(daily=3))
    assert set(plan.delete) == {"midnight", "one", "noon"}
    assert plan.keep["morning"] == (Reason.DAILY,)
    assert plan.expires["midnight"] == morning.at  # it stood for the day until the full came


def test_a_day_without_a_full_is_kept_by_its_first_incremental_and_all_under_it() -> None:
    full = backup("full", "2026-05-01T02:00")
    one = backup("one", "2026-05-02T02:00", on=full)
    two = backup("two", "2026-05-03T02:00", on=one, base="full")
    three = backup("three", "2026-05-03T14:00", on=two, base="full")
    newest = backup("newest", "2026-05-04T02:00")
    plan = decide([full, one, two, three, newest], RetentionRules(daily=2))
    assert plan.delete == ("three",)
    assert plan.keep["one"] == plan.keep["full"] == (Reason.NEEDED,)


def test_days_begin_at_midnight_of_the_policy() -> None:
    facts = [backup("a", "2026-05-01T21:00"), backup("b", "2026-05-01T22:30"), backup("c", "2026-05-03T12:00")]
    assert decide(facts, RetentionRules(daily=9), "UTC").delete == ("b",)
    assert decide(facts, RetentionRules(daily=9), "Europe/Berlin").delete == ()


def test_weeks_begin_on_monday_and_cross_the_year() -> None:
    facts = [
        backup("sunday", "2025-12-28T02:00"),
        backup("monday", "2025-12-29T02:00"),
        backup("new-year", "2026-01-01T02:00"),
        backup("next-monday", "2026-01-05T02:00"),
    ]
    plan = decide(facts, RetentionRules(weekly=9))
    assert plan.delete == ("new-year",)


def test_months_and_years_and_for_ever() -> None:
    facts = [backup(f"m{month:02d}", f"{2023 + month // 12}-{month % 12 + 1:02d}-15") for month in range(40)]
    assert set(decide(facts, RetentionRules(monthly=12)).keep) == {f"m{month:02d}" for month in range(28, 40)}
    assert set(decide(facts, RetentionRules(yearly=2)).keep) == {"m24", "m36", "m39"}
    forever = decide(facts, RetentionRules(keep_last=1, keep_forever="Yearly"))
    assert set(forever.keep) == {"m00", "m12", "m24", "m36", "m39"}
    assert forever.keep["m00"] == (Reason.FOREVER,)
    assert forever.expires["m00"] is None
    assert len(decide(facts, RetentionRules(keep_last=1, keep_forever="Monthly")).keep) == 40


def test_the_window_keeps_what_it_takes_to_reach_its_start() -> None:
    facts = dailies(31)  # d00 = 1 May … d30 = 31 May; the window starts on 25 May, 12:00
    plan = decide(facts, RetentionRules(recovery_window=timedelta(days=7)))
    assert plan.delete == tuple(f"d{day:02d}" for day in range(24))
    assert plan.keep["d24"] == (Reason.RECOVERY_WINDOW,)  # of 25 May, 02:00
    assert plan.next_change == at("2026-06-02T02:00")  # when that of 26 May reaches back far enough
    assert plan.expires["d24"] == plan.next_change


def test_time_alone_never_takes_the_last_backup_that_reaches_the_window() -> None:
    facts = dailies(3, "2024-05-01T02:00")
    plan = decide(facts, RetentionRules(recovery_window=timedelta(days=7)))
    assert plan.delete == ("d00", "d01")
    assert plan.next_change is None


def test_the_newest_and_the_newest_proven_stay() -> None:
    facts = dailies(5)
    facts[1] = backup("d01", facts[1].at, proven=True)
    facts[2] = backup("d02", facts[2].at, proven=True, proven_at=at("2026-05-09"))
    plan = decide(facts, LAST_ONE)
    assert plan.delete == ("d00", "d01", "d03")
    assert plan.keep["d02"] == (Reason.NEWEST_PROVEN,)
    assert plan.expires["d01"] == at("2026-05-09")  # it was the proof until then


def test_a_newer_failure_expires_nothing() -> None:
    facts = [*dailies(1), backup("bad", "2026-05-20", succeeded=False)]
    plan = decide(facts, LAST_ONE)
    assert plan.delete == ()
    assert plan.keep == {"d00": (Reason.NEWEST, Reason.KEEP_LAST), "bad": (Reason.FAILED,)}


def test_holds_and_locks_keep_the_closure() -> None:
    full = backup("full", "2026-05-01T02:00")
    one = backup("one", "2026-05-02T02:00", on=full)
    for more in ({"held": True}, {"locked_until": NOW + timedelta(days=3)}):
        two = backup("two", "2026-05-03T02:00", on=one, base="full", **more)
        plan = decide([full, one, two, *dailies(2, "2026-05-10T02:00")], LAST_ONE)
        assert plan.delete == ("d00",)
        assert plan.keep["full"] == (Reason.NEEDED,)
        assert plan.expires["full"] == more.get("locked_until")
        assert plan.next_change == more.get("locked_until")


def test_a_lock_that_is_over_holds_nothing() -> None:
    facts = [backup("old", "2026-05-01", locked_until=NOW), *dailies(1, "2026-05-10T02:00")]
    plan = decide(facts, LAST_ONE)
    assert plan.delete == ("old",)
    assert plan.expires["old"] == NOW


def test_what_a_run_in_flight_stands_on_stays() -> None:
    full = backup("full", "2026-05-01T02:00")
    running = backup("running", "2026-05-20T02:00", on=full, succeeded=False, in_flight=True, finished_at=None)
    plan = decide([full, running, *dailies(1, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ()
    assert plan.keep["full"] == (Reason.NEEDED,)
    failed = backup("running", "2026-05-20T02:00", on=full, succeeded=False, finished_at=at("2026-05-20T03:00"))
    plan = decide([full, failed, *dailies(1, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ("full",)
    assert plan.expires["full"] == at("2026-05-20T03:00")


def test_a_recreated_database_never_expires_the_old_ones_backups() -> None:
    old = [backup(f"o{day}", f"2026-04-0{day}", system_identifier="before") for day in (1, 2)]
    other = [backup(f"x{day}", f"2026-04-0{day}", database_uid="other") for day in (1, 2)]
    plan = decide([*old, *other, *dailies(9)], RetentionRules(keep_last=2))
    assert {"o1", "o2", "x1", "x2"} <= set(plan.keep)


def test_another_policys_backups_are_left_alone_and_keep_what_they_stand_on() -> None:
    full = backup("full", "2026-05-01T02:00")
    theirs = backup("theirs", "2026-05-02T02:00", on=full, governed=False)
    plan = decide([full, theirs, *dailies(2, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ("d00",)
    assert plan.keep["theirs"] == (Reason.NOT_GOVERNED,)
    assert plan.keep["full"] == (Reason.NEEDED,)


def test_children_go_before_what_they_stand_on() -> None:
    full = backup("z-full", "2026-05-01T02:00")
    one = backup("a-one", "2026-05-02T02:00", on=full)
    two = backup("m-two", "2026-05-03T02:00", on=one, base="z-full")
    other = backup("b-other", "2026-05-01T12:00")
    plan = decide([full, one, two, other, *dailies(1, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ("m-two", "a-one", "z-full", "b-other")


def test_a_backup_on_its_way_out_counts_for_nothing() -> None:
    facts = dailies(3)
    facts[2] = backup("d02", facts[2].at, deleting=True)
    plan = decide(facts, LAST_ONE)
    assert plan.keep == {"d02": (Reason.DELETING,), "d01": (Reason.NEWEST, Reason.KEEP_LAST)}
    assert plan.delete == ("d00",)


def test_a_child_that_a_person_deletes_keeps_its_parent_until_it_is_gone() -> None:
    """Its data may well stay: a guard may carry the delete out as Retain."""
    full = backup("full", "2026-05-01T02:00")
    child = backup("child", "2026-05-12T02:00", on=full, deleting=True, held=True)
    plan = decide([full, child, *dailies(1, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ()
    let_go = backup("child", "2026-05-02T02:00", on=full, deleting=True)
    assert decide([full, let_go, *dailies(1, "2026-05-10T02:00")], LAST_ONE).delete == ("full",)


def test_records_that_name_each_other_are_kept() -> None:
    one, two = backup("one", "2026-05-01", parent="two"), backup("two", "2026-05-02", parent="one")
    plan = decide([one, two, *dailies(1, "2026-05-10T02:00")], LAST_ONE)
    assert plan.delete == ()


def test_expiry_is_what_the_longest_rule_says() -> None:
    plan = decide(dailies(31), RetentionRules(daily=40, monthly=2))
    assert plan.expires["d00"] == at("2026-07-01")  # two more months; 40 days end on 10 June
    assert plan.expires["d01"] == at("2026-06-11")
    assert decide(dailies(31), RetentionRules(keep_last=40, daily=40)).expires["d01"] is None


@pytest.mark.parametrize("rules", [RetentionRules(yearly=10_000), RetentionRules(daily=10_000, monthly=10_000)])
def test_the_greatest_limits_reach_beyond_the_calendar(rules: RetentionRules) -> None:
    assert decide(dailies(3), rules).delete == (("d01",) if rules.yearly else ())


def test_failed_records_beyond_the_newest_few_are_trimmed() -> None:
    failed = [backup(f"f{day}", f"2026-05-0{day}", succeeded=False) for day in range(1, 6)]
    held = backup("held", "2026-04-01", succeeded=False, held=True)
    running = backup("running", "2026-04-02", succeeded=False, in_flight=True)
    other = backup("other", "2026-04-03", succeeded=False, database_uid="other")
    assert failed_records_to_trim([*failed, held, running, other, *dailies(2)], keep=2) == ("f1", "f2", "f3")
    assert failed_records_to_trim(failed, keep=9) == ()


def test_chains_are_told_by_their_base() -> None:
    full = backup("full", "2026-05-01T02:00")
    one = backup("one", "2026-05-02T02:00", on=full)
    differential = backup("diff", "2026-05-03T02:00", on=full, type=DIFFERENTIAL)
    orphan = backup("orphan", "2026-05-04T02:00", type=INCREMENTAL, parent="gone", base="lost")
    sibling = backup("sibling", "2026-05-05T02:00", type=INCREMENTAL, parent="orphan", base="lost")
    found = chains([sibling, orphan, differential, one, full])
    assert [(chain.base, chain.members) for chain in found] == [
        ("full", ("full", "one", "diff")),
        ("lost", ("orphan", "sibling")),
    ]
    assert [fact.id for fact in children_first([full, one, orphan, sibling])] == ["one", "full", "sibling", "orphan"]
