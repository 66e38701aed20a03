"""Look at a database: reachable, version, and what is missing for the methods that policies ask for."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.request import ProbeTask
from databosun.api.result import Outcome, Result


def run(ctx: Context) -> Result:
    """What the engine found; findings are no failure of the probe."""
    task = ctx.request.job
    if not isinstance(task, ProbeTask):
        raise TypeError(task)
    with ctx.phase("probe"):
        found = ctx.engine.probe(ctx.target, task.methods, incremental=task.incremental)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, probe=found)
