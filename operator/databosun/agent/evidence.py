"""Writes the record of a run once, chained and signed as manifests are, and reads it back."""

from __future__ import annotations

import json
import os
import platform
from datetime import timedelta
from importlib.metadata import version

from databosun.agent.backups import Chosen
from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.drill import Verdict
from databosun.api.evidence import Evidence, EvidenceBackup, EvidenceDatabase, MeasuredOn
from databosun.api.restoretasks import BackupRef, BridgeTask, DrillTask, RestoreTask
from databosun.api.result import DrillResult, RestoreResult
from databosun.domain.errors import SafetyStop, UserFault, WorldFault
from databosun.domain.sealing import digest_of
from databosun.storage.manifest import MAX_MANIFEST_BYTES, demand_digest, demand_signature, seal
from databosun.storage.port import AlreadyExists, ObjectMissing, Retention

# What is worth a record: the others said nothing about the backup, and may be tried again under the same name.
RECORDED = frozenset({Verdict.PASSED, Verdict.PARTIAL, Verdict.FAILED})


def compose_evidence(
    ctx: Context, task: DrillTask, chosen: Chosen | None, result: DrillResult, times: tuple[object, object]
) -> Evidence:
    """The record of one drill. `times`: its start and its end."""
    members = chosen.members if chosen else ()
    database = members[-1].manifest.database if members else None
    return Evidence.model_validate(
        {
            "run": task.id,
            "attempt": ctx.request.attempt,
            "cluster": ctx.storage.cluster_id,
            "storage": ctx.storage.name,
            "database": EvidenceDatabase(**database.model_dump()) if database else None,
            "backups": [
                EvidenceBackup(
                    id=one.manifest.id,
                    type=one.manifest.type,
                    method=one.manifest.method,
                    manifest_sha256=one.sha256,
                    snapshot_time=one.manifest.snapshot_time,
                    completed_at=one.manifest.completed_at,
                )
                for one in members
            ],
            "backup": task.backup.id,
            "backup_manifest_sha256": task.backup.manifest_sha256,
            "verified": task.backup.verified or ctx.public_key is not None,
            "started_at": times[0],
            "completed_at": times[1],
            **{name: getattr(result, name) for name in _SHARED},
            "negative_control": task.negative_control,
            "measured_on": measured_on(ctx),
            "previous": task.previous,
            "databosun_version": version("databosun"),
        }
    )


_SHARED = (
    "verdict",
    "reason",
    "message",
    "level_asked",
    "level_reached",
    "proven",
    "checks",
    "ordered_at",
    "rto",
    "rpo",
    "until",
    "reached",
    "notes",
)


def measured_on(ctx: Context) -> MeasuredOn:
    """What the figures were measured on."""
    way = ctx.managed.way if ctx.managed is not None else None
    return MeasuredOn(
        storage=ctx.store.describe(),
        cpus=len(os.sched_getaffinity(0)),
        arch=platform.machine(),
        image=ctx.request.image,
        path=way or f"{ctx.store.describe()} to {ctx.paths.scratch} of the Job's own pod",
    )


def put_record(ctx: Context, key: str, document: dict[str, object], lock_seconds: int | None = None) -> str:
    """Write it if none is there, locked and signed where the storage does that, read it back. Its SHA-256.

    It is locked for `lock_seconds`, or as long as the storage locks backups.
    """
    data = seal(ctx.log.redactor.document(document), ctx.signing_key)
    where = f"{key} in {ctx.store.describe()}"
    try:
        ctx.store.put(key, data, if_absent=True, retention=lock_of(ctx, lock_seconds))
    except AlreadyExists as error:
        # A lost answer makes the library ask again: what decides is whether the object that is there is ours.
        if ctx.store.get(key, limit=MAX_MANIFEST_BYTES) != data:
            message = f"{where} was written by another attempt meanwhile; this one counts for nothing"
            raise WorldFault(AgentReason.ATTEMPT_TAKEN, message) from error
    sha256 = digest_of(data)
    demand_digest(ctx.store.get(key, limit=MAX_MANIFEST_BYTES), sha256, where)
    return sha256


def lock_of(ctx: Context, lock_seconds: int | None) -> Retention | None:
    """How long a record is locked; None where the storage locks nothing."""
    lock = ctx.storage.immutable
    seconds = lock.seconds if lock is not None and lock_seconds is None else lock_seconds or 0
    return Retention(lock.mode, ctx.clock() + timedelta(seconds=seconds)) if lock is not None else None


