"""The failover task: look, switch and measure, or put in order what a lost switch may have left."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

from databosun.agent.context import Context
from databosun.agent.failovers.asking import Asking
from databosun.agent.failovers.drive import Drive
from databosun.agent.failovers.evidence import put_evidence, put_ledger, read_failover
from databosun.agent.failovers.failback import Failback
from databosun.agent.failovers.faults import Fault, Moves
from databosun.agent.failovers.found import Found
from databosun.agent.reasons import AgentReason
from databosun.api.failover import (
    FailbackWhen,
    FailoverMode,
    FailoverPlan,
    FailoverResult,
    FailoverStep,
    FailoverTask,
    FailoverVerdict,
)
from databosun.api.result import Outcome, Result
from databosun.domain.errors import DatabosunError, UserFault
from databosun.domain.failoveract import is_asked
from databosun.domain.failoverlimits import judge_limits
from databosun.domain.ledgerlines import ledger_lines
from databosun.domain.ledgerverdict import FailoverReason
from databosun.engines.base import Credentials
from databosun.engines.failover import FailoverProvider, Operator, Site
from databosun.engines.registry import load_failover, load_writers

SETTLE_SECONDS = 90.0
FAILOVER = "failover"


@dataclass
class _Pulse:
    """Raises where the agent is to stop, until order is being made."""

    ctx: Context
    winding_up: bool = field(default=False)

    def __call__(self) -> None:
        if not self.winding_up:
            self.ctx.stop.check()

    def wind_up(self) -> None:
        """What follows must not be interrupted."""
        self.winding_up = True


def run(ctx: Context) -> Result:
    """The result of one step."""
    task = ctx.request.job
    if not isinstance(task, FailoverTask):
        raise TypeError(task)
    pulse = _Pulse(ctx)
    with _open(ctx, task, pulse, task.mode) as provider:
        if task.step is FailoverStep.DISCOVER:
            return _reported(_discover(ctx, task, provider))
        plan = _demand_plan(task)
        done = read_failover(ctx, ctx.database.name, task.id, plan.hash)
        if task.step is FailoverStep.SETTLE:
            pulse.wind_up()
            return _reported(_settle(ctx, task, plan, provider, done))
        if done is not None:
            return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.ALREADY_DONE, failover=done)
        return _reported(_switch(ctx, task, plan, provider, pulse))


def _open(
    ctx: Context, task: FailoverTask, pulse: _Pulse, mode: FailoverMode
) -> AbstractContextManager[FailoverProvider]:
    return load_failover(ctx.database.engine).open(_site(ctx, task, pulse), mode)


def _discover(ctx: Context, task: FailoverTask, provider: FailoverProvider) -> FailoverResult:
    """Only look. What does not hold is reported, and decided upon elsewhere."""
    with ctx.phase("discover"):
        topology = provider.topology()
        candidate = provider.choose(topology, task.plan.candidate if task.plan else None)
        guards = [*judge_limits(topology, candidate, task.guards), *provider.examine(topology, candidate)]
    return FailoverResult(
        id=task.id,
        step=task.step,
        reason=AgentReason.SUCCEEDED,
        message=f"{topology.primary or 'no primary'}, to be replaced by {candidate or 'none that could'}",
        primary=topology.primary,
        candidate=candidate,
        topology=topology,
        guards=guards,
    )


def _switch(
    ctx: Context, task: FailoverTask, plan: FailoverPlan, provider: FailoverProvider, pulse: _Pulse
) -> FailoverResult:
    started = ctx.clock()
    _ = ctx.signing_key  # a wrong key is said before anything is done
    ctx.started = True
    found = Found(ctx, task, plan)
    moves: Moves = provider
    if is_asked(plan):
        another = task.mode is not FailoverMode.FAULT_INJECTION
        moves = Fault(provider, Asking(ctx, plan, pulse).strike, pulse, task.abort_seconds, another)
    drive = Drive(found, provider, moves, pulse.wind_up)
    if plan.failback is FailbackWhen.NEVER:
        result = drive.run()
    else:
        with _open(ctx, task, pulse, FailoverMode.PLANNED_SWITCHOVER) as planned:
            drive.failback = Failback(found, planned, pulse.wind_up)
            result = drive.run()
    if found.ordered is not None:
        lines = ledger_lines(found.crowd.writes, found.backs, [one for eye in found.crowd.sightings for one in eye])
        result = result.model_copy(update={"ledger_sha256": put_ledger(ctx, task, lines)})
    return put_evidence(ctx, task, result, started)


def _settle(
    ctx: Context, task: FailoverTask, plan: FailoverPlan, provider: FailoverProvider, done: FailoverResult | None
) -> FailoverResult:
    """Put in order; the verdict is that of the switch where it wrote one down."""
    started = ctx.clock()
    ctx.started = True
    with ctx.phase("settle"):
        left = list(provider.settle(plan, SETTLE_SECONDS))
        try:
            provider.remove_probe()
        except DatabosunError as fault:
            left.append(f"the probe's table: {fault.message}")
        topology = None
        with suppress(DatabosunError):
            topology = provider.topology()
    if done is not None:
        return done.model_copy(update={"settled": not left, "notes": [*left, *done.notes], "topology_after": topology})
    now = topology.primary if topology is not None else None
    moved = now is not None and now != plan.primary
    led = f"{now} is the primary now, no more {plan.primary}" if moved else f"{now or 'nobody'} is the primary"
    message = f"the Job that switched was lost, and what it found with it; {led}; " + (
        f"left behind: {'; '.join(left)}" if left else "nothing of it is left behind"
    )
    result = FailoverResult(
        id=task.id,
        step=task.step,
        verdict=FailoverVerdict.INCONCLUSIVE,
        reason=FailoverReason.SETTLED,
        message=message,
        plan_hash=plan.hash,
        primary=plan.primary,
        candidate=plan.candidate,
        topology_after=topology,
        settled=not left,
        notes=left,
        ordered_at=started if moved or plan.failback is not FailbackWhen.NEVER else None,
    )
    return result if left else put_evidence(ctx, task, result, started)


def _reported(result: FailoverResult) -> Result:
    """A test that reached a verdict has done its work, also where the verdict is Failed."""
    return Result(outcome=Outcome.SUCCEEDED, reason=result.reason, message=result.message, failover=result)


def _site(ctx: Context, task: FailoverTask, pulse: _Pulse) -> Site:
    login = _login(ctx, "username", "password") or ctx.target.credentials
    operator = Operator(
        login=login,
        sentinel=_login(ctx, "sentinelUsername", "sentinelPassword"),
        replication=_login(ctx, "replicationUsername", "replicationPassword"),
    )
    return Site(
        probe=ctx.target,
        operator=operator,
        provider=task.provider,
        table=task.probe.table,
        run=task.uid,
        until=ctx.request.deadline,
        pulse=pulse,
        writers=load_writers,
    )


def _login(ctx: Context, username: str, password: str) -> Credentials | None:
    """One login of the Secret of who moves the primary; the files of TLS are the database's."""
    given = ctx.secrets.text(FAILOVER, password)
    if given is None:
        return None
    own = ctx.target.credentials
    return Credentials(ctx.secrets.text(FAILOVER, username) or "", given, own.ca, own.cert, own.key)


def _demand_plan(task: FailoverTask) -> FailoverPlan:
    if task.plan is None:
        raise UserFault(AgentReason.BAD_REQUEST, f"step {task.step} needs a plan, and the request has none")
    return task.plan
