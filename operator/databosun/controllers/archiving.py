"""Continuous archiving of one Database: keep its server's archiver as asked, and read how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from databosun.api.archive import PositionLine
from databosun.api.v1alpha1.conditions import ConditionType
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.recovery import Archiver, Gap, Recovery, Trouble
from databosun.controllers.archiverlog import ArchiverSeen, look_at
from databosun.controllers.archiverorder import order_archiver
from databosun.controllers.claims import Asked, lead_of, unreadable
from databosun.controllers.context import Context
from databosun.controllers.covering import Covered, Covering
from databosun.controllers.facts import cached_storage
from databosun.controllers.logexpiry import Expiring
from databosun.controllers.probing import target_of
from databosun.controllers.seen import SeenDatabase
from databosun.controllers.slots import let_go
from databosun.domain.archiving import Claim, Hindrance, LogFacts, conflict, decide_health, gap_message, look_every
from databosun.domain.conditions import Wanted, is_true
from databosun.domain.errors import UserFault
from databosun.domain.names import archiver_name
from databosun.domain.plan import FINALIZER_SLOT, Action, PatchMetadata
from databosun.domain.recovery import LogReach, cause_of_full, log_reach, merge_gaps, open_gap
from databosun.kube.resources import BACKUP_POLICIES
from databosun.runtime.queue import Key

WAIT_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Archiving:
    """What archiving makes of one look. `order`: actions that ask for a spec that still stands; `health` or `facts`
    decide `ContinuousHealthy`; `again`: the backups must be looked at anew, since the log begins elsewhere; `lead`:
    this Database speaks for its server."""

    archiver: Archiver | None = None
    reach: LogReach | None = None
    facts: LogFacts | None = None
    health: Wanted | None = None
    order: tuple[Action, ...] = ()
    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    again: bool = False
    lead: bool = False
    wake_at: datetime | None = None


async def look(context: Context, key: Key, seen: SeenDatabase, policies: Covered, asked: Asked) -> Archiving:
    """Decide over the archiver of one Database's server."""
    kept, now = seen.status.archiver, context.clock.now()
    system = seen.status.system_identifier
    claim = asked.served
    if claim is None:
        if kept is not None and asked.claim is None and await _unknown(context, seen, kept, policies):
            return _as_it_was(seen, kept, now)
        return replace(await _end(context, key, seen, now), health=asked.refused)
    if kept is not None and kept.system_identifier != system:
        message = f"server {kept.system_identifier} is another one by now; its archiver ends first"
        starting = Wanted(ConditionType.CONTINUOUS_HEALTHY, None, "ArchiverStarting", message)
        return replace(await _end(context, key, seen, now), health=starting)
    lead = lead_of(context, seen.meta.namespace, system, claim) if system else claim
    if lead is not None and (refused := conflict(claim, lead)) is not None:
        return replace(await _end(context, key, seen, now), health=refused)
    if kept is None and (waiting := _hindered(context, key, seen, claim)) is not None:
        return Archiving(health=waiting)
    try:
        return await _keep(context, seen, asked, lead or claim, now)
    except UserFault as fault:
        return Archiving(archiver=kept, health=_health(fault.reason, fault.message))


def health(
    archiving: Archiving, recovery: Recovery | None, now: datetime
) -> tuple[Wanted | None, str | None, datetime | None]:
    """`ContinuousHealthy`, the words for a gap that is open, and until when the condition holds by itself."""
    reach, facts = archiving.reach, archiving.facts
    gap = open_gap(recovery, reach) if reach is not None else None
    words = gap_message(gap) if gap is not None else None
    if facts is None:
        return archiving.health, words, None
    has_base = recovery is not None and recovery.continuous
    wanted, until = decide_health(replace(facts, open_gap=gap, has_base=has_base), now)
    return wanted, words, until


def cause(archiving: Archiving, asked: Asked, one: Covering, recovery: Recovery | None) -> str | None:
    """Why the policy that owns the log takes a full now, beside its schedules.

    Not before it is written down where the log begins: the backup has to start there or later.
    """
    owner = asked.served
    if archiving.reach is None or archiving.again or owner is None or owner.policy.uid != one.seen.meta.uid:
        return None
    return cause_of_full(recovery, archiving.reach)


