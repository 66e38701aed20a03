"""Runs of many databases: gather which they are, what became of each, and where the evidence of the whole goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from databosun.api.v1alpha1.proving import ChosenBackup
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restoredrillrun import DRILL_FINAL, DrillMember, RestoreDrillRunStatus
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.drillrun import NO_DRILL, DrillRunController
from databosun.controllers.handmade import hand_made
from databosun.controllers.lookup import find_usable
from databosun.controllers.matching import drilled_by, selected
from databosun.controllers.records import evidence, newest_record
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDrill, SeenDrillRun
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.drillpolicy import effective_drill
from databosun.domain.drillrun import DRILL_RUN, finish_labels
from databosun.domain.errors import UserFault
from databosun.domain.interlock import Operation
from databosun.domain.joint import into_groups
from databosun.domain.jointrun import MOST_MEMBERS, JointFacts, JointOrder, decide_joint_run
from databosun.domain.jointstatus import told
from databosun.domain.plan import LABEL_POLICY_UID, Plan
from databosun.domain.requests import Named, storage_target
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.kube.resources import RESTORE_DRILL_RUNS, RESTORE_DRILLS
from databosun.runtime.queue import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class JointOrdered(Ordering):
    """What was found."""

    groups: tuple[tuple[Named, ...], ...] = ()
    there: frozenset[str] = frozenset()
    known: Mapping[str, RestoreDrillRunStatus] = field(default_factory=dict)
    order: JointOrder | None = None


class JointRunController(RunController[SeenDrillRun, JointOrdered]):
    """Drills of many databases, each one a run that owns the runs of its members."""

    resource = RESTORE_DRILL_RUNS
    operation = Operation.DRILL
    task = "joint"
    run_kind = DRILL_RUN
    final_phases = DRILL_FINAL

    def parse(self, body: Mapping[str, Any]) -> SeenDrillRun:
        return read.drill_run(body)

    def too_old(self, seen: SeenDrillRun, ordered: JointOrdered, now: datetime) -> str | None:
        return None if seen.status.members else super().too_old(seen, ordered, now)

    def decide(self, seen: SeenDrillRun, ordered: JointOrdered, state: RunState, now: datetime) -> Plan:
        facts = JointFacts(
            state=state,
            spec=seen.spec,
            status=seen.status,
            groups=ordered.groups,
            there=ordered.there,
            known=ordered.known,
            drill_uid=ordered.policy_uid,
            order=ordered.order,
        )
        return decide_joint_run(facts, now)

    def dependants(self, seen: SeenDrillRun) -> Iterable[Key]:
        if seen.spec.drill_ref is not None:
            yield Key("RestoreDrill", seen.meta.namespace, seen.spec.drill_ref.name)

    def finish_labels(self, seen: SeenDrillRun) -> Mapping[str, str]:
        return finish_labels(seen.meta.name, seen.status)

    async def gather(self, seen: SeenDrillRun, *, begins: bool) -> JointOrdered:
        spec, now, members = seen.spec, self._context.clock.now(), seen.status.members or []
        name = spec.drill_ref.name if spec.drill_ref else ""
        drill = await find_usable(self._context, RESTORE_DRILLS, seen.meta.namespace, name, read.drill)
        effective = effective_drill(NO_DRILL, 3)
        if drill is None:
            message = f"RestoreDrill {seen.meta.namespace}/{name} named in spec.drillRef does not exist"
            return JointOrdered(limits=effective.limits, doomed=Doomed(Reason.DRILL_NOT_FOUND, message))
        groups = self._groups(drill)
        doomed = None if members else self._doomed(seen, drill, groups, now)
        try:
            effective = effective_drill(drill.spec, 3)
        except UserFault as fault:
            doomed = doomed or Doomed(fault.reason, f"RestoreDrill {drill.meta.name}: {fault.message}")
        ordered = JointOrdered(
            limits=effective.limits,
            doomed=doomed,
            policy_uid=drill.meta.uid,
            groups=groups,
            starting_deadline=effective.starting_deadline,
        )
        if not begins or not members:
            return ordered
        there, known = await self._members(seen, members)
        ordered = replace(ordered, there=there, known=known)
        after = [told(one, known[one.run]) if one.run in known else one for one in members]
        if any(one.phase is None for one in after):
            return ordered
        return await self._with_order(seen, drill, ordered, after)

    # --- what is to be drilled

    def _groups(self, drill: SeenDrill) -> tuple[tuple[Named, ...], ...]:
        """The databases of the drill as they are now, in its order."""
        covered = {one.meta.name: one for one in drilled_by(self._context, drill)}
        order = drill.spec.order or []
        matches = [
            (name, [selected(one.meta.labels, group.database_selector) for group in order])
            for name, one in covered.items()
        ]
        return tuple(tuple(covered[name].meta.named for name in group) for group in into_groups(matches))

    @staticmethod
    def _doomed(
        seen: SeenDrillRun, drill: SeenDrill, groups: Sequence[Sequence[Named]], now: datetime
    ) -> Doomed | None:
        number, named = sum(map(len, groups)), f"RestoreDrill {drill.meta.namespace}/{drill.meta.name}"
        if not number:
            return Doomed(Reason.DATABASE_NOT_FOUND, f"{named} covers no Database: there is nothing to drill")
        if number > MOST_MEMBERS:
            message = f"{named} covers {number} Databases; one run takes at most {MOST_MEMBERS}: divide it by labels"
            return Doomed(Reason.INVALID_SPEC, message)
        if seen.spec.scheduled_for is None:
            return hand_made("RestoreDrillRun", seen.meta, seen.spec.not_after, tried=False, now=now)
        return None

    # --- what became of its members

    async def _members(
        self, seen: SeenDrillRun, members: Sequence[DrillMember]
    ) -> tuple[frozenset[str], dict[str, RestoreDrillRunStatus]]:
        """The runs that exist, and those that have their verdict; asked live only where they may have one."""
        there, known = set(), {}
        for member in members:
            if member.phase is not None:
                continue
            key = Key(RESTORE_DRILL_RUNS.kind, seen.meta.namespace, member.run)
            body = self._context.cache.get(key)
            if body is None:
                body = await self._context.kube.get(RESTORE_DRILL_RUNS, key.namespace, key.name)
            if body is None:
                continue
            there.add(member.run)
            found = read.drill_run(body).status
            if found.phase in DRILL_FINAL:
                known[member.run] = found
        return frozenset(there), known

    # --- where its evidence goes

    async def _with_order(
        self, seen: SeenDrillRun, drill: SeenDrill, ordered: JointOrdered, members: Sequence[DrillMember]
    ) -> JointOrdered:
        """The same with the storage of the first member that left evidence: the evidence of the whole lies beside."""
        first = next((one for one in members if one.evidence_sha256 is not None and one.storage is not None), None)
        if first is None:
            return ordered
        context, namespace = self._context, seen.meta.namespace
        at = ChosenBackup(
            name=first.backup or "", database=first.database, resolved_at=seen.meta.created, checksum="",
            storage=first.storage,
        )  # fmt: skip
        storage, away = await found_backups.storage_of(context, namespace, at)
        if storage is None:
            return replace(ordered, doomed=away)
        image = context.images.any_runner()
        if image is None:
            message = "this installation has no runner image to write the evidence with"
            return replace(ordered, doomed=Doomed(Reason.NO_RUNNER_IMAGE, message))
        try:
            place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        except UserFault as fault:
            return replace(ordered, doomed=Doomed(fault.reason, fault.message))
        lock = effective_drill(drill.spec, 3).evidence_lock if storage.spec.immutability else None
        of = f"{LABEL_POLICY_UID}={drill.meta.uid}"
        order = JointOrder(
            storage=place,
            secrets=tuple(secrets),
            image=image,
            drill=drill.meta.name,
            previous=await newest_record(context, RESTORE_DRILL_RUNS, namespace, of, read.drill_run, _whole),
            lock_seconds=int(lock.total_seconds()) if lock is not None else None,
            policy_uid=drill.meta.uid,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            # It moves a few kilobytes, whatever a copy needs.
            pod_template=drill.spec.pod_template.model_copy(update={"resources": None, "scratch": None})
            if drill.spec.pod_template
            else None,
        )
        return stored_in(replace(ordered, order=order), storage, None)


def _whole(run: SeenDrillRun) -> str | None:
    return evidence(run) if run.spec.database_ref is None else None


class DrillRuns:
    """RestoreDrillRuns of both sorts: of one database, and of many."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._one, self._many = DrillRunController(context), JointRunController(context)

    async def reconcile(self, key: Key) -> datetime | None:
        """One look at one run; always live."""
        body = await self._context.kube.get(RESTORE_DRILL_RUNS, key.namespace, key.name)
        if body is None:
            self._one.gone(key)
            return None
        return await (self._one if "databaseRef" in body["spec"] else self._many).look(key, body)
