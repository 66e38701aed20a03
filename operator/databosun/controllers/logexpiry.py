"""Let go of the log that no recovery within the window needs: shown first, for the grace, then deleted by a Job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from databosun.api.backuptasks import ExpireLogTask
from databosun.api.request import Request
from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.reasons import Reason
from databosun.api.v1alpha1.recovery import Archiver, LogExpiry
from databosun.controllers import errand
from databosun.controllers import seen as read
from databosun.controllers.claims import Asked
from databosun.controllers.consent import consents_now, consents_to
from databosun.controllers.context import Context
from databosun.controllers.covering import Covering, covered
from databosun.controllers.facts import cached_storage
from databosun.controllers.history import news_of
from databosun.controllers.matching import readers_of
from databosun.controllers.policies import nothing_new
from databosun.controllers.seen import SeenBackup, SeenDatabase
from databosun.domain.attempt import DEADLINE_MARGIN, Ending
from databosun.domain.consent import Consent
from databosun.domain.errors import UserFault
from databosun.domain.logretention import (
    Expire,
    ExpiryFacts,
    KeepFrom,
    LogBase,
    Show,
    Shown,
    Stop,
    decide_log_expiry,
    log_plan_hash,
    log_window,
)
from databosun.domain.names import task_job_name
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, Action, PostEvent, StartJob
from databosun.domain.requests import storage_target
from databosun.domain.wal import WalPoint, format_lsn, parse_lsn
from databosun.kube.resources import BACKUP_POLICIES, BACKUPS, DATABASES
from databosun.runtime.queue import Key

TASK = "expire-log"


@dataclass(frozen=True, slots=True)
class Expiring:
    """What one look at a server's log says and does."""

    archiver: Archiver | None
    before: tuple[Action, ...] = ()
    after: tuple[Action, ...] = ()
    wake_at: datetime | None = None


async def look(context: Context, key: Key, seen: SeenDatabase, asked: Asked, archiver: Archiver | None) -> Expiring:
    """One look, by the Database that speaks for the server: when a backup has come or gone, and when a plan is due."""
    now = context.clock.now()
    if archiver is None or archiver.log_begin is None or asked.covering is None or archiver.timeline is None:
        return Expiring(archiver)
    shown = archiver.expiring
    name = task_job_name(TASK, seen.meta.name, f"{seen.meta.uid}/{shown.base}/{shown.since}") if shown else ""
    found = await errand.look(context, key, seen.meta, TASK, name)
    if found.job is not None and found.ending is not None and shown is not None:
        after = (*await errand.dismiss(context, seen.meta, found.job), *found.leftovers)
        return _ended(archiver, shown, found.ending, after, now)
    if found.job is not None:
        wake_at = min(now + errand.LOOK_AGAIN, found.job.deadline + DEADLINE_MARGIN)
        return Expiring(archiver, after=found.leftovers, wake_at=wake_at)
    policy, database = asked.covering.effective.retention, Key(DATABASES.kind, seen.meta.namespace, seen.meta.name)
    known = _approved(consents_to(context, database), now)
    released = shown is not None and shown.stopped is not None and shown.hash in known
    due = shown is not None and shown.stopped is None and now >= shown.since + policy.grace
    if not (news_of(context, seen) or due or released):
        until = shown.since + policy.grace if shown and shown.stopped is None else None
        return Expiring(archiver, after=found.leftovers, wake_at=until)
    policies, understood = _policies(context, seen)
    backups = await _backups(context, seen, archiver)
    facts = ExpiryFacts(
        bases=tuple(base for _, base in backups),
        window=log_window(one.effective.retention for one in policies),
        grace=max(one.effective.retention.grace for one in policies),
        held=not understood or any(one.seen.spec.legal_hold or one.seen.spec.suspend for one in policies),
        begins=WalPoint(archiver.timeline, parse_lsn(archiver.log_begin)),
        shown=Shown(shown.base, shown.since) if shown else None,
        approved=_approved(await consents_now(context, database), now),
    )
    decision = decide_log_expiry(facts, now)
    if isinstance(decision, Expire):
        for kind in (BACKUP_POLICIES, DATABASES):
            if not await nothing_new(context, seen.meta.namespace, kind):
                return Expiring(archiver, after=found.leftovers, wake_at=now)
        return _expire(context, key, seen, asked, archiver, (decision.keep, name), backups, now)
    return _shown(archiver, decision, found.leftovers, now)


