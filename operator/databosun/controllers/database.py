"""Gather what decides over one Database: its timetables, a look at it, and the truth about its recovery point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import format_duration
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import DatabaseStatus, EffectiveObjectives, FailedOver, PolicyCursor
from databosun.api.v1alpha1.recovery import Recovery
from databosun.controllers import archiving as archivist
from databosun.controllers import logexpiry, parting, proving
from databosun.controllers import seen as read
from databosun.controllers.answered import Answered
from databosun.controllers.apply import Applier
from databosun.controllers.archiving import Archiving
from databosun.controllers.claims import asked_of
from databosun.controllers.context import Context
from databosun.controllers.covering import Covered, Covering, covered
from databosun.controllers.failedover import last_failover
from databosun.controllers.history import (
    History,
    as_success,
    backups_of,
    due_of,
    gather_history,
    last_backup,
    lasting_server,
    of_server,
    server_of,
    without,
)
from databosun.controllers.policies import still_so
from databosun.controllers.probing import Probed, Wish, probe
from databosun.controllers.proving import Drilling
from databosun.controllers.seen import Meta, SeenDatabase
from databosun.controllers.slots import reconcile_going
from databosun.controllers.strays import let_go_of_pods
from databosun.controllers.tiering import archived_until
from databosun.domain.archiving import Claim
from databosun.domain.conditions import Wanted, find, kstatus, merge_conditions
from databosun.domain.database import Timetabled
from databosun.domain.errors import UserFault
from databosun.domain.plan import FINALIZER_INSTANCES, Plan, PostEvent
from databosun.domain.protection import ProtectionFacts, Success, decide_protection
from databosun.domain.recovery import calm, calm_archiver, decide_recovery, with_archived, with_managed
from databosun.domain.schedule import interval
from databosun.domain.tiers import Objectives, not_understood, objective_out_of_reach, understood_objectives
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import BACKUP_POLICIES, DATABASES, RESTORE_DRILLS, Resource
from databosun.runtime.queue import Key

_PROBE_CONDITIONS = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.REACHABLE)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found, beyond the Database itself."""

    policies: Covered
    history: History
    timetables: tuple[Timetabled, ...]
    newest: Success | None
    recovery: Recovery | None
    drilling: Drilling
    failed_over: FailedOver | None
    probed: Probed
    claim: Claim | None
    archiving: Archiving
    health: Wanted | None
    gap: str | None
    health_until: datetime | None


