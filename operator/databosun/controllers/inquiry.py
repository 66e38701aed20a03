"""Inquiries: gather what one must be told and what stands in its way, and let it go when its answer is old."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from databosun.api.drill import PointKind
from databosun.api.quantities import parse_duration
from databosun.api.v1alpha1.inquiry import INQUIRY_FINAL, ComparisonAsked
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.candidates import Known
from databosun.controllers.errand import merge_secrets
from databosun.controllers.handmade import hand_made
from databosun.controllers.lookup import demand
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenInquiry, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.domain.inquiry import INQUIRY_RUN, KEPT, InquiryFacts, InquiryOrder, decide_inquiry
from databosun.domain.interlock import Operation
from databosun.domain.measured import scratch_for
from databosun.domain.plan import DeleteObject, Plan
from databosun.domain.requests import database_target, identity_secrets, storage_target
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.domain.selection import Candidate, before, chain_of, chosen
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, INQUIRIES
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class InquiryOrdered(Ordering):
    """What was found. `order` is None where it is not known whom to ask, or nothing begins."""

    order: InquiryOrder | None = None


class InquiryController(RunController[SeenInquiry, InquiryOrdered]):
    """Inquiries, each one a run."""

    resource = INQUIRIES
    operation = Operation.DRILL
    task = "inquire"
    run_kind = INQUIRY_RUN
    final_phases = INQUIRY_FINAL
    by_schedule = False

    def parse(self, body: Mapping[str, Any]) -> SeenInquiry:
        return read.inquiry(body)

    def recoverable(self, ordered: InquiryOrdered) -> bool:
        return False

    def decide(self, seen: SeenInquiry, ordered: InquiryOrdered, state: RunState, now: datetime) -> Plan:
        return decide_inquiry(InquiryFacts(state, seen.spec, seen.status, ordered.order), now)

    def dependants(self, seen: SeenInquiry) -> Iterable[Key]:
        # Whoever wanted to delete the backup waits.
        return self._context.cache.keys("BackupPolicy", seen.meta.namespace)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look; a finished inquiry goes a day after it was asked."""
        again = await super().reconcile(key)
        run = self._context.finished_of(key.kind).get(key.namespace, key.name)
        if again is not None or run is None or run.deleting:
            return again
        gone_at, now = run.created + KEPT, self._context.clock.now()
        if now < gone_at:
            return gone_at
        body = await self._context.kube.get(INQUIRIES, key.namespace, key.name)
        if body is not None and body["metadata"]["uid"] == run.uid:
            seen = self.parse(body)
            version = seen.meta.resource_version
            delete = DeleteObject(INQUIRIES.kind, key.namespace, key.name, run.uid, version)
            await self._applier.apply(seen.meta, seen.raw_status, Plan(after=(delete,)))
        return None

    async def gather(self, seen: SeenInquiry, *, begins: bool) -> InquiryOrdered:
        spec, now = seen.spec, self._context.clock.now()
        limits = Limits(
            retries=spec.retries,
            deadline=parse_duration(spec.deadline),
            start_deadline=parse_duration(spec.start_deadline),
        )
        ordered = InquiryOrdered(
            limits=limits,
            doomed=hand_made("Inquiry", seen.meta, spec.not_after, tried=bool(seen.status.attempts), now=now),
            starting_deadline=limits.deadline,
        )
        if not begins and spec.comparison is None:
            return ordered
        try:
            if spec.comparison is not None:
                return await self._comparison(seen, spec.comparison, ordered, now, begins=begins)
            return await self._records(seen, ordered)
        except UserFault as fault:
            return replace(ordered, doomed=ordered.doomed or Doomed(fault.reason, fault.message))

    async def _records(self, seen: SeenInquiry, ordered: InquiryOrdered) -> InquiryOrdered:
        """Reading a few small objects takes nobody's place, so it waits for nobody."""
        context, asked, namespace = self._context, seen.spec.records, seen.meta.namespace
        name, of = asked.storage_ref.name if asked is not None else "", "named in spec.records.storageRef"
        storage = await demand(context, BACKUP_STORAGES, namespace, name, read.storage, of)
        image = context.images.any_runner()
        if image is None:
            message = "this installation names no runner image; set runners.images of the chart"
            raise UserFault(Reason.NO_RUNNER_IMAGE, message)
        place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        order = InquiryOrder(
            storage=place,
            secrets=tuple(one for one in secrets if one.use != "signing"),
            image=image,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=seen.spec.pod_template or storage.spec.pod_template,
        )
        return replace(ordered, order=order, blocked=found_backups.not_ready(storage, seen.spec.not_after))

    async def _comparison(
        self, seen: SeenInquiry, asked: ComparisonAsked, ordered: InquiryOrdered, now: datetime, *, begins: bool
    ) -> InquiryOrdered:
        context, namespace = self._context, seen.meta.namespace
        name, of = asked.database_ref.name, "named in spec.comparison"
        database = await demand(context, DATABASES, namespace, name, read.database, of, live=True)
        ordered = replace(ordered, database_uid=database.meta.uid)
        if not begins:
            return ordered
        known = await found_backups.candidates_of(context, namespace, database, database.meta.name)
        backup, until = seen.status.backup, seen.status.until
        if backup is None or until is None:
            backup, until = self._choose(asked, database, known, now)
        elif gone := await found_backups.still_there(context, namespace, backup):
            return replace(ordered, doomed=ordered.doomed or gone)
        storage, away = await found_backups.storage_of(context, namespace, backup)
        if storage is None:
            return replace(ordered, doomed=ordered.doomed or away)
        order = self._order(seen, database, storage, backup, until, known)
        return stored_in(replace(ordered, order=order), storage, seen.spec.not_after)

    @staticmethod
    def _choose(
        asked: ComparisonAsked, database: SeenDatabase, known: Known, now: datetime
    ) -> tuple[ChosenBackup, TargetPoint]:
        """The newest backup that reaches back to the point, or the one that is named. UserFault where there is none."""
        where, at = f"{database.meta.namespace}/{database.meta.name}", asked.point_in_time
        until = TargetPoint(kind=PointKind.NONE) if at is None else TargetPoint(kind=PointKind.TIME, time=at)
        if asked.backup_ref is not None:
            one: Candidate | None = known.get(asked.backup_ref.name)
            if one is None:
                message = f"Backup {asked.backup_ref.name} is no successful backup of Database {where}"
                raise UserFault(Reason.BACKUP_NOT_FOUND, message)
            return chosen(one, known, now), until
        usable = [each for each in known.values() if at is None or each.takes_log]
        fit = before(usable, at)
        if not fit:
            when = f" from before {at.isoformat()} that a log can be replayed on" if at else ""
            raise UserFault(Reason.NO_BACKUP, f"Database {where} has no successful backup{when}")
        return chosen(fit[0], known, now), until

    def _order(
        self,
        seen: SeenInquiry,
        database: SeenDatabase,
        storage: SeenStorage,
        backup: ChosenBackup,
        until: TargetPoint,
        known: Known,
    ) -> InquiryOrder:
        context, engine = self._context, database.spec.engine
        target, logins = database_target(
            database.meta.named, database.spec, CAPABILITIES[engine].port, backup.engine_version
        )
        place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        reading = [one for one in secrets if one.use != "signing"]
        return InquiryOrder(
            storage=place,
            secrets=tuple(merge_secrets(logins, reading, identity_secrets(storage.spec))),
            image=found_backups.reader_image(context, database, engine, backup.engine_version),
            backup=backup,
            until=until,
            database=target,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=seen.spec.pod_template,
            scratch_bytes=scratch_for([one.logical_bytes for one in chain_of(backup.name, known)]),
        )
