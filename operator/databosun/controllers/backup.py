"""Gather what decides over one Backup, and carry the decision out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from databosun.api.v1alpha1.backup import FINAL_PHASES
from databosun.controllers import removal
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.intake import owners_of
from databosun.controllers.jobs import Bench, observe, read_progress
from databosun.controllers.ordering import Ordered, gather_order
from databosun.controllers.seen import SeenBackup
from databosun.controllers.seen import backup as parse_backup
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.backup import BackupFacts, decide_backup, decide_cleanup, finished_labels, stage, tried
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Active, Operation, blockers
from databosun.domain.names import attempt_job_name
from databosun.domain.plan import Plan, ReleasePod, StartJob
from databosun.domain.run import Blocked, Doomed, JobSeen, RunFacts, Stage
from databosun.kube.errors import QuotaExceeded
from databosun.kube.resources import BACKUPS, JOBS
from databosun.runtime.cache import finished_run
from databosun.runtime.queue import Key

QUOTA_AGAIN = timedelta(minutes=1)


class BackupController:
    """Runs: from Pending to a verdict, then cleaned up, then watched only for deletion and holds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, BACKUPS)
        self._progress_at: dict[str, datetime] = {}

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one Backup; always live, since a create or a verdict may follow."""
        body = await self._context.kube.get(BACKUPS, key.namespace, key.name)
        if body is None:
            self._gone(key)
            return None
        self._context.observe("Backup", key, body)
        seen = parse_backup(body)
        if seen.meta.deleting:
            return await removal.reconcile(self._context, self._applier, seen)
        run = finished_run(body["metadata"])
        if run is not None:
            self._settle(key, seen)
            if self._context.finished.put(run):
                self._tell_dependants(seen)
            return None
        self._context.cache.put("Backup", body)
        if seen.status.phase in FINAL_PHASES:
            return await self._clean_up(key, seen)
        return await self._advance(seen)

    def _gone(self, key: Key) -> None:
        """The object is gone: forget it, and let go of what it left."""
        self._context.cache.drop(key)
        run = self._context.finished.drop(key.namespace, key.name)
        let_go_of_pods(self._context, key)
        self._release_claim(key)
        if run is not None:
            for owner in owners_of(self._context, run):
                self._context.add(owner, None)

    def _settle(self, key: Key, seen: SeenBackup) -> None:
        self._context.cache.drop(key)
        self._progress_at.pop(seen.meta.uid, None)
        self._release_claim(key)

    def _release_claim(self, key: Key) -> None:
        """Let those that waited for this run look again."""
        if self._context.register.release(key):
            for other in self._context.cache.keys("Backup"):
                if other != key:
                    self._context.add(other, None)

    def _tell_dependants(self, seen: SeenBackup) -> None:
        namespace = seen.meta.namespace
        if seen.spec.database_ref is not None:
            self._context.add(Key("Database", namespace, seen.spec.database_ref.name), None)
        if seen.spec.policy_ref is not None:
            self._context.add(Key("BackupPolicy", namespace, seen.spec.policy_ref.name), None)

    async def _clean_up(self, key: Key, seen: SeenBackup) -> datetime | None:
        bench = await Bench.read(self._context.kube, seen.meta.namespace, seen.meta.uid)
        jobs = (
            *await observe(self._context.kube, bench, "backup", logs=False),
            *await observe(self._context.kube, bench, "recover", logs=False),
        )
        present = {job["metadata"]["uid"] for job in bench.jobs}
        ordered = await gather_order(self._context, seen, with_history=False)
        labels = {
            **finished_labels(ordered.database_uid, ordered.policy_uid, ordered.storage_uid, seen.spec.schedule),
            **{name: value for name, value in seen.meta.labels.items() if name.startswith("databosun.io/")},
        }
        plan = decide_cleanup(
            seen.status, [job for job in jobs if job.uid in present], bench.releases(), labels, seen.meta.namespace
        )
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        self._settle(key, seen)
        self._tell_dependants(seen)
        return None

    async def _advance(self, seen: SeenBackup) -> datetime | None:
        context = self._context
        last = seen.status.attempts[-1] if seen.status.attempts else None
        ordered = await gather_order(context, seen, with_history=last is None or last.ended_at is not None)
        jobs, recovers, outdated = await self._jobs(seen)
        current = self._current(jobs, last.number if last else 0, ended=last is not None and last.ended_at is not None)
        progress = await read_progress(context.kube, current, seen.meta.namespace) if current else None
        now = context.clock.now()
        facts = BackupFacts(
            ref=seen.meta.named,
            generation=seen.meta.generation,
            spec=seen.spec,
            status=seen.status,
            run=RunFacts(
                created=seen.meta.created,
                stage=stage(seen.status),
                limits=ordered.limits,
                tried=tried(seen.status),
                job=current,
                recovers=recovers,
                too_old=ordered.too_old(seen, now),
                blocked=ordered.blocked or self._interlock(seen, ordered),
                doomed=ordered.doomed,
                recoverable=ordered.order is not None,
            ),
            order=ordered.order,
            database=ordered.database_name,
            progress=progress,
            progress_at=self._progress_at.get(seen.meta.uid),
        )
        plan = decide_backup(facts, now)
        if progress is not None and plan.status is not None:
            self._progress_at[seen.meta.uid] = now
        self._claim(seen, ordered, plan, current)
        try:
            await self._applier.apply(seen.meta, seen.raw_status, plan)
        except (UserFault, QuotaExceeded) as fault:
            plan = await self._refused(seen, facts, plan, fault)
        for release in outdated:
            await self._applier.release(release)
        return plan.wake_at

    async def _jobs(self, seen: SeenBackup) -> tuple[tuple[JobSeen, ...], tuple[JobSeen, ...], tuple[ReleasePod, ...]]:
        """Jobs of the work, Jobs of the look into storage, and finalizers of attempts whose end is recorded."""
        kube, meta = self._context.kube, seen.meta
        if stage(seen.status) is not Stage.RUNNING:
            first = await kube.get(JOBS, meta.namespace, attempt_job_name(meta.name, 1))
            if first is None and seen.status.phase is not None:
                return (), (), ()
        bench = await Bench.read(kube, meta.namespace, meta.uid)
        ended = {str(attempt.number) for attempt in seen.status.attempts if attempt.ended_at is not None}
        old = [
            pod
            for pod in bench.pods
            if pod["metadata"]["labels"].get("databosun.io/task") == "backup"
            and pod["metadata"]["labels"]["databosun.io/attempt"] in ended
        ]
        return await observe(kube, bench, "backup"), await observe(kube, bench, "recover"), Bench([], old).releases()

    @staticmethod
    def _current(jobs: tuple[JobSeen, ...], last: int, *, ended: bool) -> JobSeen | None:
        """The attempt that counts now: the recorded one, or the next where it was created but not yet recorded."""
        wanted = last + 1 if ended or not last else last
        return next((job for job in reversed(jobs) if job.attempt == wanted), None)

    def _interlock(self, seen: SeenBackup, ordered: Ordered) -> Blocked | None:
        """Who stands in the way; asked at the last moment before the decision."""
        found = blockers(
            Operation.BACKUP,
            ordered.database_uid,
            ordered.storage_uid,
            self._context.register.others(Key("Backup", seen.meta.namespace, seen.meta.name)),
            ordered.storage_limit,
            ordered.allow_same,
        )
        if not found:
            return None
        return Blocked(f"WaitingFor{found[0].by}", f"{found[0]}; this run starts after it", seen.spec.not_after)

    async def _refused(
        self, seen: SeenBackup, facts: BackupFacts, plan: Plan, fault: UserFault | QuotaExceeded
    ) -> Plan:
        """The API server does not take the Job: wait for the quota, or end the run with its words."""
        if not any(isinstance(action, StartJob) for action in plan.before):
            raise fault
        now, run = self._context.clock.now(), facts.run
        if isinstance(fault, QuotaExceeded):
            since = next((attempt.ended for attempt in reversed(run.tried) if attempt.ended), None)
            if since is not None and now < since + run.limits.start_deadline:
                raise fault
            blocked = Blocked(fault.reason, fault.message, again=now + QUOTA_AGAIN)
            run = replace(run, blocked=blocked) if since is None else replace(run, doomed=_doomed(fault))
            run = replace(run, stage=Stage.PENDING) if run.too_old is None else run
        else:
            run = replace(run, doomed=_doomed(fault), recoverable=False)
        plan = decide_backup(replace(facts, run=run), now)
        if any(isinstance(action, StartJob) for action in plan.before):
            raise fault
        if not run.tried:
            self._release_claim(Key("Backup", seen.meta.namespace, seen.meta.name))
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        return plan

    def _claim(self, seen: SeenBackup, ordered: Ordered, plan: Plan, current: JobSeen | None) -> None:
        # Nothing is awaited between the interlock's answer and this claim, so two runs cannot both be granted.
        key = Key("Backup", seen.meta.namespace, seen.meta.name)
        starts = any(isinstance(action, StartJob) for action in plan.before)
        if starts or current is not None or seen.status.attempts:
            active = Active(Operation.BACKUP, ordered.database_uid, ordered.storage_uid, seen.meta.name)
            self._context.register.claim(key, active)
        else:
            self._release_claim(key)


def _doomed(fault: UserFault | QuotaExceeded) -> Doomed:
    return Doomed(fault.reason, fault.message)
