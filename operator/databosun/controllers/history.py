"""The runs of one database: which are due now, and what the successful ones make recoverable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from databosun.api.v1alpha1.backup import BackupPhase
from databosun.api.v1alpha1.databasestatus import DatabaseStatus, LastBackup
from databosun.controllers import seen as read
from databosun.controllers.context import Context
from databosun.controllers.covering import Covering
from databosun.controllers.seen import SeenBackup, SeenDatabase
from databosun.controllers.timetables import policy_facts, runs_on
from databosun.domain.backuporders import BackupTemplate, create_backup
from databosun.domain.capabilities import CAPABILITIES
from databosun.domain.database import PastRun, Timetabled, TimetableFacts, decide_timetable
from databosun.domain.plan import LABEL_DATABASE_UID, LABEL_FINISHED, CreateRun
from databosun.domain.protection import Success
from databosun.domain.selection import chain_bytes
from databosun.kube.resources import BACKUPS
from databosun.runtime.queue import Key

FEW = 3
Server = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class History:
    """The runs of one database, with their policies' uids. `successes` None: those that the status knows of."""

    runs: tuple[tuple[str, PastRun], ...]
    successes: tuple[Success, ...] | None
    completed: Mapping[str, datetime]


async def gather_history(context: Context, seen: SeenDatabase, *, again: bool = False) -> History:
    """Finished and active Backups. `again`: read the successful ones even where the status knows of all."""
    runs = runs_on(context, seen.meta, BACKUPS.kind, read.backup)
    successes, completed = await _successes(context, seen, again=again)
    return History(tuple(runs), successes, completed)


def without(history: History, gone: Collection[str]) -> History:
    """The same without backups whose data are known to be gone: nothing can be restored from those."""
    if history.successes is None or not gone:
        return history
    return replace(history, successes=tuple(one for one in history.successes if one.name not in gone))


def server_of(old: DatabaseStatus, newest: Success | None) -> Server:
    """Version and identity of the server: of the newest backup, unless a look at the server is younger than that."""
    version = newest.engine_version if newest is not None else None
    system = newest.system_identifier if newest is not None else None
    if newest is None or (old.last_probe_time is not None and newest.at <= old.last_probe_time):
        return {"engine_version": old.engine_version or version, "system_identifier": old.system_identifier or system}
    return {"engine_version": version or old.engine_version, "system_identifier": system or old.system_identifier}


def lasting_server(seen: SeenDatabase, history: History, looked: str | None) -> str | None:
    """Which server there is now; None where that is not known, or a failover among its members would change it.

    `looked`: what a look has found just now."""
    known = CAPABILITIES.get(seen.spec.engine)
    if known is None or not known.lasting_identity:
        return None
    newest = history.successes[-1] if history.successes else None
    return looked or server_of(seen.status, newest)["system_identifier"]


def is_of(found: str | None, server: str | None) -> bool:
    """Whether what was found of one server may speak for this one."""
    return None in (found, server) or found == server


def of_server(history: History, server: str | None) -> History:
    """The same without backups of another server, which protect nothing of this one. They can be restored still."""
    if history.successes is None or server is None:
        return history
    return replace(history, successes=tuple(one for one in history.successes if is_of(one.system_identifier, server)))


def due_of(
    seen: SeenDatabase, covering: Covering, history: History, now: datetime, cause: str | None = None
) -> Timetabled:
    """What one policy's timetable asks for now, and what else asks for a run."""
    policy = covering.seen
    entry = next((entry for entry in seen.status.policies if entry.uid == policy.meta.uid), None)
    runs = tuple(run for uid, run in history.runs if uid == policy.meta.uid)
    last = next((run.name for run in reversed(runs) if run.succeeded), None)
    success = history.completed.get(last) if last else None
    facts = TimetableFacts(
        database=seen.meta.named,
        database_created=seen.meta.created,
        policy=policy_facts(
            policy, covering.effective, forbid_overlap=policy.spec.concurrency_policy == "Forbid", cause=cause
        ),
        entry=entry,
        runs=runs,
        last_success=success or (entry.last_success if entry else None),
    )
    return decide_timetable(facts, now)


