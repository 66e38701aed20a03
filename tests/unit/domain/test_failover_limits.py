"""The guards that hold for every kind of replication."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from databosun.api.failover import GuardLimits, Member, MemberRole, Topology
from databosun.domain.failoverlimits import judge_limits

LIMITS = GuardLimits(min_healthy_replicas=2, max_lag_bytes=1000, max_lag_seconds=5)


def member(name: str, role: MemberRole = MemberRole.REPLICA, **more: Any) -> Member:
    given: dict[str, Any] = {
        "healthy": True,
        "promotable": role is MemberRole.REPLICA,
        "lag_bytes": 10,
        "lag_seconds": 1,
    }
    return Member(name=name, host=name, port=1, role=role, **{**given, **more})


def topology(*replicas: Member, primary: str | None = "a") -> Topology:
    members = [member("a", MemberRole.PRIMARY), *replicas]
    return Topology(observed_at=datetime(2026, 3, 1, tzinfo=UTC), provider="Sentinel", primary=primary, members=members)


def failing(found: Topology, candidate: str | None, limits: GuardLimits = LIMITS) -> list[str]:
    return [one.name for one in judge_limits(found, candidate, limits) if not one.ok]


def test_all_well_holds() -> None:
    found = judge_limits(topology(member("b"), member("c")), "b", LIMITS)
    assert [one.name for one in found] == [
        "onePrimary", "minHealthyReplicas", "candidateConsistent", "maxLagBytes", "maxLagSeconds",
    ]  # fmt: skip
    assert all(one.ok and one.message is None for one in found)


@pytest.mark.parametrize(
    ("found", "candidate", "names"),
    [
        (topology(member("b"), member("c"), primary=None), "b", ["onePrimary"]),
        (topology(member("b"), member("c", healthy=False)), "b", ["minHealthyReplicas"]),
        (
            topology(member("b", promotable=False, problems=["errant 0-2-17"]), member("c")),
            "b",
            ["candidateConsistent"],
        ),
        (topology(member("b"), member("c")), None, ["candidateConsistent", "maxLagSeconds"]),
        (topology(member("b", lag_bytes=1001), member("c")), "b", ["maxLagBytes"]),
        (topology(member("b", lag_seconds=None), member("c")), "b", ["maxLagSeconds"]),
        (topology(member("b", lag_seconds=5.5), member("c")), "b", ["maxLagSeconds"]),
    ],
)
def test_what_does_not_hold_is_named(found: Topology, candidate: str | None, names: list[str]) -> None:
    assert failing(found, candidate) == names


def test_the_problem_stands_in_the_guard() -> None:
    guards = judge_limits(topology(member("b", promotable=False, problems=["errant 0-2-17"])), "b", GuardLimits())
    consistent = next(one for one in guards if one.name == "candidateConsistent")
    assert "errant 0-2-17" in consistent.observed
    assert consistent.message


def test_bytes_are_told_to_the_last() -> None:
    found = judge_limits(topology(member("b", lag_bytes=16777217)), "b", GuardLimits(max_lag_bytes=1 << 24))
    lag = next(one for one in found if one.name == "maxLagBytes")
    assert (lag.observed, lag.limit, lag.ok) == ("16777217 bytes", "16777216 bytes", False)


def test_what_is_not_asked_for_is_not_judged() -> None:
    limits = GuardLimits(min_healthy_replicas=0, candidate_consistent=False)
    assert [one.name for one in judge_limits(topology(), None, limits)] == ["onePrimary", "minHealthyReplicas"]


def test_a_primary_without_replicas_is_let_through_only_where_none_is_asked_for() -> None:
    limits = GuardLimits(min_healthy_replicas=0, max_lag_seconds=5)
    assert failing(topology(), None, limits) == []
    assert failing(topology(), None, GuardLimits(max_lag_seconds=5)) == [
        "minHealthyReplicas", "candidateConsistent", "maxLagSeconds",
    ]  # fmt: skip
    ill = topology(member("b", promotable=False, problems=["stopped"]))
    assert failing(ill, None, limits) == ["candidateConsistent", "maxLagSeconds"]  # one is there, and could not
