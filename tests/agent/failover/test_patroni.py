"""PostgreSQL under Patroni: what is ordered loses nothing, and what could lose something is refused before it moves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from databosun.agent.failovers.clients import Crowd
from databosun.agent.failovers.drive import Drive
from databosun.api.failover import (
    ActAnswer,
    ActAsked,
    FailbackWhen,
    FailoverMode,
    FailoverResult,
    FailoverStep,
    FailoverVerdict,
    GuardResult,
    Member,
    MemberRole,
    ProviderMember,
    ProviderTarget,
)
from databosun.api.failoverprobe import ErrorName, PathKind, ProbePath
from databosun.api.injection import FaultKind, InjectedFault
from databosun.domain.failoverplan import make_plan
from databosun.domain.ledger import Fate
from databosun.engines.base import Credentials
from databosun.engines.failover import FailoverFault, FailoverProvider, Operator
from databosun.engines.postgresql.failover import provider as patroni
from databosun.engines.postgresql.failover import switch
from databosun.engines.postgresql.failover.provider import PatroniProvider
from support.failoverjob import LONG, RUN, acknowledged_since, once_clients_write, why
from support.patroniyard import MOVER, PROBE, PROBE_PASSWORD, SCHEMA, Node, PatroniYard
from support.pgbouncer import PgBouncer
from support.pgserver import kill_postmaster
from support.waiting import eventually

pytestmark = pytest.mark.servers

UNSENT = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[PatroniYard]:
    """One for all tests: each leaves another primary behind, and a cluster that is whole."""
    yard = PatroniYard()
    try:
        yard.start()
        yield yard
    finally:
        yard.remove()


@pytest.fixture
def bouncer(yard: PatroniYard) -> Iterator[PgBouncer]:
    """In transaction mode, before whoever leads."""
    made = PgBouncer(PROBE, PROBE_PASSWORD)
    try:
        made.start(yard.leader.host, yard.leader.port)
        yield made
    finally:
        made.remove()


@pytest.fixture
def yard(cluster: PatroniYard) -> Iterator[PatroniYard]:
    yield cluster
    cluster.rest()


@pytest.fixture
def synchronous(yard: PatroniYard) -> Iterator[None]:
    with yard.synchronous():
        yield


@pytest.mark.usefixtures("each_writes")
def test_a_switchover_loses_nothing_and_leaves_nothing(yard: PatroniYard, tmp_path: Path, bouncer: PgBouncer) -> None:
    job = yard.job(tmp_path)
    plan = job.plan()
    assert yard.leftovers() == []  # looking makes nothing
    pooler = ProbePath(name="pooler", host="127.0.0.1", port=bouncer.port, kind=PathKind.POOLER)
    with bouncer.following(yard.place):
        found = job.switch(plan, rate=50.0, paths=[pooler])
    _each_path_is_told(found)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert (measured.split_brain, found.settled) == ([], True)
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert measured.write_downtime_seconds is not None
    assert measured.rejoin_seconds is not None
    assert (found.candidate, yard.leader.name, yard.writable()) == (plan.candidate, plan.candidate, [plan.candidate])
    assert found.topology_after
    assert all(one.healthy for one in found.topology_after.members)
    assert yard.leftovers() == []
    assert found.topology
    assert found.topology.synchronous == "asynchronous"
    assert "lease of 20 s" in (found.topology.fencing or "")
    _, backs, claims = job.ledger()
    assert len(backs) == 2
    assert {claim.node for claim in claims} == {plan.primary, plan.candidate}


def test_after_it_has_passed_the_primary_is_moved_back_in_the_same_ledger(yard: PatroniYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path)
    job.failback = FailbackWhen.WHEN_REJOINED
    plan = job.plan()
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    back = found.failback
    assert back, why(found)
    assert (back.verdict, back.primary, back.candidate) == (FailoverVerdict.PASSED, plan.candidate, plan.primary), why(
        back
    )
    assert (yard.leader.name, yard.writable()) == (plan.primary, [plan.primary])
    for measured in (found.measured, back.measured):
        assert measured
        assert (measured.lost, measured.rejoin_lost, measured.unexplained, measured.split_brain) == (0, 0, 0, [])
        assert measured.acknowledged > 0
        assert measured.write_downtime_seconds
        assert measured.rejoin_seconds
    assert yard.leftovers() == []
    events = [one.event for one in found.timeline]
    assert events.index("ReadAfterRejoin") < events.index("FailbackSwitchOrdered") < events.index("FailbackRejoined")
    history, backs, _ = job.ledger()
    assert len(backs) == 4
    acknowledged = sum(one.fate is Fate.ACKNOWLEDGED for one in history)
    assert found.measured
    assert back.measured
    assert acknowledged == found.measured.acknowledged + back.measured.acknowledged
    assert found.topology_after
    assert found.topology_after.primary == plan.primary


def test_roles_are_told_and_who_does_not_answer(yard: PatroniYard) -> None:
    replica = yard.replicas[0]
    with yard.provider() as provider:
        topology = provider.topology()
        assert topology.primary == yard.leader.name
        roles = {one.name: (one.role, one.promotable, one.problems) for one in topology.members}
        assert roles.pop(yard.leader.name) == (MemberRole.PRIMARY, False, [])
        assert list(roles.values()) == [(MemberRole.REPLICA, True, [])] * 2
        assert provider.choose(topology, replica.name) == replica.name
        assert provider.choose(topology, "gone") is None
        assert replica.process
        replica.process.send_signal(signal.SIGSTOP)
        try:
            gone = next(one for one in provider.topology().members if one.name == replica.name)
        finally:
            replica.process.send_signal(signal.SIGCONT)
        assert (gone.role, gone.promotable) == (MemberRole.UNKNOWN, False)
        assert "does not answer" in gone.problems[0]


def test_a_candidate_that_receives_nothing_is_not_switched_to(
    yard: PatroniYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patroni would stop the primary, wait for the replica until wal_sender_timeout, and promote it all the same."""
    monkeypatch.setattr(switch, "CATCH_UP_SECONDS", 1.0)
    job = yard.job(tmp_path)
    plan, primary = job.plan(), yard.leader
    with ExitStack() as over:
        silence = once_clients_write(lambda: over.enter_context(primary.silent()))
        monkeypatch.setattr(Drive, "_begin_writing", silence)
        found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, FailoverFault.NOT_CAUGHT_UP), why(found)
    assert "nothing was moved" in found.message
    assert (yard.leader, found.ordered_at) == (primary, None)
    assert yard.leftovers() == []


