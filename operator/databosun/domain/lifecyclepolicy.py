"""A LifecyclePolicy: which runs it starts, and what it comes to: plan, consent, backlog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import DrillCursor
from databosun.api.v1alpha1.lifecyclepolicy import LifecycleHistory
from databosun.api.v1alpha1.lifecyclerun import LifecyclePhase
from databosun.api.v1alpha1.lifecyclestatus import (
    GivenApproval,
    LastLifecycleRun,
    LifecyclePlanStatus,
    LifecyclePolicyStatus,
    RuleBacklog,
)
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.conditions import Wanted, merge_conditions
from databosun.domain.consent import Consent
from databosun.domain.database import RunOrder
from databosun.domain.lifecyclebacklog import EndedRun, backlog_after, since
from databosun.domain.plan import LABEL_MODE, CreateRun
from databosun.domain.policyruns import (
    Template,
    beyond_limits,
    create_run,
    no_run,
    on_schedule,
    ready_or_not,
    unhealthy,
)
from databosun.domain.requests import Named


@dataclass(frozen=True, slots=True)
class PolicySummaryFacts:
    """What decides over a policy's status. `order_hash`: of its rules as they are now; None where they cannot be read.
    `ended`: runs that ended since it looked last, oldest first; `counted`: all that are still kept. `held`: the reason
    of a hold over all of it; `elsewhere`: why the plan is not for the server and the store of now."""

    generation: int
    status: LifecyclePolicyStatus
    mode: LifecycleMode
    fault: tuple[str, str] | None
    suspended: bool
    order_hash: str | None
    consent: Consent | None
    ended: tuple[EndedRun, ...]
    cursor: DrillCursor | None
    run_now: str | None
    interval: timedelta | None
    counted: tuple[str, ...] = ()
    held: str | None = None
    elsewhere: str | None = None


@dataclass(frozen=True, slots=True)
class PastLifecycleRun:
    """A finished run, from its metadata."""

    name: str
    created: datetime
    enforced: bool


def mode_of_next(mode: LifecycleMode, consent: Consent | None, *, stops: bool = False) -> LifecycleMode:
    """Runs are dry until the plan that one has shown is approved. `stops`: a hold over all of it is to end what deletes
    by itself, which whoever looks does; an enforced run would be refused before."""
    return mode if consent is not None and not stops else LifecycleMode.DRY_RUN


def create_lifecycle_run(policy: Named, database_uid: str | None, order: RunOrder, mode: LifecycleMode) -> CreateRun:
    """The run of one order."""
    spec = {"policyRef": {"name": policy.name}, "mode": str(mode)}
    labels = {LABEL_MODE: str(mode)}
    return create_run(Template("LifecycleRun", "LifecyclePolicy", policy, spec, database_uid, labels), order)


def beyond_history(runs: Sequence[PastLifecycleRun], limits: LifecycleHistory) -> tuple[str, ...]:
    """The finished runs to let go of, oldest first. The newest of each mode is never among them."""
    return beyond_limits(
        runs, lambda run: run.enforced, lambda run: limits.enforced if run.enforced else limits.dry_runs
    )


def decide_lifecycle_policy(facts: PolicySummaryFacts, now: datetime) -> dict[str, Any]:
    """The policy's status; total, deterministic."""
    before, last = facts.status, facts.ended[-1] if facts.ended else None
    plan = next((run.status.plan for run in reversed(facts.ended) if run.status.plan is not None), before.plan)
    backlog = before.rules
    for run in facts.ended:
        backlog = backlog_after(backlog, run, facts.interval or since(before.last_enforced_time, run.created))
    audits = [run.status.audit for run in facts.ended if run.status.audit is not None]
    enforced = [run.status.completion_time for run in facts.ended if _did(run)]
    given = facts.consent
    current = plan if plan is not None and plan.order_hash == facts.order_hash else None
    last_run = _last_run(last) if last else before.last_run
    conditions = [
        *ready_or_not(facts.fault, suspended=facts.suspended),
        _of_last(last_run),
        _health(facts),
        _clean(facts, current, plan),
        *_consent(facts, current),
        *_behind(backlog),
        *_held(facts, current),
    ]
    update: dict[str, Any] = {
        "observed_generation": facts.generation,
        "conditions": merge_conditions(before.conditions, conditions, facts.generation, now),
        "plan": plan,
        "approval": GivenApproval(name=given.name, by=given.by, not_after=given.not_after) if given else None,
        "rules": backlog,
        "remaining": sum(one.remaining for one in backlog) if backlog else None,
        "archived_until": max(
            (one for one in (before.archived_until, *(run.status.archived_until for run in facts.ended)) if one),
            default=None,
        ),
        "last_run": last_run,
        "last_enforced_time": max((one for one in enforced if one is not None), default=before.last_enforced_time),
        "audit": audits[-1] if audits else before.audit,
        "counted": list(facts.counted),
        "cursor": facts.cursor,
        "next_schedule_time": facts.cursor.next if facts.cursor else None,
        "run_now_token": facts.run_now,
    }
    return before.model_copy(update=update).dump()


