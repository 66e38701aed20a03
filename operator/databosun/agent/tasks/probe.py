"""Look at a database: reachable, version, and what is missing for the methods that policies ask for."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.request import ProbeTask
from databosun.api.result import Outcome, Result
from databosun.engines.registry import load_archiver


def run(ctx: Context) -> Result:
    """What the engine found; findings are no failure of the probe."""
    task = ctx.request.job
    if not isinstance(task, ProbeTask):
        raise TypeError(task)
    with ctx.phase("probe"):
        found = ctx.engine.probe(ctx.target, task.methods, incremental=task.incremental)
        if task.continuous:
            more = load_archiver(ctx.database.engine).preflight(ctx.target, allow_unbounded=task.allow_unbounded_slot)
            found = found.model_copy(update={"findings": [*found.findings, *more]})
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, probe=found)
