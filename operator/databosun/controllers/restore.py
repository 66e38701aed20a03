"""Restores: gather what one must be told and what stands in its way, and who consented to what it staged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from databosun.api.drill import PointKind
from databosun.api.quantities import parse_duration
from databosun.api.targets import DatabaseTarget, SecretUse
from databosun.api.v1alpha1.database import EngineName
from databosun.api.v1alpha1.proving import ChosenBackup, TargetPoint
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.restore import RESTORE_FINAL, RestorePhase
from databosun.controllers import candidates as found_backups
from databosun.controllers import seen as read
from databosun.controllers.candidates import Known
from databosun.controllers.handmade import hand_made
from databosun.controllers.keepers import known_erasures
from databosun.controllers.restoretarget import Far, consent_to, target_of, target_uid
from databosun.controllers.running import RunController
from databosun.controllers.seen import SeenDatabase, SeenRestore, SeenStorage
from databosun.controllers.turns import Ordering, stored_in
from databosun.domain.attempt import Limits
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.errors import UserFault
from databosun.domain.gtid import is_of
from databosun.domain.interlock import Operation
from databosun.domain.measured import asked_checks, scratch_for
from databosun.domain.plan import Plan
from databosun.domain.requests import database_target, erasure_secrets, identity_secrets, storage_target
from databosun.domain.restoreorder import RestoreOrder
from databosun.domain.restorerun import RESTORE_RUN, RestoreFacts, decide_restore
from databosun.domain.run import Doomed
from databosun.domain.running import RunState
from databosun.domain.selection import Candidate, before, chain_of, chosen, within
from databosun.kube.resources import BACKUPS, DATABASES, RESTORES
from databosun.runtime.queue import Key

_NO_LOG = (PointKind.NONE,)
_NAMED = {PointKind.RESTORE_POINT: "restorePoint", PointKind.GTID: "gtid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOrdered(Ordering):
    """What was found. `order` is None where it is not known what to restore, or nothing begins."""

    order: RestoreOrder | None = None
    consent: str | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """What is to be restored: of which database (None: its object is gone), from which backups, to which point."""

    database: SeenDatabase | None
    name: str
    candidates: tuple[ChosenBackup, ...]
    until: TargetPoint
    known: Known


class RestoreController(RunController[SeenRestore, RestoreOrdered]):
    """Restores, each one a run."""

    resource = RESTORES
    operation = Operation.RESTORE
    task = "restore"
    run_kind = RESTORE_RUN
    final_phases = RESTORE_FINAL
    by_schedule = False

    def task_of(self, seen: SeenRestore) -> str:
        return self.task if seen.spec.target.volume is not None else "bridge"

    def active(self, seen: SeenRestore) -> bool:
        # Backups must not wait for a person.
        return bool(seen.status.attempts) and seen.status.phase is not RestorePhase.STAGED

    def parse(self, body: Mapping[str, Any]) -> SeenRestore:
        return read.restore(body)

    def decide(self, seen: SeenRestore, ordered: RestoreOrdered, state: RunState, now: datetime) -> Plan:
        return decide_restore(RestoreFacts(state, seen.spec, seen.status, ordered.order, ordered.consent), now)

    def dependants(self, seen: SeenRestore) -> Iterable[Key]:
        # Whoever wanted to delete one of the backups waits.
        return self._context.cache.keys("BackupPolicy", seen.meta.namespace)

    async def gather(self, seen: SeenRestore, *, begins: bool) -> RestoreOrdered:
        spec, now = seen.spec, self._context.clock.now()
        doomed = hand_made("Restore", seen.meta, spec.not_after, tried=bool(seen.status.attempts), now=now)
        limits = Limits(
            # What was staged took attempts of its own.
            retries=spec.retries + (seen.status.staged.attempt if seen.status.staged else 0),
            deadline=parse_duration(spec.deadline),
            start_deadline=parse_duration(spec.start_deadline),
        )
        foreign = self._foreign_volume(seen)
        ordered = RestoreOrdered(
            limits=limits,
            doomed=doomed or foreign,
            starting_deadline=limits.deadline,
            consent=consent_to(self._context, seen, now),
            database_uid=target_uid(self._context, seen),
        )
        if foreign is not None:
            return ordered
        try:
            return await self._with_backups(seen, ordered, now, begins=begins)
        except UserFault as fault:
            return replace(ordered, doomed=ordered.doomed or Doomed(fault.reason, fault.message))

    def _foreign_volume(self, seen: SeenRestore) -> Doomed | None:
        """A volume that holds backups or a database's own data is nothing to restore into."""
        if seen.spec.target.volume is None:
            return None
        claim, namespace = seen.spec.target.volume.claim_name, seen.meta.namespace
        for kind, field in (("Database", "dataVolume"), ("BackupStorage", "volume")):
            for key in self._context.cache.keys(kind, namespace):
                body = self._context.cache.get(key) or {}
                if body.get("spec", {}).get(field, {}).get("claimName") == claim:
                    message = f"spec.target.volume.claimName is {claim!r}, the volume of {kind} {key.name}"
                    return Doomed(Reason.PRODUCTION_VOLUME, f"{message}; restore into another one")
        return None

    async def _with_backups(
        self, seen: SeenRestore, ordered: RestoreOrdered, now: datetime, *, begins: bool
    ) -> RestoreOrdered:
        namespace, wanted = seen.meta.namespace, seen.status.candidates
        sought = await self._seek(seen, now) if begins else None
        if begins and wanted is None and sought is not None:
            wanted = list(sought.candidates)
        if not wanted:
            return ordered
        staged = seen.status.staged is not None
        if begins and seen.status.candidates is not None and not staged:
            gone = [one for one in wanted if await found_backups.still_there(self._context, namespace, one)]
            if len(gone) == len(wanted):
                message = f"Backup {gone[0].name} was deleted after it had been chosen"
                ordered = replace(ordered, doomed=ordered.doomed or Doomed(Reason.BACKUP_GONE, message))
            else:
                wanted = [one for one in wanted if one not in gone]
        storage, away = await found_backups.storage_of(self._context, namespace, wanted[0])
        if storage is None:
            return replace(ordered, doomed=ordered.doomed or away)
        ordered = stored_in(ordered, storage, seen.spec.not_after)
        if sought is None:
            return ordered
        far = await target_of(self._context, seen, _engine(sought, wanted[0].name))
        order = self._order(seen, replace(sought, candidates=tuple(wanted)), storage, far)
        erased = await known_erasures(self._context, namespace, wanted[0].database)
        return replace(ordered, order=replace(order, erased=erased))

    async def _seek(self, seen: SeenRestore, now: datetime) -> Sought:
        """Find the backups. UserFault where there are none that fit."""
        kube, namespace, source = self._context.kube, seen.meta.namespace, seen.spec.from_
        if seen.status.staged is not None and seen.status.candidates:
            # It has been read; whether it is there still does not matter any more.
            name = seen.status.candidates[0].database
            body = await kube.get(DATABASES, namespace, name)
            point = seen.status.until or TargetPoint(kind=PointKind.NONE)
            there = read.database(body) if body is not None else None
            return Sought(there, name, tuple(seen.status.candidates), point, {})
        asked: Candidate | None = None
        if source.backup_ref is not None:
            body = await kube.get(BACKUPS, namespace, source.backup_ref.name)
            asked = found_backups.candidate(self._context, read.backup(body)) if body is not None else None
            if asked is None:
                message = f"no successful Backup {namespace}/{source.backup_ref.name} is there"
                raise UserFault(Reason.BACKUP_NOT_FOUND, message)
        name = asked.database if asked is not None else source.database_ref.name if source.database_ref else ""
        body = await kube.get(DATABASES, namespace, name) if name else None
        database = read.database(body) if body is not None else None
        # A Backup that is named may be of a Database that was created anew since: then by name.
        known = await found_backups.candidates_of(self._context, namespace, database if asked is None else None, name)
        point = seen.status.until or _point(seen, database)
        _demand_known(point, database, asked, known)
        fit = [asked] if asked is not None else _fit(known, point)
        if not fit:
            message = f"Database {namespace}/{name} has no successful backup to restore{_why(point)}"
            raise UserFault(Reason.NO_BACKUP, message)
        of_one_store = [one for one in fit if one.storage == fit[0].storage]
        picked = tuple(chosen(one, known, now) for one in of_one_store)
        return Sought(database, name, picked, point, known)

    def _order(self, seen: SeenRestore, sought: Sought, storage: SeenStorage, far: Far | None) -> RestoreOrder:
        context, spec, first = self._context, seen.spec, sought.candidates[0]
        database = sought.database
        engine = _engine(sought, first.name)
        place, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
        if database is not None:
            port = CAPABILITIES[engine].port
            target, _ = database_target(database.meta.named, database.spec, port, first.engine_version)
        else:
            target = DatabaseTarget(
                namespace=seen.meta.namespace,
                name=sought.name,
                uid="",
                engine=engine,
                hosts=[],
                port=CAPABILITIES[engine].port,
                version=first.engine_version,
            )
        if far is not None:
            secrets = [*secrets, *far.secrets]
        if spec.notify is not None:
            ref = spec.notify.url_secret_ref
            secrets = [*secrets, SecretUse(use="notify", secret=ref.name, keys={"url": ref.key})]
        members = [one.logical_bytes for one in chain_of(first.name, sought.known)]
        return RestoreOrder(
            database=target,
            storage=place,
            secrets=(*secrets, *identity_secrets(storage.spec), *self._erasures(seen, storage)),
            image=found_backups.reader_image(context, database, engine, first.engine_version),
            candidates=sought.candidates,
            until=sought.until,
            checks=tuple(asked_checks(spec.checks)),
            level=spec.level,
            storage_uid=storage.meta.uid,
            storage_claim=storage.spec.claim,
            pod_template=spec.pod_template,
            scratch_bytes=scratch_for(members),
            target=far.database if far is not None else None,
        )

    @staticmethod
    def _erasures(seen: SeenRestore, storage: SeenStorage) -> list[SecretUse]:
        """What erased people are found by; nothing where they are to come back."""
        return erasure_secrets(storage.spec) if seen.spec.erasures == "Replay" else []


