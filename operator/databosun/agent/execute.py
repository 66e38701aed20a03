"""Runs the task of a request and turns whatever happens into a result, in one place."""

from __future__ import annotations

import errno
from collections.abc import Callable
from importlib import import_module

from databosun.agent.context import Context
from databosun.agent.notify import notify
from databosun.agent.reasons import AgentReason
from databosun.api.result import Outcome, Result
from databosun.domain.errors import DatabosunError, SafetyStop, UserFault, WorldFault


def task_of(name: str) -> Callable[[Context], Result]:
    """What does a task of `api/request.py`: `run` in the module of `agent/tasks` that is called as it is.

    Imported when asked for: a Job does one task, and how long it takes to start is part of every RTO.
    """
    run: Callable[[Context], Result] = import_module(f"databosun.agent.tasks.{name.replace('-', '_')}").run
    return run


def execute(ctx: Context) -> Result:
    """Do the task; never raises.

    A fault of the user or an interlock before anything was done is `Refused`, afterwards `Failed`; faults of the world
    and bugs are `Failed` and worth another try. Where the agent was told to stop, that is the reason, whatever broke.
    """
    try:
        demand_time(ctx)
        ctx.secrets.demand()
        result = task_of(ctx.request.job.task)(ctx)
    except DatabosunError as error:
        ctx.log.error("failed", reason=error.reason, message=error.message)
        result = _of_fault(ctx, error)
    except OSError as error:
        ctx.log.exception("failed", error)
        result = _of_fault(ctx, _of_system(ctx, error))
    except BaseException as error:  # whatever it is, the run ends with a result that says so
        ctx.log.exception("bug", error)
        message = f"a bug in the agent, {type(error).__name__}: {error}; its traceback is in the log of the Job"
        result = _of_fault(ctx, WorldFault(AgentReason.INTERNAL_ERROR, message))
    if ctx.stop.error and result.outcome is not Outcome.SUCCEEDED:
        result = stopped(ctx)
    result = notify(ctx, result)
    return result.model_copy(update={"attempt": ctx.request.attempt, "timings": dict(ctx.timings)})


def stopped(ctx: Context) -> Result:
    """The result of an agent that was told to stop."""
    error = ctx.stop.error
    reason = error.reason if error else AgentReason.INTERRUPTED
    return Result(
        outcome=Outcome.FAILED,
        reason=reason,
        message=error.message if error else "",
        retryable=reason == AgentReason.INTERRUPTED,
        attempt=ctx.request.attempt,
    )


def demand_time(ctx: Context) -> None:
    """UserFault outside notBefore and notAfter; WorldFault(DeadlineExceeded) where the run's time is over already."""
    request, now = ctx.request, ctx.clock()
    if request.not_before and now < request.not_before:
        message = f"the order is for no earlier than {request.not_before.isoformat()}; it is {now.isoformat()} here"
        raise UserFault(AgentReason.TOO_EARLY, message)
    if request.not_after and now > request.not_after:
        message = f"the order was for no later than {request.not_after.isoformat()}; it is {now.isoformat()} here"
        raise UserFault(AgentReason.TOO_LATE, message)
    if now >= request.deadline:
        message = f"the deadline {request.deadline.isoformat()} had passed when the agent started"
        ctx.stop.set(AgentReason.DEADLINE_EXCEEDED, message)
        ctx.stop.check()


def _of_fault(ctx: Context, error: DatabosunError) -> Result:
    refused = isinstance(error, UserFault | SafetyStop) and not ctx.started
    return Result(
        outcome=Outcome.REFUSED if refused else Outcome.FAILED,
        reason=error.reason,
        message=error.message,
        retryable=isinstance(error, WorldFault),
    )


def _of_system(ctx: Context, error: OSError) -> DatabosunError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = error.filename or ctx.paths.scratch
        message = f"no space left for {where}: enlarge podTemplate.scratch.size, or the volume behind its storage class"
        return UserFault(AgentReason.SCRATCH_FULL, message)
    message = f"the system refused {error.filename or 'a call'}: {error.strerror or error}"
    return WorldFault(AgentReason.INTERNAL_ERROR, message)
