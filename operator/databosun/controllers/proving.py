"""Drills of one database: which runs are due, and what those that ended say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.drill import Level, PointKind
from databosun.api.v1alpha1.databasestatus import DrillCursor, LastBackup, LastProven
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.history import is_of
from databosun.controllers.matching import drill_keys_of, drills
from databosun.controllers.seen import Meta, SeenDatabase, SeenDrill
from databosun.controllers.timetables import policy_facts, runs_on, timetable
from databosun.domain.conditions import Wanted
from databosun.domain.database import PastRun, Timetabled
from databosun.domain.drillpolicy import (
    EffectiveDrill,
    TriggerFacts,
    cause_of,
    create_drill_run,
    cursor_of,
    effective_drill,
)
from databosun.domain.drillrun import proof_of
from databosun.domain.errors import UserFault
from databosun.domain.plan import CreateRun
from databosun.domain.proof import FailedDrill, ProofFacts, decide_proof, estimate
from databosun.domain.tiers import Objectives
from databosun.kube.resources import RESTORE_DRILL_RUNS
from databosun.runtime.cache import FinishedRun

RUN = "RestoreDrillRun"


@dataclass(frozen=True, slots=True)
class Drilling:
    """What drills make of one look at a database."""

    create: tuple[CreateRun, ...]
    update: dict[str, Any]
    conditions: tuple[Wanted, ...]
    wakes: tuple[datetime, ...]
    policies: tuple[Meta, ...]


async def look(
    context: Context,
    seen: SeenDatabase,
    newest: LastBackup | None,
    objectives: Objectives,
    now: datetime,
    *,
    server: str | None = None,
) -> Drilling:
    """Decide over the drills of one database. `server`: which one it is; a proof of another proves nothing of it."""
    covering = _covering(context, seen)
    finished = context.finished_of(RUN).of_database(seen.meta.uid)
    runs = runs_on(context, seen.meta, RUN, read.drill_run)
    create: list[CreateRun] = []
    cursors, wakes = [], []
    for drill, effective in covering:
        if drill.spec.order is not None:
            cursors.append(_of_joint(drill))
            continue
        timetabled, answered = _timetable(context, seen, drill, effective, runs, newest, now)
        before = next((one for one in seen.status.drills if one.uid == drill.meta.uid), None)
        create += [
            create_drill_run(seen.meta.named, drill.meta.named, drill.spec, order, before) for order in timetabled.start
        ]
        version = newest.engine_version if newest else None
        cursors.append(cursor_of(timetabled.entry, before, version, len(timetabled.start), answered=answered))
        wakes.append(timetabled.wake_at)
    last, last_at = await _last_proven(context, seen, finished, server)
    usual = effective_drill(_ANY, seen.spec.tier).interval(now)
    spans = [effective.interval(now) for drill, effective in covering if not drill.spec.suspend]
    facts = ProofFacts(
        last=last,
        last_at=last_at,
        failed=_failed(finished),
        interval=min(spans, default=None),
        usual=usual,
        rto=objectives.rto,
        covered_since=min(
            (max(drill.meta.created, seen.meta.created) for drill, _ in covering if not drill.spec.suspend),
            default=None,
        ),
    )
    conditions, wake_at = decide_proof(facts, now)
    return Drilling(
        create=tuple(create),
        update={"drills": cursors, "last_proven": last, "estimate": estimate(last, newest, shipped=_ships_log(seen))},
        conditions=conditions,
        wakes=tuple(at for at in (*wakes, wake_at) if at is not None),
        policies=tuple(drill.meta for drill, _ in covering),
    )


_ANY = RestoreDrillSpec.model_validate({"databaseRef": {"name": "any"}})


def _covering(context: Context, seen: SeenDatabase) -> list[tuple[SeenDrill, EffectiveDrill]]:
    found = []
    for key in drill_keys_of(context, seen.meta.namespace, seen.meta.name):
        body = context.cache.get(key)
        try:
            drill = read.drill(body) if body is not None else None
            if drill is not None and drills(context, drill, seen) and not drill.meta.deleting:
                found.append((drill, effective_drill(drill.spec, seen.spec.tier)))
        except UserFault:
            continue  # said on the drill itself
    return found


def _ships_log(seen: SeenDatabase) -> bool:
    return seen.status.recovery is not None and seen.status.recovery.continuous


def _of_joint(drill: SeenDrill) -> DrillCursor:
    """What stands for a drill of many databases, whose runs the drill itself starts."""
    suspended, upcoming = drill.spec.suspend, drill.status.next_schedule_time
    return DrillCursor(name=drill.meta.name, uid=drill.meta.uid, suspended=suspended, next=upcoming)


def _timetable(
    context: Context,
    seen: SeenDatabase,
    drill: SeenDrill,
    effective: EffectiveDrill,
    all_runs: Sequence[tuple[str, PastRun]],
    newest: LastBackup | None,
    now: datetime,
) -> tuple[Timetabled, bool]:
    """What is due, and whether what asked for a drill beside the schedule has been answered."""
    entry = next((one for one in seen.status.drills if one.uid == drill.meta.uid), None)
    runs = tuple(run for uid, run in all_runs if uid == drill.meta.uid)
    since = max((run.created for run in runs), default=drill.meta.created)
    backups = [
        one.name
        for one in context.finished.of_database(seen.meta.uid)
        if one.succeeded and not one.deleting and one.created > since
    ]
    cause = cause_of(
        drill.spec, TriggerFacts(backups, newest.engine_version if newest else None, entry, seen.spec.engine)
    )
    timetabled = timetable(seen.meta, policy_facts(drill, effective, cause=cause), entry, runs, now)
    busy = any(run.active for run in runs)
    return timetabled, bool(timetabled.start) or (cause is not None and not busy and not drill.spec.suspend)


def _failed(finished: Sequence[FinishedRun]) -> FailedDrill | None:
    found = [run for run in finished if run.outcome == "Failed"]
    return FailedDrill(found[-1].name, found[-1].created) if found else None


async def _last_proven(
    context: Context, seen: SeenDatabase, finished: Sequence[FinishedRun], server: str | None
) -> tuple[LastProven | None, datetime | None]:
    """The newest proof, and when its drill began; the record is read only where the index knows of a newer one."""
    known = seen.status.last_proven
    known = known if known is not None and is_of(known.system_identifier, server) else None
    proven = [run for run in finished if run.proven]
    if not proven:
        return known, known.at if known else None
    newest = proven[-1]
    if known is not None and known.run == newest.name:
        return known, newest.created
    body = await context.kube.get(RESTORE_DRILL_RUNS, newest.namespace, newest.name)
    if body is None:
        return known, known.at if known else None
    found = _as_proof(read.drill_run(body))
    if found is None or not is_of(found.system_identifier, server) or (known is not None and known.at > found.at):
        # The known one is newer, and its object is gone: trimmed, or deleted by a person.
        return known, known.at if known else None
    return found, newest.created


def _as_proof(run: read.SeenDrillRun) -> LastProven | None:
    status, proof = run.status, proof_of(run.meta.name, run.status)
    if proof is None:
        return None
    return LastProven(
        run=run.meta.name,
        at=proof.at,
        level=str(status.level_reached or Level.RESTORE),
        rto_seconds=status.rto.seconds if status.rto else None,
        rto=status.rto.took if status.rto else None,
        rpo_seconds=status.rpo.seconds if status.rpo else None,
        backup=status.backup.name if status.backup else None,
        restore_bytes=status.backup.restore_bytes if status.backup else None,
        replayed=status.until is not None and status.until.kind is not PointKind.NONE,
        passed=str(status.phase) == "Passed",
        system_identifier=status.backup.system_identifier if status.backup else None,
    )
