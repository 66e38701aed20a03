"""What restores and drills share: judge the log, demand room, recover, with the log fetched ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from databosun.agent.backups import Chosen, identities_of, source_of
from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.agent.until import Goal, resolve
from databosun.agent.walfetch import WalFetcher
from databosun.agent.walsupply import WalSupply
from databosun.api.drill import PointKind, RecoveryPoint
from databosun.api.quantities import humanize_bytes
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.engines.recovery import Copy, RecoveryPlan, Source

_LOG_ROOM = 5 * 1024**3  # what the server keeps of a log at a time (max_wal_size and a bit), and the spool


@dataclass(frozen=True, slots=True)
class Wanted:
    """`place`: an empty folder. `verify`: have the engine check the files before it recovers."""

    chosen: Chosen
    until: RecoveryPoint
    timeline: int | None
    place: Path
    verify: bool
    assumed_at: datetime


@contextmanager
def recovering(ctx: Context, wanted: Wanted, *, source: Source | None = None) -> Iterator[tuple[Copy, Goal]]:
    """The copy, running while the block does. What does not fit is refused before anything is fetched."""
    # A cloud that keeps the backups keeps the log too, and judges it by itself.
    managed = ctx.managed is not None
    goal = Goal(wanted.until) if managed else resolve(ctx, wanted.chosen.last, wanted.until, wanted.timeline)
    chain = tuple(member.manifest.dump() for member in wanted.chosen.members)
    demand_room(ctx, wanted.place, ctx.engine.room_for(chain) + _log_room(ctx, goal))
    ctx.started = True
    with ExitStack() as stack:
        supply = stack.enter_context(_supply(ctx, goal, wanted.place / "log")) if goal.coverage else None
        instant = goal.until.time if goal.until.kind is PointKind.TIME else wanted.until.time
        plan = RecoveryPlan(
            chain=chain,
            place=wanted.place,
            until=goal.until,
            deadline=ctx.request.deadline,
            timeline=goal.timeline,
            log=supply,
            expected=goal.expected,
            surely=goal.surely,
            verify=wanted.verify,
            assumed_at=instant or wanted.assumed_at,
            pulse=ctx.stop.check,
        )
        copy = stack.enter_context(ctx.engine.recover(plan, source or source_of(ctx, wanted.chosen)))
        stack.callback(ctx.stop.subscribe(lambda _: copy.kill()))
        yield copy, goal


def demand_room(ctx: Context, place: Path, needed: int) -> None:
    """UserFault(ScratchTooSmall) with figures: a full disk would take others down with it."""
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    on_scratch = place.is_relative_to(ctx.paths.scratch)
    if on_scratch and ctx.request.scratch_bytes is not None:
        free = min(free, ctx.request.scratch_bytes)
    if free < needed:
        advice = "raise podTemplate.scratch.size" if on_scratch else "use a larger volume"
        message = (
            f"the restore needs up to {humanize_bytes(needed)} ({needed} bytes) at {place}, and {humanize_bytes(free)} "
            f"({free} bytes) are free; {advice}"
        )
        raise UserFault(AgentReason.SCRATCH_TOO_SMALL, message)


def _log_room(ctx: Context, goal: Goal) -> int:
    if goal.coverage is None or goal.log is None:
        return 0
    if not goal.log.description.files:
        return min(_LOG_ROOM, len(goal.coverage.segments) * goal.log.segment_bytes)
    whole = sum(one.length for one in goal.coverage.segments)
    known = CAPABILITIES.get(ctx.request.database.engine if ctx.request.database else "")
    # Kept as it is, and again in the data that comes of it.
    return 2 * whole if known is not None and known.log_kept else min(_LOG_ROOM, whole)


def _supply(ctx: Context, goal: Goal, spool: Path) -> WalSupply:
    if goal.folder is None or goal.log is None or goal.coverage is None:
        msg = f"a goal with a coverage has a log: {goal}"
        raise TypeError(msg)
    fetcher = WalFetcher(ctx.store, ctx.children, identities_of(ctx))
    return WalSupply(fetcher, goal.folder, goal.log, goal.coverage.segments, spool, ctx.stop.check)