def backups_of(context: Context, seen: SeenDatabase, covering: Covering, timetabled: Timetabled) -> Iterable[CreateRun]:
    """The Backups that are due."""
    policy = covering.seen
    storage = context.cache.version(Key("BackupStorage", seen.meta.namespace, policy.spec.storage_ref.name))
    template = BackupTemplate(
        storage=policy.spec.storage_ref.name,
        storage_uid=storage[0] if storage else None,
        method=str(covering.effective.method),
        deletion_policy=policy.spec.deletion_policy,
    )
    return (create_backup(seen.meta.named, policy.meta.named, template, order) for order in timetabled.start)


def last_backup(newest: Success | None) -> LastBackup | None:
    """The newest success as the status shows it."""
    if newest is None:
        return None
    return LastBackup(
        name=newest.name,
        at=newest.at,
        size_bytes=newest.size_bytes,
        restore_bytes=newest.restore_bytes,
        engine_version=newest.engine_version,
    )


def as_success(known: LastBackup) -> Success:
    """The newest success as the status has it."""
    return Success(known.name, known.at, known.size_bytes, known.engine_version, restore_bytes=known.restore_bytes)


def news_of(context: Context, seen: SeenDatabase) -> bool:
    """Whether the index knows of other successful backups than the status."""
    good = [run for run in context.finished.of_database(seen.meta.uid) if run.succeeded and not run.deleting]
    known = seen.status.recovery.backups if seen.status.recovery else 0
    newest = seen.status.last_backup.name if seen.status.last_backup else None
    return len(good) != known or (bool(good) and not any(run.name == newest for run in good))


async def _successes(
    context: Context, seen: SeenDatabase, *, again: bool
) -> tuple[tuple[Success, ...] | None, dict[str, datetime]]:
    """The successful backups, read only where there is news; None: as in status."""
    if not again and not news_of(context, seen):
        return None, {}
    found, times, sizes = [], {}, {}
    async for one in _good(context, seen):
        going = one.meta.deleting or one.status.phase is BackupPhase.DELETING
        if going or one.status.size is None:
            continue
        at = one.status.shows or one.status.start_time or one.meta.created
        sizes[one.meta.name] = one.status.parent, one.status.size.stored
        times[one.meta.name] = one.status.completion_time or at
        found.append(
            Success(
                one.meta.name,
                at,
                one.status.size.stored,
                one.status.engine_version,
                one.status.system_identifier,
                start_lsn=one.status.position.start_lsn if one.status.position else None,
                storage=one.spec.storage_ref.name if one.spec.storage_ref else None,
            )
        )
    return _with_chains(found, sizes), times


async def _good(context: Context, seen: SeenDatabase) -> AsyncIterator[SeenBackup]:
    """The successful backups: a few by name, as the index knows them, since a list reads all of the namespace."""
    names = [run.name for run in context.finished.of_database(seen.meta.uid) if run.succeeded]
    if len(names) <= FEW:
        for name in names:
            body = await context.kube.get(BACKUPS, seen.meta.namespace, name)
            labels = body["metadata"].get("labels", {}) if body is not None else {}
            mine = (labels.get(LABEL_DATABASE_UID), labels.get(LABEL_FINISHED)) == (seen.meta.uid, "Succeeded")
            if body is not None and mine:
                yield read.backup(body)
        return
    selector = f"{LABEL_DATABASE_UID}={seen.meta.uid},{LABEL_FINISHED}=Succeeded"
    async for body in context.kube.list(BACKUPS, seen.meta.namespace, label_selector=selector):
        yield read.backup(body)


def _with_chains(found: Sequence[Success], sizes: Mapping[str, tuple[str | None, int]]) -> tuple[Success, ...]:
    """Oldest first; each with what restoring it reads."""
    ordered = sorted(found, key=lambda one: (one.at, one.name))
    return tuple(replace(one, restore_bytes=chain_bytes(one.name, sizes)) for one in ordered)
