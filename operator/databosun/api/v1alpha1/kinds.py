"""Every kind of Databosun: its names, its models, and what `kubectl get` shows of it."""

from __future__ import annotations

from dataclasses import dataclass

from databosun.api.v1alpha1.approval import ApprovalSpec
from databosun.api.v1alpha1.backup import BackupSpec, BackupStatus
from databosun.api.v1alpha1.backuppolicy import BackupPolicySpec, BackupPolicyStatus
from databosun.api.v1alpha1.backupstorage import BackupStorageSpec, BackupStorageStatus
from databosun.api.v1alpha1.common import Model
from databosun.api.v1alpha1.database import DatabaseSpec
from databosun.api.v1alpha1.databasestatus import DatabaseStatus
from databosun.api.v1alpha1.failovertest import FailoverTestSpec, FailoverTestStatus
from databosun.api.v1alpha1.failovertestrun import FailoverTestRunSpec, FailoverTestRunStatus
from databosun.api.v1alpha1.inquiry import InquirySpec, InquiryStatus
from databosun.api.v1alpha1.lifecyclepolicy import LifecyclePolicySpec
from databosun.api.v1alpha1.lifecyclerun import LifecycleRunSpec, LifecycleRunStatus
from databosun.api.v1alpha1.lifecyclestatus import LifecyclePolicyStatus
from databosun.api.v1alpha1.restore import RestoreSpec, RestoreStatus
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec, RestoreDrillStatus
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunSpec, RestoreDrillRunStatus

CATEGORY = "databosun"
"""`kubectl get databosun` lists all kinds."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `wide` ones appear with `-o wide` only. Times to come are strings, never dates."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. All are namespaced; `name_limit` is what names derived from its name leave room for."""

    kind: str
    plural: str
    singular: str
    short_name: str
    description: str
    spec: type[Model]
    status: type[Model] | None
    columns: tuple[Column, ...]
    name_limit: int | None = None
    selectable: tuple[str, ...] = ()


