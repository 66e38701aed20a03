"""Look where one person stands; or erase them there: exactly the plan that was approved, or nothing.

The ledger's entry comes first: from then on no restore brings the person back, whatever becomes of the erasure itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from databosun.agent.context import Context
from databosun.agent.erasures.book import demand_key, demand_subject, write_done, write_entry
from databosun.agent.evidence import invalid_record, put_record, read_record
from databosun.agent.exports import exports_of
from databosun.agent.lifecycle.ledger import Ledger
from databosun.agent.lifecycle.runner import Runner
from databosun.agent.reasons import AgentReason
from databosun.api.erasure import ErasureEntry, ErasureResult
from databosun.api.lifecycle import LifecycleMode, ThrottleOrder
from databosun.api.lifecycleresult import RuleState
from databosun.api.lifecycletasks import EraseTask, LifecycleTask
from databosun.api.result import Outcome, Result
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.erasure import erasure_hash, erasure_verdicts, key_check, subject_hash
from databosun.domain.errors import UserFault, WorldFault
from databosun.domain.lifecycle import LifecyclePlan, Step, calls_changed, make_plan
from databosun.domain.sealing import digest_of
from databosun.engines.lifecycle import LifecycleScope, LifecycleSession, RuleFault
from databosun.engines.registry import load_erasing, load_lifecycle
from databosun.storage.owner import demand_ownership

STATEMENT_SECONDS = 3600.0  # one pass over a large table
# How many rows there may be was asked before anything began; an attempt that takes over must not stop half-way.
_NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Work:
    """What one attempt has at hand."""

    ctx: Context
    task: EraseTask
    session: LifecycleSession
    key: bytes
    subject: str


def run(ctx: Context) -> Result:
    """What was found of the person, or what became of it."""
    task = ctx.request.job
    if not isinstance(task, EraseTask):
        raise TypeError(task)
    if task.mode is LifecycleMode.ENFORCE:
        with ctx.phase("claim"):
            demand_ownership(ctx.store, ctx.layout, ctx.claimant)
            done = read_erasure(ctx, ctx.database.name, task.id)
        if done is not None and done.uid != task.uid:
            message = f"an erasure of this name was done before, by another object ({done.receipt}); nothing was done"
            raise UserFault(AgentReason.NAME_TAKEN, f"{message}: give the request a name that none had before")
        if done is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, erasure=done)
    load_erasing(ctx.database.engine)  # who could not be erased again from what is restored is not erased at all
    key, subject = demand_key(ctx), demand_subject(ctx)
    scope = LifecycleScope(
        order=task.order,
        at=task.at,
        lock_milliseconds=ThrottleOrder().lock_timeout_milliseconds,
        statement_seconds=STATEMENT_SECONDS,
        key=key,
        subject=subject,
        pulse=ctx.stop.check,
    )
    try:
        with load_lifecycle(ctx.database.engine).open(ctx.target, scope) as session:
            return _with(_Work(ctx, task, session, key, subject_hash(key, subject)))
    except RuleFault as fault:  # of no rule: the server was lost between them
        raise WorldFault(fault.reason, fault.message) from fault


def _with(work: _Work) -> Result:
    ctx, task = work.ctx, work.task
    with ctx.phase("look"):
        facts = [work.session.look(rule) for rule in task.order.rules]
    plan = make_plan(task.order, facts)
    seen = ErasureResult(
        id=task.id,
        uid=task.uid,
        mode=task.mode,
        at=task.at,
        order=task.order,
        engine_version=work.session.engine_version,
        subject=work.subject,
        plan_hash=erasure_hash(task.order, facts, work.subject, task.uid),
        facts=facts,
        completed_at=ctx.clock(),
    )
    if task.mode is LifecycleMode.DRY_RUN:
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, erasure=seen)
    if seen.plan_hash != task.approved:
        message = (
            f"the plan is {seen.plan_hash} by what tables, the subject's key, server and store are now, and"
            f" {task.approved} was approved; nothing was done: "
            + "".join(f"{one}; " for one in calls_changed(task.calls, facts))
            + "make another request"
        )
        return Result(outcome=Outcome.REFUSED, reason=Reason.PLAN_CHANGED, message=message, erasure=seen)
    against = [one for found in erasure_verdicts(plan, task.order, facts, task.at).values() for one in found]
    if against:
        message = "; ".join(one.message for one in against)
        return Result(outcome=Outcome.REFUSED, reason=against[0].reason, message=message, erasure=seen)
    with ctx.phase("erase"):
        return _erase(work, plan, seen)


def _erase(work: _Work, plan: LifecyclePlan, seen: ErasureResult) -> Result:
    ctx, task = work.ctx, work.task
    entry = _entry(work, seen)
    uri, sha256 = write_entry(ctx, entry)
    ctx.started = True
    folder = ctx.layout.erasure(ctx.database.name, task.id)
    orders = LifecycleTask(
        id=task.id,
        policy=task.id,
        mode=task.mode,
        at=task.at,
        order=task.order,
        approved=task.approved,
        previous=task.previous,
    )
    ledger = Ledger(ctx, orders, folder)
    ledger.open()
    runner = Runner(ctx, orders, work.session, ledger, folder, work.key)
    outcomes = runner.run(replace(plan, steps=tuple(map(_without_limit, plan.steps))), seen.facts, {})
    failed = any(one.state is RuleState.FAILED for one in outcomes)
    left = [] if failed else _left(work, plan)
    result = seen.model_copy(
        update={
            "outcomes": outcomes,
            "completed_at": ctx.clock(),
            "audit": ctx.store.url(folder.audit),
            "audit_sha256": ledger.last,
            "notes": [*runner.notes, *_exported(work)],
            "entry": uri,
        }
    )
    if failed or left:
        return _unfinished(result, left)
    verified = ctx.clock()
    write_done(ctx, entry, sha256, verified)
    result = result.model_copy(update={"verified_at": verified})
    receipt = put_record(ctx, folder.result, _document(result))
    where = {"receipt": ctx.store.url(folder.result), "receipt_sha256": receipt}
    return Result(outcome=Outcome.SUCCEEDED, reason=Reason.ERASED, erasure=result.model_copy(update=where))


def _exported(work: _Work) -> list[str]:
    found = exports_of(work.ctx, work.ctx.database.name, work.subject)
    return [f"DataExports hold the person still: {', '.join(found)}"] if found else []


def _entry(work: _Work, seen: ErasureResult) -> ErasureEntry:
    database, task = work.ctx.database, work.task
    return ErasureEntry(
        id=task.id,
        uid=task.uid,
        database=database.name,
        database_uid=database.uid,
        system=task.system,
        dbname=work.session.dbname,
        subject=work.subject,
        key_check=key_check(work.key),
        at=work.ctx.clock(),
        approved=seen.plan_hash,
        order=task.order,
    )


def _without_limit(step: Step) -> Step:
    limits = step.rule.limits.model_copy(update={"max_rows_per_run": _NO_LIMIT})
    return replace(step, rule=step.rule.model_copy(update={"limits": limits}))


def _left(work: _Work, plan: LifecyclePlan) -> list[str]:
    """Tables in which the person still stands, counted once everything is done."""
    with work.ctx.phase("verify"):
        counted = [(step.rule.table, work.session.rows(step).left().eligible) for step in plan.steps]
    return [f"{rows} of {table}" for table, rows in counted if rows]


def _unfinished(result: ErasureResult, left: list[str]) -> Result:
    if left:
        message = (
            f"rows with the subject are there still: {', '.join(left)}; they were locked or written meanwhile. The"
            " ledger has its entry: no restore brings back what went"
        )
        return Result(
            outcome=Outcome.FAILED, reason=Reason.SUBJECT_LEFT, message=message, retryable=True, erasure=result
        )
    failed = [one.failure for one in result.outcomes if one.failure is not None]
    return Result(
        outcome=Outcome.FAILED,
        reason=Reason.RULES_FAILED,
        message="; ".join(one.message for one in failed),
        retryable=any(one.retryable for one in failed),
        erasure=result,
    )


def _document(result: ErasureResult) -> dict[str, object]:
    return {"schema": 1, "kind": "ErasureRequest", "run": result.id, "result": result.dump()}


def read_erasure(ctx: Context, database: str, run_id: str) -> ErasureResult | None:
    """What an erasure did, from its receipt; None where there is none. SafetyStop where it is not of this one."""
    key = ctx.layout.erasure(database, run_id).result
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        document = json.loads(data)
        if (document["kind"], document["run"]) != ("ErasureRequest", run_id):
            raise invalid_record(ctx, key, f"it is the record of {document['kind']} {document['run']}")
        where = {"receipt": ctx.store.url(key), "receiptSha256": digest_of(data)}
        return ErasureResult.model_validate({**document["result"], **where})
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_record(ctx, key, error) from error
