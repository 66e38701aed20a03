"""Failover test runs: gather what one must be told, what stands in its way, and who consented to its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from databosun.api.failover import FailoverPlan, FailoverStep, GuardResult
from databosun.api.targets import SecretUse
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.failovertest import FailoverTestSpec
from databosun.api.v1alpha1.failovertestrun import FAILOVER_FINAL, FailoverPhase, PlannedFailover
from databosun.api.v1alpha1.reasons import Reason
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.acting import LOOK, Act, answered, asked_in
from databosun.controllers.cnpg import find_cluster
from databosun.controllers.consent import consents_now
from databosun.controllers.handmade import hand_made
from databosun.controllers.jobs import newest_line
from databosun.controllers.lookup import find_usable, without_database
from databosun.controllers.records import demand_lock, evidence_storage
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenFailoverRun, SeenFailoverTest, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import JobSeen, Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.consent import Consent, in_force
from databosun.domain.errors import UserFault
from databosun.domain.failoveract import is_asked
from databosun.domain.failovercnpg import CLOUD_NATIVE_PG, ClusterFacts, cluster_guards
from databosun.domain.failoverguards import Backups, Circumstances, backup_guards, broken, not_yet
from databosun.domain.failoverorder import FAILOVER_RUN, FailoverFacts, FailoverOrder
from databosun.domain.failoverrun import decide_failover
from databosun.domain.failovertest import EffectiveFailover, demand_testable, effective_failover
from databosun.domain.interlock import Operation
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, Plan, PostEvent
from databosun.domain.requests import database_target, storage_target
from databosun.domain.run import Blocked, Doomed
from databosun.domain.running import RunState
from databosun.kube.resources import DATABASES, FAILOVER_TEST_RUNS, FAILOVER_TESTS, PODS
from databosun.runtime.queue import Key

_NO_TEST = Limits(retries=0, deadline=timedelta(hours=1), start_deadline=timedelta(minutes=10))
_STARTING_DEADLINE = timedelta(hours=6)
_LOGIN_KEYS = (
    "username",
    "password",
    "replicationUsername",
    "replicationPassword",
    "sentinelUsername",
    "sentinelPassword",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverOrdered(Ordering):
    """What was found. `order` is None where what the run refers to is gone, or cannot be carried out."""

    order: FailoverOrder | None = None
    backups: Backups = field(default_factory=Backups)
    consent: Consent | None = None
    moved: datetime | None = None
    cluster: ClusterFacts | None = None


class FailoverRunController(RunController[SeenFailoverRun, FailoverOrdered]):
    """Failover tests, each one a run."""

    resource = FAILOVER_TEST_RUNS
    operation = Operation.FAILOVER
    task = "failover"
    run_kind = FAILOVER_RUN
    final_phases = FAILOVER_FINAL

    def parse(self, body: Mapping[str, Any]) -> SeenFailoverRun:
        return read.failover_run(body)

    def active(self, seen: SeenFailoverRun) -> bool:
        # Backups must not wait for a person, nor for a window.
        last = seen.status.attempts[-1] if seen.status.attempts else None
        return seen.status.phase is FailoverPhase.RUNNING or (last is not None and last.ended_at is None)

    def decide(self, seen: SeenFailoverRun, ordered: FailoverOrdered, state: RunState, now: datetime) -> Plan:
        if seen.status.phase is not None and seen.status.step is None:
            # A look leaves nothing in the store.
            state = replace(state, facts=replace(state.facts, recoverable=False))
        facts = FailoverFacts(
            state,
            seen.spec,
            seen.status,
            ordered.order,
            ordered.backups,
            ordered.consent,
            ordered.moved,
            _cluster_guards(ordered),
        )
        return decide_failover(facts, now)

    def dependants(self, seen: SeenFailoverRun) -> Iterable[Key]:
        yield Key("FailoverTest", seen.meta.namespace, seen.spec.test_ref.name)
        yield Key("Database", seen.meta.namespace, seen.spec.database_ref.name)

    async def attend(self, seen: SeenFailoverRun, ordered: FailoverOrdered, current: JobSeen) -> datetime | None:
        """Where the operator has a part in the plan, its agent may ask for that."""
        plan, now, kube = seen.status.plan, self._context.clock.now(), self._context.kube
        if seen.status.step is not FailoverStep.SWITCH or plan is None:
            return None
        given = FailoverPlan.model_validate(plan.model_dump())
        if not is_asked(given) or current.pod is None or current.pod.terminated:
            return None
        asked = asked_in(await newest_line(kube, current, seen.meta.namespace, "act"))
        if asked is None:
            return now + LOOK
        agent = await kube.get(PODS, seen.meta.namespace, current.pod.name)
        if agent is None or agent["metadata"]["uid"] != current.pod.uid or answered(agent):
            return None
        live = await self.gather(seen, begins=True)

        async def tell(message: str) -> None:
            reason = Reason.PRIMARY_ENDED if plan.fault is None else Reason.FAULT_DONE
            await self._applier.post(seen.meta, PostEvent(reason, message, warning=True))

        meta = seen.meta
        owner = {"apiVersion": FAILOVER_TEST_RUNS.api_version, "kind": FAILOVER_TEST_RUNS.kind}
        owner |= {"name": meta.name, "uid": meta.uid, "namespace": meta.namespace}
        against = _against(live, plan, now)
        over = await Act(self._context, agent, asked, given, against, owner, live.cluster).look(tell, now)
        return None if over else now + LOOK

    async def gather(self, seen: SeenFailoverRun, *, begins: bool) -> FailoverOrdered:
        namespace, spec, now = seen.meta.namespace, seen.spec, self._context.clock.now()
        # What the guards look at is read anew while the plan waits for its moment.
        live = begins and seen.status.plan is not None
        names = spec.database_ref.name, spec.test_ref.name
        database = await find_usable(self._context, DATABASES, namespace, names[0], read.database, live=live)
        test = await find_usable(self._context, FAILOVER_TESTS, namespace, names[1], read.failover_test, live=live)
        known_uid = seen.meta.labels.get(LABEL_DATABASE_UID)
        ordered = FailoverOrdered(
            limits=_NO_TEST,
            doomed=self._doomed(seen, database, test, now),
            database_uid=known_uid or (database.meta.uid if database else None),
            policy_uid=test.meta.uid if test else None,
            starting_deadline=_STARTING_DEADLINE,
        )
        if test is None or database is None:
            return ordered
        try:
            effective = effective_failover(test.spec)
            ordered = replace(
                ordered,
                limits=effective.limits,
                starting_deadline=effective.starting_deadline,
                backups=_backups(database),
            )
            ordered = await self._with_storage(ordered, database, test, effective)
            ordered = await self._with_cluster(ordered, database)
        except UserFault as fault:
            return replace(ordered, doomed=ordered.doomed or Doomed(fault.reason, fault.message))
        if not live:
            return ordered
        moved = await self._moved(namespace, database.meta.uid, effective.cooldown, now)
        plan, key = seen.status.plan, Key(FAILOVER_TEST_RUNS.kind, namespace, seen.meta.name)
        given = await consents_now(self._context, key) if plan else []
        return replace(ordered, consent=in_force(given, plan.hash, now) if plan else None, moved=moved)

    async def _with_storage(
        self, ordered: FailoverOrdered, database: SeenDatabase, test: SeenFailoverTest, effective: EffectiveFailover
    ) -> FailoverOrdered:
        storage = await evidence_storage(self._context, test.meta.namespace, test.spec.evidence.storage_ref.name)
        demand_lock(storage, int(effective.lock.total_seconds()) if effective.lock else None)
        order = self._order(database, test, storage, effective)
        ordered = stored_in(replace(ordered, order=order), storage, None)
        return replace(ordered, blocked=ordered.blocked or _not_probed(database))

    async def _with_cluster(self, ordered: FailoverOrdered, database: SeenDatabase) -> FailoverOrdered:
        """CloudNativePG: its Cluster says who its members are, and the operator where."""
        order, replication = ordered.order, database.spec.replication
        if order is None or order.provider.provider != CLOUD_NATIVE_PG or replication is None:
            return ordered
        found = await find_cluster(self._context, database.meta.namespace, replication.cluster_name or "")
        provider = order.provider.model_copy(update={"members": list(found.members)})
        return replace(ordered, order=replace(order, provider=provider), cluster=found.facts)

    @staticmethod
    def _doomed(
        seen: SeenFailoverRun, database: SeenDatabase | None, test: SeenFailoverTest | None, now: datetime
    ) -> Doomed | None:
        spec, namespace = seen.spec, seen.meta.namespace
        nothing = without_database(seen.meta, spec.database_ref.name, database)
        if nothing is not None:
            return nothing
        if test is None:
            message = f"FailoverTest {namespace}/{spec.test_ref.name} named in spec.testRef does not exist"
            return Doomed(Reason.TEST_NOT_FOUND, message)
        if test.spec.database_ref.name != spec.database_ref.name:
            message = (
                f"FailoverTest {test.meta.name} is of Database {test.spec.database_ref.name}; spec.databaseRef is"
                f" {spec.database_ref.name}"
            )
            return Doomed(Reason.TEST_NOT_FOUND, message)
        if spec.scheduled_for is None:
            return hand_made("FailoverTestRun", seen.meta, spec.not_after, tried=bool(seen.status.attempts), now=now)
        return None

    def _order(
        self, database: SeenDatabase, test: SeenFailoverTest, storage: SeenStorage, effective: EffectiveFailover
    ) -> FailoverOrder:
        context, spec, engine = self._context, test.spec, database.spec.engine
        provider = demand_testable(database.meta.name, database.spec, spec)
        version = database.status.engine_version or database.spec.version
        login = _writers(database.spec, spec)
        target, secrets = database_target(database.meta.named, login, CAPABILITIES[engine].port, version)
        place, store = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        return FailoverOrder(
            database=target,
            storage=place,
            secrets=(*secrets, *_mover(database.spec, spec), *store),
            image=found_backups.reader_image(context, database, engine, version),
            provider=provider,
            mode=spec.mode,
            fault=effective.fault,
            failback=spec.failback,
            test=effective,
            lost_writes=spec.objectives.lost_writes,
            approval_needed=spec.approval.required or database.spec.environment == "Production",
            policy_uid=test.meta.uid,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=spec.pod_template,
        )

    async def _moved(self, namespace: str, database_uid: str, cooldown: timedelta, now: datetime) -> datetime | None:
        """When a test moved this database's primary last, where that counts still."""
        newest: datetime | None = None
        selector = f"{LABEL_DATABASE_UID}={database_uid},{LABEL_FINISHED}"
        async for body in self._context.kube.list(FAILOVER_TEST_RUNS, namespace, label_selector=selector):
            at = read.failover_run(body).status.moved_at
            if at is not None and now < at + cooldown and (newest is None or at > newest):
                newest = at
        return newest


