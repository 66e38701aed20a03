"""Gather what decides over one RestoreDrill: sums over its databases, and the history of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.databasestatus import DrillCursor
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.matching import drilled_by
from databosun.controllers.policies import PolicyKind
from databosun.controllers.seen import SeenDatabase, SeenDrill
from databosun.controllers.timetables import ended, policy_facts, timetable, under_way_of
from databosun.domain.conditions import find, is_true
from databosun.domain.database import Timetabled
from databosun.domain.drillpolicy import PastDrill, beyond_history, create_joint_run, cursor_of, effective_drill
from databosun.domain.drillsummary import DrilledDatabase, DrillSummaryFacts, EndedDrill, KeptBackup, decide_drill
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_RUN_NOW, DeleteObject, Plan
from databosun.kube.resources import RESTORE_DRILL_RUNS, RESTORE_DRILLS
from databosun.runtime.queue import Key

RUN = RESTORE_DRILL_RUNS.kind
OVERDUE = frozenset({Reason.PROOF_TOO_OLD, Reason.DRILL_OVERDUE})


class DrillController(PolicyKind[SeenDrill]):
    """Says how a drill fares, starts it where it is of many databases, and lets go of old runs; evidence stays."""

    resource = RESTORE_DRILLS
    runs = RESTORE_DRILL_RUNS

    def parse(self, body: Mapping[str, Any]) -> SeenDrill:
        return read.drill(body)

    async def look(self, key: Key, seen: SeenDrill, now: datetime) -> datetime | None:
        databases = drilled_by(self._context, seen)
        fault = self._fault(seen, databases)
        timetabled = None if fault else self._timetable(seen, databases, now)
        if timetabled is not None and timetabled.start and not await self.still_so(seen):
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
                for run in self.finished(seen)
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

    def _beyond_history(self, seen: SeenDrill) -> tuple[DeleteObject, ...]:
        runs = self.finished(seen)
        past = [PastDrill(run.name, run.database_uid, run.created, run.succeeded) for run in runs]
        return self.let_go(runs, beyond_history(past, seen.spec.history_limits))

    def _timetable(self, seen: SeenDrill, databases: list[SeenDatabase], now: datetime) -> Timetabled | None:
        """What is due of a drill of many databases; None where each database has its own timetable."""
        if seen.spec.order is None:
            return None
        tier = min((one.spec.tier for one in databases), default=3)
        policy = policy_facts(seen, effective_drill(seen.spec, tier))
        past = [ended(run) for run in self.finished(seen) if not run.database_uid]
        active = under_way_of(
            self._context, RUN, seen.meta.namespace, f"drill:{seen.meta.name}", lambda spec: "databaseRef" not in spec
        )
        return timetable(seen.meta, policy, seen.status.cursor, [*past, *active], now)

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