def _point(seen: SeenRestore, database: SeenDatabase | None) -> TargetPoint:
    """The point that the spec asks for; where it says nothing, all that can be had."""
    spec = seen.spec
    if spec.point_in_time is not None:
        return TargetPoint(kind=PointKind.TIME, time=spec.point_in_time)
    if spec.lsn is not None:
        return TargetPoint(kind=PointKind.LSN, lsn=spec.lsn)
    if spec.restore_point is not None:
        return TargetPoint(kind=PointKind.RESTORE_POINT, name=spec.restore_point)
    if spec.gtid is not None:
        return TargetPoint(kind=PointKind.GTID, name=spec.gtid)
    recovery = database.status.recovery if database is not None else None
    shipped = recovery is not None and recovery.continuous and spec.from_.backup_ref is None
    latest = spec.until == "Latest" or (spec.until is None and shipped)
    return TargetPoint(kind=PointKind.LATEST if latest else PointKind.NONE)


def _engine(sought: Sought, backup: str) -> EngineName:
    """Also of a backup whose Database is gone. Before records named it, there was one engine only."""
    if sought.database is not None:
        return sought.database.spec.engine
    one = sought.known.get(backup)
    return one.engine if one is not None and one.engine is not None else EngineName.POSTGRESQL


def _fit(known: Known, point: TargetPoint) -> list[Candidate]:
    """Newest first: those that do not lie behind the point; with a log to replay, only those that one can be replayed
    on. Where chains hold the log, those whose chain reaches over it."""
    if point.time is not None and (reaching := within(known, point.time)):
        return list(reaching)
    usable = [one for one in known.values() if point.kind in _NO_LOG or one.takes_log]
    return list(before([one for one in usable if not one.behind(point)], point.time))


