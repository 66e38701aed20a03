"""Writes the record of a run once, chained and signed as manifests are, and reads it back."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version

from databosun.agent.backups import Chosen
from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.drill import Verdict
from databosun.api.evidence import Evidence, EvidenceBackup, EvidenceDatabase, MeasuredOn
from databosun.api.request import DrillTask
from databosun.api.result import DrillResult, RestoreResult
from databosun.domain.errors import SafetyStop, WorldFault
from databosun.storage.manifest import MAX_MANIFEST_BYTES, demand_digest, demand_signature, digest_of, seal
from databosun.storage.port import AlreadyExists, ObjectMissing

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
    "rto",
    "rpo",
    "until",
    "reached",
    "notes",
)


def measured_on(ctx: Context) -> MeasuredOn:
    """What the figures were measured on."""
    return MeasuredOn(
        storage=ctx.store.describe(),
        cpus=len(os.sched_getaffinity(0)),
        arch=platform.machine(),
        image=ctx.request.image,
        path=f"{ctx.store.describe()} to {ctx.paths.scratch} of the Job's own pod",
    )


def put_record(ctx: Context, key: str, document: dict[str, object]) -> str:
    """Write it if none is there, sign it where the storage signs, read it back. Its SHA-256."""
    data = seal(ctx.log.redactor.document(document), ctx.signing_key)
    where = f"{key} in {ctx.store.describe()}"
    try:
        ctx.store.put(key, data, if_absent=True)
    except AlreadyExists as error:
        # A lost answer makes the library ask again: what decides is whether the object that is there is ours.
        if ctx.store.get(key, limit=MAX_MANIFEST_BYTES) != data:
            message = f"{where} was written by another attempt meanwhile; this one counts for nothing"
            raise WorldFault(AgentReason.ATTEMPT_TAKEN, message) from error
    sha256 = digest_of(data)
    demand_digest(ctx.store.get(key, limit=MAX_MANIFEST_BYTES), sha256, where)
    return sha256


def read_drill(ctx: Context, database: str, run: str) -> DrillResult | None:
    """The result of a drill that was done, from its evidence. SafetyStop where that is not ours."""
    key = ctx.layout.drill(database, run)
    data = _read_record(ctx, key)
    if data is None:
        return None
    try:
        evidence = Evidence.model_validate_json(data)
    except ValueError as error:
        raise _invalid(ctx, key, error) from error
    shared = {name: getattr(evidence, name) for name in _SHARED}
    where = {"evidence": ctx.store.url(key), "evidence_sha256": digest_of(data)}
    return DrillResult(id=evidence.run, backup=evidence.backup, **shared, **where)


def read_restore(ctx: Context, database: str, run: str) -> RestoreResult | None:
    """The result of a restore that was done, from its record. SafetyStop where that is not ours."""
    key = ctx.layout.restore(database, run)
    data = _read_record(ctx, key)
    if data is None:
        return None
    try:
        found = json.loads(data)["result"]
        return RestoreResult.model_validate({**found, "record": ctx.store.url(key), "recordSha256": digest_of(data)})
    except (ValueError, KeyError, TypeError) as error:
        raise _invalid(ctx, key, error) from error


def _read_record(ctx: Context, key: str) -> bytes | None:
    try:
        data = ctx.store.get(key, limit=MAX_MANIFEST_BYTES)
    except ObjectMissing:
        return None
    if ctx.public_key is not None:
        demand_signature(data, ctx.public_key, f"{key} in {ctx.store.describe()}")
    return data


def _invalid(ctx: Context, key: str, error: Exception) -> SafetyStop:
    message = f"{key} in {ctx.store.describe()} is no record of schema 1: {error}"
    return SafetyStop(AgentReason.EVIDENCE_INVALID, message)