class DatabaseController:
    """Creates the Backups that are due and keeps Database.status true."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, DATABASES)
        self._answered = Answered()

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one database."""
        body = self._context.cache.get(key) or await self._context.kube.get(DATABASES, key.namespace, key.name)
        if body is None:
            self._context.observe("Database", key, {})
            self._answered.forget(key)
            let_go_of_pods(self._context, key)
            return None
        self._context.observe("Database", key, body)
        if "deletionTimestamp" in body["metadata"]:
            if FINALIZER_INSTANCES in body["metadata"].get("finalizers", ()):
                return await parting.part(self._context, self._applier, key, body)
            return await reconcile_going(self._context, self._applier, key, body)
        seen = self._answered.over(key, read.database(body))
        now = self._context.clock.now()
        looked = await self._look(key, seen, now)
        create = [
            action
            for covering, timetable in zip(looked.policies.usable, looked.timetables, strict=True)
            for action in backups_of(self._context, seen, covering, timetable)
        ]
        create += looked.drilling.create
        archiving = looked.archiving
        if (create or archiving.order) and not await still_so(self._context, _read(seen, looked)):
            return now
        if create and not archiving.order and self._answered.may_wait(create):
            await self._applier.apply(seen.meta, seen.raw_status, Plan(before=tuple(create)))
            self._answered.note(key, seen, _cursors(seen.status, looked))
            self._context.hint(key)
            return None
        meta, looked = await self._order_archiver(seen, looked)
        status, wake = _status(seen, looked, now)
        plan = Plan(
            before=(*archiving.before, *create, *looked.probed.plan.before),
            status=status,
            after=(*looked.probed.plan.after, *_events(seen, looked), *archiving.after, *parting.bind(seen)),
        )
        await self._applier.apply(meta, seen.raw_status, plan)
        self._answered.forget(key)
        wakes = [
            wake,
            archiving.wake_at,
            looked.health_until,
            looked.probed.wake_at,
            *looked.drilling.wakes,
            *(one.wake_at for one in looked.timetables),
        ]
        return min((at for at in wakes if at is not None), default=None)

    async def _look(self, key: Key, seen: SeenDatabase, now: datetime) -> Looked:
        context, policies = self._context, covered(self._context, seen)
        asked = asked_of(seen, policies)
        claim = asked.served
        wish = Wish([one.seen for one in policies.usable], claim.continuous if claim else None)
        probed = await probe(context, key, seen, wish, now)
        archiving = await archivist.look(context, key, seen, policies, asked)
        if archiving.lead:
            expiring = await logexpiry.look(context, key, seen, asked, archiving.archiver)
            archiving = archivist.with_expiry(archiving, expiring)
        else:
            left = await logexpiry.let_go(context, key, seen)
            archiving = replace(archiving, after=(*archiving.after, *left))
        managed = probed.update.get("managed", seen.status.managed)
        gone = frozenset(managed.missing) if managed is not None else frozenset()
        until, before = archived_until(context, seen), seen.status.recovery
        moved = until is not None and (before is None or before.archived_until is None or until > before.archived_until)
        looked = probed.update.get("system_identifier", seen.status.system_identifier)
        again = archiving.again or managed != seen.status.managed or moved or looked != seen.status.system_identifier
        history = without(await gather_history(context, seen, again=again), gone)
        server = lasting_server(seen, history, probed.update.get("system_identifier"))
        history = of_server(history, server)
        recovery = decide_recovery(seen.status.recovery, history.successes, archiving.reach, now)
        recovery = with_managed(recovery, managed, now)
        recovery = with_archived(recovery, before, history.successes, until)
        health, gap, until = archivist.health(archiving, recovery, now)
        timetables = tuple(
            due_of(seen, one, history, now, archivist.cause(archiving, asked, one, recovery)) for one in policies.usable
        )
        newest = _newest(seen.status, history)
        objectives, _ = understood_objectives(seen.spec.tier, seen.spec.objectives)
        drilling = await proving.look(context, seen, last_backup(newest), objectives, now, server=server)
        failed_over = await last_failover(context, seen)
        return Looked(
            policies,
            history,
            timetables,
            newest,
            recovery,
            drilling,
            failed_over,
            probed,
            claim,
            archiving,
            health,
            gap,
            until,
        )

    async def _order_archiver(self, seen: SeenDatabase, looked: Looked) -> tuple[Meta, Looked]:
        """Have the archiver as asked. Where the API server refuses it, that is its health; backups go on."""
        meta = seen.meta
        for action in looked.archiving.order:
            try:
                meta = await self._applier.apply(meta, seen.raw_status, Plan(before=(action,)))
            except (UserFault, QuotaExceeded) as fault:
                refused = Wanted(ConditionType.CONTINUOUS_HEALTHY, False, fault.reason, fault.message)
                return meta, replace(looked, health=refused)
        return meta, looked


def _read(seen: SeenDatabase, looked: Looked) -> list[tuple[Resource, Meta]]:
    """All that decided."""
    return [
        (DATABASES, seen.meta),
        *((BACKUP_POLICIES, covering.seen.meta) for covering in looked.policies.usable),
        *((RESTORE_DRILLS, meta) for meta in looked.drilling.policies),
    ]


