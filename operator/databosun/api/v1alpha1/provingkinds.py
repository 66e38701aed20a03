"""The kinds that restore, and that prove what would be restored."""

from __future__ import annotations

from databosun.api.v1alpha1.failovertest import FailoverTestSpec, FailoverTestStatus
from databosun.api.v1alpha1.failovertestrun import FailoverTestRunSpec, FailoverTestRunStatus
from databosun.api.v1alpha1.inquiry import InquirySpec, InquiryStatus
from databosun.api.v1alpha1.kind import AGE, MESSAGE, READY, Column, Kind
from databosun.api.v1alpha1.restore import RestoreSpec, RestoreStatus
from databosun.api.v1alpha1.restoredrill import RestoreDrillSpec, RestoreDrillStatus
from databosun.api.v1alpha1.restoredrillrun import RestoreDrillRunSpec, RestoreDrillRunStatus

RESTORE_DRILL = Kind(
    kind="RestoreDrill",
    plural="restoredrills",
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
        READY,
        Column("Last-Passed", ".status.lastPassedTime", "date", wide=True),
        Column("Run", ".status.lastRun.name", wide=True),
        MESSAGE,
        AGE,
    ),
)

RESTORE_DRILL_RUN = Kind(
    kind="RestoreDrillRun",
    plural="restoredrillruns",
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
        AGE,
        Column("Drill", ".spec.drillRef.name", wide=True),
        Column("Duration", ".status.duration", wide=True),
        Column("Evidence", ".status.evidence.uri", wide=True),
        MESSAGE,
    ),
)

FAILOVER_TEST = Kind(
    kind="FailoverTest",
    plural="failovertests",
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
        READY,
        Column("Run", ".status.lastRun.name", wide=True),
        MESSAGE,
        AGE,
    ),
)

FAILOVER_TEST_RUN = Kind(
    kind="FailoverTestRun",
    plural="failovertestruns",
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
        AGE,
        Column("Test", ".spec.testRef.name", wide=True),
        Column("Plan", ".status.plan.hash", wide=True),
        Column("Duration", ".status.duration", wide=True),
        Column("Evidence", ".status.evidence.uri", wide=True),
        MESSAGE,
    ),
)

RESTORE = Kind(
    kind="Restore",
    plural="restores",
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
        AGE,
        Column("Last-Commit", ".status.lastCommit", wide=True),
        MESSAGE,
    ),
)

INQUIRY = Kind(
    kind="Inquiry",
    plural="inquiries",
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
        AGE,
        Column("Backup", ".status.backup.name", wide=True),
        MESSAGE,
    ),
)