def _demand_known(point: TargetPoint, database: SeenDatabase | None, asked: Candidate | None, known: Known) -> None:
    """UserFault(PointNotCovered) for a name that this kind of database gives to no point of its log."""
    if point.kind not in _NAMED:
        return
    if database is not None:
        engine: str | None = database.spec.engine
    else:
        engine = next((one.engine for one in ([asked] if asked else known.values())), None)
    if engine is None:
        return
    owners = [name for name, one in CAPABILITIES.items() if one.by_name is point.kind]
    if point.kind is PointKind.GTID and point.name is not None:
        owners = [name for name in owners if is_of(EngineName(name), point.name)]
    if engine in owners:
        return
    said = f" {point.name}" if point.name and CAPABILITIES[engine].by_name is point.kind else ""
    message = (
        f"{_NAMED[point.kind]}{said} is of {' or '.join(owners)}, and this is {engine}: give pointInTime, lsn or until"
    )
    raise UserFault(Reason.POINT_NOT_COVERED, message)


def _why(point: TargetPoint) -> str:
    if point.time is not None:
        return f" to {point.time.isoformat()}: all were taken later, or hold no log that could be replayed on them"
    if point.kind is PointKind.GTID:
        return f" to {point.name}: all hold it already, or hold no log that could be replayed on them"
    return f" to {point.lsn}" if point.lsn else ""
