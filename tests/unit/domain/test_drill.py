"""The verdict of a drill, from facts alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databosun.api.drill import CheckOutcome, CheckResult, CheckType, Level, RpoSource, Severity, Verdict
from databosun.domain.drill import (
    LEVELS,
    Blame,
    Broken,
    CheckReason,
    DrillFacts,
    Newest,
    decide_rpo,
    judge,
    only_collation_differs,
)

START = datetime(2026, 3, 1, 3, tzinfo=UTC)


def result(
    outcome: CheckOutcome = CheckOutcome.PASSED,
    severity: Severity = Severity.CRITICAL,
    kind: CheckType = CheckType.QUERY,
    reason: str | None = None,
) -> CheckResult:
    """What a check found."""
    return CheckResult(name="one", type=kind, severity=severity, outcome=outcome, reason=reason, message="so it is")


def facts(*checks: CheckResult, **more: object) -> DrillFacts:
    """A drill of level Deep that took every step."""
    return DrillFacts(**{"asked": Level.DEEP, "reached": Level.DEEP, "checks": checks, **more})  # type: ignore[arg-type]


def test_all_is_well() -> None:
    judged = judge(facts(result()))
    assert (judged.verdict, judged.level) == (Verdict.PASSED, Level.DEEP)


def test_a_critical_check_fails_the_drill_with_its_reason() -> None:
    judged = judge(facts(result(), result(CheckOutcome.FAILED, reason="Stale")))
    assert (judged.verdict, judged.level, judged.reason) == (Verdict.FAILED, None, "Stale")


@pytest.mark.parametrize(
    ("blame", "verdict"),
    [(Blame.BACKUP, Verdict.FAILED), (Blame.PRECONDITION, Verdict.REFUSED), (Blame.OURS, Verdict.ERROR)],
)
def test_what_broke_decides_whose_doing_it_is(blame: Blame, verdict: Verdict) -> None:
    judged = judge(facts(result(), broken=Broken(blame, "Why", "because")))
    assert (judged.verdict, judged.level, judged.reason) == (verdict, None, "Why")


def test_a_warning_makes_it_partial() -> None:
    judged = judge(facts(result(), result(CheckOutcome.FAILED, Severity.WARNING, reason="X")))
    assert (judged.verdict, judged.reason) == (Verdict.PARTIAL, "X")


def test_what_is_only_noted_changes_nothing() -> None:
    assert judge(facts(result(), result(CheckOutcome.FAILED, Severity.INFO))).verdict is Verdict.PASSED


def test_a_critical_check_without_an_answer_makes_it_partial() -> None:
    assert judge(facts(result(), result(CheckOutcome.SKIPPED))).verdict is Verdict.PARTIAL


def test_nobody_vouches_for_it() -> None:
    assert judge(facts(result(), verified=False)).reason == CheckReason.UNVERIFIED


def test_no_check_no_proof() -> None:
    assert judge(facts()).verdict is Verdict.ERROR


def test_a_level_that_was_not_reached_is_no_pass() -> None:
    assert judge(facts(result(), reached=Level.RESTORE)).verdict is Verdict.ERROR


def test_only_collations_differ() -> None:
    warned = result(CheckOutcome.FAILED, Severity.WARNING, CheckType.COLLATION)
    other = result(CheckOutcome.FAILED, Severity.WARNING, CheckType.EXTENSIONS)
    assert only_collation_differs([result(), warned])
    assert not only_collation_differs([result(), warned, other])
    assert not only_collation_differs([result()])


RESULTS = st.lists(
    st.builds(result, st.sampled_from(CheckOutcome), st.sampled_from(Severity), st.sampled_from(CheckType)), max_size=6
)
FACTS = st.builds(
    DrillFacts,
    asked=st.sampled_from(Level),
    reached=st.none() | st.sampled_from(Level),
    checks=RESULTS,
    broken=st.none() | st.builds(Broken, st.sampled_from(Blame), st.just("Why"), st.just("because")),
    verified=st.booleans(),
)


@given(FACTS)
def test_passed_claims_no_more_than_was_found(given_facts: DrillFacts) -> None:
    judged = judge(given_facts)
    if judged.verdict is Verdict.PASSED:
        assert given_facts.broken is None
        assert given_facts.verified
        assert any(one.outcome is CheckOutcome.PASSED for one in given_facts.checks)
        assert all(
            one.outcome is CheckOutcome.PASSED or one.severity is not Severity.CRITICAL for one in given_facts.checks
        )
        assert judged.level is not None
        assert LEVELS.index(judged.level) >= LEVELS.index(given_facts.asked)
    if judged.verdict in {Verdict.FAILED, Verdict.REFUSED}:
        assert judged.level is None


@given(FACTS, st.sampled_from(Severity))
def test_one_more_failure_never_makes_a_verdict_better(given_facts: DrillFacts, severity: Severity) -> None:
    rank = [Verdict.PASSED, Verdict.PARTIAL, Verdict.ERROR, Verdict.REFUSED, Verdict.FAILED]
    worse = DrillFacts(
        given_facts.asked,
        given_facts.reached,
        [*given_facts.checks, result(CheckOutcome.FAILED, severity)],
        given_facts.broken,
        given_facts.verified,
    )
    assert rank.index(judge(worse).verdict) >= rank.index(judge(given_facts).verdict)


def ago(seconds: float) -> datetime:
    """Before the drill."""
    return START - timedelta(seconds=seconds)


def test_the_newest_known_instant_counts_and_says_how_it_is_known() -> None:
    commit = decide_rpo(Newest(START, last_commit=ago(5), snapshot=ago(60)), 10)
    assert commit
    assert (commit.seconds, commit.source, commit.exact, commit.met) == (5, RpoSource.COMMIT, True, True)
    snapshot = decide_rpo(Newest(START, last_commit=ago(90), snapshot=ago(60)), 10)
    assert snapshot
    assert (snapshot.seconds, snapshot.source, snapshot.exact, snapshot.met) == (60, RpoSource.MANIFEST, False, False)
    log = decide_rpo(Newest(START, last_commit=ago(90), snapshot=ago(60), log=ago(2)), None)
    assert log
    assert (log.seconds, log.source, log.exact, log.met) == (2, RpoSource.POSITION, False, None)
    heartbeat = decide_rpo(Newest(START, last_commit=ago(1), heartbeat=True), 5)
    assert heartbeat
    assert heartbeat.source is RpoSource.HEARTBEAT
    assert decide_rpo(Newest(START), 10) is None
