"""What the operator asks of an agent: one JSON document, no secrets, in a pod annotation (`docs/concepts/jobs.md`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from databosun.api.backuptasks import (
    ArchiveTask,
    BackupTask,
    CatalogTask,
    DeleteTask,
    DropSlotTask,
    ExpireLogTask,
    HoldTask,
    ProbeTask,
    RecoverTask,
    SweepTask,
    ValidateTask,
)
from databosun.api.dataexport import ExportOrder
from databosun.api.drill import Check, Level, RecoveryPoint, Verdict
from databosun.api.failover import FailoverTask
from databosun.api.lifecycle import BatchOrder, CallFact, LifecycleMode, LifecycleOrder, ThrottleOrder
from databosun.api.tiering import ThawOrder, TieringScope
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import EngineName, TLSMode
from databosun.api.v1alpha1.fields import Instant

SCHEMA = 1
MAX_REQUEST_BYTES = 200 * 1024
REQUEST_ANNOTATION = "databosun.io/request"
ANSWER_ANNOTATION = "databosun.io/answer"
"""What the operator did that an agent asked it for in the midst of its work."""
RUN_PATH = "/run/databosun"
REQUEST_PATH = "/run/databosun/request.json"
ANSWER_PATH = "/run/databosun/answer.json"
SECRETS_PATH = "/run/databosun/secrets"
SCRATCH_PATH = "/scratch"
TERMINATION_PATH = "/dev/termination-log"
VOLUME_PATH = "/storage"
RESTORE_PATH = "/restore"


EVIDENCE = "evidence-"
"""What the uses of Secrets begin with that are of the storage of evidence, where that is another."""
ERASURE = "erasure"
"""The use of the Secret that subjects of erasures are hashed with; known by a storage, and asked for where needed."""
MOST_ERASURES = 300
"""So many of those that a cluster knows are named to a Job, the newest: a request has its bounds."""
SUBJECT = "subject"
"""The use of the Secret with the key of the one subject that is to be erased."""


class SecretUse(Model):
    """A Secret mounted under `/run/databosun/secrets/<use>/`; named so that the agent can say which one is missing."""

    use: str = Field(
        description="database, database-ca, database-client, failover, cloud, storage, storage-ca, signing, age-0 …,"
        " notify, hash, subject, erasure"
    )
    secret: str
    keys: dict[str, str] = Field(description="File name in the folder -> key in the Secret.")


class CopyTarget(Model):
    """A region that takes second copies of snapshots."""

    region: str
    kms_key_id: str | None = None


class DrillPlace(Model):
    """Where a drill makes its temporary instance."""

    parameter_group: str
    cluster_parameter_group: str | None = None
    subnet_group: str
    security_group_ids: list[str]
    instance_class: str | None = None


class RDSTarget(Model):
    """An instance or cluster of Amazon RDS as the agent sees it."""

    instance: str | None = None
    cluster: str | None = None
    region: str
    engine: Literal["PostgreSQL", "MySQL", "MariaDB"]
    endpoint: str | None = None
    has_credentials: bool = Field(description="False: workload identity.")
    secret: str | None = Field(default=None, description="Name of the Secret with the keys, for messages.")
    copy_to: CopyTarget | None = None
    drill: DrillPlace | None = None


class Problem(Model):
    """What stands in the way of a Job, where another way may do."""

    reason: str
    message: str


class DatabaseTarget(Model):
    """A database as the agent sees it."""

    namespace: str
    name: str
    uid: str
    engine: EngineName
    hosts: list[str]
    port: int
    database: str | None = None
    tls: TLSMode = TLSMode.REQUIRE
    version: str | None = None
    environment: str = "Production"
    rds: RDSTarget | None = None
    data_mount: str | None = Field(
        default=None, description="Where the claim of its data directory is mounted, read-only. None: nowhere."
    )
    data_problem: Problem | None = Field(default=None, description="Why it is not, though the Database names it.")


class S3Target(Model):
    """A bucket as the agent sees it."""

    endpoint: str | None = None
    bucket: str
    region: str
    force_path_style: bool = False
    has_credentials: bool = Field(description="False: workload identity.")


class Immutable(Model):
    """Object lock asked for."""

    mode: Literal["Governance", "Compliance"]
    seconds: int


class StorageTarget(Model):
    """A store as the agent sees it; keys start with `<prefix>/<namespace>/`."""

    namespace: str
    name: str
    cluster_id: str
    prefix: str = ""
    s3: S3Target | None = None
    volume_path: str | None = Field(default=None, description="Folder below the mounted claim; None for buckets.")
    age_recipients: list[str] = Field(default_factory=list)
    signed: bool = False
    public_key: str | None = None
    immutable: Immutable | None = None
    adopt_from: str | None = None


class BackupRef(Model):
    """A backup that is to be read back."""

    id: str
    attempt: int = 1
    database: str = Field(description="Name of the Database whose folder holds it.")
    manifest_sha256: str = Field(description="Of manifest.json, from Backup.status.checksum.")
    verified: bool = Field(
        default=True, description="False: the digest was read from the bucket itself, so it proves nothing."
    )


class PreviousEvidence(Model):
    """The evidence before this one: each names its predecessor, so that none can be taken out unnoticed."""

    run: str
    sha256: str


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


class RecordPlace(Model):
    """Where the record of a run goes, and for how long it is locked. Secrets of another storage than the backup's have
    uses that begin with `evidence-`."""

    storage: StorageTarget | None = Field(default=None, description="None: that of the request.")
    lock_seconds: int | None = Field(default=None, description="None: as long as the storage locks backups.")


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


class JointMember(Model):
    """One database of a drill of many, as its own run ended."""

    database: str
    run: str
    verdict: Verdict
    reason: str
    message: str = ""
    ordered_at: Instant | None = None
    seconds: float | None = Field(default=None, description="Its time to restore, from `ordered_at`.")
    objective: float | None = Field(default=None, description="Seconds.")
    rpo_seconds: float | None = None
    rpo_met: bool | None = None
    evidence_sha256: str | None = None
    here: bool = Field(default=True, description="False: its evidence lies in another storage.")


class JointGroup(Model):
    """Databases that were restored at once."""

    started_at: Instant
    members: list[JointMember]


class JointTask(Model):
    """Write down what a drill of many databases came to, with the digest of each one's evidence."""

    task: Literal["joint"] = "joint"
    id: str = Field(description="The run's name.")
    drill: str | None = Field(default=None, description="The RestoreDrill.")
    groups: list[JointGroup] = Field(max_length=33)
    previous: PreviousEvidence | None = None
    lock_seconds: int | None = Field(default=None, description="As in RecordPlace.")


