"""Runs of every kind, from Pending to a verdict: gather what decides over one, and carry the decision out.

A kind says what its objects are, what its Jobs must be told and what may stand in its way, and decides.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from databosun.controllers.apply import Applier
from databosun.controllers.concerned import owners_of
from databosun.controllers.context import Context
from databosun.controllers.jobs import Bench, observe, read_progress
from databosun.controllers.seen import Seen
from databosun.controllers.strays import let_go_of_pods
from databosun.controllers.turns import Ordering, Turns
from databosun.domain.attempt import JobSeen
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Operation
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import LABEL_ATTEMPT, LABEL_TASK, Action, Plan, ReleasePod, StartJob
from databosun.domain.run import Blocked, Doomed, RunFacts, Stage, too_old
from databosun.domain.running import RunKind, RunState, decide_cleanup, references, stage, tried
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import JOBS, Resource
from databosun.runtime.cache import finished_run
from databosun.runtime.queue import Key

QUOTA_AGAIN = timedelta(minutes=1)

R = TypeVar("R", bound=Seen[Any, Any])
O = TypeVar("O", bound=Ordering)  # noqa: E741 (an Ordering)


class RunController(ABC, Generic[R, O]):
    """Runs of one kind: from Pending to a verdict, then cleaned up, then watched only for what people do to them."""

    resource: ClassVar[Resource]
    operation: ClassVar[Operation]
    task: ClassVar[str]
    run_kind: ClassVar[RunKind]
    final_phases: ClassVar[Collection[StrEnum]]
    by_schedule: ClassVar[bool] = True
    """Whether a policy's schedule may ask for one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, self.resource)
        self._turns = Turns(context, self.operation)
        self._progress_at: dict[str, datetime] = {}

    # --- what a kind says

    @abstractmethod
    def parse(self, body: Mapping[str, Any]) -> R:
        """The object."""

    @abstractmethod
    async def gather(self, seen: R, *, begins: bool) -> O:
        """What its Jobs must be told, and what stands in its way. `begins`: an attempt may be started."""

    @abstractmethod
    def decide(self, seen: R, ordered: O, state: RunState, now: datetime) -> Plan:
        """The plan; pure."""

    @abstractmethod
    def dependants(self, seen: R) -> Iterable[Key]:
        """Who looks again when it has its verdict."""

    def task_of(self, seen: R) -> str:
        """The task of its Jobs."""
        return self.task

    def active(self, seen: R) -> bool:
        """Whether it keeps others from what it works on, once it has been started."""
        return bool(seen.status.attempts)

    def too_old(self, seen: R, ordered: O, now: datetime) -> str | None:
        """Why it may no longer start, were it to begin now."""
        if ordered.starting_deadline is None:
            return None
        slot = seen.spec.scheduled_for if self.by_schedule else None
        return too_old(slot, seen.spec.not_after, ordered.starting_deadline, now)

    def recoverable(self, ordered: O) -> bool:
        """Whether its durable object can be asked for."""
        return ordered.order is not None

    def remember(self, seen: R, ordered: O) -> Mapping[str, Any]:
        """What every status that is written has."""
        return {}

    async def before_finish(self, seen: R) -> tuple[Action, ...]:
        """What is still to be done between the verdict and the end."""
        return ()

    def finish_labels(self, seen: R) -> Mapping[str, str]:
        """Labels of its own that a finished one is found by."""
        return {}

    async def learn(self, seen: R) -> None:
        """It was finished by another process: take in what that one knows by having done so."""

    async def attend(self, seen: R, ordered: O, current: JobSeen) -> datetime | None:
        """What is to be done while its Job runs; when to look again."""
        return None

    async def going(self, seen: R) -> datetime | None:
        """It is being deleted."""
        return None

    # --- the way of all runs

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one run; always live, since a create or a verdict may follow."""
        body = await self._context.kube.get(self.resource, key.namespace, key.name)
        if body is None:
            self.gone(key)
            return None
        return await self.look(key, body)

    async def look(self, key: Key, body: Mapping[str, Any]) -> datetime | None:
        """The same at an object that was read just now."""
        self._context.observe(key.kind, key, body)
        seen = self.parse(body)
        if seen.meta.deleting:
            return await self.going(seen)
        run = finished_run(body["metadata"])
        if run is not None:
            self._settle(key, seen)
            if self._context.finished_of(key.kind).put(run):
                await self.learn(seen)
                self._tell_dependants(seen)
            return None
        self._context.cache.put(key.kind, body)
        if seen.status.phase in self.final_phases:
            return await self._clean_up(key, seen)
        return await self._advance(key, seen)

    def gone(self, key: Key) -> None:
        """The object is gone: forget it, and let go of what it left."""
        self._context.observe(key.kind, key, {})
        self._context.cache.drop(key)
        run = self._context.finished_of(key.kind).drop(key.namespace, key.name)
        self._context.newborn.uids.pop(key, None)
        let_go_of_pods(self._context, key)
        self._turns.release(key)
        if run is not None:
            for owner in owners_of(self._context, run):
                self._context.add(owner, None)

    def _settle(self, key: Key, seen: R) -> None:
        self._context.cache.drop(key)
        self._progress_at.pop(seen.meta.uid, None)
        self._turns.release(key)

    def _tell_dependants(self, seen: R) -> None:
        for key in self.dependants(seen):
            self._context.add(key, None)

    async def _clean_up(self, key: Key, seen: R) -> datetime | None:
        bench = await Bench.read(self._context.kube, seen.meta.namespace, seen.meta.uid)
        jobs = (
            *await observe(self._context.kube, bench, self.task_of(seen), logs=False),
            *await observe(self._context.kube, bench, "recover", logs=False),
        )
        present = {job["metadata"]["uid"] for job in bench.jobs}
        ordered = await self.gather(seen, begins=False)
        schedule = seen.spec.schedule if self.by_schedule else None
        labels = {
            **references(ordered.database_uid, ordered.policy_uid, ordered.storage_uid, schedule),
            **{name: value for name, value in seen.meta.labels.items() if name.startswith("databosun.io/")},
            **self.finish_labels(seen),
        }
        plan = decide_cleanup(
            str(seen.status.phase),
            [job for job in jobs if job.uid in present],
            bench.releases(),
            labels,
            seen.meta.namespace,
        )
        plan = replace(plan, before=await self.before_finish(seen))
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        self._settle(key, seen)
        self._tell_dependants(seen)
        return None

    async def _advance(self, key: Key, seen: R) -> datetime | None:
        context = self._context
        last = seen.status.attempts[-1] if seen.status.attempts else None
        between = last is None or last.ended_at is not None
        ordered = await self.gather(seen, begins=between)
        jobs, recovers, outdated = await self._jobs(seen)
        current = self._current(jobs, last.number if last else 0, ended=last is not None and between)
        again = await self.attend(seen, ordered, current) if current else None
        progress = await read_progress(context.kube, current, seen.meta.namespace) if current else None
        now = context.clock.now()
        state = RunState(
            kind=self.run_kind,
            ref=seen.meta.named,
            generation=seen.meta.generation,
            status=seen.status,
            facts=RunFacts(
                created=seen.meta.created,
                stage=stage(seen.status),
                limits=ordered.limits,
                tried=tried(seen.status),
                job=current,
                recovers=recovers,
                too_old=self.too_old(seen, ordered, now),
                blocked=ordered.blocked or self._turns.blocked(key, ordered, seen.spec.not_after),
                doomed=ordered.doomed,
                recoverable=self.recoverable(ordered),
            ),
            progress=progress,
            progress_at=self._progress_at.get(seen.meta.uid),
            remember=self.remember(seen, ordered),
        )
        plan = self.decide(seen, ordered, state, now)
        if progress is not None and plan.status is not None:
            self._progress_at[seen.meta.uid] = now
        self._claim(key, seen, ordered, plan, current)
        try:
            await self._applier.apply(seen.meta, seen.raw_status, plan)
        except (UserFault, QuotaExceeded) as fault:
            plan = await self._refused(key, seen, ordered, state, plan, fault)
        for release in outdated:
            await self._applier.release(release)
        return min((at for at in (plan.wake_at, again) if at is not None), default=None)

    async def _jobs(self, seen: R) -> tuple[tuple[JobSeen, ...], tuple[JobSeen, ...], tuple[ReleasePod, ...]]:
        """Jobs of the work, Jobs of the look into storage, and finalizers of attempts whose end is recorded."""
        kube, meta = self._context.kube, seen.meta
        if self._context.newborn.first_look(Key(self.resource.kind, meta.namespace, meta.name), meta.uid):
            return (), (), ()
        if stage(seen.status) is not Stage.RUNNING:
            first = await kube.get(JOBS, meta.namespace, attempt_job_name(meta.name, 1))
            if first is None and seen.status.phase is not None:
                return (), (), ()
        bench = await Bench.read(kube, meta.namespace, meta.uid)
        task = self.task_of(seen)
        over = {str(attempt.number) for attempt in seen.status.attempts if attempt.ended_at is not None}
        old = [
            pod
            for pod in bench.pods
            if pod["metadata"]["labels"].get(LABEL_TASK) == task and pod["metadata"]["labels"][LABEL_ATTEMPT] in over
        ]
        return await observe(kube, bench, task), await observe(kube, bench, "recover"), Bench([], old).releases()

    @staticmethod
    def _current(jobs: tuple[JobSeen, ...], last: int, *, ended: bool) -> JobSeen | None:
        """The attempt that counts now: the recorded one, or the next where it was created but not yet recorded."""
        wanted = last + 1 if ended or not last else last
        return next((job for job in reversed(jobs) if job.attempt == wanted), None)

    async def _refused(
        self, key: Key, seen: R, ordered: O, state: RunState, plan: Plan, fault: UserFault | QuotaExceeded
    ) -> Plan:
        """The API server does not take the Job: wait for the quota, or end the run with its words."""
        if not any(isinstance(action, StartJob) for action in plan.before):
            raise fault
        now, run = self._context.clock.now(), state.facts
        if isinstance(fault, QuotaExceeded):
            since = next((attempt.ended for attempt in reversed(run.tried) if attempt.ended), None)
            if since is not None and now < since + run.limits.start_deadline:
                raise fault
            blocked = Blocked(fault.reason, fault.message, again=now + QUOTA_AGAIN)
            run = replace(run, blocked=blocked) if since is None else replace(run, doomed=_doomed(fault))
            run = replace(run, stage=Stage.PENDING) if run.too_old is None else run
        else:
            run = replace(run, doomed=_doomed(fault), recoverable=False)
        plan = self.decide(seen, ordered, replace(state, facts=run), now)
        if any(isinstance(action, StartJob) for action in plan.before):
            raise fault
        if not run.tried:
            self._turns.release(key)
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return plan

    def _claim(self, key: Key, seen: R, ordered: O, plan: Plan, current: JobSeen | None) -> None:
        # Nothing is awaited between the interlock's answer and this claim, so two runs cannot both be granted.
        starts = any(isinstance(action, StartJob) for action in plan.before)
        if starts or current is not None or self.active(seen):
            self._turns.claim(key, seen.meta.name, ordered)
        else:
            self._turns.release(key)


def _doomed(fault: UserFault | QuotaExceeded) -> Doomed:
    return Doomed(fault.reason, fault.message)
