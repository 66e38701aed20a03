"""Gather what decides over one FailoverTest: its timetable, what it refers to, and the history of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.policies import PolicyKind
from databosun.controllers.seen import SeenDatabase, SeenFailoverTest
from databosun.controllers.timetables import ended, policy_facts, timetable, under_way_of
from databosun.domain.database import Timetabled
from databosun.domain.errors import UserFault
from databosun.domain.failoversummary import EndedTest, TestFacts, beyond_failover_history, decide_test
from databosun.domain.failovertest import create_failover_run, demand_testable, effective_failover
from databosun.domain.plan import ANNOTATION_RUN_NOW, Plan
from databosun.kube.resources import FAILOVER_TEST_RUNS, FAILOVER_TESTS
from databosun.runtime.queue import Key


class FailoverTestController(PolicyKind[SeenFailoverTest]):
    """Starts tests, says how they fare, and lets go of old runs; evidence stays."""

    resource = FAILOVER_TESTS
    runs = FAILOVER_TEST_RUNS

    def parse(self, body: Mapping[str, Any]) -> SeenFailoverTest:
        return read.failover_test(body)

    async def look(self, key: Key, seen: SeenFailoverTest, now: datetime) -> datetime | None:
        database, fault = self._database(seen)
        timetabled = self._timetable(seen, database, now) if database is not None and fault is None else None
        if timetabled is not None and timetabled.start and not await self.still_so(seen):
            return now
        runs = self.finished(seen)
        facts = TestFacts(
            generation=seen.meta.generation,
            status=seen.status,
            fault=fault,
            suspended=seen.spec.suspend,
            runs=tuple(EndedTest(run.name, run.created, run.outcome) for run in runs),
            cursor=timetabled.entry if timetabled else seen.status.cursor,
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        )
        start = timetabled.start if timetabled is not None and database is not None else ()
        plan = Plan(
            before=tuple(
                create_failover_run(database.meta.named, seen.meta.named, order) for order in start if database
            ),
            status=decide_test(facts, now),
            after=self.let_go(runs, beyond_failover_history(facts.runs, seen.spec.history_limits)),
        )
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return timetabled.wake_at if timetabled else None

    def _database(self, seen: SeenFailoverTest) -> tuple[SeenDatabase | None, tuple[str, str] | None]:
        """The Database, and what is wrong with the test."""
        namespace, name = seen.meta.namespace, seen.spec.database_ref.name
        body = self._context.cache.get(Key("Database", namespace, name))
        if body is None:
            message = f"spec.databaseRef.name is {name!r}; no Database of that name is in namespace {namespace}"
            return None, (Reason.DATABASE_NOT_FOUND, message)
        try:
            database = read.database(body)
            effective_failover(seen.spec)
            demand_testable(name, database.spec, seen.spec)
        except UserFault as fault:
            return None, (fault.reason, fault.message)
        storage = seen.spec.evidence.storage_ref.name
        if self._context.cache.version(Key("BackupStorage", namespace, storage)) is None:
            message = f"spec.evidence.storageRef.name is {storage!r}; no such BackupStorage is in namespace {namespace}"
            return database, (Reason.STORAGE_NOT_FOUND, message)
        return database, None

    def _timetable(self, seen: SeenFailoverTest, database: SeenDatabase, now: datetime) -> Timetabled:
        """What is due. A test has one database, so its timetable stands in its own status."""
        policy = policy_facts(seen, effective_failover(seen.spec))
        active = under_way_of(self._context, self.runs.kind, seen.meta.namespace, f"test:{seen.meta.name}")
        past = map(ended, self.finished(seen))
        return timetable(database.meta, policy, seen.status.cursor, [*past, *active], now)