class ReadRecords(Model):
    """Hand over records: evidence of drills, or the record of one restore."""

    restore: str | None = None
    database: str | None = None
    since: Instant | None = None
    after: str | None = Field(default=None, description="Continue behind this key.")


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


KNOWN_CALLS = (
    "Enforce: by rule the functions and views of the plan that was approved, to name those that are others now."
)


class LifecycleTask(Model):
    """Look what the rules of a lifecycle would do, or do it: exactly the plan of the approved hash, or nothing.

    The agent makes the plan anew from what it finds (`domain/lifecycle.py`), and refuses where its hash is another.
    `Secret hash`, key `key`: what keys and columns are hashed with, where the policy names one.
    """

    task: Literal["lifecycle"] = "lifecycle"
    id: str = Field(description="The run's name.")
    policy: str = Field(description="Name of the LifecyclePolicy.")
    mode: LifecycleMode = LifecycleMode.DRY_RUN
    at: Instant = Field(description="The instant that ages are reckoned from; the same in all attempts of a run.")
    order: LifecycleOrder
    approved: str | None = Field(default=None, description="Enforce: hash of the plan that was approved.")
    calls: dict[str, list[CallFact]] = Field(default_factory=dict, description=KNOWN_CALLS)
    batch: BatchOrder = Field(default_factory=BatchOrder)
    throttle: ThrottleOrder = Field(default_factory=ThrottleOrder)
    stop_at: Instant | None = Field(
        default=None, description="Enforce: no batch begins after this; the run then succeeds with what it has done."
    )
    previous: PreviousEvidence | None = Field(default=None, description="The audit of the enforced run before this.")
    tiering: TieringScope = Field(
        default_factory=TieringScope, description="StorageTransition: what it would break, and what stays."
    )


class EraseTask(Model):
    """Look where a subject stands, or erase it there: exactly the plan of the approved hash, or nothing.

    `Secret subject`, key `subject`: the subject's key. `Secret erasure`, key `key`: what it is hashed with.
    """

    task: Literal["erase"] = "erase"
    id: str = Field(description="The request's name.")
    uid: str = Field(description="The request's uid.")
    mode: LifecycleMode = LifecycleMode.DRY_RUN
    at: Instant
    order: LifecycleOrder
    system: str | None = Field(default=None, description="The server's own identity, as it is known.")
    approved: str | None = Field(default=None, description="Enforce: hash of the plan that was approved.")
    calls: dict[str, list[CallFact]] = Field(default_factory=dict, description=KNOWN_CALLS)
    previous: PreviousEvidence | None = Field(default=None, description="The audit of the erasure before this.")


class ExportTask(Model):
    """Write all rows of a subject into the store. `Secret subject` and `Secret erasure`: as of an EraseTask."""

    task: Literal["export"] = "export"
    id: str = Field(description="The export's name.")
    uid: str = Field(description="The export's uid.")
    database_uid: str
    database: str | None = Field(default=None, description="Of the server; None: the one that there is.")
    storage: str = Field(description="Name of the BackupStorage.")
    rules: list[ExportOrder]
    expires_seconds: int = Field(description="How long the files are kept.")


Task = Annotated[
    RestoreTask
    | BridgeTask
    | InquireTask
    | DrillTask
    | FailoverTask
    | JointTask
    | ProbeTask
    | BackupTask
    | ValidateTask
    | RecoverTask
    | DeleteTask
    | HoldTask
    | CatalogTask
    | SweepTask
    | ArchiveTask
    | DropSlotTask
    | ExpireLogTask
    | LifecycleTask
    | EraseTask
    | ExportTask,
    Field(discriminator="task"),
]


class Request(Model):
    """One Job's orders."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run: str = Field(description="Name of the object that asked, for logs.")
    attempt: Annotated[int, Field(ge=1, le=99)] = 1
    deadline: Instant = Field(description="The agent stops by itself at this instant.")
    not_before: Instant | None = None
    not_after: Instant | None = None
    database: DatabaseTarget | None = None
    storage: StorageTarget | None = None
    secrets: list[SecretUse] = Field(default_factory=list)
    image: str | None = None
    scratch_bytes: int | None = Field(
        default=None, description="The size limit of the scratch volume, which its file system may not show."
    )
    job: Task
