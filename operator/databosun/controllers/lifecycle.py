"""Gather what decides over one LifecyclePolicy: its timetable, who approved its plan, and what its runs came to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from databosun.api.lifecycle import ActionType, LifecycleMode, LifecycleOrder
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.consent import consent_to_rules, held_as_a_whole
from databosun.controllers.facts import cached_storage
from databosun.controllers.policies import PolicyKind
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy
from databosun.controllers.tiering import demand_served
from databosun.controllers.timetables import ended, policy_facts, timetable, under_way_of
from databosun.domain.database import Timetabled
from databosun.domain.drillpolicy import cursor_of
from databosun.domain.errors import UserFault
from databosun.domain.lifecyclebacklog import EndedRun
from databosun.domain.lifecycleorder import effective_lifecycle, order_digest, order_of
from databosun.domain.lifecyclepolicy import (
    PastLifecycleRun,
    PolicySummaryFacts,
    beyond_history,
    create_lifecycle_run,
    decide_lifecycle_policy,
    mode_of_next,
)
from databosun.domain.plan import ANNOTATION_RUN_NOW, DeleteObject, Plan
from databosun.domain.whereabouts import moved, whereabouts
from databosun.kube.resources import DATABASES, LIFECYCLE_POLICIES, LIFECYCLE_RUNS
from databosun.runtime.queue import Key

RUN = LIFECYCLE_RUNS.kind


class LifecyclePolicyController(PolicyKind[SeenLifecyclePolicy]):
    """Says how a policy fares, starts its runs, and lets go of old ones; their audits stay."""

    resource = LIFECYCLE_POLICIES
    runs = LIFECYCLE_RUNS

    def parse(self, body: Mapping[str, Any]) -> SeenLifecyclePolicy:
        return read.lifecycle_policy(body)

    async def look(self, key: Key, seen: SeenLifecyclePolicy, now: datetime) -> datetime | None:
        database = self._database(seen)
        fault = self._fault(seen, database)
        timetabled = None if fault else self._timetable(seen, now)
        if timetabled is not None and timetabled.start and not await self.still_so(seen):
            return now
        facts = await self._facts(seen, database, fault, timetabled, now)
        stops = facts.held is not None and any(one.action.type is ActionType.ENSURE_TTL for one in seen.spec.rules)
        mode = mode_of_next(seen.spec.mode, facts.consent, stops=stops)
        uid = database.meta.uid if database else None
        plan = Plan(
            before=tuple(
                create_lifecycle_run(seen.meta.named, uid, order, mode)
                for order in (timetabled.start if timetabled else ())
            ),
            status=decide_lifecycle_policy(facts, now),
            after=self._beyond_history(seen, facts.counted),
        )
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        wakes = [timetabled.wake_at if timetabled else None, facts.consent.not_after if facts.consent else None]
        wakes += [hold.until for hold in seen.spec.holds if hold.until is not None and hold.until > now]
        return min((one for one in wakes if one is not None), default=None)

    async def _facts(
        self,
        seen: SeenLifecyclePolicy,
        database: SeenDatabase | None,
        fault: tuple[str, str] | None,
        timetabled: Timetabled | None,
        now: datetime,
    ) -> PolicySummaryFacts:
        order = self._order(seen, database) if fault is None and database is not None else None
        order_hash = order_digest(order) if order is not None else None
        ended = await self._ended(seen)
        plan = next((run.status.plan for run in reversed(ended) if run.status.plan), seen.status.plan)
        before = seen.status.cursor
        started = len(timetabled.start) if timetabled else 0
        return PolicySummaryFacts(
            generation=seen.meta.generation,
            status=seen.status,
            mode=seen.spec.mode,
            fault=fault,
            suspended=seen.spec.suspend,
            order_hash=order_hash,
            elsewhere=moved(plan.server, plan.place, order) if plan is not None and order is not None else None,
            consent=consent_to_rules(self._context, seen, plan, order_hash, now),
            ended=ended,
            counted=await self._counted(seen),
            cursor=cursor_of(timetabled.entry, before, None, started, answered=False) if timetabled else before,
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
            interval=effective_lifecycle(seen.spec).interval(now) if fault is None else None,
            held=held_as_a_whole(seen, database, now),
        )

    def _database(self, seen: SeenLifecyclePolicy) -> SeenDatabase | None:
        body = self._context.cache.get(Key(DATABASES.kind, seen.meta.namespace, seen.spec.database_ref.name))
        try:
            return read.database(body) if body is not None else None
        except UserFault:
            return None  # said on the Database itself

    def _order(self, seen: SeenLifecyclePolicy, database: SeenDatabase) -> LifecycleOrder:
        storage = cached_storage(self._context, seen.meta.namespace, seen.spec.storage_ref.name)
        system, store = database.status.system_identifier, storage.spec if storage is not None else None
        return order_of(seen.spec, whereabouts(database.meta.uid, database.spec, system, store))

    def _fault(self, seen: SeenLifecyclePolicy, database: SeenDatabase | None) -> tuple[str, str] | None:
        """What is wrong with the policy."""
        namespace, spec = seen.meta.namespace, seen.spec
        if database is None:
            message = f"spec.databaseRef.name is {spec.database_ref.name!r}; no usable Database of that name is there"
            return Reason.DATABASE_NOT_FOUND, message
        if self._context.cache.version(Key("BackupStorage", namespace, spec.storage_ref.name)) is None:
            message = f"spec.storageRef.name is {spec.storage_ref.name!r}; no BackupStorage of that name is there"
            return Reason.STORAGE_NOT_FOUND, message
        try:
            demand_served(spec, database.spec.engine, cached_storage(self._context, namespace, spec.storage_ref.name))
            self._order(seen, database)
        except UserFault as fault:
            return fault.reason, fault.message
        return None

    # --- its runs

    def _timetable(self, seen: SeenLifecyclePolicy, now: datetime) -> Timetabled:
        policy = policy_facts(seen, effective_lifecycle(seen.spec))
        # One made by hand holds up no slot: it may wait for consent for a day.
        active = under_way_of(
            self._context, RUN, seen.meta.namespace, f"lifecycle:{seen.meta.name}", lambda spec: "scheduledFor" in spec
        )
        past = map(ended, self.finished(seen))
        return timetable(seen.meta, policy, seen.status.cursor, [*past, *active], now)

    async def _ended(self, seen: SeenLifecyclePolicy) -> tuple[EndedRun, ...]:
        """Runs that stand in no number yet, by when they ended."""
        counted, found = set(seen.status.counted), []
        for run in self.finished(seen):
            if run.name in counted or run.deleting:
                continue
            body = await self._context.kube.get(LIFECYCLE_RUNS, run.namespace, run.name)
            if body is not None and body["metadata"]["uid"] == run.uid:
                one = read.lifecycle_run(body)
                found.append(EndedRun(run.name, run.created, one.spec.mode, one.status))
        return tuple(sorted(found, key=lambda run: (run.status.completion_time or run.created, run.name)))

    async def _counted(self, seen: SeenLifecyclePolicy) -> tuple[str, ...]:
        """All that are still kept; also one that the cache does not know yet, or it would be counted twice."""
        known = [run.name for run in self.finished(seen)]
        namespace, get = seen.meta.namespace, self._context.kube.get
        unknown = sorted(set(seen.status.counted) - set(known))
        there = [name for name in unknown if await get(LIFECYCLE_RUNS, namespace, name) is not None]
        return (*known, *there)

    def _beyond_history(self, seen: SeenLifecyclePolicy, counted: Iterable[str]) -> tuple[DeleteObject, ...]:
        runs = [run for run in self.finished(seen) if run.name in set(counted)]
        past = [PastLifecycleRun(run.name, run.created, run.mode == LifecycleMode.ENFORCE) for run in runs]
        return self.let_go(runs, beyond_history(past, seen.spec.history_limits))
