"""From what was asked (a time, a position, the newest) to what recovery is told, judged by the log before it starts.

A point that the log does not cover is refused here with the nearest ones, never found out by a replay that ends early.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from databosun.agent.chain import Member
from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.archive import TimePair
from databosun.api.drill import PointKind, RecoveryPoint
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import SafetyStop, UserFault
from databosun.domain.wal import History, format_lsn, parse_lsn
from databosun.storage.port import ObjectMissing
from databosun.storage.walnames import WalFolder
from databosun.storage.walog import Coverage, WalLog, read_history, read_log
from databosun.storage.waltimes import latest_pair, newest_pair, pairs_around

_WITHOUT_LOG = frozenset({PointKind.NONE, PointKind.IMMEDIATE})


@dataclass(frozen=True, slots=True)
class Goal:
    """Where recovery is to end, and what it needs of the log. `covers`: the instant that the log is complete up to.
    `surely`: of an instant, a position up to which all lies before it."""

    until: RecoveryPoint
    timeline: int | None = None
    expected: str | None = None
    folder: WalFolder | None = None
    log: WalLog | None = None
    coverage: Coverage | None = None
    covers: datetime | None = None
    surely: str | None = None


@dataclass(frozen=True, slots=True)
class _Way:
    """The log as seen from one backup."""

    ctx: Context
    member: Member
    folder: WalFolder
    log: WalLog
    history: History
    begin: int
    backup_end: int


def resolve(ctx: Context, member: Member, until: RecoveryPoint, timeline: int | None) -> Goal:
    """Judge the log. UserFault(LogMissing, PointNotCovered), SafetyStop(LogGap)."""
    if until.kind in _WITHOUT_LOG:
        return Goal(until)
    capabilities = CAPABILITIES.get(ctx.request.database.engine if ctx.request.database else "")
    if until.time is not None and capabilities is not None and capabilities.log_in_chain:
        end = member.manifest.snapshot_time
        if member.manifest.position.start_lsn is None or (end is not None and until.time <= end):
            return Goal(until, covers=until.time)  # the engine has the log in the chain itself, and judges it
    way = _find_way(ctx, member, timeline)
    match until.kind:
        case PointKind.TIME if until.time is not None:
            return _to_time(way, until.time)
        case PointKind.LSN if until.lsn is not None:
            return _to_lsn(way, until.lsn)
        case _:
            return _to_end(way, until)


def _find_way(ctx: Context, member: Member, timeline: int | None) -> _Way:
    manifest = member.manifest
    position = manifest.position
    system, start, end = manifest.database.system_identifier, position.start_lsn, position.lsn
    if not system or not start or not end or not position.timeline:
        message = f"backup {manifest.id} ({manifest.method}) carries no position to replay a log from"
        raise UserFault(AgentReason.LOG_MISSING, message)
    folder = ctx.layout.wal(system, manifest.database.engine)
    try:
        log = read_log(ctx.store, folder, since=parse_lsn(start))
    except ObjectMissing as error:
        message = (
            f"{ctx.store.describe()} holds no log of server {system}, so backup {manifest.id} restores to its own end "
            "only: ask for no point in time, or turn on continuous in the policy"
        )
        raise UserFault(AgentReason.LOG_MISSING, message) from error
    history = _history(ctx, folder, log, position.timeline, parse_lsn(end), timeline)
    return _Way(ctx, member, folder, log, history, parse_lsn(start), parse_lsn(end))


def _history(ctx: Context, folder: WalFolder, log: WalLog, own: int, end: int, asked: int | None) -> History:
    """The pinned timeline: the one asked for, else the newest that goes on from the backup."""
    wanted = [asked] if asked else sorted({*log.timelines, own}, reverse=True)
    for timeline in wanted:
        try:
            history = read_history(ctx.store, folder, timeline)
        except ObjectMissing:
            continue
        branch = history.branch(own)
        if branch and (branch.end is None or end <= branch.end):
            return history
    message = (
        f"timeline {asked or own} does not go on from the end {format_lsn(end)} of the backup on timeline {own}: the "
        "server had left that branch before; choose a backup of the branch that you want"
    )
    raise UserFault(AgentReason.POINT_NOT_COVERED, message)


def _to_end(way: _Way, until: RecoveryPoint) -> Goal:
    coverage = _whole(way, None)
    _demand_end(way, coverage)
    expected = format_lsn(coverage.end) if until.kind is PointKind.LATEST else None
    newest = newest_pair(way.ctx.store, way.folder, way.log, way.history.timeline)
    return _goal(way, until, coverage, expected, newest.at if newest else None)


def _demand_end(way: _Way, coverage: Coverage) -> None:
    """SafetyStop(LogGap) where the log was known to go further than it does. What comes in meanwhile is no loss."""
    promised = latest_pair(way.ctx.store, way.folder, way.history.timeline)
    if promised is None or parse_lsn(promised.lsn) <= coverage.end:
        return
    again = read_log(way.ctx.store, way.folder, since=coverage.end).end_of(way.history.timeline)
    if again is None or again.lsn < parse_lsn(promised.lsn):
        message = (
            f"the log was stored up to {promised.lsn} ({promised.at.isoformat()}), and ends at "
            f"{format_lsn(coverage.end)} now: its newest objects are gone; restore to a point before, or without it"
        )
        raise SafetyStop(AgentReason.LOG_GAP, message)


def _to_lsn(way: _Way, lsn: str) -> Goal:
    try:
        wanted = parse_lsn(lsn)
    except ValueError as error:
        raise UserFault(AgentReason.POINT_NOT_COVERED, str(error)) from error
    _demand_behind_backup(way, wanted <= way.backup_end, lsn)
    last = way.log.end_along(way.history)
    if last is None or wanted > last.lsn:
        newest = format_lsn(last.lsn) if last else format_lsn(way.backup_end)
        message = f"the log ends at {newest}, before {lsn}; the nearest position that can be recovered is {newest}"
        raise UserFault(AgentReason.POINT_NOT_COVERED, message)
    coverage = _whole(way, wanted)
    if wanted == last.lsn:
        return _goal(way, RecoveryPoint(kind=PointKind.LATEST), coverage, lsn, None)
    return _goal(way, RecoveryPoint(kind=PointKind.LSN, lsn=lsn), coverage, lsn, None)


def _to_time(way: _Way, at: datetime) -> Goal:
    snapshot = way.member.manifest.snapshot_time
    if snapshot:
        _demand_behind_backup(way, at < snapshot, at.isoformat())
    before, after = _pairs(way, at)
    if after is None:
        newest = newest_pair(way.ctx.store, way.folder, way.log, way.history.timeline)
        if newest is None or at > newest.at:
            offer = newest.at.isoformat() if newest else f"the end of the backup itself, {snapshot}"
            message = f"the log is not known to reach {at.isoformat()}; the newest recoverable instant is {offer}"
            raise UserFault(AgentReason.POINT_NOT_COVERED, message)
        after = newest
    _demand_no_gap(way, at)
    if before is not None and (before.timeline, before.lsn) == (after.timeline, after.lsn):
        # Nothing was committed in between, so no commit would ever say that the time has come.
        return _to_lsn_or_end(way, before, at)
    until = RecoveryPoint(kind=PointKind.TIME, time=at)
    coverage = way.log.coverage(way.history, way.begin, parse_lsn(after.lsn))
    if not coverage.whole and before is not None and coverage.reached >= parse_lsn(before.lsn):
        # Pairs lie up to half a minute apart: the first commit after the instant may lie before the hole. If it does
        # not, recovery ends before its target, and says so: nothing vouches for what would come up then.
        return replace(_goal(way, until, coverage, None, at), surely=before.lsn)
    goal = _goal(way, until, _whole(way, parse_lsn(after.lsn)), after.lsn, at)
    return replace(goal, surely=before.lsn if before is not None else None)


def _to_lsn_or_end(way: _Way, pair: TimePair, at: datetime) -> Goal:
    if parse_lsn(pair.lsn) <= way.backup_end:
        return Goal(RecoveryPoint(kind=PointKind.NONE), covers=at)
    found = _to_lsn(way, pair.lsn)
    return Goal(found.until, found.timeline, found.expected, found.folder, found.log, found.coverage, at)


def _pairs(way: _Way, at: datetime) -> tuple[TimePair | None, TimePair | None]:
    """The pairs around an instant, on whichever timeline of the history it lies."""
    after: TimePair | None = None
    for branch in reversed(way.history.branches):
        before, found = pairs_around(way.ctx.store, way.folder, branch.timeline, at)
        if found is not None and (branch.end is None or parse_lsn(found.lsn) <= branch.end):
            after = found
        if before is not None and (branch.end is None or parse_lsn(before.lsn) <= branch.end):
            return before, after
    return None, after


def _whole(way: _Way, end: int | None) -> Coverage:
    """What the replay needs, without a hole. SafetyStop(LogGap)."""
    coverage = way.log.coverage(way.history, way.begin, end)
    if not coverage.whole:
        gaps = [f"{gap.begin_time or gap.begin} to {gap.end_time}" for gap in way.log.gaps]
        known = f"; known gaps: {', '.join(gaps[:5])}" if gaps else ""
        message = (
            f"the log has a hole: segment {coverage.hole} is missing or cut between {format_lsn(way.begin)} and "
            f"{format_lsn(coverage.end)}; what can be recovered from backup {way.member.manifest.id} ends at "
            f"{format_lsn(coverage.reached)}{known}"
        )
        raise SafetyStop(AgentReason.LOG_GAP, message)
    return coverage


def _demand_no_gap(way: _Way, at: datetime) -> None:
    for gap in way.log.gaps:
        behind = parse_lsn(gap.end) > way.backup_end
        if behind and at <= gap.end_time and (gap.begin_time is None or at > gap.begin_time):
            begin = gap.begin_time.isoformat() if gap.begin_time else gap.begin
            message = (
                f"{at.isoformat()} lies in a gap of the log ({gap.reason}); the nearest points: {begin} before it, and "
                f"after {gap.end_time.isoformat()} from a backup that was taken behind it"
            )
            raise SafetyStop(AgentReason.LOG_GAP, message)


def _demand_behind_backup(way: _Way, before: object, what: str) -> None:
    if before:
        manifest = way.member.manifest
        message = (
            f"{what} lies before the end of backup {manifest.id} ({manifest.snapshot_time}, "
            f"{format_lsn(way.backup_end)}): choose an older backup"
        )
        raise UserFault(AgentReason.POINT_NOT_COVERED, message)


def _goal(way: _Way, until: RecoveryPoint, coverage: Coverage, expected: str | None, covers: datetime | None) -> Goal:
    return Goal(until, way.history.timeline, expected, way.folder, way.log, coverage, covers)
