"""`databosun backup`: create a Backup by hand, and follow it to its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupType, DeletionPolicy
from databosun.api.v1alpha1.reasons import Reason
from databosun.cli.following import Run, tell_failure
from databosun.cli.handmade import by_hand
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup, SeenDatabase, SeenPolicy
from databosun.domain.covering import covers
from databosun.domain.errors import UserFault
from databosun.domain.plan import FINALIZER_DATA
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS, DATABASES, Object


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for."""

    database: str
    policy: str | None
    type: BackupType
    start_within: timedelta


async def start(session: Session, wish: Wish) -> SeenBackup:
    """Create the Backup. UserFault where no policy, or more than one, says how."""
    database = read.database(await session.find(DATABASES, wish.database))
    policy = await _policy(session, database, wish.policy)
    return await RUN.create(session, lambda now: manifest(database, policy, wish, now))


def manifest(database: SeenDatabase, policy: SeenPolicy, wish: Wish, now: datetime) -> Object:
    """The Backup to create."""
    name, namespace = database.meta.name, database.meta.namespace
    spec = {
        "databaseRef": {"name": name},
        "policyRef": {"name": policy.meta.name},
        "type": str(wish.type),
        "method": str(policy.spec.method),
        "deletionPolicy": str(policy.spec.deletion_policy),
    }
    finalizers = (FINALIZER_DATA,) if policy.spec.deletion_policy is DeletionPolicy.DELETE else ()
    return by_hand(BACKUPS, namespace, name, spec, now, wish.start_within, finalizers)


async def _policy(session: Session, database: SeenDatabase, name: str | None) -> SeenPolicy:
    """The policy that says how: the named one, or the only one that covers the database."""
    if name is not None:
        policy = read.policy(await session.find(BACKUP_POLICIES, name))
        if not covers(policy.spec, database.meta.name, database.meta.labels):
            message = (
                f"BackupPolicy {name} does not cover Database {database.meta.name}; give another --policy, or correct"
                " its databaseRef or databaseSelector"
            )
            raise UserFault(CliReason.POLICY_DOES_NOT_COVER, message)
        return policy
    bodies = [body async for body in session.kube.list(BACKUP_POLICIES, session.namespace)]
    covering = [
        policy
        for body in bodies
        if covers((policy := read.policy(body)).spec, database.meta.name, database.meta.labels)
    ]
    if len(covering) == 1:
        return covering[0]
    raise _ambiguous(database.meta.name, sorted(policy.meta.name for policy in covering))


def _ambiguous(database: str, names: Sequence[str]) -> UserFault:
    if not names:
        message = (
            f"no BackupPolicy covers Database {database}, so nothing says where to and how; apply one that names it"
            " or selects its labels"
        )
        return UserFault(Reason.NO_POLICY, message)
    return UserFault(
        CliReason.SEVERAL_POLICIES,
        f"several policies cover Database {database}: give one of {', '.join(names)} as --policy",
    )


def verdict(session: Session, seen: SeenBackup) -> int:
    """Say how it ended: what was taken, or why it failed and what to do."""
    status, name = seen.status, f"{seen.meta.namespace}/{seen.meta.name}"
    if status.phase is BackupPhase.SUCCEEDED:
        size = f"{humanize_bytes(status.size.stored)} stored" if status.size else "size unknown"
        where = f", {status.location}" if status.location else ""
        session.screen.out.print(
            f"Backup {name} succeeded: {status.type} {status.method}, {size} in {status.duration or '?'}{where}",
            markup=False,
        )
        for note in status.notes or []:
            session.screen.out.print(f"  {note}", markup=False)
        return OK
    tell_failure(session, seen, "Backup")
    return FAILED


RUN = Run(BACKUPS, "bbk", read.backup, verdict)
