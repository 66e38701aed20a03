"""Erasure requests: gather what one must be told, who consented, what forbids it, and what holds the person still."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from databosun.api.quantities import parse_duration
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.targets import SUBJECT, SecretUse
from databosun.api.v1alpha1.erasurerequest import ERASURE_FINAL, ErasurePhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.consent import consents_now, held_as_a_whole
from databosun.controllers.context import Context
from databosun.controllers.handmade import hand_made
from databosun.controllers.keepers import BackupsThere, backups_of, kept_of, under_way
from databosun.controllers.lookup import demand
from databosun.controllers.ordering import runner_image
from databosun.controllers.reckoning import Reckoner
from databosun.controllers.records import newest_record
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenErasure, SeenLifecyclePolicy, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.consent import Consent, in_force
from databosun.domain.erasureorder import erasure_order, wait_of
from databosun.domain.erasurerun import ERASURE_RUN, ErasureFacts, ErasureJobOrder, decide_erasure
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Operation
from databosun.domain.keyrules import demand_places
from databosun.domain.lifecycleorder import hold_of
from databosun.domain.plan import LABEL_DATABASE_UID, Plan
from databosun.domain.remains import Kept
from databosun.domain.requests import database_target, erasure_secrets, storage_target
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.domain.whereabouts import whereabouts
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, ERASURE_REQUESTS, LIFECYCLE_POLICIES
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureOrdered(Ordering):
    """What was found. `order` is None where it is not known what to do."""

    order: ErasureJobOrder | None = None
    consent: Consent | None = None
    withdrawn: Doomed | None = None
    kept: tuple[Kept, ...] | None = None


@dataclass(frozen=True, slots=True)
class Whose:
    """A request, and what it refers to. `policies`: those of the database, whose holds it heeds."""

    request: SeenErasure
    database: SeenDatabase
    storage: SeenStorage
    policies: tuple[SeenLifecyclePolicy, ...]


class ErasureController(RunController[SeenErasure, ErasureOrdered]):
    """Erasure requests, each one a run."""

    resource = ERASURE_REQUESTS
    operation = Operation.LIFECYCLE
    task = "erase"
    run_kind = ERASURE_RUN
    final_phases = ERASURE_FINAL
    by_schedule = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._reckoner = Reckoner(context)

    def parse(self, body: Mapping[str, Any]) -> SeenErasure:
        return read.erasure(body)

    def active(self, seen: SeenErasure) -> bool:
        # Backups must not wait for a person.
        return bool(seen.status.attempts) and seen.status.phase is not ErasurePhase.AWAITING_APPROVAL

    def decide(self, seen: SeenErasure, ordered: ErasureOrdered, state: RunState, now: datetime) -> Plan:
        facts = ErasureFacts(
            state,
            seen.spec,
            seen.status,
            ordered.order,
            consent=ordered.consent,
            withdrawn=ordered.withdrawn,
            kept=ordered.kept,
        )
        return decide_erasure(facts, now)

    def dependants(self, seen: SeenErasure) -> Iterable[Key]:
        return ()

    async def reconcile(self, key: Key) -> datetime | None:
        """One look; of a finished one, whether a backup holds the person still."""
        again = await super().reconcile(key)
        run = self._context.finished_of(key.kind).get(key.namespace, key.name)
        if again is not None or run is None or run.deleting:
            return again
        body = await self._context.kube.get(ERASURE_REQUESTS, key.namespace, key.name)
        return await self._reckoner.reconcile(key, self.parse(body)) if body is not None else None

    async def gather(self, seen: SeenErasure, *, begins: bool) -> ErasureOrdered:
        spec, now = seen.spec, self._context.clock.now()
        planned = seen.status.plan
        limits = Limits(
            # The look took attempts of its own.
            retries=spec.retries + (planned.attempt if planned is not None else 0),
            deadline=parse_duration(spec.deadline),
            start_deadline=parse_duration(spec.start_deadline),
        )
        tried = bool(seen.status.attempts)
        ordered = ErasureOrdered(
            limits=limits,
            doomed=hand_made("ErasureRequest", seen.meta, spec.not_after, tried=tried, now=now),
            starting_deadline=limits.deadline,
            database_uid=seen.meta.labels.get(LABEL_DATABASE_UID),
        )
        try:
            return await self._ordered(await self._whose(seen), ordered, now, begins=begins)
        except UserFault as fault:
            why = Doomed(fault.reason, fault.message)
            taken = why if seen.status.approved is not None and not begins else None
            return replace(ordered, doomed=ordered.doomed or why, withdrawn=taken)

    async def _whose(self, seen: SeenErasure) -> Whose:
        """Read live what is to be worked on. UserFault where something of it is not there."""
        context, namespace, spec = self._context, seen.meta.namespace, seen.spec
        name = spec.database_ref.name
        database = await demand(
            context, DATABASES, namespace, name, read.database, "named in spec.databaseRef", live=True
        )
        name = spec.storage_ref.name
        storage = await demand(
            context, BACKUP_STORAGES, namespace, name, read.storage, "named in spec.storageRef", live=True
        )
        keys = context.cache.referring(LIFECYCLE_POLICIES.kind, namespace, f"database:{database.meta.name}")
        bodies = [await context.kube.get(LIFECYCLE_POLICIES, namespace, key.name) for key in sorted(keys)]
        policies = [read.lifecycle_policy(body) for body in bodies if body is not None]
        return Whose(seen, database, storage, tuple(one for one in policies if _same_database(seen, one)))

    async def _ordered(self, whose: Whose, ordered: ErasureOrdered, now: datetime, *, begins: bool) -> ErasureOrdered:
        seen, database, storage = whose.request, whose.database, whose.storage
        ordered = replace(stored_in(ordered, storage, seen.spec.not_after), database_uid=database.meta.uid)
        forbidden = await self._forbidden(whose, now)
        order = self._order(whose)
        approved, plan = seen.status.approved, seen.status.plan
        consent = await self._consent(seen, plan.hash, now) if plan is not None else None
        if approved is not None and seen.status.phase is ErasurePhase.RUNNING:
            taken_back = consent is None
            if taken_back and forbidden is None:
                message = f"plan {approved}, which is carried out, is not approved any more"
                forbidden = Doomed(Reason.NOT_APPROVED, message)
            if not begins:
                there = await self._backups(whose)
                kept = (*kept_of(self._context, there.stored), *under_way(there.without))
                return replace(ordered, order=order, consent=consent, withdrawn=forbidden, kept=kept)
        if approved is not None:
            order = replace(order, previous=await self._previous(whose))
        doomed = ordered.doomed or (forbidden if begins else None)
        return replace(ordered, order=order, consent=consent, doomed=doomed)

    async def _forbidden(self, whose: Whose, now: datetime) -> Doomed | None:
        """What must be otherwise before anybody can be erased."""
        database, storage = whose.database, whose.storage
        engine, key = database.spec.engine, whose.request.spec.storage_ref.name
        if not (known := CAPABILITIES.get(engine)) or not known.erases:
            return Doomed(Reason.UNSUPPORTED_ENGINE, f"this release erases nobody in {engine}")
        try:
            demand_places(whose.request.spec.rules, engine, keyed=known.keyed)
        except UserFault as fault:
            return Doomed(fault.reason, fault.message)
        if storage.spec.erasure is None:
            message = (
                f"BackupStorage {key} names no spec.erasure.keySecretRef; without that key no restore would find again"
                " who was erased"
            )
            return Doomed(Reason.ERASURE_KEY_MISSING, message)
        for policy in whose.policies:
            if held := held_as_a_whole(policy, database, now):
                return Doomed(Reason.BLOCKED_BY_HOLD, held)
        stored = (await self._backups(whose)).stored
        elsewhere = [one for one in stored if one.storage not in (None, key)]
        if elsewhere:
            told = ", ".join(f"{one.name} in {one.storage}" for one in elsewhere[:5])
            message = (
                f"{len(elsewhere)} backups of Database {database.meta.name} lie elsewhere than in BackupStorage {key}"
                f" ({told}); a restore of one would bring the person back"
            )
            return Doomed(Reason.BACKUPS_ELSEWHERE, message)
        return None

    async def _consent(self, seen: SeenErasure, plan_hash: str, now: datetime) -> Consent | None:
        key = Key(ERASURE_REQUESTS.kind, seen.meta.namespace, seen.meta.name)
        return in_force(await consents_now(self._context, key, seen.status.approval), plan_hash, now)

    def _order(self, whose: Whose) -> ErasureJobOrder:
        request, database, storage = whose.request, whose.database, whose.storage
        spec = request.spec
        port = CAPABILITIES[database.spec.engine].port
        target, logins = database_target(database.meta.named, database.spec, port, database.status.engine_version)
        place, secrets = storage_target(storage.meta.named, storage.spec, self._context.cluster_id)
        subject = SecretUse(
            use=SUBJECT, secret=spec.subject_secret_ref.name, keys={SUBJECT: spec.subject_secret_ref.key}
        )
        holds = [
            hold_of(hold).model_copy(update={"name": f"{policy.meta.name}/{hold.name}"})
            for policy in whose.policies
            for hold in policy.spec.holds
        ]
        system = database.status.system_identifier
        where = whereabouts(database.meta.uid, database.spec, system, storage.spec)
        return ErasureJobOrder(
            order=erasure_order(spec, where, holds),
            database=target,
            storage=place,
            secrets=(*logins, *secrets, *erasure_secrets(storage.spec), subject),
            image=runner_image(self._context, database),
            at=request.meta.created,
            wait=wait_of(spec),
            system=system,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=spec.pod_template,
        )

    async def _backups(self, whose: Whose) -> BackupsThere:
        database = whose.database
        system = database.status.system_identifier
        return await backups_of(self._context, database.meta.namespace, database.meta.name, database.meta.uid, system)

    async def _previous(self, whose: Whose) -> PreviousEvidence | None:
        """The newest audit of an erasure in this database."""
        of, namespace = f"{LABEL_DATABASE_UID}={whose.database.meta.uid}", whose.request.meta.namespace
        return await newest_record(self._context, ERASURE_REQUESTS, namespace, of, read.erasure, _audit)


def _audit(request: SeenErasure) -> str | None:
    return request.status.audit.sha256 if request.status.audit is not None else None


def _same_database(request: SeenErasure, policy: SeenLifecyclePolicy) -> bool:
    """Whether a policy's holds are on tables of the database that the request is about, as far as both say which."""
    names = {request.spec.database, policy.spec.database} - {None}
    return len(names) < 2