async def let_go(context: Context, key: Key, seen: SeenDatabase) -> tuple[Action, ...]:
    """What is left of a deletion of log where this Database does not speak for the log any more, if it ever did."""
    names = (name.partition("/")[2] for name in context.workers.get(key, ()))
    if not any(name.startswith(f"{TASK}-") for name in names):
        return ()
    return (await errand.look(context, key, seen.meta, TASK, "")).leftovers


def _approved(given: Sequence[Consent], now: datetime) -> frozenset[str]:
    """The plans that a person agrees to now."""
    return frozenset(one.plan_hash for one in given if one.holds(now))


def _shown(archiver: Archiver, decision: Show | Stop | None, leftovers: tuple[Action, ...], now: datetime) -> Expiring:
    if decision is None:
        return Expiring(archiver.model_copy(update={"expiring": None}), after=leftovers)
    keep, old = decision.keep, archiver.expiring
    stopped = decision.message if isinstance(decision, Stop) else None
    shown = LogExpiry(
        base=keep.base,
        before=keep.since.replace(microsecond=0),
        since=old.since if old is not None and old.base == keep.base else now.replace(microsecond=0),
        hash=log_plan_hash(keep.base),
        stopped=stopped,
    )
    after = leftovers
    if stopped is not None and (old is None or (old.base, old.stopped is None) != (keep.base, False)):
        after = (*leftovers, PostEvent(str(Reason.MASS_DELETION), stopped, warning=True))
    wake_at = decision.until if isinstance(decision, Show) else None
    return Expiring(archiver.model_copy(update={"expiring": shown}), after=after, wake_at=wake_at)


def _expire(
    context: Context,
    key: Key,
    seen: SeenDatabase,
    asked: Asked,
    archiver: Archiver,
    plan: tuple[KeepFrom, str],
    backups: Sequence[tuple[SeenBackup, LogBase]],
    now: datetime,
) -> Expiring:
    keep, name = plan
    older = [base.id for _, base in backups if base.at <= keep.since]
    if readers_of(context, seen.meta.namespace, older):
        # A drill or a restore may be replaying what is about to go.
        return Expiring(archiver, wake_at=now + errand.LOOK_AGAIN)
    context.leadership.assert_fresh()
    base = next(one for one, fact in backups if fact.id == keep.base)
    job = _order(context, seen, asked, archiver, (keep, name), base, now)
    if job is None:
        return Expiring(archiver, wake_at=now + 20 * errand.LOOK_AGAIN)
    context.workers.setdefault(key, set()).add(f"Job/{name}")
    # Written before the Job is there: from now on nothing is promised that it may have deleted, however it ends.
    marked = archiver.model_copy(update={"log_base": keep.base, "log_begin": format_lsn(keep.start.lsn)})
    return Expiring(marked, after=(job,), wake_at=now + errand.LOOK_AGAIN)


