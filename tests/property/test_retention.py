"""Whatever is there and whatever the rules: nothing good is lost, and what goes was shown first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy
from databosun.domain.closure import BackupFact, by_age
from databosun.domain.consent import Consent
from databosun.domain.deletion import (
    Blocked,
    DeleteData,
    Go,
    PendingPlan,
    Wait,
    decide_deletion,
    person_delete,
    plan_hash,
)
from databosun.domain.retention import Reason, RetentionRules, decide_retention
from support.backups import at, backup

START = at("2025-12-20T02:00")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

COUNTS = st.sampled_from([0, 0, 0, 1, 2, 3, 5])
RULES = st.builds(
    RetentionRules,
    keep_last=COUNTS,
    daily=COUNTS,
    weekly=COUNTS,
    monthly=COUNTS,
    yearly=COUNTS,
    recovery_window=st.none() | st.integers(1, 40).map(lambda days: timedelta(days=days)),
    keep_forever=st.sampled_from(["None", "None", "Monthly", "Yearly"]),
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Auckland"])


# What may have happened to a backup, besides nothing.
FATES: list[dict[str, Any]] = [
    *[{}] * 8,
    {"succeeded": False},
    {"succeeded": False, "in_flight": True},
    {"in_flight": True},
    {"proven": True},
    {"proven": True, "proven_at": START + 30 * DAY},
    {"held": True},
    {"locked_until": START + 20 * DAY},
    {"locked_until": START + 90 * DAY},
    {"governed": False},
    {"deletion_policy": DeletionPolicy.RETAIN},
    {"deleting": True},
    {"deleting": True, "held": True},
]
GROUPS = [("db", "sys"), ("db", "sys"), ("db", "new"), ("other", None)]


@st.composite
def histories(draw: st.DrawFn, fates: Sequence[dict[str, Any]] = FATES) -> list[BackupFact]:
    """Up to 20 backups of one or two databases, in one or two incarnations, with whatever may have happened to them."""
    found: list[BackupFact] = []
    now = START
    for hours, group, fate, below in draw(
        st.lists(
            st.tuples(
                st.integers(0, 60), st.sampled_from(GROUPS), st.sampled_from(fates), st.none() | st.integers(0, 20)
            ),
            max_size=20,
        )
    ):
        now += hours * HOUR
        older = [fact for fact in found if fact.group == group]
        on = older[below % len(older)] if older and below is not None else None
        where = {"database_uid": group[0], "system_identifier": group[1]}
        late = now + hours % 5 * HOUR
        found.append(backup(f"b{len(found):02d}", now, **{"on": on, "finished_at": late, **where, **fate}))
    return found


WITHOUT_DELETIONS = [fate for fate in FATES if not fate.get("deleting")]


def a_moment(facts: Sequence[BackupFact], days: int) -> datetime:
    """Some days after everything has happened."""
    return (
        max([START, *(fact.arrived for fact in facts), *(fact.proven_at for fact in facts if fact.proven_at)])
        + days * DAY
    )


def plain(facts: Sequence[BackupFact]) -> list[BackupFact]:
    """Those that the rules are about."""
    return [fact for fact in facts if fact.succeeded and fact.governed and not fact.deleting]


def newest_of_each_group(facts: Sequence[BackupFact]) -> set[str]:
    groups: defaultdict[object, list[BackupFact]] = defaultdict(list)
    for fact in facts:
        groups[fact.group].append(fact)
    return {max(group, key=by_age).id for group in groups.values()}


def ancestors(fact: BackupFact, facts: Sequence[BackupFact]) -> set[str]:
    known = {other.id: other for other in facts}
    found: set[str] = set()
    open_ids = list(fact.stands_on)
    while open_ids:
        id = open_ids.pop()
        if id in known and id not in found:
            found.add(id)
            open_ids.extend(known[id].stands_on)
    return found


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, ZONES, st.integers(0, 60))
def test_nothing_good_is_let_go(facts: list[BackupFact], rules: RetentionRules, zone: str, days: int) -> None:
    now = a_moment(facts, days)
    plan = decide_retention(facts, rules, now, zone)
    gone = set(plan.delete)
    assert gone.isdisjoint(plan.keep)
    assert gone | set(plan.keep) == set(plan.expires) == {fact.id for fact in facts}
    assert len(plan.delete) == len(gone)
    assert all(plan.keep.values()), "each has a reason"
    assert gone <= {fact.id for fact in plain(facts)}
    assert gone.isdisjoint(newest_of_each_group(plain(facts)))
    assert gone.isdisjoint(newest_of_each_group([fact for fact in plain(facts) if fact.proven]))
    for fact in facts:
        if fact.id in gone:
            assert not fact.held
            assert not fact.in_flight
            assert fact.locked_until is None or fact.locked_until <= now
            let_go = plan.expires[fact.id]
            assert let_go is not None
            assert let_go <= now
        elif (fact.succeeded or fact.in_flight) and not fact.deleting:
            assert gone.isdisjoint(ancestors(fact, facts)), f"{fact.id} stands on it"
    if not rules.limit_anything:
        assert not gone


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, ZONES, st.integers(0, 60))
def test_children_go_before_what_they_stand_on(
    facts: list[BackupFact], rules: RetentionRules, zone: str, days: int
) -> None:
    plan = decide_retention(facts, rules, a_moment(facts, days), zone)
    known = {fact.id: fact for fact in facts}
    for place, id in enumerate(plan.delete):
        assert ancestors(known[id], facts).isdisjoint(plan.delete[:place])


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, ZONES, st.integers(0, 60))
def test_a_second_look_after_the_deletion_lets_nothing_more_go(
    facts: list[BackupFact], rules: RetentionRules, zone: str, days: int
) -> None:
    now = a_moment(facts, days)
    first = decide_retention(facts, rules, now, zone)
    left = [fact for fact in facts if fact.id not in first.delete]
    second = decide_retention(left, rules, now, zone)
    assert second.delete == ()
    assert set(second.keep) == set(first.keep)


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, ZONES, st.integers(0, 60), st.data())
def test_raising_a_limit_never_lets_more_go(
    facts: list[BackupFact], rules: RetentionRules, zone: str, days: int, data: st.DataObject
) -> None:
    """But for the first limit, which is what lets anything go."""
    if not rules.limit_anything:
        return
    limit = data.draw(st.sampled_from(["keep_last", "daily", "weekly", "monthly", "yearly", "recovery_window"]))
    old: Any = getattr(rules, limit)
    more: Any = (old or timedelta(0)) + 9 * DAY if limit == "recovery_window" else old + data.draw(st.integers(1, 9))
    raised = replace(rules, **{limit: more})
    now = a_moment(facts, days)
    before, after = (set(decide_retention(facts, each, now, zone).delete) for each in (rules, raised))
    assert after <= before


@settings(max_examples=100, deadline=None)
@given(histories(), RULES, ZONES, st.randoms(use_true_random=False))
def test_the_order_of_the_facts_does_not_matter(
    facts: list[BackupFact], rules: RetentionRules, zone: str, random: Any
) -> None:
    shuffled = list(facts)
    random.shuffle(shuffled)
    now = a_moment(facts, 3)
    assert decide_retention(shuffled, rules, now, zone) == decide_retention(facts, rules, now, zone)


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, ZONES, st.integers(0, 60), st.floats(0, 1))
def test_until_its_next_change_a_plan_stands(
    facts: list[BackupFact], rules: RetentionRules, zone: str, days: int, share: float
) -> None:
    now = a_moment(facts, days)
    plan = decide_retention(facts, rules, now, zone)
    end = now + 400 * DAY if plan.next_change is None else plan.next_change
    assert end > now
    moment = min(now + (end - now) * share, end - timedelta(microseconds=1))
    later = decide_retention(facts, rules, moment, zone)
    assert (later.delete, later.keep) == (plan.delete, plan.keep)


@settings(max_examples=150, deadline=None)
@given(histories(), RULES, st.integers(0, 60), st.data())
def test_a_person_never_takes_the_last_good_data(
    facts: list[BackupFact], rules: RetentionRules, days: int, data: st.DataObject
) -> None:
    """However many are deleted, and in whatever order they are asked."""
    now = a_moment(facts, days)
    asked = {fact.id for fact in facts if data.draw(st.booleans())}
    left = [replace(fact, deleting=fact.deleting or fact.id in asked) for fact in facts]
    with_data = {fact.id for fact in facts if fact.succeeded}
    newest = newest_of_each_group([fact for fact in facts if fact.succeeded])
    proven = newest_of_each_group([fact for fact in facts if fact.succeeded and fact.proven])
    verdicts = {fact.id: person_delete(fact, left, rules, now) for fact in left if fact.id in asked}
    taken = {id for id, verdict in verdicts.items() if isinstance(verdict, DeleteData)}
    assert taken.isdisjoint(newest | proven)
    for fact in facts:
        if fact.held or (fact.deletion_policy is DeletionPolicy.RETAIN):
            assert fact.id not in taken
        if fact.id in with_data - taken and not fact.deleting:
            assert taken.isdisjoint(ancestors(fact, facts)), f"{fact.id} stands on it and stays"


@settings(max_examples=150, deadline=None)
@given(histories(WITHOUT_DELETIONS), RULES, ZONES, st.data())
def test_a_restart_while_marking_goes_on_with_the_same_plan(
    facts: list[BackupFact], rules: RetentionRules, zone: str, data: st.DataObject
) -> None:
    now = a_moment(facts, 1)
    batch = decide_retention(facts, rules, now, zone).delete
    if not batch:
        return
    approvals = (Consent("yes", plan_hash(batch), now + DAY),)
    first = decide_deletion(decide_retention(facts, rules, now, zone), None, approvals, now, timedelta(0))
    assert isinstance(first, Go)
    assert first.ids == batch
    marked = data.draw(st.sets(st.sampled_from(batch), max_size=len(batch) - 1))
    facts = [replace(fact, deleting=fact.id in marked) for fact in facts]
    plan = decide_retention(facts, rules, now, zone)
    second = decide_deletion(plan, first.pending, approvals, now, timedelta(0))
    assert isinstance(second, Go)
    assert second.ids == tuple(id for id in batch if id not in marked)
    assert second.pending == first.pending


@dataclass
class Life:
    """A policy's life, hour by hour: backups arrive, drills prove them, retention shows and carries out its plans."""

    rules: RetentionRules
    grace: timedelta
    facts: dict[str, BackupFact] = field(default_factory=dict)
    pending: PendingPlan | None = None
    shown: dict[str, set[str]] = field(default_factory=dict)
    first_let_go: dict[str, datetime] = field(default_factory=dict)
    deleted: dict[str, datetime] = field(default_factory=dict)

    def arrive(self, number: int, now: datetime, kind: BackupType) -> None:
        last = max(self.facts.values(), key=by_age, default=None)
        on = last if kind is not BackupType.FULL else None
        fact = backup(f"b{number:04d}", now, on=on, finished_at=now + timedelta(minutes=7))
        self.facts[fact.id] = fact

    def prove_newest(self, now: datetime) -> None:
        newest = max(self.facts.values(), key=by_age)
        self.facts[newest.id] = replace(newest, proven=True, proven_at=now)

    def look(self, now: datetime) -> None:
        plan = decide_retention(list(self.facts.values()), self.rules, now, "Europe/Berlin")
        for id in plan.delete:
            self.first_let_go.setdefault(id, now)
        decision = decide_deletion(plan, self.pending, (), now, self.grace)
        assert not isinstance(decision, Blocked)
        self.pending = decision.pending if isinstance(decision, Wait | Go) else None
        if isinstance(decision, Wait):
            self._show(decision.pending, plan.delete, now)
        if isinstance(decision, Go):
            self._carry_out(decision, now)

    def _show(self, pending: PendingPlan, delete: Sequence[str], now: datetime) -> None:
        if pending.since == now:
            self.shown[pending.hash] = set(delete)
            assert plan_hash(delete) == pending.hash

    def _carry_out(self, decision: Go, now: datetime) -> None:
        """The promise: these very backups stood in the status, in one plan, for the grace."""
        assert now - decision.pending.since >= self.grace
        assert set(decision.ids) == self.shown[decision.pending.hash]
        for id in decision.ids:
            del self.facts[id]
            self.deleted[id] = now


