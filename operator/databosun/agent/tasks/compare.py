"""Compare a database with a private copy of it from the past. Both are only read; counts leave them, no row does."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from databosun.agent.backups import choose
from databosun.agent.context import Context
from databosun.agent.readable import demand_readable
from databosun.agent.reasons import AgentReason
from databosun.agent.recovering import Wanted, recovering
from databosun.api.comparison import Comparison
from databosun.api.drill import PointKind
from databosun.api.restoretasks import Compare
from databosun.domain.comparison import summarise
from databosun.domain.errors import UserFault
from databosun.engines.comparing import CompareScope, Comparing


def compare(ctx: Context, asked: Compare) -> Comparison:
    """What differs. The copy is gone afterwards."""
    engine = ctx.engine
    if not isinstance(engine, Comparing):
        message = f"this release cannot compare databases of engine {ctx.database.engine}"
        raise UserFault(AgentReason.BAD_REQUEST, message)
    with ctx.phase("select"):
        chosen = choose(ctx, asked.backup)
        demand_readable(ctx, chosen.members)
    place = Path(tempfile.mkdtemp(prefix="compare-", dir=ctx.paths.scratch))
    wanted = Wanted(chosen, asked.until, None, place, verify=False, assumed_at=ctx.clock())
    scope = CompareScope(asked.database, tuple(asked.tables), asked.statement_seconds)
    try:
        with ctx.phase("restore"), recovering(ctx, wanted) as (copy, goal), ctx.phase("compare"):
            ctx.progress.stage("comparing")
            found = engine.compare(ctx.target, copy, scope, ctx.stop.check)
            counts, tables = summarise(found.tables)
            at = (
                goal.until.time
                if goal.until.kind is PointKind.TIME
                else copy.reached.last_commit or chosen.last.manifest.snapshot_time
            )
            return Comparison(
                backup=asked.backup.id,
                copy_at=at,
                live_at=found.at,
                host=found.host,
                reached=copy.reached.position,
                counts=counts,
                tables=tables,
                notes=[*copy.notes, *found.notes] or None,
            )
    finally:
        with suppress(OSError):
            shutil.rmtree(place)