def _order(
    context: Context,
    seen: SeenDatabase,
    asked: Asked,
    archiver: Archiver,
    plan: tuple[KeepFrom, str],
    base: SeenBackup,
    now: datetime,
) -> StartJob | None:
    keep, name = plan
    storage = cached_storage(context, seen.meta.namespace, archiver.storage)
    image = context.images.any_runner()
    if storage is None or image is None or asked.covering is None or base.status.checksum is None:
        return None
    target, secrets = storage_target(storage.meta.named, storage.spec, context.cluster_id)
    task = ExpireLogTask(
        database=read.database_name(base),
        system_identifier=archiver.system_identifier,
        base=keep.base,
        manifest_sha256=base.status.checksum,
        keep_timeline=keep.start.timeline,
        keep_lsn=format_lsn(keep.start.lsn),
        keep_since=keep.since,
    )
    deadline = errand.deadline(now, 6 * errand.ERRAND_DEADLINE)
    request = Request(
        run=seen.meta.name, deadline=deadline, storage=target, secrets=list(secrets), image=image, job=task
    )
    return errand.order(
        seen.meta,
        "Database",
        name,
        request,
        image,
        pod_template=asked.covering.seen.spec.pod_template,
        storage_claim=storage.spec.claim,
        labels={LABEL_DATABASE_UID: seen.meta.uid},
    )


def _ended(archiver: Archiver, shown: LogExpiry, ending: Ending, after: tuple[Action, ...], now: datetime) -> Expiring:
    """Record what became of it. What failed stays shown, and is tried again after another grace."""
    now = now.replace(microsecond=0)
    if ending.succeeded and ending.reason != "NotDeleted":
        update: dict[str, Any] = {"expiring": None, "log_expired": now}
        event = PostEvent("LogExpired", f"the log before {shown.before.isoformat()} was deleted: {ending.message}")
    else:
        update = {"expiring": shown.model_copy(update={"since": now})}
        said = f"{ending.reason}: {ending.message}"
        message = f"the log before {shown.before.isoformat()} was not all deleted: {said}"
        event = PostEvent("LogNotExpired", message, warning=True)
    return Expiring(archiver.model_copy(update=update), after=(*after, event), wake_at=now)


def _policies(context: Context, seen: SeenDatabase) -> tuple[list[Covering], bool]:
    """The policies of every Database that names this server; and whether it is known what all of them ask for."""
    others, understood = _same_server(context, seen)
    found: list[Covering] = []
    for one in (seen, *others):
        policies = covered(context, one)
        found += policies.usable
        understood = understood and policies.understood
    return found, understood


def _same_server(context: Context, seen: SeenDatabase) -> tuple[list[SeenDatabase], bool]:
    """The other Databases that name this server; and whether all of them can be read."""
    found, whole = [], True
    for key in context.cache.referring("Database", seen.meta.namespace, f"system:{seen.status.system_identifier}"):
        body = context.cache.get(key)
        try:
            other = read.database(body) if body is not None else None
        except UserFault:
            whole = False  # said on the Database itself
            continue
        if other is not None and other.meta.uid != seen.meta.uid:
            found.append(other)
    return found, whole


async def _backups(context: Context, seen: SeenDatabase, archiver: Archiver) -> list[tuple[SeenBackup, LogBase]]:
    """The good physical backups of this server in the storage of its log, whichever Database took them."""
    found = []
    for one in (seen, *_same_server(context, seen)[0]):
        selector = f"{LABEL_DATABASE_UID}={one.meta.uid},{LABEL_FINISHED}=Succeeded"
        async for body in context.kube.list(BACKUPS, seen.meta.namespace, label_selector=selector):
            backup = read.backup(body)
            base = _base(backup, archiver)
            if base is not None:
                found.append((backup, base))
    return found


def _base(backup: SeenBackup, archiver: Archiver) -> LogBase | None:
    status, position = backup.status, backup.status.position
    going = backup.meta.deleting or status.phase is BackupPhase.DELETING
    here = backup.spec.storage_ref is not None and backup.spec.storage_ref.name == archiver.storage
    if going or not here or status.checksum is None or status.system_identifier != archiver.system_identifier:
        return None
    if position is None or position.start_lsn is None or position.timeline is None:
        return None
    at = status.shows or status.completion_time or backup.meta.created
    return LogBase(backup.meta.name, WalPoint(position.timeline, parse_lsn(position.start_lsn)), at)
