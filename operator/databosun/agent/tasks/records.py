"""Hand over records of drills, failover tests and restores to the byte, page by page, so that others can check them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.recordtasks import ReadRecords
from databosun.api.v1alpha1.inquiry import RecordsFound
from databosun.domain.errors import UserFault
from databosun.storage.names import is_name
from databosun.storage.port import ObjectMissing

# Of 256 KiB for the whole result; base64 takes a third more.
PAGE_BYTES = 180 * 1024
JOINT = "_drills"  # the folder of drills of many databases
MAX_RECORD_BYTES = 4 * 1024 * 1024


def read(ctx: Context, asked: ReadRecords) -> RecordsFound:
    """One page. A record is text of ours: what is none is handed over as it is where it can be, and never believed."""
    packer = zlib.compressobj(9)
    packed, count, skipped, last, full = b"", 0, 0, asked.after, False
    with ctx.phase("records"):
        for key in _keys(ctx, asked):
            ctx.stop.check()
            text = _text(ctx, key)
            if text is None:
                skipped, last = skipped + 1, key
                continue
            piece = json.dumps([ctx.store.url(key), text]).encode() + b","
            trial = packer.copy()
            more = trial.compress(piece)
            size = len(packed) + len(more) + len(trial.copy().flush())
            if size > PAGE_BYTES and count:
                full = True
                break
            packer, packed, count, last = trial, packed + more, count + 1, key
    whole = packed + packer.flush()
    return RecordsFound(
        count=count, content=base64.b64encode(whole).decode(), next=last if full else None, skipped=skipped
    )


def _keys(ctx: Context, asked: ReadRecords) -> Iterator[str]:
    """The keys of the records, in order, behind `after`."""
    if asked.restore is not None:
        if not asked.database or not is_name(asked.database) or not is_name(asked.restore):
            message = f"the record of restore {asked.restore} is asked for; expected the name of its database too"
            raise UserFault(AgentReason.BAD_REQUEST, message)
        yield ctx.layout.restore(asked.database, asked.restore)
        return
    root = f"{ctx.layout.root}/"
    after = asked.after.removeprefix(root) if asked.after and asked.after.startswith(root) else ""
    databases = [asked.database] if asked.database else ctx.store.folders(ctx.layout.root)
    for database in sorted(databases):
        if not (is_name(database) or database == JOINT) or database < after.partition("/")[0]:
            continue
        for key in sorted(_evidence(ctx, database, asked)):
            if database > after.partition("/")[0] or key > root + after:
                yield key


def _evidence(ctx: Context, database: str, asked: ReadRecords) -> Iterator[str]:
    root = f"{ctx.layout.root}/{database}"
    for folder in [root] if database == JOINT else [f"{root}/drills", f"{root}/failovers"]:
        for one in ctx.store.list(folder):
            if one.key.endswith("/evidence.json") and (asked.since is None or one.modified >= asked.since):
                yield one.key


def _text(ctx: Context, key: str) -> str | None:
    """The record's text; None where it is too large, or no text. UserFault where the one that was asked for is gone."""
    try:
        if ctx.store.head(key).size > MAX_RECORD_BYTES:
            return None
        return ctx.store.get(key, limit=MAX_RECORD_BYTES).decode()
    except UnicodeDecodeError:
        return None
    except ObjectMissing as error:
        raise UserFault(AgentReason.BAD_REQUEST, f"{key} is not there in {ctx.store.describe()}") from error
