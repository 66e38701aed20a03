"""Report a run from its durable object, where pod or log is gone before anybody read them."""

from __future__ import annotations

from databosun.agent.compose import result_of
from databosun.agent.context import Context
from databosun.agent.evidence import read_drill, read_restore
from databosun.agent.exports import read_export
from databosun.agent.failovers.evidence import read_failover
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks.common import read_durable
from databosun.agent.tasks.erase import read_erasure
from databosun.agent.tasks.joint import read_joint
from databosun.agent.tasks.lifecycle import read_lifecycle
from databosun.api.backuptasks import RecoverTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import WorldFault


def run(ctx: Context) -> Result:
    """The run's own result, from its manifest. WorldFault(NoResult) where there is none."""
    task = ctx.request.job
    if not isinstance(task, RecoverTask):
        raise TypeError(task)
    with ctx.phase("recover"):
        if task.durable != "manifest":
            return _of_record(ctx, task)
        done = read_durable(ctx, task.database, task.id)
    if done is None:
        where = f"{ctx.layout.backup(task.database, task.id).manifest} in {ctx.store.describe()}"
        raise WorldFault(AgentReason.NO_RESULT, f"there is no {where}: the run did not finish")
    result = result_of(done.manifest, done.sha256, ctx.store.url(done.folder.root))
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, backup=result)


def _of_record(ctx: Context, task: RecoverTask) -> Result:
    """A drill's result from its evidence, a restore's from its record."""
    joint = read_joint(ctx, task.id) if task.durable == "joint" else None
    drill = read_drill(ctx, task.database, task.id) if task.durable == "evidence" else None
    restore = read_restore(ctx, task.database, task.id) if task.durable == "result" else None
    failover = read_failover(ctx, task.database, task.id) if task.durable == "failover" else None
    lifecycle = read_lifecycle(ctx, task.database, task.id) if task.durable == "lifecycle" else None
    export = read_export(ctx, task.database, task.id) if task.durable == "export" else None
    erasure = read_erasure(ctx, task.database, task.id) if task.durable == "erasure" else None
    if all(found is None for found in (drill, restore, joint, failover, lifecycle, erasure, export)):
        message = f"there is no {task.durable} of run {task.id} in {ctx.store.describe()}: the run did not finish"
        raise WorldFault(AgentReason.NO_RESULT, message)
    return Result(
        outcome=Outcome.SUCCEEDED,
        reason=AgentReason.SUCCEEDED,
        drill=drill,
        restore=restore,
        joint=joint,
        failover=failover,
        lifecycle=lifecycle,
        erasure=erasure,
        dataexport=export,
    )
