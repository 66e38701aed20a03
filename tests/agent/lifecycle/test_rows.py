"""Rules on rows: what goes and what stays, alike on every engine that is served."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from databosun.api.lifecycle import ActionType, HoldOrder, LifecycleMode, MaskMethod, MaskOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.result import Outcome
from databosun.engines.lifecycle import hash_key
from support.rulekeeping import DAY, HASH_KEY, NOW, Keeper, result_of, rule

pytestmark = pytest.mark.servers


def eligible(keeper: Keeper[Any]) -> set[int]:
    """By a query of the test's own."""
    where = f"created_at < {keeper.at('2025-12-01 12:00')} AND status = 'closed'"
    return {int(row[0]) for row in keeper.sql(f"SELECT id FROM orders WHERE {where}")}


def ancient(keeper: Keeper[Any], count: int) -> None:
    """Rows that are old enough, added."""
    keeper.sql(
        "INSERT INTO orders (id, created_at, status)"
        f" SELECT 100000 + seq, {keeper.at('2020-01-01 00:00')}, 'closed' FROM {keeper.numbers(count)}"
    )


def test_a_dry_run_counts_what_an_enforced_one_deletes_and_changes_nothing(keeper: Keeper[Any]) -> None:
    before, doomed = keeper.ids(), eligible(keeper)
    seen = keeper.look(rule())
    counts = seen.facts[0].counts
    assert seen.outcomes == []
    assert (counts.rows, counts.eligible, keeper.ids()) == (len(before), len(doomed), before)
    assert counts.oldest is not None
    assert counts.newest is not None
    assert counts.oldest < counts.newest < NOW
    assert set(counts.samples) <= {hash_key(HASH_KEY.encode(), [str(one)]) for one in doomed}
    assert len(counts.samples) == 10
    assert counts.inflow_per_day == len(keeper.sql("SELECT id FROM orders WHERE id % 200 = 89"))
    done = keeper.carry_out(rule())["old-orders"]
    assert (done.state, done.deleted, done.remaining) == (RuleState.COMPLETED, len(doomed), 0)
    assert keeper.ids() == before - doomed


def test_an_expired_hold_holds_nothing_and_a_whole_one_refuses_the_rule(keeper: Keeper[Any]) -> None:
    whole = HoldOrder(name="all", reason="court")
    done = keeper.carry_out(rule(), holds=[whole])["old-orders"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "BlockedByHold")
    over = HoldOrder(name="all", reason="court", until=NOW)
    assert keeper.carry_out(rule(), holds=[over])["old-orders"].state is RuleState.COMPLETED


def test_rows_under_a_hold_survive_every_action(keeper: Keeper[Any]) -> None:
    keeper.sql(f"ALTER TABLE orders ADD COLUMN deleted_at {keeper.instant}")
    keeper.sql(f"ALTER TABLE orders ADD COLUMN masked_at {keeper.instant}")
    keeper.sql("UPDATE orders SET deleted_at = created_at")
    held = {one for one in eligible(keeper) if one % 50 in (7, 8)}
    assert held
    holds = [
        HoldOrder(name="case-1", where="customer = 7 -- the Smith case", reason="court"),
        HoldOrder(name="case-2", where="customer = 8", reason="court", table="orders"),
        HoldOrder(name="over", where="customer = 9", reason="court", until=NOW),
    ]
    mask = rule(
        action=ActionType.ANONYMIZE,
        masks=[MaskOrder(column="amount", method=MaskMethod.NULL)],
        mark_column="masked_at",
        limits={"max_rows_per_run": 100},
    )
    assert keeper.look(mask, holds=holds).facts[0].counts.held == len(held)
    assert keeper.carry_out(mask, holds=holds)["old-orders"].anonymized == 100
    assert keeper.sql("SELECT count(*) FROM orders WHERE customer IN (7, 8) AND masked_at IS NOT NULL") == [(0,)]
    few = {"max_rows_per_run": 200}
    for one in (
        rule(action=ActionType.ARCHIVE, limits=few),
        rule(action=ActionType.PURGE, column="deleted_at", limits=few),
        rule(),
    ):
        assert keeper.carry_out(one, holds=holds)["old-orders"].deleted >= 200
        assert held <= keeper.ids()
    assert eligible(keeper) == held


def test_soft_deleted_rows_go_after_their_grace(keeper: Keeper[Any]) -> None:
    keeper.sql(f"ALTER TABLE orders ADD COLUMN deleted_at {keeper.instant}")
    keeper.sql("UPDATE orders SET deleted_at = created_at WHERE id % 2 = 0")
    doomed = {one for one in keeper.ids() if one % 2 == 0 and one % 200 >= 30}
    purge = rule(action=ActionType.PURGE, column="deleted_at", older_than_seconds=30 * DAY, where=None)
    before = keeper.ids()
    keeper.carry_out(purge)
    assert before - keeper.ids() == doomed


