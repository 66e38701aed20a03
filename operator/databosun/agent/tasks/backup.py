"""Take one backup. The manifest is written last; until then nothing that was stored counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

from databosun.agent.chain import Member, engine_parent, fetch_chain
from databosun.agent.compose import Taken, compose_manifest, result_of, stored_file
from databosun.agent.context import Context
from databosun.agent.hooks import run_hooks
from databosun.agent.pipeline import Lane, Stored
from databosun.agent.reasons import AgentReason
from databosun.agent.restore_doc import render
from databosun.agent.sink import PipelineSink
from databosun.agent.tasks.common import DurableBackup, put_hold, read_durable
from databosun.agent.upload import put_verified
from databosun.api.backuptasks import BackupTask
from databosun.api.result import Outcome, ProbeResult, Result
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.domain.sealing import digest_of
from databosun.engines.base import Captured, LogPiece, Parent, Plan, RestoreDoc
from databosun.storage.layout import BackupFolder
from databosun.storage.locks import keys_of, lock_all
from databosun.storage.manifest import MAX_MANIFEST_BYTES, demand_digest, seal
from databosun.storage.owner import claim
from databosun.storage.port import AlreadyExists, Retention
from databosun.storage.waltail import newest_files


def run(ctx: Context) -> Result:
    """The backup, or the one that is there already: a run whose durable object exists is never repeated."""
    task = ctx.request.job
    if not isinstance(task, BackupTask):
        raise TypeError(task)
    folder = ctx.layout.backup(ctx.database.name, task.id)
    with ctx.phase("storage"):
        _ = ctx.signing_key  # a wrong key is said before anything is done
        claim(ctx.store, ctx.layout, ctx.claimant, ctx.clock())
        if done := read_durable(ctx, ctx.database.name, task.id):
            return _already_done(ctx, task, done)
        _demand_own_folder(ctx, folder)
        members = fetch_chain(ctx, ctx.database.name, task.parent) if task.parent else ()
        parent = engine_parent(ctx, members) if members else None
    with ctx.phase("probe"):
        _demand_readiness(ctx.engine.probe(ctx.target, [task.method], incremental=parent is not None), task)
    ctx.started = True
    taken = _take(ctx, task, folder, members, parent)
    with ctx.phase("finish"):
        return _finish(ctx, task, folder, _chain(taken.captured, members), taken)


def _take(
    ctx: Context, task: BackupTask, folder: BackupFolder, members: tuple[Member, ...], parent: Parent | None
) -> Taken:
    """Hooks, the engine's work, hooks; then what it captured and what was stored."""
    hooks = task.hooks
    notes = run_hooks(ctx, hooks.pre) if hooks else []
    started_at = ctx.clock()
    try:
        with ctx.phase("backup"):
            captured, stored = _capture(ctx, task, folder, parent)
    except BaseException:  # also an interrupt: what pre hooks did must be undone
        if hooks:
            _tidy_up(ctx, task)
        raise
    notes += run_hooks(ctx, hooks.post) if hooks else []
    sha256 = members[-1].sha256 if members else None
    taken = Taken(captured, stored, started_at, ctx.clock(), sha256, tuple(notes))
    _demand_substance(taken)
    return taken


def _capture(
    ctx: Context, task: BackupTask, folder: BackupFolder, parent: Parent | None
) -> tuple[Captured, tuple[Stored, ...]]:
    lane = Lane(
        store=ctx.store,
        folder=folder.attempt(ctx.request.attempt),
        recipients=ctx.storage.age_recipients,
        children=ctx.children,
        stop=ctx.stop,
        progress=ctx.progress,
    )
    sink = PipelineSink(lane)
    plan = Plan(
        type=task.type,
        method=task.method,
        consistency=task.consistency,
        fingerprints=task.fingerprints,
        parent=parent,
        scratch=ctx.paths.scratch,
        scratch_bytes=_free_bytes(ctx),
        deadline=ctx.request.deadline,
        label=f"databosun {task.id}",
        log_begin=task.log_begin,
        log=lambda system: _newest_of_log(ctx, system),
    )
    try:
        captured = ctx.engine.backup(ctx.target, plan, sink)
        return captured, sink.close()
    except BaseException:  # also an interrupt: begun uploads must not stay
        sink.abort()
        raise


def _newest_of_log(ctx: Context, system_identifier: str) -> Iterator[LogPiece]:
    for one, mark in newest_files(ctx.store, ctx.layout.wal(system_identifier, ctx.database.engine), 1):
        yield LogPiece(one.start, one.end, mark)