def _not_probed(database: SeenDatabase) -> Blocked | None:
    """The image is chosen by the version."""
    if database.status.engine_version or database.spec.version or database.spec.runner is not None:
        return None
    return Blocked(Reason.DATABASE_NOT_PROBED, f"Database {database.meta.name} has not been looked at yet")


def _against(ordered: FailoverOrdered, plan: PlannedFailover, now: datetime) -> str | None:
    """What speaks against the plan right before it is carried out."""
    if ordered.doomed is not None or ordered.order is None:
        return ordered.doomed.message if ordered.doomed else "the Database, its FailoverTest or the storage is gone"
    needed = plan.approval_needed or ordered.order.approval_needed
    seen = Circumstances(needed, ordered.consent, ordered.moved, ordered.blocked)
    waits = not_yet(ordered.order.test, seen, now)
    held = [*backup_guards(ordered.order.test.backups, ordered.backups, now), *_cluster_guards(ordered)]
    return waits.message if waits else broken(held)


def _cluster_guards(ordered: FailoverOrdered) -> tuple[GuardResult, ...]:
    return cluster_guards(ordered.cluster) if ordered.cluster is not None else ()


def _backups(database: SeenDatabase) -> Backups:
    last, proven = database.status.last_backup, database.status.last_proven
    return Backups(last.at if last else None, proven.at if proven and proven.passed else None)


def _writers(database: DatabaseSpec, test: FailoverTestSpec) -> DatabaseSpec:
    """The Database with the login of those who write."""
    ref, connection = test.probe.credentials_secret_ref, database.connection
    if ref is None or connection is None:
        return database
    return database.model_copy(update={"connection": connection.model_copy(update={"credentials_secret_ref": ref})})


def _mover(database: DatabaseSpec, test: FailoverTestSpec) -> list[SecretUse]:
    """The login of who moves the primary."""
    if test.credentials_secret_ref is not None:
        keys = {key: key for key in _LOGIN_KEYS}
        return [SecretUse(use="failover", secret=test.credentials_secret_ref.name, keys=keys)]
    if database.connection is None:
        return []
    own = database.connection.credentials_secret_ref
    keys = {"username": own.username_key, "password": own.password_key}
    return [SecretUse(use="failover", secret=own.name, keys=keys)]
