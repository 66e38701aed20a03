"""Redis under Sentinel: the safe move loses nothing, and the plain command exactly what the ledger says it lost."""

from __future__ import annotations

import time

import pytest

from databosun.agent.failovers.clients import Crowd, Way
from databosun.api.failover import FailoverMode, FailoverPlan, MemberRole
from databosun.domain.failoverplan import make_plan
from databosun.domain.ledger import ReadBack
from databosun.domain.ledgerjudge import Judged, Span, judge
from databosun.engines.failover import FailoverProvider
from support.redisserver import Server
from support.sentinelyard import RUN, TABLE, SentinelYard
from support.waiting import eventually

pytestmark = pytest.mark.servers


def planned(provider: FailoverProvider, mode: FailoverMode) -> FailoverPlan:
    topology = provider.topology()
    assert topology.primary
    candidate = provider.choose(topology, None)
    assert candidate
    return make_plan(RUN, topology.provider, mode, topology.primary, candidate, [one.name for one in topology.members])


def moved_under_load(yard: SentinelYard, mode: FailoverMode, *, rate: float = 50) -> tuple[Judged, FailoverPlan, Crowd]:
    """One move with four clients; everything that a test would measure."""
    with yard.provider(mode) as provider, Crowd() as crowd:
        plan = planned(provider, mode)
        way = Way("service", lambda number: provider.connect(None, number, 1.0))
        crowd.add_writers(way, 4)
        for node in plan.members:
            crowd.add_eye(node, lambda node=node: provider.watch(node, 1.0))  # type: ignore[misc]
        crowd.start(rate)
        eventually("they write", lambda: crowd.acknowledged_since(time.monotonic() - 0.5))
        time_began = time.monotonic()
        eventually("for a second", lambda: time.monotonic() > time_began + 1)
        since = time.monotonic()
        provider.move(plan, lambda: None)
        eventually("the old master follows", lambda: provider.rejoined(plan) is None, 40)
        rejoined = time.monotonic()
        eventually("they write again", lambda: crowd.acknowledged_since(rejoined))
        promoted = provider.topology().primary
        crowd.stop()
        back = ReadBack(time.monotonic(), _named(crowd, provider))
        found = judge(crowd.writes, [back, back], Span(since, time.monotonic(), promoted), crowd.sightings)
        assert promoted != plan.primary
        provider.remove_probe()
    return found, plan, crowd


def _named(crowd: Crowd, provider: FailoverProvider) -> dict[str, object]:
    numbers = {one.number: one.name for one in crowd.writers}
    return {numbers[number]: rows for number, rows in provider.read_back(numbers).items()}


def test_the_safe_move_loses_nothing(sentinel: SentinelYard) -> None:
    found, plan, _ = moved_under_load(sentinel, FailoverMode.PLANNED_SWITCHOVER)
    assert found.before > 100
    assert (found.losses.lost.count, found.losses.phantom.count, found.unexplained) == (0, 0, 0)
    assert found.split_brain is None
    assert 0.2 < found.downtime.seconds < 10
    assert all(one.first_success is not None for one in found.clients)
    assert sentinel.named(plan.primary).info("replication")["role"] == "slave"
    assert sentinel.leftovers() == []


def test_the_plain_command_loses_just_what_the_ledger_says(sentinel: SentinelYard) -> None:
    found, plan, crowd = moved_under_load(sentinel, FailoverMode.FORCED_FAILOVER)
    lost = found.losses.lost.count
    assert lost > 50
    # The truth, by another way than read-back and ledger: what the old master acknowledged after the fork.
    assert found.split_brain is not None
    assert {claim.node for claim in found.split_brain.turns} >= {plan.primary}
    assert found.split_brain.overlap > 1
    assert sentinel.leftovers() == []
    assert lost <= sum(one.acknowledged for one in found.clients)


def test_topology_names_who_is_what(sentinel: SentinelYard) -> None:
    with sentinel.provider() as provider:
        topology = provider.topology()
        assert topology.primary == sentinel.name(sentinel.nodes[0])
        roles = {one.name: (one.role, one.healthy, one.promotable, one.problems) for one in topology.members}
        assert roles == {
            sentinel.name(sentinel.nodes[0]): (MemberRole.PRIMARY, True, False, []),
            sentinel.name(sentinel.nodes[1]): (MemberRole.REPLICA, True, True, []),
            sentinel.name(sentinel.nodes[2]): (MemberRole.REPLICA, True, True, []),
        }
        assert all(guard.ok for guard in provider.examine(topology, provider.choose(topology, None)))
        assert sentinel.leftovers() == []  # looking makes nothing
