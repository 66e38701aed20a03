"""MariaDB and MySQL in a StatefulSet in which nobody promotes: the primary comes back, or nobody takes writes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from databosun.agent.failovers.clients import Crowd
from databosun.api.failover import ActAnswer, ActAsked, FailoverMode, FailoverStep, FailoverVerdict, ProviderTarget
from databosun.api.injection import FaultKind, InjectedFault
from databosun.engines.mysql.failover.stateful import StatefulProvider
from support.failoverjob import FailoverJob, acknowledged_since, why
from support.mariafailover import HOSTS, MariaFailoverYard
from support.waiting import eventually

pytestmark = pytest.mark.servers

SOON = 5.0
UNSENT = 20


def job(yard: MariaFailoverYard, folder: Path, mode: FailoverMode = FailoverMode.FAULT_INJECTION) -> FailoverJob:
    """A test of it, of which the replicas look for their primary every second."""
    endpoints = [f"{host}:{yard.nodes[0].port}" for host in HOSTS]
    made = yard.job(folder, mode, ProviderTarget(provider="StatefulSet", endpoints=endpoints))
    made.fault = InjectedFault(kind=FaultKind.POD_DELETE) if mode is FailoverMode.FAULT_INJECTION else None
    for node in yard.nodes[1:]:
        words = yard.words
        node.sql(f"{words.stop};\n{words.change} {words.option}_CONNECT_RETRY = 1;\n{words.start}")
    return made


@pytest.mark.parametrize("mode", [FailoverMode.FAULT_INJECTION, FailoverMode.FORCED_FAILOVER])
def test_a_primary_that_comes_back_by_itself_is_no_failover_and_what_it_cost_is_measured(
    replicated: MariaFailoverYard, tmp_path: Path, mode: FailoverMode
) -> None:
    made, primary, killed = job(replicated, tmp_path, mode), replicated.nodes[0], list[float]()
    plan = made.plan()

    def operator(asked: ActAsked) -> ActAnswer:
        assert (asked.member, asked.host) == (replicated.name(0), HOSTS[0])
        primary.kill()
        killed.append(time.monotonic())
        threading.Timer(1.0, primary.start).start()
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    made.operator = operator
    found = made.switch(plan)
    measured = found.measured
    assert measured
    assert measured.write_downtime_seconds
    assert measured.write_downtime_seconds > made.outage(killed[0]) - 0.001
    assert (found.settled, measured.promotion_seconds, measured.split_brain) == (True, None, [])
    if mode is FailoverMode.FORCED_FAILOVER:
        assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SwitchFailed"), why(found)
        assert "nobody was promoted" in found.message
    else:
        assert found.verdict is FailoverVerdict.PASSED, why(found)
        assert "nobody was promoted" in found.message
        assert (measured.lost, measured.rejoin_lost) == (0, 0)
        assert measured.recovered_seconds
    assert replicated.read_only() == [False, True, True]
    eventually("the replicas have followed", lambda: replicated.leftovers() == [])


def test_where_nobody_takes_writes_any_more_that_is_said_and_nobody_is_promoted_by_us(
    maria: MariaFailoverYard, tmp_path: Path
) -> None:
    made, primary = job(maria, tmp_path), maria.nodes[0]
    plan = made.plan()

    def operator(asked: ActAsked) -> ActAnswer:
        primary.kill()
        maria.restart_the_dead(0)
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    made.operator = operator
    found = made.switch(plan, abort_seconds=SOON)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "SwitchFailed"), why(found)
    assert "nobody was promoted" in found.message
    assert not found.settled
    assert any("set read_only=OFF at the one that was the primary" in note for note in found.notes)
    assert maria.read_only() == [True, True, True]


def test_what_was_lost_is_found_where_another_one_was_promoted(
    maria: MariaFailoverYard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crowds: list[Crowd]
) -> None:
    """As a tool in the pods does it."""
    monkeypatch.setattr(StatefulProvider, "remove_probe", lambda _: None)
    made, primary = job(maria, tmp_path), maria.nodes[0]
    plan = made.plan()

    def operator(asked: ActAsked) -> ActAnswer:
        other = maria.named(plan.candidate)
        other.sql("STOP SLAVE IO_THREAD")
        since = time.monotonic()
        eventually("more is acknowledged", lambda: acknowledged_since(crowds[-1], since) >= UNSENT)
        primary.kill()
        other.sql("STOP SLAVE;\nRESET SLAVE ALL;\nSET GLOBAL read_only = 0")
        return ActAnswer(plan_hash=asked.plan_hash, done=True, message="killed")

    made.operator = operator
    found = made.switch(plan, rejoin_seconds=1.0)
    assert (found.verdict, found.reason) == (FailoverVerdict.FAILED, "WritesLost"), why(found)
    assert found.candidate == plan.candidate
    assert found.measured
    assert found.measured.promotion_seconds
    assert found.measured.rejoin_seconds is None
    assert found.measured.lost == len(made.acknowledged() - maria.rows(1)) >= UNSENT
    assert made.run(FailoverStep.SETTLE, plan).failover is not None