@pytest.mark.usefixtures("synchronous")
def test_a_killed_primary_is_replaced_and_its_downtime_measured(yard: PatroniYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan, primary = job.plan(), yard.leader
    killed: list[float] = []

    def operator(asked: ActAsked) -> ActAnswer:
        assert (asked.member, asked.host) == (primary.name, primary.host)
        primary.kill()
        killed.append(time.monotonic())
        threading.Thread(target=lambda: come_back(yard, primary), daemon=True).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.split_brain) == (0, 0, [])
    assert measured.write_downtime_seconds is not None
    assert measured.write_downtime_seconds == pytest.approx(job.outage(killed[0]), abs=0.001)
    assert measured.rejoin_seconds is not None
    assert measured.promotion_seconds is not None
    assert found.settled
    assert yard.leader is not primary
    assert yard.writable() == [yard.leader.name]
    assert yard.leftovers() == []


@pytest.mark.usefixtures("synchronous")
def test_members_are_asked_who_is_primary_where_somebody_else_promotes(yard: PatroniYard, tmp_path: Path) -> None:
    """Patroni is there, and nobody asks it: as with any tool of somebody else in a StatefulSet."""
    job = yard.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    job.provider = ProviderTarget(provider="StatefulSet", endpoints=[f"{one.host}:{one.port}" for one in yard.nodes])
    plan, primary = job.plan(), yard.leader
    assert plan.primary == f"{primary.host}:{primary.port}"

    def operator(asked: ActAsked) -> ActAnswer:
        assert (asked.member, asked.host) == (plan.primary, primary.host)
        primary.kill()
        threading.Thread(target=lambda: come_back(yard, primary), daemon=True).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    assert found.measured
    assert (found.measured.lost, found.measured.split_brain) == (0, [])
    assert found.measured.rejoin_seconds
    assert found.candidate == f"{yard.leader.host}:{yard.leader.port}" != plan.primary
    assert yard.leftovers() == []


