"""Replication of MariaDB and MySQL by GTID: a move loses nothing, and what could is refused or undone."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest

from databosun.agent.failovers.drive import Drive
from databosun.api.failover import (
    FailoverMode,
    FailoverStep,
    FailoverVerdict,
    MemberRole,
    ProviderTarget,
)
from databosun.api.failoverprobe import ErrorName
from databosun.api.v1alpha1.database import EngineName
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.ledger import Fate
from databosun.engines.base import Credentials, Target
from databosun.engines.failover import Operator, ProbeError, Site, Spot
from databosun.engines.mysql.failover import forced, switch
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.nodes import Nodes
from databosun.engines.mysql.failover.words import run
from databosun.engines.registry import load_writers
from support.failoverjob import LONG, once_clients_write, why
from support.mariafailover import MOVER, PROBE, PROBE_PASSWORD, SCHEMA, MariaFailoverYard
from support.waiting import eventually

pytestmark = pytest.mark.servers


def test_a_move_loses_nothing_and_leaves_nothing(replicated: MariaFailoverYard, tmp_path: Path) -> None:
    job = replicated.job(tmp_path)
    plan = job.plan()
    assert replicated.leftovers() == []  # looking makes nothing
    found = job.switch(plan, rate=50.0)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.unexplained) == (0, 0, 0, 0)
    assert (measured.split_brain, found.settled) == ([], True)
    assert measured.acknowledged == len(job.acknowledged()) > 0
    assert measured.write_downtime_seconds is not None
    assert (found.candidate, found.topology_after and found.topology_after.primary) == (plan.candidate, plan.candidate)
    assert replicated.read_only() == [True, False, True]
    if replicated.engine is EngineName.MYSQL:  # those who may pass read_only by are stopped, too
        assert replicated.nodes[0].sql("SELECT @@super_read_only") == [(1,)]
    assert found.topology_after
    assert all(one.healthy for one in found.topology_after.members)
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])
    met = {kind.name for client in found.clients for kind in client.errors}
    # The last two where a client looks for a primary while there is none, or is not let in within a second.
    assert met <= {ErrorName.READ_ONLY, ErrorName.CONNECTION_LOST, ErrorName.TIMEOUT, ErrorName.NO_PRIMARY}, met
    _a_cloud_has_the_same_writers(replicated)


def _a_cloud_has_the_same_writers(replicated: MariaFailoverYard) -> None:
    """The second node is primary by now, and the third is none."""
    target = Target(
        replicated.database.model_copy(update={"engine": EngineName.RDS}), Credentials(PROBE, PROBE_PASSWORD)
    )
    site = Site(
        target, Operator(target.credentials), ProviderTarget(provider="RDS"), SCHEMA, "cloud", datetime.now(UTC)
    )
    writers = load_writers(replicated.engine, site)
    places = [Place.parse(replicated.name(number)) for number in (1, 2)]
    primary, replica = [Spot(place.host, place.port, place.host) for place in places]
    assert all(one.ok for one in writers.lacking(primary))
    writers.make(primary)
    session = writers.connect(primary, 2, LONG)
    session.write(7)
    assert session.takes_writes()
    session.close()
    replicated.nodes[1].wait_for(replicated.nodes[2])
    other = writers.connect(replica, 2, LONG)
    assert not other.takes_writes()
    with pytest.raises(ProbeError) as told:
        other.write(8)
    other.close()
    assert (told.value.kind, told.value.fate) == ("1290", Fate.FAILED)
    assert {client: list(rows) for client, rows in writers.rows(primary, [2]).items()} == {2: [7]}
    writers.remove(primary)


@pytest.mark.parametrize("mode", list(FailoverMode))
def test_an_errant_transaction_is_refused_before_anything_moves(
    replicated: MariaFailoverYard, tmp_path: Path, mode: FailoverMode
) -> None:
    job = replicated.job(tmp_path, mode)
    plan = job.plan()
    replicated.nodes[1].sql("SET GLOBAL read_only = 0;\nCREATE DATABASE stray;\nSET GLOBAL read_only = 1")
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.REFUSED, "GuardFailed"), why(found)
    assert "guard candidateConsistent" in found.message
    assert f"errant transactions, which the primary never had: {replicated.origin_of(1)}" in found.message
    assert found.ordered_at is None
    assert replicated.read_only() == [False, True, True]
    assert replicated.leftovers() == []


def test_another_candidate_is_another_plan(maria: MariaFailoverYard, tmp_path: Path) -> None:
    job = maria.job(tmp_path)
    plan = job.plan()
    assert plan.candidate == maria.name(1)
    with maria.provider() as provider:
        topology = provider.topology()
        assert provider.choose(topology, maria.name(2)) == maria.name(2)
        assert provider.choose(topology, "gone:1") is None
        roles = [(one.role, one.promotable, one.problems) for one in topology.members]
        assert roles == [(MemberRole.PRIMARY, False, []), *[(MemberRole.REPLICA, True, [])] * 2]


def test_a_replica_that_takes_writes_is_no_candidate(replicated: MariaFailoverYard) -> None:
    replicated.nodes[1].sql("SET GLOBAL read_only = 0")
    with replicated.provider() as provider:
        topology = provider.topology()
        assert topology.primary == replicated.name(0)
        assert "it takes writes" in topology.members[1].problems[0]
        assert provider.choose(topology, None) == replicated.name(2)


def test_a_replica_that_does_not_follow_by_gtid_is_no_candidate(replicated: MariaFailoverYard) -> None:
    words, positions = replicated.words, {"MariaDB": "MASTER_USE_GTID = no", "MySQL": "SOURCE_AUTO_POSITION = 0"}
    replicated.nodes[1].sql(f"{words.stop};\n{words.change} {positions[replicated.engine]};\n{words.start}")
    with replicated.provider() as provider:
        topology = provider.topology()
        assert topology.members[1].problems[0] == f"it does not replicate by GTID ({words.by_gtid})"
        assert provider.choose(topology, None) == replicated.name(2)


def test_a_long_statement_keeps_it_from_being_moved_and_nobody_waits_for_long(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("databosun.engines.mysql.failover.switch.LOCK_SECONDS", 1)
    replicated.nodes[0].sql("CREATE DATABASE shop;\nCREATE TABLE shop.t (a INT);\nINSERT INTO shop.t VALUES (1), (2)")
    busy = replicated.nodes[0].connect()

    def work() -> None:
        with suppress(pymysql.MySQLError), busy.cursor() as cursor:  # it is ended in the end
            cursor.execute("INSERT INTO shop.t SELECT a + SLEEP(600) FROM shop.t")

    long = threading.Thread(target=work, daemon=True)
    job = replicated.job(tmp_path)
    plan = job.plan()
    long.start()
    at_work = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO shop.t SELECT%'"
    eventually("the statement runs", lambda: bool(replicated.nodes[0].sql(at_work)))
    found = job.switch(plan)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SwitchFailed"), why(found)
    assert "a long statement holds its tables" in found.message
    assert replicated.read_only() == [False, True, True]
    assert found.settled
    assert long.is_alive()
    replicated.nodes[0].sql(f"KILL {busy.thread_id()}")
    long.join(60)
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


def test_a_candidate_that_cannot_catch_up_is_not_promoted_and_writes_go_on(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("databosun.engines.mysql.failover.switch.CATCH_UP_SECONDS", 1)
    job = replicated.job(tmp_path)
    plan = job.plan()
    with ExitStack() as over:
        hold = once_clients_write(lambda: over.enter_context(replicated.stuck(1)))
        monkeypatch.setattr(Drive, "_begin_writing", hold)
        found = job.switch(plan)
    assert (found.verdict, found.reason, found.settled) == (FailoverVerdict.FAILED, "SwitchFailed", True), why(found)
    assert f"{plan.candidate} has not come to {replicated.origin_of(0)}" in found.message
    assert "nothing was moved, and writes go on" in found.message
    assert found.measured
    assert (found.measured.lost, found.measured.split_brain) == (0, [])
    assert replicated.read_only() == [False, True, True]
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


def test_an_agent_that_is_killed_while_writes_are_stopped_leaves_a_primary_that_takes_writes(
    replicated: MariaFailoverYard, tmp_path: Path
) -> None:
    job = replicated.job(tmp_path)
    plan = job.plan()
    agent = job.start(plan, before=switch.Switch._catch_up)
    job.await_hold(agent)
    primary = replicated.nodes[0]
    states = f"SELECT STATE FROM information_schema.PROCESSLIST WHERE {replicated.stopped}"
    eventually("a client waits for writes to go on", lambda: bool(primary.sql(states)))
    agent.kill()
    agent.wait()
    primary.sql("CREATE DATABASE written")  # the lock went with its session
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.settled) == (FailoverVerdict.INCONCLUSIVE, True), why(found)
    assert replicated.read_only() == [False, True, True]
    primary.wait_for(replicated.nodes[1])  # it replicates again
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


@pytest.mark.parametrize("how_far", ["read-only", "let go", "both take writes"])
def test_what_a_lost_move_left_is_undone_or_done_to_its_end(
    replicated: MariaFailoverYard, tmp_path: Path, how_far: str
) -> None:
    job = replicated.job(tmp_path)
    plan = job.plan()
    replicated.mark(plan)
    if how_far != "both take writes":
        replicated.nodes[0].sql("SET GLOBAL read_only = 1")
    if how_far != "read-only":
        replicated.nodes[1].sql(f"{replicated.words.stop};\n{replicated.words.forget}")
    if how_far == "both take writes":
        replicated.nodes[1].sql("SET GLOBAL read_only = 0")
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert found.settled, why(found)
    moved = how_far != "read-only"
    assert replicated.read_only() == ([True, False, True] if moved else [False, True, True])
    new = replicated.nodes[1 if moved else 0]
    new.sql("CREATE DATABASE written")
    for node in replicated.nodes:
        if node is not new:
            new.wait_for(node)
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


@pytest.mark.parametrize("mode", [FailoverMode.PLANNED_SWITCHOVER, FailoverMode.FORCED_FAILOVER])
def test_where_a_promotion_is_not_answered_never_do_two_take_writes(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: FailoverMode
) -> None:
    plan = replicated.job(tmp_path, mode).plan()
    written: list[list[bool]] = []

    def cut_off(connection: Any, *statements: str) -> None:
        run(connection, *statements)
        if replicated.words.forget in statements:
            replicated.named(plan.candidate).sql("CREATE DATABASE acknowledged")
            monkeypatch.setattr(Nodes, "open", away)
            connection._force_close()
            raise pymysql.OperationalError(2013, "Lost connection to server during query")

    def away(nodes: Nodes, place: Place) -> Any:
        written.append(replicated.read_only())
        raise WorldFault("Unreachable", f"{place} is away")

    for module in (switch, forced):
        monkeypatch.setattr(module, "run", cut_off)
    with replicated.provider() as provider:
        provider.prepare_probe()
        for node in replicated.nodes[1:]:
            replicated.nodes[0].wait_for(node)
        with pytest.raises(DatabosunError):
            provider.move(plan, lambda: None)
        assert written, "it was tried to put that in order"
        assert replicated.read_only() == written[0] == [True, False, True]
        monkeypatch.undo()
        assert list(provider.settle(plan, 10)) == []
        provider.remove_probe()
    assert replicated.read_only() == [True, False, True]
    for number in (0, 2):
        replicated.named(plan.candidate).wait_for(replicated.nodes[number])
        assert replicated.nodes[number].sql("SHOW DATABASES LIKE 'acknowledged'"), "what was acknowledged is kept"


def test_a_primary_that_somebody_else_made_read_only_stays_so(maria: MariaFailoverYard, tmp_path: Path) -> None:
    job = maria.job(tmp_path)
    plan = job.plan()
    maria.nodes[0].sql("SET GLOBAL read_only = 1")
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert maria.read_only() == [True, True, True]


def test_logins_that_may_too_little_are_named_with_what_to_grant(replicated: MariaFailoverYard, tmp_path: Path) -> None:
    lacks = replicated.words.mover[-2]
    replicated.nodes[0].sql(f"REVOKE {lacks} ON *.* FROM {MOVER}@'%'")
    replicated.nodes[0].sql(f"REVOKE INSERT ON `{SCHEMA}`.* FROM probe@'%'")
    found = replicated.job(tmp_path).run(FailoverStep.DISCOVER).failover
    assert found
    failing = {one.name: one for one in found.guards if not one.ok}
    assert set(failing) == {"grants", "probeWritable"}
    assert failing["grants"].message == f"GRANT {lacks} ON *.* TO '{MOVER}'@'%';"
    assert failing["probeWritable"].observed == "lacks INSERT"