def _did(run: EndedRun) -> bool:
    return run.mode is LifecycleMode.ENFORCE and run.status.phase is LifecyclePhase.SUCCEEDED


def _last_run(run: EndedRun) -> LastLifecycleRun:
    failure = run.status.failure
    return LastLifecycleRun(
        name=run.name,
        mode=str(run.mode),
        phase=str(run.status.phase),
        at=run.created,
        reason=failure.reason if failure else None,
    )


def _of_last(last: LastLifecycleRun | None) -> Wanted:
    if last is None:
        return no_run()
    kind = ConditionType.LAST_RUN_SUCCEEDED
    good = last.phase == LifecyclePhase.SUCCEEDED
    return Wanted(kind, good, Reason.SUCCEEDED if good else last.reason or Reason.FAILED, f"the newest is {last.name}")


def _health(facts: PolicySummaryFacts) -> Wanted:
    if facts.fault is not None:
        return unhealthy(*facts.fault)
    return on_schedule(facts.cursor.missed_slots if facts.cursor else 0)


def _clean(facts: PolicySummaryFacts, current: LifecyclePlanStatus | None, shown: LifecyclePlanStatus | None) -> Wanted:
    kind = ConditionType.DRY_RUN_CLEAN
    if current is None and facts.elsewhere is not None:
        return Wanted(kind, None, Reason.PLAN_CHANGED, f"of the plan that was shown last: {facts.elsewhere}")
    if current is None:
        message = "the rules are others than when a run looked last" if shown else "no run has looked yet"
        return Wanted(kind, None, Reason.NO_PLAN, message)
    refused = [rule.name for rule in current.rules if rule.refusals]
    if refused:
        return Wanted(kind, False, Reason.RULES_REFUSED, f"may not run: {', '.join(refused)}; see status.plan")
    return Wanted(kind, True, Reason.PLAN_CLEAN, f"plan {current.hash}")


def _consent(facts: PolicySummaryFacts, current: LifecyclePlanStatus | None) -> Sequence[Wanted]:
    """Only where something is to be enforced."""
    if facts.mode is LifecycleMode.DRY_RUN:
        return ()
    kind = ConditionType.APPROVED
    if facts.consent is not None:
        until = facts.consent.not_after.isoformat()
        message = f"Approval {facts.consent.name} of {facts.consent.by}, until {until}"
        return (Wanted(kind, True, Reason.APPROVED, message),)
    if current is None and facts.elsewhere is not None:
        message = f"the plan that was shown last is carried out no more: {facts.elsewhere}; a dry run shows the new one"
        return (Wanted(kind, False, Reason.PLAN_CHANGED, message),)
    if current is None:
        return (Wanted(kind, False, Reason.NO_PLAN, "a dry run has to show the plan first"),)
    return (Wanted(kind, False, Reason.AWAITING_APPROVAL, f"plan {current.hash} is approved by nobody; runs are dry"),)


def _behind(backlog: Sequence[RuleBacklog]) -> Sequence[Wanted]:
    """Once an enforced run has shown a rate."""
    measured = [one for one in backlog if one.rate_per_day is not None]
    if not measured:
        return ()
    behind = [one for one in measured if one.remaining and one.eta_days is None]
    if not behind:
        return (Wanted(ConditionType.FALLING_BEHIND, False, Reason.KEEPING_UP),)
    said = ", ".join(
        f"{one.name} ({one.remaining} left, {one.rate_per_day} go and {one.inflow_per_day} come in a day)"
        for one in behind[:5]
    )
    return (Wanted(ConditionType.FALLING_BEHIND, True, Reason.FALLING_BEHIND, said),)


def _held(facts: PolicySummaryFacts, current: LifecyclePlanStatus | None) -> Sequence[Wanted]:
    """Abnormal-true: absent where no hold stops a rule."""
    kind = ConditionType.BLOCKED_BY_HOLD
    if facts.held is not None:
        return (Wanted(kind, True, Reason.BLOCKED_BY_HOLD, facts.held),)
    stopped = [
        rule.name
        for rule in (current.rules if current else [])
        if any(one.startswith(f"{Reason.BLOCKED_BY_HOLD}:") for one in rule.refusals)
    ]
    if not stopped:
        return ()
    return (Wanted(kind, True, Reason.BLOCKED_BY_HOLD, f"a hold stops: {', '.join(stopped)}"),)