def test_a_cluster_of_cloudnativepg_is_handed_over_by_the_operators_word(yard: PatroniYard, tmp_path: Path) -> None:
    """Patroni does what CloudNativePG's operator would do; agent and servers are as they are there."""
    job = yard.job(tmp_path)
    members = [ProviderMember(name=one.name, host=one.host) for one in yard.nodes]
    job.provider = ProviderTarget(provider="CloudNativePG", members=members)
    refused = job.run(FailoverStep.DISCOVER).failover
    assert refused
    assert [one.message for one in refused.guards if not one.ok] == [f'run `GRANT pg_monitor TO "{PROBE}";`']
    yard.leader.sql(f"GRANT pg_monitor TO {PROBE}")
    try:
        plan, primary = job.plan(), yard.leader
        assert (plan.provider, plan.primary) == ("CloudNativePG", primary.name)

        def operator(asked: ActAsked) -> ActAnswer:
            assert (asked.member, asked.plan_hash) == (primary.name, plan.hash)
            yard.hand_over(primary.name, plan.candidate)
            return ActAnswer(plan_hash=asked.plan_hash, done=True, message="told")

        job.operator = operator
        found = job.switch(plan, rate=50.0)
    finally:
        yard.leader.sql(f"REVOKE pg_monitor FROM {PROBE}")
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    assert found.measured
    assert (found.measured.lost, found.measured.rejoin_lost, found.measured.split_brain) == (0, 0, [])
    assert found.candidate == plan.candidate == yard.leader.name
    assert yard.leftovers() == []


def test_what_a_killed_primary_had_sent_to_nobody_is_counted_to_the_row(
    yard: PatroniYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd]
) -> None:
    monkeypatch.setattr(PatroniProvider, "remove_probe", lambda _: None)
    job = yard.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan, primary = job.plan(), yard.leader
    only_there: list[set[tuple[int, int]]] = []

    def operator(asked: ActAsked) -> ActAnswer:
        with primary.silent():
            known, since = yard.rows(primary), time.monotonic()
            eventually("more is acknowledged", lambda: acknowledged_since(crowds[-1], since) >= UNSENT)
            only_there.append(yard.rows(primary) - known)
            primary.kill()
        threading.Thread(target=lambda: come_back(yard, primary), daemon=True).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    assert found.measured
    acknowledged, held = job.acknowledged(), yard.rows(yard.leader)
    assert found.measured.lost == len(acknowledged - held) >= UNSENT
    assert len(only_there[0] - held) >= UNSENT
    assert (only_there[0] & acknowledged) - held <= acknowledged - held
    assert found.measured.rejoin_seconds is not None  # by pg_rewind, which is how the rows are gone for good
    eventually("the old primary has what the new one has", lambda: yard.rows(primary) == held)
    with yard.provider() as provider:
        monkeypatch.undo()
        provider.remove_probe()
    assert yard.leftovers() == []


def test_a_server_that_is_killed_and_started_in_place_stays_primary_and_what_that_cost_is_measured(
    yard: PatroniYard, tmp_path: Path
) -> None:
    """As where a container is killed: Patroni keeps the lease, and nobody is promoted."""
    job = yard.job(tmp_path, FailoverMode.FAULT_INJECTION)
    job.fault = InjectedFault(kind=FaultKind.CONTAINER_KILL)
    plan, primary, killed = job.plan(), yard.leader, list[float]()
    assert plan.fault == job.fault

    def operator(asked: ActAsked) -> ActAnswer:
        assert (asked.member, asked.host, asked.plan_hash) == (primary.name, primary.host, plan.hash)
        kill_postmaster(primary.data)
        killed.append(time.monotonic())
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    job.operator = operator
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    assert f"nobody was promoted: {primary.name} took writes again" in found.message
    measured = found.measured
    assert measured
    assert (measured.lost, measured.split_brain, measured.promotion_seconds) == (0, [], None)
    assert measured.recovered_seconds
    assert measured.write_downtime_seconds
    assert measured.write_downtime_seconds > job.outage(killed[0]) - 0.001
    assert [one.event for one in found.timeline if one.event in ("PrimaryChanged", "Recovered")] == ["Recovered"]
    assert job.evidence["plan"]["fault"] == {"kind": "ContainerKill"}
    assert yard.leader is primary
    assert yard.leftovers() == []


