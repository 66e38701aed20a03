"""What drills say of a database: nothing is claimed that was not proven, and it wears off."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from databosun.api.v1alpha1.backup import Proof
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import LastBackup, LastProven
from databosun.domain.conditions import Wanted
from databosun.domain.proof import FailedDrill, ProofFacts, better_proof, decide_proof, estimate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
LAST = LastProven(run="r1", at=NOW, level="Deep", rto_seconds=600, backup="b1", restore_bytes=1000, passed=True)
FACTS = ProofFacts(LAST, NOW - timedelta(minutes=10), None, WEEK, WEEK, timedelta(minutes=15))


def verdicts(facts: ProofFacts, now: datetime = NOW) -> dict[ConditionType, Wanted]:
    return {one.type: one for one in decide_proof(facts, now)[0]}


def said(facts: ProofFacts, now: datetime = NOW) -> tuple[bool | None, str]:
    one = verdicts(facts, now)[ConditionType.PROVEN]
    return one.status, one.reason


def test_a_passed_drill_proves_for_one_and_a_half_intervals() -> None:
    end = NOW + 1.5 * WEEK
    assert said(FACTS) == (True, "DrillPassed")
    assert decide_proof(FACTS, NOW)[1] == end
    assert said(FACTS, end - timedelta(seconds=1)) == (True, "DrillPassed")
    assert said(FACTS, end) == (False, "ProofTooOld")


def test_without_a_drill_of_its_own_the_tiers_interval_counts() -> None:
    alone = replace(FACTS, interval=None, usual=timedelta(days=1))
    assert said(alone, NOW + timedelta(days=2)) == (False, "ProofTooOld")


def test_nothing_proven_says_what_to_do() -> None:
    nothing = replace(FACTS, last=None, last_at=None, interval=None)
    assert said(nothing) == (False, "NeverProven")
    assert "RestoreDrill" in verdicts(nothing)[ConditionType.PROVEN].message


def test_a_drill_that_never_passes_is_overdue_after_the_same_time() -> None:
    nothing = replace(FACTS, last=None, last_at=None, covered_since=NOW)
    assert said(nothing) == (False, "NeverProven")
    assert decide_proof(nothing, NOW)[1] == NOW + 1.5 * WEEK
    assert said(nothing, NOW + 1.5 * WEEK) == (False, "DrillOverdue")


def test_a_drill_that_failed_since_outweighs_the_one_that_passed() -> None:
    failed = replace(FACTS, failed=FailedDrill("r2", NOW))
    assert said(failed) == (False, "DrillFailed")
    before = replace(FACTS, failed=FailedDrill("r0", NOW - WEEK))
    assert said(before) == (True, "DrillPassed")


def test_the_rto_is_judged_by_what_was_measured_and_unknown_before() -> None:
    assert verdicts(FACTS)[ConditionType.RTO_MET].status is True
    slow = replace(FACTS, rto=timedelta(seconds=599))
    assert (verdicts(slow)[ConditionType.RTO_MET].status, verdicts(slow)[ConditionType.RTO_MET].reason) == (
        False,
        "RestoreTooSlow",
    )
    never = replace(FACTS, last=None, last_at=None)
    assert verdicts(never)[ConditionType.RTO_MET].status is None


def test_an_estimate_grows_with_the_backup_and_never_shrinks_below_what_was_measured() -> None:
    def of(size: int) -> int | None:
        found = estimate(LAST, LastBackup(name="b2", at=NOW, size_bytes=1, restore_bytes=size))
        return found.restore_now_seconds if found else None

    assert (of(3000), of(10)) == (1800, 600)
    assert estimate(None, None) is None


def test_an_estimate_says_where_it_leaves_the_log_out() -> None:
    newest = LastBackup(name="b2", at=NOW, size_bytes=1, restore_bytes=100)

    def basis(*, shipped: bool, replayed: bool) -> str:
        found = estimate(LAST.model_copy(update={"replayed": replayed}), newest, shipped=shipped)
        assert found is not None
        return found.basis

    assert "replaying the shipped log comes on top" in basis(shipped=True, replayed=False)
    assert "on top" not in basis(shipped=True, replayed=True)
    assert "on top" not in basis(shipped=False, replayed=False)


def test_nothing_is_reckoned_from_nothing() -> None:
    assert estimate(LAST.model_copy(update={"restore_bytes": None}), LastBackup(name="b", at=NOW, size_bytes=1)) is None


def test_of_two_proofs_the_deeper_stays_and_of_equal_ones_the_newer() -> None:
    shallow, deep = Proof(level="Restore", at=NOW + WEEK, run="r2"), Proof(level="Deep", at=NOW, run="r1")
    newer = Proof(level="Deep", at=NOW + WEEK, run="r3")
    assert better_proof(None, shallow) == shallow
    assert better_proof(deep, shallow) == deep
    assert better_proof(shallow, deep) == deep
    assert better_proof(deep, newer) == newer