def with_expiry(archiving: Archiving, expiring: Expiring) -> Archiving:
    """The look together with what becomes of the log's old end."""
    old, new, reach = archiving.archiver, expiring.archiver, archiving.reach
    moved = old is not None and new is not None and old.log_begin != new.log_begin
    return replace(
        archiving,
        archiver=new,
        reach=log_reach(new, reach.gaps) if new is not None and reach is not None else reach,
        again=archiving.again or moved,
        before=(*archiving.before, *expiring.before),
        after=(*archiving.after, *expiring.after),
        wake_at=min(at for at in (archiving.wake_at, expiring.wake_at) if at is not None),
    )


async def _end(context: Context, key: Key, seen: SeenDatabase, now: datetime) -> Archiving:
    """Nobody asks for the log any more: what is left of its archiver goes."""
    if seen.status.archiver is None and FINALIZER_SLOT not in seen.meta.finalizers:
        return Archiving()
    ending = await let_go(context, key, seen, now)
    return Archiving(archiver=ending.archiver, before=ending.before, after=ending.after, wake_at=ending.wake_at)


async def _unknown(context: Context, seen: SeenDatabase, kept: Archiver, policies: Covered) -> bool:
    """Whether it cannot be told at the moment if the log is still wanted: then nothing of it is touched."""
    if unreadable(context, kept.policy_uid, policies):
        return True
    if context.cache.key_of(kept.policy_uid) is not None:
        return False
    body = await context.kube.get(BACKUP_POLICIES, seen.meta.namespace, kept.policy)
    metadata = (body or {}).get("metadata", {})
    return metadata.get("uid") == kept.policy_uid and "deletionTimestamp" not in metadata


def _as_it_was(seen: SeenDatabase, kept: Archiver, now: datetime) -> Archiving:
    message = f"BackupPolicy {kept.policy} cannot be read at the moment; archiver {kept.name} goes on as it was"
    health = Wanted(ConditionType.CONTINUOUS_HEALTHY, None, "ArchiverUnknown", message)
    return Archiving(archiver=kept, reach=log_reach(kept, _known_gaps(seen)), health=health, wake_at=now + WAIT_AGAIN)


def _hindered(context: Context, key: Key, seen: SeenDatabase, claim: Claim) -> Wanted | None:
    """What must be well before a first archiver is started. The look at the server comes again by itself, and the
    storage tells when it has changed."""
    preflight = seen.status.log_preflight
    if preflight is not None and preflight.blocked is not None:
        return _health(preflight.blocked.reason, preflight.blocked.message)
    ready = is_true(seen.status.conditions, ConditionType.READY)
    if preflight is None or not ready or not seen.status.system_identifier:
        message = "archiving starts once the database is ready, and was looked at for it"
        return Wanted(ConditionType.CONTINUOUS_HEALTHY, None, "DatabaseNotProbed", message)
    storage = cached_storage(context, seen.meta.namespace, claim.storage)
    if storage is None or not is_true(storage.status.conditions, ConditionType.READY):
        context.waiting[Key("BackupStorage", seen.meta.namespace, claim.storage)].add(key)
        message = f"archiving starts once BackupStorage {claim.storage} is ready"
        return Wanted(ConditionType.CONTINUOUS_HEALTHY, None, "StorageNotReady", message)
    return None