def test_what_the_operator_declines_is_refused_and_nothing_moves(yard: PatroniYard, tmp_path: Path) -> None:
    job = yard.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    guard = GuardResult(name="dataOnClaim", ok=False, observed="no claim", limit="a claim")
    job.operator = lambda asked: ActAnswer(
        plan_hash=asked.plan_hash, done=False, message="it may not delete pods", guard=guard
    )
    plan, primary = job.plan(), yard.leader
    found = job.switch(plan)
    assert (found.verdict, found.reason, found.ordered_at) == (FailoverVerdict.REFUSED, "NotEnded", None), why(found)
    assert "it may not delete pods" in found.message
    assert [one for one in found.guards if not one.ok] == [guard]
    assert yard.leader is primary
    assert yard.leftovers() == []


def test_an_agent_that_is_killed_right_after_its_order_leaves_one_primary_and_no_table(
    yard: PatroniYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patroni, "LOOPS", 30)  # here a loop takes as long as the processors are busy with others
    job = yard.job(tmp_path)
    plan = job.plan()
    before = yard.store.revision()
    agent = job.start(plan, before=switch.Switch._another)
    yard.store.await_order(since=before)
    job.await_hold(agent)
    agent.kill()
    agent.wait()
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.settled) == (FailoverVerdict.INCONCLUSIVE, True), why(found)
    assert found.topology_after
    assert f"{found.topology_after.primary} is the primary" in found.message
    assert (found.ordered_at is not None) is (found.topology_after.primary != plan.primary)  # else no cooldown holds
    yard.rest()
    assert yard.writable() == [found.topology_after.primary]  # the order, which outlived the agent, was waited for
    assert yard.leftovers() == []


def test_a_cluster_that_is_paused_is_refused_in_both_modes(yard: PatroniYard) -> None:
    yard.configure(pause=True)
    try:
        for mode in FailoverMode:
            with yard.provider(mode) as provider:
                eventually("it is paused", lambda: "notPaused" in failing(provider))
    finally:
        yard.configure(pause=None)


def test_two_that_take_writes_are_no_primary_and_their_histories_are_told_apart(yard: PatroniYard) -> None:
    yard.configure(pause=True)  # else Patroni would not let it
    primary, other = yard.leader, yard.replicas[0]
    try:
        with yard.provider() as provider:
            plan = make_plan(RUN, "Patroni", FailoverMode.PLANNED_SWITCHOVER, primary.name, other.name, [])
            eventually("it is paused", lambda: "notPaused" in failing(provider))
            other.sql("SELECT pg_promote()")
            other.sql("CREATE TABLE stray (i int)")
            topology = provider.topology()
            assert topology.primary is None
            assert topology.notes[0] == f"several members take writes: {', '.join(sorted([primary.name, other.name]))}"
            (said,) = provider.divergence(plan)
            assert "take writes" in said
            assert sorted(yard.writable()) == sorted([primary.name, other.name])
    finally:
        yard.configure(pause=None)


def test_a_replica_tagged_nofailover_is_no_candidate(yard: PatroniYard) -> None:
    replica = yard.replicas[0]
    replica.reload(tags={"nofailover": True})
    try:
        with yard.provider() as provider:
            eventually("it is tagged", lambda: not member(provider, replica).promotable)
            assert member(provider, replica).problems == ["it is tagged nofailover, or failover_priority 0"]
            assert provider.choose(provider.topology(), replica.name) is None
    finally:
        replica.reload(tags={})
    with yard.provider() as provider:
        eventually("it is not", lambda: member(provider, replica).promotable)