def read_drill(ctx: Context, database: str, run: str, backup: BackupRef | None = None) -> DrillResult | None:
    """The result of a drill that was done, from its evidence. SafetyStop where that is not ours; UserFault(NameTaken)
    where it is about another backup than the one that is to be drilled."""
    key = ctx.layout.drill(database, run)
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        evidence = Evidence.model_validate_json(data)
    except ValueError as error:
        raise invalid_record(ctx, key, error) from error
    about = evidence.database.name if evidence.database else database
    if (evidence.run, about) != (run, database):
        # A right signature says who wrote it, not that it lies where it was written.
        raise invalid_record(ctx, key, f"it is the evidence of drill {evidence.run} of database {about}")
    seen = (evidence.backup, evidence.backup_manifest_sha256.lower())
    if backup is not None and seen != (backup.id, backup.manifest_sha256.lower()):
        message = (
            f"{key} in {ctx.store.describe()} is of a drill of this name that ended at "
            f"{evidence.completed_at.isoformat()}, of another backup: {evidence.backup} with manifest {seen[1]}, not "
            f"{backup.id} with {backup.manifest_sha256}; nothing was done: give the run a name that none had before"
        )
        raise UserFault(AgentReason.NAME_TAKEN, message)
    shared = {name: getattr(evidence, name) for name in _SHARED}
    where = {
        "evidence": ctx.store.url(key),
        "evidence_sha256": digest_of(data),
        "evidence_storage": ctx.storage.name,
        "completed_at": evidence.completed_at,
    }
    return DrillResult(id=evidence.run, backup=evidence.backup, **shared, **where)


def read_restore(
    ctx: Context, database: str, run: str, task: RestoreTask | BridgeTask | None = None
) -> RestoreResult | None:
    """The result of a restore that was done, from its record. SafetyStop where that is not ours; UserFault(NameTaken)
    where it is not what `task` asks for."""
    key = ctx.layout.restore(database, run)
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        document = json.loads(data)
        where = {"record": ctx.store.url(key), "recordSha256": digest_of(data)}
        done = RestoreResult.model_validate({**document["result"], **where})
        wrote, until, uid = (document["kind"], document["run"]), document.get("asked"), document.get("uid")
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_record(ctx, key, error) from error
    if wrote != ("Restore", run):
        raise invalid_record(ctx, key, f"it is the record of {wrote[0]} {wrote[1]}")
    if task is not None:
        _demand_same(ctx, key, _differs(ctx, task, done, until, uid))
    return done


def _differs(
    ctx: Context, task: RestoreTask | BridgeTask, done: RestoreResult, until: object, uid: object
) -> str | None:
    """What another restore of its name did otherwise; None where it is this very one."""
    if isinstance(task, BridgeTask):
        place = f"volume {done.claim}" if done.claim else f"{done.target}"
        return None if uid == task.uid else f"into {place}, by another object"
    if done.backup not in {ref.id for ref in task.candidates}:
        return f"of backup {done.backup}, which is none of those asked for"
    if done.claim != task.claim or done.data_directory is None:
        return f"into {f'volume {done.claim}' if done.claim else done.target}, not {task.claim}"
    if until is not None and until != task.until.dump():
        return "to another point"
    if not (ctx.paths.restore / done.data_directory).is_dir():
        return f"and the volume does not hold {done.data_directory} any more"
    return None


def _demand_same(ctx: Context, key: str, other: str | None) -> None:
    """A restore that is applied again is not repeated; another one of its name is not taken for done."""
    if other is None:
        return
    message = (
        f"a restore of this name was done before, {other} ({key} in {ctx.store.describe()}); nothing was done: give "
        "this one a name that none had before"
    )
    raise UserFault(AgentReason.NAME_TAKEN, message)


def read_record(ctx: Context, key: str) -> bytes | None:
    """A record, with its signature where the storage signs; None where there is none."""
    try:
        data = ctx.store.get(key, limit=MAX_MANIFEST_BYTES)
    except ObjectMissing:
        return None
    if ctx.public_key is not None:
        demand_signature(data, ctx.public_key, f"{key} in {ctx.store.describe()}")
    return data


def invalid_record(ctx: Context, key: str, error: Exception | str) -> SafetyStop:
    """What lies there is not what it should be."""
    message = f"{key} in {ctx.store.describe()} is no record of this run, of schema 1: {error}"
    return SafetyStop(AgentReason.EVIDENCE_INVALID, message)
