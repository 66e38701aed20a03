"""`databosun approve`: look at a deletion plan that a guard has stopped, and consent to it under one's own name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import PendingDeletions
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.recovery import LogExpiry
from databosun.cli.consenting import Ask, Shown, agree, demand_hash
from databosun.cli.findings import breaker_tripped
from databosun.cli.output import table
from databosun.cli.running import OK
from databosun.cli.session import Session
from databosun.cli.words import NONE, ago, stamp
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.conditions import find
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS, DATABASES, Object


async def approve(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan, ask, and create the Approval. Nothing is created for a plan that no guard has stopped."""
    policy = read.policy(await session.find(BACKUP_POLICIES, name))
    plan = policy.status.pending_deletions
    if plan is None:
        session.screen.out.print(f"BackupPolicy {name} plans no deletions: there is nothing to approve", markup=False)
        return OK
    demand_hash(plan.hash, expected)
    await _show(session, policy, plan)
    retention = find(policy.status.conditions, ConditionType.RETENTION_HEALTHY)
    if retention is None or not breaker_tripped(retention):
        grace = policy.spec.retention.grace if policy.spec.retention else "its grace"
        session.screen.out.print(
            f"No approval is needed: it is carried out {grace} after {stamp(plan.since)}.", markup=False
        )
        return OK
    session.screen.out.print(f"Stopped: {retention.message}", markup=False)

    async def again() -> str | None:
        pending = read.policy(await session.find(BACKUP_POLICIES, name)).status.pending_deletions
        return pending.hash if pending is not None else None

    def question(user: str) -> str:
        return f"Approve the deletion of {plan.count} backups as {user}, for {valid_for}?"

    return await agree(session, Shown(BACKUP_POLICIES, name, plan.hash, question, again, valid_for), ask)


async def approve_log(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """The same for the part of a Database's log that goes next."""
    plan = _expiring(await session.find(DATABASES, name))
    if plan is None or plan.stopped is None or plan.hash is None:
        planned = (
            f"the log before {stamp(plan.before)} goes by itself" if plan is not None else "no log is to be deleted"
        )
        session.screen.out.print(f"Database {name}: {planned}; there is nothing to approve", markup=False)
        return OK
    demand_hash(plan.hash, expected)
    session.screen.out.print(
        f"Database {session.namespace}/{name} plans to delete its log before {stamp(plan.before)}, where Backup"
        f" {plan.base} begins\nplan {plan.hash}, shown since {stamp(plan.since)}\nStopped: {plan.stopped}",
        markup=False,
    )

    async def again() -> str | None:
        expiring = _expiring(await session.find(DATABASES, name))
        return expiring.hash if expiring is not None else None

    def question(user: str) -> str:
        return f"Approve the deletion of the log before {stamp(plan.before)} as {user}, for {valid_for}?"

    return await agree(session, Shown(DATABASES, name, plan.hash, question, again, valid_for), ask)


def _expiring(body: Object) -> LogExpiry | None:
    archiver = read.database(body).status.archiver
    return archiver.expiring if archiver is not None else None


async def _show(session: Session, policy: SeenPolicy, plan: PendingDeletions) -> None:
    """The plan: each backup that would go, its number and its hash."""
    bodies = await asyncio.gather(*(session.kube.get(BACKUPS, session.namespace, name) for name in plan.names))
    backups = [read.backup(body) if body is not None else None for body in bodies]
    now = session.clock.now()
    rows = [_row(name, one, now) for name, one in zip(plan.names, backups, strict=True)]
    session.screen.out.print(
        Text(f"BackupPolicy {session.namespace}/{policy.meta.name} plans to delete {plan.count} backups"),
        Text(f"plan {plan.hash}, shown since {stamp(plan.since)}"),
        "",
        table(["NAME", "DATABASE", "TYPE", "COMPLETED", "SIZE", "PROVEN"], rows),
        sep="\n",
    )
    if plan.count > len(plan.names):
        session.screen.out.print(f"… and {plan.count - len(plan.names)} more", markup=False)


def _row(name: str, one: SeenBackup | None, now: datetime) -> Sequence[str]:
    if one is None:
        return [name, NONE, NONE, "gone already", NONE, NONE]
    status = one.status
    return [
        name,
        one.spec.database_ref.name if one.spec.database_ref else status.database or NONE,
        str(status.type or one.spec.type),
        f"{ago(status.completion_time, now)} ago" if status.completion_time else NONE,
        humanize_bytes(status.size.stored) if status.size else NONE,
        status.proven.level if status.proven else "no",
    ]
