"""Consent to an erasure is to the plan that was shown, and to nothing that does not wait for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.cli.approve_erasure import approve_erasure
from databosun.domain.errors import SafetyStop
from databosun.kube.resources import APPROVALS, ERASURE_REQUESTS
from support.objects import erasure
from support.terminal import Terminal

HASH = "0123456789abcdef0123456789abcdef"
RULE = {"name": "customers", "action": "Delete", "table": "public.customers", "eligible": 1, "rows": 501}
CHILD = {
    "table": "public.orders",
    "key": "orders_fk",
    "parent": "public.customers",
    "onDelete": "Cascade",
    "rows": 7,
}
WAITS = {
    "phase": "AwaitingApproval",
    "subject": "ab" * 32,
    "plan": {
        "hash": HASH,
        "at": "2026-03-01T11:00:00Z",
        "until": "2026-03-08T11:00:00Z",
        "attempt": 1,
        "rows": 3,
        "rules": [{**RULE, "children": [CHILD], "alike": 2}],
    },
}


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal()
    made.kube.reviews["SelfSubjectReview"] = lambda _body: {"userInfo": {"username": "ada@example.com"}}
    return made


def shown(terminal: Terminal, status: dict[str, Any]) -> None:
    body = erasure("erase-1", datetime(2026, 3, 1, tzinfo=UTC))
    body["metadata"]["namespace"] = terminal.session.namespace
    terminal.kube.put(ERASURE_REQUESTS, body | {"status": status})


async def run(terminal: Terminal, *, yes: bool = True, expected: str | None = None) -> tuple[int, list[str]]:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    return await approve_erasure(terminal.session, "erase-1", timedelta(days=1), expected, ask), asked


async def test_the_approval_names_the_request_the_plan_and_the_person(terminal: Terminal) -> None:
    shown(terminal, WAITS)
    code, asked = await run(terminal)
    assert (code, asked) == (
        0,
        ["Erase this person's 3 rows, for good and from all that is restored later, as ada@example.com?"],
    )
    [body] = terminal.kube.all(APPROVALS)
    spec = ApprovalSpec.model_validate(body["spec"])
    assert (spec.ref.kind, spec.ref.name, spec.plan_hash) == ("ErasureRequest", "erase-1", HASH)
    for part in (
        "public.customers",
        "where email is the subject's key, at most 10,000",
        "7 rows of public.orders",
        "2 rows of public.customers stay whose key is written otherwise and counts as the same there",
        "ab" * 32,
    ):
        assert part in terminal.said.replace("\n", "")


@pytest.mark.parametrize("status", [{}, {"phase": "Running"}, {**WAITS, "phase": "Succeeded"}])
async def test_what_does_not_wait_is_not_approved(terminal: Terminal, status: dict[str, Any]) -> None:
    shown(terminal, status)
    code, asked = await run(terminal)
    assert (code, asked, terminal.kube.all(APPROVALS)) == (0, [], [])
    assert "waits for no Approval" in terminal.said


async def test_who_says_no_approves_nothing_and_another_plan_is_an_error(terminal: Terminal) -> None:
    shown(terminal, WAITS)
    code, _ = await run(terminal, yes=False)
    assert code == 1
    with pytest.raises(SafetyStop, match="PlanChanged"):
        await run(terminal, expected="1" * 32)
    assert terminal.kube.all(APPROVALS) == []
