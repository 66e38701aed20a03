"""Look what the rules of a lifecycle would do; or carry out exactly the plan that was approved, or nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from databosun.agent.context import Context
from databosun.agent.evidence import invalid_record, put_record, read_record
from databosun.agent.lifecycle.indexing import stop_under_hold
from databosun.agent.lifecycle.ledger import Ledger
from databosun.agent.lifecycle.runner import Runner, failure_of
from databosun.agent.lifecycle.tiers import Tiers
from databosun.agent.reasons import AgentReason
from databosun.agent.stop import Stopped
from databosun.api.lifecycle import ActionType, LifecycleMode, RuleFacts
from databosun.api.lifecycleresult import LifecycleResult, RuleFailure, RuleOutcome, RuleState
from databosun.api.lifecycletasks import LifecycleTask
from databosun.api.result import Outcome, Result
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import DatabosunError, WorldFault
from databosun.domain.lifecycle import LifecyclePlan, calls_changed, make_plan
from databosun.domain.lifecycleguards import verdicts
from databosun.domain.refusal import Refusal
from databosun.engines.lifecycle import LifecycleScope, LifecycleSession, RuleFault
from databosun.engines.registry import load_lifecycle
from databosun.storage.layout import LifecycleFolder
from databosun.storage.owner import demand_ownership

OTHERWISE = "a rule, a table, a key, a trigger or the bucket is otherwise than when it was approved"
STATEMENT_SECONDS = 3600.0  # one pass over a large table
Refusals = Mapping[str, tuple[Refusal, ...]]
Done = tuple[list[RuleOutcome], list[str]]
CarryOut = Callable[[Ledger, LifecyclePlan, Refusals], Done]


def run(ctx: Context) -> Result:
    """The facts of a dry run, or the outcomes of an enforced one."""
    task = ctx.request.job
    if not isinstance(task, LifecycleTask):
        raise TypeError(task)
    enforce = task.mode is LifecycleMode.ENFORCE
    if enforce:
        with ctx.phase("claim"):
            demand_ownership(ctx.store, ctx.layout, ctx.claimant)
            done = read_lifecycle(ctx, ctx.database.name, task.id)
        if done is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, lifecycle=done)
    if task.order.rules[0].action is ActionType.STORAGE_TRANSITION:
        return _move(ctx, task)
    return _take(ctx, task)


def _move(ctx: Context, task: LifecycleTask) -> Result:
    """Of objects: nobody logs in to the database."""
    tiers = Tiers.of(ctx, task)
    with ctx.phase("look"):
        facts = [tiers.look()]
    return _decide(ctx, task, facts, "", partial(_of_tiers, tiers))


def _of_tiers(tiers: Tiers, ledger: Ledger, plan: LifecyclePlan, refusals: Refusals) -> Done:
    rule, against = plan.steps[0].rule, refusals[plan.steps[0].rule.name]
    outcome = RuleOutcome(name=rule.name, action=rule.action, state=RuleState.REFUSED)
    if against:
        failure = RuleFailure(reason=against[0].reason, message=against[0].message)
        return [outcome.model_copy(update={"failure": failure})], tiers.notes
    began = time.monotonic()
    try:
        update = tiers.carry_out(ledger)
    except Stopped:
        raise
    except DatabosunError as error:
        if error.reason == AgentReason.ATTEMPT_TAKEN:
            raise
        tiers.ctx.log.error("rule", rule=rule.name, reason=error.reason, message=error.message)
        update = {"state": RuleState.FAILED, "failure": failure_of(error)}
    update |= {"moved": ledger.account(rule.name).moved, "seconds": round(time.monotonic() - began, 3)}
    return [outcome.model_copy(update=update)], tiers.notes


def _take(ctx: Context, task: LifecycleTask) -> Result:
    """Of rows."""
    key = ctx.secrets.text("hash", "key")
    scope = LifecycleScope(
        order=task.order,
        at=task.at,
        lock_milliseconds=task.throttle.lock_timeout_milliseconds,
        statement_seconds=STATEMENT_SECONDS,
        key=key.encode() if key else None,
        pulse=ctx.stop.check,
    )
    try:
        with load_lifecycle(ctx.database.engine).open(ctx.target, scope) as session:
            with ctx.phase("look"):
                facts = _look(ctx, task, session)
            return _decide(ctx, task, facts, session.engine_version, partial(_of_rows, ctx, task, session, key, facts))
    except RuleFault as fault:  # of no rule: the server was lost between them
        raise WorldFault(fault.reason, fault.message) from fault


def _of_rows(
    ctx: Context,
    task: LifecycleTask,
    session: LifecycleSession,
    key: str | None,
    facts: Sequence[RuleFacts],
    ledger: Ledger,
    plan: LifecyclePlan,
    refusals: Refusals,
) -> Done:
    folder = ctx.layout.lifecycle(ctx.database.name, task.id)
    runner = Runner(ctx, task, session, ledger, folder, key.encode() if key else None)
    return runner.run(plan, facts, refusals), runner.notes


def _decide(
    ctx: Context, task: LifecycleTask, facts: list[RuleFacts], engine_version: str, carry_out: CarryOut
) -> Result:
    """A dry run has looked; an enforced one goes on where its plan is the approved one."""
    plan = make_plan(task.order, facts)
    seen = LifecycleResult(
        id=task.id,
        mode=task.mode,
        at=task.at,
        order=task.order,
        engine_version=engine_version,
        plan_hash=plan.hash,
        facts=facts,
        completed_at=ctx.clock(),
    )
    if task.mode is LifecycleMode.DRY_RUN:
        return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, lifecycle=seen)
    if plan.hash != task.approved:
        message = (
            f"the plan is {plan.hash} by what is there now, and {task.approved} was approved; nothing was done: "
            + ("; ".join(calls_changed(task.calls, facts)) or OTHERWISE)
        )
        return Result(outcome=Outcome.REFUSED, reason=Reason.PLAN_CHANGED, message=message, lifecycle=seen)
    with ctx.phase("enforce"):
        ctx.started = True
        return _enforce(ctx, task, plan, seen, carry_out)


def _look(ctx: Context, task: LifecycleTask, session: LifecycleSession) -> list[RuleFacts]:
    facts = []
    for rule in task.order.rules:
        ctx.stop.check()
        ctx.progress.stage(f"looking at {rule.name}")
        found = stop_under_hold(session, task, session.look(rule))
        if found.index is not None and found.index.stopped is not None:
            ctx.log.warning("index under a hold", rule=rule.name, said=found.index.stopped)
        facts.append(found)
    return facts


def _enforce(
    ctx: Context, task: LifecycleTask, plan: LifecyclePlan, seen: LifecycleResult, carry_out: CarryOut
) -> Result:
    folder = ctx.layout.lifecycle(ctx.database.name, task.id)
    ledger = Ledger(ctx, task, folder)
    ledger.open()
    outcomes, notes = carry_out(ledger, plan, verdicts(plan, task.order, seen.facts, task.at))
    ledger.clear(ctx.request.attempt)
    result = seen.model_copy(
        update={
            "outcomes": outcomes,
            "completed_at": ctx.clock(),
            "audit": ctx.store.url(folder.audit),
            "audit_sha256": ledger.last,
            "notes": notes,
        }
    )
    verdict = _verdict(outcomes, result)
    if not verdict.retryable:
        _record(ctx, task, folder, result)
    return verdict


def _verdict(outcomes: Sequence[RuleOutcome], result: LifecycleResult) -> Result:
    failed = [one for one in outcomes if one.state is RuleState.FAILED]
    refused = [one for one in outcomes if one.state is RuleState.REFUSED]
    if failed:
        message = "; ".join(one.failure.message for one in failed if one.failure)
        retryable = any(one.failure is not None and one.failure.retryable for one in failed)
        return Result(
            outcome=Outcome.FAILED, reason=Reason.RULES_FAILED, message=message, retryable=retryable, lifecycle=result
        )
    message = "; ".join(one.failure.message for one in refused if one.failure)
    if len(refused) == len(outcomes):
        return Result(outcome=Outcome.REFUSED, reason=Reason.RULES_REFUSED, message=message, lifecycle=result)
    return Result(outcome=Outcome.SUCCEEDED, reason=Reason.LIFECYCLE_DONE, message=message, lifecycle=result)


def _record(ctx: Context, task: LifecycleTask, folder: LifecycleFolder, result: LifecycleResult) -> None:
    document = {"schema": 1, "kind": "LifecycleRun", "run": task.id, "result": result.dump()}
    put_record(ctx, folder.result, document)


def read_lifecycle(ctx: Context, database: str, run_id: str) -> LifecycleResult | None:
    """What an enforced run did, from its durable object; None where there is none. SafetyStop where it is not ours."""
    key = ctx.layout.lifecycle(database, run_id).result
    data = read_record(ctx, key)
    if data is None:
        return None
    try:
        document = json.loads(data)
        if (document["kind"], document["run"]) != ("LifecycleRun", run_id):
            raise invalid_record(ctx, key, f"it is the record of {document['kind']} {document['run']}")
        return LifecycleResult.model_validate(document["result"])
    except (ValueError, KeyError, TypeError) as error:
        raise invalid_record(ctx, key, error) from error
