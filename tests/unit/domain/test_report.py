"""What a report says follows from the records; what is wrong with one is shown, and proves nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from databosun.api.drill import Verdict
from databosun.api.failover import FailoverVerdict
from databosun.api.report import RecordSeen, Report, ReportFailover, ReportObjectives, Review, State, Trust
from databosun.domain.records import Found
from databosun.domain.report import KnownDatabase, ReportFacts, build_report
from databosun.domain.reportcoverage import KnownBackup
from databosun.domain.reportdrill import KnownRun
from databosun.domain.reportfailover import KnownFailover
from databosun.domain.sealing import digest_of
from support.evidence import START, Chain, chain_of, failover, joint

NOW = START + timedelta(days=100)
ORDERS = KnownDatabase(
    "shop", "orders", "PostgreSQL", "18.1", ReportObjectives(tier=1, rto=900, rpo=300, source="Database")
)


def report(found: list[Found], **more: Any) -> Report:
    values: dict[str, Any] = {"scope": "shop", "since": START - timedelta(days=1), "found": found, **more}
    return build_report(ReportFacts(**values), NOW, "0.1.0")


def failed(chain: Chain) -> None:
    chain.drill(verdict="Failed", reason="ArtefactCorrupt", proven=False)


def test_a_database_whose_newest_drill_passed_is_proven() -> None:
    one = report(chain_of(3).found).databases[0]
    assert one.state is State.PROVEN
    assert one.last_proven == START + timedelta(days=14)
    assert [drill.run for drill in one.drills] == ["orders-03", "orders-02", "orders-01"]
    assert one.failing_since is None


def test_it_fails_since_the_first_failure_behind_the_newest_proof() -> None:
    chain = chain_of(2)
    failed(chain)
    failed(chain)
    one = report(chain.found).databases[0]
    assert one.state is State.FAILING
    assert one.failing_since == START + timedelta(days=14)
    assert one.last_proven == START + timedelta(days=7)


def test_a_later_proof_ends_a_failure() -> None:
    chain = chain_of(1)
    failed(chain)
    chain.drill()
    one = report(chain.found).databases[0]
    assert (one.state, one.failing_since) == (State.PROVEN, None)


def test_a_database_without_drills_is_shown_as_such() -> None:
    made = report([], databases=[ORDERS])
    assert made.databases[0].state is State.NEVER_DRILLED
    assert made.totals.never_drilled == 1


def test_a_changed_record_proves_nothing_and_is_counted() -> None:
    chain = chain_of(1)
    spoilt = replace(chain.found[0], data=chain.found[0].data.replace(b"6 checks", b"9 checks"))
    told = KnownRun(
        "shop", "orders-01", "orders", "Passed", Verdict.PASSED, START, sha256=digest_of(chain.found[0].data)
    )
    made = report([spoilt], runs=[told])
    one = made.databases[0]
    assert one.drills[0].record.trust is Trust.BROKEN
    assert (one.state, one.last_proven, one.coverage.drilled) == (State.NOT_PROVEN, None, 0)
    assert made.totals.broken == 1


def test_a_record_that_the_cluster_remembers_and_the_store_has_not_is_missing() -> None:
    told = KnownRun(
        "shop", "gone", "orders", "Passed", Verdict.PASSED, START, sha256="b" * 64, uri="s3://x", proven=True
    )
    one = report([], runs=[told]).databases[0]
    assert one.drills[0].record.trust is Trust.BROKEN
    assert one.state is State.NOT_PROVEN
    assert "deleted or moved" in one.problems[0]


def test_where_no_store_was_read_the_status_is_shown_as_what_it_is() -> None:
    told = KnownRun("shop", "r", "orders", "Passed", Verdict.PASSED, START, sha256="b" * 64, proven=True)
    made = report([], runs=[replace(told, looked_for=False)])
    assert made.databases[0].drills[0].record.trust is Trust.STATUS_ONLY
    assert (made.databases[0].state, made.totals.broken) == (State.PROVEN, 0)


def test_a_record_taken_out_of_the_chain_is_counted() -> None:
    found = chain_of(3).found
    made = report([found[0], found[2]])
    assert made.totals.broken == 1
    assert "orders-02 is missing" in made.databases[0].problems[0]


def test_runs_that_said_nothing_are_counted_apart() -> None:
    runs = [KnownRun("shop", name, "orders", phase, None, START) for name, phase in [("a", "Refused"), ("b", "Error")]]
    one = report([], databases=[ORDERS], runs=runs).databases[0]
    assert one.not_said == {"Error": 1, "Refused": 1}
    assert one.drills == []


def test_coverage_is_of_the_backups_that_there_are() -> None:
    names = ["backup-of-orders-01", "never", "older", "proven-long-ago"]
    backups = [
        KnownBackup("shop", "orders", name, START - timedelta(days=number), proven=name == "proven-long-ago")
        for number, name in enumerate(names)
    ]
    found = report(chain_of(1).found, backups=backups).databases[0].coverage
    assert (found.backups, found.drilled, found.proven) == (4, 2, 2)
    assert found.oldest_undrilled is not None
    assert found.oldest_undrilled.name == "older"
    assert not report(chain_of(1).found).databases[0].coverage.known


def test_older_drills_are_left_out_and_still_vouch_for_the_chain() -> None:
    made = report(chain_of(4).found, since=START + timedelta(days=10))
    assert [drill.run for drill in made.databases[0].drills] == ["orders-04", "orders-03"]
    assert made.totals.broken == 0


def test_what_people_noted_stands_beside_the_drill() -> None:
    noted = Review(findings="slow disk", runbooks="RB-1", by="jo")
    run = KnownRun("shop", "orders-01", "orders", "Passed", Verdict.PASSED, START, review=noted)
    assert report(chain_of(1).found, runs=[run]).databases[0].drills[0].review == noted


def test_a_manifest_at_hand_is_compared() -> None:
    found = chain_of(1).found
    same = report(found, manifests={"backup-of-orders-01": frozenset({"a" * 64})})
    other = report(found, manifests={"backup-of-orders-01": frozenset({"b" * 64})})
    assert [one.databases[0].drills[0].manifest for one in (same, other, report(found))] == [
        "Matches",
        "Differs",
        "NotSeen",
    ]


def test_only_what_was_asked_for_is_shown() -> None:
    billing = Chain(database="billing")
    billing.drill()
    made = report([*chain_of(1).found, *billing.found], only=frozenset({"billing"}))
    assert [one.name for one in made.databases] == ["billing"]
    assert made.totals.databases == 1


def test_a_drill_of_many_is_shown_with_each_and_names_their_records_by_digest() -> None:
    found = chain_of(1).found
    made = report([*found, joint(found)])
    (one,) = made.joint
    assert (one.seconds, one.met, one.record.trust) == (61.0, False, Trust.UNSIGNED)
    assert [(member.database, member.record) for member in one.members] == [("orders", "Matches"), ("gone", "None")]
    assert [database.name for database in made.databases] == ["orders"]
    assert report([joint(found)]).joint[0].members[0].record == "NotSeen"
    assert report([*found, joint(found)], only=frozenset({"billing"})).joint == []


def test_a_drill_of_many_that_was_changed_counts_for_nothing() -> None:
    found = chain_of(1).found
    whole = joint(found)
    moved = replace(whole, where="s3://backups/bank/_drills/whole/evidence.json")
    edited = replace(whole, data=whole.data + b" ")
    for spoilt in (moved, edited):
        made = report([*found, spoilt])
        assert made.joint[0].record.trust is Trust.BROKEN
        assert made.totals.broken == 1


KNOWN_TEST = ReportFailover(
    namespace="shop",
    database="orders",
    run="orders-moved",
    at=START,
    verdict=FailoverVerdict.PASSED,
    reason="Passed",
    message="",
    record=RecordSeen(where="s3://b", sha256=digest_of(failover().data).upper(), trust=Trust.STATUS_ONLY),
)


def test_a_failover_test_is_shown_by_its_record() -> None:
    made = report([failover(), *chain_of(1).found], failovers=[KnownFailover(KNOWN_TEST, "prod", looked_for=True)])
    (one,) = made.failovers
    assert (one.verdict, one.record.trust, one.record.problems) == (FailoverVerdict.PASSED, Trust.UNSIGNED, [])
    assert (one.write_downtime, one.write_downtime_objective, one.lost, one.acknowledged) == (2.6, 10.0, 0, 400)
    assert made.totals.broken == 0
    assert report([failover()], only=frozenset({"billing"})).failovers == []
    assert report([failover(at=START - timedelta(days=9))]).failovers == []
    assert report([failover(verdict="Refused", measured=None)]).failovers == []


def test_a_record_of_a_failover_test_that_is_wrong_or_missing_is_said() -> None:
    known = KnownFailover(KNOWN_TEST, "prod", looked_for=True)
    edited = replace(failover(), data=failover().data.replace(b"2.6", b"1.6"))
    for found, said in (([edited], "was changed or replaced"), ([], "is missing from the store")):
        made = report(found, failovers=[known])
        (one,) = made.failovers
        assert one.record.trust is Trust.BROKEN
        assert said in one.record.problems[0]
        assert made.totals.broken == 1
    unread = report([], failovers=[replace(known, looked_for=False)])
    assert unread.failovers == [KNOWN_TEST]
    assert unread.totals.broken == 0


VERDICTS = st.lists(st.sampled_from(["Passed", "Failed", "Partial"]), max_size=8)


@given(verdicts=VERDICTS, spoilt=st.sets(st.integers(0, 7)))
def test_the_figures_of_the_first_page_are_those_of_the_pages(verdicts: list[str], spoilt: set[int]) -> None:
    chain = Chain()
    for verdict in verdicts:
        chain.drill(verdict=verdict, proven=verdict == "Passed")
    found = [replace(one, data=one.data + b" ") if number in spoilt else one for number, one in enumerate(chain.found)]
    made = report(found, databases=[ORDERS])
    one, t = made.databases[0], made.totals
    trusted = [drill for drill in one.drills if drill.record.trust is not Trust.BROKEN]
    assert t.proven + t.failing + t.not_proven + t.never_drilled == t.databases == 1
    assert t.drills == len(verdicts)
    assert t.passed == sum(drill.verdict is Verdict.PASSED for drill in trusted)
    if one.state is State.PROVEN:
        assert any(drill.proven for drill in trusted)
    assert not any(drill.proven for drill in one.drills if drill.record.trust is Trust.BROKEN)
    assert (t.broken == 0) == (not spoilt & set(range(len(verdicts))))
