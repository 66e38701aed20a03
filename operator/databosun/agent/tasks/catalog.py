"""Tell what backups a bucket holds, page by page, so that a cluster can be rebuilt from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from databosun.agent.context import Context
from databosun.agent.proofs import Proofs, proofs_of
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks.common import read_hold
from databosun.api.backuptasks import CatalogTask
from databosun.api.result import CatalogEntry, CatalogPage, Outcome, Result
from databosun.domain.errors import SafetyStop
from databosun.domain.sealing import digest_of, is_signed
from databosun.storage.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from databosun.storage.names import is_name
from databosun.storage.port import ObjectMissing

PAGE_BYTES = 180 * 1024  # of 256 KiB for the whole result
OBJECTS_SHOWN = 50
# What a restore reads from the manifest itself, and a Backup object does not show.
_LEFT_OUT = {"artefacts", "files", "environment", "signature"}


def run(ctx: Context) -> Result:
    """One page, in the order of database and id; `next` is where the following one begins. Changes nothing."""
    task = ctx.request.job
    if not isinstance(task, CatalogTask):
        raise TypeError(task)
    entries: list[CatalogEntry] = []
    size, last, more = 0, task.after, False
    proofs: dict[str, Proofs] = {}
    with ctx.phase("catalog"):
        for database, backup_id in _ids(ctx, task.after):
            ctx.stop.check()
            if database not in proofs:
                proofs[database] = proofs_of(ctx, database)
            entry = _entry(ctx, database, backup_id, proofs[database])
            weight = len(json.dumps(entry.dump())) if entry else 0
            if entry and entries and (len(entries) >= task.limit or size + weight > PAGE_BYTES):
                more = True
                break
            last = f"{database}/{backup_id}"
            if entry:
                entries.append(entry)
                size += weight
    page = CatalogPage(entries=entries, next=last if more else None)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, catalog=page)


def _ids(ctx: Context, after: str | None) -> Iterator[tuple[str, str]]:
    """Database and id of every backup folder behind `after`, in order."""
    start = tuple(after.split("/", 1)) if after else ("", "")
    for database in ctx.store.folders(ctx.layout.root):
        if database < start[0] or not is_name(database):
            continue
        for backup_id in ctx.store.folders(ctx.layout.backups(database)):
            if is_name(backup_id) and (database, backup_id) > start:
                yield database, backup_id


def _entry(ctx: Context, database: str, backup_id: str, proofs: Proofs) -> CatalogEntry | None:
    folder = ctx.layout.backup(database, backup_id)
    try:
        data = ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES)
        manifest = read_manifest(data, folder.manifest)
    except ObjectMissing:
        return None
    except SafetyStop as error:
        ctx.log.warning("not a backup", key=folder.manifest, message=error.message)
        return None
    return CatalogEntry(
        database=database,
        id=backup_id,
        manifest_sha256=digest_of(data),
        manifest=_shown(manifest, ctx.store.url(folder.root)),
        verified=ctx.public_key is not None and is_signed(data, ctx.public_key),
        hold=read_hold(ctx, folder),
        proof=proofs.get((backup_id, digest_of(data))),
    )


def _shown(manifest: Manifest, location: str) -> dict[str, Any]:
    """The manifest without what a Backup object does not show, with its location and the number of its objects."""
    shown = {name: value for name, value in manifest.dump().items() if name not in _LEFT_OUT}
    shown["objects"] = shown.get("objects", [])[:OBJECTS_SHOWN]
    return {**shown, "objectCount": len(manifest.objects), "location": location}
