"""Consent is to one plan, under one's own name, and only where a guard has stopped it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.cli.approve import approve
from databosun.domain.errors import SafetyStop, UserFault
from databosun.kube.errors import AdmissionRefused
from databosun.kube.resources import APPROVALS, BACKUP_POLICIES
from support.applied import backup, condition, policy
from support.terminal import Terminal

HASH = "0123456789abcdef0123456789abcdef"
TRIPPED = condition("RetentionHealthy", False, "MassDeletion", "the plan deletes 2 backups, 2 of 3 chains")
PLAN = {"names": ["orders-a", "orders-b"], "count": 2, "hash": HASH, "since": "2026-03-01T11:00:00Z"}


@pytest.fixture
def terminal() -> Terminal:
    made = Terminal()
    made.kube.reviews["SelfSubjectReview"] = lambda _body: {"userInfo": {"username": "ada@example.com"}}
    backup(made.kube, "orders-a")
    return made


def planned(terminal: Terminal, *conditions: Any, **plan: Any) -> None:
    policy(terminal.kube, "daily", *(conditions or (TRIPPED,)), status={"pendingDeletions": {**PLAN, **plan}})


async def run(terminal: Terminal, *, yes: bool = True, expected: str | None = None) -> tuple[int, list[str]]:
    asked: list[str] = []

    def ask(question: str) -> bool:
        asked.append(question)
        return yes

    return await approve(terminal.session, "daily", timedelta(hours=24), expected, ask), asked


async def test_the_approval_names_the_plan_and_the_person(terminal: Terminal) -> None:
    planned(terminal)
    code, asked = await run(terminal)
    assert code == 0
    assert asked == ["Approve the deletion of 2 backups as ada@example.com, for 1 day, 0:00:00?"]
    [body] = terminal.kube.all(APPROVALS)
    spec = ApprovalSpec.model_validate(body["spec"])
    assert (spec.ref.kind, spec.ref.name, spec.plan_hash) == ("BackupPolicy", "daily", HASH)
    assert spec.approved_by == "ada@example.com"
    assert spec.not_after == datetime(2026, 3, 2, 12, tzinfo=UTC)


async def test_the_plan_is_shown_before_the_question(terminal: Terminal) -> None:
    planned(terminal, count=60)
    await run(terminal, yes=False)
    assert f"plan {HASH}, shown since 2026-03-01T11:00:00Z" in terminal.said
    assert "orders-a orders Full 12m ago 1.0GiB no" in terminal.said
    assert "orders-b - - gone already - -" in terminal.said
    assert "… and 58 more" in terminal.said
    assert "Stopped: the plan deletes 2 backups, 2 of 3 chains" in terminal.said


async def test_a_no_creates_nothing(terminal: Terminal) -> None:
    planned(terminal)
    code, _ = await run(terminal, yes=False)
    assert code == 1
    assert terminal.kube.all(APPROVALS) == []


async def test_a_plan_that_no_guard_stops_needs_no_consent(terminal: Terminal) -> None:
    planned(terminal, condition("RetentionHealthy", True, "Planned"))
    code, asked = await run(terminal)
    assert (code, asked) == (0, [])
    assert terminal.kube.all(APPROVALS) == []
    assert "No approval is needed" in terminal.said


async def test_where_nothing_is_planned_there_is_nothing_to_approve(terminal: Terminal) -> None:
    policy(terminal.kube)
    code, asked = await run(terminal)
    assert (code, asked) == (0, [])
    assert "nothing to approve" in terminal.said


async def test_another_plan_than_the_expected_one_is_refused(terminal: Terminal) -> None:
    planned(terminal)
    with pytest.raises(SafetyStop, match="expected beef"):
        await run(terminal, expected="beef")
    assert terminal.kube.all(APPROVALS) == []


async def test_a_plan_that_changes_while_it_is_read_is_not_approved(terminal: Terminal) -> None:
    planned(terminal)

    def ask(_question: str) -> bool:
        changed = {"pendingDeletions": {"hash": "f" * 32, "count": 3}}
        terminal.kube.amend(BACKUP_POLICIES, "daily", status=changed)
        return True

    with pytest.raises(SafetyStop, match="nothing was approved"):
        await approve(terminal.session, "daily", timedelta(hours=24), None, ask)
    assert terminal.kube.all(APPROVALS) == []


async def test_who_is_not_known_cannot_approve(terminal: Terminal) -> None:
    planned(terminal)
    terminal.kube.reviews["SelfSubjectReview"] = lambda _body: {}
    with pytest.raises(UserFault, match="who you are"):
        await run(terminal)


async def test_a_refusal_of_the_api_server_is_passed_on(terminal: Terminal) -> None:
    planned(terminal)
    terminal.kube.broken["approvals"] = AdmissionRefused("under one's own name")
    with pytest.raises(AdmissionRefused):
        await run(terminal)