def _finish(ctx: Context, task: BackupTask, folder: BackupFolder, below: tuple[Member, ...], taken: Taken) -> Result:
    """RESTORE.md, hold, locks, and the manifest as the very last object; each read back."""
    manifest = compose_manifest(ctx, task, taken)
    ancestors = [(member.folder, member.manifest) for member in below]
    doc = RestoreDoc(manifest.dump(), (*(one.dump() for _, one in ancestors), manifest.dump()))
    chain = [*ancestors, (folder, manifest)]
    text = render(ctx.store, ctx.storage, chain, ctx.engine.restore_instructions(doc))
    written = put_verified(ctx.store, folder.restore_doc, ctx.log.redactor.document(text).encode())
    manifest = manifest.model_copy(update={"files": [stored_file(folder, written)]})
    if task.held is not None:
        put_hold(ctx, folder, task.held)
    retention = _retention(ctx)
    if retention:
        closure = [*ancestors, (folder, manifest)]  # with RESTORE.md, which the manifest lists only by now
        keys = [key for where, one in closure for key in keys_of(where, one) if key != folder.manifest]
        lock_all(ctx.store, keys, retention)
    data = seal(ctx.log.redactor.document(manifest.dump()), ctx.signing_key)
    ctx.stop.check()
    sha256 = _put_manifest(ctx, folder, data, retention)
    location = ctx.store.url(folder.root)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, backup=result_of(manifest, sha256, location))


def _put_manifest(ctx: Context, folder: BackupFolder, data: bytes, retention: Retention | None) -> str:
    """Write it if none is there, and read it back.

    A lost answer makes the library ask again, and then the store finds what the first request wrote: what decides is
    whether the object that is there is ours.
    """
    where = f"{folder.manifest} in {ctx.store.describe()}"
    sha256 = digest_of(data)
    try:
        ctx.store.put(folder.manifest, data, if_absent=True, retention=retention)
    except AlreadyExists as error:
        if ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES) != data:
            message = f"{where} was written by another attempt meanwhile; this one counts for nothing and will be swept"
            raise WorldFault(AgentReason.ATTEMPT_TAKEN, message) from error
    demand_digest(ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES), sha256, where)
    return sha256


def _already_done(ctx: Context, task: BackupTask, done: DurableBackup) -> Result:
    if done.manifest.database.uid != task.database_uid:
        message = (
            f"{done.where} is a backup of another Database (uid {done.manifest.database.uid}); this run of "
            f"{task.database_uid} cannot have the same id"
        )
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    ctx.log.info("already done", id=task.id, attempt=done.manifest.attempt)
    retention = _retention(ctx)
    if retention:
        lock_all(ctx.store, keys_of(done.folder, done.manifest), retention)
    result = result_of(done.manifest, done.sha256, ctx.store.url(done.folder.root))
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, backup=result)


def _demand_own_folder(ctx: Context, folder: BackupFolder) -> None:
    mine = folder.attempt(ctx.request.attempt)
    if any(True for _ in ctx.store.list(mine)):
        message = (
            f"{mine}/ in {ctx.store.describe()} is not empty: an agent wrote there before; the next attempt has its own"
        )
        raise WorldFault(AgentReason.ATTEMPT_TAKEN, message)


def _demand_readiness(probe: ProbeResult, task: BackupTask) -> None:
    """Stop at findings that make the asked method impossible, with the statement that mends them."""
    blocking = [one for one in probe.findings if task.method in one.blocks or (one.blocks and not probe.reachable)]
    if not probe.reachable and not blocking:
        said = "; ".join(f"{one.reason}: {one.message}" for one in probe.findings) or "it does not answer"
        raise WorldFault(AgentReason.UNREACHABLE, f"the database cannot be reached: {said}")
    if blocking:
        message = "; ".join(f"{one.message}{f' (to mend it: {one.fix})' if one.fix else ''}" for one in blocking)
        raise UserFault(blocking[0].reason, message)


def _demand_substance(taken: Taken) -> None:
    data = [one for one in taken.stored if not one.plain]
    if not data or taken.logical_bytes <= 0 or any(one.stored_bytes <= 0 for one in data):
        found = f"{len(data)} artefacts and {taken.logical_bytes} bytes of data"
        message = f"the engine reported success with {found}; that is no backup"
        raise SafetyStop(AgentReason.EMPTY_BACKUP, message)


def _chain(captured: Captured, members: tuple[Member, ...]) -> tuple[Member, ...]:
    """The ancestors that were really built upon: none where the engine took a full instead."""
    if captured.parent is None:
        return ()
    if not members or members[-1].manifest.id != captured.parent:
        message = f"the engine says parent {captured.parent}, which is not the one it was given"
        raise SafetyStop(AgentReason.FOREIGN_BACKUP, message)
    return members


def _tidy_up(ctx: Context, task: BackupTask) -> None:
    """Post hooks run after a failure too, since pre hooks may have to be undone; the failure itself stays the news."""
    try:
        run_hooks(ctx, task.hooks.post if task.hooks else [])
    except WorldFault as error:
        ctx.log.warning("hook failed", reason=error.reason, message=error.message)


def _retention(ctx: Context) -> Retention | None:
    lock = ctx.storage.immutable
    return Retention(lock.mode, ctx.clock() + timedelta(seconds=lock.seconds)) if lock else None


def _free_bytes(ctx: Context) -> int | None:
    """What the file system has, and no more than the volume's own limit: beyond that the kubelet evicts the pod."""
    try:
        found = os.statvfs(ctx.paths.scratch)
    except OSError:  # no scratch in this pod; an engine that needs it says so
        return None
    free = found.f_bavail * found.f_frsize
    limit = ctx.request.scratch_bytes
    return free if limit is None else min(free, limit)
