"""`databosun approve --lifecycle`: look at what a LifecyclePolicy would do, and consent to it under one's own name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from rich.text import Text

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePlanStatus, PlannedRule
from databosun.cli.consenting import Ask, Shown, agree, demand_hash, stamp
from databosun.cli.output import table
from databosun.cli.running import OK
from databosun.cli.session import Session
from databosun.cli.words import NONE
from databosun.controllers import seen as read
from databosun.kube.resources import LIFECYCLE_POLICIES

COLUMNS = ["RULE", "ACTION", "TABLE", "ELIGIBLE", "OF", "SIZE", "OLDEST", "HELD"]


async def approve_lifecycle(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan that the last look found, ask, and create the Approval."""
    plan = await _plan(session, name)
    if plan is None:
        message = f"LifecyclePolicy {name} shows no plan yet: a dry run has to look first (databosun.io/run-now)"
        session.screen.out.print(message, markup=False)
        return OK
    demand_hash(plan.hash, expected)
    _show(session, name, plan)

    async def again() -> str | None:
        found = await _plan(session, name)
        return found.hash if found is not None else None

    def question(user: str) -> str:
        return f"Approve plan {plan.hash} as {user}, for all runs of the next {valid_for}?"

    return await agree(session, Shown(LIFECYCLE_POLICIES, name, plan.hash, question, again, valid_for), ask)


async def _plan(session: Session, name: str) -> LifecyclePlanStatus | None:
    return read.lifecycle_policy(await session.find(LIFECYCLE_POLICIES, name)).status.plan


def _show(session: Session, name: str, plan: LifecyclePlanStatus) -> None:
    """Each rule: what would go, what goes along, and why it may not run."""
    session.screen.out.print(
        Text(f"LifecyclePolicy {session.namespace}/{name}, as run {plan.run} found it at {stamp(plan.at)}"),
        Text(f"plan {plan.hash}"),
        "",
        table(COLUMNS, [_row(rule) for rule in plan.rules]),
        sep="\n",
    )
    for line in (line for rule in plan.rules for line in _details(rule)):
        session.screen.out.print(line, markup=False, highlight=False)


def _row(rule: PlannedRule) -> Sequence[str]:
    return [
        rule.name,
        str(rule.action),
        rule.table,
        f"{rule.eligible:,}",
        f"{rule.rows:,}",
        humanize_bytes(rule.bytes) if rule.bytes else NONE,
        stamp(rule.oldest) if rule.oldest else NONE,
        str(rule.held),
    ]


def _details(rule: PlannedRule) -> Iterator[str]:
    for child in rule.children:
        rows = "rows" if child.rows is None else f"{child.rows:,} rows"
        yield f"{rule.name}: along with {child.parent}, {rows} of {child.table} ({child.key}, {child.on_delete})"
    for one in rule.partitions:
        yield f"{rule.name}: partition {one} goes"
    for one in rule.kept:
        yield f"{rule.name}: partition {one}, so it stays"
    for one in rule.refusals:
        yield f"{rule.name}: may not run: {one}"
