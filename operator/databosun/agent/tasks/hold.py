"""Write or remove `hold.json` beside backups: while it is there, the delete task leaves them alone."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.agent.tasks.common import put_hold
from databosun.api.backuptasks import HoldTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import WorldFault
from databosun.storage.owner import demand_ownership
from databosun.storage.port import ObjectMissing


def run(ctx: Context) -> Result:
    """The ids that the store holds now, or has released; one without a manifest is no backup and is left out."""
    task = ctx.request.job
    if not isinstance(task, HoldTask):
        raise TypeError(task)
    with ctx.phase("storage"):
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
    ctx.started = True
    done = []
    with ctx.phase("hold"):
        for backup_id in task.ids:
            ctx.stop.check()
            if _apply(ctx, task, backup_id):
                done.append(backup_id)
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, held=done)


def _apply(ctx: Context, task: HoldTask, backup_id: str) -> bool:
    folder = ctx.layout.backup(task.database, backup_id)
    try:
        ctx.store.head(folder.manifest)
    except ObjectMissing:
        ctx.log.warning("not held", id=backup_id, message=f"there is no {folder.manifest}")
        return False
    if task.reason is not None:
        put_hold(ctx, folder, task.reason)
        return True
    for refused in ctx.store.delete([folder.hold]):
        raise WorldFault(AgentReason.NOT_DELETED, refused.message)
    return True
