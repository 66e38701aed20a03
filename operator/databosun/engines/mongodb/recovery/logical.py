"""A chain becomes a running copy: a new server, the dump, the oplog of each backup to the point asked for, indexes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from databosun.api.drill import PointKind
from databosun.api.v1alpha1.backup import Position
from databosun.api.v1alpha1.reasons import Reason
from databosun.domain.errors import UserFault
from databosun.domain.wal import format_lsn
from databosun.engines.filelog import TIMELINE
from databosun.engines.mongodb.positions import format_ts
from databosun.engines.mongodb.recovery.copy import RunningCopy
from databosun.engines.mongodb.recovery.facts import Backup, read_chain
from databosun.engines.mongodb.recovery.load import Until, build_indexes, load, recovering, replay
from databosun.engines.mongodb.recovery.log import Followed, replay_log
from databosun.engines.mongodb.recovery.private import PrivateServer
from databosun.engines.mongodb.recovery.programs import Server, find_server
from databosun.engines.mongodb.replay.apply import Replay
from databosun.engines.mongodb.replay.entries import wall_of
from databosun.engines.mongodb.server import FERRETDB
from databosun.engines.recovery import Reached, RecoveryPlan, Source

DATA = "data"


@contextmanager
def recover_logical(plan: RecoveryPlan, source: Source) -> Iterator[RunningCopy]:
    """The copy runs while the block does."""
    backups = read_chain(plan.chain)
    base, last = backups[0], backups[-1]
    until = _point(plan, backups)
    program = find_server(base)
    seconds: dict[str, float] = {}
    waited, began = source.waited, time.monotonic()
    server = PrivateServer(program, plan.place / DATA)
    try:
        server.start(plan.pulse)
        seconds["start"] = time.monotonic() - began
        with server.client() as client:
            began = time.monotonic()
            catalogue = load(client, base, source, plan.pulse)
            loaded = time.monotonic()
            fetched = source.waited - waited
            work = Replay(client, catalogue, plan.pulse)
            replay(work, backups, source, until)
            followed = _follow_log(work, last, plan, until) if plan.log is not None else None
            replayed = time.monotonic()
            of_log = source.waited - waited - fetched
            build_indexes(client, catalogue, plan.pulse)
        seconds["fetch"] = fetched + of_log
        seconds["replay"] = replayed - loaded - of_log
        seconds["restore"] = loaded - began - fetched + time.monotonic() - replayed
        reached = Reached(_position(last, until, followed), until.last_wall)
        whole = not until.reached and plan.log is None
        yield RunningCopy(server, backups, reached, seconds, _notes(base, program), plan, whole=whole)
    finally:
        server.close()


def _point(plan: RecoveryPlan, backups: tuple[Backup, ...]) -> Until:
    """UserFault(PointNotCovered) where the chain does not hold the point that is asked for."""
    asked, last = plan.until, backups[-1]
    if plan.log is not None or asked.kind in (PointKind.NONE, PointKind.IMMEDIATE):
        return Until()
    if asked.kind is not PointKind.TIME or asked.time is None:
        message = (
            f"without a shipped oplog MongoDB is recovered to the end of a backup or to a time, not to {asked.kind}"
        )
        raise UserFault(Reason.POINT_NOT_COVERED, message)
    first, newest = backups[0].snapshot_time, last.snapshot_time
    if None in (backups[0].end, first, newest) or not _within(asked.time, first, newest):
        message = (
            f"{asked.time.isoformat()} is not within the chain of {last.id}, which can be recovered to any time from "
            f"a second after {first} to {newest}; choose a backup that ends behind that time"
        )
        raise UserFault(Reason.POINT_NOT_COVERED, message)
    return Until(asked.time)


def _follow_log(work: Replay, last: Backup, plan: RecoveryPlan, until: Until) -> Followed:
    with recovering("replaying the shipped oplog"):
        followed = replay_log(work, last, plan)
    if followed.last is not None:
        until.last, until.last_wall = followed.last["ts"], wall_of(followed.last)
    return followed


def _position(last: Backup, until: Until, followed: Followed | None) -> Position:
    """Where it ended: of the shipped log, also by the position in it."""
    found = Position(optime=format_ts(until.last)) if until.last else last.position
    if followed is None or followed.last is None:
        return found
    return found.model_copy(update={"lsn": format_lsn(followed.end), "timeline": TIMELINE})


def _within(at: datetime, first: datetime | None, newest: datetime | None) -> bool:
    """The end of a backup is known to the second: the Full ends in it, and the last Incremental holds all before it."""
    return first is not None and newest is not None and first + timedelta(seconds=1) <= at <= newest


def _notes(base: Backup, program: Server) -> tuple[str, ...]:
    notes = []
    if program.product == FERRETDB:
        notes.append(f"restored into {program.version}, as the backup was taken of FerretDB")
    if base.begin is None:
        notes.append("the backup was taken without an oplog: its collections are of several instants")
    return tuple(notes)
