"""A FailoverTestRun: look, plan, wait for what the plan needs, switch once, put in order, and say what it came to.

Nothing but the switch moves anything, and there is never a second one: what was ordered and not heard of again is
looked for in the store, and else put in order by a Job that only settles.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.failover import FailoverResult, FailoverStep, FailoverVerdict
from databosun.api.v1alpha1.failovertestrun import FailoverPhase, PlannedFailover
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.attempt import Ending
from databosun.domain.failoverguards import Circumstances, backup_guards, broken, latest_start, not_yet
from databosun.domain.failoverorder import (
    FAILOVER_RUN,
    FailoverFacts,
    look_for_verdict,
    look_job,
    settle_job,
    switch_job,
)
from databosun.domain.failoverplan import describe_mode, describe_plan, make_plan
from databosun.domain.failoverstatus import found, guards, topology
from databosun.domain.failoververdict import conclude, refuse, without_word
from databosun.domain.plan import Plan, PostEvent
from databosun.domain.run import Blocked, Conclude, Doomed, Start, Watch
from databosun.domain.runjobs import follow
from databosun.domain.running import ended, failure_of, go_on, started

# A switch that was decided on and has no Job by now may have had one that is gone.
SWITCH_BEGINS = timedelta(minutes=15)
SETTLE_TRIES = 3


def decide_failover(facts: FailoverFacts, now: datetime) -> Plan:
    """Say what to do for one unfinished run; total, deterministic."""
    status = facts.status
    if status.step is None:
        return _look(facts, now) if status.plan is None else _wait_or_switch(facts, status.plan, now)
    since = status.step_since or 1
    facts = _in_step(
        facts, FailoverPhase.RUNNING, since + SETTLE_TRIES - 2 if status.step is FailoverStep.SETTLE else 0
    )
    if not any(one.number >= since for one in facts.state.facts.tried):
        return _begin(facts, since, now)
    over = _after_switch if status.step is FailoverStep.SWITCH else _settled
    # What would keep a switch from beginning must not keep one that was begun from being settled.
    run = replace(facts.state.facts, blocked=None)
    facts = replace(facts, state=replace(facts.state, facts=run))
    return follow(facts, now, start=_start_settling, recover=look_for_verdict, conclude=over)


def _start_settling(facts: FailoverFacts, step: Start, now: datetime) -> Plan:
    return started(facts.state, settle_job(facts, step), now)


# --- looking


def _look(facts: FailoverFacts, now: datetime) -> Plan:
    facts = _in_step(facts, FailoverPhase.PLANNING, facts.state.facts.limits.retries)
    return follow(facts, now, start=_start_looking, recover=look_for_verdict, conclude=_looked)


def _start_looking(facts: FailoverFacts, step: Start, now: datetime) -> Plan:
    return started(facts.state, look_job(facts, step), now)


def _looked(facts: FailoverFacts, step: Conclude, now: datetime) -> Plan:
    result = step.ending.result.failover if step.ending.result is not None else None
    if result is None or not step.ending.succeeded:
        return without_word(facts, step, now)
    return _plan(facts, step, result, now) if result.verdict is None else conclude(facts, step, result, now)


def _plan(facts: FailoverFacts, step: Conclude, seen: FailoverResult, now: datetime) -> Plan:
    """Write down what is to be moved; from here on it waits for all that a switch needs."""
    order, at = facts.ordered, now.replace(microsecond=0)
    held = [*seen.guards, *backup_guards(order.test.backups, facts.backups, now), *facts.provider_guards]
    shown = {"guards": guards(held), "topology_before": topology(seen.topology)}
    why = broken(held)
    if why is not None:
        return refuse(facts, step.attempt, Ending(Reason.GUARD_FAILED, why, certain=True, refused=True), now, **shown)
    candidate = seen.candidate or _alone(facts, seen)
    if seen.topology is None or seen.primary is None or candidate is None:
        ending = Ending(Reason.NO_CANDIDATE, f"nothing was moved: {seen.message}", certain=True, refused=True)
        return refuse(facts, step.attempt, ending, now, **shown)
    members = [one.name for one in seen.topology.members]
    what = order.provider.provider, order.mode, seen.primary, candidate
    made = make_plan(facts.state.ref.uid, *what, members, order.fault, seen.topology.shard, order.failback)
    plan = PlannedFailover(
        **made.model_dump(), at=at, approval_needed=order.approval_needed, until=at + order.test.wait_for
    )
    message = f"{describe_plan(made)}; plan {plan.hash}"
    if plan.approval_needed:
        message += f"; approve it with kubectl bosun approve --failover {facts.state.ref.name}"
    closed = replace(step.ending, reason=str(Reason.FAILOVER_PLANNED), certain=True, retryable=False)
    status = facts.state.under_way(
        Reason.FAILOVER_PLANNED,
        message,
        now,
        phase=FailoverPhase.AWAITING_APPROVAL if plan.approval_needed else FailoverPhase.PENDING,
        plan=plan,
        attempts=ended(facts.state, step.attempt, closed, now),
        progress=None,
        failure=None,
        **shown,
    )
    return Plan(status=status, after=(PostEvent(Reason.FAILOVER_PLANNED, message),), wake_at=now)


def _alone(facts: FailoverFacts, seen: FailoverResult) -> str | None:
    """The primary itself, which is to come back: where there is no other, and the test asks for none."""
    members = [one.name for one in seen.topology.members] if seen.topology is not None else []
    asked = facts.ordered.test.guards.min_healthy_replicas
    return seen.primary if asked == 0 and facts.ordered.fault is not None and members == [seen.primary] else None


# --- waiting, and the one switch


def _wait_or_switch(facts: FailoverFacts, plan: PlannedFailover, now: datetime) -> Plan:
    """The guards are asked anew where nothing else is in the way; then the step is written down before it is taken."""
    no = _never(facts, plan)
    waits = None if no else not_yet(facts.ordered.test, _circumstances(facts, plan), now)
    if waits is not None and now < plan.until:
        return _wait(facts, plan, waits, now)
    if waits is not None:
        over = f"nothing was moved: the plan was good until {plan.until.isoformat()}; {waits.message}"
        no = Doomed(Reason.NOT_APPROVED if waits.reason == Reason.AWAITING_APPROVAL else waits.reason, over)
    number = facts.status.attempts[-1].number if facts.status.attempts else 0
    if no is None:
        held = backup_guards(facts.ordered.test.backups, facts.backups, now)
        why = broken([*held, *facts.provider_guards])
        no = Doomed(Reason.GUARD_FAILED, why) if why is not None else None
    if no is not None:
        return refuse(facts, number, Ending(no.reason, no.message, certain=True, refused=True), now)
    update = {
        "step": FailoverStep.SWITCH,
        "step_since": number + 1,
        "step_at": now.replace(microsecond=0),
        "phase": FailoverPhase.RUNNING,
        "plan": plan.model_copy(update={"approval": facts.consent.name if facts.consent else None}),
    }
    message = f"{describe_plan(plan)}: it goes ahead"
    return Plan(status=facts.state.under_way(Reason.RUNNING, message, now, **update), wake_at=now)


def _wait(facts: FailoverFacts, plan: PlannedFailover, waits: Blocked, now: datetime) -> Plan:
    asks = waits.reason == Reason.AWAITING_APPROVAL
    what = f"{waits.message} (plan {plan.hash}), until {plan.until.isoformat()}"
    phase = FailoverPhase.AWAITING_APPROVAL if asks else FailoverPhase.PENDING
    none: dict[str, Any] = {"step": None, "step_since": None, "step_at": None}
    status = facts.state.under_way(waits.reason, what, now, phase=phase, **none)
    return Plan(status=status, wake_at=min(plan.until, waits.again or plan.until))


def _begin(facts: FailoverFacts, number: int, now: datetime) -> Plan:
    """The first Job of a step that was written down."""
    job, plan = facts.state.facts.job, facts.status.plan
    if job is not None and job.attempt == number:
        return go_on(facts.state, Watch(number, wake_at=now), now, _image(facts))
    step = Start(number, now + facts.state.facts.limits.deadline)
    if facts.status.step is FailoverStep.SETTLE:
        if facts.order is None or facts.state.facts.doomed is not None:
            return _settled(facts, Conclude(_gone(facts), number - 1), now)
        return started(facts.state, settle_job(facts, step), now)
    assert plan is not None  # noqa: S101 (a switch is decided on with a plan only)
    if now > (facts.status.step_at or now) + SWITCH_BEGINS:
        message = "it is not known whether the switch was begun: the operator was away after it had been decided on"
        return _settle(facts, number - 1, Ending(Reason.NO_RESULT, message), now)
    if (no := _never(facts, plan)) is not None:
        return refuse(facts, number - 1, Ending(no.reason, no.message, certain=True, refused=True), now)
    seen = _circumstances(facts, plan)
    if (waits := not_yet(facts.ordered.test, seen, now)) is not None:
        return _wait(facts, plan, waits, now)
    ends = latest_start(facts.ordered.test, seen, plan.until, now)
    return started(facts.state, switch_job(facts, plan, step, ends), now)


def _never(facts: FailoverFacts, plan: PlannedFailover) -> Doomed | None:
    """Why this plan cannot be carried out any more."""
    if facts.state.facts.doomed is not None or facts.order is None:
        return facts.state.facts.doomed or Doomed(Reason.DATABASE_NOT_FOUND, _gone(facts).message)
    now = (facts.order.provider.provider, facts.order.mode, facts.order.fault)
    if facts.order.failback is not plan.failback:
        message = f"nothing was moved: failback is {plan.failback} in the plan, and now {facts.order.failback} is asked"
        return Doomed(Reason.PLAN_CHANGED, message)
    if now != (plan.provider, plan.mode, plan.fault):
        was, asked = describe_mode(plan.mode, plan.fault), describe_mode(now[1], now[2])
        message = f"nothing was moved: the plan is a {was} by {plan.provider}, and now {asked} by {now[0]} is asked"
        return Doomed(Reason.PLAN_CHANGED, message)
    return None


def _circumstances(facts: FailoverFacts, plan: PlannedFailover) -> Circumstances:
    needed = plan.approval_needed or facts.ordered.approval_needed
    return Circumstances(needed, facts.consent, facts.moved, facts.state.facts.blocked)


# --- what came of it


def _after_switch(facts: FailoverFacts, step: Conclude, now: datetime) -> Plan:
    """The verdict, where there is one; else somebody must look what the switch left behind."""
    ending, plan, job = step.ending, facts.status.plan, facts.state.facts.job
    result = ending.result.failover if ending.result is not None and ending.succeeded else None
    never_ran = ending.certain and job is not None and not job.pod_was_seen and (job.pod is None or not job.pod.started)
    if result is not None and plan is not None and result.plan_hash == plan.hash:
        if result.settled:
            return conclude(facts, step, result, now)
        return _settle(facts, step.attempt, replace(ending, reason=result.reason, message=result.message), now, result)
    if ending.refused or never_ran:
        return refuse(facts, step.attempt, ending, now)
    return _settle(facts, step.attempt, ending, now)


def _settle(
    facts: FailoverFacts, attempt: int, ending: Ending, now: datetime, seen: FailoverResult | None = None
) -> Plan:
    """Order that it be put in order; a Job of its own looks what there is to do, and does nothing else."""
    message = f"putting in order what the switch may have left: {ending.message}"
    changes = found(seen, facts.order.storage.name if facts.order else None) if seen is not None else {}
    status = facts.state.under_way(
        Reason.SETTLING,
        message,
        now,
        step=FailoverStep.SETTLE,
        step_since=attempt + 1,
        step_at=now.replace(microsecond=0),
        phase=FailoverPhase.RUNNING,
        attempts=ended(facts.state, attempt, ending, now),
        progress=None,
        failure=failure_of(ending),
        **changes,
    )
    return Plan(status=status, after=(PostEvent(Reason.SETTLING, message[:1024], warning=True),), wake_at=now)


def _settled(facts: FailoverFacts, step: Conclude, now: datetime) -> Plan:
    """The end of a run whose switch left no word, or left something behind."""
    ending, plan = step.ending, facts.status.plan
    result = ending.result.failover if ending.result is not None and ending.succeeded else None
    if result is not None and plan is not None and result.plan_hash == plan.hash:
        if not result.settled:
            message = f"it could not be put in order: {result.message}; look at the database now"
            result = result.model_copy(
                update={"verdict": _no_better(result.verdict), "reason": Reason.NOT_SETTLED, "message": message}
            )
        return conclude(facts, step, result, now)
    why = facts.status.failure
    before = f" The switch ended with {why.reason}: {why.message}" if why is not None else ""
    message = (
        "nobody could look whether the switch left something behind (a primary that takes no writes, paused clients,"
        f" the probe's table): {ending.message}; look at the database now.{before}"
    )
    ending = replace(ending, reason=str(Reason.NOT_SETTLED), message=message, certain=True)
    moved = facts.status.moved_at or facts.status.step_at  # it may have been: a cooldown counts from here
    return without_word(facts, Conclude(ending, step.attempt), now, moved_at=moved)


def _no_better(verdict: FailoverVerdict | None) -> FailoverVerdict:
    """A test that left something behind has neither passed nor been refused."""
    return FailoverVerdict.FAILED if verdict is FailoverVerdict.FAILED else FailoverVerdict.INCONCLUSIVE


# --- small things


def _in_step(facts: FailoverFacts, running: FailoverPhase, retries: int) -> FailoverFacts:
    """The same in the words, and with the patience, of the step that it is in."""
    run = facts.state.facts
    kind = replace(FAILOVER_RUN, running=running)
    run = replace(run, limits=replace(run.limits, retries=retries))
    return replace(facts, state=replace(facts.state, kind=kind, facts=run))


def _image(facts: FailoverFacts) -> str | None:
    return facts.order.image if facts.order else None


def _gone(facts: FailoverFacts) -> Ending:
    doomed = facts.state.facts.doomed
    return Ending(
        doomed.reason if doomed else Reason.DATABASE_NOT_FOUND,
        doomed.message if doomed else "the Database, its FailoverTest, or the storage is not there any more",
        certain=True,
    )
