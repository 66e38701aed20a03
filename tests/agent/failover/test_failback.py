"""The move back: only after a test that passed, under the same guards, in the same ledger; and nothing is left of one
that is broken off."""

from __future__ import annotations

from pathlib import Path

import pytest

from databosun.agent.failovers import drive
from databosun.agent.tasks import failover as task
from databosun.api.failover import FailbackWhen, FailoverPlan, FailoverResult, FailoverStep, FailoverVerdict, Topology
from databosun.domain.failoverplan import way_back
from databosun.domain.ledger import Fate
from databosun.engines.mysql.failover.switch import Switch
from databosun.engines.redis.failover.switch import Switch as SentinelSwitch
from support.failoverjob import RUN, FailoverJob, why
from support.mariafailover import MariaFailoverYard
from support.redisserver import Server
from support.sentinelyard import SentinelYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

PASSED, REFUSED = FailoverVerdict.PASSED, FailoverVerdict.REFUSED


def and_back(job: FailoverJob) -> FailoverJob:
    """The same, to be moved back."""
    job.failback = FailbackWhen.WHEN_REJOINED
    return job


def moved_there_and_back(job: FailoverJob, plan: FailoverPlan, found: FailoverResult) -> None:
    assert found.verdict is PASSED, why(found)
    back = found.failback
    assert back, why(found)
    assert (back.verdict, back.primary, back.candidate) == (PASSED, plan.candidate, plan.primary), why(back)
    history, backs, _ = job.ledger()
    assert len(backs) == 4
    counted = 0
    for measured in (found.measured, back.measured):
        assert measured
        assert (measured.lost, measured.rejoin_lost, measured.unexplained, measured.split_brain) == (0, 0, 0, [])
        assert measured.write_downtime_seconds
        assert measured.acknowledged > 0
        counted += measured.acknowledged
    assert sum(one.fate is Fate.ACKNOWLEDGED for one in history) == counted
    events = [one.event for one in found.timeline]
    assert events.index("ReadAfterRejoin") < events.index("FailbackSwitchOrdered") < events.index("FailbackRejoined")
    assert found.topology_after
    assert found.topology_after.primary == plan.primary
    assert found.settled


def test_by_gtid_it_is_moved_back_and_who_follows_whom_is_as_before(
    replicated: MariaFailoverYard, tmp_path: Path
) -> None:
    job = and_back(replicated.job(tmp_path))
    plan = job.plan()
    moved_there_and_back(job, plan, job.switch(plan, rate=50.0))
    assert replicated.read_only() == [False, True, True]
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


def test_an_agent_that_is_killed_while_writes_are_stopped_on_the_way_back_leaves_a_primary(
    maria: MariaFailoverYard, tmp_path: Path
) -> None:
    job = and_back(maria.job(tmp_path))
    plan = job.plan()
    agent = job.start(plan, before=Switch._catch_up, call=2)
    job.await_hold(agent)
    primary = maria.nodes[1]
    states = f"SELECT STATE FROM information_schema.PROCESSLIST WHERE {maria.stopped}"
    eventually("a client waits for writes to go on", lambda: bool(primary.sql(states)))
    agent.kill()
    agent.wait()
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.settled) == (FailoverVerdict.INCONCLUSIVE, True), why(found)
    assert found.ordered_at  # a cooldown holds: it was moved, whoever is primary now
    assert maria.read_only() == [True, False, True]
    primary.sql("CREATE DATABASE written")
    primary.wait_for(maria.nodes[0])
    eventually("the replicas have followed", lambda: maria.leftovers() == [])


def test_where_the_one_that_was_promoted_on_the_way_back_is_gone_the_other_takes_no_writes_by_our_hand(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have taken writes that no other has: by the first move's roles it would count as the old primary."""
    monkeypatch.setattr(task, "SETTLE_SECONDS", 2.0)
    job = and_back(maria.job(tmp_path))
    plan = job.plan()
    maria.mark(plan)
    first, second = maria.nodes[0], maria.nodes[1]
    first.sql("SET GLOBAL read_only = 1")
    second.sql("STOP SLAVE;\nRESET SLAVE ALL;\nSET GLOBAL read_only = 0")  # the first move was made
    maria.mark(way_back(RUN, plan, plan.candidate))
    second.sql("SET GLOBAL read_only = 1")
    first.sql("SET GLOBAL read_only = 0")
    first.kill()
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert not found.settled
    assert second.sql("SELECT @@read_only") == [(1,)]


def test_sentinels_are_had_to_move_it_back_where_they_would_choose_it_and_only_after_a_test_that_passed(
    sentinel: SentinelYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = and_back(sentinel.job(tmp_path / "late"))
    plan = late.plan()
    found = late.switch(plan, write_downtime_seconds=-1.0)  # which nothing meets
    assert (found.verdict, found.reason, found.failback) == (FailoverVerdict.FAILED, "DowntimeExceeded", None), why(
        found
    )
    assert "was not moved back: the test is Failed" in " ".join(found.notes)
    assert sentinel.named(plan.candidate).info("replication")["role"] == "master"

    sentinel.await_replicas()
    job = and_back(sentinel.job(tmp_path / "there"))
    plan = job.plan()
    prefer(sentinel.named(plan.primary), 1)
    moved_there_and_back(job, plan, job.switch(plan))
    assert sentinel.named(plan.primary).info("replication")["role"] == "master"
    assert sentinel.leftovers() == []

    sentinel.await_replicas()
    stays = and_back(sentinel.job(tmp_path / "stays"))
    again = stays.plan()
    prefer(sentinel.named(again.primary), 200)
    wait = drive.Drive._await_guards

    def once_heard(moving: drive.Drive) -> Topology:
        sentinel.await_priority(sentinel.named(again.primary), 200)
        return wait(moving)

    monkeypatch.setattr(drive.Drive, "_await_guards", once_heard)
    monkeypatch.setattr(drive, "GUARDS_SECONDS", 1.0)
    found = stays.switch(again)
    assert found.verdict is PASSED, why(found)
    assert found.failback
    assert (found.failback.verdict, found.failback.reason) == (REFUSED, "GuardFailed"), why(found.failback)
    assert "sentinelsChoice" in found.failback.message
    assert sentinel.named(again.candidate).info("replication")["role"] == "master"
    assert sentinel.leftovers() == []


def test_an_agent_that_is_killed_on_the_way_back_leaves_one_master_that_takes_writes(
    sentinel: SentinelYard, tmp_path: Path
) -> None:
    job = and_back(sentinel.job(tmp_path))
    plan = job.plan()
    prefer(sentinel.named(plan.primary), 1)
    agent = job.start(plan, before=SentinelSwitch._promoted, call=2)  # right after its order
    job.await_hold(agent)
    agent.kill()
    agent.wait()
    found = job.run(FailoverStep.SETTLE, plan).failover
    assert found
    assert (found.verdict, found.reason, found.settled) == (FailoverVerdict.INCONCLUSIVE, "Settled", True), why(found)
    eventually("the replicas have followed", lambda: sentinel.leftovers() == [])
    masters = [node for node in sentinel.nodes if node.info("replication")["role"] == "master"]
    assert len(masters) == 1
    assert masters[0].call("SET", "written", "1") == b"OK"


def prefer(node: Server, priority: int) -> None:
    """The lowest is promoted; Sentinels hear of it by and by."""
    node.call("CONFIG", "SET", "replica-priority", priority)
