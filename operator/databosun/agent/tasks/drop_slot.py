"""Remove the replication slot of an archiver that will not come back, so that the server keeps no log for it."""

from __future__ import annotations

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import DropSlotTask
from databosun.api.result import Outcome, Result
from databosun.engines.registry import load_archiver


def run(ctx: Context) -> Result:
    """Says from which hosts a slot was removed; none is no failure."""
    task = ctx.request.job
    if not isinstance(task, DropSlotTask):
        raise TypeError(task)
    archiver = load_archiver(ctx.database.engine)
    with ctx.phase("drop-slot"):
        hosts = archiver.drop_slot(ctx.target, ctx.storage.cluster_id, ctx.storage.namespace, task.system_identifier)
    message = f"removed from {', '.join(hosts)}" if hosts else "no host had it"
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, message=message)
