"""Gather what decides over one LifecyclePolicy: its timetable, who approved its plan, and what its runs came to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from databosun.api.lifecycle import LifecycleMode
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.consent import approval_of, held_as_a_whole
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.database import PastRun, PolicyFacts, Timetabled, TimetableFacts, decide_timetable, slot_of
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
from databosun.kube.resources import DATABASES, LIFECYCLE_POLICIES, LIFECYCLE_RUNS
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

RUN = LIFECYCLE_RUNS.kind


class LifecyclePolicyController:
    """Says how a policy fares, starts its runs, and lets go of old ones; their audits stay."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, LIFECYCLE_POLICIES)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one policy."""
        context = self._context
        body = context.cache.get(key) or await context.kube.get(LIFECYCLE_POLICIES, key.namespace, key.name)
        if body is None:
            context.observe(LIFECYCLE_POLICIES.kind, key, {})
            let_go_of_pods(context, key)
            return None
        seen = read.lifecycle_policy(body)
        context.observe(LIFECYCLE_POLICIES.kind, key, body)
        if seen.meta.deleting:
            return None
        now = context.clock.now()
        database = self._database(seen)
        fault = self._fault(seen, database)
        timetabled = None if fault else self._timetable(seen, now)
        if timetabled is not None and timetabled.start and not await self._still_so(seen):
            return now
        facts = await self._facts(seen, database, fault, timetabled, now)
        mode = mode_of_next(seen.spec.mode, facts.approval)
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
        wakes = [timetabled.wake_at if timetabled else None, facts.approval.not_after if facts.approval else None]
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
        order_hash = None
        if fault is None and database is not None:
            order_hash = order_digest(order_of(seen.spec, database.meta.uid))
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
            approval=approval_of(self._context, seen, plan, order_hash, now),
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

    def _fault(self, seen: SeenLifecyclePolicy, database: SeenDatabase | None) -> tuple[str, str] | None:
        """What is wrong with the policy."""
        namespace, spec = seen.meta.namespace, seen.spec
        if database is None:
            message = f"spec.databaseRef.name is {spec.database_ref.name!r}; no usable Database of that name is there"
            return Reason.DATABASE_NOT_FOUND, message
        if self._context.cache.version(Key("BackupStorage", namespace, spec.storage_ref.name)) is None:
            message = f"spec.storageRef.name is {spec.storage_ref.name!r}; no BackupStorage of that name is there"
            return Reason.STORAGE_NOT_FOUND, message
        known = CAPABILITIES.get(database.spec.engine)
        if known is None or not known.lifecycle:
            able = ", ".join(sorted(engine for engine, one in CAPABILITIES.items() if one.lifecycle))
            message = f"this release has no lifecycle for {database.spec.engine}; it serves {able}"
            return Reason.UNSUPPORTED_ENGINE, message
        try:
            order_of(spec, database.meta.uid)
        except UserFault as fault:
            return fault.reason, fault.message
        return None

    # --- its runs

    def _timetable(self, seen: SeenLifecyclePolicy, now: datetime) -> Timetabled:
        past = (*self._past(seen), *self._active(seen))
        entry = seen.status.cursor
        policy = PolicyFacts(
            ref=seen.meta.named,
            created=seen.meta.created,
            effective=effective_lifecycle(seen.spec),
            suspended=seen.spec.suspend,
            forbid_overlap=True,
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        )
        good = [run.created for run in past if run.succeeded]
        last = max(good, default=entry.last_success if entry else None)
        facts = TimetableFacts(seen.meta.named, seen.meta.created, policy, entry, past, last_success=last)
        return decide_timetable(facts, now)

    def _past(self, seen: SeenLifecyclePolicy) -> list[PastRun]:
        return [
            PastRun(run.name, run.schedule, run.created, slot_of(run.name) if run.schedule else None,
                    active=False, succeeded=run.succeeded)
            for run in self._finished(seen)
        ]  # fmt: skip

    def _active(self, seen: SeenLifecyclePolicy) -> Iterable[PastRun]:
        """One made by hand holds up no slot: it may wait for consent for a day."""
        for key in self._context.cache.referring(RUN, seen.meta.namespace, f"lifecycle:{seen.meta.name}"):
            body = self._context.cache.get(key) or {}
            spec = body.get("spec", {})
            if "scheduledFor" in spec:
                slot = slot_of(key.name) if "schedule" in spec else None
                created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
                yield PastRun(key.name, spec.get("schedule", ""), created, slot, active=True, succeeded=False)

    def _finished(self, seen: SeenLifecyclePolicy) -> list[FinishedRun]:
        return self._context.finished_of(RUN).of_policy(seen.meta.uid)

    async def _ended(self, seen: SeenLifecyclePolicy) -> tuple[EndedRun, ...]:
        """Runs that stand in no number yet, by when they ended."""
        counted, found = set(seen.status.counted), []
        for run in self._finished(seen):
            if run.name in counted or run.deleting:
                continue
            body = await self._context.kube.get(LIFECYCLE_RUNS, run.namespace, run.name)
            if body is not None and body["metadata"]["uid"] == run.uid:
                one = read.lifecycle_run(body)
                found.append(EndedRun(run.name, run.created, one.spec.mode, one.status))
        return tuple(sorted(found, key=lambda run: (run.status.completion_time or run.created, run.name)))

    async def _counted(self, seen: SeenLifecyclePolicy) -> tuple[str, ...]:
        """All that are still kept; also one that the cache does not know yet, or it would be counted twice."""
        known = [run.name for run in self._finished(seen)]
        namespace, get = seen.meta.namespace, self._context.kube.get
        unknown = sorted(set(seen.status.counted) - set(known))
        there = [name for name in unknown if await get(LIFECYCLE_RUNS, namespace, name) is not None]
        return (*known, *there)

    def _beyond_history(self, seen: SeenLifecyclePolicy, counted: Iterable[str]) -> tuple[DeleteObject, ...]:
        runs = [run for run in self._finished(seen) if run.name in set(counted)]
        past = [PastLifecycleRun(run.name, run.created, run.mode == LifecycleMode.ENFORCE) for run in runs]
        over = set(beyond_history(past, seen.spec.history_limits))
        return tuple(
            DeleteObject(RUN, run.namespace, run.name, run.uid, str(run.version))
            for run in runs
            if run.name in over and not run.deleting and not run.held and not run.noted
        )

    async def _still_so(self, seen: SeenLifecyclePolicy) -> bool:
        """Whether the policy is as the cache has it; asked before anything is created."""
        context = self._context
        body = await context.kube.get(LIFECYCLE_POLICIES, seen.meta.namespace, seen.meta.name)
        if body is None:
            context.cache.drop(Key(LIFECYCLE_POLICIES.kind, seen.meta.namespace, seen.meta.name))
            return False
        context.cache.put(LIFECYCLE_POLICIES.kind, body)
        found = body["metadata"]
        same = found["uid"] == seen.meta.uid and found.get("generation", 1) == seen.meta.generation
        return same and "deletionTimestamp" not in found
