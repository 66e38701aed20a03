"""Drill runs: gather what one must be told and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.drill import Level, PointKind
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec, Selection, SelectPoint
from databosun.api.v1alpha1.restoredrillrun import DRILL_FINAL
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.candidates import Known
from databosun.controllers.handmade import hand_made
from databosun.controllers.keepers import known_erasures
from databosun.controllers.lookup import find_usable, without_database
from databosun.controllers.records import Records, evidence, newest_record, records_of
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenDrill, SeenDrillRun, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.drillpolicy import effective_drill
from databosun.domain.drillrun import (
    DRILL_RUN,
    DrillOrder,
    DrillRunFacts,
    decide_drill_run,
    finish_labels,
    proof_of,
)
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Operation
from databosun.domain.measured import asked_checks, scratch_for
from databosun.domain.plan import LABEL_DATABASE_UID, Action, Plan, RecordProof
from databosun.domain.requests import database_target, erasure_secrets, identity_secrets, storage_target
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.domain.selection import chain_of, choose, chosen, instant_between
from databosun.domain.tiers import Objectives, override, tier_objectives
from databosun.engines.registry import supported
from databosun.kube.resources import BACKUPS, DATABASES, RESTORE_DRILL_RUNS, RESTORE_DRILLS
from databosun.runtime.queue import Key

NO_DRILL = RestoreDrillSpec.model_validate({"databaseRef": {"name": "none"}})


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillOrdered(Ordering):
    """What was found. `order` is None where it is not known what to drill, or nothing begins."""

    order: DrillOrder | None = None
    evidence_lock: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be drilled, and how: from the run, its drill, and the database."""

    run: SeenDrillRun
    drill: SeenDrill | None
    database: SeenDatabase

    @property
    def selection(self) -> Selection:
        """Which backup, to which point."""
        return self.run.spec.selection or (self.drill.spec.selection if self.drill else Selection())

    @property
    def level(self) -> Level:
        """How deep."""
        return self.run.spec.level or (self.drill.spec.level if self.drill else Level.RESTORE)

    @property
    def objectives(self) -> Objectives:
        """What is measured against: each of the run's own, else the drill's, else the database's."""
        known = tier_objectives(self.database.spec.tier, self.database.spec.objectives)
        for one in (self.drill.spec.objectives if self.drill else None, self.run.spec.objectives):
            known = override(known, one)
        return known


