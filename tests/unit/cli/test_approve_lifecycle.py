"""Consent to a lifecycle is to the plan that was shown, with all that goes along and all that may not run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.cli.approve_lifecycle import approve_lifecycle
from databosun.domain.errors import SafetyStop
from databosun.kube.resources import APPROVALS, LIFECYCLE_POLICIES
from support.operator import lifecycle
from support.terminal import Terminal

HASH = "0123456789abcdef0123456789abcdef"
PLAN = {
    "hash": HASH,
    "orderHash": "f" * 32,
    "run": "old-orders-now-1",
    "at": "2026-03-01T11:00:00Z",
    "rules": [
        {
            "name": "old",
            "action": "Archive",
            "table": "public.orders",
            "eligible": 12345,
            "rows": 200000,
            "bytes": 5_000_000,
            "oldest": "2020-01-01T00:00:00Z",
            "children": [
                {
                    "table": "public.items",
                    "key": "items_fk",
                    "parent": "public.orders",
                    "onDelete": "Cascade",
                    "rows": 7,
                }
            ],
            "kept": ["orders_2020: 3 of its rows are not old enough"],
            "partitions": ["orders_2019 (10 rows)"],
            "refusals": ["TriggerNotAllowed: rule old: trigger audit of public.orders would be set off"],
        }
    ],
}


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal()
    made.kube.reviews["SelfSubjectReview"] = lambda _body: {"userInfo": {"username": "ada@example.com"}}
    return made


def shown(terminal: Terminal, plan: dict[str, Any] | None = PLAN) -> None:
    body = lifecycle("old-orders")
    body["metadata"]["namespace"] = terminal.session.namespace
    terminal.kube.put(LIFECYCLE_POLICIES, body | {"status": {"plan": plan} if plan else {}})


async def run(terminal: Terminal, *, yes: bool = True, expected: str | None = None) -> tuple[int, list[str]]:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    code = await approve_lifecycle(terminal.session, "old-orders", timedelta(days=90), expected, ask)
    return code, asked


async def test_the_approval_names_the_policy_the_plan_and_the_person(terminal: Terminal) -> None:
    shown(terminal)
    code, asked = await run(terminal)
    assert code == 0
    assert asked == [f"Approve plan {HASH} as ada@example.com, for all runs of the next 90 days, 0:00:00?"]
    [body] = terminal.kube.all(APPROVALS)
    spec = ApprovalSpec.model_validate(body["spec"])
    assert (spec.ref.kind, spec.ref.name, spec.plan_hash) == ("LifecyclePolicy", "old-orders", HASH)
    assert spec.not_after == datetime(2026, 5, 30, 12, tzinfo=UTC)


async def test_all_that_matters_is_shown_before_the_question(terminal: Terminal) -> None:
    shown(terminal)
    code, _ = await run(terminal, yes=False)
    assert code == 1
    assert terminal.kube.all(APPROVALS) == []
    said = terminal.said
    for part in ("12,345", "200,000", "2020-01-01T00:00:00Z", "7 rows of public.items", "orders_2019", "orders_2020"):
        assert part in said
    assert "old: may not run: TriggerNotAllowed" in said


async def test_without_a_plan_there_is_nothing_to_approve(terminal: Terminal) -> None:
    shown(terminal, None)
    code, asked = await run(terminal)
    assert (code, asked, terminal.kube.all(APPROVALS)) == (0, [], [])
    assert "shows no plan yet" in terminal.said


async def test_another_plan_than_the_expected_one_is_not_approved(terminal: Terminal) -> None:
    shown(terminal)
    with pytest.raises(SafetyStop, match="PlanChanged"):
        await run(terminal, expected="1" * 32)
    assert terminal.kube.all(APPROVALS) == []


async def test_a_plan_that_changes_while_it_is_read_is_not_approved(terminal: Terminal) -> None:
    shown(terminal)

    def ask(_question: str) -> bool:
        shown(terminal, {**PLAN, "hash": "2" * 32})
        return True

    with pytest.raises(SafetyStop, match="PlanChanged"):
        await approve_lifecycle(terminal.session, "old-orders", timedelta(days=1), None, ask)
    assert terminal.kube.all(APPROVALS) == []
