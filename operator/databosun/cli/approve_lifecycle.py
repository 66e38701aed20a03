"""`databosun approve --lifecycle`: look at what a LifecyclePolicy would do, and consent to it under one's own name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from rich.text import Text

from databosun.api.lifecycle import ActionType
from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePlanStatus, PlannedRule
from databosun.cli.consenting import Ask, Shown, agree, demand_hash
from databosun.cli.lifecyclewords import asked_of, bound_to
from databosun.cli.output import table
from databosun.cli.reasons import CliReason
from databosun.cli.running import OK
from databosun.cli.session import Session
from databosun.cli.words import NONE, stamp
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenLifecyclePolicy
from databosun.domain.errors import SafetyStop
from databosun.domain.lifecycleorder import order_digest, order_of
from databosun.domain.whereabouts import moved, whereabouts
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, LIFECYCLE_POLICIES

COLUMNS = ["RULE", "ACTION", "TABLE", "ELIGIBLE", "OF", "SIZE", "OLDEST", "HELD"]


async def approve_lifecycle(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan that the last look found, ask, and create the Approval."""
    policy = await _policy(session, name)
    plan = policy.status.plan
    if plan is None:
        message = f"LifecyclePolicy {name} shows no plan yet: a dry run has to look first (databosun.io/run-now)"
        session.screen.out.print(message, markup=False)
        return OK
    demand_hash(plan.hash, expected)
    await _demand_unchanged(session, policy, plan)
    _show(session, policy, plan)

    async def again() -> str | None:
        found = (await _policy(session, name)).status.plan
        return found.hash if found is not None else None

    def question(user: str) -> str:
        return f"Approve plan {plan.hash} as {user}, for all runs of the next {valid_for}?"

    return await agree(session, Shown(LIFECYCLE_POLICIES, name, plan.hash, question, again, valid_for), ask)


async def _policy(session: Session, name: str) -> SeenLifecyclePolicy:
    return read.lifecycle_policy(await session.find(LIFECYCLE_POLICIES, name))


async def _demand_unchanged(session: Session, policy: SeenLifecyclePolicy, plan: LifecyclePlanStatus) -> None:
    """SafetyStop where the rules are no longer those that were looked at: what is shown of both would not fit."""
    database = read.database(await session.find(DATABASES, policy.spec.database_ref.name))
    storage = read.storage(await session.find(BACKUP_STORAGES, policy.spec.storage_ref.name))
    system = database.status.system_identifier
    order = order_of(policy.spec, whereabouts(database.meta.uid, database.spec, system, storage.spec))
    if order_digest(order) != plan.order_hash:
        name = policy.meta.name
        elsewhere = moved(plan.server, plan.place, order)
        message = (
            f"LifecyclePolicy {name}, its Database or its storage was changed since run {plan.run} looked, so plan "
            f"{plan.hash} is no longer theirs{f' ({elsewhere})' if elsewhere else ''}; nothing was approved: wait for "
            "the next dry run, or ask for one (databosun.io/run-now)"
        )
        raise SafetyStop(CliReason.PLAN_CHANGED, message)


def _show(session: Session, policy: SeenLifecyclePolicy, plan: LifecyclePlanStatus) -> None:
    """What is asked for; then of each rule what would go, what goes along, and why it may not run."""
    name = policy.meta.name
    session.screen.out.print(
        Text(f"LifecyclePolicy {session.namespace}/{name}, as run {plan.run} found it at {stamp(plan.at)}"),
        Text(f"plan {plan.hash}"),
        Text(f"for server {plan.server}; archives and the audit go to {plan.place}"),
        "",
        table(COLUMNS, [row_of(rule) for rule in plan.rules]),
        sep="\n",
    )
    for line in (*asked_of(policy.spec), *(line for rule in plan.rules for line in details_of(rule))):
        session.screen.out.print(line, markup=False, highlight=False)


def row_of(rule: PlannedRule) -> Sequence[str]:
    """One line of the table."""
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


def details_of(rule: PlannedRule) -> Iterator[str]:
    """What a rule does besides, and why it may not run."""
    for child in rule.children:
        rows = "rows" if child.rows is None else f"{child.rows:,} rows"
        yield f"{rule.name}: along with {child.parent}, {rows} of {child.table} ({child.key}, {child.on_delete})"
    if rule.alike:
        yield (
            f"{rule.name}: {rule.alike:,} rows of {rule.table} stay whose key is written otherwise and counts as the"
            " same there; each way to write it needs a request of its own"
        )
    yield from bound_to(rule)
    if rule.pattern is not None:
        yield (
            f"{rule.name}: {rule.pattern.keys:,} keys of this pattern take {humanize_bytes(rule.pattern.bytes)};"
            f" {rule.pattern.lasting:,} have no time to live"
        )
    for one in rule.partitions:
        yield f"{rule.name}: partition {one} goes"
    for one in rule.kept:
        what = "chain" if rule.action is ActionType.STORAGE_TRANSITION else "partition"
        yield f"{rule.name}: {what} {one}, so it stays"
    for one in rule.moves:
        yield f"{rule.name}: chain {one}"
    if rule.index is not None:
        yield f"{rule.name}: would {rule.index}; it deletes at any time, by itself, and knows no holds"
    for one in rule.refusals:
        yield f"{rule.name}: may not run: {one}"
