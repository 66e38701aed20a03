"""Writes the record of a failover test and its ledger, and reads the record back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version

import zstandard

from databosun.agent.context import Context
from databosun.agent.evidence import invalid_record, lock_of, measured_on, put_record, read_record
from databosun.agent.reasons import AgentReason
from databosun.api.failover import FailoverResult, FailoverTask
from databosun.api.failoverevidence import FailoverAsked, FailoverDatabase, FailoverEvidence
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.sealing import digest_of
from databosun.storage.port import AlreadyExists

_ASKED = tuple(FailoverAsked.model_fields)


def put_ledger(ctx: Context, task: FailoverTask, lines: Iterable[str]) -> str:
    """Store the ledger. Its SHA-256; WorldFault(AttemptTaken) where another attempt has written one."""
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    data = b"".join([*(packer.compress(line.encode()) for line in lines), packer.flush()])
    key = ctx.layout.ledger(ctx.database.name, task.id)
    try:
        ctx.store.put(key, data, if_absent=True, retention=lock_of(ctx, task.lock_seconds))
    except AlreadyExists as error:
        message = f"{key} in {ctx.store.describe()} was written by another attempt; this one counts for nothing"
        raise WorldFault(AgentReason.ATTEMPT_TAKEN, message) from error
    return digest_of(data)


def put_evidence(ctx: Context, task: FailoverTask, result: FailoverResult, started: datetime) -> FailoverResult:
    """Store the record; the result with where it is."""
    completed = ctx.clock()
    evidence = FailoverEvidence(
        run=task.id,
        run_uid=task.uid,
        attempt=ctx.request.attempt,
        cluster=ctx.storage.cluster_id,
        storage=ctx.storage.name,
        database=FailoverDatabase(
            namespace=ctx.database.namespace,
            name=ctx.database.name,
            uid=ctx.database.uid,
            engine=ctx.database.engine,
        ),
        plan=task.plan,
        asked=FailoverAsked(**{name: getattr(task, name) for name in _ASKED}),
        result=result.model_copy(update={"completed_at": completed}),
        started_at=started,
        completed_at=completed,
        measured_on=measured_on(ctx).model_copy(update={"path": "clients in the Job's own pod"}),
        databosun_version=version("databosun"),
    )
    key = ctx.layout.failover(ctx.database.name, task.id)
    sha256 = put_record(ctx, key, evidence.dump(), task.lock_seconds)
    return _placed(ctx, key, evidence.result, sha256)


def read_failover(ctx: Context, database: str, run: str, plan_hash: str | None = None) -> FailoverResult | None:
    """The result of a test that was done. SafetyStop where the record is not ours; UserFault(NameTaken) where it is of
    another plan."""
    key = ctx.layout.failover(database, run)
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        evidence = FailoverEvidence.model_validate_json(data)
    except ValueError as error:
        raise invalid_record(ctx, key, error) from error
    if (evidence.run, evidence.database.name) != (run, database):
        told = f"it is the record of test {evidence.run} of database {evidence.database.name}"
        raise invalid_record(ctx, key, told)
    if plan_hash is not None and evidence.result.plan_hash not in (plan_hash, None):
        message = (
            f"{key} in {ctx.store.describe()} is of a test of this name that ended at "
            f"{evidence.completed_at.isoformat()}, of another plan: {evidence.result.plan_hash}, not {plan_hash}; "
            "nothing was moved: give the run a name that none had before"
        )
        raise UserFault(AgentReason.NAME_TAKEN, message)
    return _placed(ctx, key, evidence.result, digest_of(data))


def _placed(ctx: Context, key: str, result: FailoverResult, sha256: str) -> FailoverResult:
    return result.model_copy(update={"evidence": ctx.store.url(key), "evidence_sha256": sha256})
