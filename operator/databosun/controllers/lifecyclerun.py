"""Lifecycle runs: gather what one must be told, and what forbids it or stands in its way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.lifecycle import LifecycleMode
from databosun.api.quantities import format_duration
from databosun.api.request import PreviousEvidence, SecretUse
from databosun.api.v1alpha1.lifecyclerun import LIFECYCLE_FINAL
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.consent import approval_of, held_as_a_whole
from databosun.controllers.handmade import hand_made
from databosun.controllers.ordering import runner_image
from databosun.controllers.running import Ordering, RunController
from databosun.controllers.seen import SeenDatabase, SeenLifecyclePolicy, SeenLifecycleRun, SeenStorage
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.drillrun import too_old
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
    LIFECYCLE_RUN,
    Consent,
    LifecycleJobOrder,
    LifecycleRunFacts,
    decide_lifecycle_run,
)
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, LABEL_MODE, LABEL_POLICY_UID, Plan
from databosun.domain.requests import database_target, storage_target
from databosun.domain.run import Blocked, Doomed, Limits
from databosun.domain.running import RunState
from databosun.domain.timing import window_at
from databosun.kube.resources import BACKUP_STORAGES, DATABASES, LIFECYCLE_POLICIES, LIFECYCLE_RUNS
from databosun.runtime.queue import Key

LIMITS_WITHOUT_POLICY = Limits(retries=0, deadline=timedelta(hours=2), start_deadline=timedelta(minutes=30))
STARTING_DEADLINE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleOrdered(Ordering):
    """What was found. `order` is None where it is not known what to do."""

    order: LifecycleJobOrder | None = None
    consent: Consent | None = None
    too_old: str | None = None


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


class LifecycleRunController(RunController[SeenLifecycleRun, LifecycleOrdered]):
    """Lifecycle runs, dry and enforced."""

    resource = LIFECYCLE_RUNS
    operation = Operation.LIFECYCLE
    task = "lifecycle"
    run_kind = LIFECYCLE_RUN

    def parse(self, body: Mapping[str, Any]) -> SeenLifecycleRun:
        return read.lifecycle_run(body)

    def final(self, seen: SeenLifecycleRun) -> bool:
        return seen.status.phase in LIFECYCLE_FINAL

    def too_old(self, seen: SeenLifecycleRun, ordered: LifecycleOrdered, now: datetime) -> str | None:
        return ordered.too_old

    def recoverable(self, ordered: LifecycleOrdered) -> bool:
        return ordered.order is not None

    def decide(self, seen: SeenLifecycleRun, ordered: LifecycleOrdered, state: RunState, now: datetime) -> Plan:
        facts = LifecycleRunFacts(state, seen.spec, seen.status, ordered.order, ordered.consent)
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
            too_old=too_old(spec.scheduled_for, spec.not_after, STARTING_DEADLINE, now),
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
            return replace(ordered, doomed=ordered.doomed or Doomed(fault.reason, fault.message))

    async def _ruled(self, seen: SeenLifecycleRun) -> Ruled:
        """Read live what is to be carried out. UserFault where something of it is not there."""
        kube, namespace, name = self._context.kube, seen.meta.namespace, seen.spec.policy_ref.name
        body = await kube.get(LIFECYCLE_POLICIES, namespace, name)
        if body is None:
            message = f"LifecyclePolicy {namespace}/{name} named in spec.policyRef does not exist"
            raise UserFault(Reason.LIFECYCLE_POLICY_NOT_FOUND, message)
        policy = read.lifecycle_policy(body)
        if seen.meta.labels.get(LABEL_POLICY_UID, policy.meta.uid) != policy.meta.uid:
            message = f"LifecyclePolicy {namespace}/{name} was created anew; this run is of the one before"
            raise UserFault(Reason.LIFECYCLE_POLICY_NOT_FOUND, message)
        database = await kube.get(DATABASES, namespace, policy.spec.database_ref.name)
        if database is None:
            message = f"Database {namespace}/{policy.spec.database_ref.name} of LifecyclePolicy {name} does not exist"
            raise UserFault(Reason.DATABASE_NOT_FOUND, message)
        wanted, found = seen.meta.labels.get(LABEL_DATABASE_UID), database["metadata"]["uid"]
        if wanted not in (None, found):
            message = f"Database {namespace}/{policy.spec.database_ref.name} was created anew; the plan is of another"
            raise UserFault(Reason.DATABASE_REPLACED, message)
        storage = await kube.get(BACKUP_STORAGES, namespace, policy.spec.storage_ref.name)
        if storage is None:
            message = (
                f"BackupStorage {namespace}/{policy.spec.storage_ref.name} of LifecyclePolicy {name} does not exist"
            )
            raise UserFault(Reason.STORAGE_NOT_FOUND, message)
        effective = effective_lifecycle(policy.spec)
        return Ruled(seen, policy, read.database(database), read.storage(storage), effective)

    async def _ordered(
        self, ruled: Ruled, ordered: LifecycleOrdered, now: datetime, *, begins: bool
    ) -> LifecycleOrdered:
        spec, effective = ruled.run.spec, ruled.effective
        ordered = replace(
            ordered,
            limits=effective.limits,
            blocked=found_backups.not_ready(ruled.storage, spec.not_after),
            database_uid=ruled.database.meta.uid,
            policy_uid=ruled.policy.meta.uid,
            storage_uid=ruled.storage.meta.uid,
            storage_limit=ruled.storage.spec.max_concurrent_runs,
            too_old=too_old(spec.scheduled_for, spec.not_after, effective.starting_deadline, now),
        )
        engine = ruled.database.spec.engine
        if not (known := CAPABILITIES.get(engine)) or not known.lifecycle:
            raise UserFault(Reason.UNSUPPORTED_ENGINE, f"this release has no lifecycle for {engine}")
        closes, opens = window_at(effective.windows, now) if ruled.enforced else (None, None)
        order = self._order(ruled, closes)
        if ruled.enforced and begins:
            order = replace(order, previous=await self._previous(ruled))
            ordered = self._permitted(ruled, replace(ordered, order=order), now)
            if opens is not None and ordered.blocked is None:
                message = f"no window of LifecyclePolicy {ruled.policy.meta.name} is open before {opens.isoformat()}"
                ordered = replace(ordered, blocked=Blocked(Reason.OUTSIDE_WINDOW, message, opens))
        return replace(ordered, order=order)

    def _permitted(self, ruled: Ruled, ordered: LifecycleOrdered, now: datetime) -> LifecycleOrdered:
        """What an enforced run needs before it begins, and before each further attempt."""
        forbidden = self._forbidden(ruled, now)
        if forbidden is not None:
            return replace(ordered, doomed=ordered.doomed or forbidden)
        policy, run = ruled.policy, ruled.run
        plan, digest = policy.status.plan, order_digest(order_of(policy.spec, ruled.database.meta.uid))
        given = approval_of(self._context, policy, plan, digest, now)
        chosen = run.status.approved
        if plan is None:
            message = f"LifecyclePolicy {policy.meta.name} shows no plan yet; start a dry run first"
            return replace(ordered, doomed=ordered.doomed or Doomed(Reason.NO_PLAN, message))
        if chosen is not None and (given is None or chosen != plan.hash):
            message = f"plan {chosen}, which this run was to carry out, is not approved any more"
            return replace(ordered, doomed=ordered.doomed or Doomed(Reason.AWAITING_APPROVAL, message))
        if given is None:
            shown = plan.hash if plan.order_hash == digest else f"{plan.hash}, which is of other rules than those now,"
            message = f"no Approval in force names LifecyclePolicy {policy.meta.name} and its plan {shown}"
            return replace(ordered, blocked=Blocked(Reason.AWAITING_APPROVAL, message, run.spec.not_after))
        return replace(ordered, consent=Consent(given.name, plan.hash, given.not_after))

    @staticmethod
    def _forbidden(ruled: Ruled, now: datetime) -> Doomed | None:
        """Holds over all of it, and backups that are not what the policy demands."""
        held = held_as_a_whole(ruled.policy, ruled.database, now)
        if held is not None:
            return Doomed(Reason.BLOCKED_BY_HOLD, held)
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
            order=order_of(spec, database.meta.uid),
            database=target,
            storage=place,
            secrets=(*logins, *secrets, *hashing),
            image=runner_image(self._context, database),
            at=ruled.run.meta.created,
            batch=batch_of(spec),
            throttle=throttle_of(spec),
            time_budget=ruled.effective.time_budget,
            closes=closes,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.volume.claim_name if storage.spec.volume else None,
            pod_template=spec.pod_template,
        )

    async def _previous(self, ruled: Ruled) -> PreviousEvidence | None:
        """The newest audit of this policy: each names the one before it."""
        selector = f"{LABEL_POLICY_UID}={ruled.policy.meta.uid},{LABEL_FINISHED}"
        newest: tuple[datetime, PreviousEvidence] | None = None
        async for body in self._context.kube.list(LIFECYCLE_RUNS, ruled.run.meta.namespace, label_selector=selector):
            one = read.lifecycle_run(body)
            at, audit = one.status.completion_time, one.status.audit
            if at is not None and audit is not None and (newest is None or at > newest[0]):
                newest = at, PreviousEvidence(run=one.meta.name, sha256=audit.sha256)
        return newest[1] if newest is not None else None