def _condition(kind: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_READY = Column("Ready", _condition("Ready"))
_MESSAGE = Column("Message", _condition("Ready", "message"), wide=True)

DATABASE = Kind(
    kind="Database",
    plural="databases",
    singular="database",
    short_name="bdb",
    description="Where a database is, how to log in, how much it matters. Its status answers: could we recover now?",
    spec=DatabaseSpec,
    status=DatabaseStatus,
    name_limit=40,
    columns=(
        Column("Engine", ".spec.engine"),
        Column("Version", ".status.engineVersion"),
        Column("Tier", ".spec.tier", "integer"),
        Column(
            "Protected",
            _condition("Protected"),
            description="Whether the newest backup is younger than two schedule intervals and no log is missing.",
        ),
        Column(
            "RPO",
            ".status.recovery.latest",
            "date",
            description="Age of the newest instant that can be restored: what a disaster right now would cost.",
        ),
        Column("RPO-Met", _condition("RPOMet")),
        Column("Last-Proven", ".status.lastProven.at", "date"),
        Column("RTO", ".status.lastProven.rto", description="Time to restore, as the last drill measured it."),
        _READY,
        Column("Host", ".spec.connection['host','hosts']", wide=True),
        Column("Last-Backup", ".status.lastBackup.at", "date", wide=True),
        Column("Earliest", ".status.recovery.earliest", "date", wide=True),
        Column(
            "Log",
            _condition("ContinuousHealthy", "reason"),
            wide=True,
            description="How the shipping of its log fares.",
        ),
        _MESSAGE,
        _AGE,
    ),
)

BACKUP_STORAGE = Kind(
    kind="BackupStorage",
    plural="backupstorages",
    singular="backupstorage",
    short_name="bst",
    description="A bucket or volume that takes backups, with its encryption, signing and immutability.",
    spec=BackupStorageSpec,
    status=BackupStorageStatus,
    name_limit=40,
    columns=(
        Column("Place", ".spec['s3.bucket','volume.claimName']", description="Bucket or claim."),
        Column("Objects", ".status.usage.objects", "integer"),
        Column("Size", ".status.usage.human"),
        Column("Validated", ".status.lastValidatedTime", "date", description="When it last passed."),
        _READY,
        Column("Endpoint", ".spec.s3.endpoint", wide=True),
        Column("Prefix", ".spec.s3.prefix", wide=True),
        Column("Owner", ".status.owner.clusterId", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

BACKUP_POLICY = Kind(
    kind="BackupPolicy",
    plural="backuppolicies",
    singular="backuppolicy",
    short_name="bpol",
    description="What to back up, when, and how long to keep it.",
    spec=BackupPolicySpec,
    status=BackupPolicyStatus,
    name_limit=40,
    columns=(
        Column("Preset", ".spec.preset"),
        Column("Databases", ".status.databases.matched", "integer"),
        Column("Protected", ".status.databases.protected", "integer"),
        Column("Failing", ".status.databases.failing", "integer"),
        Column("Last-Success", ".status.lastSuccessfulTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        Column("Suspended", ".spec.suspend", "boolean"),
        _READY,
        Column("Storage", ".spec.storageRef.name", wide=True),
        Column("Backups", ".status.backups.total", "integer", wide=True),
        Column("Proven", ".status.backups.proven", "integer", wide=True),
        Column("Size", ".status.backups.human", wide=True),
        Column("To-Delete", ".status.pendingDeletions.count", "integer", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

BACKUP = Kind(
    kind="Backup",
    plural="backups",
    singular="backup",
    short_name="bbk",
    description="One backup: a record, never edited. Deleting a policy deletes no backups.",
    spec=BackupSpec,
    status=BackupStatus,
    name_limit=57,
    selectable=(".spec.databaseRef.name", ".spec.policyRef.name", ".spec.schedule", ".status.phase"),
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Type", ".status.type", description="What is really taken."),
        Column("Method", ".status.method", description="How it is really taken."),
        Column("Phase", ".status.phase"),
        Column("Size", ".status.size.human", description="Stored size: compressed and encrypted."),
        Column("Duration", ".status.duration"),
        Column("Proven", ".status.proven.level", description="How deep the best drill looked that it passed."),
        Column("Expires", ".status.expiresAt"),
        _AGE,
        Column("Storage", ".spec.storageRef.name", wide=True),
        Column("Position", ".status.position['lsn','gtid','optime','offset']", wide=True),
        Column("Message", _condition("Ready", "message"), wide=True),
    ),
)

RESTORE_DRILL = Kind(
    kind="RestoreDrill",
    plural="restoredrills",
    singular="restoredrill",
    short_name="drill",
    description="Prove on a schedule that backups restore, and within the objectives.",
    spec=RestoreDrillSpec,
    status=RestoreDrillStatus,
    name_limit=40,
    columns=(
        Column("Level", ".spec.level"),
        Column("Databases", ".status.databases.matched", "integer"),
        Column("Proven", ".status.databases.proven", "integer"),
        Column("Failing", ".status.databases.failing", "integer"),
        Column("Last-Run", ".status.lastRun.at", "date"),
        Column("Verdict", ".status.lastRun.phase", description="Of the newest run."),
        Column("Next", ".status.nextScheduleTime"),
        Column("Suspended", ".spec.suspend", "boolean"),
        _READY,
        Column("Last-Passed", ".status.lastPassedTime", "date", wide=True),
        Column("Run", ".status.lastRun.name", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

RESTORE_DRILL_RUN = Kind(
    kind="RestoreDrillRun",
    plural="restoredrillruns",
    singular="restoredrillrun",
    short_name="drun",
    description="One drill: a record, never edited. Its evidence is in the store.",
    spec=RestoreDrillRunSpec,
    status=RestoreDrillRunStatus,
    name_limit=57,
    selectable=(".spec.databaseRef.name", ".spec.drillRef.name", ".status.phase"),
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Backup", ".status.backup.name"),
        Column("Level", ".status.level"),
        Column("Phase", ".status.phase"),
        Column("RTO", ".status.rto.took", description="Time to restore, as measured."),
        Column("RTO-Met", ".status.rto.met", "boolean"),
        Column("RPO", ".status.rpo.span", description="Span of lost writes, as measured."),
        Column("RPO-Met", ".status.rpo.met", "boolean"),
        _AGE,
        Column("Drill", ".spec.drillRef.name", wide=True),
        Column("Duration", ".status.duration", wide=True),
        Column("Evidence", ".status.evidence.uri", wide=True),
        _MESSAGE,
    ),
)

FAILOVER_TEST = Kind(
    kind="FailoverTest",
    plural="failovertests",
    singular="failovertest",
    short_name="fot",
    description="Prove that a database fails over within the objectives, and count what that loses.",
    spec=FailoverTestSpec,
    status=FailoverTestStatus,
    name_limit=40,
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Mode", ".spec.mode"),
        Column("Last-Run", ".status.lastRun.at", "date"),
        Column("Verdict", ".status.lastRun.phase", description="Of the newest run."),
        Column("Last-Passed", ".status.lastPassedTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        Column("Suspended", ".spec.suspend", "boolean"),
        _READY,
        Column("Run", ".status.lastRun.name", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

FAILOVER_TEST_RUN = Kind(
    kind="FailoverTestRun",
    plural="failovertestruns",
    singular="failovertestrun",
    short_name="forun",
    description="One failover test: a record, never edited. Its evidence is in the store.",
    spec=FailoverTestRunSpec,
    status=FailoverTestRunStatus,
    name_limit=57,
    selectable=(".spec.databaseRef.name", ".spec.testRef.name", ".status.phase"),
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Primary", ".status.plan.primary", description="Before."),
        Column("Candidate", ".status.plan.candidate", description="That took over, or was to."),
        Column("Phase", ".status.phase"),
        Column("Stage", ".status.progress.stage"),
        Column("Downtime", ".status.result.writeDowntime", description="Longest time without an acknowledged write."),
        Column("Lost", ".status.result.lost", "integer", description="Acknowledged writes that are gone."),
        _AGE,
        Column("Test", ".spec.testRef.name", wide=True),
        Column("Plan", ".status.plan.hash", wide=True),
        Column("Duration", ".status.duration", wide=True),
        Column("Evidence", ".status.evidence.uri", wide=True),
        _MESSAGE,
    ),
)

RESTORE = Kind(
    kind="Restore",
    plural="restores",
    singular="restore",
    short_name="brs",
    description="One restore to one place. It runs once, and never after its notAfter.",
    spec=RestoreSpec,
    status=RestoreStatus,
    name_limit=57,
    selectable=(".status.phase",),
    columns=(
        Column("From", ".spec.from['backupRef','databaseRef'].name", description="Backup or Database."),
        Column(
            "To",
            ".spec.target['volume','databaseRef','connection']['claimName','name','host']",
            description="The volume, the Database or the host that is restored into.",
        ),
        Column("Phase", ".status.phase"),
        Column("Step", ".status.progress.stage"),
        Column("Percent", ".status.progress.percent", "integer"),
        Column("Backup", ".status.backup", description="The Backup that was restored."),
        Column("Duration", ".status.duration"),
        _AGE,
        Column("Last-Commit", ".status.lastCommit", wide=True),
        _MESSAGE,
    ),
)

INQUIRY = Kind(
    kind="Inquiry",
    plural="inquiries",
    singular="inquiry",
    short_name="binq",
    description="A question to a store or a database that only reads. Answered once; gone a day after it was asked.",
    spec=InquirySpec,
    status=InquiryStatus,
    name_limit=57,
    selectable=(".status.phase",),
    columns=(
        Column(
            "Of", ".spec['records','comparison']['storageRef','databaseRef'].name", description="Storage or Database."
        ),
        Column("Phase", ".status.phase"),
        Column("Records", ".status.records.count", "integer"),
        Column("Lost", ".status.comparison.counts.Lost", "integer", description="Tables that are gone."),
        Column("Differing", ".status.comparison.counts.Differs", "integer", description="Tables whose rows differ."),
        Column("Duration", ".status.duration"),
        _AGE,
        Column("Backup", ".status.backup.name", wide=True),
        _MESSAGE,
    ),
)

LIFECYCLE_POLICY = Kind(
    kind="LifecyclePolicy",
    plural="lifecyclepolicies",
    singular="lifecyclepolicy",
    short_name="lcp",
    description="What becomes of old rows: archive, delete, anonymise. Nothing is done that nobody approved.",
    spec=LifecyclePolicySpec,
    status=LifecyclePolicyStatus,
    name_limit=40,
    columns=(
        Column("Database", ".spec.databaseRef.name"),
        Column("Mode", ".spec.mode"),
        Column("Plan", ".status.plan.hash", description="What an Approval names."),
        Column("Approved", _condition("Approved")),
        Column("Remaining", ".status.remaining", "integer", description="Eligible rows that are left."),
        Column("Behind", _condition("FallingBehind")),
        Column("Last-Enforced", ".status.lastEnforcedTime", "date"),
        Column("Next", ".status.nextScheduleTime"),
        _READY,
        Column("Clean", _condition("DryRunClean"), wide=True, description="Whether every rule may run."),
        Column("Held", _condition("BlockedByHold"), wide=True),
        Column("Last-Run", ".status.lastRun.name", wide=True),
        Column("Outcome", ".status.lastRun.phase", wide=True),
        _MESSAGE,
        _AGE,
    ),
)

LIFECYCLE_RUN = Kind(
    kind="LifecycleRun",
    plural="lifecycleruns",
    singular="lifecyclerun",
    short_name="lcrun",
    description="One look at what a LifecyclePolicy would do, or one enforced run of its plan. A record, never edited.",
    spec=LifecycleRunSpec,
    status=LifecycleRunStatus,
    name_limit=57,
    selectable=(".spec.policyRef.name", ".status.phase"),
    columns=(
        Column("Policy", ".spec.policyRef.name"),
        Column("Mode", ".spec.mode"),
        Column("Phase", ".status.phase"),
        Column("Plan", ".status.plan.hash"),
        Column("Processed", ".status.processed", "integer", description="Rows deleted or anonymised."),
        Column("Remaining", ".status.remaining", "integer", description="Eligible rows that are left."),
        Column("Duration", ".status.duration"),
        _AGE,
        Column("Approval", ".status.approval", wide=True),
        Column("Audit", ".status.audit.uri", wide=True),
        _MESSAGE,
    ),
)

APPROVAL = Kind(
    kind="Approval",
    plural="approvals",
    singular="approval",
    short_name="appr",
    description="A person's consent to one plan, by its hash.",
    spec=ApprovalSpec,
    status=None,
    columns=(
        Column("Kind", ".spec.ref.kind"),
        Column("Of", ".spec.ref.name", description="Name of the object whose plan is approved."),
        Column("Plan", ".spec.planHash"),
        Column("Approved-By", ".spec.approvedBy"),
        Column("Not-After", ".spec.notAfter"),
        _AGE,
    ),
)

KINDS = (
    DATABASE,
    BACKUP_STORAGE,
    BACKUP_POLICY,
    BACKUP,
    RESTORE_DRILL,
    RESTORE_DRILL_RUN,
    FAILOVER_TEST,
    FAILOVER_TEST_RUN,
    RESTORE,
    INQUIRY,
    LIFECYCLE_POLICY,
    LIFECYCLE_RUN,
    APPROVAL,
)
"""In the order in which people meet them."""