def _status(seen: SeenDatabase, looked: Looked, now: datetime) -> tuple[dict[str, Any], datetime | None]:
    old, probed = seen.status, looked.probed
    objectives, wrong = understood_objectives(seen.spec.tier, seen.spec.objectives)
    verdicts = decide_protection(_protection(looked, objectives, now), now)
    wanted = [
        *(probed.conditions if probed.conditions is not None else _as_wanted(old)),
        *verdicts.conditions,
        *([looked.health] if looked.health is not None else []),
        *looked.drilling.conditions,
    ]
    wanted = wanted if wrong is None else not_understood(wanted, wrong)
    conditions = merge_conditions(old.conditions, wanted, seen.meta.generation, now)
    newest = looked.newest
    flipped = {one.type: one.status for one in conditions} != {one.type: one.status for one in old.conditions}
    recovery, moved = calm(old.recovery, looked.recovery, objectives.rpo, flipped=flipped)
    update: dict[str, Any] = {
        "observed_generation": seen.meta.generation,
        "conditions": conditions,
        "objectives": EffectiveObjectives(
            tier=seen.spec.tier, rto=format_duration(objectives.rto), rpo=format_duration(objectives.rpo)
        ),
        "recovery": recovery,
        "archiver": calm_archiver(old.archiver, looked.archiving.archiver, moved=moved),
        "log_preflight": old.log_preflight if looked.claim is not None else None,
        "policies": _cursors(old, looked),
        "last_backup": last_backup(newest),
        "last_failover": looked.failed_over,
        **server_of(old, newest),
        **looked.drilling.update,
        **probed.update,
    }
    return old.model_copy(update=update).dump(), verdicts.wake_at


def _cursors(old: DatabaseStatus, looked: Looked) -> list[PolicyCursor]:
    """How far each policy is; where one had come to stays while it is not usable, for when it is put right."""
    kept = [entry for entry in old.policies if entry.uid in looked.policies.unusable]
    return [*(timetable.entry for timetable in looked.timetables), *kept]


def _protection(looked: Looked, objectives: Objectives, now: datetime) -> ProtectionFacts:
    policies = looked.policies
    shortest = _shortest_interval([one for one in policies.usable if not one.seen.spec.suspend], now)
    lag = looked.claim.continuous.max_lag if looked.claim is not None else None
    return ProtectionFacts(
        policies=policies.all,
        broken=policies.broken,
        newest=looked.newest,
        interval=shortest,
        rpo=objectives.rpo,
        unreachable_objective=objective_out_of_reach(shortest, objectives.rpo, lag) if shortest is not None else None,
        latest=looked.recovery.latest if looked.recovery is not None else None,
        gap=looked.gap,
    )


def _events(seen: SeenDatabase, looked: Looked) -> tuple[PostEvent, ...]:
    """A log that stops being shipped says so once, when it stops, and when it goes on."""
    health = looked.health
    if health is None or health.status is None:
        return ()
    before = find(seen.status.conditions, ConditionType.CONTINUOUS_HEALTHY)
    was = before.status if before is not None else "Unknown"
    if health.status is False and (was != "False" or (before is not None and before.reason != health.reason)):
        return (PostEvent(health.reason, health.message, warning=True),)
    return (PostEvent(health.reason, health.message),) if health.status and was == "False" else ()


def _newest(old: DatabaseStatus, history: History) -> Success | None:
    if history.successes is None:
        return as_success(old.last_backup) if old.last_backup else None
    return history.successes[-1] if history.successes else None


def _shortest_interval(covering: Sequence[Covering], now: datetime) -> timedelta | None:
    spans = (interval(row.cron, one.effective.zone, now) for one in covering for row in one.effective.schedules)
    return min(spans, default=None)


def _as_wanted(status: DatabaseStatus) -> list[Wanted]:
    """The conditions that a look at the database wrote, as they stand."""
    if not status.conditions:
        message = "the database has not been looked at yet"
        return list(kstatus(ready=False, reason="Probing", message=message, reconciling=message))
    states = {"True": True, "False": False}
    return [
        Wanted(kind, states.get(one.status), one.reason, one.message)
        for one in status.conditions
        for kind in _PROBE_CONDITIONS
        if one.type == kind
    ]