def test_with_synchronous_replication_only_who_is_waited_for_is_a_candidate(yard: PatroniYard) -> None:
    yard.configure(synchronous_mode=True)
    try:
        with yard.provider() as provider:
            eventually("one is waited for", lambda: any(one.synchronous for one in provider.topology().members))
            topology = provider.topology()
            chosen = provider.choose(topology, None)
            assert [one.name for one in topology.members if one.promotable] == [chosen]
            (other,) = [one for one in topology.members if one.role is MemberRole.REPLICA and one.name != chosen]
            assert "Patroni would not let it" in other.problems[0]
            assert topology.synchronous == "synchronous, until no replica is there"
    finally:
        yard.configure(synchronous_mode=None)


def test_logins_that_may_too_little_are_named_with_what_to_do(yard: PatroniYard) -> None:
    yard.leader.sql(f"REVOKE CREATE ON DATABASE postgres FROM {PROBE}")
    try:
        with yard.provider(operator=Operator(Credentials(MOVER, "wrong"))) as provider:
            found = failing(provider)
    finally:
        yard.leader.sql(f"GRANT CREATE ON DATABASE postgres TO {PROBE}")
    assert set(found) == {"grants", "probeWritable"}
    assert "restapi.authentication" in (found["grants"].message or "")
    assert "answered 401" in found["grants"].observed
    assert found["probeWritable"].message == f'run `GRANT CREATE ON DATABASE "postgres" TO "{PROBE}";`'


def test_a_table_that_subscribers_would_be_sent_is_not_made(yard: PatroniYard, tmp_path: Path) -> None:
    yard.leader.sql("CREATE PUBLICATION everything FOR ALL TABLES")
    try:
        found = yard.job(tmp_path).run(FailoverStep.DISCOVER).failover
        assert found
        assert [(one.name, one.observed) for one in found.guards if not one.ok] == [("probeUnpublished", "everything")]
        with yard.provider() as provider:  # what it keeps from happening
            provider.prepare_probe()
            sent = "SELECT schemaname FROM pg_publication_tables WHERE pubname = 'everything'"
            assert yard.leader.sql(sent) == [(SCHEMA,)]
            provider.remove_probe()
    finally:
        yard.leader.sql("DROP PUBLICATION everything")


def _each_path_is_told(found: FailoverResult) -> None:
    service, pooled = found.paths
    assert (service.name, service.kind, pooled.name, pooled.kind) == ("service", "Service", "pooler", "Pooler")
    assert found.measured
    assert sum(one.acknowledged for one in found.paths) == found.measured.acknowledged
    for path in found.paths:
        assert path.clients == 4
        assert path.write_downtime_seconds is not None
        assert path.write_downtime_seconds >= (found.measured.write_downtime_seconds or 0.0)
        assert path.resumed
        assert path.first_success_seconds is not None
        assert path.all_succeeded_seconds is not None
        assert path.first_success_seconds <= path.all_succeeded_seconds
        assert sum(error.count for error in path.errors) == path.failed + path.unknown
    assert {error.name for one in found.paths for error in one.errors} != {ErrorName.OTHER}
    assert any(one.broken_connections for one in found.paths)
    took = {one.name: one for one in found.instances}
    assert (took[found.primary or ""].took_writes, took[found.candidate or ""].took_writes) > (0, 0)
    assert took[found.candidate or ""].first_seconds
    assert PROBE_PASSWORD not in found.model_dump_json()


def failing(provider: FailoverProvider) -> dict[str, GuardResult]:
    topology = provider.topology()
    return {one.name: one for one in provider.examine(topology, None) if not one.ok}


def member(provider: FailoverProvider, node: Node) -> Member:
    return next(one for one in provider.topology().members if one.name == node.name)


def come_back(yard: PatroniYard, node: Node) -> None:
    eventually("another one leads", lambda: yard.named_leader() not in (None, node.name), seconds=LONG)
    node.again()
