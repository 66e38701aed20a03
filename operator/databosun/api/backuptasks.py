"""What Jobs are told that take backups, ship logs, and keep the store in order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.v1alpha1.backuppolicy import BackupType, Hooks, Method
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant


class ParentBackup(Model):
    """The backup that an incremental or differential stands on."""

    id: str
    attempt: int
    manifest_sha256: str = Field(description="Of manifest.json, from Backup.status.checksum.")
    chain_length: int
    base: str


class ManagedLook(Model):
    """What a look does besides where the cloud keeps the backups: `backups` must be there, and what drills have left is
    removed, but for that of the runs in `active`. Runs that began since `ordered_at` are not judged by `active`."""

    cluster_id: str
    backups: list[str] = Field(default_factory=list, max_length=1000)
    active: list[str] = Field(default_factory=list, max_length=1000)
    ordered_at: Instant | None = None


class ProbeTask(Model):
    """Look at the database: reachable, version, every grant and setting that the asked methods need."""

    task: Literal["probe"] = "probe"
    methods: list[Method] = Field(
        default_factory=list, description="Methods that policies ask for; empty: reachability and version only."
    )
    incremental: bool = False
    continuous: bool = Field(default=False, description="Also what archiving the log needs.")
    allow_unbounded_slot: bool = False
    managed: ManagedLook | None = None


class BackupTask(Model):
    """Take one backup."""

    task: Literal["backup"] = "backup"
    id: str = Field(description="The run's name; the folder in the bucket.")
    database_uid: str
    policy: str | None = None
    policy_uid: str | None = None
    type: BackupType
    method: Method
    consistency: Literal["Strict", "Partial"] = "Strict"
    fingerprints: bool = Field(default=True, description="Count and hash what a logical backup holds.")
    parent: ParentBackup | None = None
    scheduled_for: Instant | None = None
    hooks: Hooks | None = None
    previous_bytes: int | None = Field(
        default=None, description="Logical size of the previous backup of the same type and method."
    )
    held: str | None = Field(
        default=None, description="Reason of a legal hold in force, or empty text for a hold without one."
    )
    log_begin: str | None = Field(
        default=None,
        description="Physical: the newest part of the shipped log can be replayed only onto a backup that starts here"
        " or later.",
    )


class ValidateTask(Model):
    """Prove that the storage can be written conditionally, read, listed, deleted, locked where asked; claim it."""

    task: Literal["validate"] = "validate"


class RecoverTask(Model):
    """Read a run's durable object and report it as its own result."""

    task: Literal["recover"] = "recover"
    database: str
    id: str
    durable: Literal["manifest", "evidence", "result", "joint", "failover", "lifecycle", "erasure", "export"] = Field(
        default="manifest",
        description="Of a backup, a drill, a restore, a drill of many databases, a failover test, a lifecycle run, an"
        " erasure, an export.",
    )


class DeleteTask(Model):
    """Delete the data of backups, children before parents; a locked object is reported, never looped on."""

    task: Literal["delete"] = "delete"
    database: str
    ids: list[str] = Field(max_length=200)


class HoldTask(Model):
    """Write or remove `hold.json` beside backups."""

    task: Literal["hold"] = "hold"
    database: str
    ids: list[str] = Field(max_length=200)
    reason: str | None = Field(default=None, description="Absent: the hold is removed.")


class CatalogTask(Model):
    """Print the manifests of this namespace's prefix, page by page."""

    task: Literal["catalog"] = "catalog"
    after: str | None = Field(default=None, description="Continue behind this `<database>/<id>`.")
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class SweepTask(Model):
    """Remove folders without a manifest that are older than asked and belong to no active run."""

    task: Literal["sweep"] = "sweep"
    older_than_seconds: int
    active: list[str] = Field(default_factory=list, description="`<database>/<id>` of runs that may still write.")


class ArchiveTask(Model):
    """Ship the database's log until told to stop."""

    task: Literal["archive"] = "archive"
    database_uid: str
    max_lag_seconds: Annotated[float, Field(gt=0)] = Field(
        description="Longest that a write may wait until it is stored; a position line every half of it."
    )
    max_retained_bytes: Annotated[int, Field(gt=0)]
    allow_unbounded_slot: bool = False
    synchronous: bool = Field(default=False, description="Store each write at once: the server waits for it.")
    heartbeat_seconds: Annotated[float, Field(gt=0)] | None = None


class DropSlotTask(Model):
    """Remove what an archiver left at the server: its replication slot, on every listed host."""

    task: Literal["drop-slot"] = "drop-slot"
    system_identifier: str


class ExpireLogTask(Model):
    """Delete the part of a server's log that no recovery needs any more."""

    task: Literal["expire-log"] = "expire-log"
    database: str
    system_identifier: str
    base: str = Field(description="The backup that the kept log begins with.")
    manifest_sha256: str = Field(description="Of its manifest.json, from Backup.status.checksum.")
    keep_timeline: int
    keep_lsn: str
    keep_since: Instant