async def _keep(context: Context, seen: SeenDatabase, asked: Asked, lead: Claim, now: datetime) -> Archiving:
    """Have the archiver as asked, and read what it says."""
    claim, kept, system = asked.claim, seen.status.archiver, seen.status.system_identifier or ""
    if claim is None:
        raise TypeError(asked)
    order: tuple[Action, ...] = ()
    if FINALIZER_SLOT not in seen.meta.finalizers:
        order = (PatchMetadata({"finalizers": [*seen.meta.finalizers, FINALIZER_SLOT]}),)
    if lead.database.uid == seen.meta.uid:
        order += order_archiver(context, seen, asked, system)
    found = _noting_strangers(await look_at(context, seen.meta.namespace, archiver_name(system)), system)
    archiver = _updated(seen, claim, found, now)
    elsewhere = kept is not None and kept.storage != claim.storage
    line = _line_of(found, claim, system)
    told = line.newest_gaps if line is not None else []
    gaps = merge_gaps([] if elsewhere else _known_gaps(seen), told)
    facts = LogFacts(
        name=archiver.name,
        storage=claim.storage,
        max_lag=lead.continuous.max_lag,
        began=archiver.started,
        recoverable_at=archiver.recoverable_at,
        hindrance=found.hindrance,
        open_gap=None,
        has_base=False,
    )
    begins_elsewhere = kept is None or kept.log_begin != archiver.log_begin
    gap = seen.status.recovery is not None and list(gaps) != list(_known_gaps(seen))
    return Archiving(
        archiver=archiver,
        reach=log_reach(archiver, gaps),
        facts=facts,
        order=order,
        again=(begins_elsewhere or gap) and archiver.log_begin is not None,
        lead=lead.database.uid == seen.meta.uid,
        wake_at=now + look_every(lead.continuous.max_lag),
    )


def _updated(seen: SeenDatabase, claim: Claim, found: ArchiverSeen, now: datetime) -> Archiver:
    """The archiver as it stands after a look. Without a line it stays as it was."""
    kept, system = seen.status.archiver, seen.status.system_identifier or ""
    target, _ = target_of(seen)
    if kept is None or kept.storage != claim.storage:
        # Another store has none of the log: it begins anew there.
        kept = Archiver(
            name=archiver_name(system),
            system_identifier=system,
            policy=claim.policy.name,
            policy_uid=claim.policy.uid,
            storage=claim.storage,
            port=target.port,
            started=now.replace(microsecond=0),
        )
    update: dict[str, object] = {
        "policy": claim.policy.name,
        "policy_uid": claim.policy.uid,
        "hosts": list(target.hosts),
        "port": target.port,
        "trouble": _trouble(kept.trouble, found.hindrance, now),
    }
    line = _line_of(found, claim, system)
    if line is not None:
        recoverable = line.recoverable_at.replace(microsecond=0) if line.recoverable_at else kept.recoverable_at
        update |= {
            "slot": line.slot or kept.slot,
            "host": line.host or kept.host,
            "recoverable_at": recoverable,
            "position": line.lsn or kept.position,
            "timeline": line.timeline or kept.timeline,
            "lag_seconds": max(0, int((now - recoverable).total_seconds())) if recoverable else None,
            "behind_bytes": line.behind_bytes,
            "retained_bytes": line.retained_bytes,
            "diverged_bytes": line.diverged_bytes,
            "gaps": line.gaps,
            "log_begin": kept.log_begin or ((line.begin or line.lsn) if line.recoverable_at else None),
        }
    return kept.model_copy(update=update)


def _line_of(found: ArchiverSeen, claim: Claim, system: str) -> PositionLine | None:
    """What was said of this server's log in this very store; a pod of an older order may still be speaking."""
    line = found.line
    return line if line is not None and (line.system_identifier, found.storage) == (system, claim.storage) else None


def _noting_strangers(found: ArchiverSeen, system: str) -> ArchiverSeen:
    """Where the archiver met another server than the one that it was started for, that is the trouble."""
    other = found.line.system_identifier if found.line is not None else None
    if other in (None, system):
        return found
    message = f"the archiver of server {system} finds server {other} in its place; the database is looked at again"
    return replace(found, hindrance=Hindrance(Reason.ANOTHER_SERVER, message))


def _trouble(old: Trouble | None, hindrance: Hindrance | None, now: datetime) -> Trouble | None:
    if hindrance is None:
        return None
    since = old.since if old is not None and old.reason == hindrance.reason else now.replace(microsecond=0)
    return Trouble(reason=hindrance.reason, message=hindrance.message, since=since)


def _known_gaps(seen: SeenDatabase) -> Sequence[Gap]:
    return seen.status.recovery.gaps if seen.status.recovery else []


def _health(reason: str, message: str) -> Wanted:
    return Wanted(ConditionType.CONTINUOUS_HEALTHY, False, reason, message)
