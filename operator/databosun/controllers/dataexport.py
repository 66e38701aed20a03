"""Exports of one person's data: gather what one must be told, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.targets import SUBJECT, SecretUse
from databosun.api.v1alpha1.dataexport import EXPORT_FINAL
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.handmade import hand_made
from databosun.controllers.lookup import demand
from databosun.controllers.ordering import runner_image
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenExport, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.domain.exportrun import EXPORT_RUN, ExportFacts, ExportJobOrder, decide_export, kept_for
from databosun.domain.interlock import Operation
from databosun.domain.keyrules import demand_places
from databosun.domain.plan import Plan
from databosun.domain.requests import database_target, erasure_secrets, storage_target
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.kube.resources import BACKUP_STORAGES, DATA_EXPORTS, DATABASES
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrdered(Ordering):
    """What was found. `order` is None where it is not known what to do."""

    order: ExportJobOrder | None = None


class DataExportController(RunController[SeenExport, ExportOrdered]):
    """Exports, each one a run."""

    resource = DATA_EXPORTS
    operation = Operation.DRILL  # as an inquiry, it reads the database, and waits while rows go
    task = "export"
    run_kind = EXPORT_RUN
    final_phases = EXPORT_FINAL
    by_schedule = False

    def parse(self, body: Mapping[str, Any]) -> SeenExport:
        return read.dataexport(body)

    def decide(self, seen: SeenExport, ordered: ExportOrdered, state: RunState, now: datetime) -> Plan:
        return decide_export(ExportFacts(state, seen.spec, seen.status, ordered.order), now)

    def dependants(self, seen: SeenExport) -> Iterable[Key]:
        return ()

    async def gather(self, seen: SeenExport, *, begins: bool) -> ExportOrdered:
        spec, now = seen.spec, self._context.clock.now()
        limits = Limits(
            retries=spec.retries,
            deadline=parse_duration(spec.deadline),
            start_deadline=parse_duration(spec.start_deadline),
        )
        ordered = ExportOrdered(
            limits=limits,
            doomed=hand_made("DataExport", seen.meta, spec.not_after, tried=bool(seen.status.attempts), now=now),
            starting_deadline=limits.deadline,
        )
        try:
            return await self._ordered(seen, ordered)
        except UserFault as fault:
            return replace(ordered, doomed=ordered.doomed or Doomed(fault.reason, fault.message))

    async def _ordered(self, seen: SeenExport, ordered: ExportOrdered) -> ExportOrdered:
        context, namespace, spec = self._context, seen.meta.namespace, seen.spec
        database = await demand(
            context, DATABASES, namespace, spec.database_ref.name, read.database, "named in spec.databaseRef", live=True
        )
        storage = await demand(
            context,
            BACKUP_STORAGES,
            namespace,
            spec.storage_ref.name,
            read.storage,
            "named in spec.storageRef",
            live=True,
        )
        ordered = replace(stored_in(ordered, storage, spec.not_after), database_uid=database.meta.uid)
        return replace(ordered, order=self._order(seen, database, storage))

    def _order(self, seen: SeenExport, database: SeenDatabase, storage: SeenStorage) -> ExportJobOrder:
        spec, engine = seen.spec, database.spec.engine
        if not (known := CAPABILITIES.get(engine)) or not known.erases:
            raise UserFault(Reason.UNSUPPORTED_ENGINE, f"this release finds nobody's rows in {engine}")
        demand_places(spec.rules, engine, keyed=known.keyed)
        if storage.spec.erasure is None:
            message = (
                f"BackupStorage {storage.meta.name} names no spec.erasure.keySecretRef; without that key no receipt can"
                " tell whom it is about"
            )
            raise UserFault(Reason.ERASURE_KEY_MISSING, message)
        target, logins = database_target(database.meta.named, database.spec, known.port, database.status.engine_version)
        place, secrets = storage_target(storage.meta.named, storage.spec, self._context.cluster_id)
        ref = spec.subject_secret_ref
        subject = SecretUse(use=SUBJECT, secret=ref.name, keys={SUBJECT: ref.key})
        return ExportJobOrder(
            kept=kept_for(spec),
            database=target,
            storage=place,
            secrets=(*logins, *secrets, *erasure_secrets(storage.spec), subject),
            image=runner_image(self._context, database),
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=spec.pod_template,
        )
