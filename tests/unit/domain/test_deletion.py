"""When a plan is carried out, and what a person's own delete does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.backuppolicy import DeletionPolicy
from databosun.domain.closure import BackupFact
from databosun.domain.consent import Consent
from databosun.domain.deletion import (
    Blocked,
    DeleteData,
    DeletionDecision,
    Go,
    Guard,
    Nothing,
    PendingPlan,
    Refuse,
    RetainInstead,
    Wait,
    decide_deletion,
    person_delete,
    plan_hash,
)
from databosun.domain.retention import RetentionRules, decide_retention
from support.backups import at, backup

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = at("2026-05-01T02:00")
KEEP_THREE = RetentionRules(keep_last=3)


def fulls(number: int) -> list[BackupFact]:
    """One full a day: d0, d1, …"""
    return [backup(f"d{day}", START + day * DAY) for day in range(number)]


def decide(
    facts: list[BackupFact],
    now: datetime,
    pending: PendingPlan | None = None,
    *,
    rules: RetentionRules = KEEP_THREE,
    approvals: tuple[Consent, ...] = (),
) -> DeletionDecision:
    return decide_deletion(decide_retention(facts, rules, now, "UTC"), pending, approvals, now, DAY)


def test_with_nothing_to_delete_nothing_is_shown() -> None:
    now = START + 3 * DAY
    assert decide(fulls(3), now) == Nothing()
    assert decide(fulls(3), now, PendingPlan("0" * 32, START, 1, ("d9",))) == Nothing()


def test_a_plan_is_shown_for_the_grace_and_then_carried_out() -> None:
    facts, now = fulls(4), START + 3 * DAY
    shown = decide(facts, now)
    assert shown == Wait(PendingPlan(plan_hash(["d0"]), now, 1, ("d0",)), now + DAY)
    assert decide(facts, now + DAY - timedelta(seconds=1), shown.pending) == shown
    assert decide(facts, now + DAY, shown.pending) == Go(("d0",), shown.pending)


def test_what_is_let_go_later_waits_for_the_next_batch() -> None:
    now = START + 3 * DAY
    shown = decide(fulls(4), now)
    assert isinstance(shown, Wait)
    later = now + DAY
    assert decide(fulls(5), later, shown.pending) == Go(("d0",), shown.pending)
    second = decide(fulls(5)[1:], later, shown.pending)
    assert second == Wait(PendingPlan(plan_hash(["d1"]), later, 1, ("d1",)), later + DAY)


def test_any_other_change_starts_the_grace_anew() -> None:
    now = START + 5 * DAY
    facts = fulls(7)
    shown = decide(facts, now, rules=RetentionRules(keep_last=5))
    assert isinstance(shown, Wait)
    assert shown.pending.count == 2
    later = now + DAY
    held = [backup("d0", START, held=True), *facts[1:]]
    changed = decide(held, later, shown.pending, rules=RetentionRules(keep_last=5))
    assert changed == Wait(PendingPlan(plan_hash(["d1"]), later, 1, ("d1",)), later + DAY)


def test_a_shorter_rule_is_shown_before_it_deletes() -> None:
    """Its victims were let go long ago as far as their dates can tell, and nobody has seen them in a plan."""
    now = START + 8 * DAY
    shown = decide(fulls(9), now, rules=RetentionRules(keep_last=8))
    assert isinstance(shown, Wait)
    stricter = decide(fulls(9), now + DAY, shown.pending, rules=RetentionRules(keep_last=6))
    assert isinstance(stricter, Wait)
    assert (stricter.pending.since, stricter.pending.count) == (now + DAY, 3)


def test_a_since_from_a_clock_that_was_ahead_proves_nothing() -> None:
    now = START + 3 * DAY
    decision = decide(fulls(4), now, PendingPlan(plan_hash(["d0"]), now + HOUR, 1, ("d0",)))
    assert isinstance(decision, Wait)
    assert decision.pending.since == now


def test_fifty_names_are_shown_and_all_are_hashed() -> None:
    facts = [backup(f"b{number:03d}", START + number * HOUR) for number in range(200)]
    now = START + 200 * HOUR
    decision = decide(facts, now, rules=RetentionRules(keep_last=101))
    assert isinstance(decision, Wait)
    assert len(decision.pending.names) == 50
    assert decision.pending.count == 99
    assert decision.pending.hash == plan_hash(f"b{number:03d}" for number in range(99))


def test_a_hash_does_not_depend_on_order_but_on_every_name() -> None:
    assert plan_hash(["a", "b"]) == plan_hash(["b", "a", "a"])
    assert plan_hash(["a", "b"]) != plan_hash(["a"])
    assert plan_hash(["ab"]) != plan_hash(["a", "b"])


# The breaker


def test_most_of_a_databases_chains_at_once_need_a_person() -> None:
    now = START + 10 * DAY
    blocked = decide(fulls(10), now, rules=RetentionRules(keep_last=4))
    assert isinstance(blocked, Blocked)
    assert [(lost.chains, lost.of) for lost in blocked.lost] == [(6, 10)]
    assert blocked.pending.hash in blocked.message
    assert "6 of 10 chains" in blocked.message
    half = decide(fulls(10), now, rules=RetentionRules(keep_last=5))
    assert isinstance(half, Wait)


def test_it_stays_blocked_however_long_it_was_shown() -> None:
    now = START + 10 * DAY
    blocked = decide(fulls(10), now, rules=RetentionRules(keep_last=4))
    assert isinstance(blocked, Blocked)
    assert decide(fulls(10), now + 30 * DAY, blocked.pending, rules=RetentionRules(keep_last=4)) == blocked


def test_one_of_two_chains_is_no_mass_deletion() -> None:
    assert isinstance(decide(fulls(2), START + 2 * DAY, rules=RetentionRules(keep_last=1)), Wait)


def test_an_only_chain_that_a_person_deletes_is_no_mass_deletion() -> None:
    alone = backup("x0", START, database_uid="other", deleting=True)
    assert isinstance(decide([*fulls(4), alone], START + 4 * DAY), Wait)


def test_incrementals_alone_trip_nothing() -> None:
    """As long as the full stays, the chain does."""
    full = backup("full", START)
    chain = [backup(f"i{number}", START + number * HOUR, on=full) for number in range(1, 9)]
    decision = decide([full, *chain], START + DAY, rules=RetentionRules(daily=1))
    assert isinstance(decision, Wait)
    assert decision.pending.count == 7


def test_another_databases_chains_do_not_make_up_for_it() -> None:
    others = [backup(f"x{number}", START + number * DAY, database_uid="other") for number in range(3)]
    decision = decide([*fulls(9), *others], START + 9 * DAY)
    assert isinstance(decision, Blocked)
    assert [(lost.database_uid, lost.chains, lost.of) for lost in decision.lost] == [("db", 6, 9)]


def test_an_approval_releases_the_very_plan_after_the_grace() -> None:
    now, rules = START + 10 * DAY, RetentionRules(keep_last=4)
    blocked = decide(fulls(10), now, rules=rules)
    assert isinstance(blocked, Blocked)
    pending = blocked.pending
    approval = Consent("yes", pending.hash, now + 3 * DAY)
    early = decide(fulls(10), now + HOUR, pending, rules=rules, approvals=(approval,))
    assert early == Wait(pending, now + DAY)
    go = decide(fulls(10), now + DAY, pending, rules=rules, approvals=(approval,))
    assert isinstance(go, Go)
    assert go.approved_by == "yes"
    assert go.ids == tuple(f"d{day}" for day in range(6))


@pytest.mark.parametrize("change", [{"plan_hash": "0" * 32}, {"not_after": START}])
def test_an_approval_of_another_plan_or_out_of_time_releases_nothing(change: dict[str, Any]) -> None:
    now, rules = START + 10 * DAY, RetentionRules(keep_last=4)
    blocked = decide(fulls(10), now, rules=rules)
    assert isinstance(blocked, Blocked)
    fields = {"plan_hash": blocked.pending.hash, "not_after": now + 9 * DAY, "name": "yes", **change}
    later = decide(fulls(10), now + DAY, blocked.pending, rules=rules, approvals=(Consent(**fields),))
    assert later == blocked


@pytest.mark.parametrize("marked", range(6))
def test_a_restart_between_two_marks_goes_on_with_the_plan_that_was_approved(marked: int) -> None:
    now, rules = START + 10 * DAY, RetentionRules(keep_last=4)
    blocked = decide(fulls(10), now, rules=rules)
    assert isinstance(blocked, Blocked)
    approval = Consent("yes", blocked.pending.hash, now + 3 * DAY)
    facts = [backup(f"d{day}", START + day * DAY, deleting=day < marked) for day in range(10)]
    go = decide(facts, now + DAY, blocked.pending, rules=rules, approvals=(approval,))
    assert isinstance(go, Go)
    assert go.ids == tuple(f"d{day}" for day in range(marked, 6))
    assert go.pending == blocked.pending


# A person's own delete


def verdict(id: str, *facts: BackupFact, rules: RetentionRules = KEEP_THREE) -> object:
    fact = next(fact for fact in facts if fact.id == id)
    return person_delete(fact, facts, rules, START + 10 * DAY)


def test_a_person_may_thin_out_what_only_counting_keeps() -> None:
    assert verdict("d3", *fulls(5)) == DeleteData()


def test_with_policy_retain_the_data_stay() -> None:
    facts = [backup("a", START, deletion_policy=DeletionPolicy.RETAIN), *fulls(2)]
    assert verdict("a", *facts) == RetainInstead(Guard.RETAIN_POLICY)


def test_a_held_one_is_not_deleted_at_all() -> None:
    facts = [backup("a", START, held=True, deletion_policy=DeletionPolicy.RETAIN), *fulls(2)]
    decision = verdict("a", *facts)
    assert decision == Refuse(Guard.HELD)
    assert isinstance(decision, Refuse)
    assert "release the hold" in decision.message


@pytest.mark.parametrize(
    ("more", "guard"),
    [
        ({"proven": True}, Guard.NEWEST_PROVEN),
        ({"locked_until": START + 11 * DAY}, Guard.LOCKED),
        ({"in_flight": True}, Guard.IN_FLIGHT),
    ],
)
def test_guards_keep_the_data(more: dict[str, Any], guard: Guard) -> None:
    decision = verdict("a", backup("a", START, **more), *fulls(2))
    assert decision == RetainInstead(guard)
    assert isinstance(decision, RetainInstead)
    assert "the data stay" in decision.message


def test_the_newest_good_one_stays_whatever_failed_after_it() -> None:
    assert verdict("d1", *fulls(2), backup("bad", START + 9 * DAY, succeeded=False)) == RetainInstead(Guard.NEWEST)
    assert verdict("bad", *fulls(2), backup("bad", START + 9 * DAY, succeeded=False)) == DeleteData()


def test_the_window_guards_the_backup_that_reaches_its_start() -> None:
    rules = RetentionRules(recovery_window=8 * DAY)
    facts = fulls(6)  # the window starts on day 2
    assert verdict("d1", *facts, rules=rules) == DeleteData()
    assert verdict("d2", *facts, rules=rules) == RetainInstead(Guard.RECOVERY_WINDOW)
    assert verdict("d5", *facts, rules=rules) == RetainInstead(Guard.NEWEST)


def test_one_that_others_stand_on_stays_unless_they_go_with_it() -> None:
    full = backup("full", START)
    child = backup("child", START + HOUR, on=full)
    assert verdict("full", full, child, *fulls(3)) == RetainInstead(Guard.NEEDED)
    going = backup("child", START + HOUR, on=full, deleting=True)
    assert verdict("full", full, going, *fulls(3)) == DeleteData()
    for stays in ({"held": True}, {"deletion_policy": DeletionPolicy.RETAIN}, {"proven": True}):
        child = backup("child", START + HOUR, on=full, deleting=True, **stays)
        assert verdict("full", full, child, *fulls(3)) == RetainInstead(Guard.NEEDED)


def test_deleting_all_of_them_leaves_the_newest_chain() -> None:
    full = backup("full", START + 8 * DAY, deleting=True)
    child = backup("child", START + 9 * DAY, on=full, deleting=True)
    facts = [*(backup(f"d{day}", START + day * DAY, deleting=True) for day in range(3)), full, child]
    verdicts = {fact.id: person_delete(fact, facts, KEEP_THREE, START + 10 * DAY) for fact in facts}
    assert verdicts == {
        **{f"d{day}": DeleteData() for day in range(3)},
        "full": RetainInstead(Guard.NEEDED),
        "child": RetainInstead(Guard.NEWEST),
    }


def test_what_a_good_one_stands_on_through_one_called_failed_stays() -> None:
    full, first = fulls(1)[0], backup("i1", START + HOUR, on=fulls(1)[0])
    failed = backup("i2", START + 2 * HOUR, on=first, succeeded=False)
    good = backup("i3", START + 3 * HOUR, on=failed)
    later = backup("later", START + DAY)
    assert verdict("i1", full, first, failed, good, later) == RetainInstead(Guard.NEEDED)
