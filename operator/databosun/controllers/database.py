"""Gather what decides over one Database: its timetables, a look at it, and the truth about its recovery point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.quantities import format_duration
from databosun.api.request import ProbeTask, Request
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.backuppolicy import BackupType, Method
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.database import DatabaseStatus, EffectiveObjectives, LastBackup, PolicyCursor, Recovery
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import errand, proving
from databosun.controllers import seen as read
from databosun.controllers.apply import Applier
from databosun.controllers.context import Context
from databosun.controllers.matching import policy_keys_of, selects
from databosun.controllers.ordering import runner_image
from databosun.controllers.proving import Drilling
from databosun.controllers.seen import SeenBackup, SeenDatabase, SeenPolicy
from databosun.controllers.strays import let_go_of_pods
from databosun.domain.backuporders import BackupTemplate, create_backup
from databosun.domain.conditions import Wanted, find, kstatus, merge_conditions
from databosun.domain.database import PastRun, PolicyFacts, Timetabled, TimetableFacts, decide_timetable, slot_of
from databosun.domain.errors import UserFault
from databosun.domain.names import task_job_name
from databosun.domain.plan import ANNOTATION_RUN_NOW, LABEL_DATABASE_UID, LABEL_FINISHED, CreateRun, Plan, StartJob
from databosun.domain.presets import EffectivePolicy, effective
from databosun.domain.protection import ProtectionFacts, Success, decide_protection, judge_probe
from databosun.domain.requests import database_target
from databosun.domain.run import DEADLINE_MARGIN
from databosun.domain.schedule import interval
from databosun.domain.selection import chain_bytes
from databosun.domain.storage import retry_after
from databosun.domain.tiers import objective_out_of_reach, tier_objectives
from databosun.engines.registry import DEFAULT_PORTS, supported
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS, DATABASES, RESTORE_DRILLS
from databosun.runtime.cache import FinishedRun
from databosun.runtime.queue import Key

_PROBE_CONDITIONS = (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED, ConditionType.REACHABLE)


@dataclass(frozen=True, slots=True)
class Covering:
    """A policy that covers the database, with what it comes to."""

    seen: SeenPolicy
    effective: EffectivePolicy


@dataclass(frozen=True, slots=True)
class Gathered:
    """What one look found, beyond the Database itself."""

    covering: tuple[Covering, ...]
    runs: tuple[tuple[str, PastRun], ...]
    successes: tuple[Success, ...] | None
    success_times: dict[str, datetime]
    broken: str | None
    kept: tuple[PolicyCursor, ...]


class DatabaseController:
    """Creates the Backups that are due and keeps Database.status true."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._applier = Applier(context, DATABASES)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one database."""
        body = self._context.cache.get(key) or await self._context.kube.get(DATABASES, key.namespace, key.name)
        if body is None:
            self._context.observe("Database", key, {})
            let_go_of_pods(self._context, key)
            return None
        seen = read.database(body)
        self._context.observe("Database", key, body)
        if seen.meta.deleting:
            return None
        now = self._context.clock.now()
        try:
            probe_plan, probe_status, probe_wake = await self._probe(key, seen, now)
        except UserFault as fault:
            stalled = kstatus(ready=False, reason=fault.reason, message=fault.message, stalled=True)
            probe_plan, probe_status, probe_wake = Plan(), {"conditions": stalled, "probed": seen.meta.generation}, None
        gathered = await self._gather(seen)
        timetables = [self._timetable(seen, covering, gathered, now) for covering in gathered.covering]
        newest, recovery = self._recovery(seen.status, gathered)
        objectives = tier_objectives(seen.spec.tier, seen.spec.objectives)
        drilling = await proving.look(self._context, seen, _last_backup(newest), objectives, now)
        status, wake = self._status(seen, gathered, timetables, probe_status, drilling, (newest, recovery), now)
        create = tuple(
            action
            for covering, timetable in zip(gathered.covering, timetables, strict=True)
            for action in self._backups(seen, covering, timetable)
        )
        create += drilling.create
        if create and not await self._still_so(seen, gathered, drilling):
            return now
        plan = Plan(before=(*create, *probe_plan.before), status=status, after=probe_plan.after)
        await self._applier.apply(seen.meta, seen.raw_status, plan)
        wakes = [wake, probe_wake, *drilling.wakes, *(timetable.wake_at for timetable in timetables)]
        return min((at for at in wakes if at is not None), default=None)

    async def _still_so(self, seen: SeenDatabase, gathered: Gathered, drilling: Drilling) -> bool:
        """Whether database and policies are as the cache has them; asked before anything is created."""
        wanted = [(DATABASES, seen.meta), *((BACKUP_POLICIES, covering.seen.meta) for covering in gathered.covering)]
        wanted += [(RESTORE_DRILLS, meta) for meta in drilling.policies]
        still = True
        for resource, meta in wanted:
            body = await self._context.kube.get(resource, meta.namespace, meta.name)
            if body is None:
                self._context.cache.drop(Key(resource.kind, meta.namespace, meta.name))
            else:
                self._context.cache.put(resource.kind, body)
            found = (body or {}).get("metadata", {})
            same = found.get("uid") == meta.uid and found.get("generation", 1) == meta.generation
            still = still and same and "deletionTimestamp" not in found
        return still

    # --- looking at the database

    async def _probe(self, key: Key, seen: SeenDatabase, now: datetime) -> tuple[Plan, dict[str, Any], datetime | None]:
        """Start, watch or evaluate the Job that looks at the database: its actions, what it says of the status."""
        request_target, secrets = self._target(seen)
        name = task_job_name("probe", seen.meta.name, self._token(seen))
        found = await errand.look(self._context, key, seen.meta, "probe", name)
        if found.ending is not None and found.job is not None:
            probe = found.ending.result.probe if found.ending.result is not None else None
            verdict = judge_probe(probe, found.ending, [str(method) for method in self._methods(seen)])
            after = (*await errand.dismiss(self._context, seen.meta, found.job), *found.leftovers)
            update: dict[str, Any] = {"conditions": verdict, "probed": seen.meta.generation, "at": now, "probe": probe}
            return Plan(after=after), update, now
        if found.job is not None:
            return (
                Plan(after=found.leftovers),
                self._looking(seen),
                min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN),
            )
        due = self._probe_due(seen, now)
        if due is None or now < due:
            return Plan(after=found.leftovers), {}, due
        image = runner_image(self._context, seen)
        methods = self._methods(seen)
        request = Request(
            run=seen.meta.name,
            deadline=errand.deadline(now),
            database=request_target,
            secrets=list(secrets),
            image=image,
            job=ProbeTask(methods=methods, incremental=self._incremental(seen)),
        )
        job: StartJob = errand.order(
            seen.meta,
            "Database",
            name,
            request,
            image,
            labels={LABEL_DATABASE_UID: seen.meta.uid},
            pod_template=self._pod_template(seen),
        )
        self._context.workers.setdefault(key, set()).add(f"Job/{name}")
        return Plan(before=(job,), after=found.leftovers), self._looking(seen), now + errand.LOOK_AGAIN

    def _target(self, seen: SeenDatabase) -> Any:
        if seen.spec.engine not in supported():
            known = ", ".join(supported())
            raise UserFault(
                Reason.UNSUPPORTED_ENGINE,
                f"spec.engine is {seen.spec.engine}, which this release does not serve; expected one of: {known}",
            )
        return database_target(seen.meta.named, seen.spec, DEFAULT_PORTS[seen.spec.engine], seen.status.engine_version)

    @staticmethod
    def _looking(seen: SeenDatabase) -> dict[str, Any]:
        if seen.status.probed_generation == seen.meta.generation:
            return {}
        message = "the database is being looked at"
        return {"conditions": kstatus(ready=False, reason="Probing", message=message, reconciling=message)}

    def _probe_due(self, seen: SeenDatabase, now: datetime) -> datetime | None:
        """At once for a changed spec, again and again while something is wrong, once after a failed backup."""
        status = seen.status
        if status.probed_generation != seen.meta.generation or status.last_probe_time is None:
            return now
        ready = find(status.conditions, ConditionType.READY)
        if ready is None or ready.status != "True":
            return status.last_probe_time + retry_after(status.conditions, now)
        runs = self._context.finished.of_database(seen.meta.uid)
        if runs and not runs[-1].succeeded and runs[-1].created > status.last_probe_time:
            return now
        return None

    @staticmethod
    def _token(seen: SeenDatabase) -> str:
        last = seen.status.last_probe_time
        return f"{seen.meta.uid}/{seen.meta.generation}/{last.isoformat() if last else ''}"

    def _covering_bodies(self, seen: SeenDatabase) -> list[SeenPolicy]:
        keys = policy_keys_of(self._context, seen.meta.namespace, seen.meta.name)
        policies: list[SeenPolicy] = []
        for key in keys:
            body = self._context.cache.get(key)
            if body is None:
                continue
            try:
                policy = read.policy(body)
            except UserFault:
                continue  # said on the policy itself
            if selects(policy, seen) and not policy.meta.deleting:
                policies.append(policy)
        return policies

    def _methods(self, seen: SeenDatabase) -> list[Method]:
        wanted = {policy.spec.method for policy in self._covering_bodies(seen)}
        return sorted(wanted - {Method.SNAPSHOT}) or [Method.AUTO]

    def _incremental(self, seen: SeenDatabase) -> bool:
        rows = (row for policy in self._covering_bodies(seen) for row in policy.spec.schedules)
        return any(row.type is not BackupType.FULL for row in rows)

    def _pod_template(self, seen: SeenDatabase) -> Any:
        return next(
            (policy.spec.pod_template for policy in self._covering_bodies(seen) if policy.spec.pod_template), None
        )

    # --- policies and their runs

    async def _gather(self, seen: SeenDatabase) -> Gathered:
        covering, broken, unusable = [], None, set()
        for policy in self._covering_bodies(seen):
            try:
                covering.append(Covering(policy, effective(policy.spec, seen.spec.engine)))
            except UserFault as fault:
                broken = f"BackupPolicy {policy.meta.name} is not usable: {fault.message}"
                unusable.add(policy.meta.uid)
        finished = self._context.finished.of_database(seen.meta.uid)
        runs = [*((run.policy_uid, _past(run)) for run in finished), *self._active(seen)]
        successes, times = await self._successes(seen, finished)
        # Where a policy had come to stays, for when it is put right.
        kept = tuple(entry for entry in seen.status.policies if entry.uid in unusable)
        return Gathered(tuple(covering), tuple(runs), successes, times, broken, kept)

    def _active(self, seen: SeenDatabase) -> list[tuple[str, PastRun]]:
        found = []
        for key in self._context.cache.referring("Backup", seen.meta.namespace, f"database:{seen.meta.name}"):
            body = self._context.cache.get(key)
            if body is None:
                continue
            try:
                run: SeenBackup = read.backup(body)
            except UserFault:
                continue  # said on the Backup itself
            if run.meta.labels.get(LABEL_DATABASE_UID, seen.meta.uid) != seen.meta.uid:
                continue
            slot = slot_of(run.meta.name) if run.spec.schedule else None
            past = PastRun(run.meta.name, run.spec.schedule or "", run.meta.created, slot, active=True, succeeded=False)
            found.append((run.meta.labels.get("databosun.io/policy-uid", ""), past))
        return found

    async def _successes(
        self, seen: SeenDatabase, finished: Sequence[FinishedRun]
    ) -> tuple[tuple[Success, ...] | None, dict[str, datetime]]:
        """The successful backups, read only where the index knows of others than the status; None: as in status."""
        good = [run for run in finished if run.succeeded and not run.deleting]
        status = seen.status
        known = status.recovery.backups if status.recovery else 0
        newest = status.last_backup.name if status.last_backup else None
        if len(good) == known and (not good or any(run.name == newest for run in good)):
            return None, {}
        selector = f"{LABEL_DATABASE_UID}={seen.meta.uid},{LABEL_FINISHED}=Succeeded"
        found, times, sizes = [], {}, {}
        async for body in self._context.kube.list(BACKUPS, seen.meta.namespace, label_selector=selector):
            one = read.backup(body)
            going = one.meta.deleting or one.status.phase is BackupPhase.DELETING
            if going or one.status.size is None:
                continue
            at = one.status.snapshot_time or one.status.start_time or one.meta.created
            sizes[one.meta.name] = one.status.parent, one.status.size.stored
            times[one.meta.name] = one.status.completion_time or at
            found.append(
                Success(
                    one.meta.name, at, one.status.size.stored, one.status.engine_version, one.status.system_identifier
                )
            )
        return _with_chains(found, sizes), times

    def _timetable(self, seen: SeenDatabase, covering: Covering, gathered: Gathered, now: datetime) -> Timetabled:
        policy = covering.seen
        entry = next((entry for entry in seen.status.policies if entry.uid == policy.meta.uid), None)
        runs = tuple(run for uid, run in gathered.runs if uid == policy.meta.uid)
        last = next((run.name for run in reversed(runs) if run.succeeded), None)
        success = gathered.success_times.get(last) if last else None
        facts = TimetableFacts(
            database=seen.meta.named,
            database_created=seen.meta.created,
            policy=PolicyFacts(
                ref=policy.meta.named,
                created=policy.meta.created,
                effective=covering.effective,
                suspended=policy.spec.suspend,
                forbid_overlap=policy.spec.concurrency_policy == "Forbid",
                run_now=policy.meta.annotations.get(ANNOTATION_RUN_NOW),
            ),
            entry=entry,
            runs=runs,
            last_success=success or (entry.last_success if entry else None),
        )
        return decide_timetable(facts, now)

    def _backups(self, seen: SeenDatabase, covering: Covering, timetabled: Timetabled) -> Iterable[CreateRun]:
        """The Backups that are due."""
        policy = covering.seen
        storage = self._context.cache.version(Key("BackupStorage", seen.meta.namespace, policy.spec.storage_ref.name))
        template = BackupTemplate(
            storage=policy.spec.storage_ref.name,
            storage_uid=storage[0] if storage else None,
            method=str(covering.effective.method),
            deletion_policy=policy.spec.deletion_policy,
        )
        return (create_backup(seen.meta.named, policy.meta.named, template, order) for order in timetabled.start)

    # --- the truth

    def _status(
        self,
        seen: SeenDatabase,
        gathered: Gathered,
        timetables: Sequence[Timetabled],
        probe: dict[str, Any],
        drilling: Drilling,
        points: tuple[Success | None, Recovery | None],
        now: datetime,
    ) -> tuple[dict[str, Any], datetime | None]:
        old = seen.status
        objectives = tier_objectives(seen.spec.tier, seen.spec.objectives)
        newest, recovery = points
        active = [covering for covering in gathered.covering if not covering.seen.spec.suspend]
        shortest = self._shortest_interval(active, now)
        facts = ProtectionFacts(
            policies=len(gathered.covering) + (1 if gathered.broken else 0),
            broken=gathered.broken,
            newest=newest,
            interval=shortest,
            rpo=objectives.rpo,
            unreachable_objective=objective_out_of_reach(shortest, objectives.rpo) if shortest is not None else None,
        )
        verdicts = decide_protection(facts, now)
        wanted = [*(probe.get("conditions") or _as_wanted(old)), *verdicts.conditions, *drilling.conditions]
        looked = probe.get("probe")
        update: dict[str, Any] = {
            "observed_generation": seen.meta.generation,
            "conditions": merge_conditions(old.conditions, wanted, seen.meta.generation, now),
            "objectives": EffectiveObjectives(
                tier=seen.spec.tier, rto=format_duration(objectives.rto), rpo=format_duration(objectives.rpo)
            ),
            "recovery": recovery,
            "policies": [*(timetable.entry for timetable in timetables), *gathered.kept],
            "last_backup": _last_backup(newest),
            **drilling.update,
        }
        version = (looked.engine_version if looked else None) or (newest.engine_version if newest else None)
        identifier = (looked.system_identifier if looked else None) or (newest.system_identifier if newest else None)
        update |= {
            "engine_version": version or old.engine_version,
            "system_identifier": identifier or old.system_identifier,
        }
        if "probed" in probe:
            update["probed_generation"] = probe["probed"]
        if "at" in probe:
            update["last_probe_time"] = probe["at"].replace(microsecond=0)
        return old.model_copy(update=update).dump(), verdicts.wake_at

    @staticmethod
    def _recovery(old: DatabaseStatus, gathered: Gathered) -> tuple[Success | None, Recovery | None]:
        if gathered.successes is None:
            known = old.last_backup
            return (_as_success(known) if known else None), old.recovery
        if not gathered.successes:
            return None, None
        newest = gathered.successes[-1]
        return newest, Recovery(
            earliest=gathered.successes[0].at, latest=newest.at, continuous=False, backups=len(gathered.successes)
        )

    @staticmethod
    def _shortest_interval(covering: Sequence[Covering], now: datetime) -> timedelta | None:
        spans = (interval(row.cron, one.effective.zone, now) for one in covering for row in one.effective.schedules)
        return min(spans, default=None)


def _last_backup(newest: Success | None) -> LastBackup | None:
    if newest is None:
        return None
    return LastBackup(
        name=newest.name,
        at=newest.at,
        size_bytes=newest.size_bytes,
        restore_bytes=newest.restore_bytes,
        engine_version=newest.engine_version,
    )


def _as_success(known: LastBackup) -> Success:
    return Success(known.name, known.at, known.size_bytes, known.engine_version, restore_bytes=known.restore_bytes)


def _with_chains(found: Sequence[Success], sizes: Mapping[str, tuple[str | None, int]]) -> tuple[Success, ...]:
    """Oldest first; each with what restoring it reads."""
    ordered = sorted(found, key=lambda one: (one.at, one.name))
    return tuple(replace(one, restore_bytes=chain_bytes(one.name, sizes)) for one in ordered)


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


def _past(run: FinishedRun) -> PastRun:
    return PastRun(
        run.name,
        run.schedule,
        run.created,
        slot_of(run.name) if run.schedule else None,
        active=False,
        succeeded=run.succeeded,
    )
