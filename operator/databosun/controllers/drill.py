"""Gather what decides over one RestoreDrill: sums over its databases, and the history of its runs."""

from __future__ import annotations

from datetime import datetime

from databosun.api.v1alpha1.conditions import ConditionType
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.matching import drilled_by
from databosun.controllers.seen import SeenDatabase, SeenDrill
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.conditions import is_true
from databosun.domain.drillpolicy import PastDrill, beyond_history, effective_drill
from databosun.domain.drillsummary import DrilledDatabase, DrillSummaryFacts, EndedDrill, decide_drill
from databosun.domain.errors import UserFault
from databosun.domain.plan import ANNOTATION_RUN_NOW, DeleteObject, Plan
from databosun.kube.resources import RESTORE_DRILL_RUNS, RESTORE_DRILLS
from databosun.runtime.queue import Key


class DrillController:
    """Says how a drill fares, and lets go of old runs; their evidence stays in the store."""

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
        runs = self._context.finished_of(RESTORE_DRILL_RUNS.kind).of_policy(seen.meta.uid)
        databases = drilled_by(self._context, seen)
        facts = DrillSummaryFacts(
            generation=seen.meta.generation,
            status=seen.status,
            fault=self._fault(seen, databases),
            suspended=seen.spec.suspend,
            databases=tuple(_drilled(seen, one) for one in databases),
            runs=tuple(EndedDrill(run.name, run.database_uid, run.created, run.outcome) for run in runs),
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        )
        past = [PastDrill(run.name, run.database_uid, run.created, run.outcome == "Passed") for run in runs]
        over = set(beyond_history(past, seen.spec.history_limits))
        delete = tuple(
            DeleteObject(RESTORE_DRILL_RUNS.kind, run.namespace, run.name, run.uid, str(run.version))
            for run in runs
            if run.name in over and not run.deleting and not run.held and not run.noted
        )
        await self._applier.apply(seen.meta, seen.raw_status, Plan(status=decide_drill(facts, now), after=delete))
        return None

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
    return DrilledDatabase(database.meta.name, database.meta.uid, entry, proven)
