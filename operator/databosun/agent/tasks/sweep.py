"""Remove what failed runs left: folders without a manifest, attempts that a manifest does not name, stale uploads;
and exports of people's data that have expired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from databosun.agent.context import Context
from databosun.agent.exports import sweep_exports
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import SweepTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import SafetyStop
from databosun.storage.layout import BackupFolder, Kind
from databosun.storage.manifest import MAX_MANIFEST_BYTES, read_manifest
from databosun.storage.names import is_name
from databosun.storage.owner import demand_ownership
from databosun.storage.port import ObjectInfo, ObjectMissing

MOST_NAMED = 500


def run(ctx: Context) -> Result:
    """Says what was removed. Never touches the folder of an active run, nor anything that is not old as a whole."""
    task = ctx.request.job
    if not isinstance(task, SweepTask):
        raise TypeError(task)
    with ctx.phase("storage"):
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
    ctx.started = True
    before = ctx.clock() - timedelta(seconds=task.older_than_seconds)
    swept: list[str] = []
    with ctx.phase("sweep"):
        for database, backup_id in _folders(ctx, set(task.active)):
            ctx.stop.check()
            swept += _sweep(ctx, ctx.layout.backup(database, backup_id), f"{database}/{backup_id}", before)
        swept += sweep_exports(ctx, before)
        active = [ctx.layout.backup(*one.split("/", 1)).root for one in task.active]
        swept += ctx.store.abort_uploads(ctx.layout.root, before=before, sparing=active)
    message = f"{len(swept)} removed" if swept else ""
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, message=message, swept=swept[:MOST_NAMED])


def _folders(ctx: Context, active: set[str]) -> Iterator[tuple[str, str]]:
    for database in ctx.store.folders(ctx.layout.root):
        if not is_name(database):
            continue
        for backup_id in ctx.store.folders(ctx.layout.backups(database)):
            if is_name(backup_id) and f"{database}/{backup_id}" not in active:
                yield database, backup_id


def _sweep(ctx: Context, folder: BackupFolder, name: str, before: datetime) -> list[str]:
    objects = list(ctx.store.list(folder.root))
    garbage = _garbage(ctx, folder, objects)
    if not garbage or max(one.modified for one in garbage) >= before:
        return []
    if not _still_garbage(ctx, folder, had_manifest=any(one.key == folder.manifest for one in objects)):
        return []
    refused = {one.key: one for one in ctx.store.delete([one.key for one in garbage])}
    for one in refused.values():
        ctx.log.warning("not swept", key=one.key, message=one.message)
    return [] if len(refused) == len(garbage) else [name]


def _garbage(ctx: Context, folder: BackupFolder, objects: Iterable[ObjectInfo]) -> list[ObjectInfo]:
    """All of a folder without a manifest; else the attempts that its manifest does not name."""
    found = list(objects)
    if not any(one.key == folder.manifest for one in found):
        return found
    attempts = {ctx.layout.parse(one.key).attempt for one in found} - {None}
    if len(attempts) < 2:
        return []
    try:
        manifest = read_manifest(ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES), folder.manifest)
    except (ObjectMissing, SafetyStop) as error:
        ctx.log.warning("not swept", key=folder.manifest, message=error.message)
        return []
    located = [(one, ctx.layout.parse(one.key)) for one in found]
    return [one for one, at in located if at.kind is Kind.ARTEFACT and at.attempt != manifest.attempt]


def _still_garbage(ctx: Context, folder: BackupFolder, *, had_manifest: bool) -> bool:
    """Look once more right before deleting: a manifest that has appeared meanwhile makes it a backup."""
    if had_manifest:
        return True
    try:
        ctx.store.head(folder.manifest)
    except ObjectMissing:
        return True
    return False
