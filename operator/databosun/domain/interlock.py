"""Which operations may run beside each other on one database and one storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """What a run does."""

    BACKUP = "Backup"
    RESTORE = "Restore"
    DRILL = "Drill"
    FAILOVER = "Failover"
    LIFECYCLE = "Lifecycle"
    MIGRATION = "Migration"
    DELETE = "Delete"


OPERATIONS = {
    "backup": Operation.BACKUP,
    "drill": Operation.DRILL,
    "joint": Operation.DRILL,
    "restore": Operation.RESTORE,
    "bridge": Operation.RESTORE,
    "inquire": Operation.DRILL,
    "failover": Operation.FAILOVER,
    "lifecycle": Operation.LIFECYCLE,
    "erase": Operation.LIFECYCLE,
    "export": Operation.DRILL,
}
"""What a run does, by the task of its Jobs. An inquiry and an export read, as a drill does."""


@dataclass(frozen=True, slots=True)
class Active:
    """A run that has started and has no verdict yet. `database_uid` of a restore is its target's, of a drill the one it
    proves."""

    operation: Operation
    database_uid: str | None
    storage_uid: str | None
    run: str


class BlockedBy(StrEnum):
    """What two runs would share."""

    DATABASE = "Database"
    STORAGE = "Storage"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One active run that keeps another from starting."""

    by: BlockedBy
    operation: Operation
    run: str

    def __str__(self) -> str:
        what = (
            "is active on the same database"
            if self.by is BlockedBy.DATABASE
            else "takes a place of the storage's maxConcurrentRuns"
        )
        return f"{self.operation} {self.run} {what}"


# A pair that is not listed may run together. A drill reads storage alone, so only what removes backups is in its way.
# Deleting never waits for a backup nor a backup for it: retention keeps the newest chain and whatever a backup in
# flight stands on, and a clean-up that hangs must not cost a recovery point.
_EXCLUSIVE = frozenset({Operation.RESTORE, Operation.FAILOVER, Operation.LIFECYCLE, Operation.MIGRATION})
_CONFLICTS = frozenset(
    {frozenset({one, other}) for one in _EXCLUSIVE for other in _EXCLUSIVE | {Operation.BACKUP}}
    # A drill reads storage alone, but an inquiry and an export read the database while rows go.
    | {frozenset({Operation.LIFECYCLE, Operation.DRILL})}
    | {frozenset({Operation.DELETE, reader}) for reader in (Operation.RESTORE, Operation.DRILL, Operation.DELETE)}
)
_SERIAL = frozenset({Operation.BACKUP, Operation.DRILL})
_STREAMING = frozenset({Operation.BACKUP, Operation.RESTORE, Operation.DRILL, Operation.LIFECYCLE})


def conflict(one: Operation, other: Operation, *, allow_same: bool) -> bool:
    """Whether two operations must not run on one database at once; symmetric.

    `allow_same` (concurrencyPolicy Allow) lets two backups or two drills run together, and nothing else.
    """
    if one is other and one in _SERIAL:
        return not allow_same
    return frozenset({one, other}) in _CONFLICTS


def blockers(
    wanted: Operation,
    database_uid: str | None,
    storage_uid: str | None,
    active: Iterable[Active],
    storage_limit: int,
    allow_same: bool,
) -> tuple[Blocker, ...]:
    """The active runs that `wanted` must wait for, by name; none: it may start.

    The caller leaves the run itself out of `active`, and counts what it has granted into it before it asks again.
    """
    seen = sorted(set(active), key=lambda run: (run.operation, run.run))
    found = [
        Blocker(BlockedBy.DATABASE, run.operation, run.run)
        for run in seen
        if database_uid is not None
        and run.database_uid == database_uid
        and conflict(wanted, run.operation, allow_same=allow_same)
    ]
    if wanted in _STREAMING and storage_uid is not None:
        streaming = [run for run in seen if run.storage_uid == storage_uid and run.operation in _STREAMING]
        if len(streaming) >= storage_limit:
            found += [Blocker(BlockedBy.STORAGE, run.operation, run.run) for run in streaming]
    return tuple(found)
