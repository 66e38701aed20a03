"""Look through a store for data of a database from before an erasure that no Backup object stands for. Changes nothing.

What cannot be read counts as a copy: what is none was begun later, or is of another database, by its manifest's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.remains import MOST_LOGS, MOST_NAMED, RemainsResult, RemainsTask
from databosun.api.result import Outcome, Result
from databosun.domain.errors import SafetyStop
from databosun.domain.remains import copy_mark
from databosun.storage.layout import Kind
from databosun.storage.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from databosun.storage.names import is_name
from databosun.storage.owner import demand_ownership
from databosun.storage.port import ObjectMissing
from databosun.storage.walreach import reaches_back

READERS = 8


@dataclass(slots=True)
class _Folder:
    """One folder of a backup. `written`: when its manifest was, by the store's clock; None where it has none;
    `attempts`: those that stored data."""

    database: str
    id: str
    written: datetime | None = None
    attempts: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"{self.database}/{self.id}"


@dataclass(frozen=True, slots=True)
class _Read:
    """A folder with what its manifest says; None where that cannot be read."""

    folder: _Folder
    manifest: Manifest | None

    def before(self, until: datetime) -> bool:
        """Whether its data may have been begun to be taken by then. What cannot be read may have been; a standby shows
        an earlier instant; and what the store had by then was not begun later, whatever the clock of a Job said."""
        written, manifest = self.folder.written, self.manifest
        if manifest is None or written is None:
            return True
        known = (manifest.started_at, manifest.snapshot_time, written)
        return min(at for at in known if at is not None) <= until


@dataclass(slots=True)
class _Found:
    copies: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    looked_at: int = 0


def run(ctx: Context) -> Result:
    """Counts of all that was found, and a few names."""
    task = ctx.request.job
    if not isinstance(task, RemainsTask):
        raise TypeError(task)
    with ctx.phase("storage"):
        # An empty listing proves nothing of a folder that is not known to be ours.
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
    found, systems = _Found(), set(task.systems)
    with ctx.phase("backups"):
        _own(ctx, task, found, systems)
        _of_others(ctx, task, found, systems)
    with ctx.phase("logs"):
        logs = list(_logs(ctx, task, systems))
    remains = RemainsResult(
        looked_at=found.looked_at,
        copies=len(found.copies),
        leftovers=len(found.leftovers),
        named=[*sorted(found.copies), *sorted(found.leftovers)][:MOST_NAMED],
        logs=logs[:MOST_LOGS],
    )
    message = f"{found.looked_at} folders looked at: {len(found.copies)} copies, {len(found.leftovers)} leftovers"
    return Result(outcome=Outcome.SUCCEEDED, reason=AgentReason.SUCCEEDED, message=message, remains=remains)


def _own(ctx: Context, task: RemainsTask, found: _Found, systems: set[str]) -> None:
    """The folder of the database's own name, whichever Database of that name was backed up there."""
    counted = set(task.marks)
    folders = [one for one in _folders(ctx, task.database) if copy_mark(one.database, one.id) not in counted]
    found.looked_at += len(folders)
    for one in _read(ctx, folders):
        manifest = one.manifest
        if manifest is not None and manifest.database.system_identifier is not None:
            systems.add(manifest.database.system_identifier)
        if one.folder.written is not None and one.before(task.until):
            found.copies.append(one.folder.name)
        elif one.folder.attempts - ({manifest.attempt} if manifest is not None else set()):
            found.leftovers.append(one.folder.name)


def _of_others(ctx: Context, task: RemainsTask, found: _Found, systems: set[str]) -> None:
    """Backups of the same server under the names of other Databases."""
    counted = set(task.marks)
    for database in ctx.store.folders(ctx.layout.root):
        if database == task.database or not is_name(database):
            continue
        folders = [
            one
            for one in _folders(ctx, database)
            if one.written is not None and copy_mark(one.database, one.id) not in counted
        ]
        found.looked_at += len(folders)
        # What cannot be read lies where the backups of another server lie, if a Database there is known to be one.
        foreign = database in task.others and task.others[database] not in systems
        for one in _read(ctx, folders):
            if one.manifest is None:
                ours = not foreign
            else:
                of = one.manifest.database
                ours = of.uid == task.database_uid or (of.system_identifier or "") in systems
            if ours and one.before(task.until):
                found.copies.append(one.folder.name)


def _folders(ctx: Context, database: str) -> list[_Folder]:
    """The folders of a database's backups, from one listing of all their objects."""
    found: dict[str, _Folder] = {}
    for number, one in enumerate(ctx.store.list(ctx.layout.backups(database))):
        if number % 1000 == 0:
            ctx.stop.check()
        at = ctx.layout.parse(one.key)
        if at.id is None:
            continue
        folder = found.setdefault(at.id, _Folder(database, at.id))
        if at.kind is Kind.MANIFEST:
            folder.written = one.modified
        if at.kind is Kind.ARTEFACT and at.attempt is not None:
            folder.attempts.add(at.attempt)
    return list(found.values())


def _read(ctx: Context, folders: Iterable[_Folder]) -> Iterator[_Read]:
    with ThreadPoolExecutor(READERS) as readers:
        yield from readers.map(lambda folder: _Read(folder, _manifest(ctx, folder)), folders)


def _manifest(ctx: Context, folder: _Folder) -> Manifest | None:
    ctx.stop.check()
    if folder.written is None:
        return None
    key = ctx.layout.backup(folder.database, folder.id).manifest
    try:
        return read_manifest(ctx.store.get(key, limit=MAX_MANIFEST_BYTES), key)
    except (ObjectMissing, SafetyStop) as error:
        ctx.log.warning("not read", key=key, message=error.message)
        return None


def _logs(ctx: Context, task: RemainsTask, systems: set[str]) -> Iterator[str]:
    """Logs of the database's servers, and of servers that no Database has any more: nobody can say whose they were."""
    foreign = set(task.others.values()) - systems
    root = f"{ctx.layout.root}/_log"
    for engine in ctx.store.folders(root):
        if task.engine is not None and engine != task.engine.lower():
            continue
        for system in ctx.store.folders(f"{root}/{engine}"):
            ctx.stop.check()
            if system in foreign:
                continue
            since = reaches_back(ctx.store, ctx.layout.wal(system, engine), task.until)
            if since is not None:
                yield f"the log in _log/{engine}/{system} reaches back to {since}"
