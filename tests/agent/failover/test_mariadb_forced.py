"""A primary of MariaDB or MySQL is lost: whoever has the most goes on, and what nobody else has is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from databosun.agent.failovers.clients import Crowd
from databosun.agent.failovers.drive import Drive
from databosun.api.failover import FailoverMode, FailoverStep, FailoverVerdict
from databosun.engines.mysql.failover import forced
from databosun.engines.mysql.failover.facts import Place
from databosun.engines.mysql.failover.forced import ForcedSwitch
from databosun.engines.mysql.failover.provider import ReplicationProvider
from support.failoverjob import RUN, acknowledged_since, why
from support.mariafailover import HOSTS, SCHEMA, MariaFailoverYard
from support.mariaserver import MariaServer
from support.mysqlfailover import MySQLFailoverYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

UNSENT = 20


@pytest.mark.parametrize("how", ["it answers", "it is killed, and another replica has more than the candidate"])
def test_where_a_replica_has_every_commit_a_forced_move_loses_none(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd], how: str
) -> None:
    maria.demand_two()
    if how != "it answers":
        _crash(maria, monkeypatch, crowds, cut_off=maria.nodes[1:2])
    job = maria.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan = job.plan()
    found = job.switch(plan)
    assert found.verdict is FailoverVerdict.PASSED, why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom, measured.split_brain) == (0, 0, 0, [])
    assert measured.write_downtime_seconds is not None
    assert measured.rejoin_seconds is not None
    assert found.settled
    assert maria.read_only() == [True, False, True]
    for node in (maria.nodes[0], maria.nodes[2]):
        maria.nodes[1].wait_for(node)
    assert maria.leftovers() == []


def test_semi_synchronous_mysql_loses_nothing_that_was_acknowledged_where_its_primary_is_killed(
    mysql: MySQLFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd]
) -> None:
    """What was written and never acknowledged the killed server still has when it is back, which is said."""
    mysql.demand_two()

    def writes_more() -> None:
        """It is received by nobody, and so acknowledged to nobody; what was acknowledged before is applied."""
        mysql.nodes[2].sql(mysql.words.stop_receiving)
        waits = "SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync ACK%'"
        eventually("a client waits for its commit", lambda: bool(mysql.nodes[0].sql(waits)))
        mysql.await_received(2)

    _crash(mysql, monkeypatch, crowds, cut_off=mysql.nodes[1:2], last=writes_more)
    found = mysql.job(tmp_path, FailoverMode.FORCED_FAILOVER).switch(rejoin_seconds=1.0)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SplitBrain"), why(found)
    measured = found.measured
    assert measured
    assert (measured.lost, measured.rejoin_lost, measured.phantom) == (0, 0, 0), why(found)
    assert measured.acknowledged > UNSENT
    assert measured.write_downtime_seconds is not None
    assert measured.rejoin_seconds is None
    assert f"{mysql.name(0)} holds " in measured.split_brain[0]
    assert found.topology
    assert found.topology.synchronous == "semi-synchronous"
    assert mysql.read_only() == [True, False, True]


def test_what_a_killed_primary_had_not_sent_is_counted_and_it_is_not_taken_back(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd]
) -> None:
    monkeypatch.setattr(ReplicationProvider, "remove_probe", lambda _: None)
    _crash(replicated, monkeypatch, crowds, cut_off=replicated.nodes[1:])
    job = replicated.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan = job.plan()
    found = job.switch(plan, rejoin_seconds=1.0)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    assert found.measured
    only_there = replicated.rows(0) - replicated.rows(1)
    assert found.measured.lost == len(only_there & job.acknowledged()) >= UNSENT
    assert "which 127.0.0.2" in " ".join(found.measured.split_brain)  # what the old one holds, the new one never had
    assert not found.settled
    assert any(f"{plan.primary} is read-only and follows nobody" in note for note in found.notes)
    assert replicated.read_only() == [True, False, True]
    replicated.nodes[1].wait_for(replicated.nodes[2])


@pytest.mark.parametrize("how", ["applies nothing", "is slow"])
def test_what_only_a_replica_received_that_has_not_applied_it_is_kept_and_told(
    replicated: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd], how: str
) -> None:
    monkeypatch.setattr(forced, "CATCH_UP_SECONDS", 1)
    monkeypatch.setattr(ReplicationProvider, "remove_probe", lambda _: None)
    replicated.demand_two()
    third, words = replicated.nodes[2], replicated.words
    holding = third.connect()

    def stuck() -> None:
        with holding.cursor() as cursor:
            slow = f"LOCK TABLES {SCHEMA}.writes_{RUN} WRITE"
            cursor.execute(slow if how == "is slow" else f"{words.stop} SQL_THREAD")

    _crash(replicated, monkeypatch, crowds, cut_off=replicated.nodes[1:2], first=stuck)
    job = replicated.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    found = job.switch(job.plan(), rejoin_seconds=1.0)
    assert found.measured
    assert found.measured.lost >= UNSENT
    (told,) = [note for note in found.notes if note.startswith(f"{replicated.name(2)} received ")]
    assert f"{replicated.origin_of(0)}" in told
    assert f"it is not pointed to {replicated.name(1)}, or that would be gone" in told
    assert not found.settled
    holding.close()
    third.sql(f"{words.start} SQL_THREAD")
    lost = job.acknowledged() - replicated.rows(1)
    assert len(lost) >= UNSENT
    eventually("it has applied what was acknowledged and is nowhere else", lambda: lost <= replicated.rows(2))


def test_a_forced_move_that_lost_its_agent_is_undone(maria: MariaFailoverYard, tmp_path: Path) -> None:
    job = maria.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan = job.plan()
    maria.mark(plan)
    maria.nodes[0].sql("SET GLOBAL read_only = 1")
    maria.nodes[2].sql("STOP SLAVE IO_THREAD")
    maria.nodes[1].sql("STOP SLAVE")
    maria.nodes[1].sql(f"CHANGE MASTER TO MASTER_HOST = '{HOSTS[2]}'")  # it was to get what the third one has
    maria.nodes[1].sql("START SLAVE")
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert found.settled, why(found)
    assert maria.read_only() == [False, True, True]
    maria.nodes[0].sql("CREATE DATABASE written")
    for node in maria.nodes[1:]:
        maria.nodes[0].wait_for(node)
    assert maria.leftovers() == []


@pytest.mark.parametrize("let_go", [True, False])
def test_where_the_old_primary_stays_away_the_rest_is_put_in_order_and_that_is_said(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, let_go: bool
) -> None:
    monkeypatch.setattr("databosun.agent.tasks.failover.SETTLE_SECONDS", 0.5)
    job = maria.job(tmp_path, FailoverMode.FORCED_FAILOVER)
    plan = job.plan()
    maria.mark(plan)
    maria.nodes[0].kill()
    if let_go:
        maria.nodes[1].sql("STOP SLAVE;\nRESET SLAVE ALL")
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.settled) == (FailoverVerdict.INCONCLUSIVE, False)
    assert "could not be looked at" in found.notes[0]
    if not let_go:
        assert f"{plan.candidate} was not promoted: start {plan.primary}" in found.notes[1]
        assert [node.sql("SELECT @@read_only") for node in maria.nodes[1:]] == [[(1,)], [(1,)]]
        return
    assert f"{plan.primary} must not take writes when it is back" in found.notes[1]
    maria.nodes[1].sql("CREATE DATABASE written")
    maria.nodes[1].wait_for(maria.nodes[2])


def _crash(
    maria: MariaFailoverYard,
    monkeypatch: pytest.MonkeyPatch,
    crowds: list[Crowd],
    cut_off: list[MariaServer],
    first: Callable[[], None] = lambda: None,
    last: Callable[[], None] = lambda: None,
) -> None:
    """The primary is killed where it would be stopped, after some replicas got nothing of its last commits; it is
    started again once another one is primary. `first`: what is done before these commits; `last`: after them."""
    stop, rejoin = ForcedSwitch._stop, Drive._rejoin

    def killed(switch: ForcedSwitch, old: Place) -> None:
        for node in cut_off:
            node.sql(maria.words.stop_receiving)
        first()
        since = time.monotonic()
        eventually("more is acknowledged", lambda: acknowledged_since(crowds[-1], since) >= UNSENT)
        last()
        maria.nodes[0].kill()
        stop(switch, old)

    def come_back(drive: Drive) -> None:
        maria.restart_the_dead(0)
        rejoin(drive)

    monkeypatch.setattr(ForcedSwitch, "_stop", killed)
    monkeypatch.setattr(Drive, "_rejoin", come_back)
