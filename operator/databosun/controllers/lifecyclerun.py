"""Lifecycle runs: gather what one must be told, and what forbids it or stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.lifecycle import LifecycleMode, LifecycleOrder
from databosun.api.quantities import format_duration
from databosun.api.recordtasks import PreviousEvidence
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.lifecyclerun import LIFECYCLE_FINAL
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import seen as read
from databosun.controllers.consent import consent_to_rules_now, held_as_a_whole
from databosun.controllers.handmade import hand_made
from databosun.controllers.lookup import demand
from databosun.controllers.ordering import runner_image
from databosun.controllers.records import newest_record
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy, SeenLifecycleRun, SeenStorage
from databosun.controllers.tiering import demand_served, scope_of
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.consent import Consent
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Operation
from databosun.domain.lifecycleorder import (
    EffectiveLifecycle,
    batch_of,
    effective_lifecycle,
    order_digest,
    order_of,
    throttle_of,
)
from databosun.domain.lifecyclerun import (
    CLOSING,
    LIFECYCLE_RUN,
    LifecycleJobOrder,
    LifecycleRunFacts,
    decide_lifecycle_run,
)
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_MODE, LABEL_POLICY_UID, Plan
from databosun.domain.requests import database_target, storage_target
from databosun.domain.run import Blocked, Doomed
from databosun.domain.running import RunState
from databosun.domain.timing import window_at
from databosun.domain.whereabouts import moved, whereabouts
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, LIFECYCLE_POLICIES, LIFECYCLE_RUNS
from databosun.runtime.queue import Key

LIMITS_WITHOUT_POLICY = Limits(retries=0, deadline=timedelta(hours=2), start_deadline=timedelta(minutes=30))
STARTING_DEADLINE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleOrdered(Ordering):
    """What was found. `order` is None where it is not known what to do."""

    order: LifecycleJobOrder | None = None
    consent: Consent | None = None
    withdrawn: Doomed | None = None


@dataclass(frozen=True, slots=True)
class Ruled:
    """A run, its policy as it is now, and what that refers to."""

    run: SeenLifecycleRun
    policy: SeenLifecyclePolicy
    database: SeenDatabase
    storage: SeenStorage
    effective: EffectiveLifecycle

    @property
    def enforced(self) -> bool:
        """Whether anything is to be changed."""
        return self.run.spec.mode is LifecycleMode.ENFORCE

    @property
    def ordered(self) -> LifecycleOrder:
        """By policy, Database and storage as they are now."""
        database, system = self.database, self.database.status.system_identifier
        return order_of(self.policy.spec, whereabouts(database.meta.uid, database.spec, system, self.storage.spec))


class LifecycleRunController(RunController[SeenLifecycleRun, LifecycleOrdered]):
    """Lifecycle runs, dry and enforced."""

    resource = LIFECYCLE_RUNS
    operation = Operation.LIFECYCLE
    task = "lifecycle"
    run_kind = LIFECYCLE_RUN
    final_phases = LIFECYCLE_FINAL

    def parse(self, body: Mapping[str, Any]) -> SeenLifecycleRun:
        return read.lifecycle_run(body)

    def decide(self, seen: SeenLifecycleRun, ordered: LifecycleOrdered, state: RunState, now: datetime) -> Plan:
        facts = LifecycleRunFacts(
            state, seen.spec, seen.status, ordered.order, ordered.consent, withdrawn=ordered.withdrawn
        )
        return decide_lifecycle_run(facts, now)

    def dependants(self, seen: SeenLifecycleRun) -> Iterable[Key]:
        yield Key(LIFECYCLE_POLICIES.kind, seen.meta.namespace, seen.spec.policy_ref.name)

    def finish_labels(self, seen: SeenLifecycleRun) -> Mapping[str, str]:
        return {LABEL_MODE: str(seen.spec.mode)}

    async def gather(self, seen: SeenLifecycleRun, *, begins: bool) -> LifecycleOrdered:
        spec, now = seen.spec, self._context.clock.now()
        ordered = LifecycleOrdered(
            limits=LIMITS_WITHOUT_POLICY,
            database_uid=seen.meta.labels.get(LABEL_DATABASE_UID),
            starting_deadline=STARTING_DEADLINE,
        )
        if spec.scheduled_for is None:
            tried = bool(seen.status.attempts)
            ordered = replace(
                ordered, doomed=hand_made("LifecycleRun", seen.meta, spec.not_after, tried=tried, now=now)
            )
        try:
            ruled = await self._ruled(seen)
            return await self._ordered(ruled, ordered, now, begins=begins)
        except UserFault as fault:
            why = Doomed(fault.reason, fault.message)
            # What it was approved for cannot be read any more: that takes it from an agent at work, too.
            taken = why if seen.status.approved is not None and not begins else None
            return replace(ordered, doomed=ordered.doomed or why, withdrawn=taken)

    async def _ruled(self, seen: SeenLifecycleRun) -> Ruled:
        """Read live what is to be carried out. UserFault where something of it is not there."""
        context, namespace, labels = self._context, seen.meta.namespace, seen.meta.labels
        name, of = seen.spec.policy_ref.name, "named in spec.policyRef"
        policy = await demand(context, LIFECYCLE_POLICIES, namespace, name, read.lifecycle_policy, of, live=True)
        if labels.get(LABEL_POLICY_UID, policy.meta.uid) != policy.meta.uid:
            message = f"LifecyclePolicy {namespace}/{name} was created anew; this run is of the one before"
            raise UserFault(Reason.LIFECYCLE_POLICY_NOT_FOUND, message)
        of, wanted = f"of LifecyclePolicy {name}", policy.spec.database_ref.name
        database = await demand(context, DATABASES, namespace, wanted, read.database, of, live=True)
        if labels.get(LABEL_DATABASE_UID, database.meta.uid) != database.meta.uid:
            message = f"Database {namespace}/{wanted} was created anew; the plan is of another"
            raise UserFault(Reason.DATABASE_REPLACED, message)
        wanted = policy.spec.storage_ref.name
        storage = await demand(context, BACKUP_STORAGES, namespace, wanted, read.storage, of, live=True)
        return Ruled(seen, policy, database, storage, effective_lifecycle(policy.spec))

    async def _ordered(
        self, ruled: Ruled, ordered: LifecycleOrdered, now: datetime, *, begins: bool
    ) -> LifecycleOrdered:
        effective = ruled.effective
        ordered = replace(
            stored_in(ordered, ruled.storage, ruled.run.spec.not_after),
            limits=effective.limits,
            database_uid=ruled.database.meta.uid,
            policy_uid=ruled.policy.meta.uid,
            starting_deadline=effective.starting_deadline,
        )
        demand_served(ruled.policy.spec, ruled.database.spec.engine, ruled.storage)
        closes, opens = window_at(effective.windows, now) if ruled.enforced else (None, None)
        order = self._order(ruled, closes)
        if ruled.enforced and begins:
            order = replace(order, previous=await self._previous(ruled))
            ordered = await self._permitted(ruled, replace(ordered, order=order), now)
            if opens is not None and ordered.blocked is None:
                message = f"no window of LifecyclePolicy {ruled.policy.meta.name} is open before {opens.isoformat()}"
                ordered = replace(ordered, blocked=Blocked(Reason.OUTSIDE_WINDOW, message, opens))
        elif ruled.enforced:
            ordered = replace(ordered, withdrawn=await self._withdrawn(ruled, now))
        return replace(ordered, order=order)

    async def _withdrawn(self, ruled: Ruled, now: datetime) -> Doomed | None:
        """What an attempt that goes on stood on, and that people took away. At the end of consent it ends by itself."""
        if ruled.run.status.approved is None:
            return None
        return self._forbidden_by_people(ruled, now) or (await self._consent(ruled, now - 2 * CLOSING))[1]

    async def _permitted(self, ruled: Ruled, ordered: LifecycleOrdered, now: datetime) -> LifecycleOrdered:
        """What an enforced run needs before it begins, and before each further attempt."""
        forbidden = self._forbidden(ruled, now)
        if forbidden is not None:
            return replace(ordered, doomed=ordered.doomed or forbidden)
        consent, doomed, waits = await self._consent(ruled, now)
        if doomed is not None:
            return replace(ordered, doomed=ordered.doomed or doomed)
        blocked = Blocked(Reason.AWAITING_APPROVAL, waits, ruled.run.spec.not_after) if waits is not None else None
        return replace(ordered, consent=consent, blocked=blocked or ordered.blocked)

    async def _consent(self, ruled: Ruled, at: datetime) -> tuple[Consent | None, Doomed | None, str | None]:
        """Who consented; or else why nobody can any more, or what has to be waited for."""
        policy, chosen = ruled.policy, ruled.run.status.approved
        plan, order = policy.status.plan, ruled.ordered
        digest = order_digest(order)
        given = await consent_to_rules_now(self._context, policy, digest, at, ruled.run.status.approval)
        if plan is None:
            message = f"LifecyclePolicy {policy.meta.name} shows no plan yet; start a dry run first"
            return None, Doomed(Reason.NO_PLAN, message), None
        elsewhere = moved(plan.server, plan.place, order)
        if chosen is not None and elsewhere is not None:
            message = f"plan {chosen}, which this run was to carry out, is none any more: {elsewhere}"
            return None, Doomed(Reason.PLAN_CHANGED, message), None
        if chosen is not None and (given is None or chosen != plan.hash):
            message = f"plan {chosen}, which this run was to carry out, is not approved any more"
            return None, Doomed(Reason.AWAITING_APPROVAL, message), None
        if given is None:
            shown = plan.hash if plan.order_hash == digest else f"{plan.hash}, which is of other rules than those now,"
            shown = f"{plan.hash} ({elsewhere})" if elsewhere is not None else shown
            return None, None, f"no Approval in force names LifecyclePolicy {policy.meta.name} and its plan {shown}"
        return given, None, None

    @staticmethod
    def _forbidden_by_people(ruled: Ruled, now: datetime) -> Doomed | None:
        """Holds over all of it, and a policy that is to change nothing any more."""
        held = held_as_a_whole(ruled.policy, ruled.database, now)
        if held is not None:
            return Doomed(Reason.BLOCKED_BY_HOLD, held)
        if ruled.policy.spec.mode is LifecycleMode.DRY_RUN:
            message = f"spec.mode of LifecyclePolicy {ruled.policy.meta.name} is DryRun: nothing is to be changed"
            return Doomed(Reason.DRY_RUN_ONLY, message)
        return None

    def _forbidden(self, ruled: Ruled, now: datetime) -> Doomed | None:
        """What people forbid, and backups that are not what the policy demands."""
        if (said := self._forbidden_by_people(ruled, now)) is not None:
            return said
        name, status, effective = ruled.database.meta.name, ruled.database.status, ruled.effective
        last = status.last_backup.at if status.last_backup else None
        if last is None or now - last > effective.backup_within:
            found = f"is of {last.isoformat()}" if last else "does not exist"
            wanted = format_duration(effective.backup_within)
            message = f"the newest successful backup of Database {name} {found}; expected one of the last {wanted}"
            return Doomed(Reason.BACKUP_TOO_OLD, message)
        proven = status.last_proven.at if status.last_proven else None
        if proven is None or now - proven > effective.proven_within:
            found = f"was at {proven.isoformat()}" if proven else "never was"
            wanted = format_duration(effective.proven_within)
            message = f"the last drill that proved a backup of Database {name} {found}; expected within {wanted}"
            return Doomed(Reason.PROOF_TOO_OLD, message)
        return None

    def _order(self, ruled: Ruled, closes: datetime | None) -> LifecycleJobOrder:
        database, storage, spec = ruled.database, ruled.storage, ruled.policy.spec
        port = CAPABILITIES[database.spec.engine].port
        target, logins = database_target(database.meta.named, database.spec, port, database.status.engine_version)
        place, secrets = storage_target(storage.meta.named, storage.spec, self._context.cluster_id)
        key = spec.hash_key_secret_ref
        hashing = [SecretUse(use="hash", secret=key.name, keys={"key": key.key})] if key is not None else []
        return LifecycleJobOrder(
            policy=ruled.policy.meta.name,
            policy_uid=ruled.policy.meta.uid,
            order=ruled.ordered,
            database=target,
            storage=place,
            secrets=(*logins, *secrets, *hashing),
            image=runner_image(self._context, database),
            at=ruled.run.meta.created,
            held=held_as_a_whole(ruled.policy, database, self._context.clock.now()),
            batch=batch_of(spec),
            throttle=throttle_of(spec),
            time_budget=ruled.effective.time_budget,
            closes=closes,
            planned=ruled.policy.status.plan,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=spec.pod_template,
            tiering=scope_of(self._context, ruled.policy, database, ruled.run.meta.created),
        )

    async def _previous(self, ruled: Ruled) -> PreviousEvidence | None:
        """The newest audit of this policy."""
        of, namespace = f"{LABEL_POLICY_UID}={ruled.policy.meta.uid}", ruled.run.meta.namespace
        return await newest_record(self._context, LIFECYCLE_RUNS, namespace, of, read.lifecycle_run, _audit)


def _audit(run: SeenLifecycleRun) -> str | None:
    return run.status.audit.sha256 if run.status.audit is not None else None
