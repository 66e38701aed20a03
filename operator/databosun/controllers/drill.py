"""Gather what decides over one RestoreDrill: sums over its databases, and the history of its runs."""

from __future__ import annotations

from datetime import datetime

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import DrillCursor
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.matching import drilled_by
from databosun.controllers.seen import SeenDatabase, SeenDrill
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.conditions import find, is_true
from databosun.domain.database import PastRun, PolicyFacts, Timetabled, TimetableFacts, decide_timetable, slot_of
from databosun.domain.drillpolicy import PastDrill, beyond_history, create_joint_run, cursor_of, effective_drill
from databosun.domain.drillsummary import DrilledDatabase, DrillSummaryFacts, EndedDrill, KeptBackup, decide_drill
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_RUN_NOW, DeleteObject, Plan
from databosun.kube.resources import RESTORE_DRILL_RUNS, RESTORE_DRILLS
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

RUN = RESTORE_DRILL_RUNS.kind
OVERDUE = frozenset({Reason.PROOF_TOO_OLD, Reason.DRILL_OVERDUE})


class DrillController:
    """Says how a drill fares, starts it where it is of many databases, and lets go of old runs; evidence stays."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, RESTORE_DRILLS)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one drill."""
        body = self._context.cache.get(key) or await self._context.kube.get(RESTORE_DRILLS, key.namespace, key.name)
        if body is None:
            self._context.observe("RestoreDrill", key, {})
            let_go_of_pods(self._context, key)
            return None
        seen = read.drill(body)
        self._context.observe("RestoreDrill", key, body)
        if seen.meta.deleting:
            return None
        now = self._context.clock.now()
        databases = drilled_by(self._context, seen)
        fault = self._fault(seen, databases)
        timetabled = None if fault else self._timetable(seen, databases, now)
        if timetabled is not None and timetabled.start and not await self._still_so(seen):
            return now
        create = timetabled.start if timetabled else ()
        before = seen.status.cursor
        cursor = cursor_of(timetabled.entry, before, None, len(create), answered=False) if timetabled else before
        plan = Plan(
            before=tuple(create_joint_run(seen.meta.named, seen.spec, order, before) for order in create),
            status=decide_drill(self._facts(seen, databases, fault, cursor if seen.spec.order else None), now),
            after=self._beyond_history(seen),
        )
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return timetabled.wake_at if timetabled else None

    def _facts(
        self,
        seen: SeenDrill,
        databases: list[SeenDatabase],
        fault: tuple[str, str] | None,
        cursor: DrillCursor | None,
    ) -> DrillSummaryFacts:
        return DrillSummaryFacts(
            generation=seen.meta.generation,
            status=seen.status,
            fault=fault,
            suspended=seen.spec.suspend,
            databases=tuple(_drilled(seen, one) for one in databases),
            runs=tuple(
                EndedDrill(
                    run.name, run.database_uid, run.created, run.outcome, run.rto_seconds, run.rto_met, run.control
                )
                for run in self._finished(seen)
            ),
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
            backups=tuple(
                KeptBackup(run.name, run.created, run.proven)
                for one in databases
                for run in self._context.finished.of_database(one.meta.uid)
                if run.succeeded and not run.deleting
            ),
            joint=seen.spec.order is not None,
            cursor=cursor,
        )

    def _finished(self, seen: SeenDrill) -> list[FinishedRun]:
        return self._context.finished_of(RUN).of_policy(seen.meta.uid)

    def _beyond_history(self, seen: SeenDrill) -> tuple[DeleteObject, ...]:
        runs = self._finished(seen)
        past = [PastDrill(run.name, run.database_uid, run.created, run.outcome == "Passed") for run in runs]
        over = set(beyond_history(past, seen.spec.history_limits))
        return tuple(
            DeleteObject(RUN, run.namespace, run.name, run.uid, str(run.version))
            for run in runs
            if run.name in over and not run.deleting and not run.held and not run.noted
        )

    # --- a drill of many databases starts its runs itself: no database's timetable has them

    def _timetable(self, seen: SeenDrill, databases: list[SeenDatabase], now: datetime) -> Timetabled | None:
        """What is due; None where each database has its own timetable."""
        if seen.spec.order is None:
            return None
        tier = min((one.spec.tier for one in databases), default=3)
        past = (*self._past(seen), *self._active(seen))
        good = [run.created for run in past if run.succeeded]
        entry = seen.status.cursor
        policy = PolicyFacts(
            ref=seen.meta.named,
            created=seen.meta.created,
            effective=effective_drill(seen.spec, tier),
            suspended=seen.spec.suspend,
            forbid_overlap=True,
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        )
        last = max(good, default=entry.last_success if entry else None)
        facts = TimetableFacts(seen.meta.named, seen.meta.created, policy, entry, past, last_success=last)
        return decide_timetable(facts, now)

    def _past(self, seen: SeenDrill) -> list[PastRun]:
        return [
            PastRun(run.name, run.schedule, run.created, slot_of(run.name) if run.schedule else None,
                    active=False, succeeded=run.succeeded)
            for run in self._finished(seen)
            if not run.database_uid
        ]  # fmt: skip

    def _active(self, seen: SeenDrill) -> list[PastRun]:
        found = []
        for key in self._context.cache.referring(RUN, seen.meta.namespace, f"drill:{seen.meta.name}"):
            body = self._context.cache.get(key) or {}
            spec, metadata = body.get("spec", {}), body.get("metadata", {})
            if body and "databaseRef" not in spec:
                slot = slot_of(key.name) if "schedule" in spec else None
                created = datetime.fromisoformat(metadata["creationTimestamp"])
                found.append(PastRun(key.name, spec.get("schedule", ""), created, slot, active=True, succeeded=False))
        return found

    async def _still_so(self, seen: SeenDrill) -> bool:
        """Whether the drill is as the cache has it; asked before anything is created."""
        body = await self._context.kube.get(RESTORE_DRILLS, seen.meta.namespace, seen.meta.name)
        if body is None:
            self._context.cache.drop(Key(RESTORE_DRILLS.kind, seen.meta.namespace, seen.meta.name))
            return False
        self._context.cache.put(RESTORE_DRILLS.kind, body)
        found = body["metadata"]
        same = found["uid"] == seen.meta.uid and found.get("generation", 1) == seen.meta.generation
        return same and "deletionTimestamp" not in found

    def _fault(self, seen: SeenDrill, databases: list[SeenDatabase]) -> tuple[str, str] | None:
        """What is wrong with the drill."""
        spec, namespace = seen.spec, seen.meta.namespace
        try:
            for tier in {one.spec.tier for one in databases} or {3}:
                effective_drill(spec, tier)
        except UserFault as fault:
            return fault.reason, fault.message
        if spec.policy_ref is not None:
            name = spec.policy_ref.name
            if self._context.cache.version(Key("BackupPolicy", namespace, name)) is None:
                message = f"spec.policyRef.name is {name!r}; no BackupPolicy of that name is in namespace {namespace}"
                return "PolicyNotFound", message
        if spec.database_ref is not None and not databases:
            name = spec.database_ref.name
            message = f"spec.databaseRef.name is {name!r}; no Database of that name is in namespace {namespace}"
            return "DatabaseNotFound", message
        return None


def _drilled(seen: SeenDrill, database: SeenDatabase) -> DrilledDatabase:
    entry = next((one for one in database.status.drills if one.uid == seen.meta.uid), None)
    proven = is_true(database.status.conditions, ConditionType.PROVEN)
    why = find(database.status.conditions, ConditionType.PROVEN)
    overdue = why is not None and why.reason in OVERDUE and entry is not None
    return DrilledDatabase(database.meta.name, database.meta.uid, entry, proven, overdue)
