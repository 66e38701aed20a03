"""`databosun catalog`: the backups that there are, and rebuilding their records from what a store holds."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from databosun.api.quantities import humanize_bytes
from databosun.api.v1alpha1.backupstorage import CatalogRebuild
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.cli.following import LOOK_EVERY, PICKED_UP_WITHIN, TIMED_OUT
from databosun.cli.options import Output
from databosun.cli.output import table
from databosun.cli.reasons import CliReason
from databosun.cli.running import FAILED, OK
from databosun.cli.session import Session
from databosun.cli.words import NONE, ago
from databosun.controllers import seen as read
from databosun.controllers.seen import SeenBackup, SeenStorage
from databosun.domain.conditions import is_true
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_REBUILD_CATALOG
from databosun.kube.resources import BACKUP_STORAGES, BACKUPS

NOTHING: Final = (
    "No backups. A store may hold some that the cluster has forgotten: databosun catalog rebuild --storage NAME"
)


async def show(session: Session, output: Output, database: str | None, storage: str | None) -> int:
    """Print the backups, newest first."""
    selector = f"spec.databaseRef.name={database}" if database else ""
    bodies = await session.list(BACKUPS, field_selector=selector)
    found = [one for one in map(read.backup, bodies) if storage is None or _storage(one) == storage]
    found.sort(key=lambda one: (_at(one), one.meta.name), reverse=True)
    if output in (Output.JSON, Output.YAML):
        session.screen.document(output, {"backups": [_document(one) for one in found]})
    elif not found:
        session.screen.note(NOTHING)
    else:
        wide, now = output is Output.WIDE, session.clock.now()
        header = ["NAME", "DATABASE", "TYPE", "METHOD", "PHASE", "AGE", "SIZE", "PROVEN", "NOTE"]
        if wide:
            header += ["STORAGE", "POLICY", "POSITION", "PARENT", "LOCATION"]
        rows = [_row(one, now, wide=wide) for one in found]
        if session.scope is None:
            header = ["NAMESPACE", *header]
            rows = [[one.meta.namespace, *row] for one, row in zip(found, rows, strict=True)]
        session.screen.say(table(header, rows))
    return OK


def _row(one: SeenBackup, now: datetime, *, wide: bool) -> list[str]:
    status = one.status
    notes = [
        "unverified" if is_true(status.conditions, ConditionType.UNVERIFIED) else "",
        "held" if status.hold is not None else "",
    ]
    row = [
        one.meta.name,
        _database(one),
        str(status.type or one.spec.type),
        str(status.method or one.spec.method),
        str(status.phase or "Pending"),
        ago(_at(one), now),
        humanize_bytes(status.size.stored) if status.size else NONE,
        status.proven.level if status.proven else "no",
        ", ".join(note for note in notes if note) or NONE,
    ]
    if not wide:
        return row
    return [
        *row,
        _storage(one) or NONE,
        one.spec.policy_ref.name if one.spec.policy_ref else NONE,
        _position(one),
        status.parent or NONE,
        status.location or NONE,
    ]


def _position(one: SeenBackup) -> str:
    position = one.status.position
    if position is None:
        return NONE
    return position.lsn or position.gtid or position.optime or position.offset or NONE


def _document(one: SeenBackup) -> dict[str, Any]:
    return {
        "namespace": one.meta.namespace,
        "name": one.meta.name,
        "spec": one.spec.dump(),
        "status": one.status.dump(),
    }


def _at(one: SeenBackup) -> datetime:
    """The instant that it restores to, as near as is known."""
    return one.status.shows or one.status.completion_time or one.spec.scheduled_for or one.meta.created


def _database(one: SeenBackup) -> str:
    return one.spec.database_ref.name if one.spec.database_ref else one.status.database or NONE


def _storage(one: SeenBackup) -> str:
    return one.spec.storage_ref.name if one.spec.storage_ref else ""


async def rebuild(session: Session, storage: str, *, wait: bool, limit: timedelta | None) -> int:
    """Ask the operator for it by an annotation, and say what came of it."""
    await session.find(BACKUP_STORAGES, storage)
    token = f"{session.clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    annotations = {"annotations": {ANNOTATION_REBUILD_CATALOG: token}}
    await session.kube.patch_metadata(BACKUP_STORAGES, session.namespace, storage, annotations, None)
    session.screen.note(f"BackupStorage {storage}: asked the operator to rebuild the catalog ({token})")
    return await _follow(session, storage, token, limit) if wait else OK


async def _follow(session: Session, storage: str, token: str, limit: timedelta | None) -> int:
    started, said = session.clock.monotonic(), ""
    while True:
        seen = read.storage(await session.find(BACKUP_STORAGES, storage))
        if seen.status.catalog_token == token:
            return _verdict(session, storage, seen.status.catalog)
        waited = timedelta(seconds=session.clock.monotonic() - started)
        if limit is not None and waited >= limit:
            session.screen.note(f"still going on after {limit}; see status.catalog of the BackupStorage")
            return TIMED_OUT
        now_so = _so_far(seen, token, waited)
        if now_so != said:
            session.screen.note(now_so)
            said = now_so
        await session.clock.sleep(LOOK_EVERY)


def _so_far(seen: SeenStorage, token: str, waited: timedelta) -> str:
    other = seen.meta.annotations.get(ANNOTATION_REBUILD_CATALOG)
    if other != token:
        message = f"another rebuild was asked for meanwhile ({other}); wait for that one"
        raise UserFault(CliReason.SUPERSEDED, message)
    catalog = seen.status.catalog
    if catalog is None or catalog.token != token:
        late = waited >= PICKED_UP_WITHIN
        return (
            "the operator has not begun yet; is it there? kubectl bosun doctor" if late else "waiting for the operator"
        )
    return f"{_counts(catalog)} so far{f'; {catalog.error}' if catalog.error else ''}"


def _counts(catalog: CatalogRebuild) -> str:
    skipped = f", {catalog.skipped} skipped" if catalog.skipped else ""
    return f"{catalog.found} backups found, {catalog.created} records created{skipped}"


def _verdict(session: Session, storage: str, catalog: CatalogRebuild | None) -> int:
    if catalog is None or catalog.error is not None:
        why = catalog.error if catalog is not None else "the operator says nothing about it"
        session.screen.note(f"BackupStorage {storage}: the catalog could not be rebuilt: {why}")
        return FAILED
    session.screen.out.print(f"BackupStorage {storage}: {_counts(catalog)}", markup=False)
    return OK
