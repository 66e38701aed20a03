"""What failover tests say of one database."""

from __future__ import annotations

from databosun.api.v1alpha1.databasestatus import FailedOver
from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase
from databosun.domain.failoverstatus import failed_over
from databosun.kube.resources import FAILOVER_TEST_RUNS


async def last_failover(context: Context, seen: SeenDatabase) -> FailedOver | None:
    """The newest test that moved the primary. A run is read only where the index knows of a newer one; one that is gone
    is remembered."""
    known = seen.status.last_failover
    for run in reversed(context.finished_of(FAILOVER_TEST_RUNS.kind).of_database(seen.meta.uid)):
        if known is not None and run.name == known.run:
            return known
        if run.outcome == FailoverPhase.REFUSED:
            continue
        body = await context.kube.get(FAILOVER_TEST_RUNS, run.namespace, run.name)
        found = failed_over(run.name, read.failover_run(body).status) if body is not None else None
        if found is not None:
            return found if known is None or known.at <= found.at else known
    return known
