"""Whatever happens to a drill: it ends, it proves nothing that was not proven, and its history keeps what counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.drill import Level
from databosun.api.v1alpha1.backup import Proof
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import LastProven
from databosun.api.v1alpha1.restoredrill import HistoryLimits, SelectFrom
from databosun.domain.drillpolicy import PastDrill, beyond_history
from databosun.domain.proof import FailedDrill, ProofFacts, better_proof, decide_proof
from databosun.domain.selection import Candidate, before, choose

START = datetime(2026, 3, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 10_000).map(lambda minutes: START + timedelta(minutes=minutes))
SPANS = st.integers(1, 5_000).map(lambda minutes: timedelta(minutes=minutes))


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    instants = draw(st.lists(INSTANTS, min_size=1, max_size=12))
    return [Candidate(f"b{number:02d}", "orders", at, at, "sum") for number, at in enumerate(instants)]


@given(st.data(), candidates(), st.sampled_from(SelectFrom), st.text(max_size=8))
def test_the_choice_is_one_of_them_whatever_order_they_come_in(
    data: st.DataObject, known: list[Candidate], how: SelectFrom, seed: str
) -> None:
    assert choose(known, how, seed) == choose(data.draw(st.permutations(known)), how, seed)
    assert choose(known, how, seed) in known


@given(candidates(), INSTANTS)
def test_no_backup_is_tried_that_lies_behind_the_point(known: list[Candidate], until: datetime) -> None:
    found = before(known, until)
    assert {one.name for one in found} == {one.name for one in known if one.at <= until}
    assert [one.at for one in found] == sorted((one.at for one in found), reverse=True)


@st.composite
def histories(draw: st.DrawFn) -> list[PastDrill]:
    rows = draw(st.lists(st.tuples(st.sampled_from("ab"), INSTANTS, st.booleans()), max_size=30))
    return [PastDrill(f"r{number:02d}", database, at, passed) for number, (database, at, passed) in enumerate(rows)]


LIMITS = st.builds(HistoryLimits, passed=st.integers(1, 6), others=st.integers(1, 6))


@given(histories(), LIMITS)
def test_history_never_lets_the_newest_run_of_a_database_go_and_once_is_enough(
    runs: list[PastDrill], limits: HistoryLimits
) -> None:
    gone = set(beyond_history(runs, limits))
    for database in {run.database_uid for run in runs}:
        newest = max((run for run in runs if run.database_uid == database), key=lambda run: (run.created, run.name))
        assert newest.name not in gone
    left = [run for run in runs if run.name not in gone]
    assert beyond_history(left, limits) == ()
    for run in runs:
        same = [one for one in left if (one.database_uid, one.passed) == (run.database_uid, run.passed)]
        assert len(same) <= (limits.passed if run.passed else limits.others)


@given(histories(), LIMITS)
def test_a_raised_limit_lets_no_more_go(runs: list[PastDrill], limits: HistoryLimits) -> None:
    raised = HistoryLimits(passed=limits.passed + 1, others=limits.others + 1)
    assert set(beyond_history(runs, raised)) <= set(beyond_history(runs, limits))


PROOFS = st.builds(Proof, level=st.sampled_from([str(level) for level in Level]), at=INSTANTS, run=st.just("r"))


@given(PROOFS, PROOFS)
def test_which_of_two_proofs_stays_does_not_depend_on_their_order(one: Proof, other: Proof) -> None:
    assert better_proof(one, other) == better_proof(other, one)
    assert better_proof(one, one) == one


@st.composite
def proof_facts(draw: st.DrawFn) -> ProofFacts:
    began = draw(st.none() | INSTANTS)
    last = None
    if began is not None:
        last = LastProven(
            run="r", at=began + draw(SPANS), level="Deep", rto_seconds=draw(st.integers(0, 10**6)), passed=True
        )
    failed = draw(st.none() | INSTANTS)
    return ProofFacts(
        last=last,
        last_at=began,
        failed=FailedDrill("f", failed) if failed is not None else None,
        interval=draw(st.none() | SPANS),
        usual=draw(SPANS),
        rto=draw(SPANS),
        covered_since=draw(st.none() | INSTANTS),
    )


@given(proof_facts(), INSTANTS)
def test_nothing_is_proven_without_a_drill_that_passed_after_the_last_that_failed(
    facts: ProofFacts, now: datetime
) -> None:
    proven = next(one for one in decide_proof(facts, now)[0] if one.type is ConditionType.PROVEN)
    if proven.status:
        assert facts.last is not None
        assert facts.last_at is not None
        assert facts.failed is None or facts.failed.at <= facts.last_at
        assert now < facts.last.at + 1.5 * (facts.interval or facts.usual)


@given(proof_facts(), INSTANTS)
def test_what_time_alone_changes_is_looked_at_when_it_does(facts: ProofFacts, now: datetime) -> None:
    conditions, wake_at = decide_proof(facts, now)
    if wake_at is not None and wake_at > now:
        assert decide_proof(facts, wake_at - timedelta(microseconds=1))[0][0].reason == conditions[0].reason
        assert decide_proof(facts, wake_at)[0][0].status is False