@pytest.mark.parametrize(
    ("rules", "drills_every"),
    [
        (RetentionRules(keep_last=30), 0),
        (RetentionRules(daily=5), 24),
        (RetentionRules(daily=4, weekly=2, monthly=12), 7 * 24),
        (RetentionRules(recovery_window=4 * DAY), 24),
        (RetentionRules(keep_last=3, daily=3, recovery_window=2 * DAY), 5 * 24),
    ],
)
def test_a_plan_that_grows_every_hour_is_carried_out_in_time(rules: RetentionRules, drills_every: int) -> None:
    """Nothing is deleted unseen, and nothing waits for longer than two graces and the looks between."""
    life = Life(rules, grace=DAY)
    hours = 24 * 12
    for hour in range(hours):
        now = START + hour * HOUR
        life.arrive(hour, now, BackupType.FULL if hour % 24 == 0 else BackupType.INCREMENTAL)
        now += timedelta(minutes=30)
        if drills_every and hour % drills_every == 5:
            life.prove_newest(now)
        life.look(now)
    end = START + hours * HOUR
    late = [id for id, since in life.first_let_go.items() if life.deleted.get(id, end) - since > 2 * DAY + 2 * HOUR]
    assert not late
    assert len(life.deleted) > 100


def test_the_oracle_of_ancestors_sees_a_whole_chain() -> None:
    full = backup("full", START)
    one = backup("one", START + HOUR, on=full)
    two = backup("two", START + 2 * HOUR, on=one, base=None)
    assert ancestors(two, [full, one, two]) == {"one", "full"}
    plan = decide_retention([full, one, two], RetentionRules(keep_last=1), START + DAY, "UTC")
    assert plan.keep["full"] == (Reason.NEEDED,)
