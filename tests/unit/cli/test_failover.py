"""A failover test by hand: created once, bounded in time; consent is to the plan that was shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.api.v1alpha1.failovertestrun import FailoverTestRunSpec
from databosun.cli import failover
from databosun.domain.errors import SafetyStop, UserFault
from databosun.kube.resources import APPROVALS, FAILOVER_TEST_RUNS, FAILOVER_TESTS
from support.terminal import Terminal

HOUR = timedelta(hours=1)
PLAN = {
    "provider": "Sentinel",
    "mode": "PlannedSwitchover",
    "primary": "n1",
    "candidate": "n2",
    "members": ["n1", "n2"],
    "hash": "0123456789abcdef",
    "at": "2026-03-01T11:59:00Z",
    "approvalNeeded": True,
    "until": "2026-03-01T18:00:00Z",
}
NODES = {
    "at": "2026-03-01T11:59:00Z",
    "primary": "n1",
    "members": [
        {"name": "n1", "role": "Primary", "healthy": True},
        {"name": "n2", "role": "Replica", "healthy": True, "lagBytes": 12},
    ],
}
WAITING = {"phase": "AwaitingApproval", "plan": PLAN, "topologyBefore": NODES}


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal()
    made.kube.reviews["SelfSubjectReview"] = lambda _body: {"userInfo": {"username": "ada@example.com"}}
    spec = {"databaseRef": {"name": "orders"}, "evidence": {"storageRef": {"name": "prod"}}}
    made.kube.put(FAILOVER_TESTS, {"metadata": {"name": "monthly"}, "spec": spec})
    return made


def run(terminal: Terminal, **status: Any) -> None:
    refs = {"testRef": {"name": "monthly"}, "databaseRef": {"name": "orders"}}
    spec = {**refs, "notAfter": "2026-03-01T13:00:00Z"}
    terminal.kube.put(FAILOVER_TEST_RUNS, {"metadata": {"name": "mine"}, "spec": spec, "status": status})


def play(terminal: Terminal, *statuses: Any) -> None:
    """One status after each second."""

    def events() -> Iterator[None]:
        for status in statuses:
            terminal.kube.amend(FAILOVER_TEST_RUNS, "mine", status=status)
            yield

    terminal.clock.events = events()


async def approve(terminal: Terminal, *, yes: bool = True, expected: str | None = None) -> int:
    return await failover.approve(terminal.session, "mine", timedelta(hours=24), expected, lambda _: yes)


async def test_a_test_by_hand_is_of_its_own_database_and_cannot_start_later(terminal: Terminal) -> None:
    seen = await failover.start(terminal.session, "monthly", HOUR)
    body = terminal.kube.one(FAILOVER_TEST_RUNS, seen.meta.name)
    assert seen.meta.name.startswith("orders-260301-1200-")
    assert FailoverTestRunSpec.model_validate(body["spec"]).database_ref.name == "orders"
    assert body["spec"]["notAfter"] == "2026-03-01T13:00:00Z"
    with pytest.raises(UserFault, match="FailoverTest weekly is not"):
        await failover.start(terminal.session, "weekly", HOUR)


async def test_consent_names_the_plan_and_the_person_and_ends_with_the_plan(terminal: Terminal) -> None:
    run(terminal, **WAITING)
    assert await approve(terminal) == 0
    assert "by Sentinel: n2 is to take over from n1 (PlannedSwitchover)" in terminal.said
    assert "n2 Replica yes 12" in terminal.said
    assert "fencing: none was found" in terminal.said
    [body] = terminal.kube.all(APPROVALS)
    spec = ApprovalSpec.model_validate(body["spec"])
    assert (spec.ref.kind, spec.ref.name, spec.plan_hash) == ("FailoverTestRun", "mine", PLAN["hash"])
    assert (spec.approved_by, spec.not_after.isoformat()) == ("ada@example.com", "2026-03-01T18:00:00+00:00")


async def test_a_fault_is_named_where_consent_is_asked_for(terminal: Terminal) -> None:
    fault = {"kind": "NetworkPartition", "duration": "90s"}
    run(terminal, **{**WAITING, "plan": {**PLAN, "mode": "FaultInjection", "fault": fault}})
    assert await approve(terminal) == 0
    assert "FaultInjection (NetworkPartition for 90s) of n1; n2 could take over" in terminal.said


async def test_a_no_or_another_plan_consents_to_nothing(terminal: Terminal) -> None:
    run(terminal, **WAITING)
    assert await approve(terminal, yes=False) == 1
    with pytest.raises(SafetyStop, match="found 0123456789abcdef, expected ffffffff"):
        await approve(terminal, expected="ffffffff")
    run(terminal, phase="Running", plan=PLAN)
    with pytest.raises(UserFault, match="is Running, and waits for no Approval"):
        await approve(terminal)
    assert terminal.kube.all(APPROVALS) == []


async def test_it_is_followed_until_it_waits_for_a_person_or_has_a_verdict(terminal: Terminal) -> None:
    run(terminal)
    play(terminal, {"phase": "Planning"}, WAITING)
    assert await failover.RUN.follow(terminal.session, "mine", None) == 0
    assert "it waits for consent: kubectl bosun approve -n shop --failover mine" in terminal.said
    figures = {"writeDowntime": "2.6s", "acknowledged": 400, "lost": 3, "splitBrain": ["n1 and n2 took writes"]}
    client = {"name": "c1", "path": "service", "errors": [{"kind": "Strange", "count": 4}]}
    error = {"kind": "57P01", "name": "ShuttingDown", "count": 3, "unknown": 2}
    path = {
        "name": "pooler", "kind": "Pooler", "clients": 4, "failed": 1, "unknown": 2, "brokenConnections": 3,
        "writeDowntime": "1.9s", "allSucceededMilliseconds": 2100, "errors": [error],
    }  # fmt: skip
    failed = {
        "phase": "Failed",
        "result": figures,
        "clients": [client],
        "paths": [path],
        "failback": {
            "phase": "Refused",
            "reason": "GuardFailed",
            "message": "n1 lags",
            "primary": "n2",
            "candidate": "n1",
        },
        "failure": {"reason": "WritesLost", "message": "3 writes are gone"},
    }
    run(terminal, phase="Running")
    play(terminal, failed)
    assert await failover.RUN.follow(terminal.session, "mine", None) == 1
    assert "no write for 2.6s; 400 acknowledged, 3 lost, 0 unknown" in terminal.said
    assert "split brain: n1 and n2 took writes" in terminal.said
    assert "client c1 (service): Strange x4" in terminal.said
    assert (
        "path pooler (Pooler, 4 clients): no write for 1.9s, all wrote again after 2.1 s; 1 refused," in terminal.said
    )
    assert "2 unknown, 3 connections broken; ShuttingDown (57P01) x3" in terminal.said
    assert "the move back from n2 to n1 is Refused: GuardFailed: n1 lags" in terminal.said
    assert "WritesLost: 3 writes are gone" in terminal.noted
