"""Consent to a lifecycle is to the plan that was shown, with all that goes along and all that may not run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.cli.approve_lifecycle import approve_lifecycle
from databosun.domain.errors import SafetyStop
from databosun.domain.lifecycleorder import order_digest, order_of
from databosun.domain.whereabouts import server_words, whereabouts
from databosun.kube.resources import APPROVALS, BACKUP_STORAGES, DATABASES, LIFECYCLE_POLICIES
from support.objects import database, lifecycle, storage
from support.terminal import Terminal

HASH = "0123456789abcdef0123456789abcdef"
PLAN = {
    "hash": HASH,
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
            "calls": [{"name": "function public.is_old(date)", "sha256": "ab12" * 16}],
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


def shown(terminal: Terminal, plan: dict[str, Any] | None = PLAN, **spec: Any) -> None:
    """The policy, and the plan that was made of it."""
    namespace = {"namespace": terminal.session.namespace}
    orders = database("orders")
    orders["metadata"] |= namespace
    uid = terminal.kube.put(DATABASES, orders)["metadata"]["uid"]
    body = lifecycle("old-orders", **spec)
    body["metadata"] |= namespace
    store = storage()
    store["metadata"] |= namespace
    terminal.kube.put(BACKUP_STORAGES, store)
    specs = DatabaseSpec.model_validate(orders["spec"]), BackupStorageSpec.model_validate(store["spec"])
    order = order_of(LifecyclePolicySpec.model_validate(body["spec"]), whereabouts(uid, specs[0], None, specs[1]))
    plan = {"server": server_words(order.server), "place": order.place, **plan} if plan else None
    status = {"plan": {"orderHash": order_digest(order), **plan}} if plan else {}
    terminal.kube.put(LIFECYCLE_POLICIES, body | {"status": status})


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
    for part in (
        "for server orders.db port 5432",
        "claim backups",
        "12,345",
        "200,000",
        "2020-01-01T00:00:00Z",
        "7 rows of public.items",
        "orders_2019",
        "orders_2020",
    ):
        assert part in said
    assert "old: may not run: TriggerNotAllowed" in said
    assert "old: bound to function public.is_old(date) as it is (sha256 ab12ab12ab12)" in said


async def test_what_the_rules_say_is_shown_with_what_holds_keep(terminal: Terminal) -> None:
    mask = {"name": "email", "method": "Partial", "keepFirst": 2}
    rule = {
        "name": "old",
        "target": {"table": "public.orders"},
        "match": {"column": "created_at", "olderThan": "365d", "where": "status = 'closed'"},
        "action": {"type": "Anonymize", "columns": [mask], "markColumn": "anonymised_at"},
        "limits": {"maxRowsPerRun": 100, "keepNewest": 5, "minRetention": "30d"},
    }
    hold = {"name": "case-7", "table": "public.orders", "where": "customer = 7", "reason": "case 7/2026"}
    shown(terminal, rules=[rule], holds=[hold])
    await run(terminal, yes=False)
    for line in (
        "old: rows of public.orders where created_at is more than 365d ago and (status = 'closed')",
        "old: overwrites email: Partial (first characters kept 2)",
        "old: at most 100 rows a run, none where it matches more than 10 % of them; the newest 5 rows stay; none"
        " younger than 30d",
        "hold case-7: rows of public.orders where (customer = 7) stays (case 7/2026)",
    ):
        assert line in " ".join(terminal.said.split())


async def test_a_policy_that_was_changed_since_it_was_looked_at_is_not_approved(terminal: Terminal) -> None:
    shown(terminal, {**PLAN, "orderHash": "f" * 32})
    with pytest.raises(SafetyStop, match="was changed since run old-orders-now-1 looked"):
        await run(terminal)
    assert terminal.kube.all(APPROVALS) == []


async def test_a_database_that_is_elsewhere_by_now_is_said_by_name(terminal: Terminal) -> None:
    shown(terminal, {**PLAN, "orderHash": "f" * 32, "server": "staging.db port 5432"})
    with pytest.raises(SafetyStop, match=r"for server staging\.db port 5432, and the Database is orders\.db"):
        await run(terminal)


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
