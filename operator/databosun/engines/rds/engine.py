"""The RDS engine: the Protocol's methods, each a few steps of what the other modules do."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from databosun.api.drill import PointKind
from databosun.api.result import Finding, ProbeResult
from databosun.api.v1alpha1.backup import HeldPart, Position
from databosun.api.v1alpha1.backuppolicy import Hook, Method
from databosun.domain.errors import SafetyStop, UserFault
from databosun.engines.base import Captured, Engine, Plan, RestoreDoc, Sink, Target
from databosun.engines.managed import Origin, Tended, Visit
from databosun.engines.rds import instances, snapshots
from databosun.engines.rds.backup import NOTE, back_up
from databosun.engines.rds.cloud import AnswerError, Cloud, rds_of
from databosun.engines.rds.copy import RDSCopy
from databosun.engines.rds.held import demand_same, noted, parts_of
from databosun.engines.rds.marks import RUN, SNAPSHOT, Owner, tags_of
from databosun.engines.rds.place import demand_place
from databosun.engines.rds.preflight import examine, managed_state, unfound
from databosun.engines.rds.reasons import Reason
from databosun.engines.rds.restore_doc import restore_markdown
from databosun.engines.rds.server import AVAILABLE, GONE, Server, describe, recall
from databosun.engines.rds.snapshots import OF_CLUSTER, OF_INSTANCE
from databosun.engines.rds.waiting import Patience
from databosun.engines.recovery import Copy, Reached, RecoveryPlan, Source

UNCLAIMED_AFTER = timedelta(days=2)
NO_LOGIN = "the RDS engine was asked without a login to AWS"


@dataclass
class RDS:
    """`ManagedEngine` of `engines/base.py`, for one Job. `every`: seconds between two looks at what AWS does."""

    target: Target | None = None
    behalf: Visit | None = None
    pulse: Callable[[], None] = lambda: None
    every: float = 5.0
    warnings: list[str] = field(default_factory=list)
    _clouds: dict[str, Cloud] = field(default_factory=dict)

    def visit(self, target: Target, visit: Visit, pulse: Callable[[], None]) -> RDS:
        """The engine for one Job."""
        return RDS(target, visit, pulse, self.every)

    @property
    def way(self) -> str:
        """What a drill measures."""
        return f"a snapshot of RDS in {rds_of(self._target).region} to a temporary instance there"

    def probe(self, target: Target, methods: Iterable[Method], *, incremental: bool) -> ProbeResult:
        """Look at the instance or cluster; raises where AWS cannot be asked.

        One that is gone, or runs something else, is a finding: what drills have left beside it must still go.
        """
        rds, cloud = rds_of(target), self._cloud()
        try:
            server = describe(cloud, rds)
        except UserFault as fault:
            if fault.reason not in (Reason.INSTANCE_MISSING, Reason.ENGINE_DIFFERS):
                raise
            return unfound(fault)
        findings: list[Finding] = examine(cloud, target, server, rds, methods)
        return ProbeResult(
            reachable=True,
            host=f"{server.name} in {rds.region}",
            engine_version=server.version,
            system_identifier=server.resource_id or None,
            bytes=server.bytes,
            findings=findings,
            managed=managed_state(cloud, server),
        )

    def backup(self, target: Target, plan: Plan, sink: Sink) -> Captured:
        """Take one snapshot."""
        rds, visit = rds_of(target), self._visit
        if plan.method not in (Method.AUTO, Method.SNAPSHOT):
            message = f"method is {plan.method}; of RDS there are only snapshots: expected Auto or Snapshot"
            raise UserFault(Reason.UNSUPPORTED_METHOD, message)
        server = describe(self._cloud(), rds)
        sink.progress("snapshot")
        return back_up(self._cloud, rds, server, visit, plan, sink, self._patience(plan.deadline))

    def run_hook(self, target: Target, hook: Hook) -> None:
        """Refused: a snapshot is taken by AWS, and no session stands beside it."""
        message = f"hook {hook.name} has sql, which is not run against RDS; use exec, or leave it out"
        raise UserFault(Reason.HOOK_FAILED, message)

    def restore_instructions(self, doc: RestoreDoc) -> str:
        """The engine's part of RESTORE.md."""
        return restore_markdown(doc)

    def room_for(self, chain: Sequence[Mapping[str, Any]]) -> int:
        """Nothing: the copy stands elsewhere."""
        return 0

    def inspect(self, chain: Sequence[Mapping[str, Any]], source: Source, pulse: Callable[[], None]) -> str:
        """The note is whole and says what the manifest says, and AWS has every snapshot that it names, available."""
        manifest = chain[-1]
        parts = parts_of(manifest)
        with source.open(manifest["id"], NOTE) as reader:
            data = b"".join(bytes(piece) for piece in iter(reader.read, b""))
        if noted(data) != [part.dump() for part in parts]:
            message = f"{NOTE} of {manifest['id']} names other snapshots than its manifest"
            raise SafetyStop(Reason.ARTEFACT_CORRUPT, message)
        for part in parts:
            pulse()
            self._demand_snapshot(manifest, part)
        return f"{len(parts)} snapshots, available"

    def hand_over(self, manifest: Mapping[str, Any], data: str) -> list[str]:
        """None: nothing is restored into a volume."""
        return []

    @contextmanager
    def recover(self, plan: RecoveryPlan, source: Source) -> Iterator[Copy]:
        """A temporary instance of the snapshot, or of AWS's own backups at a point in time; gone afterwards."""
        target, visit = self._target, self._visit
        rds, cloud, manifest = rds_of(target), self._cloud(), plan.chain[-1]
        if not target.credentials.username:
            message = "spec.connection of the Database names no login, which the checks of a drill need"
            raise UserFault(Reason.DRILL_PLACE_MISSING, message)
        own = plan.until.kind in (PointKind.NONE, PointKind.IMMEDIATE)
        server = self._original(manifest, own=own)
        try:
            place = demand_place(cloud, server, rds)
        except AnswerError as error:
            raise cloud.fault(error, "looking at the place of the drill") from error
        part = next((part for part in parts_of(manifest) if part.region == rds.region), None)
        if part is None:
            message = f"backup {manifest['id']} has no snapshot in {rds.region}, the region of spec.rds"
            raise UserFault(Reason.DRILL_PLACE_MISSING, message)
        if own:
            self._demand_snapshot(manifest, part)
        wanted = instances.Wanted(server, part, plan.until, place)
        patience = self._patience(min(plan.deadline, visit.until))
        began = time.monotonic()
        with instances.temporary(cloud, wanted, visit, patience, self.warnings.append) as instance:
            available = time.monotonic()
            covers = plan.until.time if plan.until.kind is PointKind.TIME else server.latest
            copy = RDSCopy(
                target=target,
                instance=instance,
                engine=rds.engine,
                patience=patience,
                reached=Reached(Position(snapshot=part.name) if own else Position(), covers=None if own else covers),
                assumed_at=plan.assumed_at,
                notes=_notes(server, own=own),
            )
            copy.answer()
            answered = time.monotonic()
            copy.seconds = {"restore": available - began, "start": answered - available}
            yield copy

    def refusal(self, backup: str, origin: Origin | None, held: Sequence[HeldPart]) -> str | None:
        """Why the snapshots of a backup must stay."""
        owner = Owner.of(self._visit, origin)
        found = (
            snapshots.refusal(self._cloud(part.region), part, owner, backup)
            for part in held or self._guessed(owner, backup)
        )
        return next((why for why in found if why is not None), None)

    def release(self, backup: str, origin: Origin | None, held: Sequence[HeldPart]) -> None:
        """Delete the snapshots of one backup. SafetyStop(ForeignSnapshot) where one is not ours."""
        owner = Owner.of(self._visit, origin)
        patience = self._patience(self._visit.until)
        for part in held or self._guessed(owner, backup):
            cloud = self._cloud(part.region)
            if why := snapshots.refusal(cloud, part, owner, backup):
                raise SafetyStop(Reason.FOREIGN_SNAPSHOT, why)
            snapshots.release(cloud, part, patience)

    def tend(self, backups: Sequence[str], active: Collection[str], known_at: datetime | None) -> Tended:
        """Look for the snapshots, by name; remove what drills have left."""
        cloud, owner = self._cloud(), Owner.of(self._visit)
        kind = OF_CLUSTER if rds_of(self._target).cluster else OF_INSTANCE
        try:
            found = list(cloud.pages(f"describe_{kind.noun}s", kind.listing, SnapshotType=snapshots.MANUAL))
        except AnswerError as error:
            raise cloud.fault(error, "looking for the snapshots of backups") from error
        now = self._patience(self._visit.until).now()
        # By run, not by owner: a catalog that was rebuilt in another cluster has the same runs.
        there = {tags_of(one).get(RUN) for one in found if kind.key(one).startswith(SNAPSHOT)}
        missing = tuple(backup for backup in backups if backup not in there)
        mine = (one for one in found if owner.owns(one) and tags_of(one).get(RUN) not in backups)
        strays = [kind.key(one) for one in mine if _old(one, now)]
        going = instances.forsaken(instances.left(cloud, owner), active, now, known_at)
        instances.remove(cloud, going)
        return Tended(missing, tuple(one.name for one in going), tuple(strays))

    def _original(self, manifest: Mapping[str, Any], *, own: bool) -> Server:
        """What was backed up; where it is gone, as its backup knows it. Points in time need itself."""
        rds = rds_of(self._target)
        try:
            return describe(self._cloud(), rds)
        except UserFault as fault:
            if fault.reason != Reason.INSTANCE_MISSING or not own:
                raise
            return recall(manifest, rds)

    def _demand_snapshot(self, manifest: Mapping[str, Any], part: HeldPart) -> None:
        cloud = self._cloud(part.region)
        try:
            found = snapshots.find(cloud, snapshots.kind_of(part.kind), part.name)
        except AnswerError as error:
            raise cloud.fault(error, f"looking at snapshot {part.name}") from error
        status = found.get("Status") if found is not None else "not there"
        if found is None or status != AVAILABLE:
            message = (
                f"snapshot {part.name}, which backup {manifest['id']} is, is {status}: it cannot be restored; find out "
                "who deletes snapshots in the account"
            )
            raise SafetyStop(Reason.ARTEFACT_MISSING, message)
        demand_same(manifest, part, found)

    def _guessed(self, owner: Owner, backup: str) -> list[HeldPart]:
        """Where a backup's snapshots would be, were its manifest still there."""
        rds = rds_of(self._target)
        kind = OF_CLUSTER if rds.cluster else OF_INSTANCE
        regions = [rds.region, *([rds.copy_to.region] if rds.copy_to is not None else [])]
        return [HeldPart(kind=kind.held, name=owner.snapshot(backup), region=region) for region in regions]

    def _cloud(self, region: str | None = None) -> Cloud:
        """The API of a region, by default the database's own: made once, since its model takes long to read."""
        where = region or rds_of(self._target).region
        if where not in self._clouds:
            self._clouds[where] = Cloud(self._target, where)
        return self._clouds[where]

    def _patience(self, until: datetime) -> Patience:
        return Patience(until, self.pulse, self.every)

    @property
    def _target(self) -> Target:
        if self.target is None:
            raise TypeError(NO_LOGIN)
        return self.target

    @property
    def _visit(self) -> Visit:
        if self.behalf is None:
            raise TypeError(NO_LOGIN)
        return self.behalf


_POINT_NOTE = f"{Reason.MANAGED_BY_CLOUD}: AWS restored this of its own backups; the snapshot was not read, nor proven"


def _notes(server: Server, *, own: bool) -> tuple[str, ...]:
    """What is otherwise than in the original, or in a drill of it."""
    if not own:
        return (_POINT_NOTE,)
    if server.status == GONE:
        known = "the class and the security groups that were compared are those of the day of the backup"
        return (f"{Reason.INSTANCE_MISSING}: {server.name} is gone; {known}",)
    return ()


def _old(said: Mapping[str, Any], now: datetime) -> bool:
    """Whether no run can still be at it."""
    at = said.get("SnapshotCreateTime")
    return isinstance(at, datetime) and now - at > UNCLAIMED_AFTER


ENGINE: Engine = RDS()
