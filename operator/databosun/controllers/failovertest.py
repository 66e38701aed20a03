"""Gather what decides over one FailoverTest: its timetable, what it refers to, and the history of its runs."""

from __future__ import annotations

from datetime import datetime

from databosun.api.v1alpha1.failovertestrun import FailoverPhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.seen import SeenDatabase, SeenFailoverTest
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.database import PastRun, PolicyFacts, Timetabled, TimetableFacts, decide_timetable, slot_of
from databosun.domain.errors import UserFault
from databosun.domain.failoversummary import EndedTest, TestFacts, beyond_failover_history, decide_test
from databosun.domain.failovertest import create_failover_run, effective_failover, provider_target
from databosun.domain.plan import ANNOTATION_RUN_NOW, DeleteObject, Plan
from databosun.kube.resources import FAILOVER_TEST_RUNS, FAILOVER_TESTS
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

RUN = FAILOVER_TEST_RUNS.kind


class FailoverTestController:
    """Starts tests, says how they fare, and lets go of old runs; evidence stays."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, FAILOVER_TESTS)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one test."""
        body = self._context.cache.get(key) or await self._context.kube.get(FAILOVER_TESTS, key.namespace, key.name)
        self._context.observe(key.kind, key, body or {})
        if body is None:
            let_go_of_pods(self._context, key)
            return None
        seen = read.failover_test(body)
        if seen.meta.deleting:
            return None
        now = self._context.clock.now()
        database, fault = self._database(seen)
        timetabled = self._timetable(seen, database, now) if database is not None and fault is None else None
        if timetabled is not None and timetabled.start and not await self._still_so(seen):
            return now
        runs = self._finished(seen)
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
            after=self._beyond_history(seen, runs, facts.runs),
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
            provider_target(name, database.spec)
        except UserFault as fault:
            return None, (fault.reason, fault.message)
        storage = seen.spec.evidence.storage_ref.name
        if self._context.cache.version(Key("BackupStorage", namespace, storage)) is None:
            message = f"spec.evidence.storageRef.name is {storage!r}; no such BackupStorage is in namespace {namespace}"
            return database, (Reason.STORAGE_NOT_FOUND, message)
        return database, None

    def _timetable(self, seen: SeenFailoverTest, database: SeenDatabase, now: datetime) -> Timetabled:
        """What is due. A test has one database, so its timetable stands in its own status."""
        past = (*(_past(run) for run in self._finished(seen)), *self._active(seen))
        entry = seen.status.cursor
        policy = PolicyFacts(
            ref=seen.meta.named,
            created=seen.meta.created,
            effective=effective_failover(seen.spec),
            suspended=seen.spec.suspend,
            forbid_overlap=True,
            run_now=seen.meta.annotations.get(ANNOTATION_RUN_NOW),
        )
        good = max((run.created for run in past if run.succeeded), default=entry.last_success if entry else None)
        facts = TimetableFacts(
            database.meta.named, database.meta.created, policy, entry, past, last_success=good
        )  # fmt: skip
        return decide_timetable(facts, now)

    def _active(self, seen: SeenFailoverTest) -> list[PastRun]:
        found = []
        for key in self._context.cache.referring(RUN, seen.meta.namespace, f"test:{seen.meta.name}"):
            body = self._context.cache.get(key)
            if body is not None:
                spec, created = body.get("spec", {}), datetime.fromisoformat(body["metadata"]["creationTimestamp"])
                slot = slot_of(key.name) if "schedule" in spec else None
                found.append(PastRun(key.name, spec.get("schedule", ""), created, slot, active=True, succeeded=False))
        return found

    def _finished(self, seen: SeenFailoverTest) -> list[FinishedRun]:
        return self._context.finished_of(RUN).of_policy(seen.meta.uid)

    def _beyond_history(
        self, seen: SeenFailoverTest, runs: list[FinishedRun], ended: tuple[EndedTest, ...]
    ) -> tuple[DeleteObject, ...]:
        over = beyond_failover_history(ended, seen.spec.history_limits)
        return tuple(
            DeleteObject(RUN, run.namespace, run.name, run.uid, str(run.version))
            for run in runs
            if run.name in over and not run.deleting and not run.held and not run.noted
        )

    async def _still_so(self, seen: SeenFailoverTest) -> bool:
        """Whether the test is as the cache has it; asked before anything is created."""
        body = await self._context.kube.get(FAILOVER_TESTS, seen.meta.namespace, seen.meta.name)
        if body is None:
            self._context.cache.drop(Key(FAILOVER_TESTS.kind, seen.meta.namespace, seen.meta.name))
            return False
        self._context.cache.put(FAILOVER_TESTS.kind, body)
        found = body["metadata"]
        same = found["uid"] == seen.meta.uid and found.get("generation", 1) == seen.meta.generation
        return same and "deletionTimestamp" not in found


def _past(run: FinishedRun) -> PastRun:
    slot = slot_of(run.name) if run.schedule else None
    succeeded = run.outcome == FailoverPhase.PASSED
    return PastRun(run.name, run.schedule, run.created, slot, active=False, succeeded=succeeded)