class DrillRunController(RunController[SeenDrillRun, DrillOrdered]):
    """Drills, each one a run."""

    resource = RESTORE_DRILL_RUNS
    operation = Operation.DRILL
    task = "drill"
    run_kind = DRILL_RUN
    final_phases = DRILL_FINAL

    def parse(self, body: Mapping[str, Any]) -> SeenDrillRun:
        return read.drill_run(body)

    def decide(self, seen: SeenDrillRun, ordered: DrillOrdered, state: RunState, now: datetime) -> Plan:
        return decide_drill_run(DrillRunFacts(state, seen.spec, seen.status, ordered.order), now)

    def dependants(self, seen: SeenDrillRun) -> Iterable[Key]:
        namespace, spec = seen.meta.namespace, seen.spec
        yield Key("Database", namespace, spec.database_name)
        if spec.part_of is not None:
            yield Key("RestoreDrillRun", namespace, spec.part_of.name)
        if spec.drill_ref is not None:
            yield Key("RestoreDrill", namespace, spec.drill_ref.name)
        # Whoever wanted to delete the backup waits.
        yield from self._context.cache.keys("BackupPolicy", namespace)

    async def before_finish(self, seen: SeenDrillRun) -> tuple[Action, ...]:
        proof, backup = proof_of(seen.meta.name, seen.status), seen.status.backup
        if proof is None or backup is None:
            return ()
        return (RecordProof(seen.meta.namespace, backup.name, backup.checksum, proof),)

    async def learn(self, seen: SeenDrillRun) -> None:
        """No watch tells of the mark that a proof left on its Backup: two leaders would contradict each other."""
        backup = seen.status.backup
        if backup is None or proof_of(seen.meta.name, seen.status) is None:
            return
        body = await self._context.kube.get(BACKUPS, seen.meta.namespace, backup.name)
        if body is not None:
            self._context.took("Backup", body)

    def finish_labels(self, seen: SeenDrillRun) -> Mapping[str, str]:
        return finish_labels(seen.meta.name, seen.status)

    async def gather(self, seen: SeenDrillRun, *, begins: bool) -> DrillOrdered:
        namespace, spec, now = seen.meta.namespace, seen.spec, self._context.clock.now()
        database = await find_usable(self._context, DATABASES, namespace, spec.database_name, read.database)
        drill_name = spec.drill_ref.name if spec.drill_ref else None
        drill = await find_usable(self._context, RESTORE_DRILLS, namespace, drill_name, read.drill)
        known_uid = seen.meta.labels.get(LABEL_DATABASE_UID)
        doomed = self._doomed(seen, database, drill, now)
        effective = effective_drill(NO_DRILL, 3)
        try:
            if drill is not None and database is not None:
                effective = effective_drill(drill.spec, database.spec.tier)
        except UserFault as fault:
            doomed = doomed or Doomed(fault.reason, f"RestoreDrill {drill_name}: {fault.message}")
        ordered = DrillOrdered(
            limits=effective.limits if database is None else effective.limits_of(database.spec.engine),
            evidence_lock=effective.evidence_lock,
            doomed=doomed,
            database_uid=known_uid or (database.meta.uid if database else None),
            policy_uid=drill.meta.uid if drill else None,
            starting_deadline=effective.starting_deadline,
        )
        if database is None or (spec.drill_ref is not None and drill is None):
            return ordered
        return await self._with_backup(Asked(seen, drill, database), ordered, now, begins=begins)

    async def _with_backup(self, asked: Asked, ordered: DrillOrdered, now: datetime, *, begins: bool) -> DrillOrdered:
        """The same with the backup that is chosen, or was, and the storage that holds it."""
        context, namespace, backup = self._context, asked.run.meta.namespace, asked.run.status.backup
        until = asked.run.status.until
        known: Known = {}
        doomed = ordered.doomed
        if begins:
            known = await found_backups.candidates_of(context, namespace, asked.database, asked.database.meta.name)
            if backup is None:
                backup, until, none = self._choose(asked, known, now)
                doomed = doomed or none
            else:
                doomed = doomed or await found_backups.still_there(context, namespace, backup)
        if backup is None:
            return replace(ordered, doomed=doomed)
        storage, away = await found_backups.storage_of(context, namespace, backup)
        if storage is None:
            return replace(ordered, doomed=doomed or away)
        ordered = stored_in(replace(ordered, doomed=doomed), storage, asked.run.spec.not_after)
        if not begins:
            return ordered
        try:
            point = until or TargetPoint(kind=PointKind.NONE)
            records = await records_of(context, asked.drill, ordered.evidence_lock, storage)
            order = await self._order(asked, ordered, backup, point, storage, known, records)
            return replace(ordered, order=order, blocked=ordered.blocked or records.blocked)
        except UserFault as fault:
            return replace(ordered, doomed=doomed or Doomed(fault.reason, fault.message))

    @staticmethod
    def _doomed(
        seen: SeenDrillRun, database: SeenDatabase | None, drill: SeenDrill | None, now: datetime
    ) -> Doomed | None:
        spec, namespace = seen.spec, seen.meta.namespace
        nothing = without_database(seen.meta, spec.database_name, database)
        if nothing is not None or database is None:
            return nothing
        if spec.drill_ref is not None and drill is None:
            message = f"RestoreDrill {namespace}/{spec.drill_ref.name} named in spec.drillRef does not exist"
            return Doomed(Reason.DRILL_NOT_FOUND, message)
        if database.spec.engine not in supported():
            message = f"this release drills no {database.spec.engine}; it serves {', '.join(supported())}"
            return Doomed(Reason.UNSUPPORTED_ENGINE, message)
        if spec.scheduled_for is None:
            return hand_made("RestoreDrillRun", seen.meta, spec.not_after, tried=bool(seen.status.attempts), now=now)
        return None

    def _choose(
        self, asked: Asked, known: Known, now: datetime
    ) -> tuple[ChosenBackup | None, TargetPoint | None, Doomed | None]:
        """Which backup and which point; the run's uid is the only chance in it."""
        seen, drill, name = asked.run, asked.drill, asked.database.meta.name
        where = f"{seen.meta.namespace}/{name}"
        if seen.spec.backup_ref is not None:
            one = known.get(seen.spec.backup_ref.name)
            if one is None:
                message = f"Backup {seen.spec.backup_ref.name} is no successful backup of Database {where}"
                return None, None, Doomed(Reason.BACKUP_NOT_FOUND, message)
        else:
            fit = [one for one in known.values() if self._of_policy(drill, one.policy_uid, seen.meta.namespace)]
            found = choose(fit, asked.selection.from_, seen.meta.uid)
            if found is None:
                whose = f" of BackupPolicy {drill.spec.policy_ref.name}" if drill and drill.spec.policy_ref else ""
                message = f"Database {where} has no successful backup{whose} to drill"
                return None, None, Doomed(Reason.NO_BACKUP, message)
            one = found
        backup = chosen(one, known, now)
        recovery = asked.database.status.recovery
        match asked.selection.point_in_time:
            case SelectPoint.NONE:
                return backup, TargetPoint(kind=PointKind.NONE), None
            case SelectPoint.LATEST:
                return backup, TargetPoint(kind=PointKind.LATEST), None
            case SelectPoint.RANDOM_IN_WINDOW:
                if recovery is None or not recovery.continuous or recovery.latest is None:
                    message = f"no log of Database {where} is shipped, so there is no window to choose a point from"
                    return None, None, Doomed(Reason.LOG_MISSING, message)
                at = instant_between(seen.meta.uid, one.completed, max(one.completed, recovery.latest))
                return backup, TargetPoint(kind=PointKind.TIME, time=at), None

    def _of_policy(self, drill: SeenDrill | None, policy_uid: str, namespace: str) -> bool:
        if drill is None or drill.spec.policy_ref is None:
            return True
        version = self._context.cache.version(Key("BackupPolicy", namespace, drill.spec.policy_ref.name))
        return version is not None and version[0] == policy_uid

    async def _order(
        self,
        asked: Asked,
        ordered: DrillOrdered,
        backup: ChosenBackup,
        until: TargetPoint,
        storage: SeenStorage,
        known: Known,
        records: Records,
    ) -> DrillOrder:
        context, database, drill = self._context, asked.database, asked.drill
        spec = asked.run.spec
        known_engine = CAPABILITIES[database.spec.engine]
        target, login = database_target(database.meta.named, database.spec, known_engine.port, backup.engine_version)
        place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        checks = spec.checks if spec.checks is not None else (drill.spec.checks if drill else [])
        objectives = asked.objectives
        return DrillOrder(
            database=target,
            storage=place,
            # Only a copy that a cloud makes needs a login; no other drill is given any of the source.
            secrets=(
                *secrets,
                *identity_secrets(storage.spec),
                *erasure_secrets(storage.spec),
                *(login if known_engine.managed else ()),
            ),
            image=found_backups.reader_image(context, database, database.spec.engine, backup.engine_version),
            backup=backup,
            until=until,
            level=asked.run.status.level or asked.level,
            checks=tuple(asked_checks(checks)),
            rto_seconds=objectives.rto.total_seconds(),
            rpo_seconds=objectives.rpo.total_seconds(),
            heartbeat=database.spec.heartbeat is not None,
            previous=await self._previous(asked.run, database) if asked.run.status.backup is not None else None,
            record=records.place,
            record_secrets=records.secrets,
            policy_uid=ordered.policy_uid,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=drill.spec.pod_template if drill else None,
            erased=await known_erasures(context, database.meta.namespace, backup.database),
            scratch_bytes=scratch_for([one.logical_bytes for one in chain_of(backup.name, known)]),
        )

    async def _previous(self, run: SeenDrillRun, database: SeenDatabase) -> PreviousEvidence | None:
        """The newest evidence of this database."""
        of = f"{LABEL_DATABASE_UID}={database.meta.uid}"
        return await newest_record(self._context, RESTORE_DRILL_RUNS, run.meta.namespace, of, read.drill_run, evidence)
