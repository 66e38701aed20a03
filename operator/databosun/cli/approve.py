"""`databosun approve`: look at a deletion plan that a guard has stopped, and consent to it under one's own name."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.text import Text

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backuppolicy import PendingDeletions
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.recovery import LogExpiry
from databosun.cli.findings import breaker_tripped
from databosun.cli.output import table
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import NONE, ago
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup, SeenPolicy
from databosun.domain.conditions import find
from databosun.domain.errors import SafetyStop
from databosun.kube.resources import APPROVALS, BACKUP_POLICIES, BACKUPS, DATABASES, Object

SHOWN_HASH: Final = 8
MAX_OF: Final = 45  # of a name, so that the Approval's own is one
Ask = Callable[[str], bool]


async def approve(session: Session, name: str, valid_for: timedelta, expected: str | None, ask: Ask) -> int:
    """Show the plan, ask, and create the Approval. Nothing is created for a plan that no guard has stopped."""
    policy = read.policy(await session.find(BACKUP_POLICIES, name))
    plan = policy.status.pending_deletions
    if plan is None:
        session.screen.out.print(f"BackupPolicy {name} plans no deletions: there is nothing to approve", markup=False)
        return OK
    _demand(plan, expected)
    await _show(session, policy, plan)
    retention = find(policy.status.conditions, ConditionType.RETENTION_HEALTHY)
    if retention is None or not breaker_tripped(retention):
        grace = policy.spec.retention.grace if policy.spec.retention else "its grace"
        session.screen.out.print(
            f"No approval is needed: it is carried out {grace} after {stamp(plan.since)}.", markup=False
        )
        return OK
    session.screen.out.print(f"Stopped: {retention.message}", markup=False)
    user = await session.user()
    if not ask(f"Approve the deletion of {plan.count} backups as {user}, for {valid_for}?"):
        session.screen.note("not approved")
        return FAILED
    # The plan may have changed while it was being read; consent is to what was shown.
    again = read.policy(await session.find(BACKUP_POLICIES, name)).status.pending_deletions
    _demand(again, plan.hash)
    body = approval(BACKUP_POLICIES.kind, session.namespace, name, plan.hash, user, session.clock.now() + valid_for)
    created = await session.kube.create(APPROVALS, session.namespace, body)
    session.screen.out.print(f"approval.databosun.io/{created['metadata']['name']} created", markup=False)
    return OK


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
    user = await session.user()
    if not ask(f"Approve the deletion of the log before {stamp(plan.before)} as {user}, for {valid_for}?"):
        session.screen.note("not approved")
        return FAILED
    again = _expiring(await session.find(DATABASES, name))
    demand_hash(again.hash if again is not None else None, plan.hash)
    body = approval(DATABASES.kind, session.namespace, name, plan.hash, user, session.clock.now() + valid_for)
    created = await session.kube.create(APPROVALS, session.namespace, body)
    session.screen.out.print(f"approval.databosun.io/{created['metadata']['name']} created", markup=False)
    return OK


def _expiring(body: Object) -> LogExpiry | None:
    archiver = read.database(body).status.archiver
    return archiver.expiring if archiver is not None else None


def approval(kind: str, namespace: str, of: str, plan_hash: str, user: str, not_after: datetime) -> Object:
    """The Approval of one plan."""
    name = f"{of[:MAX_OF]}-{plan_hash[:SHOWN_HASH]}-{secrets.token_hex(2)}"
    return {
        "apiVersion": APPROVALS.api_version,
        "kind": APPROVALS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "ref": {"kind": kind, "name": of},
            "planHash": plan_hash,
            "approvedBy": user,
            "notAfter": stamp(not_after),
        },
    }


def _demand(plan: PendingDeletions | None, expected: str | None) -> None:
    """SafetyStop where the plan is not the expected one."""
    demand_hash(plan.hash if plan is not None else None, expected)


def demand_hash(found: str | None, expected: str | None) -> None:
    """SafetyStop where the plan is not the expected one."""
    found = found or "none"
    if expected is not None and found != expected:
        message = (
            f"the plan is not the one expected: found {found}, expected {expected}; nothing was approved, look again"
        )
        raise SafetyStop(CliReason.PLAN_CHANGED, message)


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


def stamp(at: datetime) -> str:
    """An instant as Kubernetes writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
