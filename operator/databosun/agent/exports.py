"""Exports of people's data in a store: their receipts, and what of them has to go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from databosun.agent.context import Context
from databosun.agent.evidence import invalid_record, read_record
from databosun.api.dataexport import ExportResult
from databosun.domain.errors import SafetyStop
from databosun.domain.sealing import digest_of
from databosun.storage.layout import LifecycleFolder
from databosun.storage.names import is_name
from databosun.storage.port import ObjectInfo

KIND = "DataExport"


def read_export(ctx: Context, database: str, run_id: str) -> ExportResult | None:
    """What an export wrote, from its receipt; None where there is none. SafetyStop where it is not of this one."""
    key = ctx.layout.export(database, run_id).result
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        document = json.loads(data)
        if (document["kind"], document["run"]) != (KIND, run_id):
            raise invalid_record(ctx, key, f"it is the record of {document['kind']} {document['run']}")
        where = {"receipt": ctx.store.url(key), "receiptSha256": digest_of(data)}
        return ExportResult.model_validate({**document["result"], **where})
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_record(ctx, key, error) from error


def exports_of(ctx: Context, database: str, subject: str) -> list[str]:
    """The exports of one person, by the keyed hash, that have not expired, and until when they lie there."""
    found, now = [], ctx.clock()
    for run_id in ctx.store.folders(ctx.layout.exports(database)):
        if not is_name(run_id):
            continue
        try:
            receipt = read_export(ctx, database, run_id)
        except SafetyStop as fault:
            found.append(f"{run_id}, whose receipt cannot be read ({fault.reason})")
            continue
        if receipt is not None and receipt.subject == subject and receipt.expires_at > now:
            found.append(f"{run_id} until {receipt.expires_at.replace(microsecond=0).isoformat()}")
    return found


def sweep_exports(ctx: Context, before: datetime) -> list[str]:
    """Remove the files of exports that have expired, and what attempts without a receipt left that is not young.
    Receipts stay. What was removed."""
    swept = []
    for database, run_id in _exports(ctx):
        ctx.stop.check()
        folder = ctx.layout.export(database, run_id)
        garbage = _garbage(ctx, database, run_id, folder, before)
        refused = {one.key: one for one in ctx.store.delete([one.key for one in garbage])} if garbage else {}
        for one in refused.values():
            ctx.log.warning("not swept", key=one.key, message=one.message)
        if len(refused) < len(garbage):
            swept.append(f"{database}/exports/{run_id}")
    return swept


def _exports(ctx: Context) -> Iterator[tuple[str, str]]:
    for database in ctx.store.folders(ctx.layout.root):
        if is_name(database):
            for run_id in ctx.store.folders(ctx.layout.exports(database)):
                if is_name(run_id):
                    yield database, run_id


def _garbage(ctx: Context, database: str, run_id: str, folder: LifecycleFolder, before: datetime) -> list[ObjectInfo]:
    """Of a receipt that cannot be read nobody knows what it kept, and until when: it is looked at by a person."""
    files = [one for one in ctx.store.list(folder.root) if one.key != folder.result]
    try:
        receipt = read_export(ctx, database, run_id)
    except SafetyStop as fault:
        ctx.log.warning("not swept", key=folder.result, message=fault.message)
        return []
    if receipt is not None and receipt.expires_at <= ctx.clock():
        return files
    kept = {key for one in receipt.files for key in one.objects} if receipt is not None else set()
    old = [one for one in files if one.key not in kept]
    return old if old and max(one.modified for one in old) < before else []