def test_a_mark_that_every_row_bears_marks_nothing(keeper: Keeper[Any]) -> None:
    null = "NOT NULL DEFAULT '2020-01-01 00:00:00'"
    keeper.sql(f"ALTER TABLE orders ADD COLUMN deleted_at {keeper.instant} {null}")
    done = keeper.carry_out(rule(action=ActionType.PURGE, column="deleted_at"))["old-orders"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "NotSoftDeleted")


def test_the_newest_rows_and_the_statutory_floor_stand(keeper: Keeper[Any]) -> None:
    keep = rule(where=None, older_than_seconds=DAY, limits={"keep_newest": 2000})
    seen = keeper.look(keep).facts[0].counts
    done = keeper.carry_out(keep)["old-orders"]
    assert done.deleted == seen.eligible
    assert seen.kept_newest > 0
    left = keeper.ids()
    assert 2000 <= len(left) < 2000 + 15  # rows of one instant stay together
    floor = rule(where=None, older_than_seconds=DAY, limits={"min_retention_seconds": 100 * DAY})
    keeper.carry_out(floor)
    assert keeper.ids() == {one for one in left if one % 200 <= 99}


def test_the_statutory_floor_stands_where_only_a_condition_is_asked(keeper: Keeper[Any]) -> None:
    floor = rule(older_than_seconds=None, limits={"min_retention_seconds": 100 * DAY})
    young = {one for one in keeper.ids() if one % 200 <= 99}
    done = keeper.carry_out(floor)["old-orders"]
    assert done.deleted > 0
    assert young <= keeper.ids()


def test_a_rule_stops_at_its_limit_and_goes_on_in_the_next_run(keeper: Keeper[Any]) -> None:
    doomed = len(eligible(keeper))
    first = keeper.carry_out(rule(limits={"max_rows_per_run": 300}))["old-orders"]
    assert (first.state, first.deleted, first.remaining) == (RuleState.LIMITED, 300, doomed - 300)
    second = keeper.carry_out(rule())["old-orders"]
    assert (second.state, second.deleted) == (RuleState.COMPLETED, doomed - 300)


def test_a_rule_that_would_take_too_large_a_part_does_nothing(keeper: Keeper[Any]) -> None:
    before = keeper.ids()
    done = keeper.carry_out(rule(limits={"max_percent": 10}))["old-orders"]
    assert (done.state, done.failure.reason if done.failure else None) == (RuleState.REFUSED, "PlanGrew")
    assert keeper.ids() == before


def test_rows_of_no_age_stay(keeper: Keeper[Any]) -> None:
    keeper.sql("UPDATE orders SET created_at = NULL WHERE id <= 100")
    keeper.carry_out(rule(where=None))
    assert set(range(1, 101)) <= keeper.ids()


def test_the_audit_lists_keyed_hashes_of_the_keys_that_went_as_one_chain(keeper: Keeper[Any]) -> None:
    doomed = eligible(keeper)
    ran = keeper.enforce(rule())
    done = result_of(ran)
    archive = keeper.archive()
    links = archive.links()
    digests = [
        hashlib.sha256(archive.store.get(f"{archive.root}/audit/{one['number']:06d}.json", limit=1 << 20)).hexdigest()
        for one in links
    ]
    assert [one["previous"] for one in links] == [None, *digests[:-1]]
    assert done.audit_sha256 == digests[-1]
    listed: set[str] = set()
    for one in links:
        if "keys" in one:
            packed = archive.store.get(f"{archive.root}/audit/{one['number']:06d}.keys.zst", limit=1 << 24)
            assert hashlib.sha256(packed).hexdigest() == one["keys"]["sha256"]
            listed |= set(archive.unpack(packed).decode().split())
    assert listed == {hash_key(HASH_KEY.encode(), [str(one)]) for one in doomed}


def test_a_run_that_was_done_is_not_done_again(keeper: Keeper[Any]) -> None:
    ran = keeper.enforce(rule())
    first = result_of(ran)
    before = keeper.ids()
    ancient(keeper, 5)
    again = keeper.enforce(rule(), approved=first.plan_hash, attempt=2)
    assert again.result.reason == "AlreadyDone"
    assert result_of(again).outcomes == first.outcomes
    assert keeper.ids() - before == {100000 + one for one in range(1, 6)}


def test_counts_may_move_under_one_approval(keeper: Keeper[Any]) -> None:
    approved = keeper.look(rule()).plan_hash
    ancient(keeper, 500)
    ran = keeper.enforce(rule(), approved=approved)
    assert ran.summary.outcome is Outcome.SUCCEEDED
    assert not eligible(keeper)


def test_a_dry_run_leaves_no_trace_in_the_store(keeper: Keeper[Any]) -> None:
    before = sorted(keeper.place.paths.volume.rglob("*"))
    keeper.look(rule(), mode=LifecycleMode.DRY_RUN)
    assert sorted(keeper.place.paths.volume.rglob("*")) == before
