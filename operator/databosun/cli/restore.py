"""`databosun restore`: bring a database back, into a volume or a running server, and follow that to its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from databosun.api.v1alpha1.restore import RestorePhase
from databosun.cli.consenting import Ask, Shown, agree
from databosun.cli.following import Run, tell_failure
from databosun.cli.handmade import by_hand
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenRestore
from databosun.domain.errors import UserFault
from databosun.kube.resources import BACKUPS, DATABASES, RESTORES, Object

MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for. `database` is a Database's name, also of one that is gone."""

    database: str
    claim: str | None
    target: str | None
    databases: tuple[str, ...]
    tables: tuple[str, ...]
    stage_first: bool
    credentials: str | None
    backup: str | None
    time: str | None
    lsn: str | None
    restore_point: str | None
    gtid: str | None
    replace: bool
    reindex: bool
    level: str | None
    thaw: str | None
    start_within: timedelta


async def start(session: Session, wish: Wish) -> SeenRestore:
    """Create the Restore. UserFault where what it names is not there, or contradicts itself."""
    points = [one for one in (wish.time, wish.lsn, wish.restore_point, wish.gtid) if one is not None]
    if len(points) > 1:
        message = "give at most one of --time, --lsn, --restore-point and --gtid: a restore has one end"
        raise UserFault(CliReason.BAD_USAGE, message)
    if (wish.claim is None) == (wish.target is None):
        message = "say where to: one of --to-volume CLAIM, --to-database NAME and --in-place"
        raise UserFault(CliReason.BAD_USAGE, message)
    if wish.claim is not None and (wish.databases or wish.tables or wish.stage_first or wish.credentials):
        message = (
            "--only, --table, --stage-first and --credentials need a running server: --to-database NAME, or --in-place"
        )
        raise UserFault(CliReason.BAD_USAGE, message)
    if wish.tables and len(wish.databases) != 1:
        message = "--table needs the database that the tables are in: say it with --only, once"
        raise UserFault(CliReason.BAD_USAGE, message)
    if wish.target is not None:
        await session.find(DATABASES, wish.target)
    if wish.backup is not None:
        await session.find(BACKUPS, wish.backup)
    return await RUN.create(session, lambda now: manifest(session.namespace, wish, now))


def manifest(namespace: str, wish: Wish, now: datetime) -> Object:
    """The Restore to create."""
    source = {"backupRef": {"name": wish.backup}} if wish.backup else {"databaseRef": {"name": wish.database}}
    target = {"volume": {"claimName": wish.claim}} if wish.claim else {"databaseRef": {"name": wish.target}}
    target |= {"credentialsSecretRef": {"name": wish.credentials}} if wish.credentials else {}
    tables = {"tables": list(wish.tables)} if wish.tables else {}
    selection = {"databases": list(wish.databases), **tables} if wish.databases else None
    spec: dict[str, Any] = {
        "from": source,
        "target": target,
        **({"selection": selection} if selection else {}),
        **({"stageFirst": True} if wish.stage_first else {}),
        **({"pointInTime": instant(wish.time)} if wish.time else {}),
        **({"lsn": wish.lsn} if wish.lsn else {}),
        **({"restorePoint": wish.restore_point} if wish.restore_point else {}),
        **({"gtid": wish.gtid} if wish.gtid else {}),
        **({"overwrite": "Replace", "confirm": wish.claim or wish.target} if wish.replace else {}),
        **({"reindex": True} if wish.reindex else {}),
        **({"level": wish.level} if wish.level else {}),
        **({"thaw": {"speed": wish.thaw}} if wish.thaw else {}),
    }
    return by_hand(RESTORES, namespace, wish.database[:MAX_NAME], spec, now, wish.start_within)


def instant(text: str) -> str:
    """A point in time with its zone, in UTC. UserFault where it has none: an hour more or less is the whole point."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        message = f"--time is {text!r}; expected a time with its zone, such as 2026-03-01T02:59:00Z or …T03:59:00+01:00"
        raise UserFault(CliReason.BAD_USAGE, message)
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def verdict(session: Session, seen: SeenRestore) -> int:
    """Say what was restored, from which backup, to which point, and what to do next."""
    status, name = seen.status, f"{seen.meta.namespace}/{seen.meta.name}"
    if status.phase is RestorePhase.STAGED:
        return _staged(session, seen)
    if status.phase is not RestorePhase.SUCCEEDED:
        tell_failure(session, seen, "Restore")
        return FAILED
    where = f"volume {seen.spec.target.named}, folder {status.data_directory}"
    if seen.spec.target.volume is None:
        where = seen.spec.target.named
    lines = [f"Restore {name} succeeded in {status.duration or '?'}: {where}"]
    lines += _places(seen)
    lines += [f"  backup: {status.chosen}"] if status.chosen else []
    lines += [f"  newest transaction: {status.last_commit.isoformat()}"] if status.last_commit else []
    lines += [f"  record: {status.record.uri}"] if status.record else []
    lines += [f"  {note}" for note in status.notes or []]
    if status.hand_over:
        lines.append("what to do next:")
        lines += [f"  {number}. {step}" for number, step in enumerate(status.hand_over, 1)]
    for line in lines:
        session.screen.out.print(line, markup=False)
    return OK


def _places(seen: SeenRestore) -> list[str]:
    """Where everything is, and what was there before."""
    lines = []
    for one in seen.status.placed or []:
        rows = f", {one.rows} rows" if one.rows is not None else ""
        before = f"; what was there is {one.before}" if one.before else ""
        lines.append(f"  {one.table or one.database}: {one.at}{rows}{before}")
    return lines


def _staged(session: Session, seen: SeenRestore) -> int:
    """It waits for consent: what for, and how to give it."""
    staged, name = seen.status.staged, seen.meta.name
    lines = [f"Restore {seen.meta.namespace}/{name} is staged and checked, and waits for consent:", *_places(seen)]
    if staged is not None:
        command = f"kubectl bosun restore -n {seen.meta.namespace} --promote {name}"
        lines.append(f"put it in place until {staged.until:%Y-%m-%dT%H:%M:%SZ}, or it is removed: {command}")
    for line in lines:
        session.screen.out.print(line, markup=False)
    return OK


async def promote(session: Session, name: str, ask: Ask) -> int:
    """Show what is staged, ask, and consent to it with an Approval under one's own name."""
    seen = read.restore(await session.find(RESTORES, name))
    staged = seen.status.staged
    if seen.status.phase is not RestorePhase.STAGED or staged is None:
        message = (
            f"Restore {name} is {seen.status.phase or 'not picked up yet'}; only one that is Staged can be promoted"
        )
        raise UserFault(CliReason.BAD_USAGE, message)
    for line in (f"Restore {session.namespace}/{name}, from {seen.status.backup}:", *_places(seen)):
        session.screen.out.print(line, markup=False)

    def question(user: str) -> str:
        return f"Put this in place at {seen.spec.target.named}, as {user}?"

    shown = Shown(RESTORES, name, staged.plan_hash, question, until=staged.until, refused="not promoted")
    return await agree(session, shown, ask)


RUN = Run(RESTORES, "brs", read.restore, verdict)
