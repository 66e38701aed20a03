"""What Jobs are told that read backups back: restores, drills, comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.drill import Check, Level, RecoveryPoint
from databosun.api.recordtasks import PreviousEvidence, ReadRecords, RecordPlace
from databosun.api.targets import DatabaseTarget
from databosun.api.tiering import ThawOrder
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.fields import Instant

MOST_ERASURES = 300
"""So many of those that a cluster knows are named to a Job, the newest: a request has its bounds."""


class BackupRef(Model):
    """A backup that is to be read back."""

    id: str
    attempt: int = 1
    database: str = Field(description="Name of the Database whose folder holds it.")
    manifest_sha256: str = Field(description="Of manifest.json, from Backup.status.checksum.")
    verified: bool = Field(
        default=True, description="False: the digest was read from the bucket itself, so it proves nothing."
    )


class KnownErasure(Model):
    """An erasure that the cluster knows was carried out: the ledger of the store must have its entry."""

    id: str
    verified_at: Instant | None = Field(default=None, description="When no row with the subject was left.")


class RestoreTask(Model):
    """Restore into an empty volume: a recovered, promoted, cleanly stopped data directory."""

    task: Literal["restore"] = "restore"
    id: str = Field(description="The run's name.")
    candidates: list[BackupRef] = Field(
        min_length=1, max_length=20, description="Newest first; the first whose artefacts verify is restored."
    )
    claim: str | None = Field(default=None, description="Name of the volume's claim, for the record.")
    until: RecoveryPoint = Field(default_factory=RecoveryPoint)
    timeline: int | None = Field(default=None, description="The timeline to end on. Absent: the newest of this branch.")
    replace: bool = Field(
        default=False, description="Where the volume holds a restore already: put it aside, under another name."
    )
    reindex: bool = Field(default=False, description="Rebuild indexes where the image sorts texts otherwise.")
    thaw: ThawOrder | None = Field(default=None, description="None: what lies in an archive class is refused.")
    checks: list[Check] = Field(default_factory=list, max_length=50)
    level: Level = Level.RESTORE
    erasures: bool = Field(default=True, description="Erase again who was erased since the backup.")
    erased: list[KnownErasure] = Field(default_factory=list, max_length=MOST_ERASURES)


class SelectionOrder(Model):
    """What of a backup is restored; without databases all of them."""

    databases: list[str] = Field(default_factory=list, max_length=64)
    tables: list[str] = Field(default_factory=list, max_length=64, description="Of the one database that is named.")


class BridgeTask(Model):
    """Restore into a running server: beside what is there, checked, then renamed into place in one transaction."""

    task: Literal["bridge"] = "bridge"
    id: str = Field(description="The run's name.")
    uid: str = Field(description="The run's uid: what is made at the target is named after it.")
    candidates: list[BackupRef] = Field(min_length=1, max_length=20)
    target: DatabaseTarget
    mode: Literal["Restore", "Promote", "Discard"] = Field(
        default="Restore", description="Promote: put in place what was staged. Discard: remove it."
    )
    stage_first: bool = Field(default=False, description="Stop once it is staged and checked.")
    selection: SelectionOrder = Field(default_factory=SelectionOrder)
    until: RecoveryPoint = Field(default_factory=RecoveryPoint)
    timeline: int | None = None
    replace: bool = Field(default=False, description="Put aside what is there under those names.")
    thaw: ThawOrder | None = Field(default=None, description="None: what lies in an archive class is refused.")
    checks: list[Check] = Field(default_factory=list, max_length=50)
    level: Level = Level.RESTORE
    erasures: bool = Field(default=True, description="Erase again who was erased since the backup.")
    erased: list[KnownErasure] = Field(default_factory=list, max_length=MOST_ERASURES)


class DrillTask(Model):
    """Prove one backup: restore it into this pod, check it, measure, write evidence. The source is never touched."""

    task: Literal["drill"] = "drill"
    id: str = Field(description="The run's name.")
    backup: BackupRef
    until: RecoveryPoint = Field(default_factory=RecoveryPoint)
    timeline: int | None = None
    level: Level = Level.RESTORE
    checks: list[Check] = Field(default_factory=list, max_length=50)
    erased: list[KnownErasure] = Field(default_factory=list, max_length=MOST_ERASURES)
    rto_seconds: float | None = Field(default=None, description="Objective.")
    rpo_seconds: float | None = Field(default=None, description="Objective.")
    ordered_at: Instant | None = Field(
        default=None, description="When it was ordered; what passed until the agent began is part of the RTO."
    )
    heartbeat: bool = Field(default=False, description="The source commits a heartbeat.")
    negative_control: bool = Field(
        default=False, description="Also damage a copy: a drill that does not notice is itself broken."
    )
    previous: PreviousEvidence | None = None
    record: RecordPlace = Field(default_factory=RecordPlace)


class Compare(Model):
    """Restore a copy into this pod and compare the database with it. Both are only read."""

    backup: BackupRef
    until: RecoveryPoint = Field(default_factory=RecoveryPoint)
    database: str | None = Field(default=None, description="Of the server; absent: all.")
    tables: list[str] = Field(default_factory=list, max_length=64)
    statement_seconds: Annotated[float, Field(gt=0)] = 600.0


class InquireTask(Model):
    """Answer one question, and change nothing."""

    task: Literal["inquire"] = "inquire"
    records: ReadRecords | None = None
    compare: Compare | None = None
