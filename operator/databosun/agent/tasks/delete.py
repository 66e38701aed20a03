"""Delete the data of backups.

The order, and why no half-deleted backup is ever taken for a good one:

1. Children before parents, over the ids of the task; a parent stays while any manifest in the store names it. So a
   child never stands without its parent, whatever interrupts us.
2. Nothing of a backup is touched while any of its objects is locked or a legal hold lies on it: either all of it can
   go, or all of it stays, manifest included.
3. The manifest goes first. A folder without one is no backup for anybody: not for the catalog, a restore, a drill or a
   parent; what an interruption leaves behind it is garbage for the sweep. Were the manifest last, an interruption would
   leave a manifest that promises objects which are gone.
4. Gone means that a listing finds nothing.
5. What a cloud keeps of a backup goes after the manifest and before the rest of the folder. It is looked at first:
   where it is not ours, or nobody can log in there, the whole backup stays. Where an interruption comes between, the
   next try finds it by name.

A locked object is reported with the end of its lock, and not tried again: that is the operator's to schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from databosun.agent.context import Context
from databosun.agent.reasons import AgentReason
from databosun.api.backuptasks import DeleteTask
from databosun.api.result import DeletedBackup, Outcome, Result
from databosun.api.v1alpha1.backup import HeldPart
from databosun.domain.errors import SafetyStop
from databosun.engines.managed import ManagedEngine, Origin
from databosun.storage.layout import BackupFolder
from databosun.storage.locks import latest_lock
from databosun.storage.manifest import MAX_MANIFEST_BYTES, Manifest, read_manifest
from databosun.storage.names import is_name
from databosun.storage.owner import demand_ownership
from databosun.storage.port import ObjectMissing

LONGEST_MESSAGE = 400


def run(ctx: Context) -> Result:
    """What became of each id. The task succeeds also where backups stay: the result says which, and why."""
    task = ctx.request.job
    if not isinstance(task, DeleteTask):
        raise TypeError(task)
    with ctx.phase("storage"):
        demand_ownership(ctx.store, ctx.layout, ctx.claimant)
        parents = _parents(ctx, task.database)
    ctx.started = True
    with ctx.phase("delete"):
        outcomes: dict[str, DeletedBackup] = {}
        for backup_id in children_first(task.ids, parents):
            ctx.stop.check()
            outcome = _delete(ctx, task.database, backup_id, parents)
            if outcome.deleted:
                parents.pop(backup_id, None)
            outcomes[backup_id] = outcome
    kept = [one for one in outcomes.values() if not one.deleted]
    reason = AgentReason.NOT_DELETED if kept else AgentReason.SUCCEEDED
    message = f"{len(kept)} of {len(outcomes)} backups stay: {kept[0].message}" if kept else ""
    deleted = [outcomes[backup_id] for backup_id in dict.fromkeys(task.ids)]
    return Result(outcome=Outcome.SUCCEEDED, reason=reason, message=message, deleted=deleted)


def children_first(ids: Sequence[str], parents: Mapping[str, str | None]) -> list[str]:
    """The ids without repetition, each before its ancestors."""

    def depth(backup_id: str) -> int:
        seen: set[str] = set()
        at: str | None = backup_id
        while at is not None and at not in seen:
            seen.add(at)
            at = parents.get(at)
        return len(seen)

    return sorted(dict.fromkeys(ids), key=lambda backup_id: (-depth(backup_id), backup_id))


def _parents(ctx: Context, database: str) -> dict[str, str | None]:
    """The parent of every backup of a database. SafetyStop where one is unreadable: it may need what is to go."""
    found: dict[str, str | None] = {}
    for backup_id in ctx.store.folders(ctx.layout.backups(database)):
        ctx.stop.check()
        if not is_name(backup_id):
            continue
        manifest = _manifest(ctx, ctx.layout.backup(database, backup_id))
        if manifest:
            found[backup_id] = manifest.parent
    return found


def _manifest(ctx: Context, folder: BackupFolder) -> Manifest | None:
    try:
        data = ctx.store.get(folder.manifest, limit=MAX_MANIFEST_BYTES)
    except ObjectMissing:
        return None
    return read_manifest(data, f"{folder.manifest} in {ctx.store.describe()}")


def _delete(ctx: Context, database: str, backup_id: str, parents: Mapping[str, str | None]) -> DeletedBackup:
    folder = ctx.layout.backup(database, backup_id)
    keys = [one.key for one in ctx.store.list(folder.root)]
    if not keys and ctx.managed is None:
        return DeletedBackup(id=backup_id, deleted=True, absent=True)
    if folder.hold in keys:
        return _kept(backup_id, f"a legal hold lies on {backup_id}: {folder.hold}")
    child = next((child for child, parent in sorted(parents.items()) if parent == backup_id), None)
    if child:
        return _kept(backup_id, f"backup {child} stands on {backup_id}")
    if until := latest_lock(ctx.store, keys):
        return _kept(backup_id, f"{backup_id} is locked until {until.isoformat()}", until)
    there = _Elsewhere.of(ctx, folder, backup_id)
    if why := there.refusal():
        return _kept(backup_id, why)
    if folder.manifest in keys:
        for refused in ctx.store.delete([folder.manifest]):
            return _kept(backup_id, refused.message, refused.locked_until)
    there.release()
    for refused in ctx.store.delete([key for key in keys if key != folder.manifest]):
        return _kept(backup_id, refused.message, refused.locked_until)
    left = [one.key for one in ctx.store.list(folder.root)]
    if left:
        message = (
            f"{left[0]} appeared in {ctx.store.describe()} while {backup_id} was being deleted; somebody writes there"
        )
        raise SafetyStop(AgentReason.NOT_DELETED, message)
    ctx.log.info("deleted", id=backup_id, objects=len(keys))
    return DeletedBackup(id=backup_id, deleted=True)


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """What a cloud keeps of one backup. `held`: as its manifest says, none where that is gone already."""

    engine: ManagedEngine | None
    backup: str
    origin: Origin | None
    held: Sequence[HeldPart]

    @classmethod
    def of(cls, ctx: Context, folder: BackupFolder, backup_id: str) -> _Elsewhere:
        manifest = _manifest(ctx, folder)
        if manifest is None:
            return cls(ctx.managed, backup_id, None, ())
        origin = Origin(manifest.cluster, manifest.database.namespace, manifest.database.uid)
        return cls(ctx.managed, backup_id, origin, manifest.elsewhere)

    def refusal(self) -> str | None:
        """Why all of the backup must stay."""
        if self.engine is not None:
            return self.engine.refusal(self.backup, self.origin, self.held)
        if not self.held:
            return None
        return (
            f"{self.backup} is kept by a cloud ({self.held[0].name}), and this Job was given no login there: its "
            "Database is gone, or of another engine by now; delete it there, then the folder"
        )

    def release(self) -> None:
        """Delete it there."""
        if self.engine is not None:
            self.engine.release(self.backup, self.origin, self.held)


def _kept(backup_id: str, message: str, locked_until: datetime | None = None) -> DeletedBackup:
    return DeletedBackup(id=backup_id, deleted=False, locked_until=locked_until, message=message[:LONGEST_MESSAGE])
