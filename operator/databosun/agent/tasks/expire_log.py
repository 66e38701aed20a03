"""Delete the part of a server's log that no recovery needs any more.

The operator says from which backup on the log is kept, and promises nothing from before it any more; this looks once
more before it deletes. Oldest first, batch by batch, so that an interruption leaves a log whose newest part is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks.common import read_durable
from databosun.api.backuptasks import ExpireLogTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import SafetyStop
from databosun.domain.logretention import KeepFrom, may_go
from databosun.domain.wal import WalPoint, parse_lsn, segment_start
from databosun.storage.owner import demand_ownership
from databosun.storage.port import ObjectInfo
from databosun.storage.reasons import StorageReason
from databosun.storage.walnames import WalFolder, parse_timeline_folder
from databosun.storage.walog import StoredSegment, read_description
from databosun.storage.waltail import segments_of
from databosun.storage.waltimes import read_pairs

BATCH = 500
MOST_NAMED = 100


def run(ctx: Context) -> Result:
    """Says what was deleted. What the store will not delete, such as a locked segment, stays, and all that is not in
    one request with it."""
    task = ctx.request.job
    if not isinstance(task, ExpireLogTask):
        raise TypeError(task)
    keep = KeepFrom(task.base, WalPoint(task.keep_timeline, parse_lsn(task.keep_lsn)), task.keep_since)
    with ctx.phase("storage"):
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
        folder = ctx.layout.wal(task.system_identifier, _demand_base(ctx, task, keep))
        size = read_description(ctx.store, folder).segment_bytes
    ctx.started = True
    with ctx.phase("expire"):
        done = _delete(ctx, list(_stale(ctx, folder, size, keep)))
        if done.refused is None:
            done = _add(done, _delete(ctx, list(_old_hours(ctx, folder, size, keep))))
    message = f"{len(done.names)} objects deleted, {done.bytes} bytes"
    if done.refused:
        message += f"; then one stayed: {done.refused}"
    reason = AgentReason.NOT_DELETED if done.refused else AgentReason.SUCCEEDED
    return Result(outcome=Outcome.SUCCEEDED, reason=reason, message=message, swept=list(done.names[:MOST_NAMED]))


@dataclass(frozen=True, slots=True)
class _Stale:
    """One object that may go."""

    key: str
    bytes: int


@dataclass(frozen=True, slots=True)
class _Done:
    """What went, and why the rest did not."""

    names: tuple[str, ...] = ()
    bytes: int = 0
    refused: str | None = None


def _demand_base(ctx: Context, task: ExpireLogTask, keep: KeepFrom) -> str:
    """Its engine. SafetyStop where the backup that the log is kept for is not there, or needs more than would stay."""
    found = read_durable(ctx, task.database, task.base)
    if found is None:
        message = (
            f"backup {task.base}, from whose start on the log is to be kept, is not in {ctx.store.describe()}; nothing "
            "is deleted"
        )
        raise SafetyStop(AgentReason.PARENT_MISSING, message)
    if found.sha256 != task.manifest_sha256.lower():
        message = (
            f"{found.where} has SHA-256 {found.sha256}, not {task.manifest_sha256}: it was changed; find out by whom"
        )
        raise SafetyStop(StorageReason.MANIFEST_FORGED, message)
    position = found.manifest.position
    if found.manifest.database.system_identifier != task.system_identifier or not position or not position.start_lsn:
        message = f"onto backup {task.base} no log of server {task.system_identifier} is replayed; nothing is deleted"
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    if parse_lsn(position.start_lsn) < keep.start.lsn or (position.timeline or 0) < keep.start.timeline:
        message = (
            f"backup {task.base} needs the log from {position.start_lsn} on timeline {position.timeline}, and only "
            f"what is behind {keep.start} would stay; nothing is deleted"
        )
        raise SafetyStop(AgentReason.NOT_DELETED, message)
    return str(found.manifest.database.engine)


def _stale(ctx: Context, folder: WalFolder, size: int, keep: KeepFrom) -> Iterator[_Stale]:
    """Segments and open parts, oldest first."""
    for timeline in sorted(filter(None, map(parse_timeline_folder, ctx.store.folders(folder.root)))):
        old: list[StoredSegment] = []
        for one in segments_of(ctx.store, folder, size, timeline):
            ctx.stop.check()
            if may_go(timeline, one.start + size, keep):
                old.append(one)
        for one in sorted(old, key=lambda found: (found.number, found.full, found.end)):
            yield _Stale(one.key, one.stored_bytes)


def _old_hours(ctx: Context, folder: WalFolder, size: int, keep: KeepFrom) -> Iterator[_Stale]:
    """Pairs of hours that were over before the first instant that is still recoverable; but the newest one from before
    the log that is left stays, since it says how far back that reaches (storage/walreach)."""
    begin = segment_start(keep.start.lsn, size)
    for timeline in range(1, keep.start.timeline + 1):
        hours = sorted(ctx.store.list(folder.times(timeline)), key=lambda found: found.key)
        for one in hours[: _anchor(ctx, hours, begin)]:
            name = one.key.rpartition("/")[2].removesuffix(".json")
            try:
                hour = datetime.strptime(name, "%Y%m%dT%H").replace(tzinfo=UTC)
            except ValueError:
                continue
            if hour + timedelta(hours=2) <= keep.since:
                yield _Stale(one.key, one.size)


def _anchor(ctx: Context, hours: Sequence[ObjectInfo], begin: int) -> int:
    """The number of the newest hour with a pair at or below a position; behind all hours where none has one."""
    anchor = len(hours)
    for number, one in enumerate(hours):
        ctx.stop.check()
        try:
            positions = [parse_lsn(pair.lsn) for pair in read_pairs(ctx.store, one.key)]
        except SafetyStop as error:
            ctx.log.warning("not read", key=one.key, message=error.message)
            continue
        if any(position <= begin for position in positions):
            anchor = number
        if any(position > begin for position in positions):
            break
    return anchor


def _delete(ctx: Context, stale: list[_Stale]) -> _Done:
    done = _Done()
    for at in range(0, len(stale), BATCH):
        ctx.stop.check()
        batch = stale[at : at + BATCH]
        refused = {one.key: one for one in ctx.store.delete([one.key for one in batch])}
        gone = [one for one in batch if one.key not in refused]
        said = next(iter(refused.values())).message if refused else None
        done = _add(done, _Done(tuple(one.key for one in gone), sum(one.bytes for one in gone), said))
        if refused:
            break
    return done


def _add(one: _Done, other: _Done) -> _Done:
    return _Done(one.names + other.names, one.bytes + other.bytes, one.refused or other.refused)
